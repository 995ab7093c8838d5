"""A graph computed in float64: for calibration, and as the measure of what integers cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from pxvm.core.errors import LimitError
from pxvm.models.graph.graph import Graph, Value
from pxvm.models.graph.quantise import Floats

MAX_LIVE = 1 << 26
ERF = np.vectorize(math.erf, otypes=[np.float64])


def walk(graph: Graph, inputs: Mapping[str, Any]) -> Iterator[tuple[Value, Floats]]:
    """Every value of a graph with what it is in float64, in the order of computation.

    What nothing needs any more is let go on the way.

    Args:
        inputs: an array of each input's shape, by its name.

    Raises LimitError when what is needed at one time is more than ``MAX_LIVE`` elements.
    """
    last_use = {i.index: v.index for v in graph.values for i in v.inputs}
    _check_live(graph, last_use)
    found: dict[int, Floats] = {}
    for value in graph.values:
        if value.op == "input":
            result = np.asarray(inputs[value.name], np.float64)
        else:
            result = FUNCTIONS[value.op](value, *(found[i.index] for i in value.inputs))
        found[value.index] = np.asarray(result, np.float64).reshape(value.shape)
        yield value, found[value.index]
        for index in {value.index, *(i.index for i in value.inputs)}:
            if last_use.get(index, index) <= value.index:
                del found[index]


def _check_live(graph: Graph, last_use: Mapping[int, int]) -> None:
    live, ending = 0, Counter[int]()
    for value in graph.values:
        live += value.count
        ending[last_use.get(value.index, value.index)] += value.count
        if live > MAX_LIVE:
            raise LimitError(
                f"expected at most {MAX_LIVE} numbers at one time; found {live} at {value.name}"
            )
        live -= ending[value.index]


def outputs(graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Floats]:
    """The outputs of a graph in float64, by name."""
    names = {value.index: name for name, value in graph.outputs.items()}
    return {names[v.index]: array for v, array in walk(graph, inputs) if v.index in names}


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e^-x) without overflow."""
    return np.asarray((1 + np.tanh(x / 2)) / 2)


def gelu(x: Floats) -> Floats:
    """x times the normal distribution function."""
    return np.asarray(x * (1 + ERF(x / math.sqrt(2))) / 2)


def normal_tanh(x: Floats) -> Floats:
    """The normal distribution function, approximated by tanh."""
    root = math.sqrt(2 / math.pi)
    return np.asarray((1 + np.tanh(root * (x + 0.044715 * x**3))) / 2)


