"""Builders of small networks from NumPy weights: an MLP and a CNN.

Both have the state tensors ``input`` [batch, features] (fixed point; see ``Fields.set_real``),
``logits`` [batch, classes] and ``class`` [batch, 1], and yield after each run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pxvm.core.program import Image
from pxvm.models.graph.graph import Graph, Value
from pxvm.models.graph.lowering import lower


@dataclass(frozen=True)
class Conv:
    """A convolution and ReLU: weight [out, size, size, in], bias [out]."""

    weight: Any
    bias: Any
    stride: int = 1
    pad: int = 0


@dataclass(frozen=True)
class Pool:
    """Max pooling by size x size."""

    size: int = 2


def mlp_graph(layers: Sequence[tuple[Any, Any]], batch: int) -> Graph:
    """Linear layers (weight [n, k], bias [n]), ReLU between them."""
    graph = Graph()
    x = graph.input("input", (batch, np.shape(layers[0][0])[1]))
    return _classify(graph, _linears(x, layers))


def cnn_graph(
    picture: tuple[int, int, int],
    body: Sequence[Conv | Pool],
    layers: Sequence[tuple[Any, Any]],
    batch: int,
) -> Graph:
    """Convolutions and pools on height x width x channels, then linear layers."""
    graph = Graph()
    x = graph.input("input", (batch, int(np.prod(picture))), picture=picture)
    for part in body:
        if isinstance(part, Pool):
            x = x.max_pool(part.size)
        else:
            x = x.conv2d(part.weight, part.bias, stride=part.stride, pad=part.pad).relu()
    return _classify(graph, _linears(x, layers))


def build_mlp(layers: Sequence[tuple[Any, Any]], calibration: Any, **options: Any) -> Image:
    """An MLP as a program; ``calibration`` [batch, features] fixes the batch and the ranges.

    ``options`` go to ``lowering.lower``.
    """
    return lower(mlp_graph(layers, len(calibration)), {"input": calibration}, **options)


def build_cnn(
    picture: tuple[int, int, int],
    body: Sequence[Conv | Pool],
    layers: Sequence[tuple[Any, Any]],
    calibration: Any,
    **options: Any,
) -> Image:
    """A CNN as a program; ``calibration`` [batch, height * width * channels]."""
    graph = cnn_graph(picture, body, layers, len(calibration))
    return lower(graph, {"input": calibration}, **options)


def _linears(x: Value, layers: Sequence[tuple[Any, Any]]) -> Value:
    for number, (weight, bias) in enumerate(layers):
        x = x.linear(weight, bias)
        if number < len(layers) - 1:
            x = x.relu()
    return x


def _classify(graph: Graph, logits: Value) -> Graph:
    graph.output("logits", logits)
    graph.output("class", logits.argmax())
    return graph
