"""How many workgroups an instruction is dispatched with, and what they need beside the tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pxvm.core import ops
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.parts import Instruction
from pxvm.core.tensor import Descriptor, DType
from pxvm.gpu import shaders
from pxvm.gpu.shaders import LANES

SCRATCH = 1 << 22  # words that attention may take for all of its workgroups
MOST_QUERIES = 2048  # workgroups of attention
UNIT_TILES = 128  # of a product by matrix units at least: of fewer, many of them have nothing to do
FEW_COLUMNS, MOST_OF_FEW = 8, 1024  # columns a workgroup of a product of few rows, and workgroups


def spread(elements: int) -> int:
    """Workgroups for so many elements, one a lane."""
    return -(-elements // LANES)


BY_ROWS = (
    "RMSNorm", "LayerNorm", "L2Norm", "Softmax", "Quantise", "Sum", "Max", "Mean", "Argmax", "TopK",
    "Dot",
)  # fmt: skip


def groups_of(
    instruction: Instruction,
    tensors: list[Descriptor],
    named: dict[str, Any],
    rows: Callable[[Descriptor], int],
    units: bool = False,
) -> tuple[str, int]:
    """The operation that an instruction is dispatched as, and workgroups that it has work for.

    Args:
        named: its parameters.
        rows: in use, of a tensor; where one has none there are no workgroups.
        units: products may go by matrix units.
    """
    op = instruction.op
    operation = shaders.OPERATIONS[op.code]
    if not all(rows(d) for d in tensors):
        return operation, 0
    if units and op.name == "Linear" and tensors[2].dtype == DType.I8:
        tall = shaders.UNIT_ROWS // _planes(tensors[1])
        tiles = -(-rows(tensors[0]) // tall) * -(-tensors[0].cols // shaders.UNIT_COLS)
        if tiles >= UNIT_TILES:
            return shaders.BY_UNITS, tiles
    return operation, _groups(op.name, tensors, named, rows)


def _groups(
    name: str,
    tensors: list[Descriptor],
    named: dict[str, Any],
    rows: Callable[[Descriptor], int],
) -> int:
    first, second = tensors[0], tensors[1]
    if name in BY_ROWS:
        return rows(first)
    if name == "Sample":
        return 1
    if name == "Append":
        return -(-rows(second) * first.extents[0] // shaders.TOGETHER)
    if name.startswith("Attention"):
        width: int = named["k"].cols
        return min(rows(first) * (first.cols // width), attention_groups(width))
    if name == "Linear":
        return _linear_groups(rows(first), first.cols, _planes(second), tensors[2].dtype)
    if name in ("Copy", "Transpose"):
        return spread(second.rows * second.cols)
    if name == "Blit":
        font = tensors[2].extents
        return spread(second.rows * second.cols * font[1] * font[2])
    if name in ("Push", "Concat"):
        return spread(rows(second) * second.cols)
    return spread(rows(first) * first.cols)


def _planes(d: Descriptor) -> int:
    return 2 if d.dtype == DType.ACT2 else 1


def attention_groups(width: int) -> int:
    return max(min(SCRATCH // (width + width // 4), MOST_QUERIES), 1)


def _linear_groups(rows: int, cols: int, planes: int, weight: DType) -> int:
    """Workgroups of a product: of few rows a group takes columns, of many a tile."""
    if rows <= shaders.FEW:
        return min(-(-cols // FEW_COLUMNS), MOST_OF_FEW)
    if weight == DType.I4:
        return -(-rows // (LANES // 4)) * -(-cols // shaders.WIDE)
    return -(-rows // (shaders.WIDE // planes)) * -(-cols // shaders.SPAN)


def scratch_words(program: TensorProgram, groups: Callable[[int], int]) -> int:
    """Words that instructions of a program work in.

    Args:
        groups: workgroups that attention has at most, for a head's width.
    """
    most = 64
    for index, base in program.visits:
        instruction = program.instructions[index]
        tensors, named = program.operands(instruction, base)
        name = instruction.op.name
        if name == "Sample":
            most = max(most, tensors[1].cols + 2 * ops.SAMPLE_CANDIDATES)
        elif name.startswith("Attention"):
            width = named["k"].cols
            most = max(most, groups(width) * (width + width // 4))
    return most
