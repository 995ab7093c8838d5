"""Records on their way into a page, and the bytes that they become there."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from pxvm.learning.store import layout
from pxvm.learning.store.layout import LINK, ROW, SLOT, Header, Info
from pxvm.learning.store.record import Payload

#: Level 6 saves 1% of the bytes and costs a fifth more time.
_LEVEL = 5
#: Pictures that a thread deflates before it asks for more.
_GROUP = 16


@dataclass(frozen=True)
class Piece:
    """A record ready to be laid out, without what depends on its place.

    ``text`` holds the picture's packed rows, (rows, 128); ``deflated`` the same as it stands in a
    file already, or nothing.
    """

    kind: int
    sequence: int
    time: int
    flags: int
    identity: bytes
    payload: Payload
    text: NDArray[np.uint8] = field(repr=False)
    deflated: bytes = field(default=b"", repr=False)

    @property
    def data_rows(self) -> int:
        return 1 + -(-len(self.payload.data) // ROW)

    @property
    def rows(self) -> int:
        return self.data_rows + len(self.text)


def _deflated(piece: Piece) -> bytes:
    """The picture as a deflate stream that inflates alone and ends on a byte."""
    if piece.deflated:
        return piece.deflated
    deflater = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, -15)
    return deflater.compress(layout.lines(piece.text)) + deflater.flush(zlib_ng.Z_FULL_FLUSH)


def _deflate_all(pieces: Sequence[Piece]) -> list[bytes]:
    """The pictures of all ``pieces``, deflated by as many threads as there are processors."""
    groups = [pieces[i : i + _GROUP] for i in range(0, len(pieces), _GROUP)]
    if len(groups) < 2:
        return [_deflated(piece) for piece in pieces]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda group: [_deflated(piece) for piece in group], groups)
        return [deflated for group in done for deflated in group]


class Place(NamedTuple):
    """Where a record stands on its page: the file offset (or the row, in a foreign file)."""

    offset: int
    header: Header


class Cursor(NamedTuple):
    """The end of the picture, and all that the next record needs to know of those before it."""

    slot: int
    rows: int
    adler: int
    records: int
    last: int
    previous: bytes


class Gap(NamedTuple):
    """Bytes of a page in which a record was expected and none found."""

    start: int
    stop: int


def beginning(previous: bytes) -> Cursor:
    """The cursor of a page without records; ``previous`` is the digest of the page before."""
    return Cursor(layout.FIRST_SLOT, 0, 1, 0, 0, previous)


def lay_out(
    pieces: Sequence[Piece], cursor: Cursor, page: int, generation: int
) -> tuple[bytes, Cursor, list[Place]]:
    """The bytes of ``pieces`` from behind the cursor's slot to their own TAIL included."""
    parts: list[bytes] = []
    places: list[Place] = []
    for piece, deflated in zip(pieces, _deflate_all(pieces), strict=True):
        if places:
            parts.append(LINK)
        offset = cursor.slot + SLOT
        body = piece.payload.data
        body += bytes(-len(body) % ROW)
        header = Header(
            kind=piece.kind,
            codec=piece.payload.codec,
            flags=piece.flags,
            data_rows=piece.data_rows,
            text_rows=len(piece.text),
            sequence=piece.sequence,
            time=piece.time,
            stored=piece.payload.stored,
            raw=piece.payload.raw,
            vectors=piece.payload.vectors,
            payload_crc=zlib.crc32(body),
            text_crc=zlib.crc32(piece.text.tobytes()),
            row=cursor.rows,
            adler=cursor.adler,
            page=page,
            generation=generation,
            text_bytes=len(deflated),
            previous=cursor.previous,
            identity=piece.identity,
        )
        data = layout.lines(np.frombuffer(header.pack() + body, np.uint8).reshape(-1, ROW))
        where = layout.extent(offset, header)
        fill = layout.padding(where.slot - 4 - where.text - where.text_size)
        parts += (layout.data_chunk(data), layout.chunk(b"IDAT", deflated + fill))
        adler = zlib.adler32(layout.lines(piece.text), zlib.adler32(data, cursor.adler))
        places.append(Place(offset, header))
        cursor = Cursor(
            where.slot,
            cursor.rows + header.rows,
            adler,
            cursor.records + 1,
            offset,
            header.digest(),
        )
    parts.append(layout.tail(cursor.adler))
    return b"".join(parts), cursor, places


def whole_page(pieces: Sequence[Piece], previous: bytes, page: int, generation: int) -> bytes:
    """The bytes of a new page with ``pieces``."""
    data, cursor, _ = lay_out(pieces, beginning(previous), page, generation)
    return page_head(cursor) + LINK + data


def page_head(cursor: Cursor) -> bytes:
    """The first 512 bytes of a page that ends at ``cursor``."""
    info = Info(cursor.slot, cursor.last, cursor.records, cursor.rows, cursor.adler)
    return layout.head(info)
