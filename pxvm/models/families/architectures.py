"""What model files say about their architecture: shapes, rotary rates, names of the weights.

Each reader takes the settings of a file (GGUF's pairs or ``config.json``) and its tensors, and
returns an ``Architecture``. Whatever would change a model's answers and is not built is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pxvm.core.errors import FormatError
from pxvm.models.families import bert, llama
from pxvm.models.families.bert import BertConfig
from pxvm.models.families.llama import LlamaConfig
from pxvm.models.families.settings import Settings
from pxvm.models.files.stored import Stored
from pxvm.models.graph.quantise import Floats

MAX_CONTEXT = 1 << 15  # rows of the rotary table that an import writes at most
Tensors = Mapping[str, Stored]

GGUF_LLAMA = {
    "embedding": "token_embd.weight", "norm": "output_norm.weight", "output": "output.weight",
    "attention_norm": "attn_norm.weight", "q": "attn_q.weight", "k": "attn_k.weight",
    "v": "attn_v.weight", "o": "attn_output.weight", "ff_norm": "ffn_norm.weight",
    "gate": "ffn_gate.weight", "up": "ffn_up.weight", "down": "ffn_down.weight",
}  # fmt: skip
GGUF_BERT = {
    "embedding": "token_embd.weight", "positions": "position_embd.weight",
    "type": "token_types.weight", "norm": "token_embd_norm.weight", "q": "attn_q.weight",
    "k": "attn_k.weight", "v": "attn_v.weight", "o": "attn_output.weight",
    "attention_norm": "attn_output_norm.weight", "up": "ffn_up.weight", "down": "ffn_down.weight",
    "ff_norm": "layer_output_norm.weight",
}  # fmt: skip
HF_LLAMA = {
    "embedding": "model.embed_tokens.weight", "norm": "model.norm.weight",
    "output": "lm_head.weight", "attention_norm": "input_layernorm.weight",
    "q": "self_attn.q_proj.weight", "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight", "o": "self_attn.o_proj.weight",
    "ff_norm": "post_attention_layernorm.weight", "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight", "down": "mlp.down_proj.weight",
}  # fmt: skip
HF_BERT = {
    "embedding": "embeddings.word_embeddings.weight",
    "positions": "embeddings.position_embeddings.weight",
    "type": "embeddings.token_type_embeddings.weight", "norm": "embeddings.LayerNorm.weight",
    "q": "attention.self.query.weight", "k": "attention.self.key.weight",
    "v": "attention.self.value.weight", "o": "attention.output.dense.weight",
    "attention_norm": "attention.output.LayerNorm.weight", "up": "intermediate.dense.weight",
    "down": "output.dense.weight", "ff_norm": "output.LayerNorm.weight",
}  # fmt: skip
# Settings of a GGUF that change no answer.
HARMLESS = (
    "expert_used_count", "rope.scaling.finetuned", "rope.scaling.original_context_length",
    "tensor_data_layout", "vocab_size",
)  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """What a file holds.

    Attributes:
        config: shapes for ``build_llama`` or ``build_bert``.
        names: the builder's names of weights to the file's.
        spare: beginnings of names of tensors that play no part.
        notes: what whoever imports it should know.
    """

    family: str
    config: LlamaConfig | BertConfig
    names: Mapping[str, str]
    spare: tuple[str, ...]
    notes: tuple[str, ...] = ()


def _names(
    table: Mapping[str, str], prefix: str, layer: str, shapes: Mapping[str, Any]
) -> dict[str, str]:
    """The file's name of every weight; ``layer`` is what stands before those of a layer."""
    found = {}
    for name in shapes:
        number, _, part = name.rpartition(".")
        theirs = table[part.removesuffix("_bias")]
        if part.endswith("_bias"):
            theirs = theirs.replace(".weight", ".bias")
        found[name] = prefix + (layer.format(number) if number else "") + theirs
    return found


