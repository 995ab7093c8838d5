"""Nodes of an ONNX graph whose inputs are all known, computed by ONNX's own reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pxvm.core.errors import PxvmError

# What comes out is no larger than what goes in.
KEEPING = {
    "Cast", "Concat", "DequantizeLinear", "Identity", "Neg", "Reciprocal", "Reshape",
    "Slice", "Sqrt", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
# What comes out may be as large as the product of what goes in.
GROWING = {"Add", "Div", "Equal", "Gather", "Mul", "Pow", "Sub", "Where"}
MAX_GROWN = 1 << 22


def fold(node: Any, attributes: Any, inputs: list[Any]) -> Any:
    """The array that a node gives, or None when it cannot be known yet.

    Raises PxvmError when it would be larger than its inputs warrant.
    """
    if node.op_type == "Shape" and inputs[0] is not None:
        shape = np.array(inputs[0].shape, np.int64)
        return shape[attributes.get("start", 0) : attributes.get("end")]
    if any(i is not None and not isinstance(i, np.ndarray) for i in inputs):
        return None
    if node.op_type == "ConstantOfShape":
        _check(math.prod(max(0, int(n)) for n in inputs[0].reshape(-1)))
    elif node.op_type in GROWING:
        sizes = sorted(i.size for i in inputs if i is not None)
        _check(math.prod(sizes[:-1]) * (sizes[-1] if sizes[-2:-1] != [1] else 1))
    elif node.op_type != "Constant" and node.op_type not in KEEPING:
        return None
    return _computed(node, inputs)


def _check(size: int) -> None:
    if size > MAX_GROWN:
        raise PxvmError(f"of constants with {size} elements, at most {MAX_GROWN}")


def _computed(node: Any, inputs: list[Any]) -> Any:
    from onnx.reference import ReferenceEvaluator

    given: Any = {n: i for n, i in zip(node.input, inputs, strict=True) if n}
    try:
        evaluator: Any = ReferenceEvaluator(node)
        return np.asarray(evaluator.run(None, given)[0])
    except Exception as error:  # whatever a library does with nonsense
        raise PxvmError(f"of constants: {error!s:.80}") from None
