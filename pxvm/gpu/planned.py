"""The planned way: the host decodes and follows the program's control flow, and every other
instruction becomes a dispatch of the shader that the opcode's name says, many in one submission.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    State,
)
from pxvm.gpu import shaders
from pxvm.gpu.devices import UNITS, WINDOWS, WITH_UNITS, Gpu, subgroups_of
from pxvm.gpu.groups import attention_groups, groups_of, scratch_words, spread
from pxvm.gpu.picture import Picture, Watch
from pxvm.gpu.shaders import LANES

MOST_GROUPS = 1 << 14  # workgroups of a dispatch; each takes more than one part where that is few
MOMENT = 0.03  # seconds that the host waits for the device at once, about
CALLS, FIRST_CALLS = 1024, 4  # dispatches from a mark to the next at most, and to the first
TOGETHER = 64  # dispatches of a submission at most: the device begins while the host goes on
ALIGNED = 64  # words between two dispatches' uniforms


@dataclass
class Step:
    """What the host knows of an instruction at a base.

    Attributes:
        named: descriptors of its three operands.
        lengths: tensors whose first elements say how many workgroups it has.
        written: tensors that it writes.
        copied: the tensor whose first element becomes that of the first operand.
        last: those first elements when it was last done, the operation, and its workgroups.
    """

    instruction: Instruction
    named: tuple[int, int, int]
    tensors: list[Descriptor]
    parameters: dict[str, Any]
    lengths: tuple[int, ...]
    written: tuple[int, ...]
    copied: int | None
    last: tuple[tuple[int | None, ...], str, int] | None = None


class Planned(Control):
    """A program that the host follows on a device; ``picture`` has its tensors.

    Attributes:
        units: products may go by matrix units.
        steps: by instruction and base.
        scalars: first elements of tensors, as far as the host knows them at this point of a run.
        most: dispatches from a mark to the next. The host waits for a mark before it gives the next
            but one, for a moment at most, so that a run that is stopped ends soon.
        given: how many the device has got since the last mark.
        marked: a mark was given, and nobody has waited for it since.
    """

    def __init__(self, gpu: Gpu, image: Image, program: TensorProgram, picture: Picture) -> None:
        self.gpu, self.image, self.program, self.picture = gpu, image, program, picture
        self.match = matching_loops(program.instructions)
        self.scratch = gpu.buffer(scratch_words(program, attention_groups))
        self.layout = _layout(gpu)
        self.uniform = gpu.buffer(ALIGNED * TOGETHER, uniform=True)
        buffers = [self.uniform, picture.tensors, picture.changing, self.scratch]
        entries = [_entry(i, b) for i, b in enumerate([*buffers, *picture.images])]
        entries[0]["resource"]["size"] = 16
        self.group = gpu.device.create_bind_group(layout=self.layout, entries=entries)
        self.calls = np.zeros((TOGETHER, ALIGNED), np.uint32)
        self.units = UNITS in gpu.features
        self.steps: dict[tuple[int, int], Step] = {}
        self.scalars: dict[int, int] = {}
        self.waiting: list[tuple[Any, tuple[int, int, int], int]] = []
        self.most, self.given, self.marked = FIRST_CALLS, 0, False
        usage = gpu.usage.MAP_READ | gpu.usage.COPY_DST
        self.marker = gpu.device.create_buffer(size=4, usage=usage)
        for operation in operations_of(program, self.units):
            _pipeline(gpu, picture.windows, self.layout, operation)

    def run(self, state: Ints, max_steps: int | None, rounds: int, watch: Watch | None) -> int:
        """As the resident way's; it never fails."""
        self.state = state
        self.picture.recent = self.picture.recent[:0]
        self.scalars.clear()
        self._is_idle()
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
                marks = self.picture.catch_up()
                for word in (State.SATURATED, State.CLAMPED):
                    if marks[word]:
                        state[word] = 1
        return made

    def _is_awaited(self, watch: Watch | None) -> bool:
        if watch is None:
            return False
        return self._scalar(self.program.descriptors[watch.descriptor]) in watch.values

    def _compute(self, instruction: Instruction) -> None:
        key = instruction.index, int(self.state[State.BASE])
        step = self.steps.get(key)
        if step is None:
            step = self.steps[key] = self._step(*key)
        lengths = tuple([self._first(index) for index in step.lengths])
        if step.last is None or step.last[0] != lengths:
            operands = step.instruction, step.tensors, step.parameters
            step.last = lengths, *groups_of(*operands, self._rows, self.units)
        _, operation, groups = step.last
        self._dispatch(operation, step.named, groups)
        copied = None if step.copied is None or not groups else self._first(step.copied)
        for index in step.written:
            self._is_written(index)
        if copied is not None:
            self.scalars[step.named[0]] = copied
        if operation == "op_push":
            self._dispatch("op_push_length", step.named, 1)

    def _step(self, index: int, base: int) -> Step:
        """What the host has to know of an instruction at a base."""
        instruction = self.program.instructions[index]
        op = instruction.op
        named = [
            self.program.index(operand, base)
            for mode, operand in zip(op.operands, instruction.operands, strict=True)
            if mode.names in (Names.TENSOR, Names.BLOCK)
        ]
        g, b, a = (*named, *[named[0]] * (3 - len(named)))
        tensors, parameters = self.program.operands(instruction, base)
        written = [
            index
            for mode, index in zip(op.operands, (g, b, a), strict=True)
            if mode.names is Names.TENSOR and mode.writes
        ]
        written += [
            parameters[p.name].index
            for p in op.parameters
            if p.mode.names is Names.TENSOR and p.mode.writes
        ]
        lengths = {d.length for d in tensors if d.length is not None}
        whole = op.name == "Copy" and tensors[0].length is tensors[1].length is None
        copied = tensors[1].index if whole else None
        return Step(
            instruction, (g, b, a), tensors, parameters, tuple(lengths), tuple(written), copied
        )

    def _is_written(self, index: int) -> None:
        self.picture.ahead.add(index)
        self.scalars.pop(index, None)

    def _rows(self, d: Descriptor) -> int:
        """Rows in use, as far as the host knows."""
        if d.length is None:
            return d.rows
        length = self._first(d.length)
        return d.rows if length is None else min(max(length, 0), d.rows)

    def _first(self, index: int) -> int | None:
        """The first element of an I32 tensor where the device need not be asked for it."""
        value = self.scalars.get(index)
        if value is None and index not in self.picture.ahead:
            y, x = divmod(self.program.descriptors[index].start, self.program.width)
            value = self.scalars[index] = int(self.image[y, x].view("<i4")[0])
        return value

    def _scalar(self, d: Descriptor) -> int:
        """The first element of an I32 tensor at this point of the run."""
        value = self._first(d.index)
        if value is None:
            self._submit()
            value = self.scalars[d.index] = self.picture.scalar(d)
            self._is_idle()
        return value

    def _clear_scratch(self) -> None:
        for index in self.picture.cleared:
            d = self.program.descriptors[index]
            self._dispatch("op_clear", (index,) * 3, spread(self._rows(d) * d.row_words))
            self._is_written(index)

    def _dispatch(self, operation: str, operands: tuple[int, int, int], groups: int) -> None:
        if groups < 1:
            return
        if len(self.waiting) >= min(self.most, TOGETHER):
            self._submit()
        pipeline = _pipeline(self.gpu, self.picture.windows, self.layout, operation)
        self.waiting.append((pipeline, operands, min(groups, MOST_GROUPS)))

    def _submit(self) -> None:
        """Give the device what waits, and a mark behind it when one is due."""
        count = len(self.waiting)
        if not count:
            return
        device = self.gpu.device
        self.calls[:count, :3] = [operands for _, operands, _ in self.waiting]
        device.queue.write_buffer(self.uniform, 0, self.calls[:count])
        encoder = device.create_command_encoder()
        compute = self.gpu.begin(encoder)
        for number, (pipeline, _, groups) in enumerate(self.waiting):
            compute.set_pipeline(pipeline)
            compute.set_bind_group(0, self.group, [4 * ALIGNED * number])
            compute.dispatch_workgroups(groups)
        compute.end()
        self.waiting.clear()
        self.given += count
        full = self.given >= self.most
        if full:
            self._wait()
            encoder.copy_buffer_to_buffer(self.picture.changing, 0, self.marker, 0, 4)
        device.queue.submit([encoder.finish()])
        if full:
            self.given, self.marked = 0, True

    def _wait(self) -> None:
        """Wait for the last mark, if it is under way, and see how far off the next may be."""
        if not self.marked:
            return
        begin = time.monotonic()
        self.marker.map_sync("READ")
        self.marker.unmap()
        took = time.monotonic() - begin
        if took < MOMENT / 2:
            self.most = min(2 * self.most, CALLS)
        elif took > MOMENT:
            self.most = max(int(self.most * MOMENT / took), 1)

    def _is_idle(self) -> None:
        """The device has done all that it got."""
        self.given, self.marked = 0, False


