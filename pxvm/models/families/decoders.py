"""Settings of language models in GGUF and ``config.json``, as ``LlamaConfig`` has them.

What most families say alike is read here; a family's own reader asks for the rest and hands it
over. Whatever would change a model's answers and is not built is refused.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from pxvm.core.errors import FormatError
from pxvm.models.families import llama
from pxvm.models.families.family import (
    HARMLESS,
    Architecture,
    Piece,
    Tensors,
    half_rotated,
    layer_count,
    named,
    said_vocabulary,
    vocabulary,
)
from pxvm.models.families.llama import WIDE, LlamaConfig
from pxvm.models.families.settings import Settings
from pxvm.models.graph.quantise import Floats

MAX_CONTEXT = 1 << 15  # rows of the rotary table that an import writes at most
MAX_HEAD = 512  # columns of it
MAX_AMPLITUDE = 1.999  # which the table's 16 bits hold
GGUF_NAMES = {
    "embedding": "token_embd.weight", "norm": "output_norm.weight", "output": "output.weight",
    "attention_norm": "attn_norm.weight", "q": "attn_q.weight", "k": "attn_k.weight",
    "v": "attn_v.weight", "o": "attn_output.weight", "ff_norm": "ffn_norm.weight",
    "gate": "ffn_gate.weight", "up": "ffn_up.weight", "down": "ffn_down.weight",
    "q_norm": "attn_q_norm.weight", "k_norm": "attn_k_norm.weight",
    "o_norm": "post_attention_norm.weight", "down_norm": "post_ffw_norm.weight",
}  # fmt: skip
HF_NAMES = {
    "embedding": "model.embed_tokens.weight", "norm": "model.norm.weight",
    "output": "lm_head.weight", "attention_norm": "input_layernorm.weight",
    "q": "self_attn.q_proj.weight", "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight", "o": "self_attn.o_proj.weight",
    "ff_norm": "post_attention_layernorm.weight", "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight", "down": "mlp.down_proj.weight",
    "q_norm": "self_attn.q_norm.weight", "k_norm": "self_attn.k_norm.weight",
}  # fmt: skip

# What changes answers in models that say they are one of ours and are not quite, with the values
# that change nothing. ``transformers`` does not ask for these names; who wrote them did.
UNBUILT: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping"), (None, 0, 0.0)),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), (None, 0)),
    **dict.fromkeys(("logit_scale", "logits_scaling", "residual_multiplier"), (None, 1, 1.0)),
    **dict.fromkeys(("embedding_multiplier", "attention_multiplier"), (None, 1, 1.0)),
    **dict.fromkeys(("clip_qkv", "alibi", "use_parallel_residual"), (None, False)),
}


def rates_of(base: float, columns: int) -> Floats:
    """Rotary rates of so many columns (Su et al., 2021)."""
    return np.asarray(base ** (-np.arange(0, columns, 2) / columns))


def _divided(rates: Floats, factors: Any) -> Floats:
    """Rates that are stretched; infinite where a factor is next to nothing."""
    with np.errstate(over="ignore", divide="ignore"):
        return np.asarray(rates / np.asarray(factors, np.float64))


def padded(rates: Floats, head: int) -> Floats:
    """Rates of a head of which only the first pairs turn."""
    return np.concatenate([rates, np.zeros(head // 2 - len(rates))])


def fused(
    names: dict[str, str | Piece], config: LlamaConfig, qkv: str, gate_up: str, layer: str,
    rotated: int,
) -> dict[str, str | Piece]:  # fmt: skip
    """Names of weights that a file keeps together: queries, keys and values; gate and up.

    Args:
        rotated: columns of a head that turn, halves of them together.
    """
    q, kv = config.heads * config.head, config.kv_heads * config.head
    for i in range(config.layers):
        tensor = layer.format(i)
        for name, first, count, heads in (
            ("q", 0, q, config.heads), ("k", q, kv, config.kv_heads), ("v", q + kv, kv, 0),
        ):  # fmt: skip
            order = None
            if heads and rotated < config.head:
                order = half_rotated(heads, config.head, rotated)
            names[f"{i}.{name}"] = Piece(tensor + qkv, (first, count), order)
        for name, first in (("gate", 0), ("up", config.ff)):
            names[f"{i}.{name}"] = Piece(tensor + gate_up, (first, config.ff))
    return names


def _groups(settings: Settings, key: str, heads: int) -> int:
    """Heads of keys and values, as many as queries have or a part of them."""
    groups = settings.count(key, heads)
    if heads % groups:
        raise settings.error(key, f"a number that divides {heads} heads")
    return groups


def _head(settings: Settings, key: str, width: int, heads: int) -> int:
    """Columns of a head: said, or the width's share."""
    head = settings.count(key, max(1, width // heads))
    if head % 4 or head > MAX_HEAD:
        raise FormatError(
            f"{settings.where}: expected heads of whole pixels, at most {MAX_HEAD} columns; found"
            f" {head} columns"
        )
    return head


def _rotary(where: str, config: LlamaConfig) -> LlamaConfig:
    """The config, whose rotary tables can be written. Raises FormatError."""
    for rates in (config.frequencies, config.local_frequencies):
        if rates is not None and not np.isfinite(rates).all():
            raise FormatError(
                f"{where}: expected rotary rates that are finite; found {rates.max()}"
            )
    if not 0 < config.amplitude <= MAX_AMPLITUDE:
        raise FormatError(
            f"{where}: expected a factor of rotary columns of at most {MAX_AMPLITUDE}; found"
            f" {config.amplitude}"
        )
    return config


def _windows(
    window: int | None, context: int, layers: Any, local_base: float | None, head: int
) -> dict[str, Any]:  # fmt: skip
    """A window of those layers, where it is shorter than the context or comes with own rates."""
    local = None if local_base is None else rates_of(local_base, head)
    if window is None or not layers or (window >= context and local is None):
        return {"local_frequencies": local}
    return {"window": min(window, WIDE), "sliding": frozenset(layers), "local_frequencies": local}


# GGUF


def gguf_decoder(
    settings: Settings, tensors: Tensors, *, rotated: int | None = None, amplitude: float = 1.0,
    sliding: Any = None, local_base: float | None = None, context: int = MAX_CONTEXT, **own: Any,
) -> Architecture:  # fmt: skip
    """A language model's pairs, by the name of its architecture.

    Args:
        rotated: columns of a head that turn, where they are not all.
        amplitude: factor of what turns.
        sliding: says of a layer whether it sees a window, where not all do.
        local_base: of the rotary rates of those layers, where they have their own.
        context: positions at most.
        own: what the family adds to ``LlamaConfig``.
    """
    kind = settings.values["general.architecture"]
    settings.only(f"{kind}.expert_count", None, 0)
    settings.only(f"{kind}.attention.causal", None, True)
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        settings.only(f"{kind}.{key}", None, 0.0)
    width = settings.columns(f"{kind}.embedding_length")
    heads = settings.count(f"{kind}.attention.head_count")
    head = _head(settings, f"{kind}.attention.key_length", width, heads)
    settings.only(f"{kind}.attention.value_length", None, head)
    if rotated is None:
        settings.only(f"{kind}.rope.dimension_count", None, head)
    base = settings.real(f"{kind}.rope.freq_base", 10000.0)
    key = f"{kind}.attention.sliding_window"
    window = settings.count(key) if settings.get(key) else None
    said = min(settings.count(f"{kind}.context_length"), context)
    layers = layer_count(settings, f"{kind}.block_count", tensors)
    slides = [i for i in range(layers) if sliding is None or sliding(i)]
    config = _rotary(
        settings.where,
        LlamaConfig(
            layers=layers,
            width=width,
            heads=heads,
            kv_heads=_groups(settings, f"{kind}.attention.head_count_kv", heads),
            ff=settings.columns(f"{kind}.feed_forward_length"),
            vocab=vocabulary(settings.where, tensors, GGUF_NAMES["embedding"]),
            rope_base=base,
            epsilon=settings.real(f"{kind}.attention.layer_norm_rms_epsilon"),
            context=said,
            tied=GGUF_NAMES["output"] not in tensors,
            head_width=head,
            frequencies=_gguf_rates(settings, kind, tensors, head, rotated or head, base),
            amplitude=amplitude,
            **_windows(window, said, slides, local_base, head),
            **own,
        ),
    )
    settings.close(f"{kind}.", *HARMLESS)
    names = named(GGUF_NAMES, "", "blk.{}.", llama.weight_shapes(config))
    return Architecture(config, names, ("rope_freqs.", "rope_factors_"))


def _gguf_rates(
    settings: Settings, kind: str, tensors: Tensors, head: int, rotated: int, base: float
) -> Floats | None:
    """Rotary rates of a file with scaled positions; None where base says it all.

    As llama.cpp has it, a factor counts under its old name too and where no type is said.
    """
    rope, divisor = f"{kind}.rope.", np.ones(rotated // 2)
    scaled = settings.only(f"{rope}scaling.type", None, "none", "linear", "longrope") != "none"
    if kind != "phi3":
        settings.only(f"{rope}scaling.type", None, "none", "linear")
        settings.only(f"{rope}scaling.attn_factor", None, 1.0)
    keys = (f"{rope}scaling.factor", f"{rope}scale_linear")
    said = [settings.real(key) for key in keys if settings.get(key) not in (None, 0.0)]
    if scaled and said:
        divisor = divisor * said[0]
    for name in ("rope_freqs.weight", "rope_factors_short.weight"):
        if (factors := tensors.get(name)) is not None:
            values = np.asarray(factors, np.float64)
            if values.shape != divisor.shape or not ((values > 0) & (values < np.inf)).all():
                raise FormatError(f"{settings.where}: {name}: expected {len(divisor)} numbers > 0")
            divisor = divisor * values
    if (divisor == 1).all() and rotated == head:
        return None
    return padded(_divided(rates_of(base, rotated), divisor), head)


# config.json beside safetensors


def hf_decoder(
    settings: Settings, tensors: Tensors, *, usual: Mapping[str, Any], rope: Settings | None = None,
    table: dict[str, str] | None = None, gates: tuple[str | None, ...] = (None, "silu", "swish"),
    sliding: Collection[int] = (), typed: bool = False, local_base: float | None = None,
    partial: bool = False, **own: Any,
) -> Architecture:  # fmt: skip
    """A language model's ``config.json``.

    Args:
        usual: what transformers takes for a setting of which the file says nothing.
        rope: settings of the rotary positions, where they are not the usual ones.
        table: names of tensors beside the usual ones.
        gates: activations that are this family's.
        sliding: layers that see a window where there is one.
        typed: ``layer_types`` says which these are, where it is there.
        local_base: of the rotary rates of those layers, where they have their own.
        partial: a part of a head's columns may turn.
        own: what the family adds to ``LlamaConfig``.
    """
    settings = Settings(settings.where, {**usual, **settings.values})
    settings.only("hidden_act", *gates)
    for key in ("attention_bias", "mlp_bias"):
        settings.only(key, None, False)
    settings.only("quantization_config", None)
    for key, allowed in UNBUILT.items():
        settings.only(key, *allowed)
    width, heads = settings.columns("hidden_size"), settings.count("num_attention_heads")
    head = _head(settings, "head_dim", width, heads)
    rope = rope or hf_rope(settings)
    base = rope.real("rope_theta", settings.real("rope_theta", 10000.0))
    rotated = head
    for place in (settings, rope):
        if partial and place.get("partial_rotary_factor") is not None:
            rotated = int(head * min(2.0, place.real("partial_rotary_factor")))
        elif not partial:
            place.only("partial_rotary_factor", None, 1, 1.0)
    if not 0 < rotated <= head or rotated % 2:
        raise settings.error("partial_rotary_factor", f"an even part of {head} columns")
    tied = settings.only("tie_word_embeddings", None, False, True) or False
    layers = layer_count(settings, "num_hidden_layers", tensors)
    context = min(settings.count("max_position_embeddings", 2048), MAX_CONTEXT)
    rates, amplitude, most = _hf_rates(settings, rope, head, rotated, base)
    notes: tuple[str, ...] = ()
    if most < context:
        notes = (
            f"{settings.where}: beyond {most} tokens its rotary rates change; the context ends"
            " there",
        )
        context = most
    window, slides = _hf_windows(settings, layers, context, sliding, typed)
    config = _rotary(
        settings.where,
        LlamaConfig(
            layers=layers,
            width=width,
            heads=heads,
            kv_heads=_groups(settings, "num_key_value_heads", heads),
            ff=settings.columns("intermediate_size"),
            vocab=said_vocabulary(settings, tensors, HF_NAMES["embedding"]),
            rope_base=base,
            epsilon=settings.real("rms_norm_eps", 1e-6),
            context=context,
            interleaved=False,
            tied=tied,
            head_width=head,
            frequencies=rates,
            amplitude=amplitude,
            **_windows(window, context, slides, local_base, head),
            **own,
        ),
    )
    shapes = llama.weight_shapes(config)
    names = named(HF_NAMES | (table or {}), "", "model.layers.{}.", shapes)
    spare = tuple(n for n in tensors if n.endswith("rotary_emb.inv_freq"))
    spare += (HF_NAMES["output"],) if tied else ()
    return Architecture(config, names, spare, notes)


def hf_rope(settings: Settings) -> Settings:
    """What is said of rotary positions, under its new name or its old one."""
    rope, old = settings.inner("rope_parameters"), settings.inner("rope_scaling")
    both = [{k: v for k, v in r.values.items() if k != "rope_theta"} for r in (rope, old)]
    if all(both) and both[0] != both[1]:
        raise settings.error("rope_parameters", "what rope_scaling says, or one of the two")
    return rope if rope.values else old


def _hf_windows(
    settings: Settings, layers: int, context: int, sliding: Collection[int], typed: bool
) -> tuple[int | None, Collection[int]]:
    """How far back tokens see in some layers, and which layers these are."""
    window = settings.count("sliding_window") if settings.get("sliding_window") else None
    kinds = settings.get("layer_types")
    usual = [f"{'sliding' if i in sliding else 'full'}_attention" for i in range(layers)]
    if kinds is None:
        kinds = usual
    elif not isinstance(kinds, list) or not all(
        kind in ("full_attention", "sliding_attention") for kind in kinds
    ):
        raise settings.error("layer_types", "full_attention and sliding_attention")
    elif len(kinds) != layers:
        raise settings.error("layer_types", f"one for each of {layers} layers")
    if typed:
        found = [i for i, kind in enumerate(kinds) if kind == "sliding_attention"]
        if found and window is None:
            raise settings.error("sliding_window", "a number of tokens, for layers that slide")
        return window, found
    asked = settings.only("use_sliding_window", None, False, True)
    if window is not None and window < context:  # said otherwise than this architecture does it
        if kinds != usual:
            raise settings.error("layer_types", f"{usual[0]} throughout")
        if asked is not None and asked != bool(sliding):
            raise settings.error("use_sliding_window", f"{bool(sliding)}".lower())
    return window, sliding


def _hf_rates(
    settings: Settings, scaling: Settings, head: int, rotated: int, base: float
) -> tuple[Floats | None, float, int]:
    """Rotary rates with scaled positions, None where base says it all; the factor of what turns;
    positions for which they hold.
    """
    allowed = ("default", "linear", "dynamic", "llama3", "longrope", "su")
    kinds = [scaling.only(key, None, *allowed) for key in ("rope_type", "type")]
    if None not in kinds and kinds[0] != kinds[1]:
        raise scaling.error("type", f"{kinds[0]}, as rope_type says")
    kind = kinds[0] or kinds[1] or "default"
    rates, amplitude, most = rates_of(base, rotated), 1.0, MAX_CONTEXT
    if kind in ("longrope", "su"):
        rates, amplitude, most = _long_rates(settings, scaling, rates)
    elif kind != "default":
        factor = scaling.real("factor")
        if kind == "llama3":  # waves longer than the trained context are stretched, short ones stay
            low, high = scaling.real("low_freq_factor"), scaling.real("high_freq_factor")
            turns = scaling.count("original_max_position_embeddings") * rates / (2 * math.pi)
            if low >= high:
                raise scaling.error("high_freq_factor", f"more than low_freq_factor, {low}")
            stay = np.clip((turns - low) / (high - low), 0, 1)
            rates = rates * (stay + _divided(1 - stay, factor))
        elif kind == "linear":
            rates = _divided(rates, factor)
    scaling.close("", "original_max_position_embeddings")
    # "dynamic" changes rates for texts longer than the context only, and there are none.
    plain = kind in ("default", "dynamic") and rotated == head
    return None if plain else padded(np.asarray(rates), head), amplitude, most


def _long_rates(settings: Settings, scaling: Settings, rates: Floats) -> tuple[Floats, float, int]:
    """LongRoPE's rates for texts up to the length of the first training (Ding et al., 2024)."""
    factors = scaling.get("short_factor")
    if (
        not isinstance(factors, list)
        or len(factors) != len(rates)
        or not all(type(x) in (int, float) and 0 < x <= sys.float_info.max for x in factors)
    ):
        raise scaling.error("short_factor", f"{len(rates)} numbers above 0")
    scaling.get("long_factor")  # of longer texts, and there are none
    place = scaling if scaling.get("original_max_position_embeddings") else settings
    original = place.count("original_max_position_embeddings")
    if original < 2:
        raise place.error("original_max_position_embeddings", "2 positions at least")
    said = settings.count("max_position_embeddings") / original
    factor = scaling.real("factor", said) if scaling.get("factor") else said
    usual = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    amplitude = scaling.real("attention_factor", usual)
    return _divided(rates, factors), amplitude, original
