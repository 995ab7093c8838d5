"""A small typed graph of tensors and operations, in real numbers.

>>> g = Graph()
>>> x = g.input("x", (8, 64))
>>> hidden = x.linear(w1, b1).relu()
>>> logits = g.output("logits", hidden.linear(w2, b2))
>>> g.output("class", logits.argmax())

Shapes are (..., columns): operations work along the last extent, the others count rows. A picture
is a row of height * width * channels columns in that order. ``floats.evaluate`` computes a graph
in float64, ``lowering.lower`` makes it a program. Loops over equal layers are written with
``NetworkBuilder`` itself, as ``llama`` and ``bert`` do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pxvm.core.errors import ProgramError
from pxvm.models.graph.quantise import Floats

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor in a graph: the result of ``op`` on ``inputs``.

    Attributes:
        frac: fraction bits when given; None lets the lowering choose.
        settings: numbers of the operation (size, stride, heads, ...).
        arrays: its constant arrays (weight, bias, table), float64.
        picture: (height, width, channels) when the columns are a picture.
    """

    graph: Graph
    index: int
    name: str
    op: str
    shape: Shape
    inputs: tuple[Value, ...] = ()
    frac: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Floats] = field(default_factory=dict)
    picture: tuple[int, int, int] | None = None

    @property
    def cols(self) -> int:
        """Columns: the last extent."""
        return self.shape[-1]

    @property
    def rows(self) -> int:
        """Rows: the product of the other extents."""
        return math.prod(self.shape[:-1])

    def _then(self, op: str, shape: Shape | None = None, *more: Value, **named: Any) -> Value:
        if shape is None:
            shape = self.shape
            named.setdefault("picture", self.picture)
        return self.graph.add(op, shape, (self, *more), **named)

    def _width(self, cols: int) -> Shape:
        return (*self.shape[:-1], cols)

    # Products

    def linear(
        self, weight: Any, bias: Any = None, *, name: str = "", frac: int | None = None
    ) -> Value:
        """x @ weight.T + bias; weight [n, k], bias [n]."""
        w = _matrix(weight, self.cols)
        arrays = {"weight": w} | _optional("bias", bias, len(w))
        return self._then("linear", self._width(len(w)), name=name, frac=frac, arrays=arrays)

    def conv2d(
        self, weight: Any, bias: Any = None, *, stride: int = 1, pad: int = 0,
        frac: int | None = None,
    ) -> Value:  # fmt: skip
        """Convolution; weight [channels out, size, size, channels in], bias [channels out]."""
        w = np.asarray(weight, np.float64)
        height, width, channels = self._picture()
        if w.ndim != 4 or w.shape[1] != w.shape[2] or w.shape[3] != channels:
            raise ProgramError(f"expected a weight [n, size, size, {channels}]; found {w.shape}")
        size = w.shape[1]
        picture = _windows(height + 2 * pad, width + 2 * pad, size, stride, len(w))
        return self._then(
            "conv2d", self._width(math.prod(picture)), frac=frac, picture=picture,
            settings={"size": size, "stride": stride, "pad": pad},
            arrays={"weight": w} | _optional("bias", bias, len(w)),
        )  # fmt: skip

    def matmul(self, other: Value, *, frac: int | None = None) -> Value:
        """x @ other.T of two computed tensors; other [n, k]."""
        return self._then("matmul", self._width(other.rows), other, frac=frac)

    def attention(
        self, k: Value, v: Value, heads: int, kv_heads: int | None = None, *,
        causal: bool = False, span: int | None = None, frac: int | None = None,
    ) -> Value:  # fmt: skip
        """softmax(q k / sqrt(w)) v for each head; q [t, heads*w], k and v [t, kv_heads*w].

        Not causal: inside each group of ``span`` rows, all rows by default.
        """
        groups, width = kv_heads or heads, self.cols // heads
        if self.cols % heads or heads % groups or k.shape != v.shape or k.cols != groups * width:
            raise ProgramError(
                f"expected q of {heads} heads, k and v of {groups}, which divide them; found"
                f" {self.shape}, {k.shape} and {v.shape}"
            )
        settings = {"heads": heads, "kv_heads": groups, "causal": causal,
                    "span": span or self.rows}  # fmt: skip
        return self._then("attention", None, k, v, frac=frac, settings=settings)

    # Element by element

    def add(self, other: Any) -> Value:
        """x + other: a value or an array of x's shape, of one row, or of one element."""
        return self._then("add", None, self._other(other))

    def mul(self, other: Any, *, frac: int | None = None) -> Value:
        """x * other, likewise."""
        return self._then("mul", None, self._other(other), frac=frac)

    def _other(self, other: Any) -> Value:
        if isinstance(other, Value):
            return other
        array = np.asarray(other, np.float64)
        return self.graph.constant(array.reshape(-1, array.shape[-1] if array.ndim else 1))

    def relu(self) -> Value:
        """max(x, 0)."""
        return self._then("relu")

    def sigmoid(self) -> Value:
        """1 / (1 + e^-x)."""
        return self._then("sigmoid", frac=16)

    def tanh(self) -> Value:
        """tanh(x)."""
        return self._then("tanh", frac=16)

    def silu(self, *, frac: int | None = None) -> Value:
        """x * sigmoid(x)."""
        return self._then("silu", frac=frac)

    def gelu(self, *, tanh: bool = False, frac: int | None = None) -> Value:
        """x times the normal distribution's function, exact or in its tanh approximation."""
        return self._then("gelu_tanh" if tanh else "gelu", frac=frac)

    # Rows

    def rms_norm(self, weight: Any, epsilon: float = 1e-5, *, frac: int | None = None) -> Value:
        """x * weight / sqrt(mean(x^2) + epsilon)."""
        arrays = _optional("weight", weight, self.cols)
        return self._then("rms_norm", frac=frac, settings={"epsilon": epsilon}, arrays=arrays)

    def layer_norm(
        self, weight: Any, bias: Any = None, epsilon: float = 1e-5, *, frac: int | None = None
    ) -> Value:
        """(x - mean) * weight / sqrt(variance + epsilon) + bias."""
        arrays = _optional("weight", weight, self.cols) | _optional("bias", bias, self.cols)
        return self._then("layer_norm", frac=frac, settings={"epsilon": epsilon}, arrays=arrays)

    def softmax(self) -> Value:
        """exp(x) / sum of exp(x) over the row."""
        return self._then("softmax", frac=24)

    def l2_normalise(self) -> Value:
        """x / sqrt(sum of x^2) over the row."""
        return self._then("l2_normalise", frac=24)

    def mean(self) -> Value:
        """Mean of each row, one column."""
        return self._then("mean", self._width(1))

    def sum(self) -> Value:
        """Sum of each row, one column."""
        return self._then("sum", self._width(1))

    def max(self) -> Value:
        """Largest of each row, one column."""
        return self._then("max", self._width(1))

    def argmax(self) -> Value:
        """Index of the largest of each row, the lowest among equals; one column."""
        return self._then("argmax", self._width(1), frac=0)

    def mean_pool(self, span: int, lengths: Value) -> Value:
        """Mean over the first lengths[g] (at least 1) rows of each group g of ``span`` rows."""
        shape = (self.rows // span, self.cols)
        return self._then("mean_pool", shape, lengths, settings={"span": span})

    # Pictures

    def as_picture(self, height: int, width: int, channels: int) -> Value:
        """The same columns, seen as a picture."""
        return self._then("reshape", picture=(height, width, channels))

    def max_pool(self, size: int = 2, stride: int | None = None) -> Value:
        """Largest of each window of size x size."""
        return self._pool("max_pool", size, stride or size)

    def avg_pool(self, size: int = 2, stride: int | None = None) -> Value:
        """Mean of each window of size x size."""
        return self._pool("avg_pool", size, stride or size)

    def _pool(self, op: str, size: int, stride: int) -> Value:
        height, width, channels = self._picture()
        picture = _windows(height, width, size, stride, channels)
        settings = {"size": size, "stride": stride}
        return self._then(op, self._width(math.prod(picture)), picture=picture, settings=settings)

    def _picture(self) -> tuple[int, int, int]:
        if self.picture is None or math.prod(self.picture) != self.cols:
            raise ProgramError(f"{self.name}: expected a picture; say its size with as_picture")
        return self.picture

    # Moving

    def reshape(self, *shape: int) -> Value:
        """The same elements in another shape, at most four extents."""
        return self._then("reshape", shape)

    def transpose(self, *axes: int) -> Value:
        """Axes in the order given."""
        return self._then("transpose", tuple(self.shape[a] for a in axes), settings={"axes": axes})

    def slice(self, first: int, cols: int, step: int = 1) -> Value:
        """Columns first, first + step, ..."""
        return self._then("slice", self._width(cols), settings={"first": first, "step": step})

    def concat(self, *others: Value) -> Value:
        """Columns of this value and of the others, side by side."""
        return self._then("concat", self._width(self.cols + sum(o.cols for o in others)), *others)


class Graph:
    """Values in the order in which they are computed, some of them outputs."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.outputs: dict[str, Value] = {}

    def add(self, op: str, shape: Shape, inputs: tuple[Value, ...], *, name: str = "",
            **named: Any) -> Value:  # fmt: skip
        """Append a value; ``Value``'s methods are the usual way."""
        index = len(self.values)
        value = Value(self, index, name or f"{op}.{index}", op, tuple(shape), inputs, **named)
        self.values.append(value)
        return value

    def input(self, name: str, shape: Shape, *, frac: int | None = None,
              picture: tuple[int, int, int] | None = None) -> Value:  # fmt: skip
        """A tensor that the host writes before each run; ``frac=0`` for indices and lengths."""
        return self.add("input", shape, (), name=name, frac=frac, picture=picture)

    def constant(self, array: Any, *, frac: int | None = None) -> Value:
        """A constant tensor."""
        data = np.asarray(array, np.float64)
        return self.add("constant", data.shape, (), frac=frac, arrays={"data": data})

    def embed(self, ids: Value, table: Any, *, frac: int | None = None) -> Value:
        """Rows of a table [v, d] by index; ids [t, 1]."""
        weight = np.asarray(table, np.float64)
        return self.add("embed", (ids.rows, weight.shape[1]), (ids,), frac=frac,
                        arrays={"weight": weight})  # fmt: skip

    def output(self, name: str, value: Value) -> Value:
        """Keep a value for the host under a name; returns it."""
        self.outputs[name] = value
        return value


def _matrix(weight: Any, cols: int) -> Floats:
    array = np.asarray(weight, np.float64)
    if array.ndim != 2 or array.shape[1] != cols:
        raise ProgramError(f"expected a weight [n, {cols}]; found {array.shape}")
    return array


def _optional(name: str, values: Any, count: int) -> dict[str, Floats]:
    if values is None:
        return {}
    array = np.asarray(values, np.float64).reshape(-1)
    if len(array) != count:
        raise ProgramError(f"expected a {name} [{count}]; found {array.shape}")
    return {name: array}


def _windows(
    height: int, width: int, size: int, stride: int, channels: int
) -> tuple[int, int, int]:
    if size > height or size > width:
        raise ProgramError(f"a window of {size} does not fit into {height} x {width}")
    return (height - size) // stride + 1, (width - size) // stride + 1, channels
