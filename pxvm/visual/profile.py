"""Where a run spends its time: one instruction at a time on any device, timed and counted.

Operations and bytes are those of the table's formulas (see ``core.cost``). A GPU that has a clock
times its instructions itself. Else a stop after every instruction costs time of its own: a stop
without an instruction is timed before each step, and the median of these is subtracted.
``straight`` is the same run without stops. On several threads a stop costs more than a small
instruction, and its time varies: one thread shows the shares best.

How good a time is shows beside what copying takes: an instruction that reads and writes its bytes
at the rate at which the device copies memory is as fast as it can be, unless caches hold them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from statistics import median
from typing import Any

import numpy as np

from pxvm.core import executors
from pxvm.core.cost import cost
from pxvm.core.dialect1 import TensorProgram, read_state
from pxvm.core.errors import ProgramError
from pxvm.core.executors import Session
from pxvm.core.isa import Flow
from pxvm.core.program import Image, Instruction, Program
from pxvm.core.resources import threads_for
from pxvm.core.tensor import HALTED, YIELDED, DType, Role, State, write_words
from pxvm.core.verifier import verify

COPIED = 1 << 26  # bytes, more than caches hold


@dataclass
class Line:
    """What all executions of one instruction, or of one opcode, took together.

    ``seconds`` is what was measured less the empty steps, and may be below zero by noise; of a
    device's own clock there are none to subtract.
    """

    name: str
    count: int = 0
    seconds: float = 0.0
    operations: int = 0
    bytes: int = 0

    def add(self, other: Line) -> None:
        """Take another line's figures in."""
        self.count += other.count
        self.seconds += other.seconds
        self.operations += other.operations
        self.bytes += other.bytes

    def figures(self, total: float, copy: float) -> dict[str, Any]:
        """The line for a reader: milliseconds, share of ``total`` seconds, rates per second.

        Args:
            copy: bytes a second, of which "of copy" is the share.
        """
        seconds = max(self.seconds, 0.0)
        return {
            "name": self.name,
            "count": self.count,
            "ms": 1e3 * self.seconds,
            "share": seconds / total if total > 0 else 0.0,
            "operations": self.operations,
            "bytes": self.bytes,
            "GB/s": self.bytes / seconds / 1e9 if seconds else None,
            "of copy": self.bytes / seconds / copy if seconds and copy else None,
            "Gop/s": self.operations / seconds / 1e9 if seconds else None,
        }


@dataclass
class Profile:
    """A measured run.

    Attributes:
        device, threads: as asked for; threads None is every processor.
        steps: instructions executed.
        empty: median seconds of a stop without an instruction, subtracted from every step.
        measured: seconds of all steps, one stop with each included.
        straight: seconds of the same run without stops.
        copy: bytes a second, read and written, at which the device copies; 0: not known.
        clock: "device" where it timed its instructions itself, else "host".
        instructions: by index of the instruction: (it, the operands of its first execution, sums).
    """

    device: str
    threads: int | None
    steps: int = 0
    empty: float = 0.0
    measured: float = 0.0
    straight: float = 0.0
    copy: float = 0.0
    clock: str = "host"
    instructions: dict[int, tuple[Instruction, str, Line]] = field(default_factory=dict)

    def opcodes(self) -> list[Line]:
        """One line for each opcode, the longest first."""
        found: dict[str, Line] = {}
        for instruction, _, line in self.instructions.values():
            found.setdefault(instruction.op.name, Line(instruction.op.name)).add(line)
        return sorted(found.values(), key=lambda line: -line.seconds)

    def lines(self) -> list[Line]:
        """One line for each instruction, in the order of the program."""
        return [self.instructions[index][2] for index in sorted(self.instructions)]

    def seconds(self) -> float:
        """All that the instructions took, noise below zero left out."""
        return sum(max(line.seconds, 0.0) for line in self.lines())

    def total(self, lines: Iterable[Line] | None = None) -> Line:
        """All together."""
        everything = Line("all")
        for line in self.lines() if lines is None else lines:
            everything.add(line)
        return everything


