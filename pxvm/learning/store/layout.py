"""The bytes of a page: header row, slots, chunks, where each thing stands. Pure functions.

```text
0     PNG signature, IHDR (1024 wide, 1 bit, grey), pxVM (where the page ends), tEXt, IDAT 78 01
512   SLOT, then for each record: data IDAT, text IDAT, SLOT
```

Every number in this module is part of the format; docs/KNOWLEDGE_FORMAT.md says why.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDTH = 1024
ROW = WIDTH // 8
LINE = ROW + 1
VERSION = 1

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAGIC = b"\x89pxREC\r\n"
SECTOR = 512
FIRST_SLOT = SECTOR
#: Only the first bytes of the head differ between two states of a page.
HEAD_CHANGES = 81
SLOT = 30
#: Most rows that a record's picture may have, and the highest number of a record.
MOST_ROWS, MOST_NUMBER = 1_000_000, 2**53 - 1
#: Rows in one stored deflate block (65,535 bytes at most).
BLOCK_ROWS = 65535 // LINE
#: From a record's offset to its header row: chunk head, block head, filter byte.
HEADER_AT = 8 + 5 + 1
EMPTY_STORED = b"\x00\x00\x00\xff\xff"
EMPTY_BOTH = b"\x02\x00\x00\x00\xff\xff"
SHORT_PADS = frozenset((0, 5, 6, 10, 11, 12, 15, 16, 17, 18))
_NOTE = (
    b"A pxVM knowledge network. Its records are in the pixels: read the first one in a viewer. "
    b"Rows of 128 bytes, first pixel = highest bit, white = 1; a record begins with the row that "
    b"starts with the bytes 89 70 78 52 45 43 0D 0A."
)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


LINK = chunk(b"IDAT", EMPTY_BOTH * 3)
IEND = chunk(b"IEND", b"")


def tail(adler: int) -> bytes:
    """The slot that ends the picture."""
    return chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", adler)) + IEND


class Info(NamedTuple):
    """What the pxVM chunk says: a hint where the page ends, never the only place that knows."""

    tail: int
    last: int
    records: int
    rows: int
    adler: int
    version: int = VERSION


_INFO = struct.Struct(">QQQIII")


def head(info: Info) -> bytes:
    """The first 512 bytes of a page."""
    size = struct.pack(">IIBBBBB", WIDTH, info.rows, 1, 0, 0, 0, 0)
    fixed = SIGNATURE + chunk(b"IHDR", size) + chunk(b"pxVM", _INFO.pack(*info))
    stream = chunk(b"IDAT", b"\x78\x01")
    room = FIRST_SLOT - len(fixed) - len(stream) - 12
    return fixed + chunk(b"tEXt", (b"Description\0" + _NOTE).ljust(room)) + stream


def read_head(data: bytes) -> Info | None:
    """The pxVM chunk of a page's first 512 bytes, or None when any of the frame is not ours."""
    if len(data) < FIRST_SLOT or data[37:41] != b"pxVM":
        return None
    info = Info(*_INFO.unpack(data[41:77]))
    return info if head(info) == data[:FIRST_SLOT] else None


def newer_version(data: bytes) -> int | None:
    """The version that a page's first 512 bytes name, if it is above ours and they are whole."""
    info, checksum = data[41:77], data[77:81]
    if data[37:41] != b"pxVM" or zlib.crc32(data[37:77]) != int.from_bytes(checksum, "big"):
        return None
    version = Info(*_INFO.unpack(info)).version
    return version if version > VERSION else None


class Header(NamedTuple):
    """A record's first row: 128 bytes."""

    kind: int
    codec: int
    flags: int
    data_rows: int
    text_rows: int
    sequence: int
    time: int
    stored: int
    raw: int
    vectors: int
    payload_crc: int
    text_crc: int
    row: int
    adler: int
    page: int
    generation: int
    text_bytes: int
    previous: bytes
    identity: bytes

    def pack(self) -> bytes:
        body = _HEADER.pack(VERSION, *self)
        return MAGIC + struct.pack(">I", zlib.crc32(body)) + body

    @property
    def rows(self) -> int:
        return self.data_rows + self.text_rows

    def digest(self) -> bytes:
        """What the next record holds as ``previous``."""
        return hashlib.sha256(self.pack()).digest()[:16]


_HEADER = struct.Struct(">BBBBIIQqIIIIIIIIII16s32s")
START = bytes(16)


def read_header(data: bytes | memoryview) -> Header | None:
    """The header that the 128 bytes of a row hold, or None where they are none."""
    if data[:8] != MAGIC or len(data) != ROW:
        return None
    body = data[12:]
    if zlib.crc32(body) != int.from_bytes(data[8:12], "big"):
        return None
    version, *values = _HEADER.unpack(body)
    header = Header(*values)
    size = header.stored + header.vectors
    fits = header.data_rows == 1 + -(-size // ROW) and header.text_rows <= MOST_ROWS
    return header if version == VERSION and fits else None


def number_after(before: int, said: int) -> int:
    """A record's number behind that of the record before it (-1 for none): what its header says,
    or the next one where that does not follow."""
    return said if before < said <= MOST_NUMBER else before + 1


def data_size(rows: int) -> int:
    """Bytes that so many data rows take in their chunk."""
    return rows * LINE + 5 * -(-rows // BLOCK_ROWS)


class Extent(NamedTuple):
    """Where the parts of a record stand in the file: computed, so that no chunk head is trusted."""

    data_end: int
    text: int
    text_size: int
    slot: int


def extent(offset: int, header: Header) -> Extent:
    """The parts of the record whose data chunk begins at ``offset``.

    The text chunk is padded until the slot after it stands in one 512-byte sector in which no data
    row of the record lies: that sector is written again by the next append.
    """
    data_end = offset + 12 + data_size(header.data_rows)
    begin = data_end + 12 + header.text_bytes
    slot = begin
    if slot // SECTOR * SECTOR < data_end:
        slot = -(-data_end // SECTOR) * SECTOR
    if slot % SECTOR > SECTOR - SLOT:
        slot = -(-slot // SECTOR) * SECTOR
    while not is_pad(slot - begin) or slot % SECTOR > SECTOR - SLOT:
        slot += 1
    return Extent(data_end, data_end + 8, header.text_bytes, slot)


def is_pad(size: int) -> bool:
    """Whether empty deflate blocks of 5 and 6 bytes can fill ``size`` bytes."""
    return size >= 20 or size in SHORT_PADS


def padding(size: int) -> bytes:
    """``size`` bytes of empty deflate blocks."""
    sixes = size % 5
    return EMPTY_BOTH * sixes + EMPTY_STORED * ((size - 6 * sixes) // 5)


def lines(rows: NDArray[np.uint8]) -> bytes:
    """Packed rows of shape (rows, 128), each behind its filter byte 0."""
    filtered = np.zeros((len(rows), LINE), np.uint8)
    filtered[:, 1:] = rows
    return filtered.tobytes()


def data_chunk(data_lines: bytes) -> bytes:
    """The IDAT of stored blocks that holds a record's data rows."""
    parts: list[bytes] = []
    for start in range(0, len(data_lines), BLOCK_ROWS * LINE):
        block = data_lines[start : start + BLOCK_ROWS * LINE]
        parts += (b"\x00", struct.pack("<HH", len(block), len(block) ^ 0xFFFF), block)
    return chunk(b"IDAT", b"".join(parts))
