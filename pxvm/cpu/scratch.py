"""How much scratch memory each opcode's kernel takes, by the extents of its operands.

Counted are the instructions that a program can reach; a descriptor that none of them names counts
for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.ops import BLOCK
from pxvm.core.tensor import Descriptor, DType
from pxvm.cpu.bounds import (
    BATCH,
    FACTS,
    FEW,
    LANES,
    NEAR,
    PACK,
    QUAD,
    RUN,
    SHARED,
    TILE,
    TILED,
    arranged,
    up,
)

Sizes = dict[str, int]
Needs = Callable[..., Sizes]
SCRATCH: dict[str, Needs] = {}


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
    if weight.dtype == DType.I4:
        size = arranged(weight.cols)
        return {
            "row0": FEW * RUN,
            "tile": RUN,
            "row1": weight.cols,
            "row2": weight.cols,
            "bits": 2 * weight.cols + size,
            "planes": x.rows * size if x.rows >= BATCH else 0,
        }
    padded, few = up(weight.cols, 64), x.rows < BATCH or not weight.per
    sizes = {"row0": PACK, "tile": PACK, "bits": 4 * padded}
    if not few:
        packed = min(PACK, up(weight.rows, LANES)) * weight.cols
        held = min(SHARED, x.rows) * PACK
        sizes |= {
            "row0": held,
            "bits": max(2 * QUAD * padded, packed + 64 * LANES, 2 * NEAR),
            "tile": max(TILED * PACK, held),
            "planes": (2 * x.rows + TILED) * padded,
            "sums": 3 * x.rows,
        }
    return sizes


@_takes("MatMul")
def _matmul(out: Descriptor, a: Descriptor, b: Descriptor) -> Sizes:
    return {"bits": 4 * a.cols}


@_takes("Conv2D")
def _conv2d(out: Descriptor, x: Descriptor, *, weight: Descriptor, **sizes: int) -> Sizes:
    return {"row0": weight.cols, "bits": 2 * x.cols + weight.cols}


@_takes("AttentionCausal", "AttentionFull", "AttentionWindow")
def _attention(
    out: Descriptor, q: Descriptor, *, k: Descriptor, v: Descriptor, **named: Any
) -> Sizes:
    context, width = k.extents[1], k.cols
    sizes = {
        "row0": BLOCK,
        "row1": width,
        "row2": width,
        "bits": up(width, 64) + 2 * width,
        "scores": BLOCK,
        "totals": BLOCK,
        "facts": FACTS,
        "weights": 2 * BLOCK,
        "tile": TILE * LANES,
        "key_scales": BLOCK,
        "value_scales": BLOCK,
    }
    if q.rows >= BATCH and k.per and v.per:
        padded = up(context, LANES)
        sizes |= {
            "row0": max(BLOCK, TILE // 2 * up(width, LANES)),
            "row1": TILE * up(width, LANES),
            "row3": TILE,
            "facts": TILE * FACTS,
            "weights": TILE * BLOCK,
            "totals": TILE * BLOCK,
            "queries": TILE * up(width, 64),
            "keys": padded * width,
            "values": up(width, LANES) * padded,
            "key_scales": context,
            "value_scales": context,
        }
    return sizes


def needed(program: TensorProgram) -> Sizes:
    """Elements of each buffer of ``context.BUFFERS`` that a program takes, at most.

    Counted is what can be reached: the instructions with every base that the verifier came by.
    """
    sizes: Sizes = {}
    for index, base in program.visits:
        instruction = program.instructions[index]
        if needs := SCRATCH.get(instruction.op.name):  # control flow takes none
            tensors, named = program.operands(instruction, base)
            for name, size in needs(*tensors, **named).items():
                sizes[name] = max(sizes.get(name, 0), size)
    return sizes
