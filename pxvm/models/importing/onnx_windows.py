"""ONNX's operations on pictures: convolution and pooling with square windows."""

from __future__ import annotations

from typing import Any

from pxvm.models.graph.graph import Value
from pxvm.models.importing.onnx_tensor import (
    REAL,
    Node,
    Tensor,
    UnsupportedError,
    computed,
    weights,
)


def _square(node: Node, name: str, default: int) -> int:
    values = node.get(name) or [default]
    if len(set(values)) != 1:
        raise UnsupportedError(f"with {name} {list(values)}")
    return int(values[0])


def _window(node: Node) -> tuple[int, int]:
    """(stride, pad) of a square window."""
    if node.get("auto_pad", b"NOTSET") == b"VALID":
        node = Node(node.graph, node.opset, {**node, "pads": None, "auto_pad": b"NOTSET"})
    node.only(auto_pad=b"NOTSET", ceil_mode=0)
    if _square(node, "dilations", 1) != 1:
        raise UnsupportedError("with dilations")
    return _square(node, "strides", 1), _square(node, "pads", 0)


def _picture(x: Tensor, value: Value) -> Tensor:
    assert value.picture is not None
    height, width, channels = value.picture
    return Tensor(value, (x.shape[0], channels, height, width), x.kind, picture=True)


def conv(node: Node, x: Any, w: Any, b: Any = None) -> Tensor:
    """Convolution in one group."""
    node.only(group=1)
    x, weight, (stride, pad) = computed(x, *REAL).pixels(), weights("weight", w), _window(node)
    if weight.ndim != 4 or node.get("kernel_shape", [*weight.shape[2:]]) != [*weight.shape[2:]]:
        raise UnsupportedError(f"with a weight {list(weight.shape)} or another kernel")
    weight = weight.transpose(0, 2, 3, 1)
    return _picture(x, x.value.conv2d(weight, weights("bias", b), stride=stride, pad=pad))


def _pool(node: Node, x: Any, name: str) -> Tensor:
    x, (stride, pad) = computed(x, *REAL).pixels(), _window(node)
    if pad:
        raise UnsupportedError("with pads")
    return _picture(x, getattr(x.value, name)(_square(node, "kernel_shape", 1), stride))


def max_pool(node: Node, x: Any) -> Tensor:
    """The largest of each window."""
    return _pool(node, x, "max_pool")


def average_pool(node: Node, x: Any) -> Tensor:
    """The mean of each window."""
    return _pool(node, x, "avg_pool")


def global_average(node: Node, x: Any) -> Tensor:
    """The mean of each channel."""
    x = computed(x, *REAL)
    if len(x.shape) < 3:
        raise UnsupportedError(f"of {list(x.shape)}")
    n, c = x.shape[:2]
    mean = x.plain().value.reshape(n * c, x.value.count // (n * c)).mean()
    return Tensor(mean, (n * c, 1), x.kind).shaped((n, c, *[1] * (len(x.shape) - 2)))
