"""Dialect 1 in plain Python: pixels as a list of words, every number an unbounded integer.

A second, independent reading of header, descriptors, control flow and the opcodes' table. It
takes programs that the verifier has admitted and checks nothing; a word outside the picture is an
IndexError. No NumPy, and nothing of ``pxvm`` but the names of the opcodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pxvm.core.isa import OPCODES, Flow, Mode, Names
from tests.core.big_integer import Scale, clamp, next_random

I8, I16, I32, SCALE, ACT1, ACT2, RGBA, PARAMS, I4 = range(1, 10)
SCRATCH = 2
LOWEST, HIGHEST = -(2**31), 2**31 - 1
NAMES = {op.code: op for op in OPCODES if op.dialect == 1}


def signed(word: int, bits: int = 32) -> int:
    """Two's complement."""
    word %= 1 << bits
    return word - (1 << bits) if word >> (bits - 1) else word


def as_scale(word: int) -> Scale:
    """Mantissa in the low half, exponent in the high half."""
    return word % 65536, signed(word >> 16, 16)


class Tensor:
    """One descriptor and its pixels."""

    def __init__(self, machine: Machine, index: int) -> None:
        self.machine = machine
        at = machine.header[4] + 16 * index
        words = machine.words[at : at + 16]
        self.index, self.words = index, words
        self.dtype, rank, self.role = words[0] & 255, words[0] >> 8 & 255, words[0] >> 16 & 255
        self.frac = signed(words[0] >> 24, 8)
        if self.dtype == PARAMS:
            return
        self.extents = words[1 : 1 + rank]
        self.cols, self.rows = self.extents[-1], 1
        for extent in self.extents[:-1]:
            self.rows *= extent
        quads = -(-self.cols // 4)
        sizes = {I8: quads, I16: -(-self.cols // 2), ACT1: quads + 1, ACT2: 2 * quads + 1,
                 I4: self.cols // 8 + -(-self.cols // 128) + -(-self.cols // 64)}  # fmt: skip
        self.row_words = sizes.get(self.dtype, self.cols)
        self.bits = 14 if self.dtype == ACT2 else 7
        self.largest = {ACT2: 128 * 257, I4: 15 * 255 + 32767}.get(self.dtype, 128)
        self.scale, self.bias, self.length = (word - 1 for word in words[7:10])

    @property
    def used(self) -> int:
        """Rows in use."""
        if self.length < 0:
            return self.rows
        return clamp(self.machine.tensor(self.length).scalar, 0, self.rows)

    def place(self, row: int) -> int:
        """The word where a row starts."""
        start, per, width = self.words[5], self.words[6], self.machine.width
        if per:
            return start + row // per * width + row % per * self.row_words
        return start + row * -(-self.row_words // width) * width

    def raw(self, row: int) -> list[int]:
        at = self.place(row)
        return self.machine.words[at : at + self.row_words]

    def row(self, row: int) -> list[int]:
        """The elements of a row."""
        words, quads = self.raw(row), -(-self.cols // 4)
        if self.dtype in (I8, ACT1, ACT2):
            planes = [
                [
                    (word >> 8 * i & 255) - 128
                    for word in words[first : first + quads]
                    for i in range(4)
                ]
                for first in (0, quads)
            ]
            if self.dtype != ACT2:
                return planes[0][: self.cols]
            return [256 * h + x for x, h in zip(*planes, strict=True)][: self.cols]
        if self.dtype == I4:
            return self._grouped(words)
        if self.dtype == I16:
            return [signed(word >> 16 * i, 16) for word in words for i in range(2)][: self.cols]
        return words if self.dtype == RGBA else [signed(word) for word in words]

    def _grouped(self, words: list[int]) -> list[int]:
        """Scale times code plus minimum, element by element."""
        found, scales = [], self.cols // 8
        minima = scales + -(-self.cols // 128)
        for column in range(self.cols):
            place, group = column % 8, column // 32
            code = words[column // 8] >> 8 * (place % 4) + 4 * (place // 4) & 15
            scale = words[scales + group // 4] >> 8 * (group % 4) & 255
            minimum = signed(words[minima + group // 2] >> 16 * (group % 2), 16)
            found.append(scale * code + minimum)
        return found

    @property
    def values(self) -> list[list[int]]:
        return [self.row(row) for row in range(self.used)]

    @property
    def flat(self) -> list[int]:
        """Every element, in use or not."""
        return [value for row in range(self.rows) for value in self.row(row)]

    @property
    def scalar(self) -> int:
        return self.row(0)[0]

    def scale_of(self, row: int) -> Scale:
        """An activation row's own scale, or the linked one."""
        if self.dtype in (ACT1, ACT2):
            return as_scale(self.raw(row)[-1])
        if self.scale < 0:
            return 0, 0
        return as_scale(self.machine.tensor(self.scale).raw(0)[row])

    def bias_of(self, column: int) -> int:
        return 0 if self.bias < 0 else self.machine.tensor(self.bias).row(0)[column]

    def inside(self, index: int, count: int) -> int:
        """An index clamped to 0..count - 1, counted when it was not."""
        kept = clamp(index, 0, count - 1)
        self.machine.clamped |= kept != index
        return kept

    def saturate(self, value: int) -> int:
        kept = clamp(value, LOWEST, HIGHEST)
        self.machine.saturated |= kept != value
        return kept

    def put(self, row: int, values: Sequence[int], scale: Scale = (0, 0)) -> None:
        """Write one row; I32 saturates."""
        if self.dtype == I32:
            words = [self.saturate(value) % 2**32 for value in values]
        elif self.dtype == RGBA:
            words = list(values)
        else:
            high = [(x + 128) // 256 for x in values]
            low = [x - 256 * h for x, h in zip(values, high, strict=True)]
            words = []
            for plane in [low, high] if self.dtype == ACT2 else [values]:
                for i in range(0, len(plane), 4):
                    words.append(sum((x + 128) << 8 * n for n, x in enumerate(plane[i : i + 4])))
            words.append(scale[0] | scale[1] % 65536 << 16)
        assert len(words) == self.row_words
        self.machine.write(self.place(row), words)

    def write(self, rows: Sequence[Sequence[int]]) -> None:
        for number, row in enumerate(rows):
            self.put(number, row)

    def write_flat(self, values: Sequence[int]) -> None:
        """Elements in order from the first on; later ones stay."""
        for number in range(0, len(values), self.cols):
            part = list(values[number : number + self.cols])
            row = number // self.cols
            words = [self.saturate(v) % 2**32 if self.dtype == I32 else v for v in part]
            self.machine.write(self.place(row), words)

    def draw(self) -> int:
        """32 random bits; the generator's state moves on."""
        low, high = self.raw(0)
        state, bits = next_random(low | high << 32)
        self.machine.write(self.place(0), [state % 2**32, state >> 32])
        return bits


class Machine:
    """Runs the program in ``words``, the picture's pixels row by row, in place."""

    def __init__(self, words: list[int], width: int) -> None:
        self.words, self.width = words, width
        self.header = words[:7]
        self.saturated = self.clamped = False

    def tensor(self, index: int) -> Tensor:
        return Tensor(self, index)

    def write(self, at: int, words: Sequence[int]) -> None:
        assert at >= 0 and at + len(words) <= len(self.words)
        assert all(0 <= word < 2**32 for word in words)
        self.words[at : at + len(words)] = words

    def state(self, index: int) -> int:
        return signed(self.words[self.header[6] + index])

    def set(self, index: int, *values: int) -> None:
        self.write(self.header[6] + index, [value % 2**32 for value in values])

    def run(self, max_steps: int) -> int:
        """Until Halt, Yield or so many steps; returns the steps made."""
        made = 0
        if self.state(2) == 1:
            self.set(2, 0)
        while self.state(2) == 0 and made < max_steps:
            self.step()
            made += 1
        for index, happened in ((4, self.saturated), (5, self.clamped)):
            if happened:
                self.set(index, 1)
        return made

    def step(self) -> None:
        counter = self.state(0)
        word = self.words[self.header[2] + counter]
        op = NAMES[word & 255]
        operands = [word >> shift & 255 for shift in (8, 16, 24)]
        self.set(3, (self.state(3) + 1) % 2**31)
        self.set(0, counter + 1)
        if op.flow is Flow.NEXT:
            self._compute(op, operands)
        else:
            getattr(self, "do_" + op.name.lower())(counter, *operands)

    def _named(self, operand: int) -> Tensor:
        return self.tensor(operand if operand < 128 else self.state(1) + operand - 128)

    def _compute(self, op: Any, operands: list[int]) -> None:
        from tests.core.big_ops import OPS

        tensors, named = [], {}
        for mode, operand in zip(op.operands, operands, strict=True):
            if mode.names is Names.BLOCK:
                words = self._named(operand).words[1:]
                for parameter, word in zip(op.parameters, words, strict=False):
                    meaning = {Mode.WORD: int, Mode.SCALE: as_scale}
                    named[parameter.name] = meaning.get(parameter.mode, self.tensor)(word)
            elif mode.names is Names.TENSOR:
                tensors.append(self._named(operand))
        if all(tensor.used for tensor in tensors):
            OPS[op.name](*tensors, **named)

    # Control

    def _stop(self, status: int) -> None:
        self.set(2, status)
        for index in range(self.header[5]):
            tensor = self.tensor(index)
            if tensor.dtype != PARAMS and tensor.role == SCRATCH:
                for row in range(tensor.used):
                    self.write(tensor.place(row), [0] * tensor.row_words)

    def do_halt(self, at: int, *_: int) -> None:
        self.set(0, at)
        self._stop(2)

    def do_yield(self, *_: int) -> None:
        self._stop(1)

    def do_loop(self, at: int, count: int, _: int, stride: int) -> None:
        times = clamp(self._named(count).scalar, 0, 65535)
        if times:
            depth = self.state(6)
            self.set(8 + 4 * depth, at + 1, times, stride, self.state(1))
            self.set(6, depth + 1)
            return
        depth, place = 1, at
        while depth:
            place += 1
            glyph = chr(self.words[self.header[2] + place] & 255)
            depth += {"[": 1, "]": -1}.get(glyph, 0)
        self.set(0, place + 1)

    def do_endloop(self, *_: int) -> None:
        depth = self.state(6) - 1
        at = 8 + 4 * depth
        first, left, stride, before = (self.state(at + n) for n in range(4))
        if left > 1:
            self.set(at + 1, left - 1)
            self.set(0, first, self.state(1) + stride)
        else:
            self.set(1, before)
            self.set(at, 0, 0, 0, 0)
            self.set(6, depth)

    def do_call(self, at: int, low: int, high: int, more: int) -> None:
        depth = self.state(7)
        self.set(40 + 2 * depth, at + 1, self.state(1))
        self.set(7, depth + 1)
        self.set(0, low + 256 * high, self.state(1) + more)

    def do_return(self, *_: int) -> None:
        depth = self.state(7) - 1
        at = 40 + 2 * depth
        self.set(0, self.state(at), self.state(at + 1))
        self.set(at, 0, 0)
        self.set(7, depth)

    def do_skipifzero(self, at: int, condition: int, _: int, count: int) -> None:
        if self._named(condition).scalar == 0:
            self.set(0, at + 1 + count)
