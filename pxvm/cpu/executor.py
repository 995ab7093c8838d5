"""Device ``cpu``: the interpreter loop and every kernel compiled by Numba, on several threads.

The compiled code is kept on disk (see ``kept``), so that it is compiled once for each version and
processor.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from pxvm.core import executors, installation, reference
from pxvm.core.dialect1 import TensorProgram, read_state
from pxvm.core.errors import DeviceError, ProgramError
from pxvm.core.integer import Ints
from pxvm.core.interrupt import Uninterrupted
from pxvm.core.isa import Flow
from pxvm.core.mapping import watched
from pxvm.core.plan import plan_of
from pxvm.core.program import Image, Program
from pxvm.core.resources import require_memory, threads_for
from pxvm.core.tensor import (
    READY,
    STATE_WORDS,
    YIELDED,
    Descriptor,
    State,
    write_words,
)
from pxvm.cpu import kept, native
from pxvm.cpu.context import THREADS, Context, allocate, size_of
from pxvm.cpu.crew import Crew, Places
from pxvm.cpu.scratch import needed

MAX_THREADS = 64
LARGEST = 2**63 - 1
LOADED: dict[str, int] = {}  # addresses of kernels
SECONDS = 4  # that a kernel takes to compile, about; they differ tenfold


def available() -> str:
    """Empty, or why the CPU executor cannot run here."""
    if importlib.util.find_spec("numba") is None:
        return installation.missing("numba", "cpu")
    return ""


@cache
def _kept() -> kept.Kept:
    return kept.Kept(kept.folder())


def _load(name: str) -> bool:
    """Load a kernel, an opcode's or "loop", where it is kept."""
    if code := _kept().read(name):
        LOADED[name] = native.load(code)
    return bool(code)


def _address(name: str) -> int:
    """The address of a kernel; compiled where it is not kept."""
    if name not in LOADED and not _load(name):
        from pxvm.cpu.kernels import object_of

        code = object_of(name)
        _kept().write(name, code)
        LOADED[name] = native.load(code)
    return LOADED[name]


def _kernels(program: TensorProgram) -> Any:
    """Addresses of the kernels that a program needs, by opcode: int64 (256,).

    What was not compiled before is compiled now, and said so.
    """
    used = {i.op.name: i.op.code for i in program.instructions if i.op.flow is Flow.NEXT}
    missing = sorted(name for name in used if name not in LOADED and not _load(name))
    for number, name in enumerate(missing, 1):
        count = f"{number} of {len(missing)}: {name}"
        if number == 1 < len(missing):
            count += f" (about {SECONDS * len(missing)} s in all)"
        print(f"pxvm: compiling once for the CPU, {count}", file=sys.stderr, flush=True)
        _address(name)
    addresses = np.zeros(256, np.int64)
    for name, code in used.items():
        addresses[code] = _address(name)
    return addresses


def run(
    image: Image,
    program: Program,
    max_steps: int | None,
    threads: int | None = None,
    *,
    vnni: bool | None = None,
) -> int:
    """Run a verified program in place; returns the number of instructions executed.

    Args:
        threads: worker threads, no more than processors; None takes every one.
        vnni: None uses VNNI (and AMX, unless ``PXVM_AMX`` is 0), or else AVX2, where the processor
            has it; False none of them (same bytes).
    """
    if not isinstance(program, TensorProgram):
        return reference.run(image, program, max_steps, threads)
    return Session(image, program, threads, vnni=vnni).run(max_steps)


def session(image: Image, program: Program, threads: int | None = None) -> executors.Session:
    """Bind a verified program to its image, ready to run again and again."""
    if not isinstance(program, TensorProgram):
        return reference.session(image, program, threads)
    return Session(image, program, threads)


def choose(option: str) -> executors.Executor:
    """The executor that ``cpu:option`` means. Raises DeviceError."""
    if option != "portable":
        raise DeviceError(f"expected cpu or cpu:portable; found cpu:{option}")
    return _Portable()


class _Portable:
    """This executor without the products that are written for one processor: the same bytes."""

    def available(self) -> str:
        """As the module's."""
        return available()

    def run(
        self, image: Image, program: Program, max_steps: int | None, threads: int | None = None
    ) -> int:
        """As the module's."""
        return run(image, program, max_steps, threads, vnni=False)

    def session(
        self, image: Image, program: Program, threads: int | None = None
    ) -> executors.Session:
        """As the module's."""
        if not isinstance(program, TensorProgram):
            return reference.session(image, program, threads)
        return Session(image, program, threads, vnni=False)


