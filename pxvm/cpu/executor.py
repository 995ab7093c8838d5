"""Device ``cpu``: the interpreter loop and every kernel compiled by Numba, on several threads.

The compiled code is kept on disk under a name that contains a hash of its sources, so that it is
compiled once for each version and processor.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.core import executors, installation, reference
from pxvm.core.dialect1 import TensorProgram, read_state
from pxvm.core.isa import OPCODES, Flow
from pxvm.core.mapping import watched
from pxvm.core.program import Image, Program
from pxvm.core.reference1 import matching_loops
from pxvm.core.tensor import (
    READY,
    STATE_WORDS,
    YIELDED,
    Descriptor,
    DType,
    State,
    write_words,
)
from pxvm.cpu import native
from pxvm.cpu.context import TILE, Context

MAX_THREADS = 64


def available() -> str:
    """Empty, or why the CPU executor cannot run here."""
    if importlib.util.find_spec("numba") is None:
        return installation.missing("numba", "cpu")
    return ""


def cache_folder() -> Path:
    """Where compiled kernels are kept: the user's cache folder, by hash of the sources."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for source in [*sorted(package.glob("*.py")), package.parent / "core/tensor.py"]:
        digest.update(source.read_bytes())
    opcodes = [(op.code, op.name, op.dialect, [m.name for m in op.operands]) for op in OPCODES]
    digest.update(repr(opcodes).encode() + native.features().encode())
    return installation.cache_folder() / f"kernels-{digest.hexdigest()[:16]}"


@cache
def _address(name: str) -> int:
    """The address of a kernel: an opcode's, or "loop"; compiled where it is not kept yet."""
    path = cache_folder() / f"{name}.o"
    code = native.unseal(path.read_bytes()) if path.exists() else b""
    if not code:
        from pxvm.cpu.kernels import object_of

        code = object_of(name)
        with suppress(OSError):  # a folder that cannot be written costs compiling every time
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(f".{os.getpid()}")
            new.write_bytes(native.seal(code))
            new.replace(path)
    return native.load(code)


def _kernels(network: TensorProgram) -> Any:
    """Addresses of the kernels that a program needs, by opcode: int64 (256,).

    What was not compiled before is compiled now, and said so.
    """
    needed = {i.op.name: i.op.code for i in network.instructions if i.op.flow is Flow.NEXT}
    folder = cache_folder()
    if missing := sorted(name for name in needed if not (folder / f"{name}.o").exists()):
        names = ", ".join(missing)
        print(f"pxvm: compiling once for the CPU: {names}", file=sys.stderr, flush=True)
    addresses = np.zeros(256, np.int64)
    for name, code in needed.items():
        addresses[code] = _address(name)
    return addresses


