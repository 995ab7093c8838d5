"""Dot products of bytes with 16-bit integers on AVX2, as LLVM IR built for Numba.

``vpmaddwd`` multiplies 16 pairs of 16-bit integers and adds them by twos into 32 bits. Both planes
of an activation are one such integer, and a byte of a weight is widened once for all the tokens
that meet it. ``HAVE_AVX2`` says whether this processor has it; without it none of these functions
is ever compiled. All take addresses and counts.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pxvm.cpu.bounds import TOGETHER
from pxvm.cpu.compiler import jit
from pxvm.cpu.intrinsics import I8, I16, I32, I64, load_from
from pxvm.cpu.native import have_avx2

BYTES, HALVES = ir.VectorType(I8, 16), ir.VectorType(I16, 16)
PAIRS, SUMS = ir.VectorType(I32, 8), ir.VectorType(I64, 8)
HAVE_AVX2 = have_avx2()


def _generate(tokens: int, together: int) -> Any:
    """The code of ``_dots1`` and ``_dots4``, which take ``together`` weight rows at a time."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, step, rows, source, stride, size, totals, apart = args
        zero, one, width = (ir.Constant(I64, value) for value in (0, 1, 16))
        held = [
            [cgutils.alloca_once(builder, PAIRS) for _ in range(tokens)] for _ in range(together)
        ]
        starts = [
            builder.add(source, builder.mul(stride, ir.Constant(I64, t))) for t in range(tokens)
        ]
        kind = ir.FunctionType(PAIRS, [HALVES, HALVES])
        multiply = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd")
        kind = ir.FunctionType(I64, [SUMS])
        add_up = cgutils.get_or_insert_function(
            builder.module, kind, "llvm.vector.reduce.add.v8i64"
        )

        def products(first: Any, sums: list[list[Any]]) -> None:
            """Sums of the rows from ``first`` on, added to the totals."""
            numbers = [builder.add(first, ir.Constant(I64, r)) for r in range(len(sums))]
            begins = [builder.add(weights, builder.mul(row, step)) for row in numbers]
            for total in (total for row in sums for total in row):
                builder.store(ir.Constant(PAIRS, [0] * 8), total)
            with cgutils.for_range_slice(builder, zero, size, width, intp=I64) as (at, _):
                wide = [
                    builder.zext(load_from(builder, builder.add(begin, at), BYTES), HALVES)
                    for begin in begins
                ]
                offset = builder.shl(at, one)
                for t, start in enumerate(starts):
                    x = load_from(builder, builder.add(start, offset), HALVES)
                    for weight, row in zip(wide, sums, strict=True):
                        product = builder.call(multiply, [weight, x])
                        builder.store(builder.add(builder.load(row[t]), product), row[t])
            for number, row in zip(numbers, sums, strict=True):
                for t, total in enumerate(row):
                    place = builder.add(number, builder.mul(apart, ir.Constant(I64, t)))
                    place = builder.add(totals, builder.shl(place, ir.Constant(I64, 3)))
                    place = builder.inttoptr(place, I64.as_pointer())
                    found = builder.call(add_up, [builder.sext(builder.load(total), SUMS)])
                    builder.store(builder.add(builder.load(place), found), place)

        left = builder.srem(rows, ir.Constant(I64, together))
        whole = builder.sub(rows, left)
        block = ir.Constant(I64, together)
        with cgutils.for_range_slice(builder, zero, whole, block, intp=I64) as (row, _):
            products(row, held)
        with cgutils.for_range_slice(builder, whole, rows, one, intp=I64) as (row, _):
            products(row, held[:1])
        return context.get_dummy_value()

    return generate


@intrinsic
def _dots1(
    typingctx: Any, weights: Any, step: Any, rows: Any, source: Any, stride: Any, size: Any,
    totals: Any, apart: Any,
) -> Any:  # fmt: skip
    """totals[r] += sum(weight * x) for rows of ``size`` bytes, ``step`` apart.

    ``size`` is a multiple of 16, and at most ``bounds.STRETCH``; totals are int64.
    """
    return types.none(*[types.int64] * 8), _generate(1, 1)


@intrinsic
def _dots4(
    typingctx: Any, weights: Any, step: Any, rows: Any, source: Any, stride: Any, size: Any,
    totals: Any, apart: Any,
) -> Any:  # fmt: skip
    """totals[t * apart + r] += sum(weight * x), as ``_dots1``, for TOGETHER tokens t.

    Their activations stand ``stride`` bytes apart. Two rows at a time are twice as fast as one
    where the weights are in the processor's cache, and half as fast where they are not.
    """
    return types.none(*[types.int64] * 8), _generate(TOGETHER, 2)


if HAVE_AVX2:

    @jit
    def avx2_dots(
        weights: int, step: int, rows: int, source: int, stride: int, size: int, totals: int,
        apart: int, tokens: int,
    ) -> None:  # fmt: skip
        """See ``_dots1`` and ``_dots4``; ``tokens`` is 1 or TOGETHER."""
        if tokens == 1:
            _dots1(weights, step, rows, source, stride, size, totals, apart)
        else:
            _dots4(weights, step, rows, source, stride, size, totals, apart)

else:

    @jit
    def avx2_dots(
        weights: int, step: int, rows: int, source: int, stride: int, size: int, totals: int,
        apart: int, tokens: int,
    ) -> None:  # fmt: skip
        """Never called: the switch is off where the processor has no AVX2."""
