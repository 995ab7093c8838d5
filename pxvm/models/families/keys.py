"""Keys that seven bits do not tell apart, made into keys that they do.

A model whose keys have large biases (Qwen2) loses what differs between its tokens when a head of
keys becomes int8. Two things change no attention and help:

- A constant that is taken from all keys adds the same to every score of a query, which softmax
  does not see. Rotary positions turn the bias, but pairs of low rates, where large biases stand,
  hardly: the bias' mean over the positions is taken, which is little where it turns fast.
- A pair of columns divided by a number in the keys and multiplied by it in the queries gives the
  same products. So columns that stay large in the keys are shared with the queries.

Which of this is done, each layer's scores say, with queries and keys of seven bits, on the tokens
of the calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pxvm.models.families.calibrate import forward, rotated
from pxvm.models.families.llama import LlamaConfig
from pxvm.models.files.views import View
from pxvm.models.graph.quantise import Floats

POSITIONS = 4096  # over which a bias' mean is taken, at most
POWERS = (0.0, 0.25, 0.5, 0.75)  # of how much larger keys are than queries
TAUGHT = 48  # tokens on which the scores are compared
GAIN = 0.8  # of the error that is left, so that it is worth an instruction


def settle(
    config: LlamaConfig, weights: Mapping[str, Any]
) -> tuple[LlamaConfig, Mapping[str, Any]]:
    """The config and the weights with other queries and keys where their scores gain by it.

    Only models whose keys have biases are looked at; the attention is the same but for rounding.
    """
    if not config.qkv_bias:
        return config, weights
    found = dict(weights)
    left = [0.0, 0.0]

    def watch(layer: int, q: Any, k: Any) -> None:
        bias = np.asarray(weights[f"{layer}.k_bias"], np.float64)
        sample = _Sample(config, layer, q.astype(np.float64), k.astype(np.float64))
        before, factors, shift = sample.best(bias)
        left[0] += before[0]
        left[1] += before[1]
        group = config.heads // config.kv_heads
        of_q = np.repeat(factors, group, axis=0).reshape(-1)
        for name, factor in (("q", of_q), ("k", 1 / factors.reshape(-1))):
            for full in (f"{layer}.{name}", f"{layer}.{name}_bias"):
                found[full] = View(weights[full], factor=factor)
        found[f"{layer}.k_shift"] = -shift

    forward(config, weights, lambda name, values: values, watch, TAUGHT)
    if left[1] > GAIN * left[0]:
        return config, weights
    return replace(config, key_shift=True), found


class _Sample:
    """Queries and keys of a layer, far enough apart that slow pairs turn."""

    def __init__(self, c: LlamaConfig, layer: int, q: Floats, k: Floats) -> None:
        self.c, self.layer, self.q, self.k = c, layer, q, k
        far = min(c.context, POSITIONS // 2)
        self.positions = np.linspace(0, far - 1, len(q)).astype(int)
        self.exact = self._scores(self._turned(q), self._turned(k))

    def _turned(self, x: Floats) -> Floats:
        return np.asarray(rotated(self.c, self.layer, x, self.positions))

    def best(self, bias: Floats) -> tuple[tuple[float, float], Floats, Floats]:
        """(squared error as it is, at best), factors of the queries [kv heads, head], and the
        constant [kv heads * head] that is taken from the keys.
        """
        plain = np.ones((self.c.kv_heads, self.c.head))
        before = best = self._error(plain, np.zeros(self.k.shape[1]))
        found = plain, np.zeros(self.k.shape[1])
        mean = self._mean(bias)
        for shifted in (np.zeros_like(mean), mean):
            for power in POWERS:
                factors = self._factors(shifted, power)
                shift = shifted / factors.reshape(-1)
                error = self._error(factors, shift)
                if error < best:
                    best, found = error, (factors, shift)
        return (before, best), *found

    def _mean(self, bias: Floats) -> Floats:
        """The mean of a bias that turns with the positions."""
        count = min(self.c.context, POSITIONS)
        step = max(count // 256, 1)
        rows = np.broadcast_to(bias, (len(range(0, count, step)), len(bias)))
        return np.asarray(rotated(self.c, self.layer, rows, np.arange(0, count, step)).mean(axis=0))

    def _factors(self, shift: Floats, power: float) -> Floats:
        """How much larger the keys of each pair are than its queries, to a power."""
        c = self.c
        keys = np.abs(self._turned(self.k) - shift).max(axis=0).reshape(c.kv_heads, c.head)
        queries = np.abs(self._turned(self.q)).max(axis=0)
        queries = queries.reshape(c.kv_heads, -1, c.head).max(axis=1)
        ratio = self._paired(keys) / np.maximum(self._paired(queries), 1e-6)
        ratio = np.maximum(ratio, 1e-6) ** power
        return np.asarray(ratio / np.median(ratio, axis=1, keepdims=True))

    def _paired(self, x: Floats) -> Floats:
        """The larger of each two columns that turn together, in both."""
        half = self.c.head // 2
        shape = (-1, half, 2) if self.c.interleaved else (-1, 2, half)
        pairs = x.reshape(shape)
        axis = 2 if self.c.interleaved else 1
        return np.broadcast_to(pairs.max(axis=axis, keepdims=True), pairs.shape).reshape(x.shape)

    def _error(self, factors: Floats, shift: Floats) -> float:
        group = self.c.heads // self.c.kv_heads
        q = self._turned(self.q * np.repeat(factors, group, axis=0).reshape(-1))
        k = self._turned(self.k / factors.reshape(-1)) - shift
        lost = self._scores(_seven_bits(q, self.c.head), _seven_bits(k, self.c.head)) - self.exact
        seen = np.tri(len(q), dtype=bool)
        # What all tokens of a query have in common is no error.
        lost -= (lost * seen).sum(axis=2, keepdims=True) / seen.sum(axis=1)[:, None]
        return float(((lost * seen) ** 2).sum())

    def _scores(self, q: Floats, k: Floats) -> Floats:
        group = self.c.heads // self.c.kv_heads
        heads = q.reshape(len(q), -1, self.c.head).transpose(1, 0, 2)
        keys = np.repeat(k.reshape(len(k), -1, self.c.head).transpose(1, 2, 0), group, axis=0)
        return np.asarray(heads @ keys * self.c.scale)


def _seven_bits(x: Floats, head: int) -> Floats:
    """Heads of queries or keys as the cache keeps them."""
    rows = x.reshape(len(x), -1, head)
    step = np.maximum(np.abs(rows).max(axis=2, keepdims=True) / 127, 1e-30)
    return np.asarray((np.rint(rows / step) * step).reshape(x.shape))