def default_threads() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
        threads: worker threads; None takes every processor.
        vnni: None uses VNNI where the processor has it; False never does (same bytes).
    """
    if not isinstance(program, TensorProgram):
        return reference.run(image, program, max_steps)
    return Session(image, program, threads, vnni=vnni).run(max_steps)


def session(image: Image, program: Program, threads: int | None = None) -> executors.Session:
    """Bind a verified program to its image, ready to run again and again."""
    if not isinstance(program, TensorProgram):
        return reference.session(image, program)
    return Session(image, program, threads)


class Session:
    """A verified network bound to its image, ready to run again and again."""

    def __init__(
        self,
        image: Image,
        network: TensorProgram,
        threads: int | None = None,
        *,
        vnni: bool | None = None,
    ) -> None:
        self.image, self.network = image, network
        self.threads = max(1, min(threads or default_threads(), MAX_THREADS))
        self.loop = native.function(_address("loop"), 3)
        self.context = _context(image, network, self.threads, vnni)

    @watched
    def run(self, max_steps: int | None = None) -> int:
        """Run until Halt, Yield or ``max_steps``; the state is in the pixels afterwards."""
        state = read_state(self.image, self.network.state_start)
        if state[State.STATUS] == YIELDED:
            state[State.STATUS] = READY
        registers, address = self.context.arrays["registers"], self.context.address
        registers[:] = state
        limit = -1 if max_steps is None else max_steps
        others = [_pool().submit(self.loop, address, tid, limit) for tid in range(1, self.threads)]
        made = self.loop(address, 0, limit)
        for other in others:
            other.result()
        state = registers[0]
        self.context.arrays["sync"][:] = 0
        counters = self.context.arrays["counters"]
        counted = counters.sum(axis=0)
        counters[:] = 0
        for word, count in ((State.SATURATIONS, counted[0]), (State.CLAMPS, counted[1])):
            state[word] = (state[word] + count) & 0x7FFFFFFF
        words = (state & 0xFFFFFFFF).astype(np.uint32)
        write_words(self.image, self.network.state_start, words)
        return made


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="pxvm")


def _row(d: Descriptor, width: int) -> list[int]:
    """A descriptor as the kernels read it; see ``memory``."""
    links = [-1 if link is None else link for link in (d.scale, d.bias, d.length)]
    extents = (*d.extents, 1, 1, 1, 1)[:4]
    span = -(-d.row_words // width)
    return [
        d.dtype, d.rows, d.cols, d.row_words, d.start % width, d.start // width, d.per, d.frac,
        *links, d.role, span, *extents,
    ]  # fmt: skip


def _context(image: Image, network: TensorProgram, threads: int, vnni: bool | None) -> Context:
    height, width = image.shape[:2]
    view = image.view("<i4")[..., 0]
    stride = view.strides[0] // 4 if height > 1 else width
    flat = np.lib.stride_tricks.as_strided(view, ((height - 1) * stride + width,), (4,))
    flat_bytes = np.lib.stride_tricks.as_strided(
        image.reshape(-1)[:1] if image.flags.c_contiguous else image[:1, :1, 0].reshape(-1),
        (flat.size * 4,),
        (1,),
    )
    tensors = np.array([_row(d, width) for d in network.descriptors], np.int64)
    params = np.zeros((len(tensors), 9), np.int64)
    for d in network.descriptors:
        params[d.index, : len(d.parameters)] = _signed(d.parameters)
    match = np.zeros(len(network.code), np.int64)
    for loop, end in matching_loops(network.instructions).items():
        match[loop] = end
    real = [d for d in network.descriptors if d.dtype != DType.PARAMS]
    longest = max(
        [64, *(d.cols for d in real), *(max(d.extents) for d in real if len(d.extents) == 3)]
    )
    packed = max([64, *(d.cols for d in real if d.dtype == DType.I8)])
    acts = [d for d in real if d.dtype in (DType.ACT1, DType.ACT2) and len(d.extents) <= 2]
    padded = [(d.rows * 2 + TILE) * (d.cols + 64) for d in acts]
    caches = [d for d in real if d.dtype == DType.ACT1 and len(d.extents) == 3]
    reach = max([64, *(-(-d.extents[1] // 64) * 64 for d in caches)])
    head = max([64, *(-(-d.cols // 64) * 64 for d in caches)])
    keys = TILE * (reach + head)
    config = [width, stride, threads, native.have_vnni() and vnni is not False, reach,
              TILE * reach, keys, keys + reach * head]  # fmt: skip
    return Context(
        words=flat,
        bytes=flat_bytes,
        tensors=tensors,
        params=params,
        code=np.ascontiguousarray(network.code),
        kernels=_kernels(network),
        match=match,
        ahead=_ahead(network),
        config=np.array(config, np.int64),
        rows=np.zeros((threads, 4, max(longest + 64, 1024)), np.int64),
        bits=np.zeros((threads, max(64 * packed, 6 * longest) + 1024), np.int8),
        tile=np.zeros((threads, 1024), np.int32),
        planes=np.zeros(max([64, *padded]), np.int8),
        sums=np.zeros(2 * max([1, *(d.rows for d in acts)]), np.int64),
        attend=np.zeros((threads, keys + 2 * reach * head), np.int8),
        scores=np.zeros((threads, 11 * reach), np.int32),
        registers=np.zeros((threads, STATE_WORDS), np.int64),
        sync=np.zeros(64, np.int64),
        touched=np.zeros((threads, 2 * len(tensors) + 64), np.int64),
        counters=np.zeros((threads, 8), np.int64),
    )


def _ahead(network: TensorProgram) -> Any:
    """For each instruction, the next Linear that follows it without a jump between, or -1."""
    ahead, found = np.full(len(network.code), -1, np.int64), -1
    for i in reversed(network.instructions):
        if i.op.name == "Linear":
            found = i.index
        elif i.op.flow is not Flow.NEXT:
            found = -1
        ahead[i.index] = found
    return ahead


def _signed(words: tuple[int, ...]) -> list[int]:
    return [word - (1 << 32) if word >> 31 else word for word in words]
