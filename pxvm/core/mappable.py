"""The mappable layout: a PNG whose bytes are the array.

Its pixels are stored uncompressed, each row behind 16 bytes, so that a row of a width that is a
multiple of 4 starts at a multiple of 16:

    byte 0    signature, IHDR (8-bit RGBA)
    byte 33   chunk pxVM, 9 bytes "mappable1": moves the first pixel to byte 80
    byte 54   length and type of the one IDAT chunk
    byte 62   zlib header 78 01
    byte 64   per row: two empty stored blocks (5 bytes each), the header of a stored block (5),
              the filter byte 0, then 4 x width bytes of pixels
    ...       last, empty stored block (5), Adler-32, CRC-32, IEND

The name pxVM follows the PNG rules: p ancillary (a viewer may skip it), x private, V reserved,
M unsafe to copy: an editor that rewrites the pixels must drop it, since it describes their layout.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import LimitError
from pxvm.core.mapping import MappedFile, can_map_longer, mapped_file
from pxvm.core.png import (
    END,
    SIGNATURE,
    Header,
    Source,
    chunk,
    header_chunk,
)
from pxvm.core.scanlines import framed_rows

MAX_MAPPABLE_WIDTH = 16_380  # a stored block holds 65,535 bytes, one of them the filter byte
MAX_CHUNK_BYTES = 2**31 - 1
READ_WHOLE_BYTES = 1 << 24  # a file of at most so many bytes is read and verified, not mapped
FIRST_ROW = 64
GAP = 16
FIRST_PIXEL = FIRST_ROW + GAP
LAST_BLOCK = b"\x01\x00\x00\xff\xff"
TAIL_BYTES = len(LAST_BLOCK) + 4 + 4 + len(END)
PREFIXES = 1 << 16  # rows whose prefixes are compared at a time

Buffer = bytes | memoryview | mmap.mmap


def check_mappable_size(width: int, height: int) -> None:
    """Raise LimitError for an image that this layout cannot hold."""
    if width > MAX_MAPPABLE_WIDTH:
        raise LimitError(
            f"image: a mappable row has at most {MAX_MAPPABLE_WIDTH} pixels; found {width};"
            ' arrange it narrower, or use layout="compressed"'
        )
    if (length := _data_bytes(width, height)) > MAX_CHUNK_BYTES:
        raise LimitError(
            f"image: a mappable file holds at most {MAX_CHUNK_BYTES} bytes of data; found"
            f' {length}; split it, or use layout="compressed"'
        )


def _head(width: int, height: int) -> bytes:
    """The first 64 bytes of a mappable file."""
    return (
        SIGNATURE
        + header_chunk(width, height)
        + chunk(b"pxVM", b"mappable1")
        + struct.pack(">I4s", _data_bytes(width, height), b"IDAT")
        + b"\x78\x01"
    )


def _row_prefix(width: int) -> bytes:
    """The 16 bytes before the pixels of a row of a mappable file."""
    length = 4 * width + 1
    return b"\x00\x00\x00\xff\xff" * 2 + struct.pack("<BHHB", 0, length, length ^ 0xFFFF, 0)


def _data_bytes(width: int, height: int) -> int:
    """Length of the one IDAT chunk: zlib header, rows, last block, Adler-32."""
    return 2 + height * (4 * width + GAP) + len(LAST_BLOCK) + 4


def is_mappable(source: Source, header: Header) -> bool:
    """Is every byte of the file that is neither pixel nor checksum exactly as the layout says?"""
    if not _has_frame(source, header):
        return False
    if source.size <= READ_WHOLE_BYTES:
        return _rows_are_plain(source.at(0, source.size), header)
    return _rows_are_plain(_in_place(source), header)


def _has_frame(source: Source, header: Header) -> bool:
    """Do the length, the first 64 bytes and the last ones have exactly the layout?"""
    width, height = header.width, header.height
    tail = FIRST_ROW + height * (4 * width + GAP)
    if width > MAX_MAPPABLE_WIDTH or _data_bytes(width, height) > MAX_CHUNK_BYTES:
        return False
    if source.size != tail + TAIL_BYTES:
        return False
    return (
        source.at(0, FIRST_ROW) == _head(width, height)
        and source.at(tail, len(LAST_BLOCK)) == LAST_BLOCK
        and source.at(tail + TAIL_BYTES - len(END), len(END)) == END
    )


def _rows_are_plain(file: Buffer, header: Header) -> bool:
    """Are the 16 bytes before every row those of the layout? Touches one page of each row."""
    stride = 4 * header.width + GAP
    expected = np.frombuffer(_row_prefix(header.width), np.uint64)
    for y in range(0, header.height, PREFIXES):
        shape = (min(PREFIXES, header.height - y), 2)
        offset = FIRST_ROW + y * stride
        prefixes: NDArray[np.uint64] = np.ndarray(shape, np.uint64, file, offset, (stride, 8))
        if (prefixes != expected).any():
            return False
    return True


def _in_place(source: Source) -> Buffer:
    return MappedFile(source).map(source.size) if source.memory is None else source.memory


def map_pixels(source: Source, header: Header, extra_rows: int) -> NDArray[np.uint8] | None:
    """The pixels of a file where they stand, or None for one to be read whole.

    That is one of at most ``READ_WHOLE_BYTES``, and one that is not exactly of this layout.

    Returns:
        uint8 (height + extra_rows, width, 4) over a private mapping that it owns, or over the
        bytes of a source in memory; ``extra_rows`` of zeros come last.
    """
    if source.size <= READ_WHOLE_BYTES or not _has_frame(source, header):
        return None
    file = _in_place(source)
    if not _rows_are_plain(file, header):
        return None
    image = _pixels(file, header.height, header.width)
    return map_again(image, extra_rows) if extra_rows else image


def map_again(image: NDArray[np.uint8], extra_rows: int) -> NDArray[np.uint8] | None:
    """A mapped image as its file holds it, in memory of its own, ``extra_rows`` of zeros behind.

    None where the image is not mapped. Raises FormatError when the file has changed.
    """
    file = mapped_file(image)
    if file is None:
        return None
    width = image.shape[1]
    stride = 4 * width + GAP
    tail = file.size - TAIL_BYTES
    height = (tail - FIRST_ROW) // stride
    if not can_map_longer():
        copy = np.zeros((height + extra_rows, width, 4), np.uint8)
        copy[:height] = _pixels(file.map(file.size), height, width)
        return copy
    mapping = file.map(max(file.size, tail + extra_rows * stride))
    mapping[tail : file.size] = bytes(TAIL_BYTES)
    return _pixels(mapping, height + extra_rows, width)


def _pixels(file: Buffer, height: int, width: int) -> NDArray[np.uint8]:
    strides = (4 * width + GAP, 4, 1)
    pixels: NDArray[np.uint8] = np.ndarray((height, width, 4), np.uint8, file, FIRST_PIXEL, strides)
    return pixels


def write_mappable(stream: BinaryIO, image: NDArray[np.uint8]) -> None:
    """Write an image of a size that fits, a band of rows at a time."""
    height, width = image.shape[:2]
    head = _head(width, height)
    stream.write(head)
    adler, crc = 1, zlib.crc32(head[-6:])
    for rows in framed_rows(image, _row_prefix(width)):
        stream.write(rows.data)
        crc = zlib.crc32(rows.data, crc)
        adler = zlib.adler32(rows[:, GAP - 1 :].tobytes(), adler)
    tail = LAST_BLOCK + struct.pack(">I", adler)
    stream.write(tail + struct.pack(">I", zlib.crc32(tail, crc)) + END)
