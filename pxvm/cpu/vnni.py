"""Dot products of 8-bit integers on AVX-512 VNNI, as LLVM IR built for Numba.

``HAVE_VNNI`` says whether this processor has ``vpdpbusd`` on 512 bits; without it none of these
functions is ever compiled. All take addresses and counts.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pxvm.cpu.bounds import TILE
from pxvm.cpu.compiler import jit
from pxvm.cpu.intrinsics import I8, I32, I64, exchanged, load_from, prefetched
from pxvm.cpu.native import have_vnni

BYTES, LANES = ir.VectorType(I8, 64), ir.VectorType(I32, 16)
HAVE_VNNI = have_vnni()
AHEAD = 8192  # bytes from a weight to the one that the second cache is asked for meanwhile


def _dot_accumulate(builder: Any, total: Any, unsigned: Any, signed: Any) -> Any:
    kind = ir.FunctionType(LANES, [LANES, LANES, LANES])
    name = "llvm.x86.avx512.vpdpbusd.512"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [total, unsigned, signed])


def _sum_lanes(builder: Any, vector: Any) -> Any:
    kind = ir.FunctionType(I32, [LANES])
    name = "llvm.vector.reduce.add.v16i32"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [vector])


def _sums_of_16(builder: Any, vectors: list[Any]) -> Any:
    """One vector whose lane i is the sum over 16 lanes of vector i: a tree of pairwise sums."""
    evens, odds = list(range(0, 32, 2)), list(range(1, 32, 2))
    kind = ir.VectorType(I32, 16)
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [
            builder.add(
                *(builder.shuffle_vector(a, b, ir.Constant(kind, o)) for o in (evens, odds))
            )
            for a, b in pairs
        ]
    return vectors[0]


def _generate_rows(planes: int) -> Any:
    """The code of ``_vnni_rows1`` and ``_vnni_rows2``.

    Of one plane (short keys in the cache) 16 rows are summed at a time, the rest and all of two
    planes (weights from memory) row by row: one load instruction for all rows is what the
    processor's prefetcher follows best.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, step, rows, *sources, size, totals = args
        start, chunk = ir.Constant(I64, 0), ir.Constant(I64, 64)
        tail = builder.and_(size, ir.Constant(I64, 63))
        whole = builder.sub(size, tail)
        held = [cgutils.alloca_once(builder, LANES) for _ in range(16)]

        def sum_row(row: Any, sums: list[Any]) -> None:
            """Products of one row, a vector of partial sums for each plane."""
            weight = builder.add(weights, builder.mul(row, step))
            for total in sums:
                builder.store(ir.Constant(LANES, [0] * 16), total)

            def accumulate(loaded: Any, offset: Any) -> None:
                for total, source in zip(sums, sources, strict=True):
                    x = load_from(builder, builder.add(source, offset), LANES)
                    builder.store(_dot_accumulate(builder, builder.load(total), loaded, x), total)

            with cgutils.for_range_slice(builder, start, whole, chunk, intp=I64) as (offset, _):
                place = builder.add(weight, offset)
                prefetched(builder, builder.add(place, ir.Constant(I64, AHEAD)), 2)
                accumulate(load_from(builder, place, LANES), offset)
            with builder.if_then(builder.icmp_signed(">", tail, start), likely=False):
                loaded = _load_masked(builder, builder.add(weight, whole), tail)
                accumulate(builder.bitcast(loaded, LANES), whole)

        def store(row: Any, value: Any) -> None:
            place = builder.add(totals, builder.shl(row, ir.Constant(I64, 3)))
            builder.store(value, builder.inttoptr(place, value.type.as_pointer())).align = 8

        left = builder.srem(rows, ir.Constant(I64, 16)) if planes == 1 else rows
        full, one = builder.sub(rows, left), ir.Constant(I64, 1)
        if planes == 1:
            block = ir.Constant(I64, 16)
            with cgutils.for_range_slice(builder, start, full, block, intp=I64) as (first, _):
                for r in range(16):
                    sum_row(builder.add(first, ir.Constant(I64, r)), held[r : r + 1])
                lanes = _sums_of_16(builder, [builder.load(total) for total in held])
                store(first, builder.sext(lanes, ir.VectorType(I64, 16)))
        with cgutils.for_range_slice(builder, full, rows, one, intp=I64) as (row, _):
            sum_row(row, held[:planes])
            sums = [_sum_lanes(builder, builder.load(total)) for total in held[:planes]]
            total = builder.sext(sums[0], I64)
            for plane in sums[1:]:
                high = builder.shl(builder.sext(plane, I64), ir.Constant(I64, 8))
                total = builder.add(total, high)
            store(row, total)
        return context.get_dummy_value()

    return generate


