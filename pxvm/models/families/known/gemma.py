"""Gemma 3's text models: five layers that see a window for each that sees all, each of the two
with rotary rates of its own; norms before and behind; norms whose weights count from 1 (in
``config.json``'s files, GGUF has added it); embeddings times the root of the width.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pxvm.models.families.decoders import gguf_decoder, hf_decoder, hf_rope, rates_of
from pxvm.models.families.family import DECODER, Architecture, Family, Piece, Tensors
from pxvm.models.families.llama import LlamaConfig
from pxvm.models.families.settings import Settings

PATTERN = 6  # of so many layers the last sees all
LOCAL_BASE = 10000.0
LARGEST = 62  # layers of the 27B model, whose scores have another factor
NORMS = {
    "o_norm": "post_attention_layernorm.weight",
    "ff_norm": "pre_feedforward_layernorm.weight",
    "down_norm": "post_feedforward_layernorm.weight",
}
TEMPLATE = (
    "{{ bos_token }}{% set ns = namespace(first='') %}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{% set ns.first = message['content'] + '\\n\\n' %}"
    "{% else %}<start_of_turn>{{ 'model' if message['role'] == 'assistant' else 'user' }}\n"
    "{{ ns.first }}{{ message['content'] | trim }}<end_of_turn>\n{% set ns.first = '' %}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def _finished(found: Architecture, local_base: float) -> Architecture:
    """What follows from the shapes."""
    config = found.config
    assert isinstance(config, LlamaConfig)
    local = rates_of(local_base, config.head)
    scale = math.sqrt(config.width)
    return replace(found, config=replace(config, local_frequencies=local, embedding_scale=scale))


def _gguf(settings: Settings, tensors: Tensors) -> Architecture:
    local_base = settings.real("gemma3.rope.freq_base_swa", LOCAL_BASE)
    pattern = settings.count("gemma3.attention.sliding_window_pattern", PATTERN)
    found = gguf_decoder(
        settings, tensors, interleaved=False, qk_norm=True, post_norms=True,
        activation="normal_tanh", sliding=lambda i: (i + 1) % pattern != 0,
    )  # fmt: skip
    config = found.config
    assert isinstance(config, LlamaConfig)
    if config.layers == LARGEST:
        width = config.width / config.heads
        found = replace(found, config=replace(config, score_scale=1 / math.sqrt(width)))
    return _finished(found, local_base)


def _hf(settings: Settings, tensors: Tensors) -> Architecture:
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        settings.only(key, None)
    settings.only("use_bidirectional_attention", None, False)
    settings.only("hidden_activation", None, "gelu_pytorch_tanh")
    rope = hf_rope(settings)
    local_base = settings.real("rope_local_base_freq", LOCAL_BASE)
    if rope.get("full_attention") is not None:
        local = rope.inner("sliding_attention")
        local.only("rope_type", None, "default")
        local_base, rope = local.real("rope_theta", local_base), rope.inner("full_attention")
    if settings.get("layer_types") is None:
        layers = settings.count("num_hidden_layers")
        pattern = settings.count("sliding_window_pattern", PATTERN)
        kinds = ["full_attention" if (i + 1) % pattern == 0 else "sliding_attention"
                 for i in range(layers)]  # fmt: skip
        settings = Settings(settings.where, {**settings.values, "layer_types": kinds})
    if settings.get("rope_theta") is None and rope.get("rope_theta") is None:
        settings = Settings(settings.where, {**settings.values, "rope_theta": 1e6})
    found = hf_decoder(
        settings, tensors, rope=rope, table=NORMS, tied=True, qk_norm=True, post_norms=True,
        gates=(None, "gelu_pytorch_tanh"), activation="normal_tanh",
        score_scale=settings.real("query_pre_attn_scalar", 256.0) ** -0.5,
    )  # fmt: skip
    names = {
        ours: Piece(str(theirs), plus=1.0) if ours.endswith("norm") else theirs
        for ours, theirs in found.names.items()
    }
    return _finished(replace(found, names=names), local_base)


FAMILY = Family(
    "Gemma 3, text", DECODER, gguf={"gemma3": _gguf}, hf={"gemma3_text": _hf}, template=TEMPLATE
)
