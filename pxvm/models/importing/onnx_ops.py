"""What each operation of ONNX is in a ``Graph``: one function an operation.

A function gets the node and its inputs: ``Tensor`` for what is computed, an array for what is
known, None for what is left out. Where operator sets differ, the node's decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pxvm.models.graph.graph import Shape, Value
from pxvm.models.importing.onnx_tensor import (
    REAL,
    WHOLE,
    Node,
    Tensor,
    UnsupportedError,
    as_shape,
    axes_of,
    axis_of,
    computed,
    constant_for,
    kind_of,
    known,
    merged,
    spread,
    weights,
)
from pxvm.models.importing.onnx_windows import average_pool, conv, global_average, max_pool


def _same(change: Callable[[Value], Value], *kinds: str) -> Callable[..., Tensor]:
    """An operation on each element, of all kinds where none are given."""

    def build(node: Node, given: Any) -> Tensor:
        x = computed(given, *kinds)
        return x.like(change(x.value))

    return build


# Element by element


def _add(node: Node, a: Any, b: Any) -> Tensor:
    return _pair(a, b, "add")


def _mul(node: Node, a: Any, b: Any) -> Tensor:
    return _pair(a, b, "mul")


def _pair(a: Any, b: Any, op: str) -> Tensor:
    """Add or Mul of two tensors, or of a tensor and constants."""
    if isinstance(a, np.ndarray):
        a, b = b, a
    x = computed(a, *REAL, *WHOLE)
    if kind_of(b) != x.kind:
        raise UnsupportedError(f"of {x.kind} and {kind_of(b)}")
    shape = _common(x, b)
    if isinstance(b, Tensor):
        if b.value.count > x.value.count:
            x, b = b, x
        return _pair_of(x.shaped(shape), b, op)
    return _with(x, op, b)


def _common(x: Tensor, other: Any) -> Shape:
    try:
        return np.broadcast_shapes(x.shape, other.shape)
    except ValueError:
        raise UnsupportedError(f"of {list(x.shape)} and {list(other.shape)}") from None


def _with(x: Tensor, op: str, array: Any) -> Tensor:
    """Add or Mul of a tensor and constants that do not make it larger."""
    x = x.shaped(_common(x, array))
    return x.like(getattr(x.value, op)(constant_for(x, array)))


def _pair_of(x: Tensor, y: Tensor, op: str) -> Tensor:
    """x and a y that has x's extents before or behind some axis, and 1 elsewhere."""
    if y.shape == x.shape:
        y = y.pixels() if x.picture else y.plain()
        return x.like(getattr(x.value, op)(y.value))
    small = (1,) * (len(x.shape) - len(y.shape)) + y.shape
    x, y = x.plain(), y.plain()
    for cut in range(len(small) + 1):
        rows, cols = math.prod(x.shape[:cut]), math.prod(x.shape[cut:])
        column = small[:cut] == x.shape[:cut] and math.prod(small[cut:]) == 1
        if column or (small[cut:] == x.shape[cut:] and math.prod(small[:cut]) == 1):
            left = as_shape(x.value, (rows, cols))
            right = as_shape(y.value, (rows, 1) if column else (1, cols))
            return x.like(as_shape(getattr(left, op)(right), x.value.shape))
    raise UnsupportedError(f"of {list(x.shape)} and {list(y.shape)}")


def _negative(x: Any) -> Any:
    return np.asarray(-x) if isinstance(x, np.ndarray) else x.like(x.value.mul(-1.0))


def _sub(node: Node, a: Any, b: Any) -> Tensor:
    if isinstance(b, Tensor):
        computed(b, *REAL, *WHOLE)
    return _pair(a, _negative(b), "add")


def _div(node: Node, a: Any, b: Any) -> Tensor:
    x, divisor = computed(a, *REAL), weights("divisor", b)
    if not divisor.all():
        raise UnsupportedError("by zero")
    return _with(x, "mul", 1.0 / divisor)


def _cast(node: Node, x: Any) -> Tensor:
    from onnx import helper

    x = computed(x)
    kind = str(helper.tensor_dtype_to_np_dtype(node["to"]))
    if x.kind in REAL:
        if kind in REAL - {"bfloat16"}:
            return Tensor(x.value, x.shape, kind, x.picture)
        if kind in WHOLE:
            return Tensor(x.value.trunc(), x.shape, kind, x.picture)
    elif kind in REAL - {"bfloat16"}:
        return Tensor(x.value.real(), x.shape, kind, x.picture)
    elif kind in WHOLE or kind == x.kind:
        return Tensor(x.value, x.shape, kind, x.picture)
    raise UnsupportedError(f"of {x.kind} to {kind}")


def _dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Tensor:
    training = known("training mode", training)
    if training is not None and training.any():
        ratio = known("ratio", ratio)
        if ratio is None or ratio.any():
            raise UnsupportedError("in training mode")
    return computed(x)


