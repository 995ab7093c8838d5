"""Products of bytes in the tiles of AMX, as LLVM IR built for Numba.

A tile holds 16 rows of 64 bytes. ``tdpbsud`` multiplies 16 rows of signed activations, 64 columns
of them, with the same columns of 16 packed weight rows, unsigned, and adds to 16 x 16 sums of 32
bits: what eight steps of VNNI's tile do for half as many rows. Sums are exact, so that the bytes
are the same. ``HAVE_AMX`` says whether the processor has it and the system lets this process use
it; without it none of these functions is ever compiled. All take addresses and counts.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pxvm.cpu.bounds import LANES
from pxvm.cpu.compiler import jit
from pxvm.cpu.intrinsics import I8, I64
from pxvm.cpu.native import have_amx

HAVE_AMX = have_amx()
POINTER, VOID = I8.as_pointer(), ir.VoidType()
MANY = 4  # groups of packed rows at a time, each with a tile of sums: one sum would be waited for
ROWS, WEIGHTS = MANY, MANY + 1  # the tiles of activations and of weights
STEP = 64  # columns of a tile


def _const(value: int) -> Any:
    return ir.Constant(I64, value)


def _call(builder: Any, name: str, *arguments: Any) -> None:
    """Call an instruction of AMX; tiles are given by their numbers."""
    values = [ir.Constant(I8, a) if isinstance(a, int) else a for a in arguments]
    kind = ir.FunctionType(VOID, [value.type for value in values])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}")
    builder.call(function, values)


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, POINTER)


@intrinsic
def _configure(typingctx: Any) -> Any:
    """Make every tile one of 16 rows of 64 bytes, for this thread until ``_release``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Palette 1; from byte 16 on the bytes of each tile's rows, from byte 48 on its rows.
        layout = bytes([1] + [0] * 15) + bytes([STEP, 0] * 8 + [0] * 16) + bytes([LANES] * 8)
        words = [
            int.from_bytes(layout[at : at + 8].ljust(8, b"\0"), "little") for at in range(0, 64, 8)
        ]
        kind = ir.ArrayType(I64, 8)
        place = cgutils.alloca_once(builder, kind)
        builder.store(ir.Constant(kind, words), place)
        _call(builder, "ldtilecfg", builder.bitcast(place, POINTER))
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def _release(typingctx: Any) -> Any:
    """Give the tiles back."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.none(), generate


def _generate(count: int) -> Any:
    """The code of ``_tiles`` for so many groups."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weight, apart, rows, stride, size, out, step = args
        groups = [builder.add(weight, builder.mul(apart, _const(g))) for g in range(count)]
        for g in range(count):
            _call(builder, "tilezero", g)
        with cgutils.for_range_slice(builder, _const(0), size, _const(STEP), intp=I64) as (at, _):
            _call(builder, "tileloadd64", ROWS, _pointer(builder, builder.add(rows, at)), stride)
            offset = builder.mul(at, _const(LANES))
            for g, group in enumerate(groups):
                place = _pointer(builder, builder.add(group, offset))
                _call(builder, "tileloadd64", WEIGHTS, place, _const(STEP))
                _call(builder, "tdpbsud", g, ROWS, WEIGHTS)
        for g in range(count):
            place = _pointer(builder, builder.add(out, _const(4 * LANES * g)))
            _call(builder, "tilestored64", g, place, step)
        return context.get_dummy_value()

    return generate


@intrinsic
def _one(
    typingctx: Any, weight: Any, apart: Any, rows: Any, stride: Any, size: Any, out: Any, step: Any
) -> Any:
    """out[r, lane] = sum over k < ``size`` of weight[k, lane] * rows[r, k], int32, TILED rows.

    ``weight`` is one group as ``vnni._vnni_tile`` takes it, ``rows`` stand ``stride`` bytes apart,
    those of ``out`` ``step``. Up to 64 columns are read, so that behind the last of a row zeros
    must stand, and behind the last weight bytes of any kind.
    """
    return types.none(*[types.int64] * 7), _generate(1)


@intrinsic
def _many(
    typingctx: Any, weight: Any, apart: Any, rows: Any, stride: Any, size: Any, out: Any, step: Any
) -> Any:
    """The same of MANY groups, ``apart`` bytes from each other."""
    return types.none(*[types.int64] * 7), _generate(MANY)


if HAVE_AMX:

    @jit
    def amx_begin() -> None:
        """See ``_configure``."""
        _configure()

    @jit
    def amx_end() -> None:
        """See ``_release``."""
        _release()

    @jit
    def amx_tiles(
        weight: int, apart: int, groups: int, rows: int, stride: int, size: int, out: int, step: int
    ) -> None:
        """See ``_one``, of any number of groups; addresses of bytes."""
        done = 0
        while done < groups:
            at, place = weight + done * apart, out + 4 * LANES * done
            if groups - done >= MANY:
                _many(at, apart, rows, stride, size, place, step)
                done += MANY
            else:
                _one(at, apart, rows, stride, size, place, step)
                done += 1

else:

    @jit
    def amx_begin() -> None:
        """Never called: the switch is off where the processor has no AMX."""

    @jit
    def amx_end() -> None:
        """Never called: the switch is off where the processor has no AMX."""

    @jit
    def amx_tiles(
        weight: int, apart: int, groups: int, rows: int, stride: int, size: int, out: int, step: int
    ) -> None:
        """Never called: the switch is off where the processor has no AMX."""
