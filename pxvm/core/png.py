"""PNG files as a list of chunks, checked before anything is allocated.

Only structure lives here (RFC 2083 / W3C PNG, third edition); pixels are decoded by zlib for plain
RGBA rows and by Pillow for every other lossless kind.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pxvm.core.errors import FormatError, LimitError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 1 << 29  # 2 GiB of RGBA
LARGEST_RATIO = 1032  # a deflate stream expands at most 1032 : 1
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8), 2: (8,), 3: (1, 2, 4, 8), 4: (8,), 6: (8,)}
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


@dataclass(frozen=True)
class Header:
    """The IHDR chunk: extents in pixels, bits a channel, PNG colour type, interlacing."""

    width: int
    height: int
    depth: int
    color_type: int
    interlaced: bool

    @property
    def raw_bytes(self) -> int:
        """Bytes of the inflated stream, filter bytes included."""
        bits = self.depth * CHANNELS[self.color_type]
        if not self.interlaced:
            return self.height * (1 + (self.width * bits + 7) // 8)
        total = 0
        for x, y, step_x, step_y in ADAM7:
            columns = max(0, -(-(self.width - x) // step_x))
            rows = max(0, -(-(self.height - y) // step_y))
            total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
        return total


@dataclass(frozen=True)
class Chunk:
    """A chunk's type and where its data lie in the file."""

    kind: bytes
    offset: int
    length: int


def parse_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """The 13 data bytes of IHDR, checked. Raises FormatError or LimitError."""
    width, height, depth, color_type, compression, filters, interlace = struct.unpack(
        ">IIBBBBB", data
    )
    if not 0 < width < 1 << 31 or not 0 < height < 1 << 31:
        raise FormatError(f"byte 16: extents are 1..2147483647; found {width} x {height}")
    if depth == 16:
        raise FormatError("byte 24: at most 8 bits a channel; found 16: convert the image first")
    if depth not in DEPTHS.get(color_type, ()):
        raise FormatError(f"byte 24: colour type {color_type} with {depth} bits does not exist")
    if compression or filters or interlace > 1:
        raise FormatError(
            f"byte 26: unknown compression {compression}, filter {filters}, interlace {interlace}"
        )
    if width * height > max_pixels:
        raise LimitError(f"byte 16: {width} x {height} pixels are over the limit of {max_pixels}")
    return Header(width, height, depth, color_type, bool(interlace))


def read_header(file: BinaryIO, size: int, max_pixels: int = MAX_PIXELS) -> Header:
    """Signature and IHDR at the start of an open file of ``size`` bytes."""
    head = file.read(33)
    if head[:8] != SIGNATURE[: len(head)] or not head:
        raise FormatError(f"byte 0: no PNG signature; found {head[:8]!r}")
    if len(head) < 33 or size < 57:
        raise FormatError(f"byte {size}: the file ends here; a PNG has at least 57 bytes")
    length, kind = struct.unpack(">I4s", head[8:16])
    if length != 13 or kind != b"IHDR":
        raise FormatError(f"byte 8: expected IHDR of 13 bytes; found {kind!r} of {length}")
    if zlib.crc32(head[12:29]) != int.from_bytes(head[29:33], "big"):
        raise FormatError("byte 29: the checksum of IHDR does not fit: the file is damaged")
    return parse_header(head[16:29], max_pixels)


def chunks(file: BinaryIO, size: int) -> Iterator[Chunk]:
    """Every chunk after IHDR up to IEND, lengths and checksums checked; reads in pieces."""
    offset = 33
    while True:
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8:
            raise FormatError(f"byte {offset}: the file ends here, without IEND: it is truncated")
        length, kind = struct.unpack(">I4s", head)
        if offset + 12 + length > size:
            raise FormatError(
                f"byte {offset}: chunk {kind!r} claims {length} bytes; the file has"
                f" {max(0, size - offset - 12)} left: it is truncated or damaged"
            )
        crc, left = zlib.crc32(kind), length
        while left:
            piece = file.read(min(left, 1 << 20))
            crc, left = zlib.crc32(piece, crc), left - len(piece)
        if crc != int.from_bytes(file.read(4), "big"):
            raise FormatError(
                f"byte {offset + 8 + length}: the checksum of chunk {kind!r} at byte {offset} does"
                " not fit: the file is damaged"
            )
        _check_kind(kind, offset)
        yield Chunk(kind, offset + 8, length)
        if kind == b"IEND":
            if offset + 12 + length != size:
                raise FormatError(
                    f"byte {offset + 12 + length}: {size - offset - 12 - length} bytes follow IEND;"
                    " expected the end of the file"
                )
            return
        offset += 12 + length


def _check_kind(kind: bytes, offset: int) -> None:
    if kind == b"acTL":
        raise FormatError(f"byte {offset}: the PNG is animated; expected a single image")
    critical = not kind[0] & 0x20
    if not kind.isalpha() or (critical and kind not in (b"PLTE", b"IDAT", b"IEND")):
        raise FormatError(f"byte {offset}: unknown critical chunk {kind!r}")


def check_stream(header: Header, found: list[Chunk]) -> None:
    """Raise unless the IDAT chunks are consecutive and could hold the image."""
    kinds = [chunk.kind for chunk in found]
    data = [index for index, kind in enumerate(kinds) if kind == b"IDAT"]
    if not data:
        raise FormatError("the PNG has no IDAT chunk, so no pixels")
    if data[-1] - data[0] + 1 != len(data):
        raise FormatError(f"byte {found[data[-1]].offset}: IDAT chunks are not consecutive")
    if header.color_type == 3 and b"PLTE" not in kinds[: data[0]]:
        raise FormatError("the PNG has a palette colour type and no PLTE chunk before IDAT")
    packed = sum(found[index].length for index in data)
    if header.raw_bytes > packed * LARGEST_RATIO:
        raise FormatError(
            f"byte {found[data[0]].offset}: {packed} compressed bytes cannot hold"
            f" {header.raw_bytes} bytes of pixels: a decompression bomb or a damaged header"
        )


def inflate(file: BinaryIO, header: Header, found: list[Chunk]) -> bytearray:
    """The inflated stream of all IDAT chunks: exactly ``header.raw_bytes`` bytes.

    Raises FormatError when the stream is damaged, too short or too long.
    """
    expected = header.raw_bytes
    out, used = bytearray(expected), 0
    engine = zlib.decompressobj()
    try:
        for chunk in found:
            if chunk.kind != b"IDAT":
                continue
            file.seek(chunk.offset)
            left = chunk.length
            while left:
                piece = file.read(min(left, 1 << 20))
                left -= len(piece)
                while piece and not engine.eof:
                    data = engine.decompress(piece, min(expected - used + 1, 1 << 22))
                    if used + len(data) > expected:
                        raise FormatError(
                            f"the pixel stream is longer than the {expected} bytes of IHDR"
                        )
                    out[used : used + len(data)] = data
                    used += len(data)
                    piece = engine.unconsumed_tail
                if piece or engine.unused_data:
                    raise FormatError("data follow the end of the pixel stream in IDAT")
    except zlib.error as error:
        raise FormatError(f"the pixel stream is damaged after {used} bytes: {error}") from None
    if used != expected or not engine.eof:
        raise FormatError(f"the pixel stream ends after {used} of {expected} bytes")
    return out


def chunk_bytes(kind: bytes, data: bytes) -> bytes:
    """A whole chunk: length, type, data, checksum."""
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))
