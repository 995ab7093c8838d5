"""PNG: chunks, checksums and pixels, checked before anything is allocated.

Structure and inflation are ours, because they carry the limits; Pillow is used for one thing, to
undo the row filters. Pixels come out exactly as stored: gamma and colour profiles are ignored,
so every lossless resave of an image decodes to the same RGBA.

Source of formulas and rules: the PNG specification, third edition (W3C, ISO/IEC 15948).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError, LimitError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 2**29  # 2 GiB of RGBA, as much as one mappable file can hold
MAX_WIDTH = 1_000_000  # libpng's own default; it bounds the memory that one row needs
MAX_CHUNKS = 2**18  # 2 GiB in the 8 KiB chunks of a small-minded writer
MAX_INFLATE_RATIO = 1032  # deflate: 258 bytes from two codes of one bit each

BAND_BYTES = 4 << 20  # rows are handled in bands of about this size
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


class Source:
    """A file's bytes, how many there are, and the name by which errors call it."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.stream = stream
        self.name = name
        self.size = stream.seek(0, 2)

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
        raise source.error(0, "the signature of a PNG", start.hex(" ") or "nothing", RESAVE)
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


def scan(source: Source, max_pixels: int) -> Picture:
    """Check every chunk of a file, its order and its checksum, without inflating anything.

    Raises:
        LimitError: the image has more than ``max_pixels`` pixels or a row over ``MAX_WIDTH``.
        FormatError: anything else that is not a still PNG of at most 8 bits a channel.
    """
    header = read_header(source)
    check_size(header.width, header.height, max_pixels, source.name)
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


