"""Device ``gpu``: pixel programs on a GPU through WebGPU; the same bytes as everywhere.

Two ways with one set of shaders: *planned*, where the host follows the program and dispatches one
instruction after the other, works everywhere; *resident*, where the GPU interprets the instruction
pixels itself, is several times faster for few rows and taken where the device is seen to allow it.
The picture stays on the device from one run of a session to the next, whichever way each goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pxvm.core import executors
from pxvm.core.dialect1 import TensorProgram, read_state
from pxvm.core.errors import DeviceError, ProgramError
from pxvm.core.integer import Ints
from pxvm.core.interrupt import Uninterrupted
from pxvm.core.mapping import watched
from pxvm.core.parts import Image, Program
from pxvm.core.tensor import READY, YIELDED, DType, Role, State, write_words
from pxvm.gpu import devices
from pxvm.gpu.guarded import Guarded, starting
from pxvm.gpu.picture import Picture, Watch
from pxvm.gpu.planned import Planned
from pxvm.gpu.resident import Resident
from pxvm.gpu.rounds import check_rounds

PLANNED, RESIDENT = "planned", "resident"
MANY = 512  # rows from which on the planned way was seen to be done sooner; docs/GPU.md


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
    """This executor on one GPU, in one way: ``gpu:N:WAY``; None and "" take the best.

    Attributes:
        through: the library, where it was named.
        way: "planned" or "resident".
    """

    number: int | None = None
    through: str = ""
    way: str = ""

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
        if self.way == RESIDENT and adapter.is_software:
            raise DeviceError(
                f"GPU {adapter.number} ({adapter.name}): expected gpu:planned; found gpu:resident"
                " on a device played by a processor, which may end a run's loops early"
            )
        if isinstance(program, TensorProgram):
            return Guarded(adapter, lambda gpu: Session(gpu, image, program, self.way))
        from pxvm.gpu.row import Row

        return Guarded(adapter, lambda gpu: Row(gpu, image, program))


def choose(option: str) -> Chosen:
    """The executor that ``gpu:option`` means. Raises DeviceError."""
    number, through, way = None, "", ""
    for word in option.split(":"):
        if word.isdecimal() and len(word) < 10 and number is None:
            number = int(word)
        elif word in devices.LIBRARIES and not through:
            through = word
        elif word in (PLANNED, RESIDENT) and not way:
            way = word
        else:
            words = ", ".join(f"gpu:{name}" for name in (*devices.LIBRARIES, PLANNED, RESIDENT))
            raise DeviceError(
                f"expected gpu, {words} or gpu:N, N as `pxvm gpus` shows; found gpu:{option}"
            )
    return Chosen(number, through, way)


def rows_by_scalar(program: TensorProgram) -> set[int | None]:
    """Scalars that say before a run how many rows of a scratch matrix of ``MANY`` are in use.

    Where the program copies a tensor's length from another scalar, that one. None: all are in use.
    """
    copied = {}
    for number, base in program.visits:
        instruction = program.instructions[number]
        if instruction.op.name == "Copy":
            to, source = (program.index(operand, base) for operand in instruction.operands[:2])
            copied[to] = source
    return {
        None if d.length is None else copied.get(d.length, d.length)
        for d in program.descriptors
        if d.role == Role.SCRATCH and d.dtype != DType.PARAMS and d.rows >= MANY
        and len(d.extents) == 2  # a cache of heads, say, is filled and read as far as needed
    }  # fmt: skip


class Session:
    """A verified program on a GPU; what the host does not name stays there between runs.

    Args:
        way: "planned", "resident" or, as the device allows, "".

    Attributes:
        burst: as ``core.executors.Bursts`` says: what the host takes for a run, it takes once.

    Raises DeviceError where the device lacks room or does not allow the way, ProgramError for an
    unverified program.
    """

    burst = 32

    def __init__(
        self, gpu: devices.Gpu, image: Image, program: TensorProgram, way: str = ""
    ) -> None:
        if not program.visits:
            raise ProgramError("expected a program that the verifier has admitted; found another")
        if gpu.adapter.is_software:
            check_rounds(program, f"GPU {gpu.adapter.number} ({gpu.adapter.name})")
        self.gpu, self.image, self.program, self.way = gpu, image, program, way
        self.picture = Picture(gpu, image, program)
        self.hosted: frozenset[int] | None = None
        self.failure: Exception | None = None  # of a run; none follows it
        self.worker: Planned | Resident = self._worker()
        self.scalars = rows_by_scalar(program)

    def _worker(self) -> Planned | Resident:
        adapter = self.gpu.adapter
        if self.way == RESIDENT and not adapter.orders_for_all:
            raise DeviceError(
                f"GPU {adapter.number}: expected gpu:planned, or wgpu through Vulkan; found"
                f" gpu:resident by {adapter.through} through {adapter.backend}, where workgroups"
                " may not see in order what others wrote"
            )
        fits = adapter.orders_for_all and not adapter.is_software
        if self.way == RESIDENT or (fits and not self.way):
            try:
                return Resident(self.gpu, self.program, self.picture)
            except DeviceError:
                if self.way:
                    raise
        return self.planned

    @cached_property
    def planned(self) -> Planned:
        """The planned way of the same picture."""
        return Planned(self.gpu, self.image, self.program, self.picture)

    def _way(self) -> Planned | Resident:
        """Who runs what comes: of many rows the planned way is sooner done, if any may be taken."""
        if self.way or isinstance(self.worker, Planned):
            return self.worker
        if not any(map(self._says_many, self.scalars)):
            return self.worker
        with starting(self.gpu.adapter):
            return self.planned

    def _says_many(self, index: int | None) -> bool:
        if index is None:
            return True
        if index in self.picture.ahead:  # the device alone knows what it says
            return False
        y, x = divmod(self.program.descriptors[index].start, self.program.width)
        return int(self.image[y, x].view("<i4")[0]) >= MANY

    def run(self, max_steps: int | None = None) -> int:
        """As every session's; afterwards what the host names is in the pixels."""
        return self._run(max_steps, 1, None)

    def run_on(self, rounds: int, scalar: str, values: Iterable[int]) -> int:
        """As ``core.executors.Bursts`` says."""
        found = next(d.index for d in self.program.descriptors if d.name == scalar)
        return self._run(None, rounds, Watch(found, tuple(values)))

    @watched
    def _run(self, max_steps: int | None, rounds: int, watch: Watch | None) -> int:
        self._is_whole()
        state = read_state(self.image, self.program.state_start)
        if state[State.STATUS] == YIELDED:
            state[State.STATUS] = READY
        picture = self.picture
        picture.refresh(picture.loose if self.hosted is None else self.hosted)
        try:
            return self._go(state, max_steps, rounds, watch)
        except (self.gpu.library.GPUError, MemoryError) as error:
            self.failure = error
            raise

    def _go(self, state: Ints, max_steps: int | None, rounds: int, watch: Watch | None) -> int:
        """Run from ``state``; what the host names comes back unless the device failed."""
        whole = True
        try:
            made = self._way().run(state, max_steps, rounds, watch)
            if made < 0:
                if self.way:
                    raise DeviceError(f"GPU {self.gpu.adapter.number}: workgroups waited in vain")
                self.worker = self.planned
                made = self.worker.run(state, max_steps, rounds, watch)
        except (self.gpu.library.GPUError, MemoryError, DeviceError):
            whole = False  # the image stays as it was
            raise
        finally:
            if whole:
                with Uninterrupted():
                    ahead = self.picture.ahead
                    self.picture.collect(ahead if self.hosted is None else ahead & self.hosted)
                    words = (state & 0xFFFFFFFF).astype(np.uint32)
                    write_words(self.image, self.program.state_start, words)
        return made

    def _is_whole(self) -> None:
        """Raise what a run failed of: the device then has more of it than the image."""
        if self.failure:
            raise self.failure

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
                if d.name in wanted and d.index in self.picture.loose
            )

    def sync(self) -> None:
        """Bring what the device has into the image."""
        self._is_whole()
        self.picture.collect(self.picture.ahead)
