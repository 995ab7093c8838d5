"""A dialect 1 program laid out word by word, for the golden files.

Plain Python and nothing of ``pxvm``, so that a file changes only when its case does. A tensor
stands on image rows of its own unless it is told where; operands are names, ``"+name"`` is
relative to the base at the start, numbers stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

I8, I16, I32, SCALE, ACT1, ACT2, RGBA, PARAMS, I4 = range(1, 10)
CONSTANT, STATE, SCRATCH = range(3)
PC, BASE, STATUS, STEPS, SATURATED, CLAMPED, LOOPS, CALLS = range(8)
LOOP_STACK, CALL_STACK = 8, 40
HIGH, LOW = 2**31 - 1, -(2**31)


def scale(mantissa: int, exponent: int) -> int:
    """A SCALE word."""
    return mantissa | (exponent & 0xFFFF) << 16


def packed(values: Sequence[int], bits: int, offset: int = 0) -> list[int]:
    """Small integers side by side in words, the first in the lowest bits."""
    per, mask = 32 // bits, (1 << bits) - 1
    return [
        sum((v + offset & mask) << bits * n for n, v in enumerate(values[i : i + per]))
        for i in range(0, len(values), per)
    ]


def row_of(dtype: int, values: Sequence[int], size: Any) -> list[int]:
    """The words of one row; ``size`` is an activation's scale word, or the (scale, minimum) of each
    group of an I4 row."""
    if dtype in (I8, ACT1):
        return packed(values, 8, 128) + ([size] if dtype == ACT1 else [])
    if dtype == I16:
        return packed(values, 16)
    if dtype == I4:
        return grouped(values, size)
    if dtype == ACT2:
        high = [(v + 128) // 256 for v in values]
        low = [v - 256 * h for v, h in zip(values, high, strict=True)]
        return [*packed(low, 8, 128), *packed(high, 8, 128), size]
    return [v % 2**32 for v in values]


def grouped(codes: Sequence[int], groups: Sequence[tuple[int, int]]) -> list[int]:
    """An I4 row: codes, then each group's scale, then each group's minimum."""
    order = [codes[i + n] for i in range(0, len(codes), 8) for n in (0, 4, 1, 5, 2, 6, 3, 7)]
    scales, minima = zip(*groups, strict=True)
    return [*packed(order, 4), *packed(scales, 8), *packed(minima, 16)]


class Sheet:
    """A program under construction; ``build`` gives its image."""

    def __init__(self, width: int = 16) -> None:
        self.width = width
        self.code: list[tuple[str | int, tuple[Any, ...]]] = []
        self.names: dict[str, int] = {}
        self.descriptors: list[dict[str, Any]] = []
        self.state: dict[int, int] = {}
        self.base: int | None = None
        self.labels: dict[str, int] = {}
        self.places: dict[str, int] = {}
        self.changes: list[tuple[str, int, int]] = []
        self.areas_at: tuple[int, int, int, int] | None = None
        self.only: tuple[int, int] | None = None  # a (height, width) to cut the words to

    def tensor(self, name: str, dtype: int, extents: tuple[int, ...], data: Any = None,
               role: int = STATE, **fields: Any) -> None:  # fmt: skip
        """Declare a tensor; ``data`` is flat, None for zeros, empty to leave the pixels alone.

        ``fields``: ``frac``; ``scale``, ``bias``, ``length``: names; ``sizes``: scale words of an
        activation's rows, (scale, minimum) of the groups of an I4's; ``side``: word 6; ``skip``:
        words left free before it, or ``beside``:
        (a tensor's name, so many words behind its start).
        """
        self.names[name] = len(self.descriptors)
        self.descriptors.append(
            {"name": name, "dtype": dtype, "extents": extents, "data": data, "role": role} | fields
        )

    def scalar(self, name: str, value: int = 0, role: int = STATE) -> None:
        self.tensor(name, I32, (1,), [value], role)

    def constant(self, name: str, value: int) -> None:
        self.scalar(name, value, CONSTANT)

    def weight(self, name: str, extents: tuple[int, int], data: list[int], scales: list[int],
               **fields: Any) -> None:  # fmt: skip
        """I8 rows and their scales."""
        self.tensor(f"{name} scale", SCALE, (extents[0],), scales, CONSTANT)
        self.tensor(name, I8, extents, data, CONSTANT, scale=f"{name} scale", **fields)

    def parameters(self, name: str, *words: Any) -> None:
        """A parameter block: names of tensors, or words."""
        self.names[name] = len(self.descriptors)
        self.descriptors.append({"name": name, "dtype": PARAMS, "role": CONSTANT, "words": words})

    def shared(self) -> None:
        """What follows belongs to layers: the base at the start is the next descriptor."""
        self.base = len(self.descriptors)

    def emit(self, glyph: str | int, *operands: Any) -> None:
        self.code.append((glyph, operands))

    def label(self, name: str) -> None:
        """Name the next instruction, the start of a subroutine."""
        self.labels[name] = len(self.code)

    def change(self, area: str, offset: int, word: int) -> None:
        """Put a word over what ``build`` writes; ``area``: "header", "code", "state", "data",
        or the name of a descriptor."""
        self.changes.append((area, offset, word % 2**32))

    def operand(self, value: Any) -> int:
        if isinstance(value, str):
            if value.startswith("+"):
                return 128 + self.names[value[1:]] - (self.base or 0)
            return self.names[value]
        return int(value)

    def pixel(self, glyph: str | int, operands: tuple[Any, ...]) -> int:
        if glyph == "C":
            target = self.labels[operands[0]]
            operands = (target & 255, target >> 8, *operands[1:])
        word = ord(glyph) if isinstance(glyph, str) else glyph
        for n, value in enumerate(operands):
            word |= self.operand(value) << 8 * (n + 1)
        return word

    def layout(self) -> tuple[int, int, int, int]:
        """Where code, state, descriptors and the first tensor start."""
        if self.areas_at:
            return self.areas_at
        code, w = 8, self.width
        state = -(-(code + len(self.code)) // w) * w
        table = -(-(state + 64) // w) * w
        return code, state, table, -(-(table + 16 * len(self.descriptors)) // w) * w

    def build(self) -> np.ndarray:
        """The image, uint8 (height, width, 4)."""
        code, state, table, first = self.layout()
        self.first, cells = first, {}
        self.areas = {"header": 0, "code": code, "state": state, "data": first}
        header = [0x31565850, 2, code, len(self.code), table, len(self.descriptors), state]
        cells |= dict(enumerate(header))
        cells |= {code + n: self.pixel(*line) for n, line in enumerate(self.code)}
        cells |= {state + n: 0 for n in range(64)}
        cells[state + BASE] = self.base or 0
        cells |= {state + n: word % 2**32 for n, word in self.state.items()}
        for number, d in enumerate(self.descriptors):
            at = table + 16 * number
            self.areas[d["name"]] = at
            if d["dtype"] == PARAMS:
                words = [self.names.get(v, v) if isinstance(v, str) else v for v in d["words"]]
                words = [PARAMS | d["role"] << 16, *words, *[0] * (9 - len(words))]
            else:
                words = self._tensor(d, cells)
            name = d["name"].encode().ljust(24, b"\0")
            words += [int.from_bytes(name[i : i + 4], "little") for i in range(0, 24, 4)]
            cells |= {at + n: word % 2**32 for n, word in enumerate(words)}
        cells |= {self.areas[area] + offset: word for area, offset, word in self.changes}
        height = -(-(max(self.first, max(cells) + 1)) // self.width)
        image = np.zeros(height * self.width, "<u4")
        image[list(cells)] = list(cells.values())
        if self.only:
            height, self.width = self.only
        return image[: height * self.width].view(np.uint8).reshape(height, self.width, 4)

    def _tensor(self, d: dict[str, Any], cells: dict[int, int]) -> list[int]:
        """Write a tensor's words; returns those of its descriptor but for the name."""
        dtype, extents = d["dtype"], d["extents"]
        cols, rows = extents[-1], int(np.prod(extents[:-1], dtype=int))
        data = [0] * (rows * cols) if d["data"] in (None, []) else list(d["data"])
        sizes = d.get("sizes") or [scale(32768, -15)] * rows
        lines = [row_of(dtype, data[i * cols : (i + 1) * cols], sizes[i]) for i in range(rows)]
        size, w = len(lines[0]), self.width
        side = d.get("side", min(rows, w // size))
        other, words = d.get("beside", (None, d.get("skip", 0)))
        start = words + (self.places[other] if other else self.first)
        self.places[d["name"]] = start
        for number, line in enumerate(lines):
            at = start + number * -(-size // w) * w
            if side:
                at = start + number // side * w + number % side * size
            if d["data"] != []:
                cells |= {at + n: word for n, word in enumerate(line)}
            self.first = max(self.first, -(-(at + size) // w) * w)
        links = [self.names[d[key]] + 1 if d.get(key) else 0 for key in ("scale", "bias", "length")]
        first = dtype | len(extents) << 8 | d["role"] << 16 | (d.get("frac", 0) & 255) << 24
        return [first, *extents, *[1] * (4 - len(extents)), start, side, *links]
