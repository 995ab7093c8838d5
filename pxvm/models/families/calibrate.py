"""Fraction bits of a language model, from how large its values become on a few tokens.

The first token of many models reaches tens of thousands in the residual stream, others stay below
a hundred: how many of 32 bits may be fraction bits is measured, in a pass in float32 that holds
one weight at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pxvm.core.errors import ProgramError
from pxvm.models.families.llama import LlamaConfig
from pxvm.models.graph.floats import attention, normal_tanh, rms_norm, sigmoid
from pxvm.models.graph.quantise import ROPE_FRAC, best_frac

TOKENS = 16
MOST = 16  # finer fractions change nothing that a product of 14 bits could tell
BAND = 4096  # rows of the output weight at a time
GATES = {"sigmoid": sigmoid, "normal_tanh": normal_tanh}
Watch = Callable[[int, Any, Any], None]


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

    forward(config, weights, seen)
    return {name: best_frac(value, most=MOST) for name, value in largest.items()}


def forward(
    c: LlamaConfig, weights: Mapping[str, Any], seen: Callable[[str, Any], Any],
    watch: Watch | None = None, tokens: int = TOKENS,
) -> None:  # fmt: skip
    """Compute random tokens in float32.

    Args:
        seen: gets every value by the name of its fraction bits, and gives it back.
        watch: gets each layer's number, queries and keys before they are turned.
    """
    with np.errstate(all="ignore"):  # what overflows is refused where it is seen
        _forward(c, weights, seen, watch, tokens)


def _forward(
    c: LlamaConfig, weights: Mapping[str, Any], seen: Callable[[str, Any], Any],
    watch: Watch | None, tokens: int,
) -> None:  # fmt: skip
    count = min(tokens, c.context)
    ids = np.random.default_rng(0).integers(0, c.vocab, count)
    x: Any = np.concatenate([weights["embedding"][i : i + 1] for i in ids]).astype(np.float32)
    x = seen("residual", x * np.float32(c.embedding_scale))

    def product(layer: int, name: str, of: Any) -> Any:
        found = of @ np.asarray(weights[f"{layer}.{name}"], np.float32).T
        if c.qkv_bias and name in "qkv":
            found = found + np.asarray(weights[f"{layer}.{name}_bias"], np.float32)
        return found

    def norm(name: str, of: Any) -> Any:
        return rms_norm(of, np.asarray(weights[name], np.float32), c.epsilon)

    def after(layer: int, name: str, of: Any) -> Any:
        of = seen("residual", of)
        return seen("residual", norm(f"{layer}.{name}", of)) if c.post_norms else of

    for layer in range(c.layers):
        h = norm(f"{layer}.attention_norm", x)
        q, k, v = (seen("attention", product(layer, name, h)) for name in "qkv")
        if c.qk_norm:
            q, k = (seen("attention", norm(f"{layer}.{name}_norm",
                    of.reshape(count, -1, c.head))).reshape(count, -1)
                    for name, of in (("q", q), ("k", k)))  # fmt: skip
        if watch is not None:
            watch(layer, q, k)
        q, k = (rotated(c, layer, of, np.arange(count)) for of in (q, k))
        mixed = attention(q, k, v, _mask(c, layer, count), c.heads, c.kv_heads, c.scale)
        x = seen("residual", x + after(layer, "o_norm", product(layer, "o", mixed)))
        h = norm(f"{layer}.ff_norm", x)
        gate, up = (seen("gate", product(layer, name, h)) for name in ("gate", "up"))
        inner = seen("product", gate * GATES[c.activation](gate) * up)
        x = seen("residual", x + after(layer, "down_norm", product(layer, "down", inner)))
    h, output = norm("norm", x), weights["embedding" if c.tied else "output"]
    for first in range(0, c.vocab, BAND):
        seen("logits", h @ np.asarray(output[first : first + BAND], np.float32).T)


def _mask(c: LlamaConfig, layer: int, count: int) -> Any:
    """Which tokens each sees."""
    mask = np.tri(count, dtype=bool)
    return mask & ~np.tri(count, k=-c.window, dtype=bool) if layer in c.sliding else mask


def rotated(c: LlamaConfig, layer: int, x: Any, positions: Any) -> Any:
    """A layer's queries or keys [t, heads * head], turned by their positions."""
    if layer in c.unrotated:
        return x
    local = c.local_frequencies is not None and layer in c.sliding
    table = c.rope(int(positions.max()) + 1, local)[positions]
    rotary = (table / (1 << ROPE_FRAC)).astype(np.float32)
    cos, sin = rotary[:, None, 0::2], rotary[:, None, 1::2]
    heads = x.reshape(len(x), -1, c.head)
    half = c.head // 2
    a, b = (slice(0, None, 2), slice(1, None, 2)) if c.interleaved else (
        slice(0, half), slice(half, None)
    )  # fmt: skip
    turned = np.empty_like(heads)
    turned[..., a] = heads[..., a] * cos - heads[..., b] * sin
    turned[..., b] = heads[..., a] * sin + heads[..., b] * cos
    return turned.reshape(x.shape)