def profile(
    image: Image,
    *,
    device: str = "auto",
    threads: int | None = None,
    max_steps: int | None = None,
    runs: int = 1,
    report: Callable[[int], object] = lambda steps: None,
) -> Profile:
    """Run the program in ``image`` in place, one instruction at a time.

    Args:
        max_steps: at most so many instructions; None: 1,024 in dialect 0, all in dialect 1.
        runs: a program that yields goes on until it has yielded so often.
        report: told the number of instructions after each of them.

    Raises ProgramError, ExecutionError and DeviceError as running does.
    """
    program = verify(image)
    executor = executors.executor(device, program.dialect)
    rate = getattr(executor, "copy_rate", None)
    found = Profile(device, threads, copy=rate() if rate else copy_rate(threads))
    if not isinstance(program, TensorProgram):  # what NumPy loads at first use is no part of a run
        executor.session(image.copy(), program, threads).run(max_steps)
    straight = executor.session(image.copy(), program, threads)
    straight.run(0)  # compiled code is loaded by now
    start = time.perf_counter()
    left = max_steps
    for _ in range(runs if isinstance(program, TensorProgram) else 1):
        made = straight.run(left)
        left = None if left is None else left - made
    found.straight = time.perf_counter() - start
    session = executor.session(image, program, threads)
    limit = max_steps if isinstance(program, TensorProgram) or max_steps is not None else 1024
    empties: list[float] = []
    for instruction, base in _steps(image, program, runs):
        if found.steps == limit:
            break
        price = cost(image, program, instruction, base)
        if instruction.index not in found.instructions:
            named = _operands(program, instruction, base)
            line = Line(f"{instruction} {instruction.op.name} {named}".rstrip())
            found.instructions[instruction.index] = instruction, named, line
        empties.append(_timed(session, 0)[0])
        took, own = _timed(session, 1)
        found.steps += 1
        report(found.steps)
        found.measured += took
        if own is not None:
            found.clock, took = "device", own
        step = Line("", 1, took, price.operations, price.bytes)
        found.instructions[instruction.index][2].add(step)
    found.empty = median(empties) if empties else 0.0
    for line in found.lines() if found.clock == "host" else ():
        line.seconds -= line.count * found.empty
    return found


def _timed(session: Session, steps: int) -> tuple[float, float | None]:
    """Seconds of some steps by the host's clock, and by the device's where it has one."""
    timed = getattr(session, "timed", None)
    start = time.perf_counter()
    own = timed(steps)[1] if timed else session.run(steps) and None
    return time.perf_counter() - start, own


@cache
def copy_rate(threads: int | None) -> float:
    """Bytes a second, read and written, at which so many threads copy memory."""
    count = threads_for(threads)
    source, target = np.ones(COPIED, np.uint8), np.zeros(COPIED, np.uint8)
    parts = list(zip(np.array_split(target, count), np.array_split(source, count), strict=True))
    best = float("inf")
    with ThreadPoolExecutor(count) as pool:
        for _ in range(3):
            start = time.perf_counter()
            list(pool.map(lambda part: np.copyto(*part), parts))
            best = min(best, time.perf_counter() - start)
    return 2 * COPIED / best


def _steps(image: Image, program: Program, runs: int) -> Iterator[tuple[Instruction, int]]:
    """(instruction that comes next, base register); the caller executes it before the next."""
    if not isinstance(program, TensorProgram):
        for instruction in program.instructions:
            if instruction.op.flow is Flow.HALT:
                return
            yield instruction, 0
        return
    while True:
        state = read_state(image, program.state_start)
        if state[State.STATUS] == HALTED:
            return
        instruction = program.instructions[int(state[State.PC])]
        yield instruction, int(state[State.BASE])
        after = read_state(image, program.state_start)
        runs -= after[State.STATUS] == YIELDED
        if not runs:
            return


def _operands(program: Program, instruction: Instruction, base: int) -> str:
    """What an instruction reads and, after ">", writes, by name."""
    if not isinstance(program, TensorProgram):
        return ""
    named = program.operand_regions(instruction, base)
    reads = " ".join(dict.fromkeys(r.name for mode, r in named if mode.reads))
    writes = " ".join(dict.fromkeys(r.name for mode, r in named if mode.writes))
    return f"{reads} > {writes}" if writes else reads


def set_scalar(image: Image, text: str) -> None:
    """Carry out "NAME=NUMBER": the first element of an I32 tensor of the state.

    Raises ProgramError when there is no such tensor or number.
    """
    name, _, number = text.partition("=")
    program = verify(image)
    known = {
        d.name: d
        for d in (program.descriptors if isinstance(program, TensorProgram) else ())
        if d.dtype == DType.I32 and d.role == Role.STATE
    }
    try:
        value = int(number)
    except ValueError:
        value = 1 << 32
    if name not in known or not -(2**31) <= value < 2**31:
        raise ProgramError(
            f"expected NAME=NUMBER with a tensor of the state ({', '.join(known) or 'none'}) and 32"
            f" bits; found {text!r}"
        )
    write_words(image, known[name].start, np.array([value & 0xFFFFFFFF], np.uint32))
