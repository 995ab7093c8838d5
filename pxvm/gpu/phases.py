"""Which instructions of a program the interpreter on a GPU need not part by a barrier.

``core.plan`` says where a barrier stands when workgroups share every instruction out anew. Of a
few rows, most need none: what is short, like a norm before products, each workgroup computes whole
for itself (``COPIED``); and products, and what goes element by element, are shared out by columns,
always the same ones to a workgroup (``SHARED``, ``OWN``), which goes on with what it made itself.

Products of the same activations are one list of rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.isa import Flow, Names
from pxvm.core.parts import Instruction
from pxvm.core.plan import leaders, touched
from pxvm.core.reference1 import matching_loops
from pxvm.core.tensor import DType

MOST = 8  # instructions that the interpreter decodes at once
STAGED = 1024  # words of a row that a workgroup keeps at hand


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
# What workgroups leave in memory of their own, one place for all instructions: as if a tensor.
WITH_SCRATCH, SCRATCH = ("Sample", "AttentionCausal", "AttentionWindow", "AttentionFull"), -1
LENGTH = (-1, None)  # in place of rows: a tensor that says how many there are of others
MOST_PRODUCTS = 4  # done as one
MOST_HELD = STAGED * 2 - 4  # columns of activations that a workgroup keeps at hand


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

    index: int
    tensor: int
    writes: bool
    way: Way
    own: bool  # each workgroup only in its own columns
    held: bool  # a product's activations, which it may find at hand
    rows: tuple[int, int | None]


def _uses(program: TensorProgram, instruction: Instruction, base: int) -> list[_Use]:
    tensors, _ = program.operands(instruction, base)
    at, name = instruction.index, instruction.op.name
    everything = list(touched(program, instruction, base))
    if name in WITH_SCRATCH:
        everything.append((SCRATCH, True))
    if not tensors or instruction.op.flow is not Flow.NEXT:
        # What steers a program is read before all else, whoever wrote it.
        spread = Way.SPREAD, False, False, (0, None)
        return [_Use(at, t, writes, *spread) for t, writes in everything]
    way, out = way_of(instruction), tensors[0]
    own = {out.index} if way in (Way.OWN, Way.SHARED) else set()
    if way is Way.OWN:
        each = tensors[1:2] if name in ("Table", "Gate") else tensors[1:]
        own |= {d.index for d in each if d.dtype == DType.I32 and d.cols == out.cols}
    lengths = {program.descriptors[t].length for t, _ in everything if t != SCRATCH}
    own -= lengths
    product = name == "Linear" and tensors[2].dtype == DType.I8
    held = {tensors[1].index} if product and tensors[1].cols <= MOST_HELD else set()
    rows = (out.rows, out.length)
    return [
        # Lengths are looked at before the first instruction behind a barrier.
        _Use(
            at,
            t,
            writes,
            way,
            t in own,
            t in held,
            LENGTH if t in lengths else rows,
        )
        for t, writes in everything
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


@dataclass(frozen=True)
class Phases:
    """What the interpreter has to know of each instruction: arrays of int64 (instructions,).

    Attributes:
        needs: its ``Need``.
        products: from the first of several products that are done as one on, how many; else 0.
    """

    needs: NDArray[np.int64]
    products: NDArray[np.int64]


def phases_of(program: TensorProgram) -> Phases:
    """Where the interpreter parts a program."""
    code = program.instructions
    found = Phases(*(np.zeros(len(code), np.int64) for _ in range(2)))
    starts = [*sorted(leaders(code)), len(code)]
    found.needs[starts[:-1]] = Need.FULL
    bases: dict[int, list[int]] = {}
    for index, base in program.visits:
        bases.setdefault(index, []).append(base)
    for first, stop in itertools.pairwise(starts):
        _mark(program, range(first, stop), bases, found)
    return found


def _mark(program: TensorProgram, block: range, bases: dict[int, list[int]], found: Phases) -> None:
    """What is said of a block that runs straight through, of all its bases at once."""
    reached = sorted({base for index in block for base in bases.get(index, ())} - {-1}) or [-1]
    seen: list[dict[int, list[_Use]]] = [{} for _ in reached]
    # Of so many rows, the last behind a fence, which is a meeting where they are many; and the
    # first of some products.
    fenced: dict[tuple[int, int | None], int] = {}
    first = block.start
    for index in block:
        if index not in bases:
            continue
        now = [_uses(program, program.instructions[index], base) for base in reached]
        pairs = [
            (before, use, need)
            for uses, past in zip(now, seen, strict=True)
            for use in uses
            for before in past.get(use.tensor, ())
            if (need := _need(before, use)) is Need.FULL
            or (need is Need.LIGHT and before.index >= fenced.get(use.rows, 0))
        ]
        need = max((need for *_, need in pairs), default=Need.NO)
        kept = need is not Need.FULL and all(use.held for _, use, _ in pairs)
        if kept and _joins(program, first, index, reached, found):
            found.products[first] = index - first + 1
        else:
            first = index
            if need is Need.FULL:
                seen = [{} for _ in reached]
            rows = {use.rows for uses in now for use in uses} - {LENGTH}
            if need is not Need.NO and len(rows) == 1:
                fenced[rows.pop()] = index
            found.needs[index] = max(int(found.needs[index]), need)
        for uses, past in zip(now, seen, strict=True):
            for use in uses:
                past.setdefault(use.tensor, []).append(use)


def _joins(
    program: TensorProgram, first: int, index: int, bases: Sequence[int], found: Phases
) -> bool:
    """Whether a product is one with those from ``first`` on."""
    count = max(int(found.products[first]), 1)
    one, other = program.instructions[first], program.instructions[index]
    if index != first + count or count == MOST_PRODUCTS:
        return False
    if one.op.name != "Linear" or other.op.name != "Linear":
        return False
    for base in bases:
        (g, b, a), _ = program.operands(one, base)
        (its_g, its_b, its_a), _ = program.operands(other, base)
        if b.index != its_b.index or {a.dtype, its_a.dtype} != {DType.I8}:
            return False
        if (g.rows, g.length) != (its_g.rows, its_g.length):
            return False
    return True


def table_of(program: TensorProgram) -> NDArray[np.int64]:
    """What the interpreter reads of the plan: a word for each instruction, then its match.

    A word: need | way << 2 | operands that name descriptors << 4 | how many instructions from
    this one on run straight through, up to one with a full need, << 6 | whether they write the
    length of a tensor << 11 | products that are done as one << 12.
    """
    code = program.instructions
    phases, words = phases_of(program), np.zeros(2 * len(code), np.int64)
    needs = phases.needs
    lengths = {d.length for d in program.descriptors} - {None}
    counts = {
        index
        for index, base in program.visits
        for d, writes in touched(program, code[index], base)
        if writes and d in lengths
    }
    straight, counting = 0, False
    for i in reversed(code):
        straight = min(straight + 1, MOST) if i.op.flow is Flow.NEXT else 0
        counting = i.index in counts or (counting and straight > 1)
        named = sum(mode.names in (Names.TENSOR, Names.BLOCK) for mode in i.op.operands)
        words[i.index] = int(needs[i.index]) | way_of(i) << 2 | named << 4 | straight << 6
        words[i.index] |= counting << 11 | int(phases.products[i.index]) << 12
        if needs[i.index] == Need.FULL:
            straight = 0
    for loop, end in matching_loops(code).items():
        words[len(code) + loop] = end
    return words
