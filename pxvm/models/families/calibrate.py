"""Fraction bits of a Llama, from how large its values become on a few tokens.

The first token of many models reaches tens of thousands in the residual stream, others stay below
a hundred: how many of 32 bits may be fraction bits is measured, in a pass in float32 that holds
one weight at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pxvm.core.errors import ProgramError
from pxvm.models.families.llama import LlamaConfig
from pxvm.models.graph.floats import attention, rms_norm, sigmoid
from pxvm.models.graph.quantise import ROPE_FRAC, best_frac, rope_table

TOKENS = 16
MOST = 16  # finer fractions change nothing that a product of 14 bits could tell
BAND = 4096  # rows of the output weight at a time


def llama_fracs(config: LlamaConfig, weights: Mapping[str, Any]) -> dict[str, int]:
    """Fraction bits by the names of ``llama.FRACS``, with eightfold headroom.

    Args:
        weights: as ``build_llama`` takes them. Random tokens are enough: what is large in a
            Llama comes with the first position, whatever stands there.

    Raises ProgramError when a value is not finite.
    """
    largest: dict[str, float] = {}

    def seen(name: str, values: Any) -> Any:
        peak = float(np.abs(values).max())
        if not np.isfinite(peak):
            raise ProgramError(f"{name}: expected values that are finite in float32; found {peak}")
        largest[name] = max(largest.get(name, 0.0), peak)
        return values

    with np.errstate(all="ignore"):  # what overflows is refused where it is seen
        _forward(config, weights, seen)
    return {name: best_frac(value, most=MOST) for name, value in largest.items()}


def _forward(c: LlamaConfig, weights: Mapping[str, Any], seen: Any) -> None:
    count = min(TOKENS, c.context)
    ids = np.random.default_rng(0).integers(0, c.vocab, count)
    x: Any = np.concatenate([weights["embedding"][i : i + 1] for i in ids]).astype(np.float32)
    table = rope_table(count, c.head, c.rope_base, c.frequencies)
    rotary = (table / (1 << ROPE_FRAC)).astype(np.float32)
    causal = np.tri(count, dtype=bool)

    def product(layer: int, name: str, of: Any) -> Any:
        found = of @ np.asarray(weights[f"{layer}.{name}"], np.float32).T
        if c.qkv_bias and name in "qkv":
            found = found + np.asarray(weights[f"{layer}.{name}_bias"], np.float32)
        return found

    def norm(name: str) -> Any:
        return rms_norm(x, np.asarray(weights[name], np.float32), c.epsilon)

    for layer in range(c.layers):
        h = norm(f"{layer}.attention_norm")
        q, k, v = (seen("attention", product(layer, name, h)) for name in "qkv")
        q, k = (_rotated(a, rotary, c.head, c.interleaved) for a in (q, k))
        mixed = attention(q, k, v, causal, c.heads, c.kv_heads)
        x = seen("residual", x + seen("residual", product(layer, "o", mixed)))
        h = norm(f"{layer}.ff_norm")
        gate, up = (seen("gate", product(layer, name, h)) for name in ("gate", "up"))
        inner = seen("product", gate * sigmoid(gate) * up)
        x = seen("residual", x + seen("residual", product(layer, "down", inner)))
    h, output = norm("norm"), weights["embedding" if c.tied else "output"]
    for first in range(0, c.vocab, BAND):
        seen("logits", h @ np.asarray(output[first : first + BAND], np.float32).T)


def _rotated(x: Any, rotary: Any, head: int, interleaved: bool) -> Any:
    """Heads turned by their positions; x [t, heads * head], rotary [t, head] cosine, sine, ..."""
    cos, sin = rotary[:, None, 0::2], rotary[:, None, 1::2]
    heads = x.reshape(len(x), -1, head)
    half = head // 2
    a, b = (slice(0, None, 2), slice(1, None, 2)) if interleaved else (
        slice(0, half), slice(half, None)
    )  # fmt: skip
    turned = np.empty_like(heads)
    turned[..., a] = heads[..., a] * cos - heads[..., b] * sin
    turned[..., b] = heads[..., a] * sin + heads[..., b] * cos
    return turned.reshape(x.shape)
