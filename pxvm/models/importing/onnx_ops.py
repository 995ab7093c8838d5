"""What each operation of ONNX is in a ``Graph``: one function an operation.

A function gets the graph, the node's attributes and its inputs: ``Tensor`` for what is computed,
an array for what is known, None for what is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pxvm.core.errors import PxvmError
from pxvm.models.graph.graph import Graph, Shape, Value


class UnsupportedError(PxvmError, ValueError):
    """A graph asks for what no instruction does."""


@dataclass(frozen=True)
class Tensor:
    """A computed value with the shape that ONNX gives it; ``picture``: columns are h * w * c."""

    value: Value
    shape: Shape
    picture: bool = False

    def plain(self) -> Value:
        """The value in ONNX's order of elements."""
        if not self.picture:
            return self.value
        n, c, h, w = self.shape
        if c == 1 or h * w == 1:
            return self.value
        return self.value.reshape(n, h * w, c).transpose(0, 2, 1).reshape(n, c * h * w)


class Attributes(dict[str, Any]):
    """A node's attributes; what must have one value is checked with ``only``."""

    def only(self, **wanted: Any) -> None:
        """Raise UnsupportedError unless each attribute is missing or as wanted."""
        for name, value in wanted.items():
            found = self.get(name, value)
            if found != value:
                raise UnsupportedError(f"with {name} {found}")


def _known(name: str, array: Any) -> Any:
    if array is not None and not isinstance(array, np.ndarray):
        raise UnsupportedError(f"with a computed {name}")
    return array