def operations_of(program: TensorProgram, units: bool) -> set[str]:
    """What a program is dispatched as; compiled before it begins."""
    codes = {i.code for i in program.instructions} & shaders.OPERATIONS.keys()
    found = {shaders.OPERATIONS[code] for code in codes}
    if "op_push" in found:
        found.add("op_push_length")
    if units and "op_linear" in found:
        found.add(shaders.BY_UNITS)
    return found | {"op_clear"}


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
            units = WITH_UNITS if UNITS in gpu.features else None
            code = shaders.planned(gpu.window, windows, _subgroups(gpu), units)
            module = gpu.pipelines["", windows] = gpu.device.create_shader_module(code=code)
        gpu.pipelines[key] = gpu.device.create_compute_pipeline(
            layout=gpu.device.create_pipeline_layout(bind_group_layouts=[layout]),
            compute={"module": module, "entry_point": f"run_{operation[3:]}"},
        )
    return gpu.pipelines[key]


def _subgroups(gpu: Gpu) -> str | None:
    """What a shader that uses subgroups says first; None where they are not as it wants them."""
    said = subgroups_of(gpu.adapter)
    if said is None:
        return None
    device, otherwise = gpu.device, gpu.buffer(1)
    code = f"{said}const LANES: u32 = {LANES}u;\n" + shaders.text("trial")
    module = device.create_shader_module(code=code)
    pipeline = device.create_compute_pipeline(
        layout="auto", compute={"module": module, "entry_point": "trial"}
    )
    group = device.create_bind_group(
        layout=pipeline.get_bind_group_layout(0), entries=[_entry(0, otherwise)]
    )
    encoder = device.create_command_encoder()
    compute = encoder.begin_compute_pass()
    compute.set_pipeline(pipeline)
    compute.set_bind_group(0, group)
    compute.dispatch_workgroups(LANES)
    compute.end()
    device.queue.submit([encoder.finish()])
    return None if any(device.queue.read_buffer(otherwise, 0, 4)) else said
