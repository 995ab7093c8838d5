"""Device ``gpu``: pixel programs on a GPU through WebGPU; the same bytes as everywhere.

The host decodes and follows the program's control flow; every other instruction becomes a dispatch
of the shader that the opcode's name says, many of them in one submission. The picture stays on the
device from one run of a session to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pxvm.core import executors
from pxvm.core.dialect1 import TensorProgram, read_state
from pxvm.core.errors import DeviceError, ProgramError
from pxvm.core.integer import Ints
from pxvm.core.isa import Names
from pxvm.core.mapping import watched
from pxvm.core.parts import Image, Instruction, Program
from pxvm.core.reference1 import Control, matching_loops
from pxvm.core.tensor import (
    READY,
    STATE_WORDS,
    YIELDED,
    Descriptor,
    DType,
    Role,
    State,
    write_words,
)
from pxvm.gpu import devices, shaders
from pxvm.gpu.picture import Picture
from pxvm.gpu.shaders import LANES

MOST_GROUPS = 1 << 14  # workgroups of a dispatch; each takes more than one part where that is few
CALLS = 1024  # dispatches of a submission
ALIGNED = 64  # words between two dispatches' uniforms
SCRATCH = 1 << 22  # words that attention may take for all of its workgroups
TOGETHER = 8  # lanes that share a weight row of Linear


def available() -> str:
    """Empty, or why no GPU can be used here."""
    return devices.available()


def run(image: Image, program: Program, max_steps: int | None, threads: int | None = None) -> int:
    """Run a verified program in place; returns the number of instructions executed."""
    return session(image, program, threads).run(max_steps)


def session(image: Image, program: Program, threads: int | None = None) -> executors.Session:
    """Bind a verified program to its image, ready to run again and again."""
    return Chosen().session(image, program, threads)


def gaining(program: Program, once: bool) -> Chosen | None:
    """For ``auto``: this executor on a GPU where the program is done sooner, or None.

    Args:
        once: the program is run once, so that a start and the upload count as well.
    """
    if not isinstance(program, TensorProgram) or not devices.hardware() or available():
        return None
    from pxvm.gpu.measuring import gain

    upload = 4 * program.width * program.height if once else 0
    for adapter in devices.adapters():
        if gain(program, adapter, upload):
            return Chosen(adapter.number)
    return None


def copy_rate() -> float:
    """Bytes a second, read and written, at which the best GPU copies its memory; 0: not known."""
    return Chosen().copy_rate()


@dataclass(frozen=True)
class Chosen:
    """This executor on one GPU: ``gpu:N``; None takes the best, or the best of a library."""

    number: int | None = None
    through: str = ""

    def available(self) -> str:
        """Empty, or why it cannot be used."""
        return available()

    def copy_rate(self) -> float:
        """As the module's."""
        from pxvm.gpu.measuring import measured

        return measured(devices.adapter_of(self.number, self.through)).copy

    def run(
        self, image: Image, program: Program, max_steps: int | None, threads: int | None = None
    ) -> int:
        """As the module's."""
        return self.session(image, program, threads).run(max_steps)

    def session(
        self, image: Image, program: Program, threads: int | None = None
    ) -> executors.Session:
        """As the module's."""
        adapter = devices.adapter_of(self.number, self.through)
        if isinstance(program, TensorProgram):
            return devices.Guarded(adapter, lambda gpu: Session(gpu, image, program))
        from pxvm.gpu.row import Row

        return devices.Guarded(adapter, lambda gpu: Row(gpu, image, program))


def choose(option: str) -> Chosen:
    """The executor that ``gpu:option`` means. Raises DeviceError."""
    number, through = None, ""
    for word in option.split(":"):
        if word.isdecimal() and number is None:
            number = int(word)
        elif word in devices.LIBRARIES and not through:
            through = word
        else:
            libraries = ", ".join(f"gpu:{name}" for name in devices.LIBRARIES)
            raise DeviceError(
                f"expected gpu, {libraries} or gpu:N, N as `pxvm gpus` shows; found gpu:{option}"
            )
    return Chosen(number, through)


