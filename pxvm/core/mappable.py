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

import ctypes
import mmap
import os
import struct
import sys
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import LimitError
from pxvm.core.png import (
    BAND_BYTES,
    END,
    SIGNATURE,
    Header,
    Source,
    chunk,
    framed_rows,
    header_chunk,
)

MAX_MAPPABLE_WIDTH = 16_380  # a stored block holds 65,535 bytes, one of them the filter byte
MAX_CHUNK_BYTES = 2**31 - 1
FIRST_ROW = 64
GAP = 16
FIRST_PIXEL = FIRST_ROW + GAP
LAST_BLOCK = b"\x01\x00\x00\xff\xff"
TAIL_BYTES = len(LAST_BLOCK) + 4 + 4 + len(END)


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
    """Do length, head, first and last row and tail have exactly the mappable layout?"""
    width, height = header.width, header.height
    stride = 4 * width + GAP
    tail = FIRST_ROW + height * stride
    if width > MAX_MAPPABLE_WIDTH or _data_bytes(width, height) > MAX_CHUNK_BYTES:
        return False
    if source.size != tail + TAIL_BYTES:
        return False
    prefix = _row_prefix(width)
    return (
        source.at(0, FIRST_ROW) == _head(width, height)
        and source.at(FIRST_ROW, GAP) == prefix
        and source.at(tail - stride, GAP) == prefix
        and source.at(tail, len(LAST_BLOCK)) == LAST_BLOCK
        and source.at(tail + TAIL_BYTES - len(END), len(END)) == END
    )


def map_pixels(descriptor: int, size: int, header: Header, extra_rows: int) -> NDArray[np.uint8]:
    """The pixels of a mappable file as an array over a private mapping that it owns."""
    height, width = header.height, header.width
    stride = 4 * width + GAP
    shape, strides = (height + extra_rows, width, 4), (stride, 4, 1)
    if not extra_rows:
        mapping = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
    elif os.name == "posix" and ctypes.sizeof(ctypes.c_long) == 8:
        mapping = _map_longer(descriptor, size, FIRST_ROW + (height + extra_rows) * stride)
        tail = FIRST_ROW + height * stride
        mapping[tail:size] = bytes(size - tail)
    else:
        image = np.zeros(shape, np.uint8)
        image[:height] = map_pixels(descriptor, size, header, 0)
        return image
    pixels: NDArray[np.uint8] = np.ndarray(shape, np.uint8, mapping, FIRST_PIXEL, strides)
    return pixels


def _map_longer(descriptor: int, size: int, length: int) -> mmap.mmap:
    """A private mapping of a file that goes on with zeros up to ``length`` bytes.

    An anonymous mapping reserves the addresses and unmaps them all when it is collected; the
    file is laid over its front, where MAP_FIXED replaces the pages.
    """
    no_reserve = 0x4000 if sys.platform == "linux" else 0
    mapping = mmap.mmap(
        -1, max(size, length), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve
    )
    system_map = ctypes.CDLL(None, use_errno=True).mmap
    system_map.restype = ctypes.c_void_p
    system_map.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    fixed = 0x10  # MAP_FIXED, on Linux, macOS and the BSDs alike
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    placed = system_map(address, size, protection, mmap.MAP_PRIVATE | fixed, descriptor, 0)
    if placed != address:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return mapping


def check_rows(source: Source, header: Header) -> None:
    """Raise FormatError at the first row whose 16 bytes are not those of the layout."""
    stride = 4 * header.width + GAP
    expected = np.frombuffer(_row_prefix(header.width), np.uint8)
    band = max(1, BAND_BYTES // stride)
    for y in range(0, header.height, band):
        offset = FIRST_ROW + y * stride
        rows = np.frombuffer(
            source.at(offset, min(band, header.height - y) * stride), np.uint8
        ).reshape(-1, stride)
        wrong = np.flatnonzero((rows[:, :GAP] != expected).any(axis=1))
        if len(wrong):
            row = int(wrong[0])
            raise source.error(
                offset + row * stride,
                f"the mappable header of row {y + row}, {expected.tobytes().hex(' ')}",
                rows[row, :GAP].tobytes().hex(" "),
                "read it with read_image and save it again",
            )


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