def _load_masked(builder: Any, address: Any, count: Any) -> Any:
    """The first ``count`` of 64 bytes; the others are 0 and not touched."""
    lanes = ir.Constant(BYTES, list(range(64)))
    splat = builder.shuffle_vector(
        builder.insert_element(
            ir.Constant(BYTES, [0] * 64), builder.trunc(count, I8), ir.Constant(I32, 0)
        ),
        ir.Constant(BYTES, None),
        ir.Constant(ir.VectorType(I32, 64), [0] * 64),
    )
    mask = builder.icmp_unsigned("<", lanes, splat)
    pointer = builder.inttoptr(address, BYTES.as_pointer())
    bits = ir.VectorType(ir.IntType(1), 64)
    kind = ir.FunctionType(BYTES, [BYTES.as_pointer(), I32, bits, BYTES])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.load.v64i8.p0")
    zeros = ir.Constant(BYTES, [0] * 64)
    return builder.call(function, [pointer, ir.Constant(I32, 1), mask, zeros])


@intrinsic
def _vnni_rows2(
    typingctx: Any, weights: Any, step: Any, rows: Any, low: Any, high: Any, size: Any, totals: Any
) -> Any:
    """totals[r] = 256 * sum(weight * high) + sum(weight * low) for rows ``step`` bytes apart.

    All are addresses or counts; ``size`` unsigned weight bytes a row meet signed activations,
    which are padded with zeros to a multiple of 64. Weight bytes of the last part are loaded
    under a mask, so that nothing behind the row is touched. One row after the other: reading
    several at once is what the processor's prefetcher does not expect, and half as fast.
    """
    return types.none(*[types.int64] * 7), _generate_rows(2)


@intrinsic
def _vnni_rows1(
    typingctx: Any, weights: Any, step: Any, rows: Any, low: Any, size: Any, totals: Any
) -> Any:
    """totals[r] = sum(weight * low), as ``_vnni_rows2``."""
    return types.none(*[types.int64] * 6), _generate_rows(1)


@intrinsic
def _vnni_tile(
    typingctx: Any, weight: Any, rows: Any, stride: Any, quads: Any, out: Any, step: Any
) -> Any:
    """out[r, lane] = sum over k of weight[k, lane] * rows[r, k], int32, for TILE rows.

    ``weight`` holds [quads][16 lanes][4 bytes] unsigned, ``rows`` TILE rows ``stride`` bytes
    apart, signed; ``out`` is TILE x 16 int32, rows ``step`` bytes apart.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weight, rows, stride, quads, out, step = args
        zero = ir.Constant(LANES, [0] * 16)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(TILE)]
        starts = [builder.add(rows, builder.mul(stride, ir.Constant(I64, r))) for r in range(TILE)]
        with cgutils.for_range(builder, quads, intp=I64) as loop:
            loaded = load_from(
                builder, builder.add(weight, builder.shl(loop.index, ir.Constant(I64, 6))), LANES
            )
            offset = builder.shl(loop.index, ir.Constant(I64, 2))
            for total, start in zip(sums, starts, strict=True):
                word = load_from(builder, builder.add(start, offset), I32)
                splat = builder.shuffle_vector(
                    builder.insert_element(zero, word, ir.Constant(I32, 0)), zero, zero
                )
                builder.store(_dot_accumulate(builder, builder.load(total), loaded, splat), total)
        for r, total in enumerate(sums):
            place = builder.add(out, builder.mul(step, ir.Constant(I64, r)))
            builder.store(
                builder.load(total), builder.inttoptr(place, LANES.as_pointer())
            ).align = 4
        return context.get_dummy_value()

    return types.none(*[types.int64] * 6), generate


@intrinsic
def _transpose(typingctx: Any, places: Any, blocks: Any, soon: Any, out: Any) -> Any:
    """16 rows of 16 * ``blocks`` words with rows and columns exchanged.

    ``places`` is where the rows' addresses stand, int64. Fetched meanwhile is as much of the rows
    that begin ``soon`` bytes behind these.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places, blocks, soon, out = args
        starts = [
            load_from(builder, builder.add(places, ir.Constant(I64, 8 * r)), I64) for r in range(16)
        ]
        with cgutils.for_range(builder, blocks, intp=I64) as loop:
            offset = builder.shl(loop.index, ir.Constant(I64, 6))
            rows = [load_from(builder, builder.add(start, offset), LANES) for start in starts]
            for start in starts:
                prefetched(builder, builder.add(builder.add(start, offset), soon))
            place = builder.add(out, builder.shl(loop.index, ir.Constant(I64, 10)))
            for r, row in enumerate(exchanged(builder, rows)):
                at = builder.inttoptr(
                    builder.add(place, ir.Constant(I64, 64 * r)), LANES.as_pointer()
                )
                builder.store(row, at).align = 1
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), generate


