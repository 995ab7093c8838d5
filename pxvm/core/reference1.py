"""The reference executor for dialect 1: control flow in Python, tensors through ``ops``."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

from pxvm.core.dialect1 import TensorProgram, read_state
from pxvm.core.errors import ExecutionError
from pxvm.core.integer import Ints
from pxvm.core.interrupt import Uninterrupted
from pxvm.core.isa import Flow, Mode, Names, Parameter
from pxvm.core.mapping import watched
from pxvm.core.operand import Tensor, Tensors
from pxvm.core.ops import FUNCTIONS
from pxvm.core.parts import Image, Instruction
from pxvm.core.resources import require_memory
from pxvm.core.tensor import (
    HALTED,
    MAX_COUNT,
    READY,
    YIELDED,
    Descriptor,
    DType,
    Role,
    State,
    decode_scales,
    store_words,
    write_words,
)

# For an element of an operand: of I32 the arithmetic's steps, of others two copies and a sum.
WIDE_BYTES, BYTES = 64, 32
SLICE = 0.05  # seconds after which Ctrl-C is heard


class Control(ABC):
    """The registers of a verified program and what control instructions do with them.

    An executor that follows the program on the host says how an instruction computes, what a
    scalar holds now, and how scratch tensors become zero.
    """

    program: TensorProgram
    state: Ints
    match: dict[int, int]

    @abstractmethod
    def _compute(self, instruction: Instruction) -> None: ...

    @abstractmethod
    def _scalar(self, d: Descriptor) -> int: ...

    @abstractmethod
    def _clear_scratch(self) -> None: ...

    def step(self) -> None:
        """Execute one instruction; registers stay here."""
        s = self.state
        instruction = self.program.instructions[int(s[State.PC])]
        s[State.STEPS] = (s[State.STEPS] + 1) & 0x7FFFFFFF
        s[State.PC] += 1
        if instruction.op.flow is Flow.NEXT:
            self._compute(instruction)
        else:
            control = getattr(self, "_" + instruction.op.name.lower())
            control(instruction, *instruction.operands)

    def some(self, most: int | None) -> int:
        """Execute up to Halt, Yield or ``most`` instructions, or until ``SLICE`` seconds are over.

        Ctrl-C is heard afterwards, so between two instructions. Returns the steps made.
        """
        made, end = 0, time.monotonic() + SLICE
        with Uninterrupted():
            while (
                self.state[State.STATUS] == READY
                and (most is None or made < most)
                and time.monotonic() < end
            ):
                self.step()
                made += 1
        return made

    def _value(self, operand: int) -> int:
        index = self.program.index(operand, int(self.state[State.BASE]))
        return self._scalar(self.program.descriptors[index])

    def _halt(self, instruction: Instruction, g: int, b: int, a: int) -> None:
        self.state[State.PC] -= 1
        self.state[State.STATUS] = HALTED
        self._clear_scratch()

    def _yield(self, instruction: Instruction, g: int, b: int, a: int) -> None:
        self.state[State.STATUS] = YIELDED
        self._clear_scratch()

    def _loop(self, instruction: Instruction, g: int, b: int, a: int) -> None:
        count = int(np.clip(self._value(g), 0, MAX_COUNT))
        s = self.state
        if not count:
            s[State.PC] = self.match[instruction.index] + 1
            return
        at = State.LOOP_STACK + 4 * int(s[State.LOOPS])
        s[at : at + 4] = s[State.PC], count, a, s[State.BASE]
        s[State.LOOPS] += 1

    def _endloop(self, instruction: Instruction, g: int, b: int, a: int) -> None:
        s = self.state
        at = State.LOOP_STACK + 4 * (int(s[State.LOOPS]) - 1)
        s[at + 1] -= 1
        if s[at + 1]:
            s[State.PC] = s[at]
            s[State.BASE] += s[at + 2]
            return
        s[State.BASE] = s[at + 3]
        s[at : at + 4] = 0
        s[State.LOOPS] -= 1

    def _call(self, instruction: Instruction, g: int, b: int, a: int) -> None:
        s = self.state
        at = State.CALL_STACK + 2 * int(s[State.CALLS])
        s[at : at + 2] = s[State.PC], s[State.BASE]
        s[State.CALLS] += 1
        s[State.PC] = g | b << 8
        s[State.BASE] += a

    def _return(self, instruction: Instruction, g: int, b: int, a: int) -> None:
        s = self.state
        at = State.CALL_STACK + 2 * (int(s[State.CALLS]) - 1)
        s[State.PC], s[State.BASE] = s[at], s[at + 1]
        s[at : at + 2] = 0
        s[State.CALLS] -= 1

    def _skipifzero(self, instruction: Instruction, g: int, b: int, a: int) -> None:
        if self._value(g) == 0:
            self.state[State.PC] += a


class Runner(Tensors, Control):
    """Runs a verified program step by step; registers live here between load and store."""

    def __init__(self, image: Image, program: TensorProgram) -> None:
        super().__init__(image, program)
        self.match = matching_loops(program.instructions)
        require_memory(_memory(program), "the program, on the reference executor,")
        self.load()

    def load(self) -> None:
        """Take the registers from the pixels."""
        self.state = read_state(self.image, self.program.state_start)
        self.saturated = self.clamped = False

    def store(self) -> None:
        """Put the registers into the pixels, with a 1 where something was saturated or clamped."""
        s = self.state
        if self.saturated:
            s[State.SATURATED] = 1
        if self.clamped:
            s[State.CLAMPED] = 1
        write_words(self.image, self.program.state_start, (s & 0xFFFFFFFF).astype(np.uint32))

    @property
    def next(self) -> Instruction | None:
        """The instruction that comes next, or None when halted."""
        if self.state[State.STATUS] == HALTED:
            return None
        return self.program.instructions[int(self.state[State.PC])]

    @watched
    def run(self, max_steps: int | None) -> int:
        """Execute until Halt, Yield or ``max_steps`` and store; returns the steps made.

        Ctrl-C ends it between two instructions, and what was done is stored.
        """
        self.load()  # between two runs the pixels hold the registers, and the host may set them
        made = 0
        if self.state[State.STATUS] == YIELDED:
            self.state[State.STATUS] = READY
        try:
            while self.state[State.STATUS] == READY and (max_steps is None or made < max_steps):
                made += self.some(None if max_steps is None else max_steps - made)
        except KeyboardInterrupt:
            self.store()
            raise
        self.store()
        return made

    def host(self, names: Iterable[str] | None) -> None:
        """Nothing: this executor works in the image itself."""

    def sync(self) -> None:
        """Nothing: this executor works in the image itself."""

    def _scalar(self, d: Descriptor) -> int:
        return int(Tensor(self, d).scalar)

    def _compute(self, instruction: Instruction) -> None:
        tensors, named = self.program.operands(instruction, int(self.state[State.BASE]))
        operands = [Tensor(self, d) for d in tensors]
        for parameter in instruction.op.parameters:
            named[parameter.name] = self._parameter(parameter, named[parameter.name])
        if all(tensor.used for tensor in operands):
            try:
                FUNCTIONS[instruction.op.name](*operands, **named)
            except MemoryError:
                raise ExecutionError(
                    f"{instruction.place}: this machine lacks the memory for it"
                ) from None

    def _parameter(self, parameter: Parameter, value: Any) -> Any:
        if parameter.mode.names is Names.TENSOR:
            return Tensor(self, value)
        if parameter.mode is Mode.SCALE:
            mantissa, exponent = decode_scales(np.array([value], np.uint32))
            return mantissa[0], exponent[0]
        return value

    def _clear_scratch(self) -> None:
        for d in self.program.descriptors:
            if d.role == Role.SCRATCH and d.dtype != DType.PARAMS:
                used = Tensor(self, d).used
                store_words(self.image, d, 0, np.zeros((used, d.row_words), np.uint32))


def _memory(program: TensorProgram) -> int:
    """Bytes that the largest instruction takes at most: every step of its arithmetic in int64."""
    most = 0
    for index, base in program.visits:
        tensors, named = program.operands(program.instructions[index], base)
        tensors += [d for d in named.values() if isinstance(d, Descriptor)]
        each = [(WIDE_BYTES if d.dtype == DType.I32 else BYTES) * d.rows * d.cols for d in tensors]
        most = max(most, sum(each))
    return most


def matching_loops(instructions: tuple[Instruction, ...]) -> dict[int, int]:
    """Loop instruction index -> index of its EndLoop, for a verified program."""
    match, stack = {}, []
    for instruction in instructions:
        if instruction.op.flow is Flow.LOOP:
            stack.append(instruction.index)
        elif instruction.op.flow is Flow.END_LOOP:
            match[stack.pop()] = instruction.index
    return match
