"""Whole imports: logits against llama.cpp, memory, reports, the command, and nonsense."""

import json
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from gguf import GGMLQuantizationType
from hypothesis import given, settings
from hypothesis import strategies as st

from pxvm import run_program
from pxvm.cli import cli
from pxvm.core.container import check_file, inspect_file, open_image
from pxvm.core.errors import FormatError, PxvmError
from pxvm.models.families.bert import resize_rows, set_sentences, vectors
from pxvm.models.families.calibrate import llama_fracs
from pxvm.models.families.llama import LlamaConfig
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.quantise import least_squares
from pxvm.models.importing.importer import import_model, quant_named
from tests.models.model_files import (
    TINY,
    TINY_BERT,
    bert_weights,
    gguf_bert,
    gguf_llama,
    hf_bert,
    hf_llama,
    last_logits,
    llama_weights,
    permuted,
    relative,
)
from tests.models.plain_models import bert_vectors, llama_logits

QWEN = replace(TINY, kv_heads=1, tied=False, qkv_bias=True, interleaved=False, rope_base=1e6)
WIDE = LlamaConfig(1, 256, 4, 2, 512, 80, context=64)
TEXT = np.random.default_rng(5).integers(0, 80, 24).tolist()
# Int8 rows cost 6% of the logits at most in two layers of random weights: see the bound derived
# in test_llama. llama.cpp rounds its activations to 8 bits in groups of 32, which costs less.
LIMIT = 0.06


def llama_cpp_logits(path, ids):
    """llama.cpp's logits after each token, float32 [tokens, vocab]."""
    api = pytest.importorskip("llama_cpp")

    @api.llama_log_callback
    def quiet(level, text, data):
        pass

    api.llama_log_set(quiet, None)
    api.llama_backend_init()
    model = api.llama_model_load_from_file(
        str(path).encode(), api.llama_model_default_params()
    )  # fmt: skip
    assert model, "llama.cpp refuses the file"
    wanted = api.llama_context_default_params()
    wanted.n_ctx = wanted.n_batch = 64
    wanted.n_threads = wanted.n_threads_batch = 1
    context = api.llama_init_from_model(model, wanted)
    found = []
    for token in ids:
        batch = api.llama_batch_get_one((api.llama_token * 1)(token), 1)
        assert not api.llama_decode(context, batch)
        logits = api.llama_get_logits_ith(context, -1)
        vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
        found.append(np.ctypeslib.as_array(logits, (vocab,)).copy())
    api.llama_free(context)
    api.llama_model_free(model)
    return np.array(found)


