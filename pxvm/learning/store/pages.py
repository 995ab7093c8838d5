"""The page files of a network: their names, which is the last, and the writer's lock."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pxvm.learning.errors import BusyError, NetworkError
from pxvm.learning.store import layout
from pxvm.learning.store.container import Page
from pxvm.learning.store.files import Files
from pxvm.learning.store.foreign import PicturePage, open_page
from pxvm.learning.store.layout import Header
from pxvm.learning.store.pieces import Piece, Place, whole_page

AnyPage = Page | PicturePage
_OPEN_AT_ONCE = 32
#: The files of a search cache, in the folder beside a network: no others are removed from it.
CACHE_FILE = re.compile(r"lock|text\.db(-wal|-shm|-journal)?|vectors-[0-9a-f]{8}-\d+-\d+\.pxi")
#: What stands before the suffix of a page's name behind the first: generation and number.
PAGE = r"(?:\.g(\d+))?\.p(\d+)"
_BESIDE = (".index", ".cache", ".cut", ".new")


def belongs(path: Path, network: Path) -> bool:
    """Whether a name is that of the network at a path, of one of its pages, or of what it keeps
    beside them, be there such a file or not."""
    # Of a loop of links ``realpath`` makes no error.
    found, endings = Path(os.path.realpath(path)), "|".join(map(re.escape, (*_BESIDE, ".lock")))
    for home in (network.parent.resolve() / network.name, network.resolve()):
        stem, suffix = re.escape(home.stem), re.escape(home.suffix)
        if found.is_relative_to(home.parent) and re.fullmatch(
            rf"{stem}(\.g\d+)?(\.p\d+)?{suffix}({endings})?",
            found.relative_to(home.parent).parts[0],
        ):
            return True
    return False


class Pages:
    """The pages of the network at ``path``.

    ``generation`` counts how often the network was rewritten in place: the first page always has
    the path itself, further ones carry the generation in their names, so that exchanging the first
    page exchanges all. ``epoch`` changes when everything known of the pages before is void.
    """

    def __init__(self, path: Path, *, read_only: bool, timeout: float, files: Files) -> None:
        self.path = path
        self.read_only = read_only
        self.timeout = timeout
        self.files = files
        self.turn = threading.RLock()
        self._lock = files.lock(path.with_name(path.name + ".lock"))
        self._open: OrderedDict[int, AnyPage] = OrderedDict()
        self._identity: tuple[int, int] | None = None
        self.last = 0
        self.generation = 0
        self.epoch = 0

    def close(self) -> None:
        """Closes the files; the next use opens them again."""
        for page in self._open.values():
            page.close()
        self._open.clear()
        self._identity = None

    # -- names -----------------------------------------------------------------------------------

    def page_path(self, number: int, generation: int | None = None) -> Path:
        """Where page ``number`` (from 1) stands."""
        if number == 1:
            return self.path
        generation = self.generation if generation is None else generation
        middle = f".g{generation}" if generation else ""
        return self.path.with_name(f"{self.path.stem}{middle}.p{number}{self.path.suffix}")

    def further(self) -> list[tuple[int, int, Path]]:
        """(generation, number, path) of every page beside the first, of whatever generation."""
        stem, suffix = re.escape(self.path.stem), re.escape(self.path.suffix)
        pattern = re.compile(rf"{stem}{PAGE}{suffix}")
        found = []
        for name in self.files.names(self.path.parent):
            if match := pattern.fullmatch(name):
                found.append((int(match[1] or 0), int(match[2]), self.path.with_name(name)))
        return sorted(found)

    def beside(self) -> list[Path]:
        """Everything made from the pages: index, cache, set-aside bytes, half-written files."""
        pages = [self.path, *(path for _, _, path in self.further())]
        made = {page.name + ending for page in pages for ending in _BESIDE}
        return [self.path.with_name(n) for n in self.files.names(self.path.parent) if n in made]

    def strays(self) -> list[Path]:
        """Pages of older generations and half-written files: what an interrupted run left.

        Pages of a newer one stay until the next rewriting: perhaps the first page is an older copy.
        """
        pages = [path for made, _, path in self.further() if made < self.generation]
        return pages + [path for path in self.beside() if path.suffix == ".new"]

    def remove(self, path: Path) -> None:
        """Deletes what this program made at a path beside the network, and nothing else: a page
        or a half-written one that holds records or has their shape, an index, a cache's files."""
        if path.name.endswith(".cache"):
            self.files.remove_from(path, CACHE_FILE)
        elif self._made_here(path):
            self.files.remove(path)

    def _made_here(self, path: Path) -> bool:
        if path.suffix not in (".new", self.path.suffix):
            return True  # named after a page, and after what is made of one
        handle = self.files.open(path)
        try:
            head, size = handle.read(0, 33), handle.size()
            if not size or head[12:20] == b"IHDR" + layout.WIDTH.to_bytes(4, "big"):
                return True
            blocks = range(0, size, 1 << 20)
            return any(layout.MAGIC in handle.read(at, (1 << 20) + 8) for at in blocks)
        finally:
            handle.close()

    # -- opening ---------------------------------------------------------------------------------

    def page(self, number: int) -> AnyPage:
        """An open page."""
        page = self._open.get(number)
        if page is None:
            page = self._open_page(self.page_path(number))
            self._open[number] = page
            if len(self._open) > _OPEN_AT_ONCE:
                oldest = next(n for n in self._open if n not in (number, self.last))
                self._open.pop(oldest).close()
        self._open.move_to_end(number)
        return page

    def _open_page(self, path: Path) -> AnyPage:
        try:
            return open_page(self.files, path, writable=not self.read_only)
        except FileNotFoundError:
            if self._identity not in (None, self.files.identity(self.path)):
                raise NetworkError(
                    f"{self.path} was rewritten by another process meanwhile: read it again"
                ) from None
            raise NetworkError(
                f"{path} is missing: a page of the network is not here; bring it back, or save "
                "what is left with `pxvm network repair`"
            ) from None
        except PermissionError:
            raise NetworkError(
                f"{path}: permission denied; open it with read_only=True, or allow writing"
            ) from None

    def refresh(self) -> None:
        """Looks whether the files have changed, here or by another process."""
        try:
            identity = self.files.identity(self.path)
        except FileNotFoundError:
            raise NetworkError(f"{self.path}: the file is gone") from None
        if identity != self._identity or self._last_was_exchanged():
            self._begin(identity)
        while self.files.exists(self.page_path(self.last + 1)):
            self.last += 1

    def _begin(self, identity: tuple[int, int]) -> None:
        self.close()
        self.epoch += 1
        self.last = 1
        self.generation = self.header_at_end(1).generation
        numbers = [number for made, number, _ in self.further() if made == self.generation]
        self.last = max([1, *numbers])
        self._identity = identity

    def begin_again(self) -> None:
        """Opens everything anew."""
        self._begin(self.files.identity(self.path))

    def _last_was_exchanged(self) -> bool:
        """Looks at the end of the last page; whether it is another file by now, was overwritten in
        place by another copy, or is not ours."""
        page = self.page(self.last)
        if page.identity() != self.files.identity(page.path):
            return True
        if not page.changed():
            return not page.ours
        known = page.cursor
        page.look()
        header = page.header_at(known.last) if known.records else None
        overwritten = known.records > 0 and (header is None or header.digest() != known.previous)
        return overwritten or not page.ours

    def header_at_end(self, number: int | None = None) -> Header:
        """The header of the last record of a page, by default the last page."""
        page = self.page(self.last if number is None else number)
        header = page.header_at(page.cursor.last)
        if header is None:
            raise NetworkError(f"{page.path}: no whole record is left on this page")
        return header

    def places(self, number: int, behind: int | None = None) -> Iterator[Place]:
        """The records of a page, or those behind the one at offset ``behind``."""
        page = self.page(number)
        if behind is None:
            return page.places()
        header = page.header_at(behind)
        if header is None:
            raise NetworkError(f"{page.path}: no record at {behind}, where one was before")
        return page.places(page.after(Place(behind, header)))

    # -- writing ---------------------------------------------------------------------------------

    @contextmanager
    def writing(self, timeout: float | None = None) -> Iterator[None]:
        """Holds the writer's lock of this network, in this process and others.

        Raises `BusyError` after ``timeout`` seconds, by default those of the network.
        """
        timeout = self.timeout if timeout is None else timeout
        if self.read_only:
            raise NetworkError(f"{self.path} was opened read-only: open it for writing")
        with self.turn:
            try:
                self._lock.acquire(timeout=timeout)
            except TimeoutError:
                raise BusyError(
                    f"{self.path} has been written by another process for {timeout:g} s: try again "
                    "when it is done"
                ) from None
            except OSError as error:
                raise NetworkError(
                    f"{self.path}: cannot be locked for writing ({error.strerror}); open it with "
                    "read_only=True, or move it where you may write"
                ) from None
            try:
                yield
            except OSError as error:
                raise NetworkError(
                    f"{self.path}: {error.strerror or error}; nothing acknowledged was lost"
                ) from None
            finally:
                self._lock.release()

    def create(self, piece: Piece) -> None:
        """Makes the network with its first record."""
        strays = self.further()
        if strays:
            raise NetworkError(
                f"{self.path} is missing, but its page {strays[0][2].name} is there: bring the "
                "first page back, or move the others away"
            )
        self.write_whole(self.path, whole_page([piece], layout.START, 1, 0))

    def unmake(self) -> None:
        """Deletes the network and what was made from it; its lock stays."""
        made = [*self.beside(), self.path]
        self.close()
        self.epoch += 1
        for path in made:
            self.remove(path)

    def write_whole(self, path: Path, data: bytes) -> None:
        """A whole new file at ``path``, or none."""
        temporary = path.with_name(path.name + ".new")
        handle = self.files.open(temporary, writable=True, create=True)
        try:
            handle.write(0, data)
            handle.sync()
        finally:
            handle.close()
        self.files.replace(temporary, path)
        self.files.settle(path.parent)

    def mend(self) -> None:
        """Puts the last page in order: after a crash, or after another program saved it.

        A damaged page of another program stays as it is: the next record begins a new page.
        """
        page = self.page(self.last)
        if isinstance(page, Page):
            page.mend()
            return
        texts = [page.text(place) for place in page.places()]
        pieces = [
            stored_piece(page, place, text)
            for place, text in zip(page.places(), texts, strict=True)
            if text is not None
        ]
        if page.gaps or len(pieces) < len(texts):
            return
        previous = next(page.places()).header.previous
        data = whole_page(pieces, previous, self.last, self.generation)
        self.write_whole(page.path, data)
        self.begin_again()

    def room(self, page_rows: int) -> int:
        """How many rows the last page can still take."""
        page = self.page(self.last)
        return page_rows - page.cursor.rows if isinstance(page, Page) else 0

    def append(self, pieces: Sequence[Piece]) -> list[Place]:
        """Adds ``pieces`` to the last page; they are durable when this returns."""
        page = self.page(self.last)
        assert isinstance(page, Page)
        return page.append(pieces, self.last, self.generation)

    def add_page(self, pieces: Sequence[Piece]) -> list[Place]:
        """Makes the next page with ``pieces``; it is there as a whole, or not at all."""
        self.page(self.last).sync()  # its head was written after its last sync
        previous, number = self.header_at_end().digest(), self.last + 1
        data = whole_page(pieces, previous, number, self.generation)
        self.write_whole(self.page_path(number), data)
        self.last = number
        return list(self.page(number).places())


def stored_piece(page: AnyPage, place: Place, text: NDArray[np.uint8]) -> Piece:
    """The record at a place as it stands, to be laid out elsewhere."""
    header = place.header
    return Piece(
        header.kind,
        header.sequence,
        header.time,
        header.flags,
        header.identity,
        page.payload(place),
        text,
        page.deflated(place) if isinstance(page, Page) else b"",
    )


def page_bytes(pages: Pages) -> int:
    """Bytes of all pages."""
    return sum(pages.files.size(pages.page_path(n)) for n in range(1, pages.last + 1))
