"""How long the kernels' sums may become, and the blocks that they work in.

All of it follows from what the rules admit: at most MAX_INNER elements in an exact sum, MAX_CONTEXT
tokens in a cache, BLOCK of them at a time. ``SUMS`` shows one by one that every sum stays inside
its 32 or 64 bits, and a test holds that against the kernels' source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pxvm.core.ops import BLOCK, SAMPLE_CANDIDATES
from pxvm.core.rules import MAX_CONTEXT, MAX_INNER
from pxvm.core.tensor import GROUP, MAX_EXTENT

# Largest magnitudes: a byte of a weight as it is stored, a signed byte, an activation of two
# planes, a table's 2^-x, the same as it meets the values, an element of I32 and of I16.
BYTE, PLANE, ACTIVATION, POWER, WEIGHED = 255, 128, 257 * 128, 1 << 16, 1 << 14
QUANTISED = 1 << 14  # of an activation that a program made; those that somebody wrote may be larger
WORD, HALF = 1 << 31, 1 << 15


def up(n: int, multiple: int) -> int:
    """``n`` rounded up to a multiple."""
    return (n + multiple - 1) // multiple * multiple


# Blocks
LANES = 16  # columns of a tile: the words of one vector
TILE = 8  # activation rows that one tile of the matrix product holds in registers
TILED = 16  # and with AMX
PACK = 64  # weight rows packed at a time
RUN = 32  # weight rows summed before their sums are finished
QUAD = 4  # widened weight rows that meet two tokens
NEAR = 8192  # widened weights that stay in the first cache
SHARED = 96  # tokens at most that meet them before the next are widened
STRETCH = 1008  # columns whose products of signed bytes and 16-bit integers fit 32 bits together
LONG = 4096  # the same of a row of unsigned bytes, in eight lanes
BATCH = 4  # from so many tokens on, weights are packed into tiles
SPAN = 4  # blocks of 128 four-bit weights whose sums of products are kept in 32 bits
EIGHT = 8  # minima at a time
LOW, PARTS = 7, 3  # bits of each but the highest part of a group's sum of activations, and parts
FEW = 4  # activation rows that codes of four bits meet at a time
QUERIES = 32  # queries that a thread takes at a time
FACTS = 16  # numbers known of a query


def arranged(cols: int) -> int:
    """Bytes of an activation row for four-bit weights: numbers, parts of sums, and a mark."""
    groups = cols // GROUP
    parts = 2 * PARTS * ((groups + EIGHT - 1) // EIGHT * EIGHT)
    return (256 * ((groups + 3) // 4) + parts + 2 + 63) // 64 * 64


@dataclass(frozen=True)
class Sum:
    """An accumulator: ``count`` terms of at most ``term`` in magnitude, in ``dtype``."""

    dtype: Any
    term: int
    count: int


_PRODUCT = Sum(np.int32, BYTE * PLANE, MAX_INNER)
_ROW = Sum(np.int64, WORD, MAX_EXTENT)

# By function and variable.
SUMS: dict[str, Sum] = {
    # A plane of activations (or a query) against weights (or keys), lane by lane or in all.
    "dots.plain_dot.total": _PRODUCT,
    "dots.multiply_tile.total": Sum(np.int32, BYTE * PLANE, 4),
    "dots.multiply_tile.row": _PRODUCT,
    "vnni._vnni_rows2": _PRODUCT,
    "vnni._vnni_rows1": _PRODUCT,
    "vnni._vnni_tile": _PRODUCT,
    "amx._one": _PRODUCT,
    "amx._many": _PRODUCT,
    # Both planes at once: two products in each lane of a vector of 16.
    "avx2._dots": Sum(np.int32, 2 * BYTE * QUANTISED, LONG // 16),
    "avx2._weigh": Sum(np.int32, BYTE * WEIGHED, BLOCK),
    "avx2._tile8": _PRODUCT,
    "avx2._meet": Sum(np.int32, PLANE * QUANTISED, STRETCH),
    "tiles._meet.sums": Sum(np.int64, PLANE * QUANTISED, MAX_INNER),
    "dots.halves_dots.totals": Sum(np.int64, BYTE * QUANTISED, MAX_INNER),
    "dots.stream.total": Sum(np.int64, BYTE * PLANE * MAX_INNER, 257),
    "products._wrapped_dot.total": Sum(np.int64, BYTE * ACTIVATION, MAX_INNER),
    "tiles.load_planes.total": Sum(np.int64, PLANE * MAX_INNER, 257),
    "products._few.minus": Sum(np.int64, PLANE * MAX_INNER, 257),
    "memory.signed_bytes.total": Sum(np.int32, PLANE, MAX_INNER),
    "memory.load_signed.total": Sum(np.int64, PLANE, MAX_EXTENT),
    # Weights of four bits: what eight codes make times a scale, over the blocks of a span;
    # minima times one part of their groups' sums; the activations of a group.
    "groups._codes": Sum(np.int32, 15 * 8 * WEIGHED * BYTE, SPAN),
    "groups._minima": Sum(np.int32, HALF * (2**LOW - 1), MAX_INNER // GROUP // (EIGHT // 2)),
    "fourbit.arrange.total": Sum(np.int32, ACTIVATION, GROUP),
    "fourbit._plain.total": Sum(np.int64, (15 * BYTE + HALF) * ACTIVATION, MAX_INNER),
    "wide.matmul.total": Sum(np.int64, ACTIVATION * ACTIVATION, MAX_INNER),
    "wide.conv2d.total": Sum(np.int64, PLANE * ACTIVATION, MAX_INNER),
    # Rows of I32
    "memory.sum_of.total": Sum(np.int64, WORD, MAX_INNER),
    "rowwise.binary.x": Sum(np.int64, WORD, 2),
    "rowwise._normalised.square": Sum(np.int64, HALF * HALF, MAX_INNER + 8),
    "rowwise.norm.head": Sum(np.int64, WORD, 2),
    "memory.quantise_row.v": Sum(np.int64, WORD, 2),
    "rowwise.l2_norm.square": Sum(np.int64, HALF * HALF, MAX_INNER),
    "rowwise.softmax.total": Sum(np.int64, POWER, MAX_INNER),
    "rowwise.pool.total": Sum(np.int64, WORD, 255 * 255),
    "rowwise.mean_pool.total": _ROW,
    "moving.sample.total": Sum(np.int64, POWER, SAMPLE_CANDIDATES),
    # Attention
    "attention._query.total": Sum(np.int64, PLANE, MAX_INNER),
    "attention._stream_keys.total": Sum(np.int64, BYTE * PLANE, MAX_INNER),
    "attention._weights.total": Sum(np.uint32, POWER, BLOCK),
    "attention._weights.planes": Sum(np.int32, WEIGHED, BLOCK),
    "vnni._vnni_weigh": Sum(np.int32, BYTE * PLANE, BLOCK),
    "attention._weigh_pairs.out": Sum(np.int64, BYTE * WEIGHED, BLOCK),
    "attention._stream_values.out": Sum(np.int32, BYTE * WEIGHED, BLOCK),
    "attention._few.block": Sum(np.int32, BYTE * WEIGHED * BLOCK, 2),
    "attention._join.sums": Sum(np.int64, PLANE * WEIGHED, MAX_CONTEXT),
}  # fmt: skip
