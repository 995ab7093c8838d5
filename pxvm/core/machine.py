"""Stepping: one instruction at a time, with snapshots to come back to.

The same for both dialects: tools that show a run need nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pxvm.core import reference
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.isa import Flow, Mode, Names
from pxvm.core.mapping import check_unchanged
from pxvm.core.program import Image, Instruction, Program, Region
from pxvm.core.reference1 import Runner
from pxvm.core.tensor import READY, YIELDED, State
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
        self._runner = (
            Runner(image, self.program) if isinstance(self.program, TensorProgram) else None
        )

    @property
    def next(self) -> Instruction | None:
        """The instruction that ``step`` would execute, or None when halted."""
        if self._runner:
            return self._runner.next
        instructions = self.program.instructions
        if self.steps >= len(instructions) or instructions[self.steps].op.flow is Flow.HALT:
            return None
        return instructions[self.steps]

    @property
    def halted(self) -> bool:
        """True at Halt and after the last instruction."""
        return self.next is None

    @property
    def yielded(self) -> bool:
        """True right behind a Yield: a run ends here, the next step goes on."""
        return self._runner is not None and bool(self._runner.state[State.STATUS] == YIELDED)

    def step(self) -> Step | None:
        """Execute the next instruction; None when halted.

        Raises ExecutionError; FormatError when the image is mapped and its file has changed.
        """
        instruction = self.next
        if instruction is None:
            return None
        check_unchanged(self.image)
        named = self.operands(instruction)
        if self._runner:
            if self._runner.state[State.STATUS] == YIELDED:
                self._runner.state[State.STATUS] = READY
            self._runner.step()
            self._runner.store()
        else:
            reference.execute(self.image, instruction)
        self.steps += 1
        reads = tuple(region for mode, region in named if mode.reads)
        writes = tuple(region for mode, region in named if mode.writes)
        return Step(instruction, reads, writes)

    def operands(self, instruction: Instruction) -> list[tuple[Mode, Region]]:
        """The regions that an instruction names, executed at this point, each with its mode."""
        if self._runner:
            base = int(self._runner.state[State.BASE])
            return self._runner.program.operand_regions(instruction, base)
        by_name = {region.name: region for region in self.program.regions}
        return [
            (mode, by_name[f"@{row}"])
            for mode, row in zip(instruction.op.operands, instruction.operands, strict=True)
            if mode.names is Names.ROW and f"@{row}" in by_name
        ]

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
        """Come back to a snapshot of this machine; the image changes in place.

        A caller that has put the pixels back itself passes this machine's own image.
        """
        self.steps = saved[0]
        if saved[1] is not self.image:
            self.image[...] = saved[1]
        if self._runner:
            self._runner.load()
