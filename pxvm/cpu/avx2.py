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

from pxvm.cpu.bounds import LANES, TILE, TOGETHER
from pxvm.cpu.compiler import jit
from pxvm.cpu.intrinsics import I8, I16, I32, I64, exchanged, load_from
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


def _spread(builder: Any, address: Any, narrow: bool) -> Any:
    """Four integers in turns, four times; of 8 bits where ``narrow``, else of 16."""
    word = I32 if narrow else I64
    lanes = ir.VectorType(word, 4)
    first = builder.insert_element(
        ir.Constant(lanes, [0] * 4), load_from(builder, address, word), ir.Constant(I32, 0)
    )
    each = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(I32, 4), [0] * 4))
    return builder.sext(builder.bitcast(each, BYTES), HALVES) if narrow else builder.bitcast(
        each, HALVES
    )  # fmt: skip


def _generate_tile(count: int, narrow: bool) -> Any:
    """The code of ``_tile8`` and ``_tile16``: TOGETHER rows and half of the lanes at a time.

    A vector of 16 weights are four of four lanes, so that a lane's sum comes in two parts.
    """
    sums = PAIRS if narrow else SUMS
    evens, odds = (ir.Constant(PAIRS, list(range(first, 16, 2))) for first in (0, 1))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weight, rows, stride, quads, out, step = args
        held = [[cgutils.alloca_once(builder, PAIRS) for _ in range(2)] for _ in range(TOGETHER)]

        def products(first: int, half: int) -> None:
            numbers = [_const(first + t) for t in range(TOGETHER)]
            starts = [builder.add(rows, builder.mul(stride, number)) for number in numbers]
            for part in (part for parts in held for part in parts):
                builder.store(ir.Constant(PAIRS, [0] * 8), part)
            with cgutils.for_range(builder, quads, intp=I64) as loop:
                at = builder.add(weight, builder.shl(loop.index, _const(6)))
                wide = [
                    _wide(builder, builder.add(at, _const(32 * half + 16 * part)))
                    for part in range(2)
                ]
                offset = builder.shl(loop.index, _const(2 if narrow else 3))
                for start, parts in zip(starts, held, strict=True):
                    x = _spread(builder, builder.add(start, offset), narrow)
                    for weights, part in zip(wide, parts, strict=True):
                        product = _multiply(builder, weights, x)
                        builder.store(builder.add(builder.load(part), product), part)
            for number, parts in zip(numbers, held, strict=True):
                a, b = (builder.load(part) for part in parts)
                both = [builder.shuffle_vector(a, b, order) for order in (evens, odds)]
                both = both if narrow else [builder.sext(part, sums) for part in both]
                place = builder.add(out, builder.mul(step, number))
                place = builder.add(place, _const(half * sums.count * (4 if narrow else 8)))
                place = builder.inttoptr(place, sums.as_pointer())
                total = builder.add(*both)
                if not narrow:
                    before = builder.load(place)
                    before.align = 8
                    total = builder.add(total, before)
                builder.store(total, place).align = 4 if narrow else 8

        for first in range(0, count, TOGETHER):
            for half in range(2):
                products(first, half)
        return context.get_dummy_value()

    return generate


@intrinsic
def _tile8(
    typingctx: Any, weight: Any, rows: Any, stride: Any, quads: Any, out: Any, step: Any
) -> Any:
    """out[r, lane] = sum over k of weight[k, lane] * rows[r, k], int32, as ``vnni._vnni_tile``."""
    return types.none(*[types.int64] * 6), _generate_tile(TILE, True)


@intrinsic
def _tile16(
    typingctx: Any, weight: Any, rows: Any, stride: Any, quads: Any, out: Any, step: Any
) -> Any:
    """out[r, lane] += the same, int64, for TOGETHER rows of 16-bit integers.

    There are at most ``bounds.STRETCH`` of them in a row.
    """
    return types.none(*[types.int64] * 6), _generate_tile(TOGETHER, False)


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


@intrinsic
def _transpose(typingctx: Any, source: Any, step: Any, blocks: Any, out: Any) -> Any:
    """As ``vnni._transpose``, of 16 rows of 8 * ``blocks`` words."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, step, blocks, out = args
        starts = [builder.add(source, builder.mul(step, _const(r))) for r in range(LANES)]
        with cgutils.for_range(builder, blocks, intp=I64) as loop:
            offset = builder.shl(loop.index, _const(5))
            place = builder.add(out, builder.shl(loop.index, _const(9)))
            for half in range(2):
                some = starts[8 * half : 8 * half + 8]
                rows = [load_from(builder, builder.add(start, offset), PAIRS) for start in some]
                for r, row in enumerate(exchanged(builder, rows)):
                    at = builder.add(place, _const(64 * r + 32 * half))
                    builder.store(row, builder.inttoptr(at, PAIRS.as_pointer())).align = 1
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), generate


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
    def avx2_tile16(weight: int, rows: int, stride: int, quads: int, out: int, step: int) -> None:
        """See ``_tile16``; addresses of bytes."""
        _tile16(weight, rows, stride, quads, out, step)

    @jit
    def avx2_weigh(values: int, step: int, pairs: int, weights: int, blocks: int, out: int) -> None:
        """See ``_weigh``; addresses of bytes."""
        _weigh(values, step, pairs, weights, blocks, out)

    @jit
    def avx2_transpose(source: int, step: int, blocks: int, out: int) -> None:
        """See ``_transpose``."""
        _transpose(source, step, blocks, out)

else:

    @jit
    def avx2_dots(weights: int, step: int, rows: int, source: int, size: int, totals: int) -> None:
        """Never called: the switch is off where the processor has no AVX2."""

    @jit
    def avx2_tile8(weight: int, rows: int, stride: int, quads: int, out: int, step: int) -> None:
        """Never called: the switch is off where the processor has no AVX2."""

    @jit
    def avx2_tile16(weight: int, rows: int, stride: int, quads: int, out: int, step: int) -> None:
        """Never called: the switch is off where the processor has no AVX2."""

    @jit
    def avx2_weigh(values: int, step: int, pairs: int, weights: int, blocks: int, out: int) -> None:
        """Never called: the switch is off where the processor has no AVX2."""

    @jit
    def avx2_transpose(source: int, step: int, blocks: int, out: int) -> None:
        """Never called: the switch is off where the processor has no AVX2."""
