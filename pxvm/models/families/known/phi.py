"""Phi-3, 3.5 and Phi-4-mini: fused weights, of whose heads a part may turn; LongRoPE.

LongRoPE has other rotary rates for texts longer than those of the first training; the context ends
there. Its factor of what turns counts for all.
"""

from __future__ import annotations

from dataclasses import replace

from pxvm.models.families.decoders import MAX_CONTEXT, fused, gguf_decoder, hf_decoder
from pxvm.models.families.family import DECODER, Architecture, Family, Tensors, layer_count
from pxvm.models.families.llama import LlamaConfig
from pxvm.models.families.settings import Settings

USUAL = {
    "max_position_embeddings": 4096, "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}  # fmt: skip


def _pieces(found: Architecture, qkv: str, gate_up: str, layer: str) -> Architecture:
    config = found.config
    assert isinstance(config, LlamaConfig)
    rates = config.frequencies
    rotated = config.head if rates is None else 2 * int((rates > 0).sum())
    names = fused(dict(found.names), config, qkv, gate_up, layer, rotated)
    return replace(found, names=names)


def _gguf(settings: Settings, tensors: Tensors) -> Architecture:
    rope = "phi3.rope."
    long = "rope_factors_short.weight" in tensors
    notes: tuple[str, ...] = ()
    context = MAX_CONTEXT
    if long:
        said = settings.count("phi3.context_length")
        context = settings.count(f"{rope}scaling.original_context_length", said)
        if context < said:
            notes = (
                f"{settings.where}: beyond {context} tokens its rotary rates change; the context"
                " ends there",
            )
    rotated = settings.get(f"{rope}dimension_count")
    if rotated is not None:
        rotated = settings.count(f"{rope}dimension_count")
        if rotated % 2:
            raise settings.error(f"{rope}dimension_count", "an even number of columns")
    found = gguf_decoder(
        settings, tensors, rotated=rotated, context=context, interleaved=False,
        amplitude=settings.real(f"{rope}scaling.attn_factor", 1.0),
    )  # fmt: skip
    found = replace(found, notes=(*found.notes, *notes))
    return _pieces(found, "attn_qkv.weight", "ffn_up.weight", "blk.{}.")


def _hf(settings: Settings, tensors: Tensors) -> Architecture:
    layers = range(layer_count(settings, "num_hidden_layers", tensors))
    found = hf_decoder(settings, tensors, usual=USUAL, sliding=layers, partial=True)
    layer = "model.layers.{}."
    return _pieces(found, "self_attn.qkv_proj.weight", "mlp.gate_up_proj.weight", layer)


FAMILY = Family("Phi-3, Phi-4-mini", DECODER, gguf={"phi3": _gguf}, hf={"phi3": _hf})
