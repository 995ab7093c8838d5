"""The reference executor for dialect 1: control flow in Python, tensors through ``ops``."""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.core.dialect1 import Network, read_state
from pxvm.core.errors import ExecutionError
from pxvm.core.integer import Ints, ints, next_random
from pxvm.core.isa import Mode
from pxvm.core.operands import operands
from pxvm.core.ops import FUNCTIONS
from pxvm.core.program import Image, Instruction
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
    decode,
    decode_scales,
    encode,
    store_words,
    tensor_words,
    write_words,
)

LIMITS = {DType.I32: (-(2**31), 2**31 - 1), DType.RGBA: (0, 2**32 - 1)}
# For an element of an operand: of I32 the arithmetic's steps, of others two copies and a sum.
WIDE_BYTES, BYTES = 64, 32


class Tensor:
    """An operand as the specification sees it; see ``ops``."""

    def __init__(self, runner: Runner, d: Descriptor) -> None:
        self.runner, self.d = runner, d
        self.image = runner.image
        self.frac, self.cols, self.rows, self.extents = d.frac, d.cols, d.rows, d.extents
        self.is_activation = d.dtype in (DType.ACT1, DType.ACT2)
        self.bits = 7 if d.dtype == DType.ACT1 else 14
        self.used = self.rows
        if d.length is not None:
            self.used = int(np.clip(runner.tensor(d.length).scalar, 0, d.rows))

    def _words(self, start: int, stop: int) -> Any:
        return tensor_words(self.image, self.d, start, stop - start)

    @property
    def values(self) -> Ints:
        """Rows in use as int64 (rows, cols)."""
        return decode(self._words(0, self.used), self.d.dtype, self.cols)

    @property
    def all(self) -> Ints:
        """Every element, in use or not, of shape (rows, cols)."""
        return decode(self._words(0, self.rows), self.d.dtype, self.cols)

    @property
    def flat(self) -> Ints:
        """Every element in one dimension."""
        return self.all.reshape(-1)

    @property
    def scalar(self) -> Any:
        """The first element, int64."""
        return self.all[0, 0]

    def at(self, rows: Ints) -> Ints:
        """The given rows (all valid), int64 (len(rows), cols)."""
        if len(rows) > 64:
            return self.all[rows]
        found = [decode(self._words(r, r + 1), self.d.dtype, self.cols)[0] for r in rows.tolist()]
        return ints(found).reshape(-1, self.cols)

    def slice(self, start: int, stop: int) -> tuple[Ints, tuple[Ints, Ints]]:
        """Activation rows [start, stop): (values, scales)."""
        words = self._words(start, stop)
        return decode(words, self.d.dtype, self.cols), decode_scales(words[:, -1])

    @property
    def scales(self) -> tuple[Ints, Ints]:
        """One scale for each row: an activation's own, or the linked SCALE tensor's."""
        if self.is_activation:
            return decode_scales(self._words(0, self.used)[:, -1])
        if self.d.scale is None:
            return ints([0]), ints([0])
        linked = self.runner.tensor(self.d.scale)
        return decode_scales(linked._words(0, linked.rows).reshape(-1))

    @property
    def bias(self) -> Any:
        """The linked bias, one integer for each row, or 0."""
        return 0 if self.d.bias is None else self.runner.tensor(self.d.bias).flat

    def clamp_index(self, index: Any, count: int) -> Ints:
        """Indexes clamped to 0..count - 1; the clamped ones are counted in the state."""
        inside = np.clip(index, 0, count - 1)
        self.runner.clamps += int((inside != index).sum())
        return ints(inside)

    def _saturate(self, values: Ints) -> Ints:
        if self.d.dtype not in LIMITS:
            return values
        kept = np.clip(values, *LIMITS[self.d.dtype])
        self.runner.saturations += int((kept != values).sum())
        return ints(kept)

    def write(self, values: Any, scales: tuple[Ints, Ints] | None = None) -> None:
        """Store the rows in use, saturated."""
        kept = self._saturate(ints(values))
        store_words(self.image, self.d, 0, encode(kept, self.d.dtype, scales))

    def write_all(self, values: Any) -> None:
        """Store elements in order from the first on; later ones stay."""
        kept = self._saturate(ints(values))
        rows, rest = divmod(len(kept), self.cols)
        full = kept[: rows * self.cols].reshape(rows, self.cols)
        store_words(self.image, self.d, 0, encode(full, self.d.dtype))
        if rest:
            start = self.d.row_start(rows, self.runner.network.width)
            write_words(self.image, start, encode(kept[None, rows * self.cols :], self.d.dtype)[0])

    def put(self, row: int, values: Ints, mantissa: Any, exponent: Any) -> None:
        """Store one activation row."""
        scales = (ints([mantissa]), ints([exponent]))
        store_words(self.image, self.d, row, encode(values[None], self.d.dtype, scales))

    def draw(self) -> int:
        """32 random bits; the state of the generator, two words of this tensor, moves on."""
        low, high = (int(v) & 0xFFFFFFFF for v in self.flat[:2])
        state, bits = next_random(low | high << 32)
        words = np.array([state & 0xFFFFFFFF, state >> 32], np.uint32)
        write_words(self.image, self.d.start, words)
        return bits


