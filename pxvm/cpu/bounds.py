"""How long the kernels' sums may become, and how much scratch memory each opcode takes.

All of it follows from what the rules admit: at most MAX_INNER elements in an exact sum, MAX_CONTEXT
tokens in a cache, MAX_EXTENT elements in a tensor. A kernel that sums in 32 bits takes the length
of its blocks from here; every other sum stays inside 64 bits, which ``SUMS`` shows one by one and
a test holds against the kernels' source. Scratch memory is what the instructions use that a
program can reach: descriptors that none of them names count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pxvm.core.dialect1 import TENSORS, Network
from pxvm.core.integer import WIDE
from pxvm.core.isa import Mode
from pxvm.core.ops import SAMPLE_CANDIDATES
from pxvm.core.program import Instruction
from pxvm.core.rules import MAX_CONTEXT, MAX_INNER
from pxvm.core.tensor import MAX_EXTENT, PARAMETERS, Descriptor, DType

# Largest magnitudes: a byte of a weight as it is stored, a signed byte, an activation of two
# planes, a table's 2^-x, the same as it meets the values, an element of I32 and of I16.
BYTE, PLANE, ACTIVATION, POWER, WEIGHED = 255, 128, 257 * 128, 1 << 16, 1 << 14
WORD, HALF = 1 << 31, 1 << 15


def fits(dtype: Any, term: int) -> int:
    """How many terms of at most ``term`` in magnitude a sum holds, in whatever order: 2^n."""
    return 1 << ((int(np.iinfo(dtype).max) // term).bit_length() - 1)


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
    "products.multiply_tile.row": _PRODUCT,
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
    "attention._weigh.tile": Sum(np.int32, BYTE * PLANE, REACH),
}  # fmt: skip


# Scratch memory

Sizes = dict[str, int]
Needs = Callable[..., Sizes]
SCRATCH: dict[str, Needs] = {}


def up(n: int, multiple: int) -> int:
    """``n`` rounded up to a multiple."""
    return (n + multiple - 1) // multiple * multiple


def _takes(*names: str) -> Callable[[Needs], Needs]:
    """Mark a function as what opcodes take: sizes of buffers, from operands and parameters."""

    def mark(function: Needs) -> Needs:
        SCRATCH.update(dict.fromkeys(names, function))
        return function

    return mark


def _rows(count: int) -> Needs:
    """So many buffers of int64, each as long as the longest row of an operand."""

    def needs(*tensors: Descriptor, **named: Any) -> Sizes:
        longest = max(d.cols for d in tensors)
        return {f"row{number}": longest for number in range(count)}

    return needs


for _count, _names in {
    0: "Copy Blit",
    1: "ReLU L2Norm Softmax Quantise Sum Max Mean Argmax Append Tail Push Fill",
    2: "Add Mul Less Equal Dot RoPEPairs RoPEHalves MeanPool MaxPool AvgPool Slice Concat",
    3: "Select RMSNorm LayerNorm TopK Sample",
}.items():
    _takes(*_names.split())(_rows(_count))


@_takes("Transpose")
def _transpose(out: Descriptor, x: Descriptor, **axes: int) -> Sizes:
    return {"row0": 4}


@_takes("Table", "Gate")
def _table(out: Descriptor, x: Descriptor, table: Descriptor) -> Sizes:
    return _rows(3)(x) | {"row3": 0 if table.per else (table.cols + 1) // 2}


@_takes("Embed")
def _embed(out: Descriptor, ids: Descriptor, table: Descriptor) -> Sizes:
    return {"row0": out.cols, "bits": table.cols}


@_takes("Linear")
def _linear(out: Descriptor, x: Descriptor, weight: Descriptor) -> Sizes:
    padded, few = up(weight.cols, 64), x.rows < BATCH or not weight.per
    sizes = {"row0": PACK, "bits": 2 * padded}
    if not few:
        planes = 2 if x.dtype == DType.ACT2 else 1
        packed = min(PACK, up(weight.rows, LANES)) * weight.cols
        sizes |= {
            "bits": max(2 * padded, packed),
            "tile": TILE * PACK,
            "planes": (x.rows * planes + TILE) * padded,
            "sums": 2 * x.rows,
        }
    return sizes


@_takes("MatMul")
def _matmul(out: Descriptor, a: Descriptor, b: Descriptor) -> Sizes:
    return {"bits": 4 * a.cols}


@_takes("Conv2D")
def _conv2d(out: Descriptor, x: Descriptor, *, weight: Descriptor, **sizes: int) -> Sizes:
    return {"row0": weight.cols, "bits": 2 * x.cols + weight.cols}


@_takes("AttentionCausal", "AttentionFull")
def _attention(
    out: Descriptor, q: Descriptor, *, k: Descriptor, v: Descriptor, **named: Any
) -> Sizes:
    context, width = k.extents[1], k.cols
    padded, scales = up(context, LANES), {"key_scales": context, "value_scales": context}
    sizes = {
        "row0": context,
        "row1": width,
        "bits": up(width, 64),
        "scores": context,
        "weights": 2 * padded,
        "tile": TILE * LANES,
        **scales,
    }
    if q.rows >= BATCH and k.per and v.per and context <= REACH:
        sizes |= {
            "row1": TILE // 2 * up(width, LANES),
            "row2": TILE * TILE,
            "weights": TILE * padded,
            "totals": TILE * padded,
            "queries": TILE * up(width, 64),
            "keys": padded * width,
            "values": up(width, LANES) * padded,
        }
    return sizes


def needed(network: Network) -> Sizes:
    """Elements of each buffer of ``context.SCRATCH`` that a program takes, at most.

    Counted is what can be reached: the instructions with every base that the verifier came by.
    """
    sizes: Sizes = {}
    for index, base in network.visits:
        instruction = network.instructions[index]
        if needs := SCRATCH.get(instruction.op.name):  # control flow takes none
            tensors, named = _operands(network, instruction, base)
            for name, size in needs(*tensors, **named).items():
                sizes[name] = max(sizes.get(name, 0), size)
    return sizes


def _operands(
    network: Network, instruction: Instruction, base: int
) -> tuple[list[Descriptor], dict[str, Any]]:
    """The tensors that an instruction names, and its parameters by name."""
    tensors: list[Descriptor] = []
    named: dict[str, Any] = {}
    for mode, operand in zip(instruction.op.operands, instruction.operands, strict=True):
        if mode in TENSORS:
            tensors.append(network.descriptors[network.index(operand, base)])
        elif mode is Mode.PARAMETERS:
            words = network.descriptors[network.index(operand, base)].parameters
            for (name, kind), word in zip(instruction.op.parameters, words, strict=False):
                number = kind in ("number", "scale")
                named[name] = word if number else network.descriptors[word]
    return tensors, named
