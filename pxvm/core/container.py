"""The `.pxi` container: a PNG of RGBA pixels, compressed for shipping or laid out for mapping.

Both are ordinary PNG files that any viewer opens; `mappable.py` describes the second. Every writer
here is atomic, every reader checks before it allocates.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError, LimitError
from pxvm.core.mappable import (
    check_mappable_size,
    is_mappable,
    map_pixels,
    write_mappable,
)
from pxvm.core.mapping import check_unchanged
from pxvm.core.png import (
    COLOUR_TYPES,
    END,
    SIGNATURE,
    Source,
    check_limit,
    check_size,
    chunk,
    header_chunk,
    read_header,
    scan,
)
from pxvm.core.reading import open_binary
from pxvm.core.saving import PathLike as PathLike
from pxvm.core.saving import replacing
from pxvm.core.scanlines import decode, framed_rows

IDAT_BYTES = 1 << 20  # of compressed data in one chunk, the last one excepted


@dataclass(frozen=True)
class FileInfo:
    """What a file's first and last bytes say; nothing was decoded."""

    width: int
    height: int
    bit_depth: int
    colour_type: str
    interlaced: bool
    layout: str
    bytes: int


def read_image(path: PathLike, *, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """Read any lossless PNG of at most 8 bits a channel.

    Every checksum is compared, but for those over the pixels of a mappable file of more than
    ``READ_WHOLE_BYTES``: that rule is the same for every way in, and only ``check_file``, ``pack``
    and ``unpack`` compare those as well.

    Args:
        max_pixels: the most that are read; None: ``USUAL_PIXELS``, or one for each byte of a
            larger file.

    Returns:
        uint8 (height, width, 4), RGBA, contiguous and writable.

    Raises:
        LimitError: the image has more than ``max_pixels`` pixels, or more than there is memory.
        FormatError: no PNG, damaged, cut short, 16-bit, animated, or data after its end.
    """
    with _open(path) as source:
        return _owned(source, max_pixels)


def decode_image(data: bytes, *, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """``read_image`` for a file that is already in memory."""
    with _reading(Source(io.BytesIO(data), "image")) as source:
        return _owned(source, max_pixels)


def open_image(
    path: PathLike, *, extra_rows: int = 0, max_pixels: int | None = None
) -> NDArray[np.uint8]:
    """Open an image to work on: the pixels of ``read_image``; the file never changes.

    A mappable file of more than ``READ_WHOLE_BYTES`` is memory-mapped copy-on-write. Another
    program must replace such a file by renaming while it is open, as all that pxvm writes is; one
    that was written over in place is refused by the next run. Any other file is read whole, and
    may change.

    Args:
        extra_rows: so many rows of zeros follow the file's rows in the same array.
        max_pixels: as for ``read_image``.

    Returns:
        uint8 (height + extra_rows, width, 4), RGBA, writable; a mapped one has strides
        (4 x width + 16, 4, 1) and keeps its mapping alive.
    """
    if extra_rows < 0:
        raise LimitError(f"{path}: extra_rows is at least 0; found {extra_rows}")
    with _open(path) as source:
        return _pixels(source, max_pixels, extra_rows)


def save_image(
    image: NDArray[np.uint8], path: PathLike, *, layout: str = "compressed", level: int = 6
) -> None:
    """Write an image as a PNG, atomically: the file is the old one or the whole new one.

    A temporary file in the same folder is written, synced and renamed. Mode bits of a file that
    is replaced are kept, a link is followed.

    Args:
        image: uint8 (height, width, 4), RGBA; any strides.
        layout: "compressed", or "mappable" (width at most 16,380, best a multiple of 4).
        level: of deflate, 0 to 9, for the compressed layout.

    Raises:
        FormatError: not such an array, or no such layout.
        LimitError: larger than the layout can hold.
        OSError: the file cannot be written; what stood there is untouched.
    """
    _check_image(image, layout, level)
    check_unchanged(image)
    with replacing(path) as stream:
        if layout == "mappable":
            write_mappable(stream, image)
        else:
            _write_compressed(stream, image, level)
        check_unchanged(image)


def inspect_file(path: PathLike) -> FileInfo:
    """Say what a file declares and how it is laid out; nothing is decoded."""
    with _open(path) as source:
        header = read_header(source)
        layout = "mappable" if is_mappable(source, header) else "compressed"
        return FileInfo(
            header.width,
            header.height,
            header.bit_depth,
            COLOUR_TYPES[header.colour_type],
            header.interlaced,
            layout,
            source.size,
        )


def check_file(path: PathLike, *, max_pixels: int | None = None) -> None:
    """Verify every byte of a file: chunks, all checksums, the zlib stream, rows. Memory stays
    bounded.

    Raises:
        FormatError: naming the byte offset, what was expected and what was found.
    """
    with _open(path) as source:
        _check(source, max_pixels)


def pack(src: PathLike, dst: PathLike, *, max_pixels: int | None = None) -> None:
    """Rewrite ``src``, fully verified, as a compressed PNG; the two may be the same file.

    The pixels stay the same; chunks that are no pixels (text, profiles) are dropped.
    """
    save_image(_verified(src, max_pixels), dst, layout="compressed")


def unpack(src: PathLike, dst: PathLike, *, max_pixels: int | None = None) -> None:
    """Rewrite ``src``, fully verified, as a mappable PNG; otherwise like ``pack``."""
    save_image(_verified(src, max_pixels), dst, layout="mappable")


@contextlib.contextmanager
def _open(path: PathLike) -> Iterator[Source]:
    with open_binary(path) as stream, _reading(Source(stream, os.fspath(path))) as source:
        yield source


@contextlib.contextmanager
def _reading(source: Source) -> Iterator[Source]:
    """Says of a picture that does not fit into memory how large it is."""
    try:
        yield source
    except (MemoryError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            raise
        header = read_header(source)
        raise LimitError(
            f"{source.name}: {header.width} x {header.height} pixels take"
            f" {4 * header.width * header.height} bytes of memory; found less than that free"
        ) from None


def _pixels(source: Source, max_pixels: int | None, extra_rows: int) -> NDArray[np.uint8]:
    """The one way in: limits, then the pixels where they stand or decoded."""
    header = read_header(source)
    check_limit(source, header, max_pixels)
    mapped = map_pixels(source, header, extra_rows)
    if mapped is not None:
        return mapped
    picture = scan(source, header)
    # Zeroed pages are taken from the system only as rows arrive.
    image = np.zeros((header.height + extra_rows, header.width, 4), np.uint8)
    decode(source, picture, image[: header.height])
    return image


def _owned(source: Source, max_pixels: int | None) -> NDArray[np.uint8]:
    image = _pixels(source, max_pixels, 0)
    if image.flags.owndata:
        return image
    copy = np.array(image, order="C")
    check_unchanged(image)
    return copy


def _verified(path: PathLike, max_pixels: int | None) -> NDArray[np.uint8]:
    """An image whose bytes were all checked, so that a rewrite cannot hide damage."""
    with _open(path) as source:
        image = _pixels(source, max_pixels, 0)
        if not image.flags.owndata:  # mapped: its checksums are still to be compared
            _check(source, max_pixels)
        return image


def _check(source: Source, max_pixels: int | None) -> None:
    header = read_header(source)
    check_limit(source, header, max_pixels)
    decode(source, scan(source, header), None)


def _check_image(image: NDArray[np.uint8], layout: str, level: int) -> None:
    """Refuse what cannot be written, before a file is touched."""
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
    if not isinstance(image, np.ndarray) or kind != np.uint8:
        raise FormatError(
            f"image: expected a NumPy array of uint8, found {kind}; clip and convert it first"
        )
    if image.ndim != 3 or image.shape[2] != 4 or 0 in image.shape:
        raise FormatError(
            f"image: expected shape (height, width, 4) with at least one pixel, found {shape};"
            " add the missing channels"
        )
    if layout not in ("compressed", "mappable"):
        raise FormatError(f'layout: expected "compressed" or "mappable", found {layout!r}')
    if level not in range(10):
        raise FormatError(f"level: expected 0 to 9, found {level!r}")
    height, width = image.shape[:2]
    check_size(width, height, "image")
    if layout == "mappable":
        check_mappable_size(width, height)


def _write_compressed(stream: BinaryIO, image: NDArray[np.uint8], level: int) -> None:
    height, width = image.shape[:2]
    stream.write(SIGNATURE + header_chunk(width, height))
    deflate = zlib.compressobj(level, zlib.DEFLATED, 15, 9, _strategy(image, level))
    packed = bytearray()
    for rows in framed_rows(image, b"\x00"):
        packed += deflate.compress(rows.data)
        if len(packed) >= IDAT_BYTES:
            stream.write(chunk(b"IDAT", bytes(packed)))
            packed.clear()
    packed += deflate.flush()
    stream.write(chunk(b"IDAT", bytes(packed)) + END)


def _strategy(image: NDArray[np.uint8], level: int) -> int:
    """Run lengths only, when samples of a large image show that searching for matches is vain.

    Weights hold no repeated strings: there it packs as tightly and nearly three times as fast.
    """
    height, width = image.shape[:2]
    if height * width < 1 << 20 or level == 0:
        return zlib.Z_DEFAULT_STRATEGY
    columns = image[:, :8192]
    rows = max(1, (1 << 15) // (4 * columns.shape[1]))
    starts = np.linspace(0, height - rows, 8, dtype=np.int64)
    sample = b"".join(columns[y : y + rows].tobytes() for y in starts)
    sizes = []
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE):
        deflate = zlib.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
        sizes.append(len(deflate.compress(sample)) + len(deflate.flush()))
    return zlib.Z_RLE if sizes[1] <= 1.01 * sizes[0] else zlib.Z_DEFAULT_STRATEGY
