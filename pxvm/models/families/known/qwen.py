"""Qwen2 and 2.5, whose queries, keys and values have biases; Qwen3, which normalises them."""

from __future__ import annotations

from typing import Any

from pxvm.models.families.decoders import gguf_decoder, hf_decoder
from pxvm.models.families.family import DECODER, Architecture, Family, Tensors, layer_count
from pxvm.models.families.settings import Settings

USUAL = {"max_position_embeddings": 32768}
WINDOW, FIRST = 4096, 28  # where windows are asked for: their width, and the first layer with one


def _gguf2(settings: Settings, tensors: Tensors) -> Architecture:
    return gguf_decoder(settings, tensors, interleaved=False, qkv_bias=True)


def _gguf3(settings: Settings, tensors: Tensors) -> Architecture:
    return gguf_decoder(settings, tensors, interleaved=False, qk_norm=True)


def _hf(settings: Settings, tensors: Tensors, **own: Any) -> Architecture:
    sliding = range(0)
    if settings.only("use_sliding_window", None, False, True):
        first = settings.get("max_window_layers")
        first = 0 if first == 0 else settings.count("max_window_layers", FIRST)
        sliding = range(first, layer_count(settings, "num_hidden_layers", tensors))
        usual = USUAL | {"sliding_window": WINDOW}
    else:  # whatever it says of one, there is no window
        settings, usual = settings.but({"sliding_window": None}), USUAL
    return hf_decoder(settings, tensors, usual=usual, sliding=sliding, typed=True, **own)


def _hf2(settings: Settings, tensors: Tensors) -> Architecture:
    return _hf(settings, tensors, qkv_bias=True)


def _hf3(settings: Settings, tensors: Tensors) -> Architecture:
    return _hf(settings, tensors, qk_norm=True)


FAMILY = Family(
    "Qwen 2 to 3",
    DECODER,
    gguf={"qwen2": _gguf2, "qwen3": _gguf3},
    hf={"qwen2": _hf2, "qwen3": _hf3},
)
