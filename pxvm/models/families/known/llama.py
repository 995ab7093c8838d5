"""Llama 1 to 3, and its equals: Mistral with or without a window, SmolLM 1 and 2."""

from __future__ import annotations

from pxvm.models.families.decoders import gguf_decoder, hf_decoder
from pxvm.models.families.family import DECODER, Architecture, Family, Tensors, layer_count
from pxvm.models.families.settings import Settings

USUAL = {"max_position_embeddings": 2048}
USUAL_MISTRAL = {"max_position_embeddings": 131072, "sliding_window": 4096}


def _llama(settings: Settings, tensors: Tensors) -> Architecture:
    return hf_decoder(settings, tensors, usual=USUAL)


def _mistral(settings: Settings, tensors: Tensors) -> Architecture:
    layers = range(layer_count(settings, "num_hidden_layers", tensors))
    return hf_decoder(settings, tensors, usual=USUAL_MISTRAL, sliding=layers)


FAMILY = Family(
    "Llama, Mistral, SmolLM",
    DECODER,
    gguf={"llama": gguf_decoder},
    hf={"llama": _llama, "mistral": _mistral},
)
