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
from pxvm.models.files.stored import Stored
from pxvm.models.graph.quantise import Floats

MAX_EXTENT = 1 << 24
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


@dataclass(frozen=True)
class Architecture:
    """What a file holds.

    Attributes:
        config: shapes for ``build_llama`` or ``build_bert``.
        names: the builder's names of weights to the file's.
        spare: beginnings of names of tensors that play no part.
    """

    family: str
    config: LlamaConfig | BertConfig
    names: Mapping[str, str]
    spare: tuple[str, ...]


class Settings:
    """Settings by name whose kinds and sizes are checked when they are read."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where, self.values = where, values

    def error(self, key: str, expected: str) -> FormatError:
        return FormatError(
            f"{self.where}: {key}: expected {expected}; found {self.values.get(key)!r:.60}"
        )

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number of 1 to 2^24; the default where there is none."""
        value = self.values.get(key)
        value = default if value is None else value
        if type(value) is not int or not 1 <= value <= MAX_EXTENT:
            raise self.error(key, f"a whole number of 1 to {MAX_EXTENT}")
        return value

    def columns(self, key: str) -> int:
        """A whole number that fills whole pixels, which hold four int8 weights each."""
        value = self.count(key)
        if value % 4:
            raise self.error(key, "a multiple of 4")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """A number above 0."""
        value = self.values.get(key)
        value = default if value is None else value
        if type(value) not in (int, float) or not 0 < value < math.inf:  # type: ignore[operator]
            raise self.error(key, "a number above 0")
        return float(value)  # type: ignore[arg-type]

    def only(self, key: str, *allowed: Any) -> None:
        """Raise FormatError unless the setting is one of those, or missing where None is."""
        value = self.values.get(key)
        if not any(value == a and type(value) is type(a) for a in allowed):
            raise self.error(key, f"one of {', '.join(map(str, allowed))}")

    def inner(self, key: str) -> Settings:
        """Settings inside the setting; none where it is missing."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self.error(key, "settings")
        return Settings(f"{self.where}: {key}", value or {})


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


# GGUF


def gguf_llama(settings: Settings, tensors: Tensors) -> Architecture:
    """Llama and its equals (rotary pairs side by side), Qwen2 (halves, biases)."""
    kind = settings.values["general.architecture"]
    settings.only(f"{kind}.expert_count", None, 0)
    width = settings.columns(f"{kind}.embedding_length")
    heads = settings.count(f"{kind}.attention.head_count")
    head = _head(settings, f"{kind}.attention.key_length", width, heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        settings.only(f"{kind}.{key}", None, head)
    base = settings.real(f"{kind}.rope.freq_base", 10000.0)
    config = LlamaConfig(
        layers=_layers(settings, f"{kind}.block_count", tensors),
        width=width,
        heads=heads,
        kv_heads=_groups(settings, f"{kind}.attention.head_count_kv", heads),
        ff=settings.columns(f"{kind}.feed_forward_length"),
        vocab=_vocabulary(settings.where, tensors, GGUF_LLAMA["embedding"]),
        rope_base=base,
        epsilon=settings.real(f"{kind}.attention.layer_norm_rms_epsilon"),
        context=min(settings.count(f"{kind}.context_length"), MAX_CONTEXT),
        interleaved=kind == "llama",
        tied=GGUF_LLAMA["output"] not in tensors,
        qkv_bias=kind == "qwen2",
        head_width=head,
        frequencies=_gguf_rates(settings, kind, tensors, head, base),
    )
    names = _names(GGUF_LLAMA, "", "blk.{}.", llama.weight_shapes(config))
    return Architecture("llama", config, names, ("rope_freqs.",))


def _gguf_rates(
    settings: Settings, kind: str, tensors: Tensors, head: int, base: float
) -> Floats | None:
    """Rotary rates of a file with scaled positions; None where base says it all."""
    settings.only(f"{kind}.rope.scaling.type", None, "none", "linear")
    rates = base ** (-np.arange(0, head, 2) / head)
    if settings.values.get(f"{kind}.rope.scaling.type") == "linear":
        return np.asarray(rates / settings.real(f"{kind}.rope.scaling.factor"))
    factors = tensors.get("rope_freqs.weight")
    if factors is None:
        return None
    values = np.asarray(factors, np.float64)
    if values.shape != rates.shape or not (values > 0).all():
        raise FormatError(f"{settings.where}: rope_freqs.weight: expected {len(rates)} numbers > 0")
    return np.asarray(rates / values)


def gguf_bert(settings: Settings, tensors: Tensors) -> Architecture:
    """BERT with mean pooling."""
    settings.only("bert.pooling_type", None, 1)
    width = settings.columns("bert.embedding_length")
    heads = settings.count("bert.attention.head_count")
    _check_heads(settings, "bert.attention.head_count", width, heads)
    config = BertConfig(
        layers=_layers(settings, "bert.block_count", tensors),
        width=width,
        heads=heads,
        ff=settings.columns("bert.feed_forward_length"),
        vocab=_vocabulary(settings.where, tensors, GGUF_BERT["embedding"]),
        positions=_vocabulary(settings.where, tensors, GGUF_BERT["positions"]),
        epsilon=settings.real("bert.attention.layer_norm_epsilon"),
    )
    names = _names(GGUF_BERT, "", "blk.{}.", bert.weight_shapes(config))
    return Architecture("bert", config, names, ())


# config.json beside safetensors


def hf_llama(settings: Settings, tensors: Tensors) -> Architecture:
    """Llama, Mistral without a window, Qwen2."""
    kind = settings.values["model_type"]
    settings.only("hidden_act", None, "silu")
    for key in ("attention_bias", "mlp_bias", "use_sliding_window"):
        settings.only(key, None, False)
    if kind == "mistral":
        settings.only("sliding_window", None)
    width, heads = settings.columns("hidden_size"), settings.count("num_attention_heads")
    head = _head(settings, "head_dim", width, heads)
    rope = settings.inner("rope_parameters")
    base = rope.real("rope_theta", settings.real("rope_theta", 10000.0))
    settings.only("tie_word_embeddings", None, False, True)
    tied = settings.values.get("tie_word_embeddings") is True
    config = LlamaConfig(
        layers=_layers(settings, "num_hidden_layers", tensors),
        width=width,
        heads=heads,
        kv_heads=_groups(settings, "num_key_value_heads", heads),
        ff=settings.columns("intermediate_size"),
        vocab=_vocabulary(settings.where, tensors, HF_LLAMA["embedding"]),
        rope_base=base,
        epsilon=settings.real("rms_norm_eps", 1e-6),
        context=min(settings.count("max_position_embeddings", 2048), MAX_CONTEXT),
        interleaved=False,
        tied=tied,
        qkv_bias=kind == "qwen2",
        head_width=head,
        frequencies=_hf_rates(rope if rope.values else settings.inner("rope_scaling"), head, base),
    )
    names = _names(HF_LLAMA, "", "model.layers.{}.", llama.weight_shapes(config))
    spare = tuple(n for n in tensors if n.endswith("rotary_emb.inv_freq"))
    return Architecture("llama", config, names, spare + ((HF_LLAMA["output"],) if tied else ()))


def _hf_rates(scaling: Settings, head: int, base: float) -> Floats | None:
    """Rotary rates with scaled positions; None where base says it all."""
    key = "rope_type" if "rope_type" in scaling.values else "type"
    scaling.only(key, None, "default", "linear", "llama3")
    kind = scaling.values.get(key)
    if kind in (None, "default"):
        return None
    rates, factor = base ** (-np.arange(0, head, 2) / head), scaling.real("factor")
    if kind == "linear":
        return np.asarray(rates / factor)
    # Llama 3.1: waves longer than the trained context are stretched, short ones stay.
    low, high = scaling.real("low_freq_factor"), scaling.real("high_freq_factor")
    turns = scaling.count("original_max_position_embeddings") * rates / (2 * math.pi)
    if low >= high:
        raise scaling.error("high_freq_factor", f"more than low_freq_factor, {low}")
    stay = np.clip((turns - low) / (high - low), 0, 1)
    return np.asarray(rates * (stay + (1 - stay) / factor))


def hf_bert(settings: Settings, tensors: Tensors) -> Architecture:
    """BERT; how sentences are pooled is not in this file."""
    settings.only("hidden_act", None, "gelu")
    settings.only("position_embedding_type", None, "absolute")
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
    return Architecture("bert", config, names, (prefix + "pooler.", "cls."))


GGUF: dict[str, Callable[[Settings, Tensors], Architecture]] = {
    "llama": gguf_llama, "qwen2": gguf_llama, "bert": gguf_bert,
}  # fmt: skip
HF: dict[str, Callable[[Settings, Tensors], Architecture]] = {
    "llama": hf_llama, "mistral": hf_llama, "qwen2": hf_llama, "bert": hf_bert,
}  # fmt: skip
