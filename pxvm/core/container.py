"""`.pxi` files: open, save, map, check.

A `.pxi` is a lossless PNG of at most 8 bits a channel, decoded to RGBA. Two layouts exist; both
run and any viewer opens both:

* *compressed*, for shipping;
* *mappable*: RGBA with stored deflate blocks, so that pixels are memory-mapped with no copy. One
  IDAT holds the rows; each row is two empty stored blocks, the header of one stored block and the
  filter byte 0 (16 bytes), then 4 x width bytes. A private chunk ``pxMp`` of 9 zero bytes before
  IDAT puts the first pixel at byte 80, so that every row starts 16-byte aligned when the width is
  a multiple of 4.

      0 signature | 8 IHDR | 33 pxMp, 9 bytes | 54 IDAT, data at 62: 78 01, then rows of
      16 + 4 x width bytes from 64 on | empty final block 01 00 00 FF FF | Adler-32 | CRC | IEND
"""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import struct
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pxvm.core import png
from pxvm.core.errors import FormatError, LimitError
from pxvm.core.png import MAX_PIXELS

Image = NDArray[np.uint8]

LAYOUTS = ("compressed", "mappable")
MAX_MAPPABLE_WIDTH = 16380  # one stored block holds 65,535 bytes: the filter byte and 16,383 pixels
GAP = 16  # bytes before each row's pixels
FIRST_ROW = 64
PAD_KIND = b"pxMp"  # ancillary, private, not safe to copy: an editor that moves pixels drops it
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
TRAILER = len(EMPTY_BLOCK) + 4 + 4 + 12  # final block, Adler-32, CRC of IDAT, IEND
LARGEST_CHUNK = (1 << 31) - 1


@dataclass(frozen=True)
class FileInfo:
    """What ``inspect_file`` finds without decoding."""

    width: int
    height: int
    depth: int
    color_type: int
    interlaced: bool
    layout: str
    bytes: int


def _row_prefix(width: int) -> bytes:
    length = 1 + 4 * width
    return EMPTY_BLOCK * 2 + struct.pack("<BHH", 0, length, length ^ 0xFFFF) + b"\x00"


