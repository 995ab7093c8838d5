"""Where a run stops, and how commands name values: "@8", "@8[0,1]", "if @8[0,1] > 50"."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import PxvmError
from pxvm.core.program import Image, Instruction, Program, Region
from pxvm.visual.pixels import Changes

_PART = re.compile(r"^(?P<name>.+?)\s*\[(?P<index>[-\d,:\s]*)\]$")
_CONDITION = re.compile(r"^if\s+(.+?)\s*(<=|>=|==|!=|<|>)\s*([-+\d.eE]+)$")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


class CommandError(PxvmError, ValueError):
    """A debugger command that cannot be understood."""


def select(program: Program, image: Image, expression: str) -> NDArray[Any]:
    """The values of a region, or of a part of it: "@8", "@8[0,1]", "@8[0,1:3]".

    Raises CommandError, and ProgramError naming the known regions.
    """
    region, index = _parse(program, expression)
    values = region.values(image)
    try:
        return np.asarray(values[index]) if index else values
    except IndexError:
        shape = " x ".join(map(str, values.shape))
        raise CommandError(f"{expression}: {region.name} is {shape}; no such element") from None


def _parse(program: Program, expression: str) -> tuple[Region, tuple[int | slice, ...]]:
    part = _PART.match(expression)
    if part is None or any(region.name == expression for region in program.regions):
        return program.region(expression), ()
    index: list[int | slice] = []
    for item in part["index"].split(","):
        try:
            numbers = [int(n) if n.strip() else None for n in item.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2) or numbers == [None]:
            raise CommandError(f"expected an index such as [0,1] or [0,1:3]; found {expression!r}")
        index.append(slice(*numbers) if len(numbers) == 2 else numbers[0] or 0)
    return program.region(part["name"]), tuple(index)


@dataclass(frozen=True)
class Breakpoint:
    """One reason to stop; exactly one of the four last fields is set.

    Attributes:
        text: how it is shown.
        index: stop before the instruction with this index.
        opcode: stop before instructions with this opcode name.
        region: stop after one of its pixels changed.
        condition: stop when it becomes true.
    """

    text: str
    index: int | None = None
    opcode: str | None = None
    region: Region | None = None
    condition: Callable[[Image], bool] | None = None

    def stops_before(self, instruction: Instruction) -> bool:
        """True when the run stops before this instruction."""
        return self.index == instruction.index or self.opcode == instruction.op.name

    def holds(self, image: Image) -> bool:
        """Whether the condition is true now; False where there is none."""
        return self.condition is not None and self.condition(image)

    def hit(
        self, image: Image, upcoming: Instruction | None, changes: Changes | None, held: bool
    ) -> bool:
        """Whether to stop now; ``held`` says whether the condition was true a step ago."""
        if self.region:
            return changes is not None and changes.inside(self.region) > 0
        if self.condition:
            return not held and self.condition(image)
        return upcoming is not None and self.stops_before(upcoming)


def parse_breakpoint(program: Program, image: Image, what: str) -> Breakpoint:
    """A breakpoint from "3", "MatMul", "M", "@8" or "if @8[0,1] > 50".

    A number is an instruction; then opcodes used by the program go before regions of that name
    ("region NAME" always means the region).

    Raises CommandError, and ProgramError naming the known regions.
    """
    if condition := _CONDITION.match(what):
        return _when(program, image, what, *condition.groups())
    if what.isdecimal():
        if int(what) >= len(program.instructions):
            last = len(program.instructions) - 1
            raise CommandError(f"instructions are numbered 0..{last}; found {what}")
        return Breakpoint(f"before {program.instructions[int(what)].place}", index=int(what))
    for op in {i.op for i in program.instructions}:
        if what == op.glyph or what.lower() == op.name.lower():
            return Breakpoint(f"before every {op.name}", opcode=op.name)
    region = program.region(what.removeprefix("region "))
    return Breakpoint(f"when {region.name} changes", region=region)


def _when(
    program: Program, image: Image, text: str, expression: str, sign: str, number: str
) -> Breakpoint:
    select(program, image, expression)
    try:
        limit = float(number)
    except ValueError:
        raise CommandError(f"expected a number after {sign}; found {number!r}") from None

    def condition(image: Image) -> bool:
        return bool(np.any(_COMPARE[sign](select(program, image, expression), limit)))

    return Breakpoint(text, condition=condition)
