"""Products of bytes with 8-bit and 16-bit integers on AVX2, as LLVM IR built for Numba.

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

from pxvm.cpu.bounds import FEW, QUAD, TILE
from pxvm.cpu.compiler import jit
from pxvm.cpu.intrinsics import I8, I16, I32, I64, load_from
from pxvm.cpu.native import have_avx2

BYTES, HALVES = ir.VectorType(I8, 16), ir.VectorType(I16, 16)
PAIRS, SUMS = ir.VectorType(I32, 8), ir.VectorType(I64, 8)
HAVE_AVX2 = have_avx2()


def _multiply(builder: Any, a: Any, b: Any) -> Any:
    """a[2i] b[2i] + a[2i + 1] b[2i + 1] of 16-bit integers."""
    kind = ir.FunctionType(PAIRS, [HALVES, HALVES])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd")
    return builder.call(function, [a, b])


def _wide(builder: Any, address: Any) -> Any:
    """16 bytes of weights as 16-bit integers."""
    return builder.zext(load_from(builder, address, BYTES), HALVES)


def _const(value: int) -> Any:
    return ir.Constant(I64, value)


@intrinsic
def _dots(
    typingctx: Any, weights: Any, step: Any, rows: Any, source: Any, size: Any, totals: Any
) -> Any:
    """totals[r] += sum(weight * x) for rows of ``size`` bytes, ``step`` apart, 16-bit ``source``.

    ``size`` is a multiple of 16, and at most ``bounds.ROW``; totals are int64. One row after the
    other: two at a time are what the processor's prefetcher does not expect.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, step, rows, source, size, totals = args
        held = cgutils.alloca_once(builder, PAIRS)
        kind = ir.FunctionType(I64, [SUMS])
        add_up = cgutils.get_or_insert_function(
            builder.module, kind, "llvm.vector.reduce.add.v8i64"
        )
        with cgutils.for_range(builder, rows, intp=I64) as each:
            begin = builder.add(weights, builder.mul(each.index, step))
            builder.store(ir.Constant(PAIRS, [0] * 8), held)
            with cgutils.for_range_slice(builder, _const(0), size, _const(16), intp=I64) as (at, _):
                x = load_from(builder, builder.add(source, builder.shl(at, _const(1))), HALVES)
                product = _multiply(builder, _wide(builder, builder.add(begin, at)), x)
                builder.store(builder.add(builder.load(held), product), held)
            place = builder.add(totals, builder.shl(each.index, _const(3)))
            place = builder.inttoptr(place, I64.as_pointer())
            found = builder.call(add_up, [builder.sext(builder.load(held), SUMS)])
            builder.store(builder.add(builder.load(place), found), place)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 6), generate


def _spread(builder: Any, address: Any) -> Any:
    """Four signed bytes in turns, four times, as 16-bit integers."""
    lanes = ir.VectorType(I32, 4)
    first = builder.insert_element(
        ir.Constant(lanes, [0] * 4), load_from(builder, address, I32), ir.Constant(I32, 0)
    )
    each = builder.shuffle_vector(first, first, ir.Constant(lanes, [0] * 4))
    return builder.sext(builder.bitcast(each, BYTES), HALVES)


