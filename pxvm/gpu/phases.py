"""Which instructions of a program the interpreter on a GPU need not part by a barrier.

``core.plan`` says where a barrier stands when workgroups share every instruction out anew. Of a
few rows, most need none: what is short, like a norm before products, each workgroup computes whole
for itself (``COPIED``); and products, and what goes element by element, are shared out by columns,
always the same ones to a workgroup (``SHARED``, ``OWN``), which goes on with what it made itself.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.isa import Flow, Names
from pxvm.core.parts import Instruction
from pxvm.core.plan import leaders, plan_of, touched
from pxvm.core.reference1 import matching_loops
from pxvm.core.tensor import DType

MOST = 16  # instructions that the interpreter decodes at once


class Need(IntEnum):
    """Of a barrier before an instruction."""

    NO = 0
    LIGHT = 1  # only of more than a few rows
    FULL = 2


class Way(IntEnum):
    """How workgroups share an instruction of a few rows."""

    SPREAD = 0  # anyhow
    COPIED = 1  # each does all of it
    OWN = 2  # each has its columns
    SHARED = 3  # as OWN, but the instruction itself says how


SHORT = ("RMSNorm", "LayerNorm", "L2Norm", "Softmax", "Quantise", "Tail")
BY_COLUMNS = (
    "Add",
    "Mul",
    "Less",
    "Equal",
    "Select",
    "ReLU",
    "Table",
    "Gate",
    "Embed",
    "RoPEPairs",
)


def way_of(instruction: Instruction) -> Way:
    """How an instruction of few rows is shared."""
    name = instruction.op.name
    if name == "Linear":
        return Way.SHARED
    if name in BY_COLUMNS:
        return Way.OWN
    g, *others = instruction.operands
    # Done twice it is the same only where it does not work in place.
    return Way.COPIED if name in SHORT and g not in others else Way.SPREAD


@dataclass(frozen=True)
class _Use:
    """What an instruction, of so many rows, does with a tensor."""

    tensor: int
    writes: bool
    way: Way
    own: bool  # each workgroup only in its own columns
    rows: tuple[int, int | None]


def _uses(program: TensorProgram, instruction: Instruction, base: int) -> list[_Use]:
    tensors, _ = program.operands(instruction, base)
    everything = touched(program, instruction, base)
    if not tensors:
        return [_Use(index, writes, Way.SPREAD, False, (0, None)) for index, writes in everything]
    way, out = way_of(instruction), tensors[0]
    own = {out.index} if way in (Way.OWN, Way.SHARED) else set()
    if way is Way.OWN:
        each = tensors[1:2] if instruction.op.name in ("Table", "Gate") else tensors[1:]
        own |= {d.index for d in each if d.dtype == DType.I32 and d.cols == out.cols}
    lengths = {program.descriptors[index].length for index, _ in everything}
    own -= lengths
    rows = (out.rows, out.length)
    return [
        # Lengths are looked at before the first instruction behind a barrier.
        _Use(index, writes, way, index in own, (-1, None) if index in lengths else rows)
        for index, writes in everything
    ]


def _need(before: _Use, now: _Use) -> Need:
    if not (before.writes or now.writes):
        return Need.NO
    if before.rows == now.rows:
        if before.own and now.own:
            return Need.LIGHT
        if before.way is Way.COPIED and before.writes and not now.writes:
            return Need.LIGHT
    return Need.FULL


def needs_of(program: TensorProgram) -> NDArray[np.int64]:
    """``Need`` of each instruction."""
    code = program.instructions
    needs = np.full(len(code), Need.NO, np.int64)
    starts = [*sorted(leaders(code)), len(code)]
    needs[starts[:-1]] = Need.FULL
    bases: dict[int, list[int]] = {}
    for index, base in program.visits:
        bases.setdefault(index, []).append(base)
    for first, stop in itertools.pairwise(starts):
        _mark(program, range(first, stop), bases, needs)
    # Where the plan has none, one before has parted them already.
    needs[(needs == Need.LIGHT) & ~plan_of(program).barriers] = Need.NO
    return needs


def _mark(
    program: TensorProgram, block: range, bases: dict[int, list[int]], needs: NDArray[np.int64]
) -> None:
    """The needs inside a block that runs straight through, of all its bases at once."""
    reached = sorted({base for index in block for base in bases.get(index, ())} - {-1}) or [-1]
    seen: list[dict[int, list[_Use]]] = [{} for _ in reached]
    for index in block:
        if index not in bases:
            continue
        now = [_uses(program, program.instructions[index], base) for base in reached]
        found = (
            _need(before, use)
            for uses, past in zip(now, seen, strict=True)
            for use in uses
            for before in past.get(use.tensor, ())
        )
        need = max(found, default=Need.NO)
        if need is Need.FULL:
            seen = [{} for _ in reached]
        needs[index] = max(int(needs[index]), need)
        for uses, past in zip(now, seen, strict=True):
            for use in uses:
                past.setdefault(use.tensor, []).append(use)


def table_of(program: TensorProgram) -> NDArray[np.int64]:
    """What the interpreter reads of the plan: a word for each instruction, then its match.

    A word: need | way << 2 | operands that name descriptors << 4 | how many instructions from
    this one on run straight through, up to one with a full need, << 6.
    """
    code = program.instructions
    needs, words = needs_of(program), np.zeros(2 * len(code), np.int64)
    straight = 0
    for i in reversed(code):
        straight = min(straight + 1, MOST) if i.op.flow is Flow.NEXT else 0
        named = sum(mode.names in (Names.TENSOR, Names.BLOCK) for mode in i.op.operands)
        words[i.index] = int(needs[i.index]) | way_of(i) << 2 | named << 4 | straight << 6
        if needs[i.index] == Need.FULL:
            straight = 0
    for loop, end in matching_loops(code).items():
        words[len(code) + loop] = end
    return words
