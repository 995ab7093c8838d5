"""Small random models written as GGUF and safetensors files by the libraries that own them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from safetensors.numpy import save_file

from pxvm import run_program
from pxvm.models.families import bert, llama
from pxvm.models.families.bert import BertConfig
from pxvm.models.families.decoders import GGUF_NAMES as GGUF_LLAMA
from pxvm.models.families.decoders import HF_NAMES as HF_LLAMA
from pxvm.models.families.known.bert import GGUF_NAMES as GGUF_BERT
from pxvm.models.families.known.bert import HF_NAMES as HF_BERT
from pxvm.models.families.llama import LlamaConfig, resize_context, set_tokens
from pxvm.models.graph.fields import Fields
from tests.models.plain_models import random_weights

TINY = LlamaConfig(2, 64, 4, 2, 96, 80, context=64)
TINY_BERT = BertConfig(2, 64, 4, 96, 80, 32)


def llama_weights(config: LlamaConfig, seed: int = 1) -> dict[str, Any]:
    """Float32 weights; small embeddings, so that a tied output does not repeat its input."""
    weights = random_weights(llama.weight_shapes(config), seed)
    weights["embedding"] *= 0.2
    return {name: w.astype(np.float32) for name, w in weights.items()}


def bert_weights(config: BertConfig, seed: int = 2) -> dict[str, Any]:
    weights = random_weights(bert.weight_shapes(config), seed)
    return {name: w.astype(np.float32) for name, w in weights.items()}


def permuted(weight: Any, heads: int) -> Any:
    """Rows of q or k with rotary halves as GGUF's Llama has them: pairs side by side."""
    head = len(weight) // heads
    return weight.reshape(heads, 2, head // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def names(table: dict[str, str], layer: str, weights: dict[str, Any]) -> dict[str, str]:
    """Our names to a file's."""
    found = {}
    for name in weights:
        number, _, part = name.rpartition(".")
        theirs = table[part.removesuffix("_bias")]
        if part.endswith("_bias"):
            theirs = theirs.replace(".weight", ".bias")
        found[name] = layer.format(number) + theirs if number else theirs
    return found


def write_gguf(
    path: Path, architecture: str, settings: dict[str, Any], tensors: dict[str, Any],
    kind: GGMLQuantizationType = GGMLQuantizationType.F32, *, most: int = 0,
    vocabulary: Callable[[GGUFWriter], None] | None = None,
) -> Path:  # fmt: skip
    """A GGUF file; matrices in one format, vectors in float32. Returns the path.

    Args:
        most: tensors in a file, of which there are several then.
        vocabulary: writes one; without it the file has none.
    """
    writer = GGUFWriter(path, architecture, split_max_tensors=most)
    for key, value in settings.items():
        if isinstance(value, bool):
            writer.add_bool(f"{architecture}.{key}", value)
        elif isinstance(value, float):
            writer.add_float32(f"{architecture}.{key}", value)
        elif isinstance(value, str):
            writer.add_string(f"{architecture}.{key}", value)
        else:
            writer.add_uint32(f"{architecture}.{key}", value)
    if vocabulary is None:
        writer.add_tokenizer_model("none")
    else:
        vocabulary(writer)
    for name, values in tensors.items():
        if values.ndim == 1 or kind == GGMLQuantizationType.F32:
            writer.add_tensor(name, np.ascontiguousarray(values))
        else:
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_llama(
    path: Path, config: LlamaConfig = TINY, weights: dict[str, Any] | None = None,
    kind: GGMLQuantizationType = GGMLQuantizationType.F32, *, extra: dict[str, Any] | None = None,
    factors: Any = None, most: int = 0, vocabulary: Callable[[GGUFWriter], None] | None = None,
) -> Path:  # fmt: skip
    """A Llama, or a Qwen2 where there are biases; ``factors`` are those of ``rope_freqs``."""
    weights = weights or llama_weights(config)
    settings = {
        "context_length": config.context, "embedding_length": config.width,
        "block_count": config.layers, "feed_forward_length": config.ff,
        "attention.head_count": config.heads, "attention.head_count_kv": config.kv_heads,
        "attention.layer_norm_rms_epsilon": config.epsilon, "rope.freq_base": config.rope_base,
        "rope.dimension_count": config.head, "vocab_size": config.vocab,
    } | (extra or {})  # fmt: skip
    theirs = names(GGUF_LLAMA, "blk.{}.", weights)
    tensors = {theirs[name]: w for name, w in weights.items()}
    if factors is not None:
        tensors["rope_freqs.weight"] = np.asarray(factors, np.float32)
    architecture = "qwen2" if config.qkv_bias else "llama"
    return write_gguf(path, architecture, settings, tensors, kind, most=most, vocabulary=vocabulary)


def gguf_parts(path: Path, most: int) -> list[Path]:
    """A Llama in several files of so many tensors at most."""
    gguf_llama(path, most=most)
    return sorted(path.parent.glob(f"{path.stem}-*-of-*.gguf"))


def gguf_bert(path: Path, config: BertConfig = TINY_BERT, **extra: Any) -> Path:
    weights = bert_weights(config)
    settings = {
        "context_length": config.positions, "embedding_length": config.width,
        "block_count": config.layers, "feed_forward_length": config.ff,
        "attention.head_count": config.heads, "attention.layer_norm_epsilon": config.epsilon,
    } | extra  # fmt: skip
    theirs = names(GGUF_BERT, "blk.{}.", weights)
    tensors = {theirs[name]: w for name, w in weights.items()}
    tensors[theirs["type"]] = np.stack([weights["type"], weights["type"] + 1])
    return write_gguf(path, "bert", settings, tensors)


def hf_llama(
    folder: Path, config: LlamaConfig = TINY, weights: dict[str, Any] | None = None,
    files: int = 1, **extra: Any,
) -> Path:  # fmt: skip
    """A folder of config.json and safetensors, one or several. Returns the folder."""
    weights = weights or llama_weights(config)
    settings = {
        "model_type": "qwen2" if config.qkv_bias else "llama", "hidden_act": "silu",
        "hidden_size": config.width, "intermediate_size": config.ff,
        "num_attention_heads": config.heads, "num_key_value_heads": config.kv_heads,
        "num_hidden_layers": config.layers, "rms_norm_eps": config.epsilon,
        "rope_theta": config.rope_base, "max_position_embeddings": config.context,
        "tie_word_embeddings": config.tied, "vocab_size": config.vocab,
    } | extra  # fmt: skip
    theirs = names(HF_LLAMA, "model.layers.{}.", weights)
    return _folder(folder, settings, {theirs[n]: w for n, w in weights.items()}, files)


def hf_bert(
    folder: Path, config: BertConfig = TINY_BERT, prefix: str = "", **extra: Any
) -> Path:  # fmt: skip
    weights = bert_weights(config)
    settings = {
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": config.width,
        "intermediate_size": config.ff, "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers, "layer_norm_eps": config.epsilon,
    } | extra  # fmt: skip
    theirs = names(HF_BERT, "encoder.layer.{}.", weights)
    tensors = {prefix + theirs[n]: w for n, w in weights.items()}
    tensors[prefix + theirs["type"]] = np.stack([weights["type"], weights["type"] + 1])
    tensors[prefix + "pooler.dense.weight"] = np.ones((4, 4), np.float32)
    tensors[prefix + "embeddings.position_ids"] = np.arange(32)
    return _folder(folder, settings, tensors, 1)


def _folder(folder: Path, settings: dict[str, Any], tensors: dict[str, Any], files: int) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings))
    for number in range(files):
        part = {n: np.ascontiguousarray(tensors[n]) for n in sorted(tensors)[number::files]}
        name = "model" if files == 1 else f"model-{number + 1:05}-of-{files:05}"
        save_file(part, folder / f"{name}.safetensors")
    return folder


def last_logits(path: Path, ids: list[int]) -> Any:
    """Logits of a picture after each token, one at a time; float64 [tokens, vocab]."""
    f = Fields(resize_context(path, len(ids), prompt=1))
    found = []
    for token in ids:
        set_tokens(f, [token])
        run_program(f.image, device="reference")
        found.append(f.real("logits")[0])
    return np.array(found)


def relative(found: Any, wanted: Any) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
