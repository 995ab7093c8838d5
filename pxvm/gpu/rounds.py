"""How many rounds of its loops a lane makes in an instruction, where that may be many.

Mesa's llvmpipe ends the loops of a shader after 65,536 rounds in all, and says nothing. So what may
need more is refused on a device that a processor plays; a GPU makes as many as it must. Opcodes
that are not in the table make fewer by the verifier's rules: a lane has the 128th part of a row, or
a few elements, of at most 65,536 columns each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import DeviceError
from pxvm.core.ops import BLOCK, SAMPLE_CANDIDATES
from pxvm.core.tensor import Descriptor
from pxvm.gpu.groups import attention_groups
from pxvm.gpu.planned import MOST_GROUPS
from pxvm.gpu.shaders import FEW, LANES, ONE_BY_ONE

MOST = 60_000
REDUCTION = 40  # rounds of what lanes find out together, the trees of sums and maxima


def _up(a: int, b: int) -> int:
    return -(-a // b)


def _elements(out: Descriptor) -> int:
    """Elements of a result that a lane makes."""
    return _up(out.rows * out.cols, LANES * MOST_GROUPS)


def _norm(out: Descriptor, x: Descriptor, weight: Descriptor) -> int:
    return x.cols // weight.cols * (3 * _up(weight.cols, LANES) + REDUCTION)


def _topk(out: Descriptor, x: Descriptor, values: Descriptor) -> int:
    each = _up(x.cols, LANES)
    if out.cols <= ONE_BY_ONE:
        return out.cols * (each + REDUCTION // 2)
    sizes = (out.cols - 1).bit_length()
    strides = sizes * (sizes + 1) // 2
    return 8 * (each + 2 * 256) + each + strides * (_up(out.cols, LANES) + 1)


def _attention(out: Descriptor, q: Descriptor, *, k: Descriptor, **_: Any) -> int:
    quads = k.cols // 4
    across = min(quads, BLOCK)
    slices = BLOCK // across
    totals = _up(4 * across, LANES) * (slices + 1)
    block = _up(quads, 4) + _up(quads, across) * (_up(BLOCK, 4 * slices) + totals) + REDUCTION
    if out.rows > FEW:
        values = 4 * (4 + 1) + 4 * (1 + 2 * _up(256, LANES))
        together = quads + _up(quads, 8) + 2 * 20 + REDUCTION + _up(quads, 16) * values
        block = max(block, together)
    queries = out.rows * (out.cols // k.cols)
    return _up(queries, min(queries, attention_groups(k.cols))) * _up(k.extents[1], LANES) * block


def _sample(out: Descriptor, logits: Descriptor, **_: Any) -> int:
    return 12 * _up(logits.cols, LANES) + SAMPLE_CANDIDATES * (SAMPLE_CANDIDATES // LANES + 4)


def _matmul(out: Descriptor, a: Descriptor, b: Descriptor) -> int:
    return _elements(out) * _up(a.cols, 4)


def _conv2d(out: Descriptor, x: Descriptor, *, weight: Descriptor, size: int, **_: int) -> int:
    return _elements(out) * (weight.cols + size * (size + 1))


def _pool(out: Descriptor, x: Descriptor, *, size: int, **_: int) -> int:
    return _elements(out) * size * size


def _mean_pool(out: Descriptor, x: Descriptor, **_: Any) -> int:
    return _elements(out) * x.rows


ROUNDS: dict[str, Callable[..., int]] = {
    "TopK": _topk, "AttentionCausal": _attention, "AttentionFull": _attention,
    "AttentionWindow": _attention, "RMSNorm": _norm, "Sample": _sample,
    "MatMul": _matmul, "Conv2D": _conv2d, "MaxPool": _pool, "AvgPool": _pool,
    "MeanPool": _mean_pool,
}  # fmt: skip


def check_rounds(program: TensorProgram, device: str) -> None:
    """Raises DeviceError that names the device where an instruction makes more than ``MOST``."""
    for index, base in program.visits:
        instruction = program.instructions[index]
        if count := ROUNDS.get(instruction.op.name):
            tensors, named = program.operands(instruction, base)
            if (found := count(*tensors, **named)) > MOST:
                raise DeviceError(
                    f"{device}: instruction {index} ({instruction.op.name}): expected at most"
                    f" {MOST:,} rounds of a loop, which is what a device played by a processor"
                    f" makes; found {found:,}; use the device cpu"
                )