def _gelu(node: Node, given: Any) -> Tensor:
    x = computed(given, *REAL)
    approximate = node.get("approximate", b"none")
    if approximate not in (b"none", b"tanh"):
        raise UnsupportedError(f"with approximate {approximate!r:.40}")
    return x.like(x.value.gelu(tanh=approximate == b"tanh"))


def _batch_norm(node: Node, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Tensor:
    node.only(training_mode=0, spatial=1)
    x = computed(x, *REAL)
    if len(x.shape) < 2:
        raise UnsupportedError(f"of {list(x.shape)}")
    scale, bias, mean, variance = (weights("scale", a) for a in (scale, bias, mean, variance))
    factor = scale / np.sqrt(variance + node.get("epsilon", 1e-5))
    shape = (-1, *[1] * (len(x.shape) - 2))
    scaled = _with(x, "mul", factor.reshape(shape))
    return _with(scaled, "add", (bias - mean * factor).reshape(shape))


# Products


def _linear(x: Tensor, weight: Any, bias: Any = None) -> Tensor:
    """x @ weight + bias of weight [k, n]."""
    if weight.ndim != 2 or not x.shape or weight.shape[0] != x.shape[-1]:
        raise UnsupportedError(f"of {list(x.shape)} and {list(weight.shape)}")
    value = x.plain().value.linear(weight.T, bias)
    return Tensor(value, (*x.shape[:-1], weight.shape[1]), x.kind)


def _gemm(node: Node, a: Any, b: Any, c: Any = None) -> Tensor:
    node.only(transA=0)
    x, weight, bias = computed(a, *REAL), weights("weight", b), weights("bias", c)
    if len(x.shape) != 2 or weight.ndim != 2:
        raise UnsupportedError(f"of {list(x.shape)} and {list(weight.shape)}")
    weight = (weight.T if node.flag("transB") else weight) * node.get("alpha", 1.0)
    if bias is None:
        return _linear(x, weight)
    bias, row = bias * node.get("beta", 1.0), (1, weight.shape[1])
    try:
        return _linear(x, weight, np.broadcast_to(bias, row))
    except ValueError:
        return _with(_linear(x, weight), "add", bias)


def _matmul(node: Node, a: Any, b: Any) -> Tensor:
    x = computed(a, *REAL)
    if not isinstance(b, Tensor):
        return _linear(x, weights("weight", b))
    if len(x.shape) != 2 or len(b.shape) != 2:
        raise UnsupportedError(f"of computed {list(x.shape)} and {list(b.shape)}")
    return Tensor(x.value.matmul(b.value.transpose(1, 0)), (x.shape[0], b.shape[1]), x.kind)


def _gather(node: Node, table: Any, ids: Any) -> Tensor:
    node.only(axis=0)
    table, ids = known("table", table), computed(ids, *WHOLE)
    if table.ndim != 2:
        raise UnsupportedError(f"of a table {list(table.shape)} by computed places")
    places = ids.plain().value.reshape(ids.value.count, 1)
    wrapped = places.add(places.less(0).mul(float(len(table))))
    rows = node.graph.embed(wrapped, weights("table", table))
    return Tensor(rows, (ids.value.count, table.shape[1]), kind_of(table)).shaped(
        (*ids.shape, table.shape[1])
    )


# Along axes


def _softmax(node: Node, x: Any) -> Tensor:
    x = computed(x, *REAL)
    first = axis_of(x.shape, node.get("axis", -1 if node.opset >= 13 else 1))
    axes = [first] if node.opset >= 13 else range(first, len(x.shape))
    return spread(x, merged(x, axes).softmax(), axes)


def _norm(name: str) -> Callable[..., Tensor]:
    def build(node: Node, x: Any, weight: Any, *bias: Any) -> Tensor:
        x = computed(x, *REAL)
        axes = range(axis_of(x.shape, node.get("axis", -1)), len(x.shape))
        shape = x.shape[axes[0] :]
        arrays = [weights("weight", a) for a in (weight, *bias)]
        try:
            arrays = [None if a is None else np.broadcast_to(a, shape) for a in arrays]
        except ValueError:
            raise UnsupportedError(f"of {list(shape)} with other weights") from None
        epsilon = node.get("epsilon", 1e-5)
        return spread(x, getattr(merged(x, axes), name)(*arrays, epsilon=epsilon), axes)

    return build


def _given_axes(node: Node, x: Tensor, axes: Any) -> list[int] | None:
    """Axes of an attribute in older operator sets, of an input in newer ones; None where none."""
    given = node.get("axes") if axes is None else known("axes", axes).reshape(-1).tolist()
    return axes_of(x.shape, given) if given else None


def _reduce(name: str, *kinds: str) -> Callable[..., Tensor]:
    def build(node: Node, given: Any, axes: Any = None) -> Tensor:
        x = computed(given, *kinds)
        along = _given_axes(node, x, axes)
        if along is None:
            if node.flag("noop_with_empty_axes"):
                return x
            along = list(range(len(x.shape)))
        return _left(node, x, along, getattr(merged(x, along), name)(), x.kind)

    return build


def _argmax(node: Node, x: Any) -> Tensor:
    node.only(select_last_index=0)
    x = computed(x, *REAL, *WHOLE)
    axes = [axis_of(x.shape, node.get("axis", 0))]
    return _left(node, x, axes, merged(x, axes).argmax(), "int64")


def _left(node: Node, x: Tensor, axes: list[int], value: Value, kind: str) -> Tensor:
    """One number for each row along axes, which are kept with extent 1 or not."""
    rest = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    keep = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    whole = Tensor(value, (value.rows, 1), kind)
    return whole.shaped(keep if node.flag("keepdims", 1) else rest)


# Shapes


def _reshape(node: Node, x: Any, shape: Any) -> Tensor:
    node.only(allowzero=0)
    wanted = [int(n) for n in known("shape", shape).reshape(-1)]
    old = computed(x).shape
    full = [old[i] if n == 0 and i < len(old) else n for i, n in enumerate(wanted)]
    if full.count(-1) == 1:
        full[full.index(-1)] = math.prod(old) // max(1, -math.prod(full))
    return computed(x).shaped(tuple(full))


def _flatten(node: Node, x: Any) -> Tensor:
    shape = computed(x).shape
    axis = axis_of(shape, node.get("axis", 1), beyond=1)
    return computed(x).shaped((math.prod(shape[:axis]), math.prod(shape[axis:])))


def _squeeze(node: Node, given: Any, axes: Any = None) -> Tensor:
    x = computed(given)
    gone = _given_axes(node, x, axes)
    if gone is None:
        gone = [i for i, n in enumerate(x.shape) if n == 1]
    if any(x.shape[a] != 1 for a in gone):
        raise UnsupportedError(f"of axes {gone} of {list(x.shape)}")
    return x.shaped(tuple(n for i, n in enumerate(x.shape) if i not in gone))


def _unsqueeze(node: Node, given: Any, axes: Any = None) -> Tensor:
    x = computed(given)
    wanted = node["axes"] if axes is None else known("axes", axes).reshape(-1).tolist()
    new = axes_of((1,) * (len(x.shape) + len(wanted)), wanted)
    old = iter(x.shape)
    return x.shaped(tuple(1 if i in new else next(old) for i in range(len(x.shape) + len(new))))


def _transpose(node: Node, given: Any) -> Tensor:
    x = computed(given)
    axes = tuple(node.get("perm") or reversed(range(len(x.shape))))
    if sorted(axes) != list(range(len(x.shape))):
        raise UnsupportedError(f"with perm {list(axes)}")
    if axes == tuple(range(len(axes))):
        return x
    return Tensor(x.plain().value.transpose(*axes), tuple(x.shape[a] for a in axes), x.kind)


def _concat(node: Node, *parts: Any) -> Tensor:
    tensors = [computed(part) for part in parts]
    first = tensors[0]
    axis = axis_of(first.shape, node["axis"])
    if len({(t.shape[:axis], t.shape[axis + 1 :], t.kind) for t in tensors}) != 1:
        raise UnsupportedError("of different shapes or types")
    value, *others = (merged(t, range(axis, len(t.shape))) for t in tensors)
    shape = (*first.shape[:axis], sum(t.shape[axis] for t in tensors), *first.shape[axis + 1 :])
    joined = value.concat(*others) if others else value
    return Tensor(joined, joined.shape, first.kind).shaped(shape)


OPS: dict[str, Callable[..., Tensor]] = {
    "Add": _add, "ArgMax": _argmax, "AveragePool": average_pool,
    "BatchNormalization": _batch_norm, "Cast": _cast, "Concat": _concat,
    "Conv": conv, "Div": _div, "Dropout": _dropout, "Flatten": _flatten,
    "Gather": _gather, "Gelu": _gelu, "Gemm": _gemm, "GlobalAveragePool": global_average,
    "Identity": _same(lambda v: v), "LayerNormalization": _norm("layer_norm"), "MatMul": _matmul,
    "MaxPool": max_pool, "Mul": _mul, "Neg": _same(lambda v: v.mul(-1.0), *REAL, *WHOLE),
    "RMSNormalization": _norm("rms_norm"), "ReduceMax": _reduce("max", *REAL, *WHOLE),
    "ReduceMean": _reduce("mean", *REAL), "ReduceSum": _reduce("sum", *REAL, *WHOLE),
    "Relu": _same(Value.relu, *REAL, *WHOLE), "Reshape": _reshape,
    "Sigmoid": _same(Value.sigmoid, *REAL), "Softmax": _softmax, "Squeeze": _squeeze,
    "Sub": _sub, "Tanh": _same(Value.tanh, *REAL), "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}  # fmt: skip
