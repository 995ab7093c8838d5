"""The planned way: the host decodes and follows the program's control flow, and every other
instruction becomes a dispatch of the shader that the opcode's name says, many in one submission.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pxvm.core import ops
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.integer import Ints
from pxvm.core.interrupt import Uninterrupted
from pxvm.core.isa import Names
from pxvm.core.parts import Image, Instruction
from pxvm.core.reference1 import Control, matching_loops
from pxvm.core.tensor import (
    READY,
    STATE_WORDS,
    YIELDED,
    Descriptor,
    DType,
    State,
)
from pxvm.gpu import shaders
from pxvm.gpu.devices import WINDOWS, Gpu
from pxvm.gpu.picture import Picture, Watch
from pxvm.gpu.shaders import LANES

MOST_GROUPS = 1 << 14  # workgroups of a dispatch; each takes more than one part where that is few
CALLS, FIRST_CALLS = 1024, 4  # dispatches of a submission at most, and of the first
MOMENT = 0.03  # seconds that a submission takes, about
ALIGNED = 64  # words between two dispatches' uniforms
SCRATCH = 1 << 22  # words that attention may take for all of its workgroups
MOST_QUERIES = 2048  # workgroups of attention
FEW_COLUMNS, MOST_OF_FEW = 8, 1024  # columns a workgroup of a product of few rows, and workgroups


class Planned(Control):
    """A program that the host follows on a device; ``picture`` has its tensors.

    Attributes:
        scalars: first elements of tensors that are ahead, as far as the host knows them anyway.
        most: dispatches of a submission, as many as the device does in a moment. The host waits for
            one before it gives the next, so that a run that is stopped ends soon.
        sent: when the last one was given, if nobody has waited for it since.
    """

    def __init__(self, gpu: Gpu, image: Image, program: TensorProgram, picture: Picture) -> None:
        self.gpu, self.image, self.program, self.picture = gpu, image, program, picture
        self.match = matching_loops(program.instructions)
        self.scratch = gpu.buffer(scratch_words(program, attention_groups))
        self.layout = _layout(gpu)
        self.uniform = gpu.buffer(ALIGNED * CALLS, uniform=True)
        buffers = [self.uniform, picture.tensors, picture.changing, self.scratch]
        entries = [_entry(i, b) for i, b in enumerate([*buffers, *picture.images])]
        entries[0]["resource"]["size"] = 16
        self.group = gpu.device.create_bind_group(layout=self.layout, entries=entries)
        self.calls = np.zeros((CALLS, ALIGNED), np.uint32)
        self.waiting: list[tuple[Any, int]] = []
        self.most, self.sent = FIRST_CALLS, 0.0
        usage = gpu.usage.MAP_READ | gpu.usage.COPY_DST
        self.marker = gpu.device.create_buffer(size=4, usage=usage)

    def run(self, state: Ints, max_steps: int | None, rounds: int, watch: Watch | None) -> int:
        """As the resident way's; it never fails."""
        self.state = state
        self.picture.recent = self.picture.recent[:0]
        self.scalars: dict[int, int] = {}
        self.sent = 0.0
        marks = np.zeros(STATE_WORDS, np.uint32)
        self.gpu.device.queue.write_buffer(self.picture.changing, 0, marks)
        made = 0
        try:
            while state[State.STATUS] == READY and (max_steps is None or made < max_steps):
                made += self.some(None if max_steps is None else max_steps - made)
                if state[State.STATUS] == YIELDED and rounds > 1 and not self._is_awaited(watch):
                    rounds -= 1
                    state[State.STATUS] = READY
        finally:
            with Uninterrupted():
                self._submit()
                marks = self.picture.read(0, STATE_WORDS)
                for word in (State.SATURATED, State.CLAMPED):
                    if marks[word]:
                        state[word] = 1
        return made

    def _is_awaited(self, watch: Watch | None) -> bool:
        if watch is None:
            return False
        return self._scalar(self.program.descriptors[watch.descriptor]) in watch.values

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
        copied = self._known(tensors[1]) if op.name == "Copy" and groups else None
        for mode, index in zip(op.operands, (g, b, a), strict=True):
            if mode.names is Names.TENSOR and mode.writes:
                self._is_written(index)
        for parameter in op.parameters:
            if parameter.mode.names is Names.TENSOR and parameter.mode.writes:
                self._is_written(parameters[parameter.name].index)
        if copied is not None and tensors[0].length is tensors[1].length is None:
            self.scalars[g] = copied
        if op.name == "Push":
            self._dispatch("op_push_length", (g, b, a), 1)

    def _is_written(self, index: int) -> None:
        self.picture.ahead.add(index)
        self.scalars.pop(index, None)

    def _rows(self, d: Descriptor) -> int:
        """Rows in use, as far as the host knows."""
        if d.length is None:
            return d.rows
        length = self._known(self.program.descriptors[d.length])
        return d.rows if length is None else min(max(length, 0), d.rows)

    def _known(self, d: Descriptor) -> int | None:
        """The first element of an I32 tensor where the device need not be asked for it."""
        if d.index in self.picture.ahead:
            return self.scalars.get(d.index)
        y, x = divmod(d.start, self.program.width)
        return int(self.image[y, x].view("<i4")[0])

    def _scalar(self, d: Descriptor) -> int:
        """The first element of an I32 tensor at this point of the run."""
        if (value := self._known(d)) is not None:
            return value
        self._submit()
        self.scalars[d.index], self.sent = self.picture.scalar(d), 0.0
        return self.scalars[d.index]

    def _clear_scratch(self) -> None:
        for index in self.picture.cleared:
            d = self.program.descriptors[index]
            self._dispatch("op_clear", (index,) * 3, _spread(self._rows(d) * d.row_words))
            self._is_written(index)

    def _dispatch(self, operation: str, operands: tuple[int, int, int], groups: int) -> None:
        if groups < 1:
            return
        if len(self.waiting) >= self.most:
            self._submit()
        self.calls[len(self.waiting), :3] = operands
        self.waiting.append(
            (
                _pipeline(self.gpu, self.picture.windows, self.layout, operation),
                min(groups, MOST_GROUPS),
            )
        )

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
        encoder.copy_buffer_to_buffer(self.picture.changing, 0, self.marker, 0, 4)
        self._wait()
        device.queue.submit([encoder.finish()])
        self.waiting.clear()
        self.sent = time.monotonic()

    def _wait(self) -> None:
        """Wait for the submission before, if it is under way, and let the next one last MOMENT."""
        if not self.sent:
            return
        self.marker.map_sync("READ")
        self.marker.unmap()
        took = time.monotonic() - self.sent
        if took < MOMENT:
            self.most = min(2 * self.most, CALLS)
        else:
            self.most = max(int(self.most * MOMENT / took), 1)


