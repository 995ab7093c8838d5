"""The resident way: the interpreter of ``interpreter.wgsl``, one dispatch for a whole run.

Its workgroups wait for each other, which no API promises to work: they must all run at once. So it
is allowed only where a bounded trial on the device has passed, with as many workgroups as passed;
and a run in which one waits in vain ends, and leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import DeviceError
from pxvm.core.integer import Ints
from pxvm.core.interrupt import Uninterrupted
from pxvm.core.plan import touched
from pxvm.core.tensor import READY, STATE_WORDS, DType, State
from pxvm.gpu import shaders
from pxvm.gpu.devices import WINDOWS, Adapter, Gpu, subgroups_of
from pxvm.gpu.groups import scratch_words
from pxvm.gpu.picture import Picture, Watch
from pxvm.gpu.shaders import FRONT, LEFT, LOST, MADE, RESULT

JOB = 20  # words that say what to do
VALUES = 8  # that can be watched for
SLICE = 1 << 15  # instructions of a dispatch, so that Ctrl-C is heard between two
SPINS = 1 << 21  # of who waits, some hundred nanoseconds each
MEETINGS, TRIAL_SPINS = 16, 1 << 14
MOST_GROUPS = 2048
LANES, MEMORY = 256, 32768  # of a workgroup, where a device has as much


def lanes_of(adapter: Adapter) -> int:
    """Lanes of a workgroup on a device."""
    limits = adapter.limits
    enough = (
        limits["max-compute-invocations-per-workgroup"] >= LANES
        and limits["max-compute-workgroup-size-x"] >= LANES
        and limits["max-compute-workgroup-storage-size"] >= MEMORY
    )
    return LANES if enough and not adapter.is_software else shaders.LANES


def codes_of(program: TensorProgram) -> tuple[int, ...]:
    """The opcodes that the interpreter has to know: compiled are only those."""
    return tuple(sorted({i.code for i in program.instructions}))


class Resident:
    """The interpreter bound to a program on a device.

    Attributes:
        groups: workgroups, which run at once.
        written: tensors that the program writes.

    Raises DeviceError where they do not, or the device has no room.
    """

    def __init__(self, gpu: Gpu, program: TensorProgram, picture: Picture) -> None:
        self.gpu, self.program, self.picture = gpu, program, picture
        self.layout = gpu.device.create_bind_group_layout(
            entries=[
                {"binding": i, "visibility": gpu.stages.COMPUTE, "buffer": {"type": kind}}
                for i, kind in enumerate(
                    ["uniform", "read-only-storage", "storage", "storage"]
                    + ["read-only-storage"] * WINDOWS
                )
            ]
        )
        self.job = gpu.buffer(JOB, uniform=True)
        codes = codes_of(program)
        grouped = any(d.dtype == DType.I4 for d in program.descriptors)
        self.lanes = lanes_of(gpu.adapter)
        where = f"GPU {gpu.adapter.number} ({gpu.adapter.name})"
        key = ("interpreter", picture.windows, self.lanes, codes, grouped)
        if key not in gpu.pipelines:
            code = shaders.interpreter(
                gpu.window, picture.windows, self.lanes, codes, grouped, subgroups_of(gpu.adapter)
            )
            try:
                pipeline = self._pipeline(code)
            except Exception as error:
                raise DeviceError(f"{where} takes no interpreter: {error}") from None
            gpu.pipelines[key] = pipeline, self._most_groups(pipeline)
        self.pipeline, self.groups = gpu.pipelines[key]
        if not self.groups:
            raise DeviceError(f"{where}: workgroups that wait for each other do not all run")
        self.scratch = gpu.buffer(scratch_words(program, lambda width: self.groups))
        self.bound = self._bind(picture.tensors, picture.changing, self.scratch, picture.images)
        self.backup = gpu.buffer(len(picture.known))
        self.written = frozenset(
            d
            for index, base in program.visits
            for d, writes in touched(program, program.instructions[index], base)
            if writes
        ).union(picture.cleared)

    def _pipeline(self, code: str) -> Any:
        device = self.gpu.device
        return device.create_compute_pipeline(
            layout=device.create_pipeline_layout(bind_group_layouts=[self.layout]),
            compute={
                "module": device.create_shader_module(code=code),
                "entry_point": "interpret",
            },
        )

    def _bind(self, tensors: Any, changing: Any, scratch: Any, images: Sequence[Any]) -> Any:
        return self.gpu.device.create_bind_group(
            layout=self.layout,
            entries=[
                {"binding": i, "resource": {"buffer": b, "offset": 0, "size": b.size}}
                for i, b in enumerate([self.job, tensors, changing, scratch, *images])
            ],
        )

    def _most_groups(self, pipeline: Any) -> int:
        """Workgroups that were seen to run at once; 0 where none did what it should."""
        if self.gpu.adapter.is_software:
            return 1  # no trial: the next one may go otherwise
        front = self.gpu.buffer(FRONT)
        others = [self.gpu.buffer(0) for _ in range(2 + WINDOWS)]
        bound = self._bind(others[0], front, others[1], others[2:])
        job = np.zeros(JOB, np.uint32)
        job[1], job[2], job[10] = 1, TRIAL_SPINS, MEETINGS

        def passes(groups: int) -> bool:
            queue = self.gpu.device.queue
            queue.write_buffer(self.job, 0, job)
            queue.write_buffer(front, 0, np.zeros(FRONT, np.uint32))
            queue.submit([self._encoder(pipeline, bound, groups).finish()])
            return not np.frombuffer(queue.read_buffer(front, 4 * LOST, 4), np.uint32)[0]

        good, bad = 0, 8
        while bad <= MOST_GROUPS and passes(bad):
            good, bad = bad, 2 * bad
        while bad - good > 1 + good // 128:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if passes(middle) else (good, middle)
        return good

    def _encoder(self, pipeline: Any, bound: Any, groups: int, *, keep: bool = False) -> Any:
        encoder = self.gpu.device.create_command_encoder()
        if keep:
            changing = self.picture.changing
            encoder.copy_buffer_to_buffer(changing, 0, self.backup, 0, changing.size)
        compute = self.gpu.begin(encoder)
        compute.set_pipeline(pipeline)
        compute.set_bind_group(0, bound)
        compute.dispatch_workgroups(groups)
        compute.end()
        return encoder

    def run(self, state: Ints, max_steps: int | None, rounds: int, watch: Watch | None) -> int:
        """Run from ``state``, which it brings up to date; returns the instructions executed.

        Args:
            rounds: go on past so many Yields but one.
            watch: and past none at which a scalar has one of its values.

        Returns -1 when workgroups waited in vain; then everything is as it was.
        """
        made, before = 0, state.copy()
        self.picture.ahead |= self.written
        job = self._job(watch)
        while state[State.STATUS] == READY and (max_steps is None or made < max_steps):
            with Uninterrupted():  # between two dispatches
                front = np.zeros(FRONT, np.uint32)
                front[:STATE_WORDS] = state & 0xFFFFFFFF
                front[[State.SATURATED, State.CLAMPED]] = 0
                job[0] = SLICE if max_steps is None else min(SLICE, max_steps - made)
                job[1] = rounds
                queue = self.gpu.device.queue
                queue.write_buffer(self.job, 0, job)
                queue.write_buffer(self.picture.changing, 0, front)
                encoder = self._encoder(self.pipeline, self.bound, self.groups, keep=not made)
                front = self.picture.catch_up(encoder)
                if front[LOST]:
                    self._restore()
                    state[:] = before
                    return -1
                marks = [w for w in (State.SATURATED, State.CLAMPED) if front[w]]
                kept = state[[State.SATURATED, State.CLAMPED]]
                state[:] = front[RESULT : RESULT + STATE_WORDS].view(np.int32)
                state[[State.SATURATED, State.CLAMPED]] = kept
                state[marks] = 1
                made, rounds = made + int(front[MADE]), int(front[LEFT])
        return made

    def _job(self, watch: Watch | None) -> Any:
        program, picture = self.program, self.picture
        count = len(program.instructions)
        values = list(watch.values)[:VALUES] if watch else []
        job = np.zeros(JOB, np.uint32)
        job[2], job[11] = SPINS, 4
        job[3] = picture.places[watch.descriptor][0] if watch else 0
        job[4:8] = (
            program.code_start,
            picture.marks,
            picture.marks + count,
            picture.marks + 2 * count,
        )
        job[8:10] = len(picture.cleared), len(values)
        job[12 : 12 + len(values)] = values
        return job

    def _restore(self) -> None:
        encoder = self.gpu.device.create_command_encoder()
        changing = self.picture.changing
        encoder.copy_buffer_to_buffer(self.backup, 0, changing, 0, changing.size)
        self.gpu.device.queue.submit([encoder.finish()])
        self.picture.recent = self.picture.recent[:0]