def _mappable_front(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    length = 2 + height * (GAP + 4 * width) + len(EMPTY_BLOCK) + 4
    return (
        png.SIGNATURE
        + png.chunk_bytes(b"IHDR", header)
        + png.chunk_bytes(PAD_KIND, bytes(9))
        + struct.pack(">I4s", length, b"IDAT")
        + b"\x78\x01"
    )


def _mappable_size(width: int, height: int) -> int:
    return FIRST_ROW + height * (GAP + 4 * width) + TRAILER


def _is_mappable(file: BinaryIO, size: int, header: png.Header) -> bool:
    """True when front, first and last row and trailer are those of the mappable layout."""
    w, h = header.width, header.height
    if header.depth != 8 or header.color_type != 6 or header.interlaced:
        return False
    if w > MAX_MAPPABLE_WIDTH or size != _mappable_size(w, h):
        return False
    file.seek(0)
    if file.read(FIRST_ROW) != _mappable_front(w, h):
        return False
    for row in (0, h - 1):
        file.seek(FIRST_ROW + row * (GAP + 4 * w))
        if file.read(GAP) != _row_prefix(w):
            return False
    file.seek(size - TRAILER)
    trailer = file.read(TRAILER)
    return trailer[:5] == b"\x01" + EMPTY_BLOCK[1:] and trailer[-12:] == png.chunk_bytes(
        b"IEND", b""
    )


def inspect_file(path: str | Path) -> FileInfo:
    """Header and layout of a `.pxi` in constant time. Raises FormatError and OSError."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = png.read_header(file, size)
        layout = LAYOUTS[_is_mappable(file, size, header)]
    return FileInfo(
        header.width,
        header.height,
        header.depth,
        header.color_type,
        header.interlaced,
        layout,
        size,
    )


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode a whole `.pxi`: uint8 array (height, width, 4), RGBA, contiguous and writable.

    Every checksum is checked. Raises FormatError (with the byte offset) when the file is no PNG,
    truncated, damaged, 16-bit or animated; LimitError above ``max_pixels``; OSError.
    """
    with Path(path).open("rb") as file:
        return _decode(file, os.fstat(file.fileno()).st_size, max_pixels)


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image:
    """As ``read_image``, from bytes."""
    return _decode(io.BytesIO(data), len(data), max_pixels)


def _decode(file: BinaryIO, size: int, max_pixels: int) -> Image:
    file.seek(0)
    header = png.read_header(file, size, max_pixels)
    found = list(png.chunks(file, size))
    png.check_stream(header, found)
    raw = png.inflate(file, header, found)
    width, height = header.width, header.height
    if header.depth == 8 and header.color_type == 6 and not header.interlaced:
        rows = np.frombuffer(raw, np.uint8).reshape(height, 1 + 4 * width)
        if not rows[:, 0].any():
            return np.array(rows[:, 1:].reshape(height, width, 4))
    del raw
    return _decode_with_pillow(file, header)


def _decode_with_pillow(file: BinaryIO, header: png.Header) -> Image:
    from PIL import PngImagePlugin

    file.seek(0)
    try:
        # The plugin class, not Image.open: our limit has been checked, Pillow's does not apply.
        with PngImagePlugin.PngImageFile(file) as picture:
            picture.load()
            image = np.array(picture.convert("RGBA"), np.uint8)
    except (SyntaxError, OSError, ValueError, struct.error, zlib.error) as error:
        raise FormatError(f"the PNG cannot be decoded: {error}") from None
    if image.shape != (header.height, header.width, 4):
        raise FormatError(f"the PNG decodes to {image.shape[1]} x {image.shape[0]} pixels")
    return image


def check_file(path: str | Path) -> None:
    """Check every byte of a `.pxi`: structure, checksums, pixel stream. Raises FormatError."""
    read_image(path)


def open_image(path: str | Path, *, extra_rows: int = 0) -> Image:
    """Open a `.pxi` to run it: uint8 array (height + extra_rows, width, 4), RGBA, writable.

    A mappable file is memory-mapped copy-on-write in constant time: structure and length are
    checked, not the checksums (``check_file`` does that), writes never reach the file, and rows
    are 4 x width + 16 bytes apart. Any other file is decoded by ``read_image``. The extra rows
    are zero.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = png.read_header(file, size)
        if not _is_mappable(file, size, header):
            decoded = _decode(file, size, MAX_PIXELS)
            decoded.resize((header.height + extra_rows, header.width, 4), refcheck=False)
            return decoded
        memory = _map(file, size, header, extra_rows)
    shape = (header.height + extra_rows, header.width, 4)
    strides = (GAP + 4 * header.width, 4, 1)
    image: Image = np.ndarray(shape, np.uint8, memory, FIRST_ROW + GAP, strides)
    return image


def _map(file: BinaryIO, size: int, header: png.Header, extra_rows: int) -> Image:
    """The file's bytes as private memory, followed by zeros for the extra rows."""
    if not extra_rows:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
    pixels_end = size - TRAILER
    total = pixels_end + extra_rows * (GAP + 4 * header.width)
    if os.name != "posix":
        memory = np.zeros(total, np.uint8)
        file.seek(0)
        file.readinto(memory[:pixels_end].data)  # type: ignore[attr-defined]
        return memory
    return _map_behind(file.fileno(), size, pixels_end, total)


def _map_behind(descriptor: int, size: int, pixels_end: int, total: int) -> Image:
    """Reserve ``total`` bytes of zeros and map the file over their front (POSIX)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    access, failed = mmap.PROT_READ | mmap.PROT_WRITE, ctypes.c_void_p(-1).value
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    total = max(total, size)
    start = libc.mmap(None, total, access, flags, -1, 0)
    if start == failed:
        raise OSError(ctypes.get_errno(), f"cannot reserve {total} bytes of memory")
    fixed = 0x10  # MAP_FIXED on Linux, macOS and the BSDs
    if libc.mmap(start, size, access, mmap.MAP_PRIVATE | fixed, descriptor, 0) == failed:
        error = ctypes.get_errno()
        libc.munmap(start, total)
        raise OSError(error, "cannot map the file")
    buffer = (ctypes.c_uint8 * total).from_address(start)
    weakref.finalize(buffer, libc.munmap, start, total)
    memory = np.ctypeslib.as_array(buffer)
    memory[pixels_end:size] = 0
    return memory


def _check_pixels(image: Image) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        found = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}"
        raise FormatError(f"an image is a uint8 array (height, width, 4); found {found}")
    if image.shape[2] != 4 or 0 in image.shape:
        raise FormatError(f"an image has shape (height, width, 4); found {image.shape}")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise LimitError(f"{image.shape[1]} x {image.shape[0]} pixels are over {MAX_PIXELS}")


def save_image(image: Image, path: str | Path, *, layout: str = "compressed") -> None:
    """Write an image atomically: temporary file in the same folder, fsync, rename.

    Args:
        image: uint8 array (height, width, 4), RGBA; rows may be padded.
        layout: "compressed" or "mappable" (width at most 16,380).

    Raises FormatError or LimitError for an image that cannot be written, and OSError; the old
    file at ``path`` is then untouched.
    """
    _check_pixels(image)
    if layout not in LAYOUTS:
        raise FormatError(f"layout is one of {', '.join(LAYOUTS)}; found {layout!r}")
    pieces = _compressed(image) if layout == "compressed" else _mappable(image)
    _write_atomically(Path(path), pieces)


def _compressed(image: Image) -> Iterator[bytes]:
    height, width = image.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    yield png.SIGNATURE + png.chunk_bytes(b"IHDR", header)
    engine = zlib.compressobj(6)
    batch = max(1, (1 << 22) // (4 * width))
    for y in range(0, height, batch):
        rows = image[y : y + batch]
        lines = np.zeros((len(rows), 1 + 4 * width), np.uint8)
        lines[:, 1:] = rows.reshape(len(rows), -1)
        if data := engine.compress(lines.data):
            yield png.chunk_bytes(b"IDAT", data)
    yield png.chunk_bytes(b"IDAT", engine.flush())
    yield png.chunk_bytes(b"IEND", b"")


def _mappable(image: Image) -> Iterator[bytes]:
    height, width = image.shape[:2]
    if width > MAX_MAPPABLE_WIDTH:
        raise LimitError(
            f"a mappable image is at most {MAX_MAPPABLE_WIDTH} pixels wide; found {width}: lay it"
            " out narrower or save it compressed"
        )
    if _mappable_size(width, height) > LARGEST_CHUNK:
        raise LimitError(
            f"{width} x {height} pixels need {_mappable_size(width, height)} bytes; a mappable file"
            f" has at most {LARGEST_CHUNK}: save it compressed"
        )
    front = _mappable_front(width, height)
    crc, adler = zlib.crc32(front[58:]), 1
    yield front
    batch = max(1, (1 << 22) // (4 * width))
    prefix = np.frombuffer(_row_prefix(width), np.uint8)
    for y in range(0, height, batch):
        rows = image[y : y + batch]
        lines = np.empty((len(rows), GAP + 4 * width), np.uint8)
        lines[:, :GAP] = prefix
        lines[:, GAP:] = rows.reshape(len(rows), -1)
        data = lines.tobytes()
        crc = zlib.crc32(data, crc)
        adler = zlib.adler32(np.ascontiguousarray(lines[:, GAP - 1 :]).data, adler)
        yield data
    tail = b"\x01" + EMPTY_BLOCK[1:] + struct.pack(">I", adler)
    yield tail + struct.pack(">I", zlib.crc32(tail, crc)) + png.chunk_bytes(b"IEND", b"")


def _write_atomically(path: Path, pieces: Iterator[bytes]) -> None:
    folder = path.parent
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else _new_file_mode())
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _new_file_mode() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def pack(source: str | Path, target: str | Path) -> None:
    """Rewrite a `.pxi` compressed; ``target`` may be ``source``."""
    save_image(read_image(source), target, layout="compressed")


def unpack(source: str | Path, target: str | Path) -> None:
    """Rewrite a `.pxi` in the mappable layout; ``target`` may be ``source``."""
    save_image(read_image(source), target, layout="mappable")