class Session:
    """A verified program bound to its image, ready to run again and again.

    ``vnni`` and ``amx`` are as in ``run``; False for the second does without tiles alone.

    Raises DeviceError where the machine lacks the memory that the kernels work in, ProgramError for
    a program that was not verified and for less than one thread.
    """

    def __init__(
        self,
        image: Image,
        program: TensorProgram,
        threads: int | None = None,
        *,
        vnni: bool | None = None,
        amx: bool | None = None,
    ) -> None:
        if not program.visits:
            raise ProgramError("expected a program that the verifier has admitted; found another")
        self.image, self.program = image, program
        self.crew = Crew(min(threads_for(threads), MAX_THREADS))
        self.loop = native.function(_address("loop"), 3)
        self.context = _context(image, program, self.crew.most, vnni, amx)

    @watched
    def run(self, max_steps: int | None = None) -> int:
        """Run until Halt, Yield or ``max_steps``; the state is in the pixels afterwards.

        Ctrl-C is heard between two instructions; the state is in the pixels then too.
        """
        state = read_state(self.image, self.program.state_start)
        if state[State.STATUS] == YIELDED:
            state[State.STATUS] = READY
        made, limit = 0, LARGEST if max_steps is None else min(max_steps, LARGEST)
        while True:
            with Uninterrupted():
                made += self._slice(state, limit - made)
            if made >= limit or state[State.STATUS] != READY:
                return made

    def host(self, names: Iterable[str] | None) -> None:
        """Nothing: this executor works in the image itself."""

    def sync(self) -> None:
        """Nothing: this executor works in the image itself."""

    def _slice(self, state: Ints, limit: int) -> int:
        """Run for so many steps, or until the loop says that time is up; returns steps made."""
        arrays, address = self.context.arrays, self.context.address
        arrays["registers"][:] = state
        threads = self.crew.active
        arrays["config"][THREADS] = threads
        places = Places()
        if threads > 1:
            places.begin()
        others = [
            _pool().submit(self._beside, places, address, tid, limit) for tid in range(1, threads)
        ]
        try:
            made, span = self._work(address, 0, limit)
        finally:
            spans = [other.result()[1] for other in others]
            state[:] = arrays["registers"][0]
            self._store(state)
        self.crew.worked([span, *spans], time.monotonic())
        return made

    def _work(self, address: int, tid: int, limit: int) -> tuple[int, tuple[float, float]]:
        """A thread's part of a slice: steps made, seconds, and those that it had a processor."""
        begin, had = time.monotonic(), time.thread_time()
        made = self.loop(address, tid, limit)
        return made, (time.monotonic() - begin, time.thread_time() - had)

    def _beside(
        self, places: Places, address: int, tid: int, limit: int
    ) -> tuple[int, tuple[float, float]]:
        """``_work`` of a thread beside the first, on a processor of its own."""
        places.begin()
        return self._work(address, tid, limit)

    def _store(self, state: Ints) -> None:
        """The registers to their pixels, with what the threads saw; the threads' words to zero."""
        sync, counters = self.context.arrays["sync"], self.context.arrays["counters"]
        saturated, clamped = counters.any(axis=0)[:2]
        sync[:], counters[:] = 0, 0
        if saturated:
            state[State.SATURATED] = 1
        if clamped:
            state[State.CLAMPED] = 1
        words = (state & 0xFFFFFFFF).astype(np.uint32)
        write_words(self.image, self.program.state_start, words)


@cache
def _pool() -> ThreadPoolExecutor:
    # Room for many sessions at once: one that waits for a free worker would hold up its others.
    return ThreadPoolExecutor(64 * MAX_THREADS, thread_name_prefix="pxvm")


def _row(d: Descriptor, width: int) -> list[int]:
    """A descriptor as the kernels read it; see ``memory``."""
    links = [-1 if link is None else link for link in (d.scale, d.bias, d.length)]
    extents = (*d.extents, 1, 1, 1, 1)[:4]
    span = -(-d.row_words // width)
    return [
        d.dtype, d.rows, d.cols, d.row_words, d.start % width, d.start // width, d.per, d.frac,
        *links, d.role, span, *extents,
    ]  # fmt: skip


def _context(
    image: Image, program: TensorProgram, threads: int, vnni: bool | None, amx: bool | None
) -> Context:
    sizes = needed(program)
    require_memory(size_of(sizes, threads), f"the program, on {threads} threads,")
    height, width = image.shape[:2]
    view = image.view("<i4")[..., 0]
    stride = view.strides[0] // 4 if height > 1 else width
    flat = np.lib.stride_tricks.as_strided(view, ((height - 1) * stride + width,), (4,))
    flat_bytes = np.lib.stride_tricks.as_strided(
        image.reshape(-1)[:1] if image.flags.c_contiguous else image[:1, :1, 0].reshape(-1),
        (flat.size * 4,),
        (1,),
    )
    tensors = np.array([_row(d, width) for d in program.descriptors], np.int64)
    params = np.zeros((len(tensors), 9), np.int64)
    for d in program.descriptors:
        params[d.index, : len(d.parameters)] = _signed(d.parameters)
    plan = plan_of(program)
    return Context(
        words=flat,
        bytes=flat_bytes,
        tensors=tensors,
        params=params,
        code=np.ascontiguousarray(program.code),
        kernels=_kernels(program),
        barriers=plan.barriers.view(np.uint8),
        match=plan.match,
        ahead=plan.ahead,
        config=np.array(
            [
                width,
                stride,
                threads,
                native.have_vnni() and vnni is not False,
                native.have_avx2() and not native.have_vnni() and vnni is not False,
                native.have_amx() and vnni is not False and amx is not False,
            ],
            np.int64,
        ),
        registers=np.zeros((threads, STATE_WORDS), np.int64),
        sync=np.zeros(64, np.int64),
        counters=np.zeros((threads, 8), np.int64),
        **allocate(sizes, threads),
    )


def _signed(words: tuple[int, ...]) -> list[int]:
    return [word - (1 << 32) if word >> 31 else word for word in words]
