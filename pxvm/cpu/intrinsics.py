"""What NumPy types cannot say, as LLVM IR built for Numba: atomics, hints, the threads' barrier."""

from __future__ import annotations

import os
import time
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pxvm.cpu.compiler import jit

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
PATIENCE = 1000  # spins before a waiting thread gives its processor away; more hurts busy machines
IS_X86 = llvm.get_process_triple().startswith(("x86_64", "i686"))
PAUSE = "llvm.x86.sse2.pause"


@intrinsic
def atomic_add(typingctx: Any, address: Any, value: Any) -> Any:
    """Add to the int64 at an address, sequentially consistent; the value before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], I64.as_pointer())
        return builder.atomic_rmw("add", pointer, args[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def atomic_load(typingctx: Any, address: Any) -> Any:
    """The int64 at an address, acquired."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def atomic_store(typingctx: Any, address: Any, value: Any) -> Any:
    """Write the int64 at an address, released."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], I64.as_pointer())
        builder.store_atomic(args[1], pointer, "release", 8)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), generate


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Ask for the cache line at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        prefetched(builder, args[0])
        return context.get_dummy_value()

    return types.none(types.int64), generate


def prefetched(builder: Any, address: Any, near: int = 3) -> None:
    """Ask for the cache line at an address, which may be anywhere; ``near`` 2: no first cache."""
    pointer = I8.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    hints = [ir.Constant(I32, hint) for hint in (0, near, 1)]  # read, keep, data
    builder.call(function, [builder.inttoptr(address, pointer), *hints])


@intrinsic
def two_words(typingctx: Any, table: Any, index: Any) -> Any:
    """The int32 at ``index`` from the address ``table`` on, and above it in 64 bits the next."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return load_from(
            builder, builder.add(args[0], builder.shl(args[1], ir.Constant(I64, 2))), I64
        )

    return types.int64(types.int64, types.int64), generate


@intrinsic
def divided(typingctx: Any, number: Any, power: Any) -> Any:
    """The bits, as an int32, of the float32 that is an int32 divided by 2 to a power.

    ``number`` is above 0 and has at most 24 bits; ``power`` is 0 to 61. See ``float_of``.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(builder.sitofp(args[0], ir.FloatType()), I32)
        return builder.sub(bits, builder.shl(args[1], ir.Constant(I32, 23)))

    return types.int32(types.int32, types.int32), generate


@intrinsic
def float_of(typingctx: Any, bits: Any) -> Any:
    """The number, as a float64, that ``divided`` gave the bits of."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.FloatType()), ir.DoubleType())

    return types.float64(types.int32), generate


@intrinsic
def pause(typingctx: Any) -> Any:
    """Tell the processor that this thread only spins, so that its sibling gets the core."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if IS_X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, PAUSE), [])
        return context.get_dummy_value()

    return types.none(), generate


def load_from(builder: Any, address: Any, kind: Any) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value


def exchanged(builder: Any, rows: list[Any]) -> list[Any]:
    """Vectors, as many as each has lanes, with rows and columns exchanged."""
    rows, count = list(rows), len(rows)
    for bit in (1 << n for n in range(count.bit_length() - 1)):
        for i in range(count):
            if not i & bit:
                a, b = rows[i], rows[i + bit]
                first = [count + j - bit if j & bit else j for j in range(count)]
                second = [count + j if j & bit else j + bit for j in range(count)]
                rows[i], rows[i + bit] = (
                    builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, count), order))
                    for order in (first, second)
                )
    return rows


if os.name == "posix":
    sched_yield = types.ExternalFunction("sched_yield", types.int32())
    clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.int64))
    MONOTONIC = time.CLOCK_MONOTONIC

    @jit
    def now(place: Any) -> int:
        """Nanoseconds of a clock that never goes back; ``place`` has room for two int64."""
        clock_gettime(MONOTONIC, place.ctypes.data)
        return np.int64(place[0] * 1_000_000_000 + place[1])

else:
    milliseconds = types.ExternalFunction("GetTickCount64", types.int64())

    @jit
    def sched_yield() -> int:
        """Keep spinning where there is no such call."""
        return 0

    @jit
    def now(place: Any) -> int:
        """Nanoseconds of a clock that never goes back."""
        return np.int64(milliseconds() * 1_000_000)


@jit
def barrier(sync: Any, threads: int, soon: int, stop: int) -> None:
    """Wait until every thread is here. ``sync``: int64, arrivals at 0, generation at 8.

    Who waits fetches the bytes from address ``soon`` to ``stop``, which it will need next.
    """
    if threads == 1:
        return
    arrivals = sync.ctypes.data
    generation = arrivals + 64
    before = atomic_load(generation)
    if atomic_add(arrivals, 1) == threads - 1:
        atomic_store(arrivals, 0)
        atomic_store(generation, before + 1)
        return
    spins = 0
    while atomic_load(generation) == before:
        spins += 1
        if soon < stop:
            prefetch(soon)
            prefetch(soon + 64)
            soon += 128
        else:
            pause()
        if spins > PATIENCE:
            sched_yield()
