"""What ``config.json`` says of windows and leaves out, architecture by architecture."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pxvm import Model
from pxvm.core.errors import FormatError
from pxvm.models.families.checkpoint import open_checkpoint
from pxvm.models.families.llama import WIDE
from pxvm.models.families.settings import Settings
from pxvm.models.families.table import GGUF
from pxvm.models.importing.importer import import_model
from tests.models.family_files import TOKENS, write_folder
from tests.models.model_files import TINY, gguf_llama, hf_llama

WANTED = np.load(Path(__file__).with_name("families.npz"))
HALVES = replace(TINY, interleaved=False)
QWEN = replace(HALVES, kv_heads=1, tied=False, qkv_bias=True)
KINDS = ["full_attention", "sliding_attention"]
ASKED = {"use_sliding_window": True, "sliding_window": 48}


def test_windows_of_some_layers_or_all(tmp_path):
    """Those that are shorter than the context; who has which, each architecture says otherwise."""
    for model, settings, window, sliding in (
        ("mistral", {"sliding_window": 48}, 48, {0, 1}),
        ("mistral", ASKED, 48, {0, 1}),
        ("mistral", {"sliding_window": None}, WIDE, set()),
        ("mistral", {"sliding_window": 4096}, WIDE, set()),
        ("mistral", {"max_position_embeddings": 8192}, 4096, {0, 1}),
        ("llama", {"use_sliding_window": False, "sliding_window": 48}, WIDE, set()),
        ("llama", {"layer_types": ["full_attention"] * 2}, WIDE, set()),
        ("smollm3", ASKED | {"no_rope_layers": [1, 0]}, 48, {1}),
        ("smollm3", ASKED | {"no_rope_layers": [1, 0], "layer_types": KINDS[::-1]}, 48, {0}),
        ("smollm3", {"sliding_window": 48, "no_rope_layers": [1, 0]}, WIDE, set()),
    ):
        given = settings | {"model_type": model}
        config = open_checkpoint(hf_llama(tmp_path / "hf", HALVES, **given)).config
        assert (config.window, config.sliding) == (window, sliding), (model, settings)
    for settings, window, sliding in (
        (ASKED, WIDE, set()),  # from layer 28 on, and there are two
        (ASKED | {"max_window_layers": 1}, 48, {1}),
        (ASKED | {"max_window_layers": 0}, 48, {0, 1}),
        (ASKED | {"layer_types": KINDS}, 48, {1}),
        ({"sliding_window": 48, "max_window_layers": 0}, WIDE, set()),
    ):
        config = open_checkpoint(hf_llama(tmp_path / "qwen", QWEN, **settings)).config
        assert (config.window, config.sliding) == (window, sliding), settings
    window = {"attention.sliding_window": 40}
    config = open_checkpoint(gguf_llama(tmp_path / "a.gguf", extra=window)).config
    assert (config.context, config.window, config.sliding) == (64, 40, {0, 1})


def test_layers_with_rates_of_their_own_keep_them_where_the_window_holds_the_whole_context(
    tmp_path,
):
    folder = write_folder(tmp_path / "gemma", "gemma3")
    settings = json.loads((folder / "config.json").read_text())
    settings["max_position_embeddings"] = settings["sliding_window"]
    (folder / "config.json").write_text(json.dumps(settings))
    config = open_checkpoint(folder).config
    assert config.sliding == {0, 1, 2, 3, 4, 6} and config.local_frequencies is not None
    path = tmp_path / "a.pxi"
    import_model(folder, path)
    found = Model.open(path, "reference").logits(TOKENS[:9])
    wanted = WANTED["gemma3"][:9].astype(np.float64)
    assert np.linalg.norm(found - wanted) < 0.002 * np.linalg.norm(wanted)


@pytest.mark.parametrize(
    ("family", "missing", "wanted"),
    [
        ("llama", "max_position_embeddings", {"context": 2048}),
        ("mistral", "max_position_embeddings", {"context": 32768}),
        ("qwen2", "max_position_embeddings", {"context": 32768}),
        ("qwen3", "rms_norm_eps", {"epsilon": 1e-6}),
        ("smollm3", "rope_theta", {"rope_base": 2e6}),
        ("smollm3", "max_position_embeddings", {"context": 32768}),
        ("phi3", "rms_norm_eps", {"epsilon": 1e-5}),
        ("phi3", "max_position_embeddings", {"context": 4096}),
        ("phi4", "original_max_position_embeddings", {"amplitude": 1.0}),
        ("gemma3", "rope_theta", {"rope_base": 1e6}),
        ("gemma3", "sliding_window", {"window": 4096}),
        ("gemma3", "tie_word_embeddings", {"tied": True}),
        ("gemma3", "query_pre_attn_scalar", {"scale": 0.0625}),
    ],
)
def test_what_a_config_leaves_out_is_what_transformers_takes(tmp_path, family, missing, wanted):
    folder = write_folder(tmp_path / "hf", family)
    settings = json.loads((folder / "config.json").read_text())
    del settings[missing]
    (folder / "config.json").write_text(json.dumps(settings))
    config = open_checkpoint(folder).config
    assert {name: getattr(config, name) for name in wanted} == wanted


LINEAR = {"rope_type": "linear", "factor": 4.0}
REFUSED = [
    ("mistral", {"sliding_window": 48, "use_sliding_window": False},
     "use_sliding_window: expected true"),
    ("mistral", {"sliding_window": 48, "layer_types": KINDS}, "layer_types: expected sliding_att"),
    ("llama", ASKED, "use_sliding_window: expected false"),
    ("llama", {"sliding_window": 48, "layer_types": KINDS}, "layer_types: expected full_attention"),
    ("smollm3", {"use_sliding_window": True, "no_rope_layers": [1, 0]},
     "sliding_window: expected a number of tokens"),
    ("smollm3", {"sliding_window": 48, "layer_types": KINDS}, "sliding_window: expected a number"),
    ("smollm3", ASKED | {"no_rope_layers": [1, 2]},
     "no_rope_layers: expected 2 numbers of 0 and 1"),
    ("llama", {"rope_scaling": LINEAR, "rope_parameters": LINEAR | {"factor": 2.0}},
     "rope_parameters: expected what rope_scaling says, or one of the two"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "settings", "why"), REFUSED)
def test_who_says_one_thing_and_another_is_refused(tmp_path, model, settings, why):
    folder = hf_llama(tmp_path / "hf", HALVES, **settings | {"model_type": model})
    with pytest.raises(FormatError, match=why):
        open_checkpoint(folder)


LONG = {"rope_type": "longrope", "original_max_position_embeddings": 32}
IMPOSSIBLE = [
    ({"rope_scaling": LONG | {"short_factor": [1.0] * 7 + [10**400]}}, "short_factor: expected 8"),
    ({"rope_scaling": LONG | {"short_factor": [1.0] * 7 + [5e-324]}}, "rates that are finite"),
    ({"rope_scaling": LONG | {"short_factor": [1.0] * 8, "attention_factor": 2.0}}, "most 1.999"),
    ({"rope_scaling": LONG | {"short_factor": [1.0] * 8, "original_max_position_embeddings": 1}},
     "2 positions at least"),
    ({"rope_scaling": {"type": "linear", "factor": 5e-324}}, "rates that are finite"),
    ({"partial_rotary_factor": 1.7e308}, "partial_rotary_factor: expected an even part"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "why"), IMPOSSIBLE)
def test_rotary_tables_that_cannot_be_written_are_refused(tmp_path, settings, why):
    """The largest number that a table holds is just below 2; beyond it would begin anew."""
    folder = write_folder(tmp_path / "phi", "phi3")
    said = json.loads((folder / "config.json").read_text()) | {
        "original_max_position_embeddings": 0
    }
    (folder / "config.json").write_text(json.dumps(said | settings))
    with pytest.raises(FormatError, match=why):
        open_checkpoint(folder)


PHI = {
    "general.architecture": "phi3", "phi3.embedding_length": 64, "phi3.block_count": 1,
    "phi3.attention.head_count": 4, "phi3.feed_forward_length": 96, "phi3.context_length": 64,
    "phi3.attention.layer_norm_rms_epsilon": 1e-5,
}  # fmt: skip


@pytest.mark.parametrize("factors", [True, False])
@pytest.mark.parametrize(
    ("said", "context", "amplitude"),
    [
        ({}, 64, 1.0),
        ({"original_context_length": 32}, 32, 1.0),
        ({"original_context_length": 32, "attn_factor": 1.25}, 32, 1.25),
    ],
)
def test_longrope_of_a_gguf_ends_where_its_rates_change(said, context, amplitude, factors):
    """Its factor counts whether there are rates or not."""
    tensors = {"token_embd.weight": np.zeros((80, 64))}
    tensors |= {"rope_factors_short.weight": np.linspace(1, 2, 8)} if factors else {}
    pairs = PHI | {f"phi3.rope.scaling.{key}": value for key, value in said.items()}
    found = GGUF["phi3"].gguf["phi3"](Settings("some.gguf", pairs), tensors).config
    assert (found.amplitude, found.context) == (amplitude, context if factors else 64)


@pytest.mark.parametrize(("heads", "found"), [([2, 2], 2), ([2, 1], None), ([], None)])
def test_a_number_for_each_layer_is_one_where_all_are_the_same(heads, found):
    pairs = PHI | {"phi3.attention.head_count_kv": np.array(heads, np.uint32)}
    read = partial(GGUF["phi3"].gguf["phi3"], Settings("some.gguf", pairs))
    tensors = {"token_embd.weight": np.zeros((80, 64))}
    if found is not None:
        assert read(tensors).config.kv_heads == found
        return
    with pytest.raises(FormatError, match="head_count_kv: expected a whole number of 1 to"):
        read(tensors)