def _vocabulary(where: str, tensors: Tensors, name: str) -> int:
    if name not in tensors:
        raise FormatError(f"{where}: expected a tensor {name}; found none")
    return tensors[name].shape[0]


def _layers(settings: Settings, key: str, tensors: Tensors) -> int:
    layers = settings.count(key)
    if layers > len(tensors):
        raise settings.error(key, f"at most as many layers as there are tensors, {len(tensors)}")
    return layers


def _check_heads(settings: Settings, key: str, width: int, heads: int) -> None:
    if width % heads:
        raise settings.error(key, f"a number of heads that divides {width}")


def _groups(settings: Settings, key: str, heads: int) -> int:
    """Heads of keys and values, as many as queries have or a part of them."""
    groups = settings.count(key, heads)
    if heads % groups:
        raise settings.error(key, f"a number that divides {heads} heads")
    return groups


def _head(settings: Settings, key: str, width: int, heads: int) -> int:
    """Columns of a head: said, or the width's share."""
    head = settings.count(key, max(1, width // heads))
    if head % 4:
        raise FormatError(f"{settings.where}: expected heads of whole pixels; found {head} columns")
    return head


def _context(settings: Settings, said: int, window: int | None) -> tuple[int, tuple[str, ...]]:
    """Positions that the rotary table gets, and a note where that is fewer than the file says.

    A token sees no further than the window: up to there, attention to all is the same.
    """
    context = min(said, MAX_CONTEXT, window or MAX_CONTEXT)
    if window is None or context == min(said, MAX_CONTEXT):
        return context, ()
    return context, (
        f"{settings.where}: attention sees {window} tokens; the context ends there, not at {said}",
    )


# GGUF


def gguf_llama(settings: Settings, tensors: Tensors) -> Architecture:
    """Llama and its equals (rotary pairs side by side), Qwen2 (halves, biases)."""
    kind = settings.values["general.architecture"]
    settings.only(f"{kind}.expert_count", None, 0)
    settings.only(f"{kind}.attention.causal", None, True)
    width = settings.columns(f"{kind}.embedding_length")
    heads = settings.count(f"{kind}.attention.head_count")
    head = _head(settings, f"{kind}.attention.key_length", width, heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        settings.only(f"{kind}.{key}", None, head)
    base = settings.real(f"{kind}.rope.freq_base", 10000.0)
    window = f"{kind}.attention.sliding_window"
    context, notes = _context(
        settings,
        settings.count(f"{kind}.context_length"),
        settings.count(window) if settings.get(window) else None,
    )
    config = LlamaConfig(
        layers=_layers(settings, f"{kind}.block_count", tensors),
        width=width,
        heads=heads,
        kv_heads=_groups(settings, f"{kind}.attention.head_count_kv", heads),
        ff=settings.columns(f"{kind}.feed_forward_length"),
        vocab=_vocabulary(settings.where, tensors, GGUF_LLAMA["embedding"]),
        rope_base=base,
        epsilon=settings.real(f"{kind}.attention.layer_norm_rms_epsilon"),
        context=context,
        interleaved=kind == "llama",
        tied=GGUF_LLAMA["output"] not in tensors,
        qkv_bias=kind == "qwen2",
        head_width=head,
        frequencies=_gguf_rates(settings, kind, tensors, head, base),
    )
    settings.close(f"{kind}.", *HARMLESS)
    names = _names(GGUF_LLAMA, "", "blk.{}.", llama.weight_shapes(config))
    return Architecture("llama", config, names, ("rope_freqs.",), notes)


def _gguf_rates(
    settings: Settings, kind: str, tensors: Tensors, head: int, base: float
) -> Floats | None:
    """Rotary rates of a file with scaled positions; None where base says it all.

    As llama.cpp has it, a factor counts under its old name too and where no type is said.
    """
    rope, divisor = f"{kind}.rope.", np.ones(head // 2)
    scaled = settings.only(f"{rope}scaling.type", None, "none", "linear") != "none"
    settings.only(f"{rope}scaling.attn_factor", None, 1.0)
    keys = (f"{rope}scaling.factor", f"{rope}scale_linear")
    said = [settings.real(key) for key in keys if settings.get(key) not in (None, 0.0)]
    if scaled and said:
        divisor = divisor * said[0]
    factors = tensors.get("rope_freqs.weight")
    if factors is not None:
        values = np.asarray(factors, np.float64)
        if values.shape != divisor.shape or not (values > 0).all():
            raise FormatError(
                f"{settings.where}: rope_freqs.weight: expected {len(divisor)} numbers > 0"
            )
        divisor = divisor * values
    if (divisor == 1).all():
        return None
    return np.asarray(base ** (-np.arange(0, head, 2) / head) / divisor)


def gguf_bert(settings: Settings, tensors: Tensors) -> Architecture:
    """BERT, with the pooling that the file says."""
    pooling = settings.only("bert.pooling_type", None, 1, 2)
    settings.only("bert.attention.causal", None, False)
    width = settings.columns("bert.embedding_length")
    heads = settings.count("bert.attention.head_count")
    _check_heads(settings, "bert.attention.head_count", width, heads)
    settings.only("bert.attention.head_count_kv", None, heads)
    config = BertConfig(
        layers=_layers(settings, "bert.block_count", tensors),
        width=width,
        heads=heads,
        ff=settings.columns("bert.feed_forward_length"),
        vocab=_vocabulary(settings.where, tensors, GGUF_BERT["embedding"]),
        positions=_vocabulary(settings.where, tensors, GGUF_BERT["positions"]),
        epsilon=settings.real("bert.attention.layer_norm_epsilon"),
        pooling="cls" if pooling == 2 else "mean",
    )
    settings.close("bert.", "context_length", *HARMLESS)
    notes = () if pooling else (
        f"{settings.where}: no bert.pooling_type says how a sentence's tokens become one vector:"
        " their mean is taken",
    )  # fmt: skip
    names = _names(GGUF_BERT, "", "blk.{}.", bert.weight_shapes(config))
    return Architecture("bert", config, names, (), notes)


# config.json beside safetensors


def hf_llama(settings: Settings, tensors: Tensors) -> Architecture:
    """Llama, Mistral, Qwen2."""
    kind = settings.values["model_type"]
    settings.only("hidden_act", None, "silu", "swish")
    for key in ("attention_bias", "mlp_bias"):
        settings.only(key, None, False)
    settings.only("quantization_config", None)
    width, heads = settings.columns("hidden_size"), settings.count("num_attention_heads")
    head = _head(settings, "head_dim", width, heads)
    rope = settings.inner("rope_parameters")
    rope = rope if rope.values else settings.inner("rope_scaling")
    base = rope.real("rope_theta", settings.real("rope_theta", 10000.0))
    for place in (settings, rope):
        place.only("partial_rotary_factor", None, 1, 1.0)
    tied = settings.only("tie_word_embeddings", None, False, True) is True
    context, notes = _context(
        settings, settings.count("max_position_embeddings", 2048), _hf_window(settings, kind)
    )
    config = LlamaConfig(
        layers=_layers(settings, "num_hidden_layers", tensors),
        width=width,
        heads=heads,
        kv_heads=_groups(settings, "num_key_value_heads", heads),
        ff=settings.columns("intermediate_size"),
        vocab=_vocabulary(settings.where, tensors, HF_LLAMA["embedding"]),
        rope_base=base,
        epsilon=settings.real("rms_norm_eps", 1e-6),
        context=context,
        interleaved=False,
        tied=tied,
        qkv_bias=kind == "qwen2",
        head_width=head,
        frequencies=_hf_rates(rope, head, base),
    )
    names = _names(HF_LLAMA, "", "model.layers.{}.", llama.weight_shapes(config))
    spare = tuple(n for n in tensors if n.endswith("rotary_emb.inv_freq"))
    spare += (HF_LLAMA["output"],) if tied else ()
    return Architecture("llama", config, names, spare, notes)


def _hf_window(settings: Settings, kind: str) -> int | None:
    """How far back a token sees, in any layer; None where it sees all."""
    layers = settings.get("layer_types") or []
    if not isinstance(layers, list) or not all(
        layer in ("full_attention", "sliding_attention") for layer in layers
    ):
        raise settings.error("layer_types", "full_attention and sliding_attention")
    asked = settings.only("use_sliding_window", None, False, True)
    slides = asked or "sliding_attention" in layers or (kind == "mistral" and asked is None)
    return settings.count("sliding_window") if slides and settings.get("sliding_window") else None


def _hf_rates(scaling: Settings, head: int, base: float) -> Floats | None:
    """Rotary rates with scaled positions; None where base says it all."""
    kinds = [scaling.only(key, None, "default", "linear", "dynamic", "llama3")
             for key in ("rope_type", "type")]  # fmt: skip
    if None not in kinds and kinds[0] != kinds[1]:
        raise scaling.error("type", f"{kinds[0]}, as rope_type says")
    kind = kinds[0] or kinds[1] or "default"
    rates, factor = base ** (-np.arange(0, head, 2) / head), 1.0
    if kind != "default":
        factor = scaling.real("factor")
    if kind == "llama3":  # waves longer than the trained context are stretched, short ones stay
        low, high = scaling.real("low_freq_factor"), scaling.real("high_freq_factor")
        turns = scaling.count("original_max_position_embeddings") * rates / (2 * math.pi)
        if low >= high:
            raise scaling.error("high_freq_factor", f"more than low_freq_factor, {low}")
        stay = np.clip((turns - low) / (high - low), 0, 1)
        rates = rates * (stay + (1 - stay) / factor)
    elif kind == "linear":
        rates = rates / factor
    scaling.close("", "original_max_position_embeddings")
    # "dynamic" changes rates for texts longer than the context only, and there are none.
    return None if kind in ("default", "dynamic") else np.asarray(rates)


def hf_bert(settings: Settings, tensors: Tensors) -> Architecture:
    """BERT; how sentences are pooled is not in this file."""
    settings.only("hidden_act", None, "gelu")
    settings.only("position_embedding_type", None, "absolute")
    for key in ("is_decoder", "add_cross_attention"):
        settings.only(key, None, False)
    settings.only("quantization_config", None)
    width, heads = settings.columns("hidden_size"), settings.count("num_attention_heads")
    _check_heads(settings, "num_attention_heads", width, heads)
    prefix = "bert." if f"bert.{HF_BERT['embedding']}" in tensors else ""
    config = BertConfig(
        layers=_layers(settings, "num_hidden_layers", tensors),
        width=width,
        heads=heads,
        ff=settings.columns("intermediate_size"),
        vocab=_vocabulary(settings.where, tensors, prefix + HF_BERT["embedding"]),
        positions=_vocabulary(settings.where, tensors, prefix + HF_BERT["positions"]),
        epsilon=settings.real("layer_norm_eps", 1e-12),
    )
    names = _names(HF_BERT, prefix, "encoder.layer.{}.", bert.weight_shapes(config))
    names = {ours: _norm_name(theirs, tensors) for ours, theirs in names.items()}
    return Architecture("bert", config, names, (prefix + "pooler.", "cls."))


def _norm_name(name: str, tensors: Tensors) -> str:
    """The name of a norm's weight or bias, as TensorFlow's checkpoints had it where so given."""
    old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    old = old.replace("LayerNorm.bias", "LayerNorm.beta")
    return old if old in tensors and name not in tensors else name


GGUF: dict[str, Callable[[Settings, Tensors], Architecture]] = {
    "llama": gguf_llama, "qwen2": gguf_llama, "bert": gguf_bert,
}  # fmt: skip
HF: dict[str, Callable[[Settings, Tensors], Architecture]] = {
    "llama": hf_llama, "mistral": hf_llama, "qwen2": hf_llama, "bert": hf_bert,
}  # fmt: skip
