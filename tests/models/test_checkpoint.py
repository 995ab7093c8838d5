"""What files say about a model, and that their weights arrive where the builders want them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pxvm.core.errors import FormatError
from pxvm.models.families.checkpoint import open_checkpoint
from tests.models.model_files import (
    TINY,
    TINY_BERT,
    bert_weights,
    gguf_bert,
    gguf_llama,
    gguf_parts,
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
        near = pytest.approx(wanted) if isinstance(wanted, float) else wanted
        assert getattr(found.config, name) == near, name
    assert found.weights.keys() == weights.keys()
    for name, weight in weights.items():
        assert np.array_equal(found.weights[name], weight), name
    assert found.parameters == sum(w.size for w in weights.values())


@pytest.mark.parametrize("config", [TINY, QWEN, replace(TINY, tied=False)])
def test_gguf(tmp_path, config):
    path = gguf_llama(tmp_path / "a.gguf", config)
    for source in (path, tmp_path):
        found = open_checkpoint(source)
        assert found.family.kind.name == "llama" and found.path == path
        assert found.tokenizer_files["tokenizer.ggml.model"] == "none"
        same(found, config, llama_weights(config))


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("config", [HALVES, QWEN])
def test_safetensors(tmp_path, config, files):
    found = open_checkpoint(hf_llama(tmp_path, config, files=files))
    assert found.family.kind.name == "llama" and found.tokenizer_files == tmp_path
    same(found, config, llama_weights(config))
    if files == 1:
        same(open_checkpoint(tmp_path / "model.safetensors"), config, llama_weights(config))


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_bert(tmp_path, prefix):
    (tmp_path / "hf").mkdir()
    for source in (hf_bert(tmp_path / "hf", prefix=prefix), gguf_bert(tmp_path / "b.gguf")):
        found = open_checkpoint(source)
        assert found.family.kind.name == "bert"
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
    assert gguf(extra={"rope.scaling.factor": 4.0}) == pytest.approx(rates / 4)
    assert gguf(extra={"rope.scale_linear": 4.0}) == pytest.approx(rates / 4)
    assert gguf(extra=linear | {"rope.scale_linear": 2.0}) == pytest.approx(rates / 4)
    assert gguf(extra={"rope.scaling.factor": 0.0}) is None
    assert gguf(extra={"rope.scaling.type": "none", "rope.scaling.factor": 4.0}) is None
    factors = np.linspace(1, 8, 8)
    assert gguf(factors=factors) == pytest.approx(rates / factors)
    assert gguf(extra=linear, factors=factors) == pytest.approx(rates / factors / 4)
    assert hf({"rope_scaling": {"type": "dynamic", "factor": 2.0}}) is None
    both = {"rope_type": "linear", "type": "linear", "factor": 4.0}
    assert hf({"rope_scaling": both}) == pytest.approx(rates / 4)


HF_REFUSED = {
    "model_type": (
        "gpt2",
        "model_type: expected one of llama, mistral, qwen2, qwen3, gemma3_text, phi3",
    ),
    "hidden_act": ("gelu", "hidden_act: expected one of None, silu"),
    "attention_bias": (True, "attention_bias: expected one of None, False"),
    "num_hidden_layers": (1 << 20, "at most as many layers as there are tensors"),
    "num_attention_heads": (0, "a whole number of 1"),
    "num_key_value_heads": (3, "a number that divides 4 heads"),
    "head_dim": (6, "heads of whole pixels"),
    "head_dim ": (516, "at most 512 columns; found 516"),
    "hidden_size": (60.5, "a whole number"),
    "rms_norm_eps": (-1.0, "a number above 0"),
    "rope_scaling": ({"rope_type": "yarn"}, "rope_type: expected one of None, default, linear"),
    "rope_scaling ": ({"type": "linear", "rope_type": "default"}, "type: expected default"),
    "rope_scaling  ": ({"type": "linear", "factor": 2.0, "spice": 3}, "spice: expected nothing"),
    "rope_scaling   ": ({"type": "longrope", "factor": 2.0}, "short_factor: expected 8 numbers"),
    "rope_parameters": (
        {"full_attention": {"rope_theta": 1.0}},
        "full_attention: expected nothing",
    ),
    "partial_rotary_factor": (0.5, "partial_rotary_factor: expected one of None, 1"),
    "layer_types": (["linear_attention"], "layer_types: expected full_attention"),
    "quantization_config": ({"bits": 4}, "quantization_config: expected one of None"),
    "intermediate_size": (92, "expected (92, 64); found (96, 64)"),
    "tie_word_embeddings": (False, "expected the tensors lm_head.weight; found none"),
}


@pytest.mark.parametrize("key", HF_REFUSED)
def test_what_would_not_be_built_as_it_was_trained_is_refused(tmp_path, key):
    value, message = HF_REFUSED[key]
    folder = hf_llama(tmp_path, HALVES, **{key.strip(): value})
    with pytest.raises(FormatError) as caught:
        open_checkpoint(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


GGUF_REFUSED = {
    "expert_count": (8, "expert_count: expected one of None, 0"),
    "block_count": (1 << 23, "at most as many layers"),
    "rope.dimension_count": (8, "rope.dimension_count: expected one of None, 16"),
    "rope.scaling.type": ("yarn", "expected one of None, none, linear"),
    "context_length": (0, "a whole number of 1"),
    "rope.scaling.factor": (float("nan"), "rope.scaling.factor: expected a number above 0"),
    "rope.scaling.attn_factor": (2.0, "attn_factor: expected one of None, 1.0"),
    "attention.causal": (False, "attention.causal: expected one of None, True"),
    "pooling_type": (3, "pooling_type: expected nothing of this name"),
    "logit_scale": (0.5, "logit_scale: expected nothing of this name"),
    "attention.clamp_kqv": (8.0, "clamp_kqv: expected nothing of this name"),
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


def test_tensors_left_over_are_refused(tmp_path):
    weights = llama_weights(TINY)
    path = gguf_llama(tmp_path / "a.gguf", TINY, weights | {"0.q_bias": np.ones(64, np.float32)})
    with pytest.raises(FormatError, match=r"no other tensors .* found blk\.0\.attn_q\.bias"):
        open_checkpoint(path)


def test_norms_by_their_old_names(tmp_path):
    """As checkpoints that came from TensorFlow have them."""
    for prefix in ("", "bert."):
        folder = hf_bert(tmp_path, prefix=prefix)
        tensors = load_file(folder / "model.safetensors")
        renamed = {name.replace("LayerNorm.weight", "LayerNorm.gamma")
                       .replace("LayerNorm.bias", "LayerNorm.beta"): t
                   for name, t in tensors.items()}  # fmt: skip
        assert renamed.keys() != tensors.keys()
        save_file(renamed, folder / "model.safetensors")
        same(open_checkpoint(folder), TINY_BERT, bert_weights(TINY_BERT))


KINDS = ("Transformer", "Pooling", "Normalize")


def sentences(folder, *kinds, pooling=None, **others):
    """A BERT's folder as sentence-transformers lay it out."""
    hf_bert(folder)
    path = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [
        {"idx": i, "name": str(i), "path": path.get(kind, f"{i}_{kind}"),
         "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    flags = {"word_embedding_dimension": 64, "pooling_mode_cls_token": False,
             "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}  # fmt: skip
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps(flags if pooling is None else pooling)
    )
    for name, content in others.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


@pytest.mark.parametrize(
    ("kinds", "pooling", "wanted"),
    [
        (KINDS, None, ("mean", True)),
        (KINDS[:2], None, ("mean", False)),
        (KINDS, CLS, ("cls", True)),
        (KINDS[:2], {"pooling_mode": "cls"}, ("cls", False)),
        (KINDS, {"pooling_mode": "mean", "embedding_dimension": 64}, ("mean", True)),
        (KINDS, {"pooling_mode": "cls"} | CLS, ("cls", True)),
        (KINDS, {}, ("mean", True)),
    ],
)
def test_how_sentences_become_vectors(tmp_path, kinds, pooling, wanted):
    found = open_checkpoint(sentences(tmp_path, *kinds, pooling=pooling))
    assert (found.config.pooling, found.config.unit) == wanted and not found.notes


@pytest.mark.parametrize(
    ("kinds", "pooling", "message"),
    [
        ((*KINDS[:2], "Dense", "Normalize"), None, "found Transformer, Pooling, Dense, Normalize"),
        (("Transformer",), None, "modules.json: expected the modules"),
        (("CLIPModel",), None, "found CLIPModel"),
        (KINDS, {"pooling_mode": "max"}, "pooling_mode: expected one of None, mean, cls"),
        (KINDS, {"pooling_mode": ["mean", "cls"]}, "pooling_mode: expected one of None, mean"),
        (
            KINDS,
            {"pooling_mode_max_tokens": True},
            "pooling_mode_max_tokens: expected one of False",
        ),
        (KINDS, {"pooling_mode_lasttoken": True}, "pooling_mode_lasttoken: expected one of False"),
        (KINDS, {"pooling_mode_cls_token": True}, "one of mean and cls, not"),
        (KINDS, {"pooling_mode": "mean"} | CLS, "one of mean and cls, not"),
        (KINDS, {"pooling_mode_mean_tokens": False}, "one of mean and cls, not"),
        (KINDS, {"word_embedding_dimension": 65}, "word_embedding_dimension: expected one of None"),
    ],
)
def test_other_ways_are_refused_by_name(tmp_path, kinds, pooling, message):
    folder = sentences(tmp_path, *kinds, pooling=pooling)
    with pytest.raises(FormatError, match=r"\.json: ") as caught:
        open_checkpoint(folder)
    assert message in str(caught.value)


def test_modules_that_are_none_and_prompts_are_refused(tmp_path):
    sentences(tmp_path, *KINDS, config_sentence_transformers={"default_prompt_name": "query"})
    with pytest.raises(FormatError, match="default_prompt_name: expected one of None"):
        open_checkpoint(tmp_path)
    (tmp_path / "config_sentence_transformers.json").unlink()
    for modules in ("[1]", "[" * 99999, '[{"type": "Pooling", "path": "../../etc"}]', "x"):
        (tmp_path / "modules.json").write_text(modules)
        with pytest.raises(FormatError, match=r"modules\.json"):
            open_checkpoint(tmp_path)


def test_what_no_file_says_is_noted(tmp_path):
    found = open_checkpoint(hf_bert(tmp_path / "hf"))
    assert (found.config.pooling, found.config.unit) == ("mean", True)
    assert "no modules.json says" in found.notes[0]
    assert "no bert.pooling_type says" in open_checkpoint(gguf_bert(tmp_path / "b.gguf")).notes[0]
    said = open_checkpoint(gguf_bert(tmp_path / "b.gguf", pooling_type=2))
    assert said.config.pooling == "cls" and not said.notes
    with pytest.raises(FormatError, match=r"pooling_type: expected one of None, 1, 2; found 3"):
        open_checkpoint(gguf_bert(tmp_path / "b.gguf", pooling_type=3))


def test_other_files_and_folders(tmp_path):
    with pytest.raises(FormatError, match=r"expected \.safetensors files or one \.gguf; found 0"):
        open_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_checkpoint(tmp_path / "none.gguf")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(FormatError, match="byte 0: expected GGUF"):
        open_checkpoint(tmp_path / "text.txt")


# Models in several files

PARTS = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]


