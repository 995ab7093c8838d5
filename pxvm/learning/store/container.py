"""One page file: append with a commit point, walk, resynchronise. It knows rows, not meanings.

An append writes the new rows behind the end of the picture and syncs; then it turns the old end
into a link and syncs again. The first sync makes the new rows durable, the second makes them part
of the picture; whatever a crash leaves, one of the two ends is whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError
from pxvm.learning.store import layout
from pxvm.learning.store.files import Files, Handle
from pxvm.learning.store.layout import LINE, LINK, ROW, SLOT, Header, Info
from pxvm.learning.store.pieces import Cursor, Gap, Piece, Place, beginning, lay_out, page_head
from pxvm.learning.store.record import Payload

#: Bytes read at once, of a record that stands anywhere and at most in a walk.
NEAR, WIDEST = 1 << 14, 1 << 20
#: A full deflate block, with its head.
_BLOCK = 5 + layout.BLOCK_ROWS * LINE


class Page:
    """A page file in our own layout.

    ``cursor`` is where the picture ends as far as this object has looked; `look` looks again.
    ``ours`` is whether the first 512 bytes are as they must be, ``clean`` whether the end is.
    """

    def __init__(self, files: Files, path: Path, *, writable: bool = False) -> None:
        self.path = path
        self.files = files
        self._handle: Handle = files.open(path, writable=writable)
        self._window = (0, b"")
        self.cursor = beginning(layout.START)
        self.clean = False
        self.ours = False
        self.gaps: list[Gap] = []
        self._stale_slots: list[int] = []
        self._keep_cut = False

    def close(self) -> None:
        self._handle.close()

    def identity(self) -> tuple[int, int]:
        return self._handle.identity()

    def sync(self) -> None:
        """Returns when everything written is on the medium."""
        self._handle.sync()

    def size(self) -> int:
        return self._handle.size()

    def head(self) -> bytes:
        """The first 512 bytes, or what there is of them."""
        return self._handle.read(0, layout.SECTOR)

    # -- reading ---------------------------------------------------------------------------------

    def _bytes(self, position: int, size: int) -> bytes:
        """Bytes through a window, which makes a walk over the file cheap: it doubles while what is
        asked for lies ahead, and is small for what lies anywhere."""
        start, window = self._window
        if not start <= position or position + size > start + len(window):
            is_ahead = 0 <= position - start <= 2 * max(len(window), NEAR)
            wide = min(2 * max(len(window), NEAR), WIDEST) if is_ahead else NEAR
            start, window = position, self._handle.read(position, max(size, wide))
            self._window = start, window
        return window[position - start : position - start + size]

    def header_at(self, offset: int) -> Header | None:
        """The header of the record whose data chunk begins at ``offset``, or None."""
        return layout.read_header(self._bytes(offset + layout.HEADER_AT, ROW))

    def payload(self, place: Place) -> Payload:
        """The exact bytes of a record. Raises `FormatError` when they are not what was written."""
        header = place.header
        body = self._data_rows(place)[ROW:]
        if zlib.crc32(body) != header.payload_crc:
            raise FormatError(
                f"{self.path.name}: record {header.sequence} at byte {place.offset}: its data rows "
                "are damaged (checksum); run `pxvm network verify`"
            )
        return Payload(
            header.codec,
            header.stored,
            header.raw,
            header.vectors,
            body[: header.stored + header.vectors],
        )

    def _data_rows(self, place: Place) -> bytes:
        size = layout.data_size(place.header.data_rows)
        data = self._bytes(place.offset + 8, size)
        return b"".join(
            [
                data[row : row + ROW]
                for block in range(0, len(data), _BLOCK)
                for row in range(block + 6, min(block + _BLOCK, len(data)) - ROW + 1, LINE)
            ]
        )

    def text(self, place: Place) -> NDArray[np.uint8] | None:
        """The packed rows of a record's picture, (rows, 128), or None when they are damaged."""
        where = layout.extent(place.offset, place.header)
        size = place.header.text_rows * LINE
        inflater = zlib.decompressobj(-15)
        try:
            flat = inflater.decompress(self._bytes(where.text, where.text_size), size + 1)
        except zlib.error:
            return None
        if len(flat) != size:
            return None
        rows = np.frombuffer(flat, np.uint8).reshape(-1, LINE)
        text = np.ascontiguousarray(rows[:, 1:])
        whole = zlib.crc32(text.tobytes()) == place.header.text_crc and not rows[:, 0].any()
        return text if whole else None

    def deflated(self, place: Place) -> bytes:
        """The picture's deflate stream as it stands in the file, padding left out."""
        where = layout.extent(place.offset, place.header)
        return self._bytes(where.text, where.text_size)

    def frame_is_whole(self, place: Place) -> bool:
        """Whether both chunks of a record are exactly as `lay_out` writes them."""
        where = layout.extent(place.offset, place.header)
        data = layout.lines(np.frombuffer(self._data_rows(place), np.uint8).reshape(-1, ROW))
        expected = layout.data_chunk(data)
        if self._bytes(place.offset, len(expected)) != expected:
            return False
        fill = layout.padding(where.slot - 4 - where.text - where.text_size)
        expected = layout.chunk(b"IDAT", self.deflated(place) + fill)
        return self._bytes(where.data_end, len(expected)) == expected

    def _payload_is_whole(self, place: Place) -> bool:
        return zlib.crc32(self._data_rows(place)[ROW:]) == place.header.payload_crc

    def _follows(self, cursor: Cursor) -> Place | None:
        """The record directly behind the cursor, with its payload checked, or None."""
        offset = cursor.slot + SLOT
        header = self._chained(offset, cursor)
        place = None if header is None else Place(offset, header)
        return place if place is not None and self._payload_is_whole(place) else None

    def _chained(self, offset: int, cursor: Cursor) -> Header | None:
        """The header at ``offset``, if it is that of the record written behind the cursor's."""
        header = self.header_at(offset)
        if header is None or header.row != cursor.rows:
            return None
        # The first record of a page names one of the page before.
        return header if not cursor.last or header.previous == cursor.previous else None

    def _earliest(self, cursor: Cursor) -> int:
        """Where a record behind the cursor's can begin: what the header says of its picture may be
        wrong under a right checksum, and where its data ends, if they are not whole."""
        header = self.header_at(cursor.last) if cursor.last else None
        if header is None:
            return cursor.slot + SLOT
        place = Place(cursor.last, header)
        if self._payload_is_whole(place):
            return layout.extent(*place).data_end
        return cursor.last + layout.HEADER_AT + ROW

    def _resynchronise(self, position: int) -> Place | None:
        """The next whole record at or behind ``position``, found by its magic bytes."""
        size = self.size()
        while position < size:
            block = self._bytes(position, 1 << 20)
            found = block.find(layout.MAGIC)
            if found < 0:
                position += max(len(block) - len(layout.MAGIC) + 1, 1)
                continue
            offset = position + found - layout.HEADER_AT
            header = self.header_at(offset) if offset >= 0 else None
            if header is not None and self._payload_is_whole(Place(offset, header)):
                return Place(offset, header)
            position += found + 1
        return None

    def after(self, place: Place, records: int = 0) -> Cursor:
        """The cursor behind ``place``, all but its Adler-32; ``records`` is how many there are."""
        header = place.header
        slot = layout.extent(place.offset, header).slot
        return Cursor(
            slot,
            header.row + header.rows,
            0,
            records,
            place.offset,
            header.digest(),
        )

    def adler_after(self, place: Place) -> int | None:
        """Adler-32 of all pixels up to the end of ``place``, or None when its text is damaged."""
        text = self.text(place)
        if text is None:
            return None
        data = layout.lines(np.frombuffer(self._data_rows(place), np.uint8).reshape(-1, ROW))
        return zlib.adler32(layout.lines(text), zlib.adler32(data, place.header.adler))

    # -- finding the end -------------------------------------------------------------------------

    def look(self) -> None:
        """Finds the end of the picture. Writes nothing; `mend` puts right what this finds."""
        self._window = (0, b"")
        size = self.size()
        info = layout.read_head(self.head())
        self.ours = info is not None
        start = self._hinted(info) if info is not None else None
        if (
            start is not None
            and size == start.slot + SLOT
            and self._handle.read(start.slot, SLOT) == layout.tail(start.adler)
        ):
            self.cursor, self.clean = start, True
            self._stale_slots, self._keep_cut = [], False
            return
        self.clean = False
        self._search_end(start or beginning(layout.START), size)

    def _hinted(self, info: Info) -> Cursor | None:
        """The cursor that the pxVM chunk names, if the record there agrees."""
        header = self.header_at(info.last)
        if header is None or header.row + header.rows != info.rows:
            return None
        if layout.extent(info.last, header).slot != info.tail or self.size() < info.tail:
            return None
        return Cursor(info.tail, info.rows, info.adler, info.records, info.last, header.digest())

    def _search_end(self, cursor: Cursor, size: int) -> None:
        """Walks from ``cursor`` to the last record that counts.

        A whole TAIL on the way means that nothing behind it was acknowledged yet: from there on a
        record must be whole in every byte and follow directly, or it is the rest of a torn append.
        """
        self._stale_slots, self._keep_cut = [], False
        self.gaps = []
        ended = False
        last: Place | None = None
        while True:
            slot = self._bytes(cursor.slot, SLOT)
            ended = ended or self._is_tail(slot)
            place = self._follows(cursor)
            if place is not None and ended:
                exact = self.frame_is_whole(place) and self.text(place) is not None
                place = place if exact and place.header.previous == cursor.previous else None
            if place is None:
                beyond = self._resynchronise(self._torn_until(cursor, ended))
                if ended or beyond is None:
                    self._keep_cut = size > cursor.slot + SLOT and (not ended or beyond is not None)
                    break
                place = beyond
            if place.offset > cursor.slot + SLOT:
                self.gaps.append(Gap(cursor.slot, place.offset))
            elif place.offset == cursor.slot + SLOT and slot != LINK:
                self._stale_slots.append(cursor.slot)
            cursor, last = self.after(place, cursor.records + 1), place
        if last is not None:
            adler = self.adler_after(last)
            if adler is None:
                slot = self._bytes(cursor.slot, SLOT)
                adler = int.from_bytes(slot[10:14], "big") if self._is_tail(slot) else 0
            cursor = cursor._replace(adler=adler)
        self.cursor = cursor

    def _torn_until(self, cursor: Cursor, ended: bool) -> int:
        """Where to look for a record behind the one at the cursor, which is torn or damaged."""
        if not ended:
            return self._earliest(cursor)
        offset = cursor.slot + SLOT
        header = self.header_at(offset)
        return offset if header is None else layout.extent(offset, header).data_end

    @staticmethod
    def _is_tail(slot: bytes) -> bool:
        return len(slot) == SLOT and slot == layout.tail(int.from_bytes(slot[10:14], "big"))

    def places(self, start: Cursor | None = None) -> Iterator[Place]:
        """Every record up to the cursor, in order, by their headers; over gaps, which it notes.

        ``start`` is a cursor of this page behind which to begin.
        """
        cursor = start or beginning(layout.START)
        self.gaps = []
        while cursor.last < self.cursor.last:
            offset = cursor.slot + SLOT
            header = self._chained(offset, cursor) if offset <= self.cursor.last else None
            if header is not None:
                place = Place(offset, header)
            else:
                beyond = self._resynchronise(self._earliest(cursor))
                if beyond is None or beyond.offset > self.cursor.last:
                    self.gaps.append(Gap(min(offset, self.cursor.last), self.cursor.slot))
                    return
                place = beyond
            if place.offset > offset:
                self.gaps.append(Gap(offset, place.offset))
            cursor = self.after(place, cursor.records + 1)
            yield place

    def everything(self) -> Iterator[Place]:
        """Every whole record anywhere in the file, found by magic bytes alone."""
        position = 0
        while (place := self._resynchronise(position)) is not None:
            yield place
            position = layout.extent(place.offset, place.header).data_end

    def link_is_whole(self, place: Place) -> bool:
        """Whether the slot before a record is a LINK."""
        return self._bytes(place.offset - SLOT, SLOT) == LINK

    # -- writing (only under the writer's lock) ---------------------------------------------------

    def mend(self) -> None:
        """Puts the end of the page in order after a crash; drops only what was never a record.

        Bytes that could belong to a record go to a file beside the page, ``<name>.cut``.
        """
        if self.clean:
            return
        cursor = self.cursor
        end = cursor.slot + SLOT
        self._handle.sync()
        size = self.size()
        self._is_within(cursor, size)
        if self._keep_cut and size > end:
            self._set_aside(self._handle.read(end, size - end))
        if size > end:
            self._handle.truncate(end)
        self._handle.write(cursor.slot, layout.tail(cursor.adler))
        self._handle.sync()
        for slot in self._stale_slots:
            self._handle.write(slot, LINK)
        self._handle.sync()  # the head may lag behind the picture, but never lead
        self._handle.write(0, page_head(cursor))
        self.ours = True
        self._stale_slots, self._keep_cut = [], False
        self._window = (0, b"")
        self.clean = True

    def _is_within(self, cursor: Cursor, size: int) -> None:
        """Raises `FormatError` where the last record claims a picture of more bytes than it can
        have: what is written behind it would stand behind gigabytes of nothing."""
        header = self.header_at(cursor.last)
        most = 0 if header is None else 2 * LINE * header.text_rows + layout.SECTOR
        if header is not None and header.text_bytes > most and cursor.slot > size:
            raise FormatError(
                f"{self.path.name}: record {header.sequence} says that its picture takes "
                f"{header.text_bytes:,} bytes, expected at most {most:,}: nothing can be written "
                "behind it; save what is here with `pxvm network repair`"
            )

    def _set_aside(self, data: bytes) -> None:
        path = self.path.with_name(self.path.name + ".cut")
        aside = self.files.open(path, writable=True, create=not self.files.exists(path))
        try:
            aside.write(aside.size(), data)
            aside.sync()
        finally:
            aside.close()
        self.files.settle(path.parent)

    def append(self, pieces: Sequence[Piece], page: int, generation: int) -> list[Place]:
        """Adds ``pieces`` with one commit; they are durable when it returns.

        On `OSError` (disk full) the page is as before.
        """
        self.mend()
        before = self.cursor
        data, cursor, places = lay_out(pieces, before, page, generation)
        try:
            self._handle.write(before.slot + SLOT, data)
            self._handle.sync()
        except OSError:
            self._handle.truncate(before.slot + SLOT)
            raise
        self.clean = False
        self._handle.write(before.slot, LINK)
        self._handle.sync()
        self._handle.write(0, page_head(cursor)[: layout.HEAD_CHANGES])
        self.cursor, self.clean = cursor, True
        self._window = (0, b"")
        return places

    def changed(self) -> bool:
        """Whether the file has grown, shrunk or ends otherwise than `look` or `append` saw."""
        slot = self.cursor.slot
        if not self.clean or self.size() != slot + SLOT:
            return True
        return self._handle.read(slot, SLOT) != layout.tail(self.cursor.adler)
