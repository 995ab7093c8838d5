"""The rows of a PNG: inflated, unfiltered and expanded to RGBA; framed again for writing.

Inflation is ours, because it carries the limits; Pillow is used for one thing, to undo the row
filters. Pixels come out exactly as stored: gamma and colour profiles are ignored, so every
lossless resave of an image decodes to the same RGBA.

Source of formulas and rules: the PNG specification, third edition (W3C, ISO/IEC 15948).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pxvm.core.png import CHANNELS, RESAVE, Header, Picture, Source

BAND_BYTES = 4 << 20  # rows are handled in bands of about this size


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
