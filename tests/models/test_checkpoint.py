"""What files say about a model, and that their weights arrive where the builders want them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pxvm.core.errors import FormatError
from pxvm.models.families.checkpoint import open_checkpoint
from tests.models.model_files import (
    TINY,
    TINY_BERT,
    bert_weights,
    gguf_bert,
    gguf_llama,
    hf_bert,
    hf_llama,
    llama_weights,
)

QWEN = replace(TINY, kv_heads=1, tied=False, qkv_bias=True, interleaved=False, rope_base=1e6)
HALVES = replace(TINY, interleaved=False)


def same(found, config, weights):
    """Is this the checkpoint of a config and weights?"""
    for name, value in vars(config).items():
        wanted = config.head if name == "head_width" else value
        assert getattr(found.config, name) == pytest.approx(wanted), name
    assert found.weights.keys() == weights.keys()
    for name, weight in weights.items():
        assert np.array_equal(found.weights[name], weight), name
    assert found.parameters == sum(w.size for w in weights.values())


@pytest.mark.parametrize("config", [TINY, QWEN, replace(TINY, tied=False)])
def test_gguf(tmp_path, config):
    path = gguf_llama(tmp_path / "a.gguf", config)
    for source in (path, tmp_path):
        found = open_checkpoint(source)
        assert found.family == "llama" and found.path == path
        assert found.tokenizer_files["tokenizer.ggml.model"] == "none"
        same(found, config, llama_weights(config))


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("config", [HALVES, QWEN])
def test_safetensors(tmp_path, config, files):
    found = open_checkpoint(hf_llama(tmp_path, config, files=files))
    assert found.family == "llama" and found.tokenizer_files == tmp_path
    same(found, config, llama_weights(config))
    if files == 1:
        same(open_checkpoint(tmp_path / "model.safetensors"), config, llama_weights(config))


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_bert(tmp_path, prefix):
    (tmp_path / "hf").mkdir()
    for source in (hf_bert(tmp_path / "hf", prefix=prefix), gguf_bert(tmp_path / "b.gguf")):
        found = open_checkpoint(source)
        assert found.family == "bert"
        same(found, TINY_BERT, bert_weights(TINY_BERT))


def llama3(rates, factor, low, high, original):
    """As the original code has it: by wavelength, in three cases."""
    found = []
    for rate in rates:
        wave = 2 * math.pi / rate
        if wave < original / high:
            found.append(rate)
        elif wave > original / low:
            found.append(rate / factor)
        else:
            smooth = (original / wave - low) / (high - low)
            found.append((1 - smooth) * rate / factor + smooth * rate)
    return found


def test_scaled_positions(tmp_path):
    rates = TINY.rope_base ** (-np.arange(0, 16, 2) / 16)

    def hf(scaling):
        return open_checkpoint(hf_llama(tmp_path / "hf", **scaling)).config.frequencies

    def gguf(**named):
        return open_checkpoint(gguf_llama(tmp_path / "a.gguf", **named)).config.frequencies

    assert hf({"rope_scaling": {"rope_type": "default"}}) is None
    assert hf({"rope_scaling": {"type": "linear", "factor": 4}}) == pytest.approx(rates / 4)
    numbers = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}  # fmt: skip
    wanted = llama3(rates, 8, 1, 4, 64)
    assert hf({"rope_scaling": {"rope_type": "llama3", **numbers}}) == pytest.approx(wanted)
    newer = {"rope_parameters": {"rope_type": "llama3", "rope_theta": TINY.rope_base, **numbers}}
    assert hf(newer | {"rope_theta": None}) == pytest.approx(wanted)
    assert gguf() is None
    linear = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
    assert gguf(extra=linear) == pytest.approx(rates / 4)
    factors = np.linspace(1, 8, 8)
    assert gguf(factors=factors) == pytest.approx(rates / factors)


HF_REFUSED = {
    "model_type": ("phi3", "model_type: expected one of llama, mistral, qwen2, bert"),
    "hidden_act": ("gelu", "hidden_act: expected one of None, silu"),
    "attention_bias": (True, "attention_bias: expected one of None, False"),
    "num_hidden_layers": (1 << 20, "at most as many layers as there are tensors"),
    "num_attention_heads": (0, "a whole number of 1"),
    "num_key_value_heads": (3, "a number that divides 4 heads"),
    "head_dim": (6, "heads of whole pixels"),
    "hidden_size": (60.5, "a whole number"),
    "rms_norm_eps": (-1.0, "a number above 0"),
    "rope_scaling": ({"rope_type": "yarn"}, "rope_type: expected one of None, default, linear"),
    "intermediate_size": (92, "expected (92, 64); found (96, 64)"),
    "tie_word_embeddings": (False, "expected the tensors lm_head.weight; found none"),
}


@pytest.mark.parametrize("key", HF_REFUSED)
def test_what_would_not_be_built_as_it_was_trained_is_refused(tmp_path, key):
    value, message = HF_REFUSED[key]
    folder = hf_llama(tmp_path, HALVES, **{key: value})
    with pytest.raises(FormatError) as caught:
        open_checkpoint(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


GGUF_REFUSED = {
    "expert_count": (8, "expert_count: expected one of None, 0"),
    "block_count": (1 << 23, "at most as many layers"),
    "rope.dimension_count": (8, "rope.dimension_count: expected one of None, 16"),
    "rope.scaling.type": ("yarn", "expected one of None, none, linear"),
    "context_length": (0, "a whole number of 1"),
}


@pytest.mark.parametrize("key", GGUF_REFUSED)
def test_gguf_likewise(tmp_path, key):
    value, message = GGUF_REFUSED[key]
    path = gguf_llama(tmp_path / "a.gguf", extra={key: value})
    with pytest.raises(FormatError, match=r"a\.gguf") as caught:
        open_checkpoint(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("sizes", [{"width": 66}, {"ff": 130}, {"width": 66, "ff": 131}])
def test_widths_that_end_inside_a_pixel_are_refused(tmp_path, sizes):
    """Four weights are a pixel: whole files of such models, of every kind."""
    gguf, folder = (replace(config, head_width=16, **sizes) for config in (TINY, HALVES))
    bert = replace(TINY_BERT, heads=2, **sizes)
    for path in (
        gguf_llama(tmp_path / "a.gguf", gguf),
        hf_llama(tmp_path / "llama", folder),
        gguf_bert(tmp_path / "b.gguf", bert),
        hf_bert(tmp_path / "bert", bert),
    ):
        with pytest.raises(FormatError, match="expected a multiple of 4; found") as caught:
            open_checkpoint(path)
        assert path.name in str(caught.value)


def test_tensors_left_over_and_other_pooling_are_refused(tmp_path):
    weights = llama_weights(TINY)
    path = gguf_llama(tmp_path / "a.gguf", TINY, weights | {"0.q_bias": np.ones(64, np.float32)})
    with pytest.raises(FormatError, match=r"no other tensors .* found blk\.0\.attn_q\.bias"):
        open_checkpoint(path)
    folder = hf_bert(tmp_path / "hf")
    (folder / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(FormatError, match="pooling_mode_mean_tokens: expected one of None, True"):
        open_checkpoint(folder)


def test_other_files_and_folders(tmp_path):
    with pytest.raises(FormatError, match=r"expected \.safetensors files or one \.gguf; found 0"):
        open_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_checkpoint(tmp_path / "none.gguf")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(FormatError, match="byte 0: expected GGUF"):
        open_checkpoint(tmp_path / "text.txt")
    hf_llama(tmp_path / "hf", HALVES, files=2)
    for name in ("b.safetensors", "c.safetensors"):
        (tmp_path / "hf" / name).write_bytes(
            (tmp_path / "hf" / "model-00001-of-00002.safetensors").read_bytes()
        )
    with pytest.raises(FormatError, match="stands in another file of the folder"):
        open_checkpoint(tmp_path / "hf")