def _shuffle(builder: Any, a: Any, b: Any, size: int, high: bool) -> Any:
    """Units of ``size`` bytes of a and b in turns, from each 16 bytes' low or high half."""
    units, first = 16 // size, 8 // size if high else 0
    order = []
    for lane in range(0, 64 // size, units):
        for i in range(units // 2):
            order += [lane + first + i, 64 // size + lane + first + i]
    kind = ir.VectorType(ir.IntType(8 * size), 64 // size)
    mask = ir.Constant(ir.VectorType(I32, len(order)), order)
    mixed = builder.shuffle_vector(builder.bitcast(a, kind), builder.bitcast(b, kind), mask)
    return builder.bitcast(mixed, BYTES)


@intrinsic
def _vnni_weigh(
    typingctx: Any, values: Any, step: Any, quads: Any, low: Any, high: Any, size: Any, out: Any
) -> Any:
    """Weighted sums of rows of ``size`` <= 64 unsigned bytes, four rows at a time.

    ``low`` and ``high`` hold signed weights, a byte a row. ``out`` gets, for each of the two,
    64 int32; the sum of byte i stands at 16 (i / 4 % 4) + 4 (i / 16) + i % 4, as the
    processor's interleaving leaves it.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values, step, quads, *planes, size, out = args
        zero = ir.Constant(LANES, [0] * 16)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(4)] for _ in planes]
        with cgutils.for_range(builder, quads, intp=I64) as loop:
            first = builder.shl(loop.index, ir.Constant(I64, 2))
            row = builder.add(values, builder.mul(first, step))
            rows = []
            for _ in range(4):
                rows.append(_load_masked(builder, row, size))
                row = builder.add(row, step)
            a, b, c, d = rows
            quarters = []
            for half in (False, True):
                ab, cd = _shuffle(builder, a, b, 1, half), _shuffle(builder, c, d, 1, half)
                quarters += [_shuffle(builder, ab, cd, 2, part) for part in (False, True)]
            for plane, totals in zip(planes, sums, strict=True):
                word = load_from(builder, builder.add(plane, first), I32)
                splat = builder.shuffle_vector(
                    builder.insert_element(zero, word, ir.Constant(I32, 0)), zero, zero
                )
                for total, quarter in zip(totals, quarters, strict=True):
                    unsigned = builder.bitcast(quarter, LANES)
                    held = builder.load(total)
                    builder.store(_dot_accumulate(builder, held, unsigned, splat), total)
        for number, total in enumerate(total for totals in sums for total in totals):
            place = builder.add(out, ir.Constant(I64, 64 * number))
            builder.store(
                builder.load(total), builder.inttoptr(place, LANES.as_pointer())
            ).align = 4
        return context.get_dummy_value()

    return types.none(*[types.int64] * 7), generate


if HAVE_VNNI:

    @jit
    def vnni_rows(
        weights: int, step: int, rows: int, low: int, high: int, size: int, totals: int
    ) -> None:
        """See ``_vnni_rows2``; ``high`` is 0 where there is one plane."""
        if high == 0:
            _vnni_rows1(weights, step, rows, low, size, totals)
        else:
            _vnni_rows2(weights, step, rows, low, high, size, totals)

    @jit
    def vnni_tile(weight: int, rows: int, stride: int, quads: int, out: int, step: int) -> None:
        """See ``_vnni_tile``; addresses of bytes."""
        _vnni_tile(weight, rows, stride, quads, out, step)

    @jit
    def vnni_weigh(
        values: int, step: int, quads: int, low: int, high: int, size: int, out: int
    ) -> None:
        """See ``_vnni_weigh``."""
        _vnni_weigh(values, step, quads, low, high, size, out)

    @jit
    def transpose(places: int, blocks: int, soon: int, out: int) -> None:
        """See ``_transpose``."""
        _transpose(places, blocks, soon, out)

else:

    @jit
    def vnni_rows(
        weights: int, step: int, rows: int, low: int, high: int, size: int, totals: int
    ) -> None:
        """Never called: the switch is off where the processor has no VNNI."""

    @jit
    def vnni_tile(weight: int, rows: int, stride: int, quads: int, out: int, step: int) -> None:
        """Never called: the switch is off where the processor has no VNNI."""

    @jit
    def vnni_weigh(
        values: int, step: int, quads: int, low: int, high: int, size: int, out: int
    ) -> None:
        """Never called: the switch is off where the processor has no VNNI."""

    @jit
    def transpose(places: int, blocks: int, soon: int, out: int) -> None:
        """Never called: the switch is off where the processor has no VNNI."""
