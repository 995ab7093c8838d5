"""Hypothesis strategies for dialect 0, derived from the table.

``programs`` draws instructions that mostly make sense: for each operand of an opcode its mode
decides what is laid into the picture, so a new opcode with known modes is covered without a line
here. ``hostile_pictures`` draws pictures that mostly make none.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from pxvm.core.isa import OPCODES, Mode, Opcode
from tests.core.plain_model import Picture, first_column, put_scale

DIALECT_0 = [op for op in OPCODES if op.dialect == 0]
HALT = next(op for op in DIALECT_0 if op.name == "Halt")
WORKING = [op for op in DIALECT_0 if op is not HALT]
KINDS = ("plain", "quantised", "headerless", "placeholder")

SCALES = st.sampled_from([85.0, 1.0, 0.5, 2.0**-126, 2.0**120, 3.4e38]) | st.floats(
    2.0**-20, 2.0**20, width=32
)
OFFSETS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-40, -3.4e38]) | st.floats(-1024, 1024, width=32)


def codes(op: Opcode) -> st.SearchStrategy[int]:
    """The R bytes that mean ``op``."""
    return st.sampled_from([c for c in (op.code, op.legacy) if c is not None])


def few_bytes(count: int) -> st.SearchStrategy[bytes]:
    """``count`` bytes, often small or all alike."""
    return st.binary(min_size=count, max_size=count) | st.integers(0, 255).map(
        lambda value: bytes([value]) * count
    )


def rows_for(count: int, width: int, kind: str) -> int:
    """Rows of pixels that a tensor takes."""
    return -(-count // (width - first_column(kind)))


class Layout:
    """A picture of one width that grows downward as tensors are put into it."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.width = draw(st.integers(4, 20))
        self.noise = draw(st.sampled_from([[0, 0, 0, 0]] * 3 + [[0, 0, 0, 255], [7, 9, 0, 255]]))
        self.image: Picture = [[[0, 0, 0, 0] for _ in range(self.width)]]
        self.code: list[list[int]] = []
        self.shapes: dict[int, tuple[int, int]] = {}  # row -> what a reader may expect there
        self.fonts: list[int] = []

    def grow(self, rows: int, *, clean: bool) -> int:
        """Add rows at the bottom; returns the first of them."""
        fill = [0, 0, 0, 0] if clean else self.noise
        row = len(self.image)
        self.image += [[list(fill) for _ in range(self.width)] for _ in range(rows)]
        return row

    def known(self, accept: Callable[[tuple[int, int]], bool]) -> int | None:
        """Sometimes the row of a tensor that is there already."""
        rows = [row for row, shape in self.shapes.items() if accept(shape)]
        return self.draw(st.sampled_from(rows)) if rows and self.draw(st.integers(0, 1)) else None

    def tensor(self, shape: tuple[int, int], kind: str) -> int:
        """Put a new tensor into the picture."""
        count = shape[0] * shape[1]
        if kind == "headerless":
            count = min(count, self.width)
        reading = "plain" if kind == "placeholder" else kind
        # One row more than a placeholder needs, for whatever is written over it.
        row = self.grow(rows_for(count, self.width, "quantised") + 1, clean=True)
        if kind != "headerless":
            self.image[row][0] = [shape[1] % 256, shape[1] // 256, shape[0] % 256, shape[0] // 256]
        if kind == "quantised":
            put_scale(self.image, row, self.draw(SCALES), self.draw(OFFSETS))
        first, speckled = first_column(reading), self.draw(st.integers(0, 3)) == 0
        data = bytes(count) if kind == "placeholder" else self.draw(few_bytes(count))
        for number, byte in enumerate(data):
            down, right = divmod(number, self.width - first)
            self.image[row + down][first + right][0] = byte
            # Only the first element of a plain matrix must have G, B and A zero.
            if speckled and (number or kind == "headerless"):
                self.image[row + down][first + right][1:] = self.noise[1:]
        if kind != "headerless":
            self.shapes[row] = shape
        return row

    def room(self, shape: tuple[int, int], *, header: bool = True) -> int:
        """Room for a result, mostly new, sometimes over something that is there."""
        if self.draw(st.integers(0, 3)) == 0 and self.shapes:
            row = self.draw(st.sampled_from(sorted(self.shapes)))
        else:
            row = self.grow(rows_for(shape[0] * shape[1], self.width, "quantised"), clean=False)
        self.shapes.pop(row, None)
        if header:
            self.shapes[row] = shape
        return row

    def font(self) -> int:
        """Put a font into the picture."""
        if self.fonts and self.draw(st.integers(0, 1)):
            return self.draw(st.sampled_from(self.fonts))
        w, h = self.draw(st.integers(1, 3)), self.draw(st.integers(1, 3))
        first, count = self.draw(st.integers(0, 12)), self.draw(st.integers(1, 8))
        bands = -(-count // ((self.width - 1) // w))
        row = self.grow(bands * h, clean=True)
        pixels = iter(self.draw(st.binary(min_size=4 * self.width, max_size=4 * self.width)))
        for x, four in enumerate(zip(pixels, pixels, pixels, pixels, strict=True)):
            for y in range(bands * h):
                self.image[row + y][x] = [(four[0] + y) % 256, *four[1:]]
        self.image[row][0] = [w, h, first, count]
        self.fonts.append(row)
        return row

    def text(self, font_row: int | None) -> int:
        """Put character codes into the picture, mostly ones that the font holds."""
        first, count = self.image[font_row][0][2:] if font_row else (0, 12)
        inside = st.sampled_from([*range(first, first + count), 10])
        length = self.draw(st.integers(1, 9))
        row = self.tensor((1, length), "plain")
        for number in range(length):
            down, right = divmod(number, self.width - 1)
            self.image[row + down][1 + right][0] = self.draw(inside)
        return row


def _instruction(layout: Layout, op: Opcode) -> list[int]:
    """One instruction of ``op``; each operand's mode decides what it names."""
    draw = layout.draw
    # What gives a scalar takes no quantised operands; one time in eight it is offered some.
    plain_only = Mode.SCALAR_OUT in op.operands and draw(st.integers(0, 7)) > 0
    kinds = [k for k in KINDS if k != "quantised" or not plain_only]
    kind = draw(st.sampled_from(kinds))
    other = draw(st.sampled_from([k for k in kinds if k != "headerless"]))
    same = (draw(st.integers(1, 5)), draw(st.integers(1, 6)))
    chain = list(same)  # a matrix has as many rows as the one before it has columns
    outer = same[0]
    # A text needs to know its font: the font is laid down first.
    font = layout.font() if Mode.FONT_IN in op.operands else None
    operands: list[int] = []
    for number, mode in enumerate(op.operands):
        if mode is Mode.NONE:
            row = draw(st.sampled_from([0, 0, 255]))
        elif mode in (Mode.VECTOR_IN, Mode.VECTOR_UPDATE):
            laid = layout.known(lambda shape: shape == same)
            use = kind if number == 0 or kind == "headerless" else other
            row = laid or layout.tensor(same, use)
        elif mode is Mode.MATRIX_IN:
            laid = layout.known(lambda shape: shape[0] == chain[-1] or not operands)
            if laid is None:
                shape = (chain[-1], draw(st.integers(1, 6)))
                if not operands:
                    shape = same
                laid = layout.tensor(shape, "plain" if kind == "headerless" else other)
            row = laid
            if not operands:
                outer = layout.shapes[row][0]
            chain.append(layout.shapes[row][1])
        elif mode is Mode.VECTOR_OUT:
            row = layout.room(same, header=kind != "headerless")
        elif mode is Mode.MATRIX_OUT:
            row = layout.room((outer, chain[-1]))
        elif mode is Mode.SCALAR_OUT:
            row = layout.room((1, 1), header=False)
        elif mode is Mode.TEXT_IN:
            row = layout.text(font)
        elif mode is Mode.FONT_IN:
            row = font or 0
        elif mode is Mode.CANVAS_OUT:
            over = [*layout.fonts, *layout.shapes]
            if not over or draw(st.integers(0, 3)):
                row = layout.grow(draw(st.integers(1, 24)), clean=False)
            else:
                row = draw(st.sampled_from(over))
        else:
            raise NotImplementedError(f"tests/strategies.py lays nothing down for {mode}")
        operands.append(row)
    return [draw(codes(op)), *operands]


@st.composite
def programs(draw: st.DrawFn, ops: tuple[Opcode, ...] = tuple(WORKING)) -> Picture:
    """Pictures with a program of a few instructions over tensors of every era and encoding."""
    layout = Layout(draw)
    for _ in range(draw(st.integers(1, min(6, layout.width)))):
        if len(layout.image) > 200:
            break
        layout.code.append(_instruction(layout, draw(st.sampled_from(ops))))
    if len(layout.code) < layout.width and draw(st.integers(0, 4)):
        layout.code.append([draw(codes(HALT)), *draw(st.binary(min_size=3, max_size=3))])
    layout.image += [[list(layout.noise) for _ in range(layout.width)] for _ in range(2)]
    layout.code += [[HALT.code, 0, 0, 0]] * (layout.width - len(layout.code))
    layout.image[0] = layout.code
    return layout.image


@st.composite
def hostile_pictures(draw: st.DrawFn) -> Picture:
    """Small pictures of random bytes, some of them nudged toward something that almost runs."""
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 14))
    size = 4 * width * height
    data = draw(st.binary(min_size=size, max_size=size))
    at = [data[i : i + 4] for i in range(0, size, 4)]
    image = [[list(pixel) for pixel in at[y * width : (y + 1) * width]] for y in range(height)]
    some_code = st.sampled_from([c for op in DIALECT_0 for c in (op.code, op.legacy) if c])
    some_row = st.integers(1, max(1, height - 1)) | st.integers(0, height + 1)
    for x in range(width):
        if draw(st.integers(0, 30)):
            image[0][x] = [draw(some_code), *(draw(some_row) for _ in range(3))]
    small = st.integers(0, 5)
    for row in image[1:]:
        match draw(st.integers(0, 6)):
            case 0:  # whatever the bytes were
                continue
            case 1 | 2:  # a plain matrix
                row[0] = [draw(small), 0, draw(small), 0]
                if width > 1:
                    row[1][1:] = [0, 0, 0]
            case 3 | 4:  # a quantised matrix, its scale as likely bad as good
                row[0] = [draw(small), 0, draw(small), 0]
                if width > 2:
                    bits = st.integers(0, 2**32 - 1).map(lambda n: list(struct.pack("<I", n)))
                    real = (SCALES | OFFSETS).map(lambda f: list(struct.pack("<f", f)))
                    row[1], row[2] = draw(real | bits), draw(real | bits)
            case 5:  # a font
                row[0] = [draw(small), draw(small), draw(st.integers(0, 255)), draw(small)]
            case 6:  # a headerless vector
                stop = draw(st.integers(0, width))
                row[stop:] = [[0, 0, 0, 0] for _ in row[stop:]]
                row[0][2:] = [0, 0]
    return image


def to_array(image: Picture) -> np.ndarray:
    """The picture as the executors take it."""
    return np.array(image, np.uint8)
