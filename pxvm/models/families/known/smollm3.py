"""SmolLM3: a Llama of which every fourth layer has no rotary positions."""

from __future__ import annotations

from pxvm.models.families.decoders import gguf_decoder, hf_decoder
from pxvm.models.families.family import DECODER, Architecture, Family, Tensors, layer_count
from pxvm.models.families.settings import Settings

STEP = 4
USUAL = {
    "max_position_embeddings": 32768, "rope_theta": 2e6, "tie_word_embeddings": True,
}  # fmt: skip


def _every(step: int, layers: int) -> frozenset[int]:
    return frozenset(range(step - 1, layers, step))


def _gguf(settings: Settings, tensors: Tensors) -> Architecture:
    layers = layer_count(settings, "smollm3.block_count", tensors)
    return gguf_decoder(settings, tensors, unrotated=_every(STEP, layers))


def _hf(settings: Settings, tensors: Tensors) -> Architecture:
    layers = layer_count(settings, "num_hidden_layers", tensors)
    unrotated = _every(settings.count("no_rope_layer_interval", STEP), layers)
    if (has := settings.get("no_rope_layers")) is not None:  # 1 where a layer has positions
        if not isinstance(has, list) or len(has) != layers or not all(x in (0, 1) for x in has):
            raise settings.error("no_rope_layers", f"{layers} numbers of 0 and 1")
        unrotated = frozenset(i for i, rotates in enumerate(has) if not rotates)
    asked = settings.only("use_sliding_window", None, False, True)
    if not asked:  # whatever it says of one, there is no window
        settings = settings.but({"sliding_window": None})
    return hf_decoder(
        settings, tensors, usual=USUAL, sliding=unrotated if asked else (), typed=True,
        unrotated=unrotated,
    )  # fmt: skip


FAMILY = Family("SmolLM3", DECODER, gguf={"smollm3": _gguf}, hf={"smollm3": _hf})