def index(folder, **changes):
    """The index of a folder's parts, with some of it changed."""
    places = {name: part for part in PARTS for name in load_file(folder / part)} | changes
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def test_parts_of_a_folder_are_found_by_their_index_or_their_numbers(tmp_path):
    hf_llama(tmp_path, HALVES, files=3)
    for other in ("consolidated", "adapter_model"):
        save_file({"x": np.ones(3, np.float32)}, tmp_path / f"{other}.safetensors")
    found = open_checkpoint(tmp_path)
    same(found, HALVES, llama_weights(HALVES))
    assert found.notes == (f"{tmp_path}: left out adapter_model.safetensors,"
                           " consolidated.safetensors",)  # fmt: skip
    same(open_checkpoint(tmp_path / PARTS[1]), HALVES, llama_weights(HALVES))
    index(tmp_path)
    for name in PARTS:  # by an index files may have any names
        (tmp_path / name).rename(tmp_path / f"x{name}")
    (tmp_path / "model.safetensors.index.json").write_text(
        (tmp_path / "model.safetensors.index.json").read_text().replace("model-", "xmodel-")
    )
    same(open_checkpoint(tmp_path), HALVES, llama_weights(HALVES))


def test_parts_that_do_not_fit_together_are_refused(tmp_path):
    hf_llama(tmp_path, HALVES, files=3)
    index(tmp_path)
    name = next(iter(load_file(tmp_path / PARTS[0])))

    def refused(message, path=tmp_path):
        with pytest.raises(FormatError) as caught:
            open_checkpoint(path)
        assert message in str(caught.value)

    index(tmp_path, **{name: PARTS[2]})
    refused(f"tensor {name}: expected in {PARTS[2]}; found in {PARTS[0]}")
    index(tmp_path, **{name: "../x.safetensors"})
    refused("weight_map: expected the names of files")
    index(tmp_path, **{name: ["x"]})
    refused("weight_map: expected the names of files")
    index(tmp_path, spare="model-00004-of-00003.safetensors")
    refused("expected model-00004-of-00003.safetensors beside it; found none")
    (tmp_path / "model.safetensors.index.json").write_text("[1]")
    refused("index.json: expected a JSON object")
    (tmp_path / "model.safetensors.index.json").unlink()
    first = load_file(tmp_path / PARTS[0])
    save_file(load_file(tmp_path / PARTS[1]) | {name: first[name]}, tmp_path / PARTS[1])
    refused(f"{PARTS[1]}: tensor {name} stands in another file")
    (tmp_path / PARTS[2]).unlink()
    refused(f"expected {PARTS[2]} beside it; found none: fetch it too")
    refused(f"expected {PARTS[2]} beside it; found none", tmp_path / PARTS[0])
    for part in PARTS[:2]:
        (tmp_path / part).unlink()
    save_file({"x": np.ones(3, np.float32)}, tmp_path / "adapter_model.safetensors")
    refused("expected model.safetensors or model.safetensors.index.json")
    for other in ("a", "b"):
        save_file({"x": np.ones(3, np.float32)}, tmp_path / f"{other}.safetensors")
    refused("found a.safetensors, adapter_model.safetensors, b.safetensors")


def test_a_gguf_in_parts(tmp_path):
    parts = gguf_parts(tmp_path / "m.gguf", 6)
    assert len(parts) == 4
    for source in (parts[0], parts[2], tmp_path):
        found = open_checkpoint(source)
        same(found, TINY, llama_weights(TINY))
        assert found.tokenizer_files["tokenizer.ggml.model"] == "none"
    whole = parts[3].read_bytes()
    parts[3].write_bytes(parts[2].read_bytes())
    with pytest.raises(FormatError, match=r"expected part 3 of 4; found \[2, 4\]"):
        open_checkpoint(parts[0])
    parts[3].write_bytes(whole)
    parts[1].rename(tmp_path / "elsewhere")
    for source in (parts[0], tmp_path):
        with pytest.raises(FormatError, match=r"expected m-00002-of-00004\.gguf beside it"):
            open_checkpoint(source)
    (tmp_path / "elsewhere").rename(tmp_path / "alone.gguf")
    with pytest.raises(FormatError, match=r"alone\.gguf: expected part 0 of 1; found \[1, 4\]"):
        open_checkpoint(tmp_path / "alone.gguf")