@intrinsic
def _tile8(
    typingctx: Any, weight: Any, rows: Any, stride: Any, quads: Any, out: Any, step: Any
) -> Any:
    """out[r, lane] = sum over k of weight[k, lane] * rows[r, k], int32, as ``vnni._vnni_tile``.

    FEW rows and half of the lanes at a time. A vector of 16 weights are four of four lanes, so
    that a lane's sum comes in two parts.
    """
    evens, odds = (ir.Constant(PAIRS, list(range(first, 16, 2))) for first in (0, 1))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weight, rows, stride, quads, out, step = args
        held = [[cgutils.alloca_once(builder, PAIRS) for _ in range(2)] for _ in range(FEW)]

        def products(first: int, half: int) -> None:
            numbers = [_const(first + t) for t in range(FEW)]
            starts = [builder.add(rows, builder.mul(stride, number)) for number in numbers]
            for part in (part for parts in held for part in parts):
                builder.store(ir.Constant(PAIRS, [0] * 8), part)
            with cgutils.for_range(builder, quads, intp=I64) as loop:
                at = builder.add(weight, builder.shl(loop.index, _const(6)))
                wide = [
                    _wide(builder, builder.add(at, _const(32 * half + 16 * part)))
                    for part in range(2)
                ]
                offset = builder.shl(loop.index, _const(2))
                for start, parts in zip(starts, held, strict=True):
                    x = _spread(builder, builder.add(start, offset))
                    for weights, part in zip(wide, parts, strict=True):
                        product = _multiply(builder, weights, x)
                        builder.store(builder.add(builder.load(part), product), part)
            for number, parts in zip(numbers, held, strict=True):
                a, b = (builder.load(part) for part in parts)
                both = [builder.shuffle_vector(a, b, order) for order in (evens, odds)]
                place = builder.add(out, builder.mul(step, number))
                place = builder.add(place, _const(32 * half))
                place = builder.inttoptr(place, PAIRS.as_pointer())
                builder.store(builder.add(*both), place).align = 4

        for first in range(0, TILE, FEW):
            for half in range(2):
                products(first, half)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 6), generate


@intrinsic
def _meet(
    typingctx: Any, weights: Any, apart: Any, rows: Any, stride: Any, size: Any, out: Any, step: Any
) -> Any:
    """out[t, r] = sum over ``size`` columns of weights[r] * rows[t], int32, 16-bit integers.

    There are QUAD rows of weights, ``apart`` bytes from each other, and two of activations;
    ``size`` is a multiple of 16. Rows of ``out`` stand ``step`` bytes apart. Nothing is packed: a
    vector of partial sums for each pair is added up once for all columns. With more pairs the
    sums leave the registers, and it takes half as long again.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, apart, rows, stride, size, out, step = args
        held = [[cgutils.alloca_once(builder, PAIRS) for _ in range(QUAD)] for _ in range(2)]
        starts, sources = (
            [builder.add(first, builder.mul(each, _const(n))) for n in range(many)]
            for first, each, many in ((weights, apart, QUAD), (rows, stride, 2))
        )
        for total in (total for totals in held for total in totals):
            builder.store(ir.Constant(PAIRS, [0] * 8), total)
        with cgutils.for_range_slice(builder, _const(0), size, _const(16), intp=I64) as (at, _):
            offset = builder.shl(at, _const(1))
            xs = [load_from(builder, builder.add(source, offset), HALVES) for source in sources]
            for n, start in enumerate(starts):
                weight = load_from(builder, builder.add(start, offset), HALVES)
                for x, totals in zip(xs, held, strict=True):
                    product = _multiply(builder, weight, x)
                    builder.store(builder.add(builder.load(totals[n]), product), totals[n])
        lanes, kind = ir.VectorType(I32, 4), ir.FunctionType(PAIRS, [PAIRS, PAIRS])
        joined = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.phadd.d")
        for number, totals in enumerate(held):
            sums = [builder.load(total) for total in totals]
            while len(sums) > 1:
                pairs = zip(sums[::2], sums[1::2], strict=True)
                sums = [builder.call(joined, pair) for pair in pairs]
            halves = [
                builder.shuffle_vector(sums[0], sums[0], ir.Constant(lanes, order))
                for order in ([0, 1, 2, 3], [4, 5, 6, 7])
            ]
            place = builder.add(out, builder.mul(step, _const(number)))
            place = builder.inttoptr(place, lanes.as_pointer())
            builder.store(builder.add(*halves), place).align = 4
        return context.get_dummy_value()

    return types.none(*[types.int64] * 7), generate


@intrinsic
def _weigh(
    typingctx: Any, values: Any, step: Any, pairs: Any, weights: Any, blocks: Any, out: Any
) -> Any:
    """out[i] += weighted sum over 2 * ``pairs`` rows of 16 * ``blocks`` unsigned bytes, int64.

    ``weights`` holds a 16-bit integer a row.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, step, pairs, weights, blocks, out = args
        held = [cgutils.alloca_once(builder, PAIRS) for _ in range(2)]
        double, four = builder.shl(step, _const(1)), ir.VectorType(I64, 4)
        with cgutils.for_range(builder, blocks, intp=I64) as block:
            first = builder.add(values, builder.shl(block.index, _const(4)))
            for total in held:
                builder.store(ir.Constant(PAIRS, [0] * 8), total)
            with cgutils.for_range(builder, pairs, intp=I64) as pair:
                row = builder.add(first, builder.mul(pair.index, double))
                a, b = (load_from(builder, at, BYTES) for at in (row, builder.add(row, step)))
                at = builder.add(weights, builder.shl(pair.index, _const(2)))
                word = load_from(builder, at, I32)
                lanes = builder.insert_element(
                    ir.Constant(PAIRS, [0] * 8), word, ir.Constant(I32, 0)
                )
                both = builder.shuffle_vector(lanes, lanes, ir.Constant(PAIRS, [0] * 8))
                both = builder.bitcast(both, HALVES)
                for half, total in enumerate(held):
                    order = [n for i in range(8 * half, 8 * half + 8) for n in (i, 16 + i)]
                    turns = builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, 16), order))
                    product = _multiply(builder, builder.zext(turns, HALVES), both)
                    builder.store(builder.add(builder.load(total), product), total)
            place = builder.add(out, builder.shl(block.index, _const(7)))
            for half, total in enumerate(held):
                for quarter in range(2):
                    order = ir.Constant(
                        ir.VectorType(I32, 4), list(range(4 * quarter, 4 * quarter + 4))
                    )
                    some = builder.load(total)
                    some = builder.sext(builder.shuffle_vector(some, some, order), four)
                    at = builder.add(place, _const(64 * half + 32 * quarter))
                    at = builder.inttoptr(at, four.as_pointer())
                    before = builder.load(at)
                    before.align = 8
                    builder.store(builder.add(before, some), at).align = 8
        return context.get_dummy_value()

    return types.none(*[types.int64] * 6), generate


