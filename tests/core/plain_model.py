"""Dialect 0 in plain Python: a second, independent reading of the same rules.

Written from the text of the rules, pixel by pixel, with Python's ints and floats and ``struct``;
no NumPy, nothing of ``pxvm`` but its errors' vocabulary. It is slow and has no cleverness, so
that an executor which disagrees with it is probably wrong. ``benchmarks/matmul.py`` times it as
element-by-element Python.

A picture is a list of rows, a row a list of pixels, a pixel ``[R, G, B, A]``.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

Picture = list[list[list[int]]]

LETTERS = "HDARMB"
NUMBERS = {0: "H", 1: "D", 2: "A", 3: "R", 4: "M"}
ROWS_NAMED = {"H": 0, "D": 3, "A": 3, "R": 1, "M": 3, "B": 3}

FLOAT32_MAX = (2 - 2**-23) * 2.0**127
FLOAT32_SMALLEST_NORMAL = 2.0**-126


class Refused(Exception):
    """The program must not run (``index`` None) or its index-th instruction cannot."""

    def __init__(self, reason: str, index: int | None = None) -> None:
        super().__init__(reason)
        self.index = index


@dataclass
class Tensor:
    """Elements in reading order; value = byte / scale + offset."""

    rows: int
    columns: int
    kind: str  # "headerless", "plain" or "quantised"
    elements: list[int]
    scale: float = 1.0
    offset: float = 0.0

    def values(self) -> list[float]:
        return [byte / self.scale + self.offset for byte in self.elements]


def picture(width: int, height: int) -> Picture:
    """An empty picture."""
    return [[[0, 0, 0, 0] for _ in range(width)] for _ in range(height)]


def from_bytes(data: bytes, width: int, height: int) -> Picture:
    """A picture from RGBA bytes."""
    pixels = [list(data[i : i + 4]) for i in range(0, 4 * width * height, 4)]
    return [pixels[y * width : (y + 1) * width] for y in range(height)]


def to_bytes(image: Picture) -> bytes:
    """RGBA bytes of a picture."""
    return bytes(channel for row in image for pixel in row for channel in pixel)


def run(image: Picture, max_steps: int = 1024) -> int:
    """Run in place; returns the number of instructions executed. Raises Refused."""
    program = load(image)
    for index, (letter, operands) in enumerate(program):
        if letter == "H" or index == max_steps:
            return index
        try:
            EXECUTE[letter](image, *operands)
        except Refused as refused:
            raise Refused(str(refused), index) from None
    return len(program)


def load(image: Picture) -> list[tuple[str, list[int]]]:
    """Row 0 up to the first Halt as (letter, [G, B, A]). Raises Refused."""
    program = []
    for red, *operands in image[0]:
        letter = chr(red) if chr(red) in LETTERS else NUMBERS.get(red)
        if letter is None:
            raise Refused(f"unknown opcode {red}")
        program.append((letter, operands))
        if letter == "H":
            break
    for letter, operands in program:
        for row in operands[: ROWS_NAMED[letter]]:
            if not 1 <= row < len(image):
                raise Refused(f"row {row} is no data row")
    return program


def first_column(kind: str) -> int:
    """The column at which elements stand, on every row."""
    return {"headerless": 0, "plain": 1, "quantised": 3}[kind]


def place(image: Picture, row: int, number: int, kind: str) -> tuple[int, int]:
    """(y, x) of the number-th element: right to the edge, then on at the same first column."""
    first = first_column(kind)
    down, right = divmod(number, len(image[0]) - first)
    return row + down, first + right


def fits(image: Picture, row: int, count: int, kind: str) -> bool:
    """True when ``count`` elements of a tensor at ``row`` lie inside the picture."""
    if len(image[0]) <= first_column(kind):
        return False
    return place(image, row, max(count, 1) - 1, kind)[0] < len(image)


def find_header(image: Picture, row: int) -> tuple[int, int, str] | None:
    """(rows, columns, kind) of a valid header: neither is 0 and the elements fit."""
    columns_low, columns_high, rows_low, rows_high = image[row][0]
    rows, columns = rows_low + 256 * rows_high, columns_low + 256 * columns_high
    a_scale_follows = len(image[0]) > 1 and image[row][1][1:] != [0, 0, 0]
    kind = "quantised" if a_scale_follows else "plain"
    if rows == 0 or columns == 0 or not fits(image, row, rows * columns, kind):
        return None
    return rows, columns, kind


def read(image: Picture, row: int) -> Tensor:
    """The matrix at ``row``. Raises Refused."""
    header = find_header(image, row)
    if header is None:
        raise Refused(f"no valid header at row {row}")
    rows, columns, kind = header
    scale, offset = 1.0, 0.0
    if kind == "quantised":
        (scale,) = struct.unpack("<f", bytes(image[row][1]))
        (offset,) = struct.unpack("<f", bytes(image[row][2]))
        if not (FLOAT32_SMALLEST_NORMAL <= scale < math.inf and math.isfinite(offset)):
            raise Refused(f"scale {scale} or offset {offset} at row {row}")
    elements = []
    for number in range(rows * columns):
        y, x = place(image, row, number, kind)
        elements.append(image[y][x][0])
    return Tensor(rows, columns, kind, elements, scale, offset)


def read_together(image: Picture, *rows: int) -> list[Tensor]:
    """Operands with headers if all have valid ones, else all headerless.

    Headerless ones are scanned from column 0 until all of them are zero in all channels.
    """
    if all(find_header(image, row) for row in rows):
        return [read(image, row) for row in rows]
    count = 0
    while count < len(image[0]) and any(image[row][count] != [0, 0, 0, 0] for row in rows):
        count += 1
    return [
        Tensor(1, count, "headerless", [pixel[0] for pixel in image[row][:count]]) for row in rows
    ]


def put_header(image: Picture, row: int, rows: int, columns: int) -> None:
    """Write the header pixel."""
    image[row][0] = [columns % 256, columns // 256, rows % 256, rows // 256]


def put_elements(image: Picture, row: int, elements: list[int], kind: str) -> None:
    """Write bytes to the R channel in reading order."""
    for number, element in enumerate(elements):
        y, x = place(image, row, number, kind)
        image[y][x][0] = element


def put_scale(image: Picture, row: int, scale: float, offset: float) -> None:
    """Write scale and offset as float32."""
    image[row][1] = list(struct.pack("<f", scale))
    image[row][2] = list(struct.pack("<f", offset))


def float32(value: float) -> float:
    """Rounded to the nearest float32. Raises Refused when there is none."""
    if abs(value) > FLOAT32_MAX:
        raise Refused(f"{value} does not fit into float32")
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    return float(rounded) + 0.0  # a zero is plus zero


def write(
    image: Picture, row: int, rows: int, columns: int, values: list[float], kind: str
) -> None:
    """Write a result: clamped, or requantised over its own range. Raises Refused."""
    if not fits(image, row, rows * columns, kind) or max(rows, columns) > 65535:
        raise Refused(f"{rows} x {columns} {kind} does not fit at row {row}")
    if kind == "quantised":
        low, high = min(values), max(values)
        offset = float32(low)
        float32(high)
        scale, elements = 1.0, [0] * len(values)
        # Also constant: a range so small that its scale would be no float32.
        if high > low and 255.0 / (high - low) <= FLOAT32_MAX:
            scale = float32(255.0 / (high - low))
            rounded = [math.floor((value - offset) * scale + 0.5) for value in values]
            elements = [min(max(byte, 0), 255) for byte in rounded]
        put_scale(image, row, scale, offset)
    else:
        elements = [int(min(max(value, 0), 255)) for value in values]
    if kind != "headerless":
        put_header(image, row, rows, columns)
    if kind == "plain":
        # What stood here may have been a scale; a plain first element has G, B and A zero.
        image[row][1][1:] = [0, 0, 0]
    put_elements(image, row, elements, kind)


def kind_of_result(*inputs: Tensor) -> str:
    """Quantised if any input is; a matrix of zeros thus takes the encoding of the other."""
    kinds = {tensor.kind for tensor in inputs}
    if "quantised" in kinds:
        return "quantised"
    return "headerless" if "headerless" in kinds else "plain"


def dot(image: Picture, g: int, b: int, a: int) -> None:
    left, right = read_together(image, g, b)
    if len(left.elements) != len(right.elements):
        raise Refused("Dot of different lengths")
    if "quantised" in (left.kind, right.kind):
        raise Refused("Dot of quantised vectors")
    total = 0
    for x, y in zip(left.elements, right.elements, strict=True):
        total += x * y
    image[a][0][0] = total % 256
    image[a][0][1] = total // 256 % 256


def add(image: Picture, g: int, b: int, a: int) -> None:
    left, right = read_together(image, g, b)
    if (left.rows, left.columns) != (right.rows, right.columns):
        raise Refused("Add of different shapes")
    values = [x + y for x, y in zip(left.values(), right.values(), strict=True)]
    write(image, a, left.rows, left.columns, values, kind_of_result(left, right))


def relu(image: Picture, g: int, b: int, a: int) -> None:
    (tensor,) = read_together(image, g)
    if tensor.kind == "quantised":
        values = [value if value > 0.0 else 0.0 for value in tensor.values()]
        write(image, g, tensor.rows, tensor.columns, values, "quantised")


def matmul(image: Picture, g: int, b: int, a: int) -> None:
    left, right = read(image, g), read(image, b)
    if left.columns != right.rows:
        raise Refused("MatMul of shapes that do not meet")
    kind = kind_of_result(left, right)
    if not fits(image, a, left.rows * right.columns, kind):
        raise Refused("MatMul's result does not fit")
    write(image, a, left.rows, right.columns, product(left, right), kind)


def product(left: Tensor, right: Tensor) -> list[float]:
    """left x right: sums of bytes are exact integers; what follows stands in one fixed order."""
    values = []
    for i in range(left.rows):
        for j in range(right.columns):
            both = from_left = from_right = 0
            for t in range(left.columns):
                x = left.elements[i * left.columns + t]
                y = right.elements[t * right.columns + j]
                both += x * y
                from_left += x
                from_right += y
            value = float(both) / (left.scale * right.scale)
            value += (right.offset * float(from_left)) / left.scale
            value += (left.offset * float(from_right)) / right.scale
            value += float(left.columns) * (left.offset * right.offset)
            values.append(value)
    return values


def blit(image: Picture, g: int, b: int, a: int) -> None:
    text = read(image, g)
    if text.kind == "quantised":
        raise Refused("Blit of a quantised text")
    width, height = len(image[0]), len(image)
    glyph_width, glyph_height, first, count = image[b][0]
    if 0 in (glyph_width, glyph_height, count) or glyph_width > width - 1:
        raise Refused("no valid font header")
    per_band = (width - 1) // glyph_width
    last_band = (count - 1) // per_band
    if b + (last_band + 1) * glyph_height > height:
        raise Refused("the font leaves the picture")
    # Where each character goes: (line, position on the line).
    line = position = 0
    cells = []
    for code in text.elements:
        if code == 10:
            line, position = line + 1, 0
            continue
        if not first <= code < first + count:
            raise Refused(f"no glyph for code {code}")
        if position == width // glyph_width:
            line, position = line + 1, 0
        cells.append((code - first, line, position))
        position += 1
    if a + (line + 1) * glyph_height > height:
        raise Refused("the text leaves the picture")
    font = [[list(pixel) for pixel in row] for row in image]
    for glyph, line, position in cells:
        band, column = divmod(glyph, per_band)
        for y in range(glyph_height):
            for x in range(glyph_width):
                source = font[b + band * glyph_height + y][1 + column * glyph_width + x]
                target = image[a + line * glyph_height + y]
                target[position * glyph_width + x] = list(source)


EXECUTE = {"D": dot, "A": add, "R": relu, "M": matmul, "B": blit}
