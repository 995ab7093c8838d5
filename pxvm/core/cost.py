"""What an instruction costs when it is executed now: integer operations and bytes of pixels.

The formulas stand in the table (``Opcode.operations`` and ``.bytes``); here their letters get
their numbers from the operands as they stand in the pixels. In dialect 1:

    t, d       rows in use and columns of the operand that the shape rule calls x [t,d]
    w          bytes of one row of the weight (Linear) or of the table (Embed)
    t, n, k    Linear: tokens, weight rows, columns; Conv2D: windows, output channels, a window
    m, n, k    MatMul: rows in use of a, columns of the result, columns of a
    k          TopK: how many
    context    attention: tokens that a query sees, the mean over the queries

An instruction one of whose operands has no row in use does nothing and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import CodeType

import numpy as np

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.isa import Flow, Mode, Names
from pxvm.core.program import Image, Instruction, Program
from pxvm.core.tensor import Descriptor, read_words

Letters = dict[str, float]


@dataclass(frozen=True)
class Cost:
    """``operations``: integer operations. ``bytes``: of pixels, read and written."""

    operations: int
    bytes: int


def cost(image: Image, program: Program, instruction: Instruction, base: int = 0) -> Cost:
    """The cost of a verified program's instruction, executed with this image and base register."""
    if isinstance(program, TensorProgram):
        letters = _Operands(image, program, instruction, base).letters()
    else:
        letters = _dialect_0(image, program, instruction)
    if letters is None:
        return Cost(0, 0)
    op = instruction.op
    return Cost(_value(op.operations, letters), _value(op.bytes, letters))


@cache
def _compiled(formula: str) -> CodeType:
    return compile(formula, "<table>", "eval")


def _value(formula: str, letters: Letters) -> int:
    value: float = eval(_compiled(formula), {"__builtins__": {}}, letters)
    return round(value)


def _dialect_0(image: Image, program: Program, instruction: Instruction) -> Letters | None:
    """Letters by the shapes that regions have; None where a shape is not known."""
    regions = {region.name: region for region in program.regions}
    shapes = [
        regions[f"@{row}"].shape if f"@{row}" in regions else None
        for mode, row in zip(instruction.op.operands, instruction.operands, strict=True)
        if mode.names is Names.ROW
    ]
    if None in shapes:
        return None
    known = [shape for shape in shapes if shape is not None]
    if Mode.MATRIX_OUT in instruction.op.operands:
        (m, k), n = known[0], known[1][1]
        return {"m": m, "k": k, "n": n}
    letters: Letters = {"n": int(np.prod(known[0]))} if known else {}
    if Mode.FONT_IN in instruction.op.operands:
        font = instruction.operands[instruction.op.operands.index(Mode.FONT_IN)]
        letters |= {"w": int(image[font, 0, 0]), "h": int(image[font, 0, 1])}
    return letters


class _Operands:
    """The tensors that an instruction names, and its parameters by name."""

    def __init__(
        self, image: Image, program: TensorProgram, instruction: Instruction, base: int
    ) -> None:
        self.image, self.program, self.op = image, program, instruction.op
        self.tensors, self.named = program.operands(instruction, base)

    def letters(self) -> Letters | None:
        """What the letters of the formulas stand for; None when there is nothing to do."""
        if not all(self.used(d) for d in self.tensors):
            return None
        if self.op.flow is not Flow.NEXT:
            return {}
        x = self.tensors[min(1, len(self.tensors) - 1)]
        found: Letters = {"t": self.used(x), "d": x.cols}
        special = SPECIAL.get(self.op.name)
        return found | special(self, *self.tensors) if special else found

    def used(self, d: Descriptor) -> int:
        """Rows in use."""
        if d.length is None:
            return d.rows
        return min(max(self.value(self.program.descriptors[d.length]), 0), d.rows)

    def value(self, d: Descriptor, at: int = 0) -> int:
        """An element of an I32 tensor of one dimension."""
        row, column = divmod(min(at, d.rows * d.cols - 1), d.cols)
        start = d.row_start(row, self.program.width) + column
        return int(read_words(self.image, start, 1).view("<i4")[0])


def _embed(o: _Operands, out: Descriptor, ids: Descriptor, table: Descriptor) -> Letters:
    return {"d": table.cols, "w": 4 * table.row_words}


def _linear(o: _Operands, out: Descriptor, x: Descriptor, weight: Descriptor) -> Letters:
    return {"n": weight.rows, "k": weight.cols, "w": 4 * weight.row_words}


def _matmul(o: _Operands, out: Descriptor, a: Descriptor, b: Descriptor) -> Letters:
    return {"m": o.used(a), "n": out.cols, "k": a.cols}


def _conv2d(o: _Operands, out: Descriptor, x: Descriptor) -> Letters:
    weight = o.named["weight"]
    return {"t": o.used(x) * out.cols // weight.rows, "n": weight.rows, "k": weight.cols}


def _top_k(o: _Operands, indices: Descriptor, x: Descriptor, values: Descriptor) -> Letters:
    return {"k": indices.cols}


def _rope(o: _Operands, x: Descriptor, table: Descriptor, position: Descriptor) -> Letters:
    return {"t": o.used(x), "d": x.cols}


def _fill(o: _Operands, out: Descriptor, value: Descriptor) -> Letters:
    return {"t": o.used(out), "d": out.cols}


def _everything(o: _Operands, out: Descriptor, x: Descriptor) -> Letters:
    return {"t": x.rows}


def _blit(o: _Operands, canvas: Descriptor, text: Descriptor, font: Descriptor) -> Letters:
    return {"t": text.rows * text.cols * font.extents[1], "d": font.extents[2]}


def _causal(o: _Operands, out: Descriptor, q: Descriptor) -> Letters:
    context, position = o.named["k"].extents[1], o.value(o.named["position"])
    last = np.clip(position + np.arange(o.used(q)), 0, context - 1)
    return {"context": float(np.minimum(last + 1, o.named.get("window", context)).mean())}


def _full(o: _Operands, out: Descriptor, q: Descriptor) -> Letters:
    context = o.named["k"].extents[1]
    span = min(max(o.value(o.named["span"]), 1), context)
    groups = np.arange(o.used(q)) // span
    lengths = [o.value(o.named["lengths"], group) for group in range(int(groups[-1]) + 1)]
    start = np.minimum(groups * span, context - 1)
    seen = np.minimum(np.clip(lengths, 1, span)[groups], context - start)
    return {"context": float(seen.mean())}


SPECIAL: dict[str, Callable[..., Letters]] = {
    "Embed": _embed, "Linear": _linear, "MatMul": _matmul, "Conv2D": _conv2d, "TopK": _top_k,
    "RoPEPairs": _rope, "RoPEHalves": _rope, "Fill": _fill, "Copy": _everything,
    "Transpose": _everything, "Blit": _blit, "AttentionCausal": _causal, "AttentionFull": _full,
    "AttentionWindow": _causal,
}  # fmt: skip