class Session(Control):
    """A verified program on a GPU.

    Raises DeviceError where the device lacks room, ProgramError for an unverified program.
    """

    def __init__(self, gpu: devices.Gpu, image: Image, program: TensorProgram) -> None:
        if not program.visits:
            raise ProgramError("expected a program that the verifier has admitted; found another")
        self.gpu, self.image, self.program = gpu, image, program
        self.match = matching_loops(program.instructions)
        self.picture = Picture(gpu, image, program)
        self.scratch = gpu.buffer(_scratch(program))
        self.layout = _layout(gpu)
        self.uniform = gpu.buffer(ALIGNED * CALLS, uniform=True)
        buffers = [self.uniform, self.picture.tensors, self.picture.changing, self.scratch]
        entries = [_entry(i, b) for i, b in enumerate([*buffers, *self.picture.images])]
        entries[0]["resource"]["size"] = 16
        self.group = gpu.device.create_bind_group(layout=self.layout, entries=entries)
        self.calls = np.zeros((CALLS, ALIGNED), np.uint32)
        self.waiting: list[tuple[Any, int]] = []
        self.written: set[int] = set()
        self.ahead: set[int] = set()  # what the device has and the image not yet
        self.hosted: frozenset[int] | None = None
        self.state: Ints = read_state(image, program.state_start)

    @watched
    def run(self, max_steps: int | None = None) -> int:
        """Run until Halt, Yield or ``max_steps``; afterwards everything is in the pixels."""
        picture = self.picture
        self.state = read_state(self.image, self.program.state_start)
        if self.state[State.STATUS] == YIELDED:
            self.state[State.STATUS] = READY
        marks = np.zeros(STATE_WORDS, np.uint32)
        self.gpu.device.queue.write_buffer(picture.changing, 0, marks)
        picture.refresh(picture.places if self.hosted is None else self.hosted)
        made = 0
        try:
            while self.state[State.STATUS] == READY and (max_steps is None or made < max_steps):
                self.step()
                made += 1
        finally:
            self._submit()
            self._store()
        return made

    def _store(self) -> None:
        """What the run changed, and the registers, to the pixels."""
        self.ahead |= self.written
        self.written.clear()
        marks = self.picture.read(0, STATE_WORDS)
        self._collect(self.ahead if self.hosted is None else self.ahead & self.hosted)
        for word in (State.SATURATED, State.CLAMPED):
            if marks[word]:
                self.state[word] = 1
        words = (self.state & 0xFFFFFFFF).astype(np.uint32)
        write_words(self.image, self.program.state_start, words)

    def host(self, names: Iterable[str] | None) -> None:
        """As every session's; the caches of an answer, say, then stay on the device."""
        self.sync()
        self.picture.refresh(self.picture.places)  # what the host names no more is looked at now
        self.hosted = None
        if names is not None:
            wanted = set(names)
            self.hosted = frozenset(
                d.index
                for d in self.program.descriptors
                if d.name in wanted and d.index in self.picture.places
            )

    def sync(self) -> None:
        """Bring what the device has into the image."""
        self._collect(self.ahead)

    def _collect(self, indexes: Iterable[int]) -> None:
        found = sorted(indexes)
        self.picture.collect(found)
        self.ahead.difference_update(found)

    def _compute(self, instruction: Instruction) -> None:
        base, op = int(self.state[State.BASE]), instruction.op
        named = [
            self.program.index(operand, base)
            for mode, operand in zip(op.operands, instruction.operands, strict=True)
            if mode.names in (Names.TENSOR, Names.BLOCK)
        ]
        g, b, a = (*named, *[named[0]] * (3 - len(named)))
        tensors, parameters = self.program.operands(instruction, base)
        groups = _groups(op.name, tensors, parameters, self._rows)
        self._dispatch(shaders.OPERATIONS[op.code], (g, b, a), groups)
        for mode, index in zip(op.operands, (g, b, a), strict=True):
            if mode.names is Names.TENSOR and mode.writes:
                self.written.add(index)
        for parameter in op.parameters:
            if parameter.mode.names is Names.TENSOR and parameter.mode.writes:
                self.written.add(parameters[parameter.name].index)
        if op.name == "Push":
            self._dispatch("op_push_length", (g, b, a), 1)

    def _rows(self, d: Descriptor) -> int:
        """Rows in use, as far as the host knows."""
        if d.length is None or d.length in self.written or d.length in self.ahead:
            return d.rows
        return int(np.clip(self._scalar(self.program.descriptors[d.length]), 0, d.rows))

    def _scalar(self, d: Descriptor) -> int:
        """The first element of an I32 tensor at this point of the run."""
        if d.index in self.written or d.index in self.ahead:
            self._submit()
            return self.picture.scalar(d)
        y, x = divmod(d.start, self.program.width)
        return int(self.image[y, x].view("<i4")[0])

    def _clear_scratch(self) -> None:
        for d in self.program.descriptors:
            if d.role == Role.SCRATCH and d.dtype != DType.PARAMS:
                self._dispatch("op_clear", (d.index,) * 3, _spread(self._rows(d) * d.row_words))
                self.written.add(d.index)

    def _dispatch(self, operation: str, operands: tuple[int, int, int], groups: int) -> None:
        if groups < 1:
            return
        if len(self.waiting) == CALLS:
            self._submit()
        self.calls[len(self.waiting), :3] = operands
        self.waiting.append((_pipeline(self.gpu, self.layout, operation), min(groups, MOST_GROUPS)))

    def _submit(self) -> None:
        """Give the device what waits."""
        if not self.waiting:
            return
        device = self.gpu.device
        device.queue.write_buffer(self.uniform, 0, self.calls[: len(self.waiting)])
        encoder = device.create_command_encoder()
        compute = self.gpu.begin(encoder)
        for number, (pipeline, groups) in enumerate(self.waiting):
            compute.set_pipeline(pipeline)
            compute.set_bind_group(0, self.group, [4 * ALIGNED * number])
            compute.dispatch_workgroups(groups)
        compute.end()
        device.queue.submit([encoder.finish()])
        self.waiting.clear()


