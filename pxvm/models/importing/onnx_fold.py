"""Nodes of an ONNX graph whose inputs are all known, computed by ONNX's own reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pxvm.core.errors import PxvmError
from pxvm.models.importing.onnx_files import readable
from pxvm.models.importing.onnx_tensor import Tensor

# What comes out has as many elements as the first input, or fewer.
KEEPING = {
    "Cast", "DequantizeLinear", "Identity", "Neg", "Reciprocal", "Reshape", "Slice", "Sqrt",
    "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
BROADCASTING = {"Add", "Div", "Equal", "Mul", "Pow", "Sub", "Where"}
ROOM = 1 << 24  # elements that may be computed in any graph; more where its constants are larger
TIMES = 4  # as many as its constants have


class Folding:
    """Computes what is known, and no more elements in all than the file warrants.

    Args:
        opset: version of the operator set that the graph names.
        size: elements of the constants in the file.
    """

    def __init__(self, opset: int, size: int) -> None:
        self.opset, self.left = opset, max(ROOM, TIMES * size)

    def __call__(self, node: Any, attributes: Mapping[str, Any], inputs: list[Any]) -> Any:
        """The array that a node gives, or None when it cannot be known yet.

        Raises PxvmError when it would have too many elements, or is nonsense.
        """
        if node.op_type == "Shape" and inputs[0] is not None:
            shape = np.array(inputs[0].shape, np.int64)
            return shape[attributes.get("start", 0) : attributes.get("end")]
        if any(isinstance(i, Tensor) for i in inputs):
            return None
        for given in inputs:
            _check(given)
        size = self._size(node.op_type, attributes, inputs)
        if size is None:
            return None
        if size > self.left:
            raise PxvmError(f"of constants with {size} elements, where {self.left} are left")
        self.left -= size
        return self._computed(node, inputs)

    def _size(self, op: str, attributes: Mapping[str, Any], inputs: list[Any]) -> int | None:
        """Elements of the result, or a bound; None for what is not computed here."""
        if op == "Constant":
            return 0
        if op == "ConstantOfShape":
            return math.prod(max(0, int(n)) for n in inputs[0].reshape(-1))
        if op in KEEPING:
            return int(inputs[0].size)
        if op == "Concat":
            return int(sum(i.size for i in inputs))
        try:
            if op in BROADCASTING:
                return math.prod(np.broadcast_shapes(*(i.shape for i in inputs)))
            if op == "Gather":
                extent = inputs[0].shape[attributes.get("axis", 0)]
                return int(inputs[0].size // max(1, extent) * inputs[1].size)
        except (ValueError, IndexError) as error:
            raise PxvmError(f"of constants: {readable(error, 80)}") from None
        return None

    def _computed(self, node: Any, inputs: list[Any]) -> Any:
        from onnx import GraphProto, ValueInfoProto
        from onnx.reference import ReferenceEvaluator

        given: Any = {n: i for n, i in zip(node.input, inputs, strict=True) if n}
        graph = GraphProto(
            name="g",
            node=[node],
            input=[ValueInfoProto(name=name) for name in given],
            output=[ValueInfoProto(name=node.output[0])],
        )
        undefined: list[str] = []
        try:
            evaluator: Any = ReferenceEvaluator(graph, opsets={"": self.opset})
            with np.errstate(
                divide="call", invalid="call", call=lambda what, _: undefined.append(what)
            ):
                found = np.asarray(evaluator.run(None, given)[0])
        except Exception as error:  # whatever a library does with nonsense
            raise PxvmError(f"of constants: {readable(error, 80)}") from None
        _check(found)
        if undefined and found.dtype.kind in "biu":  # real ones have infinity, and what is none
            raise PxvmError(f"of constants, whose whole numbers are not defined: {undefined[0]}")
        return found


def _check(array: Any) -> None:
    """Raise PxvmError for what is neither numbers of a line nor truth values."""
    if array is not None and array.dtype.kind not in "biufV":
        raise PxvmError(f"of constants of {array.dtype}")