def _entry(binding: int, buffer: Any) -> dict[str, Any]:
    return {"binding": binding, "resource": {"buffer": buffer, "offset": 0, "size": buffer.size}}


def _layout(gpu: Gpu) -> Any:
    """The bindings of every shader, as in planned.wgsl."""
    kinds = ["uniform", "read-only-storage", "storage", "storage", *["read-only-storage"] * WINDOWS]
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


def _pipeline(gpu: Gpu, windows: int, layout: Any, operation: str) -> Any:
    """The compiled shader of an operation, kept with the device."""
    key = (operation, windows)
    if key not in gpu.pipelines:
        module = gpu.pipelines.get(("", windows))
        if module is None:
            code = shaders.planned(gpu.window, windows)
            module = gpu.pipelines["", windows] = gpu.device.create_shader_module(code=code)
        gpu.pipelines[key] = gpu.device.create_compute_pipeline(
            layout=gpu.device.create_pipeline_layout(bind_group_layouts=[layout]),
            compute={"module": module, "entry_point": f"run_{operation[3:]}"},
        )
    return gpu.pipelines[key]


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
        return -(-rows(second) * first.extents[0] // shaders.TOGETHER)
    if name.startswith("Attention"):
        width: int = named["k"].cols
        return min(rows(first) * (first.cols // width), attention_groups(width))
    if name == "Linear":
        return _linear_groups(rows(first), first.cols, tensors[1].dtype, tensors[2].dtype)
    if name in ("Copy", "Transpose"):
        return _spread(second.rows * second.cols)
    if name == "Blit":
        font = tensors[2].extents
        return _spread(second.rows * second.cols * font[1] * font[2])
    if name in ("Push", "Concat"):
        return _spread(rows(second) * second.cols)
    return _spread(rows(first) * first.cols)


def attention_groups(width: int) -> int:
    return max(min(SCRATCH // (width + width // 4), MOST_QUERIES), 1)


def _linear_groups(rows: int, cols: int, dtype: DType, weight: DType) -> int:
    """Workgroups of a product: of few rows a group takes columns, of many a tile."""
    if rows <= shaders.FEW:
        return min(-(-cols // FEW_COLUMNS), MOST_OF_FEW)
    planes = 2 if dtype == DType.ACT2 else 1
    if weight == DType.I4:
        return -(-rows // (LANES // 4)) * -(-cols // shaders.WIDE)
    return -(-rows // (shaders.WIDE // planes)) * -(-cols // shaders.SPAN)


def scratch_words(program: TensorProgram, groups: Callable[[int], int]) -> int:
    """Words that instructions of a program work in.

    Args:
        groups: workgroups that attention has at most, for a head's width.
    """
    most = 64
    for index, base in program.visits:
        instruction = program.instructions[index]
        tensors, named = program.operands(instruction, base)
        name = instruction.op.name
        if name == "Sample":
            most = max(most, tensors[1].cols + 2 * ops.SAMPLE_CANDIDATES)
        elif name.startswith("Attention"):
            width = named["k"].cols
            most = max(most, groups(width) * (width + width // 4))
    return most