class Runner:
    """Runs a verified network step by step; registers live here between load and store."""

    def __init__(self, image: Image, network: Network) -> None:
        self.image, self.network = image, network
        self.match = matching_loops(network.instructions)
        require_memory(_memory(network), "the program, on the reference executor,")
        self.load()

    def load(self) -> None:
        """Take the registers from the pixels."""
        self.state = read_state(self.image, self.network.state_start)
        self.saturations = self.clamps = 0

    def store(self) -> None:
        """Put the registers into the pixels, counters added."""
        s = self.state
        s[State.SATURATIONS] = (s[State.SATURATIONS] + self.saturations) & 0x7FFFFFFF
        s[State.CLAMPS] = (s[State.CLAMPS] + self.clamps) & 0x7FFFFFFF
        self.saturations = self.clamps = 0
        write_words(self.image, self.network.state_start, (s & 0xFFFFFFFF).astype(np.uint32))

    def tensor(self, index: int) -> Tensor:
        """The tensor of a descriptor."""
        return Tensor(self, self.network.descriptors[index])

    @property
    def next(self) -> Instruction | None:
        """The instruction that comes next, or None when halted."""
        if self.state[State.STATUS] == HALTED:
            return None
        return self.network.instructions[int(self.state[State.PC])]

    def run(self, max_steps: int | None) -> int:
        """Execute until Halt, Yield or ``max_steps`` and store; returns the steps made."""
        made = 0
        if self.state[State.STATUS] == YIELDED:
            self.state[State.STATUS] = READY
        while self.state[State.STATUS] == READY and (max_steps is None or made < max_steps):
            self.step()
            made += 1
        self.store()
        return made

    def step(self) -> None:
        """Execute one instruction; registers stay here."""
        s = self.state
        instruction = self.network.instructions[int(s[State.PC])]
        s[State.STEPS] = (s[State.STEPS] + 1) & 0x7FFFFFFF
        s[State.PC] += 1
        control = getattr(self, "_" + instruction.op.name.lower(), None)
        if control:
            control(instruction, *instruction.operands)
        else:
            self._compute(instruction)

    def _operand(self, operand: int) -> Tensor:
        return self.tensor(self.network.index(operand, int(self.state[State.BASE])))

    def _compute(self, instruction: Instruction) -> None:
        operands: list[Tensor] = []
        named: dict[str, Any] = {}
        for mode, operand in zip(instruction.op.operands, instruction.operands, strict=True):
            if mode is Mode.PARAMETERS:
                words = self._operand(operand).d.parameters
                for (name, kind), word in zip(instruction.op.parameters, words, strict=False):
                    named[name] = self._parameter(kind, word)
            elif mode is not Mode.NONE:
                operands.append(self._operand(operand))
        if all(tensor.used for tensor in operands):
            try:
                FUNCTIONS[instruction.op.name](*operands, **named)
            except MemoryError:
                raise ExecutionError(
                    f"{instruction.place}: this machine lacks the memory for it"
                ) from None

    def _parameter(self, kind: str, word: int) -> Any:
        if kind == "number":
            return word
        if kind == "scale":
            mantissa, exponent = decode_scales(np.array([word], np.uint32))
            return mantissa[0], exponent[0]
        return self.tensor(word)

    def _halt(self, instruction: Instruction, g: int, b: int, a: int) -> None:
        self.state[State.PC] -= 1
        self.state[State.STATUS] = HALTED
        self._clear_scratch()

    def _yield(self, instruction: Instruction, g: int, b: int, a: int) -> None:
        self.state[State.STATUS] = YIELDED
        self._clear_scratch()

    def _clear_scratch(self) -> None:
        for d in self.network.descriptors:
            if d.role == Role.SCRATCH and d.dtype != DType.PARAMS:
                used = Tensor(self, d).used
                store_words(self.image, d, 0, np.zeros((used, d.row_words), np.uint32))

    def _loop(self, instruction: Instruction, g: int, b: int, a: int) -> None:
        count = int(np.clip(self._operand(g).scalar, 0, MAX_COUNT))
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
        if self._operand(g).scalar == 0:
            self.state[State.PC] += a


def _memory(network: Network) -> int:
    """Bytes that the largest instruction takes at most: every step of its arithmetic in int64."""
    most = 0
    for index, base in network.visits:
        tensors, named = operands(network, network.instructions[index], base)
        tensors += [d for d in named.values() if isinstance(d, Descriptor)]
        each = [(WIDE_BYTES if d.dtype == DType.I32 else BYTES) * d.rows * d.cols for d in tensors]
        most = max(most, sum(each))
    return most


def matching_loops(instructions: tuple[Instruction, ...]) -> dict[int, int]:
    """Loop instruction index -> index of its EndLoop, for a verified program."""
    match, stack = {}, []
    for instruction in instructions:
        if instruction.op.name == "Loop":
            stack.append(instruction.index)
        elif instruction.op.name == "EndLoop":
            match[stack.pop()] = instruction.index
    return match