if HAVE_AVX2:

    @jit
    def avx2_dots(weights: int, step: int, rows: int, source: int, size: int, totals: int) -> None:
        """See ``_dots``."""
        _dots(weights, step, rows, source, size, totals)

    @jit
    def avx2_tile8(weight: int, rows: int, stride: int, quads: int, out: int, step: int) -> None:
        """See ``_tile8``; addresses of bytes."""
        _tile8(weight, rows, stride, quads, out, step)

    @jit
    def avx2_meet(
        weights: int, apart: int, many: int, rows: int, stride: int, size: int, out: int, step: int
    ) -> None:
        """See ``_meet``; of ``many`` rows of weights, QUAD by QUAD."""
        for first in range(0, many, QUAD):
            _meet(weights + first * apart, apart, rows, stride, size, out + 4 * first, step)

    @jit
    def avx2_weigh(values: int, step: int, pairs: int, weights: int, blocks: int, out: int) -> None:
        """See ``_weigh``; addresses of bytes."""
        _weigh(values, step, pairs, weights, blocks, out)

else:

    @jit
    def avx2_dots(weights: int, step: int, rows: int, source: int, size: int, totals: int) -> None:
        """Never called: the switch is off where the processor has no AVX2."""

    @jit
    def avx2_tile8(weight: int, rows: int, stride: int, quads: int, out: int, step: int) -> None:
        """Never called: the switch is off where the processor has no AVX2."""

    @jit
    def avx2_meet(
        weights: int, apart: int, many: int, rows: int, stride: int, size: int, out: int, step: int
    ) -> None:
        """Never called: the switch is off where the processor has no AVX2."""

    @jit
    def avx2_weigh(values: int, step: int, pairs: int, weights: int, blocks: int, out: int) -> None:
        """Never called: the switch is off where the processor has no AVX2."""