def softmax(x: Floats) -> Floats:
    """Over the last axis."""
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def layer_norm(x: Floats, weight: Any, bias: Any, epsilon: float) -> Floats:
    """Over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(rms_norm(centred, weight, epsilon) + bias)


def rms_norm(x: Floats, weight: Any, epsilon: float) -> Floats:
    """Over the last axis."""
    return np.asarray(x * weight / np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon))


def attention(
    q: Floats, k: Floats, v: Floats, mask: Any, heads: int, kv_heads: int,
    scale: float | None = None,
) -> Floats:  # fmt: skip
    """q [t, heads*w], k and v [s, kv_heads*w], mask [t, s] True where seen; [t, heads*w].

    ``scale`` is a factor of the scores, 1 / sqrt(w) where None.
    """
    width = q.shape[-1] // heads
    scale = scale or 1 / math.sqrt(width)
    q = q.reshape(len(q), heads, width).transpose(1, 0, 2)
    k, v = (np.repeat(a.reshape(len(a), kv_heads, width).transpose(1, 0, 2), heads // kv_heads, 0)
            for a in (k, v))  # fmt: skip
    scores = np.where(mask, q @ k.transpose(0, 2, 1) * scale, -np.inf)
    return np.asarray((softmax(scores) @ v).transpose(1, 0, 2).reshape(-1, heads * width))


def _embed(value: Value, ids: Floats) -> Floats:
    table = value.arrays["weight"]
    return np.asarray(table[np.clip(ids.reshape(-1), 0, len(table) - 1).astype(int)])


def _conv2d(value: Value, x: Floats) -> Floats:
    height, width, channels = value.inputs[0].picture or (0, 0, 0)
    s, weight = value.settings, value.arrays["weight"]
    pad = s["pad"]
    images = np.pad(
        x.reshape(-1, height, width, channels), ((0, 0), (pad, pad), (pad, pad), (0, 0))
    )
    windows = np.lib.stride_tricks.sliding_window_view(images, (s["size"],) * 2, axis=(1, 2))
    windows = windows[:, :: s["stride"], :: s["stride"]].transpose(0, 1, 2, 4, 5, 3)
    return np.asarray(np.einsum("nhwabc,oabc->nhwo", windows, weight) + value.arrays.get("bias", 0))


def _pool(value: Value, x: Floats, reduce: Callable[..., Any]) -> Floats:
    height, width, channels = value.inputs[0].picture or (0, 0, 0)
    size, stride = value.settings["size"], value.settings["stride"]
    images = x.reshape(-1, height, width, channels)
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    return np.asarray(reduce(windows[:, ::stride, ::stride], axis=(-2, -1)))


def _attention(value: Value, q: Floats, k: Floats, v: Floats) -> Floats:
    s, rows = value.settings, np.arange(value.rows)
    group = rows // s["span"]
    mask = rows[:, None] >= rows if s["causal"] else group[:, None] == group
    return attention(q, k, v, mask, s["heads"], s["kv_heads"])


def _mean_pool(value: Value, x: Floats, lengths: Floats) -> Floats:
    span = value.settings["span"]
    groups = x.reshape(-1, span, x.shape[-1])
    counts = np.clip(lengths.reshape(-1).astype(int), 1, span)
    return np.stack([g[:n].mean(axis=0) for g, n in zip(groups, counts, strict=True)])


def _slice(value: Value, x: Floats) -> Floats:
    first, step = value.settings["first"], value.settings["step"]
    return x[..., first : first + step * value.cols : step][..., : value.cols]


def _norm(value: Value, x: Floats, function: Callable[..., Floats]) -> Floats:
    arrays, epsilon = value.arrays, value.settings["epsilon"]
    return function(
        x, arrays["weight"], *([arrays.get("bias", 0)] * (function is layer_norm)), epsilon
    )


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "constant": lambda value: value.arrays["data"],
    "embed": _embed,
    "linear": lambda value, x: x @ value.arrays["weight"].T + value.arrays.get("bias", 0),
    "matmul": lambda value, a, b: a @ b.reshape(-1, b.shape[-1]).T,
    "conv2d": _conv2d,
    "attention": _attention,
    "add": lambda value, a, b: a + b,
    "mul": lambda value, a, b: a * b,
    "less": lambda value, a, b: a < b,
    "real": lambda value, x: x,
    "trunc": lambda value, x: np.trunc(x),
    "relu": lambda value, x: np.maximum(x, 0),
    "sigmoid": lambda value, x: sigmoid(x),
    "tanh": lambda value, x: np.tanh(x),
    "silu": lambda value, x: x * sigmoid(x),
    "gelu": lambda value, x: gelu(x),
    "gelu_tanh": lambda value, x: x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    "rms_norm": lambda value, x: _norm(value, x, rms_norm),
    "layer_norm": lambda value, x: _norm(value, x, layer_norm),
    "softmax": lambda value, x: softmax(x),
    "l2_normalise": lambda value, x: x / np.sqrt((x * x).sum(axis=-1, keepdims=True)),
    "mean": lambda value, x: x.mean(axis=-1),
    "sum": lambda value, x: x.sum(axis=-1),
    "max": lambda value, x: x.max(axis=-1),
    "argmax": lambda value, x: x.argmax(axis=-1),
    "mean_pool": _mean_pool,
    "max_pool": lambda value, x: _pool(value, x, np.max),
    "avg_pool": lambda value, x: _pool(value, x, np.mean),
    "reshape": lambda value, x: x,
    "transpose": lambda value, x: x.transpose(value.settings["axes"]),
    "slice": _slice,
    "concat": lambda value, *parts: np.concatenate(parts, axis=-1),
}
