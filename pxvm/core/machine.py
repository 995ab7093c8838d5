"""Stepping: one instruction at a time, with snapshots to come back to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pxvm.core import reference
from pxvm.core.isa import Mode
from pxvm.core.program import Image, Instruction, Program, Region
from pxvm.core.verifier import verify


@dataclass(frozen=True)
class Step:
    """What one step did: the instruction, and the regions that it read and wrote."""

    instruction: Instruction
    reads: tuple[Region, ...]
    writes: tuple[Region, ...]


class Machine:
    """A verified program at some point of its run; ``image`` is mutated in place.

    Raises ProgramError when the program is refused.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        self.program: Program = verify(image)
        self.steps = 0

    @property
    def next(self) -> Instruction | None:
        """The instruction that ``step`` would execute, or None when halted."""
        if self.halted:
            return None
        return self.program.instructions[self.steps]

    @property
    def halted(self) -> bool:
        """True at Halt and after the last instruction."""
        instructions = self.program.instructions
        return self.steps >= len(instructions) or instructions[self.steps].op.name == "Halt"

    def step(self) -> Step | None:
        """Execute the next instruction; None when halted. Raises ExecutionError."""
        instruction = self.next
        if instruction is None:
            return None
        reference.execute(self.image, instruction)
        self.steps += 1
        named = [
            (mode, self.program.region(f"@{row}"))
            for mode, row in zip(instruction.op.operands, instruction.operands, strict=True)
            if mode is not Mode.NONE and any(r.name == f"@{row}" for r in self.program.regions)
        ]
        reads = tuple(region for mode, region in named if mode.reads)
        writes = tuple(region for mode, region in named if mode.writes)
        return Step(instruction, reads, writes)

    def run(self, max_steps: int = 1024) -> int:
        """Step until halted or ``max_steps`` were made; returns the number made."""
        made = 0
        while made < max_steps and self.step():
            made += 1
        return made

    def snapshot(self) -> tuple[int, Image]:
        """A point to come back to: (steps, a copy of the image)."""
        return self.steps, np.array(self.image)

    def restore(self, saved: tuple[int, Image]) -> None:
        """Come back to a snapshot of this machine; the image changes in place."""
        self.steps = saved[0]
        self.image[...] = saved[1]
