"""What an executor knows of a dialect 1 program before it runs: what may run side by side.

Instructions that do not depend on each other need no barrier between them: the three products of a
layer's queries, keys and values can be shared out as one. ``plan_of`` says before which
instructions a barrier stands, where executors work on one instruction after the other with many
threads or workgroups at a time: whoever waits there, and nowhere else, sees all that it reads and
overwrites nothing that another still reads.

A barrier stands before every instruction that stops (it clears scratch tensors), that a jump
arrives at, or that follows one that jumps; else wherever an instruction touches what another behind
the last barrier wrote, or writes what it read, with any base that reaches both. An executor may
leave one out where nothing ran since the last, and may add others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pxvm.core import isa
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.isa import Flow, Mode, Names
from pxvm.core.parts import Instruction
from pxvm.core.reference1 import matching_loops
from pxvm.core.tensor import PARAMETERS, Role


class Use(IntEnum):
    """What an instruction does with an operand or a parameter."""

    NOTHING = 0
    READS = 1
    WRITES = 2  # and may read
    NAMES = 3  # the descriptor of its parameters


def _use(mode: Mode) -> Use:
    if mode.names is Names.BLOCK:
        return Use.NAMES
    if mode.names is not Names.TENSOR:
        return Use.NOTHING
    return Use.WRITES if mode.writes else Use.READS


def _uses() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    operands, parameters = np.zeros((256, 3), np.int64), np.zeros((256, PARAMETERS), np.int64)
    for op in isa.OPCODES:
        if op.dialect == 1:
            operands[op.code] = [_use(mode) for mode in op.operands]
            parameters[op.code, : len(op.parameters)] = [_use(p.mode) for p in op.parameters]
    return operands, parameters


#: ``Use`` of G, B and A, and of each parameter, by opcode.
OPERANDS, PARAMETER_USES = _uses()


@dataclass(frozen=True)
class Plan:
    """Arrays with an entry for each instruction.

    Attributes:
        barriers: bool: a barrier stands before it.
        match: int64: of a Loop its EndLoop, else 0.
        ahead: int64: the Linear, itself or after it, that is reached without a jump between, or -1:
            whose weights who waits may fetch.
    """

    barriers: NDArray[np.bool_]
    match: NDArray[np.int64]
    ahead: NDArray[np.int64]

    def groups(self) -> Iterator[range]:
        """Runs of instructions with no barrier between them, in the order of the code."""
        starts = [0, *(np.flatnonzero(self.barriers[1:]) + 1).tolist(), len(self.barriers)]
        for first, stop in itertools.pairwise(starts):
            yield range(first, stop)


def touched(program: TensorProgram, instruction: Instruction, base: int) -> list[tuple[int, bool]]:
    """(descriptor, whether it is written) of all tensors that an instruction touches with a base.

    Constants are left out; the lengths of all of them are read.
    """
    found = []
    for mode, operand in zip(instruction.op.operands, instruction.operands, strict=True):
        if mode.names is Names.TENSOR:
            found.append((program.index(operand, base), mode.writes))
        elif mode.names is Names.BLOCK:
            words = program.descriptors[program.index(operand, base)].parameters
            for parameter, word in zip(instruction.op.parameters, words, strict=False):
                if parameter.mode.names is Names.TENSOR:
                    found.append((word, parameter.mode.writes))
    lengths = [program.descriptors[index].length for index, _ in found]
    changing = [f for f in found if program.descriptors[f[0]].role != Role.CONSTANT]
    return changing + [(length, False) for length in lengths if length is not None]


def plan_of(program: TensorProgram) -> Plan:
    """The plan of a program that the verifier has admitted."""
    code = program.instructions
    match = matching_loops(code)
    barriers = np.zeros(len(code), np.bool_)
    barriers[list(leaders(code))] = True
    bases: dict[int, list[int]] = {}
    for index, base in program.visits:
        bases.setdefault(index, []).append(base)
    starts = [*np.flatnonzero(barriers).tolist(), len(code)]
    for first, stop in itertools.pairwise(starts):
        _mark(program, range(first, stop), bases, barriers)
    matches = np.zeros(len(code), np.int64)
    matches[list(match)] = list(match.values())
    return Plan(barriers, matches, _ahead(code))


def leaders(code: tuple[Instruction, ...]) -> set[int]:
    """Instructions that stop, that jumps arrive at, or that follow one that jumps or stops."""
    found = {0}
    for i in code:
        if i.op.flow in (Flow.HALT, Flow.YIELD):
            found.add(i.index)
        if i.op.flow is Flow.SKIP:
            found.add(min(i.index + 1 + i.operands[2], len(code) - 1))
        if i.op.flow is not Flow.NEXT and i.index + 1 < len(code):
            found.add(i.index + 1)
    return found


def _mark(
    program: TensorProgram, block: range, bases: dict[int, list[int]], barriers: NDArray[np.bool_]
) -> None:
    """Set the barriers inside a block that runs straight through, for all of its bases at once."""
    reached = sorted({base for index in block for base in bases.get(index, ())} - {-1}) or [-1]
    seen: list[dict[int, bool]] = [{} for _ in reached]
    for index in block:
        if index not in bases:
            continue
        uses = [touched(program, program.instructions[index], base) for base in reached]
        if index > block.start and any(
            any(d in before and (writes or before[d]) for d, writes in now)
            for before, now in zip(seen, uses, strict=True)
        ):
            barriers[index] = True
            seen = [{} for _ in reached]
        for before, now in zip(seen, uses, strict=True):
            for d, writes in now:
                before[d] = before.get(d, False) or writes


def _ahead(code: tuple[Instruction, ...]) -> NDArray[np.int64]:
    ahead, found = np.full(len(code), -1, np.int64), -1
    for i in reversed(code):
        if i.op.name == "Linear":
            found = i.index
        elif i.op.flow is not Flow.NEXT:
            found = -1
        ahead[i.index] = found
    return ahead
