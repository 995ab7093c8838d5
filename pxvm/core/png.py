"""PNG: header, chunks and their checksums, checked before anything is inflated.

Source of formulas and rules: the PNG specification, third edition (W3C, ISO/IEC 15948).
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pxvm.core.errors import FormatError, LimitError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 2**29  # 2 GiB of RGBA, as much as one mappable file can hold
USUAL_PIXELS = 2**26  # 256 MiB of RGBA: a small file may unfold to so much, unless told otherwise
MAX_WIDTH = 1_000_000  # libpng's own default; it bounds the memory that one row needs
MAX_CHUNKS = 2**18  # 2 GiB in the 8 KiB chunks of a small-minded writer
MAX_INFLATE_RATIO = 1032  # deflate: 258 bytes from two codes of one bit each

READ_BYTES = 1 << 16

COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey+alpha", 6: "RGBA"}
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
BIT_DEPTHS = {0: (1, 2, 4, 8), 2: (8,), 3: (1, 2, 4, 8), 4: (8,), 6: (8,)}
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
ANIMATION = (b"acTL", b"fcTL", b"fdAT")
DAMAGED = "the file is damaged or cut short: fetch or save it again"
RESAVE = "save it again as a plain 8-bit PNG"
SNIFFED = 512  # bytes that tell text from what is none


def file_state(descriptor: int) -> tuple[int, int]:
    """(size, time of the last change in ns) of an open file: what differs once it was written."""
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


class Source:
    """A file's bytes, how many there are, and the name by which errors call it.

    Attributes:
        state: of the file, see ``file_state``; zeros for bytes in memory.
        memory: all the bytes, where they are in memory.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.stream = stream
        self.name = name
        self.size = stream.seek(0, 2)
        self.memory = stream.getbuffer() if isinstance(stream, io.BytesIO) else None
        self.state = (0, 0) if self.memory is not None else file_state(stream.fileno())

    def at(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``offset``."""
        self.stream.seek(offset)
        data = self.stream.read(count)
        if len(data) != count:
            raise self.error(offset, f"{count} bytes", f"{len(data)}, then the end of the file")
        return data

    def pieces(self, offset: int, count: int, size: int = READ_BYTES) -> Iterator[bytes]:
        """The same bytes, a piece at a time."""
        for start in range(offset, offset + count, size):
            yield self.at(start, min(size, offset + count - start))

    def error(self, offset: int, expected: str, found: str, fix: str = DAMAGED) -> FormatError:
        """The error that names ``offset`` in this file."""
        return FormatError(f"{self.name}: byte {offset}: expected {expected}, found {found}; {fix}")


@dataclass(frozen=True)
class Header:
    """What the IHDR chunk says."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    interlaced: bool

    @property
    def bytes_per_pixel(self) -> int:
        """Distance between a byte and the one that a row filter compares it with."""
        return max(1, CHANNELS[self.colour_type] * self.bit_depth // 8)

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of ``width`` pixels, its filter byte not counted."""
        return (width * CHANNELS[self.colour_type] * self.bit_depth + 7) // 8

    def passes(self) -> list[tuple[slice, slice, int, int]]:
        """Each pass as rows and columns of the image, then its height and width in pixels."""
        found = []
        for x, y, dx, dy in ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            height, width = -(-(self.height - y) // dy), -(-(self.width - x) // dx)
            if height > 0 and width > 0:
                found.append((slice(y, None, dy), slice(x, None, dx), height, width))
        return found

    def inflated_bytes(self) -> int:
        """Size of the decompressed stream: rows of every pass, each with its filter byte."""
        return sum(rows * (1 + self.row_bytes(columns)) for _, _, rows, columns in self.passes())


@dataclass
class Picture:
    """A file that passed the scan: its header, and where its pixels are."""

    header: Header
    palette: bytes = b""
    transparency: bytes = b""
    data: list[tuple[int, int]] = field(default_factory=list)
    """Offset and length of what each IDAT chunk holds."""


def chunk(kind: bytes, data: bytes) -> bytes:
    """A whole chunk: length, type, data, CRC-32."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


END = chunk(b"IEND", b"")


def header_chunk(width: int, height: int) -> bytes:
    """The IHDR of an RGBA image of 8 bits a channel, not interlaced."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))


def read_header(source: Source) -> Header:
    """Check the signature and the IHDR chunk, and say what it declares."""
    start = source.at(0, min(8, source.size))
    if start != SIGNATURE:
        raise source.error(0, "the signature of a PNG", *_other_kind(source, start))
    length, kind = struct.unpack(">I4s", source.at(8, 8))
    if (length, kind) != (13, b"IHDR"):
        raise source.error(8, "chunk IHDR of 13 bytes", f"{_name(kind)} of {length} bytes")
    data = source.at(16, 13)
    _check_crc(source, 8, zlib.crc32(kind + data), 13)
    width, height, depth, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", data)
    for offset, value, what in ((16, width, "width"), (20, height, "height")):
        if not 1 <= value < 2**31:
            raise source.error(offset, f"a {what} of 1 to 2147483647", str(value))
    if depth == 16:
        raise source.error(24, "at most 8 bits a channel", "16", RESAVE)
    if depth not in BIT_DEPTHS.get(colour, ()):
        raise source.error(24, "a valid pair of bit depth and colour type", f"{depth}, {colour}")
    for offset, value, highest in ((26, compression, 0), (27, filters, 0), (28, interlace, 1)):
        if value > highest:
            raise source.error(offset, f"a method of at most {highest}", str(value))
    return Header(width, height, depth, colour, bool(interlace))


def _other_kind(source: Source, start: bytes) -> tuple[str, str]:
    """(what was found where a PNG should begin, what to do about it)."""
    if start[:4] == b"GGUF":
        return "a GGUF file", "`pxvm import` makes a picture of it"
    try:  # a decoder of pieces: the last character may be cut
        head = getincrementaldecoder("utf-8")().decode(source.at(0, min(SNIFFED, source.size)))
    except UnicodeDecodeError:
        head = ""
    if head and all(letter.isprintable() or letter in "\t\r\n" for letter in head):
        return "text", "`pxvm asm` makes a program of font-code text"
    return start.hex(" ") or "nothing", RESAVE


def scan(source: Source, header: Header) -> Picture:
    """Check every chunk of a file, its order and its checksum, without inflating anything.

    Raises:
        LimitError: there are more than ``MAX_CHUNKS`` chunks.
        FormatError: anything else that is not a still PNG of at most 8 bits a channel.
    """
    picture = Picture(header)
    offset, previous = 33, b"IHDR"
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack(">I4s", source.at(offset, 8))
        if length > source.size - offset - 12:
            left = f"at most {max(0, source.size - offset - 12)} bytes of data before the file ends"
            raise source.error(offset, left, f"{_name(kind)} of {length}")
        _check_kind(source, picture, offset, kind, length, previous)
        crc = zlib.crc32(kind)
        for piece in source.pieces(offset + 8, length, 1 << 20):
            crc = zlib.crc32(piece, crc)
        _check_crc(source, offset, crc, length)
        if kind == b"IDAT":
            picture.data.append((offset + 8, length))
        elif kind == b"PLTE":
            picture.palette = source.at(offset + 8, length)
        elif kind == b"tRNS":
            picture.transparency = source.at(offset + 8, length)
        offset, previous = offset + 12 + length, kind
        if kind == b"IEND":
            _check_end(source, picture, offset)
            return picture
    raise LimitError(f"{source.name}: byte {offset}: over {MAX_CHUNKS} chunks; {RESAVE}")


def check_size(width: int, height: int, name: str) -> None:
    """Raise LimitError for an image that is too large to be written or read at all."""
    if width > MAX_WIDTH:
        raise LimitError(f"{name}: width is at most {MAX_WIDTH} pixels; found {width}")
    if width * height > MAX_PIXELS:
        raise LimitError(
            f"{name}: an image has at most {MAX_PIXELS} pixels; found {width} x {height} ="
            f" {width * height}"
        )


def check_limit(source: Source, header: Header, max_pixels: int | None) -> None:
    """Raise LimitError for an image that is larger than the caller allows.

    None allows ``USUAL_PIXELS``, and to a larger file a pixel for each of its bytes: what unfolds
    to far more than it holds is opened only by those who trust its origin.
    """
    width, height = header.width, header.height
    check_size(width, height, source.name)
    limit = max(USUAL_PIXELS, source.size) if max_pixels is None else max_pixels
    if width * height > limit:
        raise LimitError(
            f"{source.name}: a file of {source.size} bytes may unfold to at most {limit} pixels;"
            f" found {width} x {height} = {width * height}; if you trust its origin, allow them"
            f" by --max-pixels {width * height} (in Python: max_pixels)"
        )


def _name(kind: bytes) -> str:
    return f"chunk {kind.decode('ascii')}" if kind.isalpha() else f"chunk type {kind.hex(' ')}"


def _check_crc(source: Source, offset: int, computed: int, length: int) -> None:
    stored = int.from_bytes(source.at(offset + 8 + length, 4), "big")
    if stored != computed:
        expected = f"CRC {computed:08x} of the chunk at byte {offset}"
        raise source.error(offset + 8 + length, expected, f"{stored:08x}")


def _check_kind(
    source: Source, picture: Picture, offset: int, kind: bytes, length: int, previous: bytes
) -> None:
    """Is this chunk allowed here, with this length?"""
    colour, depth = picture.header.colour_type, picture.header.bit_depth
    found = f"{_name(kind)} of {length} bytes"
    if not kind.isalpha():
        raise source.error(offset + 4, "a chunk type of four letters", found)
    if kind in ANIMATION:
        raise source.error(offset, "a still image", f"animation {found}", "export one frame")
    if kind == b"IDAT":
        if picture.data and previous != b"IDAT":
            raise source.error(offset, "all IDAT chunks in a row", f"one after {_name(previous)}")
        if colour == 3 and not picture.palette:
            raise source.error(offset, "a PLTE chunk before the pixels", found)
    elif kind == b"PLTE":
        if colour in (0, 4) or picture.data or picture.palette or picture.transparency:
            raise source.error(offset, "one PLTE, before tRNS and IDAT, in a colour image", found)
        most = 2**depth if colour == 3 else 256
        if length % 3 or not 3 <= length <= 3 * most:
            raise source.error(offset, f"1 to {most} colours of 3 bytes", found)
    elif kind == b"tRNS":
        if colour in (4, 6) or picture.data or picture.transparency:
            raise source.error(offset, "one tRNS, before IDAT, in an image with no alpha", found)
        shortest = {0: 2, 2: 6, 3: 1}[colour]
        longest = len(picture.palette) // 3 if colour == 3 else shortest
        if not shortest <= length <= longest:
            raise source.error(offset, f"tRNS of {shortest} to {longest} bytes", found)
    elif kind == b"IEND":
        if length:
            raise source.error(offset, "IEND of 0 bytes", found)
    elif kind[:1].isupper():
        raise source.error(offset, "a critical chunk of the PNG standard", found, RESAVE)


def _check_end(source: Source, picture: Picture, end: int) -> None:
    """After IEND: nothing follows, there were pixels, and they can unfold to their size."""
    if end != source.size:
        # Refused, because no checksum covers them: damage there could not be told.
        extra = f"{source.size - end} more bytes"
        raise source.error(end, "the end of the file after IEND", extra, f"cut it to {end} bytes")
    packed = sum(length for _, length in picture.data)
    needed = picture.header.inflated_bytes()
    if needed > packed * MAX_INFLATE_RATIO:
        raise source.error(
            picture.data[0][0] if picture.data else end - 12,
            f"at least {-(-needed // MAX_INFLATE_RATIO)} bytes of IDAT for the declared size",
            f"{packed} (deflate unfolds to {MAX_INFLATE_RATIO} times its size at most)",
        )
