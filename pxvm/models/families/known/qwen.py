"""Qwen2 and 2.5, whose queries, keys and values have biases; Qwen3, which normalises them."""

from __future__ import annotations

from pxvm.models.families.decoders import gguf_decoder, hf_decoder
from pxvm.models.families.family import DECODER, Architecture, Family, Tensors
from pxvm.models.families.settings import Settings


def _gguf2(settings: Settings, tensors: Tensors) -> Architecture:
    return gguf_decoder(settings, tensors, interleaved=False, qkv_bias=True)


def _gguf3(settings: Settings, tensors: Tensors) -> Architecture:
    return gguf_decoder(settings, tensors, interleaved=False, qk_norm=True)


def _hf2(settings: Settings, tensors: Tensors) -> Architecture:
    return hf_decoder(settings, tensors, qkv_bias=True)


def _hf3(settings: Settings, tensors: Tensors) -> Architecture:
    return hf_decoder(settings, tensors, qk_norm=True)


FAMILY = Family(
    "Qwen 2 to 3",
    DECODER,
    gguf={"qwen2": _gguf2, "qwen3": _gguf3},
    hf={"qwen2": _hf2, "qwen3": _hf3},
)
