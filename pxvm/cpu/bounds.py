"""How long the kernels' sums may become, and the blocks that they work in.

All of it follows from what the rules admit: at most MAX_INNER elements in an exact sum, MAX_CONTEXT
tokens in a cache, MAX_EXTENT elements in a tensor. A kernel that sums in 32 bits takes the length
of its blocks from here; every other sum stays inside 64 bits, which ``SUMS`` shows one by one and
a test holds against the kernels' source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pxvm.core.integer import WIDE
from pxvm.core.ops import SAMPLE_CANDIDATES
from pxvm.core.rules import MAX_CONTEXT, MAX_INNER
from pxvm.core.tensor import MAX_EXTENT, PARAMETERS

# Largest magnitudes: a byte of a weight as it is stored, a signed byte, an activation of two
# planes, a table's 2^-x, the same as it meets the values, an element of I32 and of I16.
BYTE, PLANE, ACTIVATION, POWER, WEIGHED = 255, 128, 257 * 128, 1 << 16, 1 << 14
WORD, HALF = 1 << 31, 1 << 15


def fits(dtype: Any, term: int) -> int:
    """How many terms of at most ``term`` in magnitude a sum holds, in whatever order: 2^n."""
    return 1 << ((int(np.iinfo(dtype).max) // term).bit_length() - 1)


def up(n: int, multiple: int) -> int:
    """``n`` rounded up to a multiple."""
    return (n + multiple - 1) // multiple * multiple


# Blocks
LANES = 16  # columns of a tile: the words of one vector
TILE = 8  # activation rows that one tile of the matrix product holds in registers
PACK = 64  # weight rows packed at a time
RUN = 32  # weight rows summed before their sums are finished
BATCH = 4  # from so many tokens on, weights are packed into tiles
QUERIES = 32  # queries that a thread takes at a time
BLOCK = 256  # values weighed before their sums go to 64 bits
SPAN = min(fits(np.uint32, POWER), fits(np.int32, WEIGHED))  # softmax weights summed in 32 bits
REACH = fits(np.int32, BYTE * PLANE)  # tokens whose weighted values a tile sums in 32 bits
TOUCHED = 2 * (3 + PARAMETERS)  # tensors and their lengths that one instruction names


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
    "products.plain_dot.total": _PRODUCT,
    "products.multiply_tile.total": Sum(np.int32, BYTE * PLANE, 4),
    "products.multiply_tile.row": Sum(np.int32, BYTE * PLANE, max(MAX_INNER, REACH)),
    "vnni._vnni_rows2": _PRODUCT,
    "vnni._vnni_rows1": _PRODUCT,
    "vnni._vnni_tile": _PRODUCT,
    "products.stream.total": Sum(np.int64, BYTE * PLANE * MAX_INNER, 257),
    "products._wrapped_dot.total": Sum(np.int64, BYTE * ACTIVATION, MAX_INNER),
    "products.load_planes.total": Sum(np.int64, PLANE * MAX_INNER, 257),
    "products._few.minus": Sum(np.int64, PLANE * MAX_INNER, 257),
    "memory.signed_bytes.total": Sum(np.int32, PLANE, MAX_INNER),
    "memory.load_signed.total": Sum(np.int64, PLANE, MAX_EXTENT),
    "products.finish_run.y": Sum(np.int64, ACTIVATION * PLANE * MAX_INNER * 0xFFFF, 2),
    "wide.matmul.total": Sum(np.int64, ACTIVATION * ACTIVATION, MAX_INNER),
    "wide.conv2d.total": Sum(np.int64, PLANE * ACTIVATION, MAX_INNER),
    # Rows of I32
    "memory.sum_of.total": Sum(np.int64, WIDE, MAX_EXTENT),
    "rowwise.binary.x": Sum(np.int64, WORD, 2),
    "rowwise.norm.square": Sum(np.int64, HALF * HALF, MAX_INNER + 8),
    "rowwise.norm.v": Sum(np.int64, WIDE, 2),
    "memory.quantise_row.v": Sum(np.int64, WORD, 2),
    "rowwise.l2_norm.v": Sum(np.int64, WORD, 2),
    "rowwise.l2_norm.square": Sum(np.int64, 1 << 44, MAX_INNER),
    "rowwise.softmax.total": Sum(np.int64, POWER, MAX_EXTENT),
    "rowwise.pool.total": Sum(np.int64, WORD, 255 * 255),
    "rowwise.mean_pool.total": _ROW,
    "moving.sample.total": Sum(np.int64, POWER, SAMPLE_CANDIDATES),
    # Attention
    "attention._query.total": Sum(np.int64, PLANE, MAX_INNER),
    "attention._stream_keys.total": Sum(np.int64, BYTE * PLANE, MAX_INNER),
    "attention._weights_of.total": Sum(np.uint32, POWER, SPAN),
    "attention._weights_of.planes": Sum(np.int32, WEIGHED, SPAN),
    "attention._weights.total": Sum(np.int64, POWER, MAX_CONTEXT),
    "attention._weights.planes": Sum(np.int64, WEIGHED, MAX_CONTEXT),
    "vnni._vnni_weigh": Sum(np.int32, BYTE * PLANE, BLOCK),
    "attention._stream_values.out": Sum(np.int64, BYTE * WEIGHED, MAX_CONTEXT),
    "attention._few.x": Sum(np.int64, BYTE * WEIGHED * MAX_CONTEXT, 2),
}  # fmt: skip
