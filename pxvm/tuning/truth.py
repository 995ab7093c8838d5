"""An encoder computed in float32: what the vectors of its picture are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.models.families.bert import BertConfig
from pxvm.models.graph.floats import attention, gelu, layer_norm

Singles = NDArray[np.float32]


def vectors(
    config: BertConfig, weights: Mapping[str, Any], sentences: Sequence[Sequence[int]]
) -> Singles:
    """Vectors [n, width] of length 1 of sentences that are lists of token numbers.

    Args:
        weights: by the names of ``bert.weight_shapes``.
    """
    w = {name: np.asarray(weights[name], np.float32) for name in weights}
    tokens = np.concatenate([np.asarray(s) for s in sentences])
    places = np.concatenate([np.arange(len(s)) for s in sentences])
    of = np.repeat(np.arange(len(sentences)), [len(s) for s in sentences])
    spans = [slice(*np.searchsorted(of, [i, i + 1])) for i in range(len(sentences))]

    def product(x: Any, name: str) -> Any:
        return x @ w[name].T + w[f"{name}_bias"]

    def norm(x: Any, name: str) -> Any:
        return layer_norm(x, w[name], w[f"{name}_bias"], config.epsilon).astype(np.float32)

    x = norm(w["embedding"][tokens] + w["positions"][places] + w["type"], "norm")
    for layer in range(config.layers):
        q, k, v = (product(x, f"{layer}.{name}") for name in "qkv")
        heads = config.heads
        mixed = np.concatenate([attention(q[s], k[s], v[s], True, heads, heads) for s in spans])
        x = norm(x + product(mixed, f"{layer}.o"), f"{layer}.attention_norm")
        hidden = gelu(product(x, f"{layer}.up")).astype(np.float32)
        x = norm(x + product(hidden, f"{layer}.down"), f"{layer}.ff_norm")
    pooled = [x[s][0] if config.pooling == "cls" else x[s].mean(axis=0) for s in spans]
    found = np.array(pooled, np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))
