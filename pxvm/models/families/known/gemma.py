"""Gemma 3's text models: five layers that see a window for each that sees all, each of the two
with rotary rates of its own; norms before and behind; norms whose weights count from 1 (in
``config.json``'s files, GGUF has added it); embeddings times the root of the width.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pxvm.models.families.decoders import gguf_decoder, hf_decoder, hf_rope
from pxvm.models.families.family import DECODER, Architecture, Family, Piece, Tensors, layer_count
from pxvm.models.families.llama import LlamaConfig
from pxvm.models.families.settings import Settings

PATTERN = 6  # of so many layers the last sees all
LOCAL_BASE = 10000.0
USUAL = {
    "max_position_embeddings": 131072, "rope_theta": 1e6, "sliding_window": 4096,
    "tie_word_embeddings": True,
}  # fmt: skip
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


def _scaled(found: Architecture) -> Architecture:
    """With embeddings times the root of the width."""
    config = found.config
    assert isinstance(config, LlamaConfig)
    return replace(found, config=replace(config, embedding_scale=math.sqrt(config.width)))


def _gguf(settings: Settings, tensors: Tensors) -> Architecture:
    pattern = settings.count("gemma3.attention.sliding_window_pattern", PATTERN)
    found = gguf_decoder(
        settings, tensors, interleaved=False, qk_norm=True, post_norms=True,
        activation="normal_tanh", sliding=lambda i: (i + 1) % pattern != 0,
        local_base=settings.real("gemma3.rope.freq_base_swa", LOCAL_BASE),
    )  # fmt: skip
    config = found.config
    assert isinstance(config, LlamaConfig)
    if config.layers == LARGEST:
        width = config.width / config.heads
        found = replace(found, config=replace(config, score_scale=1 / math.sqrt(width)))
    return _scaled(found)


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
    elif settings.get("rope_parameters"):
        raise settings.error("rope_parameters", "full_attention and sliding_attention")
    pattern = settings.count("sliding_window_pattern", PATTERN)
    layers = layer_count(settings, "num_hidden_layers", tensors)
    found = hf_decoder(
        settings, tensors, usual=USUAL, rope=rope, table=NORMS, qk_norm=True, post_norms=True,
        gates=(None, "gelu_pytorch_tanh"), activation="normal_tanh", typed=True,
        sliding=[i for i in range(layers) if (i + 1) % pattern != 0], local_base=local_base,
        score_scale=settings.real("query_pre_attn_scalar", 256.0) ** -0.5,
    )  # fmt: skip
    names = {
        ours: Piece(str(theirs), plus=1.0) if ours.endswith("norm") else theirs
        for ours, theirs in found.names.items()
    }
    return _scaled(replace(found, names=names))


FAMILY = Family(
    "Gemma 3, text", DECODER, gguf={"gemma3": _gguf}, hf={"gemma3_text": _hf}, template=TEMPLATE
)
