"""Dot products of four-bit weights, whatever the processor: vectors that LLVM cuts to its size.

A block is 128 weights, 64 bytes of codes: in their 16-bit lanes the four codes of a lane belong to
one group, so that four masks and shifts give four vectors of codes, four products of pairs one sum
for every eight weights, and one multiplication brings in the groups' scales. The activations lie
ready in the order that the codes come out (see ``arrange``). The last block of a row ends where the
row's codes end; what it has in common with the one before it meets zeros.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pxvm.cpu.bounds import SPAN
from pxvm.cpu.intrinsics import I8, I32, I64, load_from

I16 = ir.IntType(16)
CODES, WIDE = ir.VectorType(I16, 32), ir.VectorType(I32, 16)
SUMS = ir.VectorType(I64, 16)
BLOCK = 4  # groups of 32 in a block
LARGEST = 1 << 14  # magnitude of an activation up to which SPAN blocks stay below 2^31


def _splat(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _products_of_pairs(builder: Any, a: Any, b: Any) -> Any:
    """a[2i] b[2i] + a[2i + 1] b[2i + 1] as 32 bits, which processors have as one instruction."""
    whole = ir.VectorType(I32, 32)
    product = builder.mul(builder.sext(a, whole), builder.sext(b, whole))
    halves = [
        builder.shuffle_vector(product, product, ir.Constant(WIDE, list(range(first, 32, 2))))
        for first in (0, 1)
    ]
    return builder.add(*halves)


def _generate(tokens: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        codes, scales, groups, x, step, out = args
        zero, one = ir.Constant(I64, 0), ir.Constant(I64, 1)
        last = builder.sub(groups, ir.Constant(I64, BLOCK))
        blocks = builder.lshr(builder.add(groups, ir.Constant(I64, BLOCK - 1)), ir.Constant(I64, 2))
        totals = [cgutils.alloca_once(builder, SUMS) for _ in range(tokens)]
        sums = [cgutils.alloca_once(builder, WIDE) for _ in range(tokens)]
        for total in totals:
            builder.store(_splat(SUMS, 0), total)
        starts = [builder.add(x, builder.mul(step, ir.Constant(I64, t))) for t in range(tokens)]
        span = ir.Constant(I64, SPAN)
        with cgutils.for_range_slice(builder, zero, blocks, span, intp=I64) as (first, _):
            for held in sums:
                builder.store(_splat(WIDE, 0), held)
            stop = builder.add(first, span)
            stop = builder.select(builder.icmp_signed("<", stop, blocks), stop, blocks)
            with cgutils.for_range_slice(builder, first, stop, one, intp=I64) as (block, _):
                group = builder.shl(block, ir.Constant(I64, 2))
                group = builder.select(builder.icmp_signed("<", group, last), group, last)
                at = builder.add(codes, builder.shl(group, ir.Constant(I64, 4)))
                packed = load_from(builder, at, CODES)
                four = load_from(builder, builder.add(scales, group), ir.VectorType(I8, 4))
                four = builder.zext(four, ir.VectorType(I32, 4))
                order = ir.Constant(WIDE, [i // 4 for i in range(16)])
                scale = builder.shuffle_vector(four, four, order)
                offset = builder.shl(block, ir.Constant(I64, 8))
                parts: list[Any] = [None] * tokens
                for n in range(4):
                    code = builder.lshr(packed, _splat(CODES, 4 * n)) if n else packed
                    code = builder.and_(code, _splat(CODES, 15)) if n < 3 else code
                    for t, start in enumerate(starts):
                        place = builder.add(builder.add(start, offset), ir.Constant(I64, 64 * n))
                        found = _products_of_pairs(builder, code, load_from(builder, place, CODES))
                        parts[t] = found if parts[t] is None else builder.add(parts[t], found)
                for held, part in zip(sums, parts, strict=True):
                    scaled = builder.mul(part, scale)
                    builder.store(builder.add(builder.load(held), scaled), held)
            for total, held in zip(totals, sums, strict=True):
                wide = builder.sext(builder.load(held), SUMS)
                builder.store(builder.add(builder.load(total), wide), total)
        reduce = ir.FunctionType(I64, [SUMS])
        function = cgutils.get_or_insert_function(
            builder.module, reduce, "llvm.vector.reduce.add.v16i64"
        )
        for t, total in enumerate(totals):
            value = builder.call(function, [builder.load(total)])
            place = builder.add(out, ir.Constant(I64, 8 * t))
            builder.store(value, builder.inttoptr(place, I64.as_pointer()))
        return context.get_dummy_value()

    return generate


@intrinsic
def dot_one(
    typingctx: Any, codes: Any, scales: Any, groups: Any, x: Any, step: Any, out: Any
) -> Any:
    """out[0] = the sum of scale times code times activation over ``groups`` >= 4 of a row.

    All are addresses or counts: ``codes`` 16 bytes a group, ``scales`` a byte a group, ``x``
    activations as ``arrange`` leaves them, ``out`` int64.
    """
    return types.none(*[types.int64] * 6), _generate(1)


@intrinsic
def dot_four(
    typingctx: Any, codes: Any, scales: Any, groups: Any, x: Any, step: Any, out: Any
) -> Any:
    """The same for four rows of activations, ``step`` bytes apart, into out[:4]."""
    return types.none(*[types.int64] * 6), _generate(4)
