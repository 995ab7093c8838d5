"""What the operations of an ONNX graph work on: a node, and tensors with ONNX's shape and type.

A tensor of rank 2 to 4 is a value of the same shape; a scalar and a vector are one row. A picture
is (n, channels, height, width) in ONNX and rows of height * width * channels for the instructions
that look at windows: a tensor is turned to and fro where it must be, once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pxvm.core.errors import PxvmError
from pxvm.models.graph.graph import Graph, Shape, Value

REAL = {"float16", "bfloat16", "float32", "float64"}
WHOLE = {"int32", "int64"}  # with which can be computed: smaller ones would wrap around
OTHERS = {"bool", "int8", "uint8", "int16", "uint16", "uint32", "uint64"}


class UnsupportedError(PxvmError, ValueError):
    """A graph asks for what no instruction does."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A computed value.

    Attributes:
        shape: what ONNX says.
        kind: the name of ONNX's element type as NumPy writes it.
        picture: the value's rows are height * width * channels.
        other: the same tensor laid out in the other way, where it was asked for.
    """

    value: Value
    shape: Shape
    kind: str
    picture: bool = False
    other: list[Tensor] = field(default_factory=list)

    def like(self, value: Value) -> Tensor:
        """What has this tensor's shape, kind and layout."""
        return Tensor(value, self.shape, self.kind, self.picture)

    def shaped(self, shape: Shape) -> Tensor:
        """The same elements under another shape. Raises UnsupportedError."""
        if len(shape) > 4 or min(shape, default=1) < 1 or math.prod(shape) != self.value.count:
            raise UnsupportedError(f"of {list(self.shape)}, to {list(shape)}")
        if shape == self.shape:
            return self
        return Tensor(as_shape(self.plain().value, rows_of(shape)), shape, self.kind)

    def plain(self) -> Tensor:
        """The tensor in ONNX's order of elements."""
        if not self.picture:
            return self
        if not self.other:
            n, c, h, w = self.shape
            value = self.value
            if c > 1 and h * w > 1:
                value = value.reshape(n, h, w, c).transpose(0, 3, 1, 2)
            self.other.append(Tensor(as_shape(value, self.shape), self.shape, self.kind))
            self.other[0].other.append(self)
        return self.other[0]

    def pixels(self) -> Tensor:
        """The tensor as pictures. Raises UnsupportedError unless its rank is 4."""
        if len(self.shape) != 4:
            raise UnsupportedError(f"of {list(self.shape)}")
        if self.picture:
            return self
        if not self.other:
            c, h, w = self.shape[1:]
            value = self.value.transpose(0, 2, 3, 1) if c > 1 and h * w > 1 else self.value
            turned = value.as_picture(h, w, c)
            self.other.append(Tensor(turned, self.shape, self.kind, picture=True))
            self.other[0].other.append(self)
        return self.other[0]


class Node(dict[str, Any]):
    """A node's attributes by name; what must have one value is checked with ``only``."""

    def __init__(self, graph: Graph, opset: int, attributes: Mapping[str, Any]) -> None:
        super().__init__(attributes)
        self.graph, self.opset = graph, opset

    def only(self, **wanted: Any) -> None:
        """Raise UnsupportedError unless each attribute is missing or as wanted."""
        for name, value in wanted.items():
            found = self.get(name, value)
            if found != value:
                raise UnsupportedError(f"with {name} {found!r:.40}")

    def flag(self, name: str, default: int = 0) -> bool:
        """An attribute that is 0 or 1; UnsupportedError for anything else."""
        if (value := self.get(name, default)) not in (0, 1):
            raise UnsupportedError(f"with {name} {value!r:.40}")
        return bool(value)


def rows_of(shape: Shape) -> Shape:
    """The shape of the value that holds a tensor of a shape."""
    return (1,) * (2 - len(shape)) + shape


def as_shape(value: Value, shape: Shape) -> Value:
    """The value in a shape, itself where it has it."""
    return value if value.shape == shape and value.picture is None else value.reshape(*shape)


def kind_of(x: Any) -> str:
    """The element type's name."""
    return x.kind if isinstance(x, Tensor) else str(x.dtype)


def known(name: str, array: Any) -> Any:
    """The array, or None where it is left out; UnsupportedError when it is computed."""
    if isinstance(array, Tensor):
        raise UnsupportedError(f"with a computed {name}")
    return array


def weights(name: str, array: Any) -> Any:
    """A known array of real numbers as float64, or None."""
    if known(name, array) is None:
        return None
    if str(array.dtype) not in REAL:
        raise UnsupportedError(f"with a {name} of {array.dtype}")
    return np.asarray(array, np.float64)


def computed(x: Any, *kinds: str) -> Tensor:
    """A computed tensor, of one of the kinds where there are any. Raises UnsupportedError."""
    if not isinstance(x, Tensor):
        raise UnsupportedError("of constants")
    if kinds and x.kind not in kinds:
        raise UnsupportedError(f"of {x.kind}")
    return x


def axis_of(shape: Shape, axis: Any, beyond: int = 0) -> int:
    """An axis counted from the front; UnsupportedError when there is none of that number."""
    rank = len(shape)
    if not -rank <= axis < rank + beyond:
        raise UnsupportedError(f"along axis {axis} of {rank}")
    return int(axis % rank) if axis < rank else int(axis)


def axes_of(shape: Shape, axes: Sequence[Any]) -> list[int]:
    """Axes counted from the front, in order; UnsupportedError when one is missing or twice."""
    found = sorted(axis_of(shape, int(axis)) for axis in axes)
    if len(set(found)) < len(found):
        raise UnsupportedError(f"along axes {list(axes)} of {len(shape)}")
    return found


def order_with_last(shape: Shape, axes: Sequence[int]) -> tuple[int, ...]:
    """All axes, those given behind the others."""
    return (*(i for i in range(len(shape)) if i not in axes), *axes)


def merged(x: Tensor, axes: Sequence[int]) -> Value:
    """Rows along some axes: a value [all others, those in one]."""
    order, value = order_with_last(x.shape, axes), x.plain().value
    if order != tuple(range(len(order))):
        value = value.transpose(*order)
    count = math.prod(x.shape[a] for a in axes)
    return as_shape(value, (value.count // count, count))


def spread(x: Tensor, value: Value, axes: Sequence[int]) -> Tensor:
    """A value as ``merged`` gives it, with x's shape again."""
    order = order_with_last(x.shape, axes)
    turned = as_shape(value, rows_of(tuple(x.shape[a] for a in order)))
    if order != tuple(range(len(order))):
        turned = turned.transpose(*(order.index(i) for i in range(len(order))))
    return Tensor(turned, x.shape, x.kind)


def constant_for(x: Tensor, array: Any) -> Any:
    """A constant in x's layout: one element, a row, a column or all of x.

    Raises UnsupportedError when it would have to make x larger.
    """
    full = array.reshape((1,) * (len(x.shape) - array.ndim) + array.shape)
    if full.size == 1:
        return full.reshape(1, 1)
    try:
        if x.picture:
            full = np.broadcast_to(full, (full.shape[0], *x.shape[1:]))
            return full.transpose(0, 2, 3, 1).reshape(len(full), -1)
        if full.size == full.shape[-1]:
            return np.broadcast_to(full, (*full.shape[:-1], x.value.cols)).reshape(1, -1)
        cols = 1 if full.shape[-1] == 1 else x.shape[-1]
        return np.broadcast_to(full, (*x.shape[:-1], cols)).reshape(*x.value.shape[:-1], cols)
    except ValueError:
        raise UnsupportedError(f"of {list(x.shape)} and constants {list(array.shape)}") from None
