"""Matrices and vectors of dialect 0, as they stand in the pixels.

A matrix has its header at column 0 of its row: ``(cols lo, cols hi, rows lo, rows hi)``. Its
elements follow row-major in the R channel, wrapping at the image's right edge and continuing on
the next row at the same first column:

* *plain*: uint8 values from column 1;
* *quantised*: float32 scale in the four bytes of column 1, float32 offset in column 2 (both
  little-endian), uint8 from column 3; ``value = q / scale + offset``.

Which of the two it is, the pixels tell: a float32 scale never has its three upper bytes all zero,
a plain first element always has. A matrix that is zero throughout is a *placeholder* and takes
the encoding of the other operands.

A *headerless* vector (the oldest files) starts at column 0 and ends where both operands of the
instruction are zero in all four channels, or at the end of the row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pxvm.core.errors import ProgramError
from pxvm.core.parts import Image

FIRST_COLUMN = {"headerless": 0, "plain": 1, "placeholder": 1, "quantised": 3}
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
LARGEST_FLOAT = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Matrix:
    """A matrix read from pixels.

    Attributes:
        row: image row of its header.
        shape: (rows, columns).
        encoding: "plain", "quantised", "placeholder" or "headerless".
        data: uint8 array of ``shape``, a copy.
        scale, offset: float32 values as float64; 1 and 0 unless quantised.
    """

    row: int
    shape: tuple[int, int]
    encoding: str
    data: Image
    scale: float = 1.0
    offset: float = 0.0

    @property
    def values(self) -> NDArray[np.float64]:
        """What the bytes mean: ``data / scale + offset`` as float64 of ``shape``."""
        return self.data / self.scale + self.offset


def rows_needed(count: int, width: int, encoding: str) -> int:
    """Image rows that ``count`` elements occupy in an image ``width`` pixels wide."""
    stride = width - FIRST_COLUMN[encoding]
    return max(1, -(-count // stride)) if stride > 0 else 1 << 32


def spans(row: int, count: int, width: int, encoding: str) -> tuple[tuple[int, int, int], ...]:
    """Pixels of a matrix as (y, x_start, x_stop) runs, header included."""
    first = FIRST_COLUMN[encoding]
    stride = width - first
    runs = []
    for y in range(rows_needed(count, width, encoding)):
        stop = first + min(stride, max(0, count - y * stride))
        runs.append((row + y, 0 if y == 0 else first, stop))
    return tuple(runs)


def check_row(image: Image, row: int) -> None:
    """Raise ProgramError unless ``row`` is a data row of the image."""
    if not 1 <= row < image.shape[0]:
        what = "row 0 holds the instructions" if row == 0 else f"the image has {image.shape[0]}"
        raise ProgramError(f"row {row} is no data row: {what}; expected 1..{image.shape[0] - 1}")


def read_header(image: Image, row: int) -> tuple[int, int] | None:
    """(rows, columns) of the header at ``row``, or None where no valid header stands.

    Valid: neither extent is 0 and the elements fit between the header and the image's end.
    """
    check_row(image, row)
    c0, c1, r0, r1 = (int(v) for v in image[row, 0])
    rows, cols = r0 | r1 << 8, c0 | c1 << 8
    encoding = "quantised" if is_quantised(image, row) else "plain"
    if (
        not rows
        or not cols
        or row + rows_needed(rows * cols, image.shape[1], encoding) > len(image)
    ):
        return None
    return rows, cols


def is_quantised(image: Image, row: int) -> bool:
    """True when the pixel after the header at ``row`` can only be a float32 scale."""
    return image.shape[1] > 1 and bool(image[row, 1, 1:].any())


def _gather(image: Image, row: int, count: int, encoding: str) -> Image:
    height = rows_needed(count, image.shape[1], encoding)
    block = image[row : row + height, FIRST_COLUMN[encoding] :, 0]
    return np.asarray(block.reshape(-1)[:count].copy())


def _scatter(image: Image, row: int, encoding: str, data: Image) -> None:
    first = FIRST_COLUMN[encoding]
    stride = image.shape[1] - first
    full, rest = divmod(data.size, stride)
    flat = data.reshape(-1)
    image[row : row + full, first:, 0] = flat[: full * stride].reshape(full, stride)
    if rest:
        image[row + full, first : first + rest, 0] = flat[full * stride :]


def read_matrix(image: Image, row: int) -> Matrix:
    """Read the matrix whose header stands at ``row``.

    Raises ProgramError when the row is outside the image, no valid header stands there, or the
    scale or offset is not a finite normal float32.
    """
    shape = read_header(image, row)
    if shape is None:
        found = tuple(int(v) for v in image[row, 0])
        cols, rows = found[0] | found[1] << 8, found[2] | found[3] << 8
        raise ProgramError(
            f"row {row} has no valid matrix header: found {found}, that is {rows} x {cols};"
            f" expected (cols lo, cols hi, rows lo, rows hi) with elements that fit into the"
            f" {image.shape[1]} x {image.shape[0]} image"
        )
    count = shape[0] * shape[1]
    if not is_quantised(image, row):
        data = _gather(image, row, count, "plain").reshape(shape)
        empty = not data.any() and not image[row, 1:3].any()
        return Matrix(row, shape, "placeholder" if empty else "plain", data)
    scale, offset = (float(v) for v in image[row, 1:3].copy().view("<f4")[:, 0])
    if not SMALLEST_SCALE <= scale <= LARGEST_FLOAT or not abs(offset) <= LARGEST_FLOAT:
        raise ProgramError(
            f"row {row} has scale {scale!r} and offset {offset!r}; expected a positive normal"
            " float32 scale and a finite offset (plain elements have G, B and A zero)"
        )
    data = _gather(image, row, count, "quantised").reshape(shape)
    return Matrix(row, shape, "quantised", data, scale, offset)


def read_vectors(image: Image, *rows: int) -> tuple[Matrix, ...]:
    """Read operands that may be headerless: with headers if every row has a valid one.

    Otherwise all are headerless and as long as the run of columns, from 0 on, in which at least
    one of them is not zero in all channels.
    """
    headers = [read_header(image, row) for row in rows]
    if None not in headers:
        return tuple(read_matrix(image, row) for row in rows)
    used = np.any([image[row].any(axis=1) for row in rows], axis=0)
    count = len(used) if used.all() else int(np.argmin(used))
    return tuple(
        Matrix(row, (1, count), "headerless", image[row, :count, 0].copy()[None]) for row in rows
    )


def check_fits(image: Image, row: int, shape: tuple[int, int], encoding: str) -> None:
    """Raise ProgramError unless a matrix of ``shape`` can be written at ``row``."""
    check_row(image, row)
    height = rows_needed(shape[0] * shape[1], image.shape[1], encoding)
    if row + height > image.shape[0]:
        raise ProgramError(
            f"a {encoding} {shape[0]} x {shape[1]} result at row {row} needs {height} rows of"
            f" {image.shape[1]} pixels; the image ends after row {image.shape[0] - 1}"
        )
    if max(shape) > 0xFFFF:
        raise ProgramError(f"a result of {shape[0]} x {shape[1]} exceeds the header's 65535")


def write_matrix(
    image: Image,
    row: int,
    data: ArrayLike,
    *,
    encoding: str = "plain",
    scale: float = 1.0,
    offset: float = 0.0,
) -> None:
    """Write a uint8 matrix, header and all, at ``row``; nothing is written on error.

    Args:
        data: two-dimensional, integers 0..255.
        encoding: "plain", "quantised" or "headerless" (R channel of the row only).
        scale, offset: stored as float32 when quantised.
    """
    bytes_ = np.asarray(data)
    if bytes_.ndim != 2 or (bytes_.size and (bytes_.min() < 0 or bytes_.max() > 255)):
        raise ProgramError(
            f"a matrix is two-dimensional with values 0..255; found shape {bytes_.shape}"
            + (f" and values {bytes_.min()}..{bytes_.max()}" if bytes_.size else "")
        )
    shape = (bytes_.shape[0], bytes_.shape[1])
    check_fits(image, row, shape, encoding)
    if encoding != "headerless":
        image[row, 0] = [shape[1] & 255, shape[1] >> 8, shape[0] & 255, shape[0] >> 8]
    if encoding == "quantised":
        image[row, 1:3] = np.array([[scale], [offset]], "<f4").view(np.uint8)
    elif encoding == "plain":
        image[row, 1, 1:] = 0  # what an earlier scale or an opaque background left
    _scatter(image, row, encoding, bytes_.astype(np.uint8))


def quantise(values: ArrayLike) -> tuple[Image, float, float]:
    """Quantise float values over their own range: (uint8 data, scale, offset).

    ``scale = 255 / (max - min)`` and ``offset = min``, both rounded to float32;
    ``q = floor((value - offset) * scale + 0.5)`` clamped to 0..255, in float64. A constant (or a
    range too small for a float32 scale) gets scale 1, offset = the constant, q = 0.

    Raises ProgramError when a value does not fit into float32.
    """
    real = np.asarray(values, np.float64)
    low, high = (float(real.min()), float(real.max())) if real.size else (0.0, 0.0)
    if not (abs(low) <= LARGEST_FLOAT and abs(high) <= LARGEST_FLOAT):
        raise ProgramError(f"values {low!r}..{high!r} do not fit into float32")
    offset = float(np.float32(low)) + 0.0  # never minus zero, which compares equal
    if high == low or 255.0 / (high - low) > LARGEST_FLOAT:
        return np.zeros(real.shape, np.uint8), 1.0, offset
    scale = float(np.float32(255.0 / (high - low)))
    q = np.floor((real - offset) * scale + 0.5)
    return np.clip(q, 0, 255).astype(np.uint8), scale, offset