KINDS = {
    "float32": (TINY, "F32", {}),
    "float16": (TINY, "F16", {}),
    "Q8_0": (TINY, "Q8_0", {}),
    "Q4_1": (TINY, "Q4_1", {}),
    "Q5_0": (WIDE, "Q5_0", {}),
    "own output": (replace(TINY, tied=False), "F32", {}),
    "qwen2": (QWEN, "F32", {}),
    "stretched": (TINY, "F32", {"factors": np.linspace(1, 8, 8)}),
    "linear": (TINY, "F32",
               {"extra": {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}}),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_logits_are_llama_cpps(tmp_path, name):
    config, kind, more = KINDS[name]
    path = gguf_llama(tmp_path / "a.gguf", config, None, GGMLQuantizationType[kind], **more)
    import_model(path, tmp_path / "a.pxi")
    found = last_logits(tmp_path / "a.pxi", TEXT)
    assert relative(found, llama_cpp_logits(path, TEXT)) < LIMIT


@pytest.mark.parametrize("config", [replace(TINY, interleaved=False), QWEN], ids=["llama", "qwen2"])
def test_logits_of_safetensors(tmp_path, config):
    import_model(hf_llama(tmp_path / "hf", config), tmp_path / "a.pxi")
    found = last_logits(tmp_path / "a.pxi", TEXT)
    weights = {name: w.astype(np.float64) for name, w in llama_weights(config).items()}
    assert relative(found, llama_logits(config, weights, TEXT)) < LIMIT


def test_both_orders_of_rotary_pairs_are_one_model(tmp_path):
    """GGUF stores q and k with their rows permuted: the same model from either file."""
    weights = llama_weights(TINY)
    import_model(hf_llama(tmp_path / "hf", TINY, weights), tmp_path / "hf.pxi")
    turned = dict(weights)
    for layer in range(TINY.layers):
        turned[f"{layer}.q"] = permuted(weights[f"{layer}.q"], TINY.heads)
        turned[f"{layer}.k"] = permuted(weights[f"{layer}.k"], TINY.kv_heads)
    import_model(gguf_llama(tmp_path / "a.gguf", TINY, turned), tmp_path / "a.pxi")
    both = [last_logits(tmp_path / f"{name}.pxi", TEXT) for name in ("hf", "a")]
    assert relative(*both) < 1e-3


def test_sentences_of_both_files(tmp_path):
    sentences = [[1, 2, 3, 4, 5], [7, 8], list(range(20, 36))]
    weights = {name: w.astype(np.float64) for name, w in bert_weights(TINY_BERT).items()}
    wanted = bert_vectors(TINY_BERT, weights, sentences)
    found = []
    for source in (hf_bert(tmp_path / "hf"), gguf_bert(tmp_path / "b.gguf")):
        import_model(source, tmp_path / "b.pxi")
        for sentence in sentences:
            f = Fields(resize_rows(tmp_path / "b.pxi", 16))
            set_sentences(f, [sentence])
            run_program(f.image, device="reference")
            found.append(vectors(f, 1)[0])
    assert np.array_equal(found[:3], found[3:])
    assert (np.sum(found[:3] * wanted, axis=1) > 0.999).all()


def test_a_report_says_what_was_lost(tmp_path):
    seen = []
    report = import_model(
        gguf_llama(tmp_path / "a.gguf"), tmp_path / "a.pxi",
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    check_file(tmp_path / "a.pxi")
    assert inspect_file(tmp_path / "a.pxi").layout == "mappable"
    assert report.bytes == (tmp_path / "a.pxi").stat().st_size
    matrices = {n: w for n, w in llama_weights(TINY).items() if w.ndim == 2}
    assert seen[-1] == (sum(w.size for w in matrices.values()),) * 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    f = Fields(open_image(tmp_path / "a.pxi"))
    for tensor in report.tensors:
        real = f.network.tensor_region(f.descriptor(tensor.name).index).values(f.image)
        scale = f.network.tensor_region(f.descriptor(f"{tensor.name}.scale").index)
        ours = tensor.name.removesuffix("_weight")
        lost = real * scale.values(f.image)[:, None] - matrices[ours]
        rms = np.sqrt((lost**2).mean() / (matrices[ours].astype(np.float64) ** 2).mean())
        assert tensor.error == pytest.approx(rms, rel=1e-3)
        assert (tensor.rows, tensor.cols) == matrices[ours].shape


def test_fraction_bits_follow_the_model(tmp_path):
    """Larger weights of the last product of a layer: fewer bits of the residual stream."""
    weights = llama_weights(TINY)
    plain = llama_fracs(TINY, weights)
    assert plain["residual"] == 16
    for layer in range(TINY.layers):
        weights[f"{layer}.down"] *= 2.0**14
    assert llama_fracs(TINY, weights)["residual"] < 14
    import_model(gguf_llama(tmp_path / "a.gguf", TINY, weights), tmp_path / "a.pxi")
    found = last_logits(tmp_path / "a.pxi", TEXT)
    real = {name: w.astype(np.float64) for name, w in weights.items()}
    assert relative(found, llama_logits(TINY, real, TEXT)) < LIMIT


def test_memory_is_the_picture_and_a_little(tmp_path):
    config = LlamaConfig(2, 256, 4, 2, 1024, 8192, context=64)
    path = gguf_llama(tmp_path / "a.gguf", config, None, GGMLQuantizationType.Q8_0)
    import_model(gguf_llama(tmp_path / "b.gguf"), tmp_path / "b.pxi")  # what is imported once
    tracemalloc.start()
    try:
        report = import_model(path, tmp_path / "a.pxi")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.bytes > 4e6
    assert peak < report.bytes + 2 * 8 * (1 << 20)  # a few float64 copies of one band


def test_the_command(tmp_path):
    source, target = str(gguf_llama(tmp_path / "a.gguf")), str(tmp_path / "a.pxi")
    run = CliRunner().invoke(cli, ["import", source, "-o", target, "--report"])
    assert run.exit_code == 0, run.output
    assert "0.down_weight" in run.output and "fraction bits: " in run.output
    assert "wrote " in run.output and " a parameter" in run.output
    run = CliRunner().invoke(cli, ["import", source, "-o", target, "--json", "--quant", "largest"])
    found = json.loads(run.stdout)
    assert found["family"] == "llama" and found["bytes"] == (tmp_path / "a.pxi").stat().st_size
    run = CliRunner().invoke(cli, ["import", source, "-o", target, "--quant", "percentile:x"])
    assert isinstance(run.exception, PxvmError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize(
    "name",
    ["config.json", "model.safetensors", "modules.json", "model.safetensors.index.json",
     "config_sentence_transformers.json", "x.gguf", "x-00001-of-00002.gguf", "x.bin"],
)  # fmt: skip
def test_a_pipe_among_the_files_of_a_model_is_waited_for_no_moment(name, tmp_path):
    folder = hf_bert(tmp_path / "m")
    if name.startswith("model.safetensors"):
        (folder / "model.safetensors").unlink()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    if "00001" in name:
        (folder / "x-00002-of-00002.gguf").write_bytes(b"GGUF")
    source = folder / name if name.startswith("x") else folder
    with pytest.raises(FormatError, match=f"{name}: expected a regular file"):
        import_model(source, tmp_path / "m.pxi")


def test_choices_by_name():
    weight = np.random.default_rng(0).normal(size=(3, 4000))
    for bits in ("auto", "int8", "int4"):
        assert quant_named(bits) == (bits, least_squares)
    clipped, full = (quant_named(f"percentile:{p}")[1]("w", weight) for p in (99.0, 100))
    assert (clipped < full).all() and (full == quant_named("largest")[1]("w", weight)).all()
    for text in ("", "percentile", "percentile:0", "percentile:nan", "best"):
        with pytest.raises(PxvmError, match="quant: expected"):
            quant_named(text)


def test_weights_that_are_not_finite_leave_the_target_alone(tmp_path):
    (tmp_path / "a.pxi").write_text("old")
    for name, value in (("0.up", np.inf), ("embedding", np.nan), ("1.ff_norm", 1e38)):
        weights = llama_weights(TINY)
        weights[name].reshape(-1)[5:] = value
        with pytest.raises(PxvmError):
            import_model(gguf_llama(tmp_path / "a.gguf", TINY, weights), tmp_path / "a.pxi")
    assert (tmp_path / "a.pxi").read_text() == "old"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    config = LlamaConfig(1, 16, 2, 1, 16, 8, context=8)
    path = gguf_llama(tmp_path_factory.mktemp("fuzz") / "a.gguf", config)
    return path.read_bytes()


@settings(max_examples=150, deadline=5000)
@given(data=st.data())
def test_a_mutated_model_is_imported_or_refused(sample, tmp_path_factory, data):
    raw = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(24, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.getbasetemp()
    (folder / "mutated.gguf").write_bytes(raw)
    try:
        report = import_model(folder / "mutated.gguf", folder / "mutated.pxi")
    except PxvmError as error:
        assert "\n" not in str(error)
    else:
        assert report.bytes < 20 * len(sample) + (1 << 23)  # a rotary table of 32,768 positions
