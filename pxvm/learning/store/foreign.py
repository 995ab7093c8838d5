"""A page that another program has saved again: every record is still in its pixels.

Such a page is decoded whole with Pillow, reduced to one bit a pixel and searched for header rows.
It is read as it is; `network` writes it in our own layout before anything is appended.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError
from pxvm.learning.store import layout
from pxvm.learning.store.container import Page
from pxvm.learning.store.files import Files
from pxvm.learning.store.layout import WIDTH
from pxvm.learning.store.pieces import Cursor, Gap, Place
from pxvm.learning.store.record import Payload

#: What Pillow raises for a damaged file.
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, struct.error)
#: Most pixels of a page that is decoded whole: two million rows. Exact data deflates little, so
#: what is this much larger than its file, at one bit a pixel, is no page but a bomb.
MAX_PIXELS, MAX_RATIO, SLACK = WIDTH * 2_000_000, 100, 1 << 20


def decode_rows(path: Path) -> NDArray[np.uint8]:
    """The picture at ``path`` as packed rows (height, 128), light pixels 1.

    Raises `FormatError` when it is no picture, not 1024 wide, or damaged.
    """
    from PIL.PngImagePlugin import PngImageFile

    try:
        with PngImageFile(path) as picture:  # not `Image.open`, whose limit is lower than ours
            pixels = picture.width * picture.height
            most = min(MAX_PIXELS, 8 * (MAX_RATIO * path.stat().st_size + SLACK))
            if picture.width != WIDTH or pixels > most:
                raise FormatError(
                    f"{path.name}: {picture.width} x {picture.height} pixels is no page of a "
                    f"knowledge network, whose width is {WIDTH}"
                )
            if picture.mode == "1":
                light = np.asarray(picture)
            elif picture.mode.startswith("I"):
                light = np.asarray(picture) > 32767
            else:
                light = np.asarray(picture.convert("RGB").convert("L")) > 127
    except FormatError:
        raise
    except _DAMAGE as error:
        raise FormatError(f"{path.name} is no readable picture: {error}") from None
    return np.packbits(light, axis=1)


class PicturePage:
    """The reading side of `Page` over decoded pixels; a place's offset is its row."""

    def __init__(self, files: Files, path: Path) -> None:
        self.path = path
        self.files = files
        self._identity, self._size = files.identity(path), files.size(path)
        self._rows = decode_rows(path)
        self.gaps: list[Gap] = []
        starts = np.flatnonzero((self._rows[:, :8] == list(layout.MAGIC)).all(axis=1))
        self._places: list[Place] = []
        row = known = 0
        for start in starts.tolist():
            header = layout.read_header(self._rows[start].tobytes())
            if start < known or header is None or not self._is_whole(Place(start, header)):
                continue
            if start > row:
                self.gaps.append(Gap(row, start))
            place = Place(start, header)
            self._places.append(place)
            row = start + header.rows
            # How long its picture is may be wrong under a right checksum.
            known = row if self.text(place) is not None else start + header.data_rows
        if row != len(self._rows):
            self.gaps.append(Gap(min(row, len(self._rows)), max(row, len(self._rows))))
        if not self._places:
            raise FormatError(f"{path.name}: no record in the picture; is it a knowledge network?")
        self.cursor = self.after(self._places[-1], len(self._places))
        self.clean = self.ours = True

    def close(self) -> None:
        """Nothing is held open."""

    def identity(self) -> tuple[int, int]:
        return self._identity

    def sync(self) -> None:
        """Nothing is written here."""

    def changed(self) -> bool:
        """Whether some program has saved the picture once more."""
        return self.files.size(self.path) != self._size

    def look(self) -> None:
        """Nothing is appended to such a page; that it changed makes it another."""
        self.ours = not self.changed()

    def places(self, start: Cursor | None = None) -> Iterator[Place]:
        """Every whole record in order, or those behind the cursor ``start``."""
        first = 0 if start is None else start.slot
        return (place for place in self._places if place.offset >= first)

    def everything(self) -> Iterator[Place]:
        """Every whole record."""
        return iter(self._places)

    def after(self, place: Place, records: int = 0) -> Cursor:
        """The cursor behind ``place``."""
        row = place.offset + place.header.rows
        return Cursor(row, row, 0, records, place.offset, place.header.digest())

    def header_at(self, offset: int) -> layout.Header | None:
        return (
            layout.read_header(self._rows[offset].tobytes()) if offset < len(self._rows) else None
        )

    def _body(self, place: Place) -> bytes:
        return self._rows[place.offset + 1 : place.offset + place.header.data_rows].tobytes()

    def _is_whole(self, place: Place) -> bool:
        return zlib.crc32(self._body(place)) == place.header.payload_crc

    def payload(self, place: Place) -> Payload:
        """The exact bytes of a record."""
        header = place.header
        body = self._body(place)
        return Payload(
            header.codec,
            header.stored,
            header.raw,
            header.vectors,
            body[: header.stored + header.vectors],
        )

    def text(self, place: Place) -> NDArray[np.uint8] | None:
        """The packed rows of a record's picture, or None when they are damaged."""
        start = place.offset + place.header.data_rows
        text = self._rows[start : start + place.header.text_rows]
        return text if zlib.crc32(text.tobytes()) == place.header.text_crc else None


def open_page(files: Files, path: Path, *, writable: bool = False) -> Page | PicturePage:
    """The page at ``path``, whatever program wrote it last.

    A page whose frame is damaged is still read by its records; where a picture decoder finds more
    of them than a search of the raw bytes, another program has saved the file. Raises `FormatError`
    when neither finds one.
    """
    page = Page(files, path, writable=writable)
    version = layout.newer_version(page.head())
    if version is not None:
        page.close()
        raise FormatError(
            f"{path.name} is of version {version} of the format, this program knows version "
            f"{layout.VERSION}: use a newer pxvm"
        )
    page.look()
    if page.ours and page.cursor.records:
        return page
    try:
        picture = PicturePage(files, path)
    except FormatError:
        if not page.cursor.records:
            page.close()
            raise
        return page
    if page.cursor.records >= picture.cursor.records:
        return page
    page.close()
    return picture
