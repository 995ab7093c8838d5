"""BERT and what is shaped like it: MiniLM, BGE, E5, GTE; RoBERTa and XLM-R, whose positions begin
behind the number of the padding token. How sentences are pooled, ``sentences`` reads.
"""

from __future__ import annotations

from typing import Any

from pxvm.models.families import bert
from pxvm.models.families.bert import BertConfig
from pxvm.models.families.family import (
    ENCODER,
    HARMLESS,
    Architecture,
    Family,
    Piece,
    Tensors,
    check_heads,
    layer_count,
    named,
    said_vocabulary,
    vocabulary,
)
from pxvm.models.families.settings import Settings

GGUF_NAMES = {
    "embedding": "token_embd.weight", "positions": "position_embd.weight",
    "type": "token_types.weight", "norm": "token_embd_norm.weight", "q": "attn_q.weight",
    "k": "attn_k.weight", "v": "attn_v.weight", "o": "attn_output.weight",
    "attention_norm": "attn_output_norm.weight", "up": "ffn_up.weight", "down": "ffn_down.weight",
    "ff_norm": "layer_output_norm.weight",
}  # fmt: skip
HF_NAMES = {
    "embedding": "embeddings.word_embeddings.weight",
    "positions": "embeddings.position_embeddings.weight",
    "type": "embeddings.token_type_embeddings.weight", "norm": "embeddings.LayerNorm.weight",
    "q": "attention.self.query.weight", "k": "attention.self.key.weight",
    "v": "attention.self.value.weight", "o": "attention.output.dense.weight",
    "attention_norm": "attention.output.LayerNorm.weight", "up": "intermediate.dense.weight",
    "down": "output.dense.weight", "ff_norm": "output.LayerNorm.weight",
}  # fmt: skip
GELU = (None, "gelu")


def _gguf(settings: Settings, tensors: Tensors) -> Architecture:
    """BERT, with the pooling that the file says; XLM-R's positions have been cut by its maker."""
    pooling = settings.only("bert.pooling_type", None, 1, 2)
    settings.only("bert.attention.causal", None, False)
    width = settings.columns("bert.embedding_length")
    heads = settings.count("bert.attention.head_count")
    check_heads(settings, "bert.attention.head_count", width, heads)
    settings.only("bert.attention.head_count_kv", None, heads)
    config = BertConfig(
        layers=layer_count(settings, "bert.block_count", tensors),
        width=width,
        heads=heads,
        ff=settings.columns("bert.feed_forward_length"),
        vocab=vocabulary(settings.where, tensors, GGUF_NAMES["embedding"]),
        positions=vocabulary(settings.where, tensors, GGUF_NAMES["positions"]),
        epsilon=settings.real("bert.attention.layer_norm_epsilon"),
        pooling="cls" if pooling == 2 else "mean",
    )
    settings.close("bert.", "context_length", *HARMLESS)
    notes = () if pooling else (
        f"{settings.where}: no bert.pooling_type says how a sentence's tokens become one vector:"
        " their mean is taken",
    )  # fmt: skip
    return Architecture(
        config, named(GGUF_NAMES, "", "blk.{}.", bert.weight_shapes(config)), (), notes
    )


def _hf(
    settings: Settings, tensors: Tensors, prefix: str = "bert.", first: int = 0
) -> Architecture:
    """An encoder; how sentences are pooled is not in this file.

    Args:
        prefix: before all names, in some files.
        first: the first position's row.
    """
    settings.only("hidden_act", *GELU)
    settings.only("position_embedding_type", None, "absolute")
    for key in ("is_decoder", "add_cross_attention"):
        settings.only(key, None, False)
    settings.only("quantization_config", None)
    width, heads = settings.columns("hidden_size"), settings.count("num_attention_heads")
    check_heads(settings, "num_attention_heads", width, heads)
    prefix = prefix if f"{prefix}{HF_NAMES['embedding']}" in tensors else ""
    positions = vocabulary(settings.where, tensors, prefix + HF_NAMES["positions"]) - first
    if positions < 1:
        raise settings.error("max_position_embeddings", f"more than {first} positions")
    config = BertConfig(
        layers=layer_count(settings, "num_hidden_layers", tensors),
        width=width,
        heads=heads,
        ff=settings.columns("intermediate_size"),
        vocab=said_vocabulary(settings, tensors, prefix + HF_NAMES["embedding"]),
        positions=positions,
        epsilon=settings.real("layer_norm_eps", 1e-12),
    )
    names = named(HF_NAMES, prefix, "encoder.layer.{}.", bert.weight_shapes(config))
    found: dict[str, Any] = {
        ours: _norm_name(str(theirs), tensors) for ours, theirs in names.items()
    }
    if first:
        found["positions"] = Piece(found["positions"], (first, positions))
    spare = (prefix + "pooler.", "cls.", "lm_head.", "embeddings.position_ids")
    return Architecture(config, found, (*spare, prefix + "embeddings.position_ids"))


def _roberta(settings: Settings, tensors: Tensors) -> Architecture:
    padding = settings.only("pad_token_id", None, 0, 1, 2, 3)
    return _hf(settings, tensors, "roberta.", (1 if padding is None else padding) + 1)


def _norm_name(name: str, tensors: Tensors) -> str:
    """The name of a norm's weight or bias, as TensorFlow's checkpoints had it where so given."""
    old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    old = old.replace("LayerNorm.bias", "LayerNorm.beta")
    return old if old in tensors and name not in tensors else name


FAMILY = Family(
    "BERT, MiniLM, BGE, E5, GTE, RoBERTa, XLM-R",
    ENCODER,
    gguf={"bert": _gguf},
    hf={"bert": _hf, "roberta": _roberta, "xlm-roberta": _roberta, "camembert": _roberta},
)
