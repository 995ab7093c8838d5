"""A tiny random model of each family, as a folder and as GGUF, the same numbers every time.

Weights of matrices are whole numbers of -127 to 127 times a step, so that int8 loses nothing of
them: what differs from the real numbers' logits are activations and caches alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from safetensors.numpy import save_file

VOCAB, WIDTH, HEADS, KV, FF, CONTEXT, LAYERS = 96, 64, 4, 2, 96, 128, 4
TOKENS = [int(t) for t in np.random.default_rng(3).integers(3, VOCAB, 40)]
COMMON: dict[str, Any] = {
    "hidden_size": WIDTH, "num_attention_heads": HEADS, "num_key_value_heads": KV,
    "intermediate_size": FF, "num_hidden_layers": LAYERS, "vocab_size": VOCAB,
    "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
    "rope_theta": 10000.0, "hidden_act": "silu", "head_dim": 16, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LONG = {"type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.5, 1.9, 2.5],
        "long_factor": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}},
    "mistral": {"model_type": "mistral", "sliding_window": 9},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "tie_word_embeddings": True, "head_dim": 32},
    "smollm3": {"model_type": "smollm3", "no_rope_layers": [1, 1, 1, 0]},
    "phi3": {"model_type": "phi3", "sliding_window": 9},
    "phi4": {"model_type": "phi3", "partial_rotary_factor": 0.75, "rope_scaling": LONG,
             "original_max_position_embeddings": 64},
    "gemma3": {"model_type": "gemma3_text", "num_hidden_layers": 7, "sliding_window": 9,
               "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16,
               "rope_theta": 1e6, "rope_local_base_freq": 10000.0, "head_dim": 16,
               "tie_word_embeddings": True},
}  # fmt: skip


def config_of(family: str) -> dict[str, Any]:
    """``config.json``."""
    found = COMMON | CONFIGS[family]
    if family == "gemma3":
        found.pop("hidden_act")
    return found


def weights_of(family: str) -> dict[str, Any]:
    """Weights by the names of a folder's tensors, float32."""
    c = config_of(family)
    q, kv, rng = HEADS * c["head_dim"], KV * c["head_dim"], np.random.default_rng(11)
    found: dict[str, Any] = {}

    def matrix(name: str, rows: int, cols: int, size: float = 1.0) -> None:
        whole = np.clip(np.rint(rng.normal(0, 40, (rows, cols))), -126, 126)
        whole[:, 0] = 127
        step = size / 40 / np.sqrt(cols)
        found[name] = (whole * 2.0 ** np.round(np.log2(step))).astype(np.float32)

    def norm(name: str, count: int) -> None:
        middle = 0.0 if family == "gemma3" else 1.0
        found[name] = (middle + 0.1 * rng.normal(size=count)).astype(np.float32)

    matrix("model.embed_tokens.weight", VOCAB, WIDTH, 2.0)
    norm("model.norm.weight", WIDTH)
    if not c["tie_word_embeddings"]:
        matrix("lm_head.weight", VOCAB, WIDTH, 4.0)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        norm(p + "input_layernorm.weight", WIDTH)
        norm(p + "post_attention_layernorm.weight", WIDTH)
        parts = {"q": q, "k": kv, "v": kv}
        if family.startswith("phi"):
            matrix(p + "self_attn.qkv_proj.weight", q + 2 * kv, WIDTH, 1.5)
            matrix(p + "mlp.gate_up_proj.weight", 2 * FF, WIDTH)
        else:
            for name, rows in parts.items():
                matrix(p + f"self_attn.{name}_proj.weight", rows, WIDTH, 1.5)
            for name in ("gate", "up"):
                matrix(p + f"mlp.{name}_proj.weight", FF, WIDTH)
        matrix(p + "self_attn.o_proj.weight", WIDTH, q)
        matrix(p + "mlp.down_proj.weight", WIDTH, FF)
        if family == "qwen2":
            for name, rows in parts.items():
                bias = rng.normal(0, 0.3, rows)
                bias[6::16] += 40.0 if name == "k" else 0.0  # pairs that turn slowly
                found[p + f"self_attn.{name}_proj.bias"] = bias.astype(np.float32)
        if family in ("qwen3", "gemma3"):
            for name in ("q_norm", "k_norm"):
                norm(p + f"self_attn.{name}.weight", c["head_dim"])
        if family == "gemma3":
            for name in ("pre_feedforward_layernorm", "post_feedforward_layernorm"):
                norm(p + f"{name}.weight", WIDTH)
    return found


def write_folder(folder: Path, family: str) -> Path:
    """``config.json`` and one safetensors file."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_of(family)))
    save_file(weights_of(family), folder / "model.safetensors", {"format": "pt"})
    return folder


GGUF_PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
GEMMA_PARTS = {
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}  # fmt: skip
GGUF_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm",
              "lm_head": "output"}  # fmt: skip
ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "smollm3": "smollm3",
                 "phi4": "phi3", "gemma3": "gemma3"}  # fmt: skip


def write_gguf(path: Path, family: str) -> Path:
    """The same model as its converter writes it."""
    c, kind = config_of(family), ARCHITECTURES[family]
    parts = GGUF_PARTS | (GEMMA_PARTS if family == "gemma3" else {})
    writer = GGUFWriter(path, kind)
    head = c["head_dim"]
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FF)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(c["rope_theta"])
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("none")
    rotated = 12 if family == "phi4" else head
    if family != "gemma3":
        writer.add_rope_dimension_count(rotated)
    if family == "gemma3":
        writer.add_sliding_window(9)
    if family == "phi4":
        writer.add_rope_scaling_orig_ctx_len(64)
        writer.add_rope_scaling_attn_factors(float(np.sqrt(1 + np.log(2) / np.log(64))))
        for name in ("long", "short"):
            factors = np.array(LONG[f"{name}_factor"], np.float32)
            writer.add_tensor(f"rope_factors_{name}.weight", factors)
    if family == "llama":
        writer.add_tensor("rope_freqs.weight", _llama3_factors(head, c["rope_scaling"]))
    for name, value in weights_of(family).items():
        base, _, suffix = name.rpartition(".")
        if base in GGUF_WHOLE:
            theirs = f"{GGUF_WHOLE[base]}.{suffix}"
        else:
            layer, _, part = base.removeprefix("model.layers.").partition(".")
            theirs = f"blk.{layer}.{parts[part]}.{suffix}"
        if kind in ("llama", "smollm3") and ("q_proj" in name or "k_proj" in name):
            value = value.reshape(-1, 2, head // 2, WIDTH).swapaxes(1, 2).reshape(value.shape)
        if family == "gemma3" and base.endswith("norm"):
            value = value + 1
        writer.add_tensor(theirs, np.ascontiguousarray(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _llama3_factors(head: int, scaling: dict[str, Any]) -> Any:
    """What a converter makes of Llama 3's settings."""
    rates = 10000.0 ** (-np.arange(0, head, 2) / head)
    waves, old = 2 * np.pi / rates, scaling["original_max_position_embeddings"]
    low, high = old / scaling["low_freq_factor"], old / scaling["high_freq_factor"]
    smooth = (old / waves - scaling["low_freq_factor"]) / (
        scaling["high_freq_factor"] - scaling["low_freq_factor"]
    )
    middle = 1 / ((1 - smooth) / scaling["factor"] + smooth)
    found = np.where(waves < high, 1.0, np.where(waves > low, scaling["factor"], middle))
    return found.astype(np.float32)
