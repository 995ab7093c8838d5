"""Writes a whole network anew, page by page; the first page comes last and makes it real."""

from __future__ import annotations

from pathlib import Path

from pxvm.learning.store import layout
from pxvm.learning.store.files import Files, Handle
from pxvm.learning.store.layout import LINK
from pxvm.learning.store.pages import Pages
from pxvm.learning.store.pieces import Piece, beginning, lay_out, page_head

_FLUSH_BYTES = 16 << 20


class Rewriter:
    """Takes records in order of their numbers and lays them out as a network.

    Until `finish` the network at ``pages.path`` is untouched: further pages have names that nobody
    looks for yet, the first page is a temporary file, which `finish` renames. Without `finish`,
    `abandon` removes everything.
    """

    def __init__(self, pages: Pages, generation: int, page_rows: int) -> None:
        self._pages = pages
        self._files: Files = pages.files
        self._generation = generation
        self._page_rows = page_rows
        self._number = 0
        self._made: list[Path] = []
        self._handle: Handle | None = None
        self._cursor = beginning(layout.START)
        self._waiting: list[Piece] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._temporary = pages.path.with_name(pages.path.name + ".new")

    def add(self, piece: Piece) -> None:
        """Takes the next record."""
        rows = self._cursor.rows + self._waiting_rows
        if self._handle is None or (rows and rows + piece.rows > self._page_rows):
            self._end_page()
            self._begin_page()
        self._waiting.append(piece)
        self._waiting_rows += piece.rows
        self._waiting_bytes += piece.rows * layout.LINE
        if self._waiting_bytes > _FLUSH_BYTES:
            self._flush()

    def _begin_page(self) -> None:
        self._number += 1
        path = self._temporary
        if self._number > 1:
            path = self._pages.page_path(self._number, self._generation)
        self._made.append(path)
        self._handle = self._files.open(path, writable=True, create=True)
        self._handle.write(layout.FIRST_SLOT, LINK)
        self._cursor = beginning(self._cursor.previous)

    def _flush(self) -> None:
        if not self._waiting or self._handle is None:
            return
        data, cursor, _ = lay_out(self._waiting, self._cursor, self._number, self._generation)
        self._handle.write(self._cursor.slot, LINK + data)
        self._cursor = cursor
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0

    def _end_page(self) -> None:
        if self._handle is None:
            return
        self._flush()
        self._handle.write(0, page_head(self._cursor))
        self._handle.sync()
        self._handle.close()
        self._handle = None

    def finish(self) -> None:
        """Makes what was written the network at the path, in one step."""
        self._end_page()
        directory = self._pages.path.parent
        self._files.settle(directory)
        for path in self._pages.beside():
            if path not in self._made:
                self._pages.remove(path)
        self._pages.close()
        self._files.replace(self._temporary, self._pages.path)
        self._made.clear()  # from here on they are the network
        self._files.settle(directory)
        for made, number, path in self._pages.further():
            if made != self._generation or number > self._number:
                self._pages.remove(path)
        for path in self._pages.beside():
            self._pages.remove(path)
        self._files.settle(directory)

    def abandon(self) -> None:
        """Removes what was written, if it has not become the network."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None
        for path in self._made:
            self._pages.remove(path)
