"""Dot products of four-bit weights, whatever the processor: vectors that LLVM cuts to its size.

A block is 128 weights, 64 bytes of codes: in their 16-bit lanes the four codes of a lane belong to
one group, so that four masks and shifts give four vectors of codes, four products of pairs one sum
for every eight weights, and one multiplication brings in the groups' scales. The activations lie
ready in the order that the codes come out (see ``fourbit.arrange``). The last block of a row ends
where the row's codes end; what it has in common with the one before it meets zeros. So it is with
the minima, eight at a time: the sums of their groups have 20 bits and come in three parts.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pxvm.cpu.bounds import EIGHT, FEW, LOW, PARTS, SPAN
from pxvm.cpu.intrinsics import I8, I32, I64, load_from

I16 = ir.IntType(16)
CODES, WIDE, SUMS = ir.VectorType(I16, 32), ir.VectorType(I32, 16), ir.VectorType(I64, 16)
HALVES, NARROW = ir.VectorType(I16, 8), ir.VectorType(I32, 4)
BLOCK = 4  # groups of 32 in a block
LARGEST = 1 << 14  # magnitude of an activation up to which SPAN blocks stay below 2^31


def _splat(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _products_of_pairs(builder: Any, a: Any, b: Any) -> Any:
    """a[2i] b[2i] + a[2i + 1] b[2i + 1] as 32 bits, which processors have as one instruction."""
    count = a.type.count
    whole, half = ir.VectorType(I32, count), ir.VectorType(I32, count // 2)
    product = builder.mul(builder.sext(a, whole), builder.sext(b, whole))
    halves = [
        builder.shuffle_vector(product, product, ir.Constant(half, list(range(first, count, 2))))
        for first in (0, 1)
    ]
    return builder.add(*halves)


def _least(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def _reduced(builder: Any, vector: Any) -> Any:
    """The sum of a vector's lanes of 64 bits."""
    name = f"llvm.vector.reduce.add.v{vector.type.count}i64"
    kind = ir.FunctionType(I64, [vector.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [vector])


def _loop(builder: Any, first: Any, stop: Any, step: int = 1) -> Any:
    return cgutils.for_range_slice(builder, first, stop, ir.Constant(I64, step), intp=I64)


def _codes(builder: Any, codes: Any, scales: Any, groups: Any, starts: list[Any]) -> list[Any]:
    """For each row of activations the sum of scale times code times activation, 16 lanes."""
    zero, last = ir.Constant(I64, 0), builder.sub(groups, ir.Constant(I64, BLOCK))
    blocks = builder.lshr(builder.add(groups, ir.Constant(I64, BLOCK - 1)), ir.Constant(I64, 2))
    totals = [cgutils.alloca_once(builder, SUMS) for _ in starts]
    sums = [cgutils.alloca_once(builder, WIDE) for _ in starts]
    for total in totals:
        builder.store(_splat(SUMS, 0), total)
    with _loop(builder, zero, blocks, SPAN) as (first, _):
        for held in sums:
            builder.store(_splat(WIDE, 0), held)
        stop = _least(builder, builder.add(first, ir.Constant(I64, SPAN)), blocks)
        with _loop(builder, first, stop) as (block, _):
            group = _least(builder, builder.shl(block, ir.Constant(I64, 2)), last)
            at = builder.add(codes, builder.shl(group, ir.Constant(I64, 4)))
            packed = load_from(builder, at, CODES)
            four = load_from(builder, builder.add(scales, group), ir.VectorType(I8, 4))
            four = builder.zext(four, ir.VectorType(I32, 4))
            order = ir.Constant(WIDE, [i // 4 for i in range(16)])
            scale = builder.shuffle_vector(four, four, order)
            offset = builder.shl(block, ir.Constant(I64, 8))
            parts: list[Any] = [None] * len(starts)
            for n in range(4):
                code = builder.lshr(packed, _splat(CODES, 4 * n)) if n else packed
                code = builder.and_(code, _splat(CODES, 15)) if n < 3 else code
                for t, start in enumerate(starts):
                    place = builder.add(builder.add(start, offset), ir.Constant(I64, 64 * n))
                    found = _products_of_pairs(builder, code, load_from(builder, place, CODES))
                    parts[t] = found if parts[t] is None else builder.add(parts[t], found)
            for held, part in zip(sums, parts, strict=True):
                builder.store(builder.add(builder.load(held), builder.mul(part, scale)), held)
        for total, held in zip(totals, sums, strict=True):
            wide = builder.sext(builder.load(held), SUMS)
            builder.store(builder.add(builder.load(total), wide), total)
    return [builder.load(total) for total in totals]


def _minima(builder: Any, minima: Any, groups: Any, starts: list[Any]) -> list[Any]:
    """For each row of activations the sum of minimum times the group's sum, 4 lanes."""
    eight = ir.Constant(I64, EIGHT)
    last = builder.sub(groups, eight)
    sums = [[cgutils.alloca_once(builder, NARROW) for _ in range(PARTS)] for _ in starts]
    for held in (held for parts in sums for held in parts):
        builder.store(_splat(NARROW, 0), held)
    with _loop(builder, ir.Constant(I64, 0), groups, EIGHT) as (first, _):
        group = _least(builder, first, last)
        at = builder.add(minima, builder.shl(group, ir.Constant(I64, 1)))
        some = load_from(builder, at, HALVES)
        offset = builder.mul(first, ir.Constant(I64, 2 * PARTS))
        for parts, start in zip(sums, starts, strict=True):
            for p, held in enumerate(parts):
                place = builder.add(builder.add(start, offset), ir.Constant(I64, 2 * EIGHT * p))
                found = _products_of_pairs(builder, some, load_from(builder, place, HALVES))
                builder.store(builder.add(builder.load(held), found), held)
    found = []
    for parts in sums:
        total = None
        for p, held in enumerate(parts):
            wide = ir.VectorType(I64, 4)
            part = builder.shl(builder.sext(builder.load(held), wide), _splat(wide, LOW * p))
            total = part if total is None else builder.add(total, part)
        found.append(total)
    return found


def _generate(tokens: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        codes, groups, x, step, out, apart = args
        scales = builder.add(codes, builder.shl(groups, ir.Constant(I64, 4)))
        words = builder.lshr(builder.add(groups, ir.Constant(I64, 3)), ir.Constant(I64, 2))
        minima = builder.add(scales, builder.shl(words, ir.Constant(I64, 2)))
        starts = [builder.add(x, builder.mul(step, ir.Constant(I64, t))) for t in range(tokens)]
        sums = _codes(builder, codes, scales, groups, starts)
        behind = builder.shl(words, ir.Constant(I64, 8))
        others = _minima(builder, minima, groups, [builder.add(s, behind) for s in starts])
        for t, (one, other) in enumerate(zip(sums, others, strict=True)):
            value = builder.add(_reduced(builder, one), _reduced(builder, other))
            place = builder.add(out, builder.mul(apart, ir.Constant(I64, t)))
            builder.store(value, builder.inttoptr(place, I64.as_pointer()))
        return context.get_dummy_value()

    return generate


@intrinsic
def dot_one(
    typingctx: Any, codes: Any, groups: Any, x: Any, step: Any, out: Any, apart: Any
) -> Any:
    """The exact sum of an I4 row of at least EIGHT groups with a row of activations, to ``out``.

    All are addresses or counts: ``codes`` where the row starts, ``x`` activations as ``arrange``
    leaves them, ``out`` int64.
    """
    return types.none(*[types.int64] * 6), _generate(1)


@intrinsic
def dot_few(
    typingctx: Any, codes: Any, groups: Any, x: Any, step: Any, out: Any, apart: Any
) -> Any:
    """The same for FEW rows of activations, ``step`` bytes apart; sums ``apart`` bytes apart."""
    return types.none(*[types.int64] * 6), _generate(FEW)
