"""Llama 1 to 3, and its equals: Mistral with or without a window, SmolLM 1 and 2."""

from __future__ import annotations

from pxvm.models.families.decoders import gguf_decoder, hf_decoder
from pxvm.models.families.family import DECODER, Architecture, Family, Tensors
from pxvm.models.families.settings import Settings


def _mistral(settings: Settings, tensors: Tensors) -> Architecture:
    return hf_decoder(settings, tensors, slides_unasked=True)


FAMILY = Family(
    "Llama, Mistral, SmolLM",
    DECODER,
    gguf={"llama": gguf_decoder},
    hf={"llama": hf_decoder, "mistral": _mistral},
)