def _entry(binding: int, buffer: Any) -> dict[str, Any]:
    return {"binding": binding, "resource": {"buffer": buffer, "offset": 0, "size": buffer.size}}


def _layout(gpu: devices.Gpu) -> Any:
    """The bindings of every shader, as in planned.wgsl."""
    kinds = ["uniform", "read-only-storage", "storage", "storage", *["read-only-storage"] * 4]
    return gpu.device.create_bind_group_layout(
        entries=[
            {
                "binding": number,
                "visibility": gpu.stages.COMPUTE,
                "buffer": {"type": kind, "has_dynamic_offset": kind == "uniform"},
            }
            for number, kind in enumerate(kinds)
        ]
    )


def _pipeline(gpu: devices.Gpu, layout: Any, operation: str) -> Any:
    """The compiled shader of an operation, kept with the device."""
    if operation not in gpu.pipelines:
        module = gpu.pipelines.get("")
        if module is None:
            module = gpu.device.create_shader_module(code=shaders.planned(gpu.window))
            gpu.pipelines[""] = module
        gpu.pipelines[operation] = gpu.device.create_compute_pipeline(
            layout=gpu.device.create_pipeline_layout(bind_group_layouts=[layout]),
            compute={"module": module, "entry_point": f"run_{operation[3:]}"},
        )
    return gpu.pipelines[operation]


def _spread(elements: int) -> int:
    """Workgroups for so many elements, one a lane."""
    return -(-elements // LANES)


BY_ROWS = (
    "RMSNorm", "LayerNorm", "L2Norm", "Softmax", "Quantise", "Sum", "Max", "Mean", "Argmax", "TopK",
    "Dot",
)  # fmt: skip


def _groups(
    name: str,
    tensors: list[Descriptor],
    named: dict[str, Any],
    rows: Callable[[Descriptor], int],
) -> int:
    """Workgroups that an instruction has work for; 0 where none of its rows is in use."""
    if not all(rows(d) for d in tensors):
        return 0
    first, second = tensors[0], tensors[1]
    if name in BY_ROWS:
        return rows(first)
    if name == "Sample":
        return 1
    if name == "Append":
        return rows(second) * first.extents[0]
    if name.startswith("Attention"):
        width: int = named["k"].cols
        return min(rows(first) * (first.cols // width), _attention_groups(width))
    if name == "Linear":
        return rows(first) * -(-tensors[2].rows // (LANES // TOGETHER))
    if name in ("Copy", "Transpose"):
        return _spread(second.rows * second.cols)
    if name == "Blit":
        font = tensors[2].extents
        return _spread(second.rows * second.cols * font[1] * font[2])
    if name in ("Push", "Concat"):
        return _spread(rows(second) * second.cols)
    return _spread(rows(first) * first.cols)


def _attention_groups(width: int) -> int:
    return max(SCRATCH // (width + width // 4), 1)


def _scratch(program: TensorProgram) -> int:
    """Words that the instructions of a program work in."""
    most = 64
    for index, base in program.visits:
        instruction = program.instructions[index]
        tensors, named = program.operands(instruction, base)
        name = instruction.op.name
        if name == "Sample":
            most = max(most, tensors[1].cols + 2 * 1024)
        elif name.startswith("Attention"):
            width = named["k"].cols
            queries = tensors[0].rows * (tensors[0].cols // width)
            most = max(most, min(_attention_groups(width), queries) * (width + width // 4))
    return most
