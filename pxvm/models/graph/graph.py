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

from pxvm.core.errors import LimitError, ProgramError
from pxvm.models.graph.quantise import Floats

Shape = tuple[int, ...]
MAX_ELEMENTS = 1 << 25  # of one value
MAX_WINDOW = 255  # largest side, stride and padding of a window


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor in a graph: the result of ``op`` on ``inputs``.

    Attributes:
        frac: fraction bits when given, 0 for whole numbers; None lets the lowering choose.
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

    @property
    def count(self) -> int:
        """Elements in all."""
        return math.prod(self.shape)

    def _then(self, op: str, shape: Shape | None = None, *more: Value, **named: Any) -> Value:
        if shape is None:
            shape = self.shape
            named.setdefault("picture", self.picture)
        return self.graph.add(op, shape, (self, *more), **named)

    def _width(self, cols: int) -> Shape:
        return (*self.shape[:-1], cols)

    def _moved(self, op: str, shape: Shape | None = None, *more: Value, **named: Any) -> Value:
        """A result that is whole where everything it is made of is."""
        if all(v.frac == 0 for v in (self, *more)):
            named.setdefault("frac", 0)
        return self._then(op, shape, *more, **named)

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
        if not 0 <= pad < size:
            raise ProgramError(f"expected padding of less than the window's {size}; found {pad}")
        picture = _windows(height + 2 * pad, width + 2 * pad, size, stride, len(w))
        return self._then(
            "conv2d", self._width(math.prod(picture)), frac=frac, picture=picture,
            settings={"size": size, "stride": stride, "pad": pad},
            arrays={"weight": w} | _optional("bias", bias, len(w)),
        )  # fmt: skip

    def matmul(self, other: Value, *, frac: int | None = None) -> Value:
        """x @ other.T of two computed tensors; other [n, k]."""
        if other.cols != self.cols:
            raise ProgramError(f"expected [n, {self.cols}] to multiply; found {other.shape}")
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
        """x + other: a value or an array of x's shape, of one row, one column or one element."""
        return self._moved("add", None, self._other(other))

    def mul(self, other: Any, *, frac: int | None = None) -> Value:
        """x * other, likewise."""
        named = {} if frac is None else {"frac": frac}
        return self._moved("mul", None, self._other(other), **named)

    def less(self, other: Any) -> Value:
        """1 where x < other, else 0; other likewise."""
        return self._then("less", None, self._other(other), frac=0)

    def _other(self, other: Any) -> Value:
        value = other if isinstance(other, Value) else self._constant(np.asarray(other, np.float64))
        row, column = value.rows == 1, value.shape[:-1] == self.shape[:-1]
        if not ((row or column) and value.cols in (1, self.cols)):
            raise ProgramError(f"expected {self.shape}, a row or a column; found {value.shape}")
        return value

    def _constant(self, array: Floats) -> Value:
        whole = self.frac == 0 and bool((array == np.rint(array)).all())
        shape = (1,) * (2 - array.ndim) + array.shape
        return self.graph.constant(array.reshape(shape), frac=0 if whole else None)

    def relu(self) -> Value:
        """max(x, 0)."""
        return self._moved("relu")

    def real(self) -> Value:
        """The same numbers, no longer known to be whole."""
        return self if self.frac is None else self._then("real")

    def trunc(self) -> Value:
        """The whole number next to x on the side of 0."""
        return self if self.frac == 0 else self._then("trunc", frac=0)

    def sigmoid(self) -> Value:
        """1 / (1 + e^-x)."""
        return self._then("sigmoid")

    def tanh(self) -> Value:
        """tanh(x)."""
        return self._then("tanh")

    def silu(self, *, frac: int | None = None) -> Value:
        """x * sigmoid(x)."""
        return self._then("silu", frac=frac)

    def gelu(self, *, tanh: bool = False, frac: int | None = None) -> Value:
        """x times the normal distribution's function, exact or in its tanh approximation."""
        return self._then("gelu_tanh" if tanh else "gelu", frac=frac)

    # Rows

    def rms_norm(self, weight: Any, epsilon: float = 1e-5, *, frac: int | None = None) -> Value:
        """x * weight / sqrt(mean(x^2) + epsilon)."""
        _check_epsilon(epsilon)
        arrays = _optional("weight", weight, self.cols)
        return self._then("rms_norm", frac=frac, settings={"epsilon": epsilon}, arrays=arrays)

    def layer_norm(
        self, weight: Any, bias: Any = None, epsilon: float = 1e-5, *, frac: int | None = None
    ) -> Value:
        """(x - mean) * weight / sqrt(variance + epsilon) + bias."""
        _check_epsilon(epsilon)
        arrays = _optional("weight", weight, self.cols) | _optional("bias", bias, self.cols)
        return self._then("layer_norm", frac=frac, settings={"epsilon": epsilon}, arrays=arrays)

    def softmax(self) -> Value:
        """exp(x) / sum of exp(x) over the row."""
        return self._then("softmax")

    def l2_normalise(self) -> Value:
        """x / sqrt(sum of x^2) over the row."""
        return self._then("l2_normalise")

    def mean(self) -> Value:
        """Mean of each row, one column."""
        return self._then("mean", self._width(1))

    def sum(self) -> Value:
        """Sum of each row, one column."""
        return self._moved("sum", self._width(1))

    def max(self) -> Value:
        """Largest of each row, one column."""
        return self._moved("max", self._width(1))

    def argmax(self) -> Value:
        """Index of the largest of each row, the lowest among equals; one column."""
        return self._then("argmax", self._width(1), frac=0)

    def mean_pool(self, span: int, lengths: Value) -> Value:
        """Mean over the first lengths[g] (at least 1) rows of each group g of ``span`` rows."""
        if self.rows % span:
            raise ProgramError(f"expected groups of {span} rows; found {self.shape}")
        shape = (self.rows // span, self.cols)
        return self._then("mean_pool", shape, lengths, settings={"span": span})

    # Pictures

    def as_picture(self, height: int, width: int, channels: int) -> Value:
        """The same elements, each row a picture."""
        shape = (self.count // (height * width * channels), height * width * channels)
        if math.prod(shape) != self.count:
            raise ProgramError(f"expected pictures of {shape[1]} columns; found {self.shape}")
        return self._moved("reshape", shape, picture=(height, width, channels))

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
        if math.prod(shape) != math.prod(self.shape):
            raise ProgramError(f"expected the elements of {self.shape}; found {shape}")
        return self._moved("reshape", shape)

    def transpose(self, *axes: int) -> Value:
        """Axes in the order given."""
        if sorted(axes) != list(range(len(self.shape))):
            raise ProgramError(f"expected each axis of {self.shape} once; found {axes}")
        shape = tuple(self.shape[a] for a in axes)
        return self._moved("transpose", shape, settings={"axes": axes})

    def slice(self, first: int, cols: int, step: int = 1) -> Value:
        """Columns first, first + step, ..."""
        if cols < 1 or step < 1 or first < 0 or first + step * (cols - 1) >= self.cols:
            raise ProgramError(
                f"expected columns of {self.shape}; found {cols} from {first} on by {step}"
            )
        return self._moved("slice", self._width(cols), settings={"first": first, "step": step})

    def concat(self, *others: Value) -> Value:
        """Columns of this value and of the others, side by side."""
        if any(o.shape[:-1] != self.shape[:-1] for o in others):
            raise ProgramError(f"expected rows of {self.shape}; found {[o.shape for o in others]}")
        return self._moved("concat", self._width(self.cols + sum(o.cols for o in others)), *others)


class Graph:
    """Values in the order in which they are computed, some of them outputs."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.outputs: dict[str, Value] = {}

    def add(self, op: str, shape: Shape, inputs: tuple[Value, ...], *, name: str = "",
            **named: Any) -> Value:  # fmt: skip
        """Append a value; ``Value``'s methods are the usual way."""
        index = len(self.values)
        if not 1 <= len(shape) <= 4 or min(shape) < 1:
            raise ProgramError(f"expected 1 to 4 extents of at least 1; found {list(shape)}")
        if math.prod(shape) > MAX_ELEMENTS:
            raise LimitError(f"expected at most {MAX_ELEMENTS} elements; found {list(shape)}")
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
        if ids.cols != 1 or ids.frac != 0 or weight.ndim != 2:
            raise ProgramError(
                f"expected whole ids [t, 1] and a table [v, d]; found {ids.shape}, {weight.shape}"
            )
        return self.add("embed", (ids.rows, weight.shape[1]), (ids,), frac=frac,
                        arrays={"weight": weight})  # fmt: skip

    def output(self, name: str, value: Value) -> Value:
        """Keep a value for the host under a name; returns what carries it."""
        if name in self.outputs:
            raise ProgramError(f"expected one output called {name!r}; found two")
        if value.op == "input" or value in self.outputs.values():
            value = value.reshape(*value.shape)  # a tensor has one name
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


def _check_epsilon(epsilon: float) -> None:
    if not 0 <= epsilon < math.inf:
        raise ProgramError(f"expected an epsilon of at least 0; found {epsilon}")


def _windows(
    height: int, width: int, size: int, stride: int, channels: int
) -> tuple[int, int, int]:
    if not (1 <= size <= MAX_WINDOW and 1 <= stride <= MAX_WINDOW):
        raise ProgramError(
            f"expected a window and a stride of 1 to {MAX_WINDOW}; found {size} and {stride}"
        )
    if size > height or size > width:
        raise ProgramError(f"a window of {size} does not fit into {height} x {width}")
    return (height - size) // stride + 1, (width - size) // stride + 1, channels