def check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    """Raise LimitError for an image that is too large to be read back."""
    if width > MAX_WIDTH:
        raise LimitError(f"{name}: width is at most {MAX_WIDTH} pixels; found {width}")
    if width * height > max_pixels:
        raise LimitError(
            f"{name}: an image has at most {max_pixels} pixels; found {width} x {height} ="
            f" {width * height}; raise max_pixels if you trust its origin"
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


class Inflater:
    """The decompressed stream of a picture, read by count, never more of it than asked for.

    ``offset`` is where in the file the compressed piece begins that was taken last.
    """

    def __init__(self, source: Source, picture: Picture) -> None:
        self._source = source
        self._inflate = zlib.decompressobj()
        self._pending = b""
        self.offset = picture.data[0][0]
        self._input = self._compressed(picture.data)

    def _compressed(self, spans: list[tuple[int, int]]) -> Iterator[bytes]:
        for start, length in spans:
            for piece in self._source.pieces(start, length):
                self.offset = start
                start += len(piece)
                yield piece

    def _step(self, most: int) -> tuple[bytes, bool]:
        """At most ``most`` bytes, and whether the compressed bytes have run out."""
        if not self._pending:
            self._pending = next(self._input, b"")
        ended = not self._pending
        try:
            data = self._inflate.decompress(self._pending, most)
        except zlib.error as error:
            raise self._source.error(self.offset, "a valid zlib stream", str(error)) from None
        self._pending = self._inflate.unconsumed_tail
        return data, ended

    def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""
        parts: list[bytes] = []
        missing = count
        while missing:
            data, ended = self._step(missing)
            missing -= len(data)
            parts.append(data)
            if missing and (self._inflate.eof or (ended and not data)):
                expected = f"{missing} more bytes of pixels"
                raise self._source.error(self.offset, expected, "the end of the zlib stream")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> None:
        """The stream must end here, with the right Adler-32, and nothing behind it."""
        while not self._inflate.eof:
            data, ended = self._step(1)
            if data:
                raise self._source.error(self.offset, "the end of the pixels", "more data")
            if ended and not self._inflate.eof:
                raise self._source.error(self.offset, "the zlib stream's Adler-32", "nothing")
        if self._inflate.unused_data or self._pending or next(self._input, b""):
            raise self._source.error(self.offset, "no bytes after the zlib stream", "some")


def decode(source: Source, picture: Picture, image: NDArray[np.uint8] | None) -> None:
    """Inflate, unfilter and expand every row into ``image``, or only check when it is None.

    Args:
        image: uint8 (height, width, 4), written in place.
    """
    header = picture.header
    inflater = Inflater(source, picture)
    colours = _colours(picture)
    for rows, columns, height, width in header.passes():
        row_bytes = header.row_bytes(width)
        band = max(1, BAND_BYTES // (4 * width))
        target = None if image is None else image[rows, columns]
        above: NDArray[np.uint8] = np.zeros(row_bytes, np.uint8)
        for y in range(0, height, band):
            count = min(band, height - y)
            data = inflater.read(count * (1 + row_bytes))
            stored = np.frombuffer(data, np.uint8).reshape(count, 1 + row_bytes)
            where = f"rows {y} to {y + count - 1}"
            if (worst := int(stored[:, 0].max())) > 4:
                expected = f"row filters 0 to 4 in {where}"
                raise source.error(inflater.offset, expected, str(worst), RESAVE)
            plain = _unfilter(stored, above, header.bytes_per_pixel)
            above = plain[-1]
            out = np.empty((count, width, 4), np.uint8) if target is None else target[y : y + count]
            if (index := _expand(plain, header, colours, out)) is not None:
                expected = f"palette indices below {len(colours)} in {where}"
                raise source.error(inflater.offset, expected, str(index), RESAVE)
    inflater.finish()


def _unfilter(
    stored: NDArray[np.uint8], above: NDArray[np.uint8], bytes_per_pixel: int
) -> NDArray[np.uint8]:
    """Undo the row filters of a band whose preceding row is ``above``.

    A filter works on bytes, so rows of any colour type go through Pillow's decoder as 8-bit
    images of as many channels as a pixel has bytes; ``above`` leads the band, unfiltered.
    """
    if not stored[:, 0].any():
        return stored[:, 1:]
    from PIL import Image

    band = np.zeros((stored.shape[0] + 1, stored.shape[1]), np.uint8)
    band[0, 1:] = above
    band[1:] = stored
    mode = ("L", "LA", "RGB", "RGBA")[bytes_per_pixel - 1]
    size = (above.size // bytes_per_pixel, band.shape[0])
    plain = Image.frombytes(mode, size, zlib.compress(band.tobytes(), 0), "zip", mode, 0)
    return np.frombuffer(plain.tobytes(), np.uint8).reshape(band.shape[0], above.size)[1:]


def _colours(picture: Picture) -> NDArray[np.uint8]:
    """RGBA of every grey value or palette index; for RGB, the one transparent colour if any."""
    header = picture.header
    low_bytes = np.frombuffer(picture.transparency, np.uint8)[1::2]
    if header.colour_type == 0:
        count = 2**header.bit_depth
        table = np.full((count, 4), 255, np.uint8)
        table[:, :3] = np.linspace(0, 255, count, dtype=np.uint8)[:, None]
        table[low_bytes & (count - 1), 3] = 0
        return table
    if header.colour_type == 3:
        palette = np.frombuffer(picture.palette, np.uint8).reshape(-1, 3)
        table = np.full((len(palette), 4), 255, np.uint8)
        table[:, :3] = palette
        table[: len(picture.transparency), 3] = np.frombuffer(picture.transparency, np.uint8)
        return table
    return low_bytes.reshape(-1, 3)


def _expand(
    plain: NDArray[np.uint8], header: Header, colours: NDArray[np.uint8], out: NDArray[np.uint8]
) -> int | None:
    """Write unfiltered rows as RGBA into ``out``; a palette index out of range is returned."""
    count, width = out.shape[:2]
    if header.bit_depth < 8:
        per_byte = 8 // header.bit_depth
        shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * np.uint8(header.bit_depth)
        mask = np.uint8(2**header.bit_depth - 1)
        plain = ((plain[:, :, None] >> shifts) & mask).reshape(count, -1)[:, :width]
    samples = plain.reshape(count, width, CHANNELS[header.colour_type])
    if header.colour_type == 6:
        out[:] = samples
    elif header.colour_type == 4:
        out[:, :, :3] = samples[:, :, :1]
        out[:, :, 3] = samples[:, :, 1]
    elif header.colour_type == 2:
        out[:, :, :3] = samples
        out[:, :, 3] = 255
        if len(colours):
            out[(samples == colours[0]).all(axis=2), 3] = 0
    else:
        if (highest := int(samples.max())) >= len(colours):
            return highest
        out[:] = colours[samples[:, :, 0]]
    return None


def framed_rows(image: NDArray[np.uint8], prefix: bytes) -> Iterator[NDArray[np.uint8]]:
    """Bands of rows as bytes, each row behind ``prefix``; the buffer is used again."""
    height, width = image.shape[:2]
    stride = len(prefix) + 4 * width
    band = min(height, max(1, BAND_BYTES // stride))
    buffer = np.empty((band, stride), np.uint8)
    buffer[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    pixels: NDArray[np.uint8] = np.ndarray(
        (band, width, 4), np.uint8, buffer, len(prefix), (stride, 4, 1)
    )
    for y in range(0, height, band):
        count = min(band, height - y)
        pixels[:count] = image[y : y + count]
        yield buffer[:count]