def _computed(x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        raise UnsupportedError("of constants")
    return x


def _same(change: Callable[[Value], Value]) -> Callable[..., Tensor]:
    """An operation on each element."""
    return lambda graph, attributes, x, *_: Tensor(
        change(_computed(x).value), x.shape, picture=x.picture
    )


def _last(attributes: Attributes, x: Tensor, default: int = -1) -> None:
    """Raise UnsupportedError unless the axis is the last of a tensor that is no picture."""
    axis = attributes.get("axis", default)
    if x.picture or axis not in (-1, len(x.shape) - 1):
        raise UnsupportedError(f"along axis {axis} of {len(x.shape)}")


def _row(x: Tensor, array: Any) -> Any:
    """A constant as one row of x's columns; UnsupportedError when its rows differ."""
    shape = np.shape(array)
    if math.prod(shape) == 1:
        return np.reshape(array, (1, 1))
    wanted = (1, *x.shape[1:]) if x.picture else (*[1] * (len(x.shape) - 1), x.shape[-1])
    try:
        full = np.broadcast_to(array, wanted)
    except ValueError:
        raise UnsupportedError(f"of {list(x.shape)} and constants {list(shape)}") from None
    return (full.transpose(0, 2, 3, 1) if x.picture else full).reshape(1, -1)


def _pair(graph: Graph, attributes: Attributes, a: Any, b: Any, op: str) -> Tensor:
    """Add or Mul of two tensors of one shape, or of a tensor and a row of constants."""
    if isinstance(a, np.ndarray):
        a, b = b, a
    if isinstance(b, np.ndarray):
        return Tensor(getattr(a.value, op)(_row(a, b)), a.shape, picture=a.picture)
    if a.shape != b.shape or a.picture != b.picture:
        raise UnsupportedError(f"of {list(a.shape)} and {list(b.shape)}")
    return Tensor(getattr(a.value, op)(b.value), a.shape, picture=a.picture)


def _add(graph: Graph, attributes: Attributes, a: Any, b: Any) -> Tensor:
    return _pair(graph, attributes, a, b, "add")


def _mul(graph: Graph, attributes: Attributes, a: Any, b: Any) -> Tensor:
    return _pair(graph, attributes, a, b, "mul")


def _negative(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return np.asarray(-x)
    return Tensor(x.value.mul(-1.0), x.shape, picture=x.picture)


def _sub(graph: Graph, attributes: Attributes, a: Any, b: Any) -> Tensor:
    return _add(graph, attributes, a, _negative(b))


def _div(graph: Graph, attributes: Attributes, a: Any, b: Any) -> Tensor:
    divisor = _known("divisor", b)
    if not np.all(divisor):
        raise UnsupportedError("by zero")
    return _mul(graph, attributes, a, np.asarray(1.0 / divisor))


def _linear(x: Tensor, weight: Any, bias: Any = None) -> Tensor:
    """x @ weight.T + bias of weight [n, k]."""
    if x.picture or weight.ndim != 2:
        raise UnsupportedError(f"of {list(x.shape)} and {list(weight.shape)}")
    if bias is not None:
        bias = np.broadcast_to(np.asarray(bias, np.float64).reshape(-1), (len(weight),))
    return Tensor(x.value.linear(weight, bias), (*x.shape[:-1], len(weight)))


def _gemm(graph: Graph, attributes: Attributes, a: Any, b: Any, c: Any = None) -> Tensor:
    attributes.only(transA=0)
    weight = np.asarray(_known("weight", b), np.float64) * attributes.get("alpha", 1.0)
    bias = _known("bias", c)
    if bias is not None:
        if bias.size not in (1, bias.shape[-1]):
            raise UnsupportedError(f"with a bias {list(bias.shape)}")
        bias = bias * attributes.get("beta", 1.0)
    return _linear(_computed(a), weight if attributes.get("transB") else weight.T, bias)


def _matmul(graph: Graph, attributes: Attributes, a: Any, b: Any) -> Tensor:
    a = _computed(a)
    if isinstance(b, np.ndarray):
        return _linear(a, b.T)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise UnsupportedError(f"of computed {list(a.shape)} and {list(b.shape)}")
    return Tensor(a.value.matmul(b.value.transpose(1, 0)), (a.shape[0], b.shape[1]))


def _square(attributes: Attributes, name: str, default: int) -> int:
    values = attributes.get(name) or [default]
    if len(set(values)) != 1:
        raise UnsupportedError(f"with {name} {list(values)}")
    return int(values[0])


def _window(attributes: Attributes, x: Any) -> tuple[int, int]:
    """(stride, pad) of a square window on a picture."""
    if not _computed(x).picture:
        raise UnsupportedError(f"of {list(x.shape)}")
    attributes.only(auto_pad=b"NOTSET", ceil_mode=0)
    if _square(attributes, "dilations", 1) != 1:
        raise UnsupportedError("with dilations")
    return _square(attributes, "strides", 1), _square(attributes, "pads", 0)


def _picture(x: Tensor, value: Value) -> Tensor:
    assert value.picture is not None
    height, width, channels = value.picture
    return Tensor(value, (x.shape[0], channels, height, width), picture=True)


def _conv(graph: Graph, attributes: Attributes, x: Any, w: Any, b: Any = None) -> Tensor:
    attributes.only(group=1)
    stride, pad = _window(attributes, x)
    weight = np.asarray(_known("weight", w), np.float64).transpose(0, 2, 3, 1)
    return _picture(x, x.value.conv2d(weight, _known("bias", b), stride=stride, pad=pad))


def _pool(name: str) -> Callable[..., Tensor]:
    def build(graph: Graph, attributes: Attributes, x: Any) -> Tensor:
        stride, pad = _window(attributes, x)
        if pad:
            raise UnsupportedError("with pads")
        size = _square(attributes, "kernel_shape", 1)
        return _picture(x, getattr(x.value, name)(size, stride))

    return build


def _global_average(graph: Graph, attributes: Attributes, x: Any) -> Tensor:
    if not _computed(x).picture:
        raise UnsupportedError(f"of {list(x.shape)}")
    n, c, h, w = x.shape
    mean = x.value.reshape(n, h * w, c).transpose(0, 2, 1).mean().reshape(n, c)
    return Tensor(mean.as_picture(1, 1, c), (n, c, 1, 1), picture=True)


def _batch_norm(
    graph: Graph, attributes: Attributes, x: Any, scale: Any, bias: Any, mean: Any, variance: Any
) -> Tensor:
    attributes.only(training_mode=0)
    for array in (scale, bias, mean, variance):
        _known("scale", array)
    factor = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    shape = (-1, *[1] * (len(_computed(x).shape) - 2))
    scaled = _mul(graph, attributes, x, factor.reshape(shape))
    return _add(graph, attributes, scaled, (bias - mean * factor).reshape(shape))


def _softmax(graph: Graph, attributes: Attributes, x: Any) -> Tensor:
    _last(attributes, _computed(x))
    return Tensor(x.value.softmax(), x.shape)


def _norm(name: str) -> Callable[..., Tensor]:
    def build(graph: Graph, attributes: Attributes, x: Any, w: Any, *bias: Any) -> Tensor:
        _last(attributes, _computed(x))
        arrays = [_known("weight", a) for a in (w, *bias)]
        epsilon = attributes.get("epsilon", 1e-5)
        return Tensor(getattr(x.value, name)(*arrays, epsilon=epsilon), x.shape)

    return build


def _gelu(graph: Graph, attributes: Attributes, x: Any) -> Tensor:
    tanh = attributes.get("approximate", b"none") == b"tanh"
    return Tensor(_computed(x).value.gelu(tanh=tanh), x.shape, picture=x.picture)


def _gather(graph: Graph, attributes: Attributes, table: Any, ids: Any) -> Tensor:
    attributes.only(axis=0)
    table, ids = _known("table", table), _computed(ids)
    if table.ndim != 2 or ids.value.op != "input":
        raise UnsupportedError(f"of a table {list(table.shape)} by computed places")
    return _shaped(graph.embed(ids.value, table), (*ids.shape, table.shape[1]))


def _shaped(value: Value, shape: Shape) -> Tensor:
    """The same elements under another shape of at most four extents, none a picture."""
    if not 1 <= len(shape) <= 4 or min(shape) < 1:
        raise UnsupportedError(f"to {list(shape)}")
    rows = shape if len(shape) > 1 else (1, *shape)
    return Tensor(value if value.shape == rows else value.reshape(*rows), shape)


def _reshape(graph: Graph, attributes: Attributes, x: Any, shape: Any) -> Tensor:
    attributes.only(allowzero=0)
    wanted = [int(n) for n in _known("shape", shape).reshape(-1)]
    old = _computed(x).shape
    full = [old[i] if n == 0 and i < len(old) else n for i, n in enumerate(wanted)]
    if full.count(-1) == 1:
        full[full.index(-1)] = math.prod(old) // max(1, -math.prod(full))
    if math.prod(full) != math.prod(old):
        raise UnsupportedError(f"of {list(old)} to {wanted}")
    return x if tuple(full) == old else _shaped(x.plain(), tuple(full))


def _flatten(graph: Graph, attributes: Attributes, x: Any) -> Tensor:
    axis, shape = attributes.get("axis", 1), _computed(x).shape
    return _shaped(x.plain(), (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _squeeze(graph: Graph, attributes: Attributes, x: Any, axes: Any = None) -> Tensor:
    shape = _computed(x).shape
    if axes is None:
        axes = attributes.get("axes") or [i for i, n in enumerate(shape) if n == 1]
    gone = {int(a) % len(shape) for a in _known("axes", np.asarray(axes)).reshape(-1)}
    return _shaped(x.plain(), tuple(n for i, n in enumerate(shape) if i not in gone))


def _unsqueeze(graph: Graph, attributes: Attributes, x: Any, axes: Any = None) -> Tensor:
    given = _known("axes", np.asarray(attributes.get("axes", axes))).reshape(-1)
    rank = len(_computed(x).shape) + len(given)
    new, old = {int(a) % rank for a in given}, iter(x.shape)
    return _shaped(x.plain(), tuple(1 if i in new else next(old) for i in range(rank)))


def _transpose(graph: Graph, attributes: Attributes, x: Any) -> Tensor:
    if _computed(x).picture or len(x.shape) < 2:
        raise UnsupportedError(f"of {list(x.shape)}")
    axes = attributes.get("perm") or list(reversed(range(len(x.shape))))
    if sorted(axes) != list(range(len(x.shape))):
        raise UnsupportedError(f"with perm {list(axes)}")
    return Tensor(x.value.transpose(*axes), tuple(x.shape[a] for a in axes))


def _concat(graph: Graph, attributes: Attributes, *parts: Any) -> Tensor:
    tensors = [_computed(part) for part in parts]
    _last(attributes, tensors[0])
    if len({t.shape[:-1] for t in tensors}) != 1:
        raise UnsupportedError("of different rows")
    value = tensors[0].value.concat(*(t.value for t in tensors[1:]))
    return Tensor(value, (*tensors[0].shape[:-1], value.cols))


def _reduce(name: str) -> Callable[..., Tensor]:
    def build(graph: Graph, attributes: Attributes, x: Any, axes: Any = None) -> Tensor:
        given = attributes.get("axes") if axes is None else _known("axes", axes).tolist()
        if given is None or len(given) != 1:
            raise UnsupportedError(f"along axes {given}")
        _last(Attributes(axis=given[0]), _computed(x))
        return _kept(attributes, x, getattr(x.value, name)())

    return build


def _argmax(graph: Graph, attributes: Attributes, x: Any) -> Tensor:
    attributes.only(select_last_index=0)
    _last(attributes, _computed(x), 0)
    return _kept(attributes, x, x.value.argmax())


def _kept(attributes: Attributes, x: Tensor, value: Value) -> Tensor:
    """One column left of the last axis, or none."""
    shape = (*x.shape[:-1], 1)
    return Tensor(value, shape) if attributes.get("keepdims", 1) else _shaped(value, shape[:-1])


OPS: dict[str, Callable[..., Tensor]] = {
    "Add": _add, "ArgMax": _argmax, "AveragePool": _pool("avg_pool"),
    "BatchNormalization": _batch_norm, "Cast": _same(lambda v: v), "Concat": _concat,
    "Conv": _conv, "Div": _div, "Dropout": _same(lambda v: v), "Flatten": _flatten,
    "Gather": _gather, "Gelu": _gelu, "Gemm": _gemm, "GlobalAveragePool": _global_average,
    "Identity": _same(lambda v: v), "LayerNormalization": _norm("layer_norm"), "MatMul": _matmul,
    "MaxPool": _pool("max_pool"), "Mul": _mul, "Neg": _same(lambda v: v.mul(-1.0)),
    "RMSNormalization": _norm("rms_norm"), "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("mean"), "ReduceSum": _reduce("sum"), "Relu": _same(Value.relu),
    "Reshape": _reshape, "Sigmoid": _same(Value.sigmoid), "Softmax": _softmax,
    "Squeeze": _squeeze, "Sub": _sub, "Tanh": _same(Value.tanh), "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}  # fmt: skip
