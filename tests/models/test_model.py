"""Models as users open them: kinds, numbers, vectors; the files never change."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import weakref
from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pytest

import pxvm
from pxvm import Model
from pxvm.core.container import save_image
from pxvm.core.errors import DeviceError
from pxvm.models.families.bert import BertConfig, build_bert
from pxvm.models.model import ModelError
from pxvm.models.options import Keywords, Options
from tests.models.plain_models import random_weights
from tests.models.tiny_models import (
    BERT,
    TEXTS,
    bert_shapes,
    compiled,
    corpus,
    real,
    write_bert,
    write_llama,
)

TALK = [{"role": "user", "content": "hello"}]
SENTENCES = [
    "One pixel.", "A program is a picture, and a picture is a program.", "", "x", corpus()[:2000],
    "Integers only: the same bytes everywhere.", "Another sentence of middling length, like this.",
] * 5  # fmt: skip


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("llama") / "tiny.pxi")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert") / "tiny.pxi")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_model_is_a_name_of_the_package():
    assert "Model" in pxvm.__all__
    assert pxvm.Model is Model


def test_a_file_is_mapped_and_never_changes(writer, encoder):
    before = digest(writer), digest(encoder)
    Model.open(writer, device="reference").generate("hello", max_tokens=3)
    Model.open(encoder, device="reference").embed(["hello"])
    assert (digest(writer), digest(encoder)) == before


def test_a_packed_file_answers_the_same(writer, tmp_path):
    from pxvm.core.container import pack

    pack(writer, tmp_path / "packed.pxi")
    answers = {
        Model.open(p, device="reference").generate("hello", max_tokens=5)
        for p in (writer, tmp_path / "packed.pxi")
    }
    assert len(answers) == 1


def test_perplexity_is_that_of_the_logits(writer):
    model = Model.open(writer, device=compiled())
    text = "Programs as pixels, and results as pixels."
    ids = model.tokenizer.encode(text)
    rows = model.logits(ids).astype(np.float64)
    chances = np.exp(rows - rows.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    expected = math.exp(-np.log(chances[np.arange(len(ids) - 1), ids[1:]]).mean())
    assert model.perplexity(text) == pytest.approx(expected, rel=1e-6)
    assert model.score(text)[1] == len(ids) - 1
    with pytest.raises(ModelError, match="at least 2 tokens"):
        model.perplexity("")


def test_a_long_text_is_scored_in_windows(writer):
    model = Model.open(writer, device=compiled(), context=16)
    text = corpus()[:200]
    ids = model.tokenizer.encode(text)
    parts = [ids[i : i + 16] for i in range(0, len(ids), 16)]
    loss = 0.0
    for part in parts:
        rows = model.logits(part).astype(np.float64)
        total = np.log(np.exp(rows).sum(axis=1))
        loss += (total[:-1] - rows[np.arange(len(part) - 1), part[1:]]).sum()
    assert model.score(text) == (pytest.approx(loss, rel=1e-6), sum(len(p) - 1 for p in parts))


def test_a_generation_does_not_disturb_numbers(writer):
    model = Model.open(writer, device=compiled())
    before = model.logits([5, 6, 7])
    model.chat([{"role": "user", "content": "hi"}], max_tokens=4, regex="[ab]+", temperature=1)
    assert np.array_equal(model.logits([5, 6, 7]), before)


@pytest.mark.parametrize("device", ["reference", "cpu"])
def test_sentences_have_the_vectors_they_have_alone(encoder, device):
    model = Model.open(encoder, device=device if device == "reference" else compiled())
    together = model.embed(SENTENCES)
    assert together.shape == (len(SENTENCES), BERT.width) and together.dtype == np.float32
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(len(SENTENCES)), abs=1e-4)
    for number in (0, 1, 2, 4):
        assert np.array_equal(model.embed([SENTENCES[number]])[0], together[number])
    assert model.embed([]).shape == (0, BERT.width)


def test_vectors_are_the_same_bytes_on_both_executors(encoder):
    found = [Model.open(encoder, device=d).embed(SENTENCES) for d in ("reference", compiled())]
    assert found[0].tobytes() == found[1].tobytes()


def test_a_long_text_is_cut_at_the_limit(encoder, tmp_path):
    model = Model.open(encoder, device="reference")
    long = "pixel " * 100
    ids = model.tokenizer.encode_all([long], 32)[0]
    full = model.tokenizer.encode(long)
    assert ids == [*full[:31], full[-1]]
    assert np.array_equal(model.embed([long])[0], model.embed(["pixel " * 90])[0])
    without = Model.open(write_bert(tmp_path / "b.pxi", limit=None), device="reference")
    assert without.embed([long]).shape == (1, BERT.width)  # the network's 48 positions


def test_batches_hold_like_lengths(encoder):
    embedder = Model.open(encoder, device="reference").embedder
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 33, 200).tolist()
    groups = list(embedder._groups(lengths))
    assert sorted(i for g in groups for i in g) == list(range(200))
    padded = sum(len(g) * max(lengths[i] for i in g) for g in groups)
    assert padded < 1.15 * sum(lengths)
    assert all(len(g) <= embedder.batch for g in groups)


def test_the_wrong_kind_says_what_to_use(writer, encoder):
    with pytest.raises(ModelError, match="use embed"):
        Model.open(encoder).chat([{"role": "user", "content": "hi"}])
    with pytest.raises(ModelError, match="use chat or generate"):
        Model.open(writer).embed(["hi"])
    with pytest.raises(ModelError, match="put it in a list"):
        Model.open(encoder).embed("hi")


def test_files_that_are_no_models_are_refused(tmp_path, writer):
    from pxvm.core.fontcode import assemble

    save_image(assemble(".image 16x9\n.matrix A@1 1x1 = 1\nR@1\nH\n"), tmp_path / "zero.pxi")
    with pytest.raises(Exception, match=r"PXV1|dialect 0|network") as caught:
        Model.open(tmp_path / "zero.pxi")
    assert "\n" not in str(caught.value)
    (tmp_path / "text.pxi").write_text("no picture")
    with pytest.raises(ModelError, match="found another file"):
        Model.open(tmp_path / "text.pxi")
    with pytest.raises(FileNotFoundError):
        Model.open(tmp_path / "nothing.pxi")
    with pytest.raises(DeviceError, match="no executor for device 'abacus'"):
        Model.open(writer, device="abacus").generate("x")


def test_a_model_without_a_tokenizer_takes_numbers_only(tmp_path):
    config = BertConfig(1, 64, 4, 64, 100, 16)
    image = build_bert(config, random_weights(bert_shapes(config), 1), batch=2)
    save_image(image, tmp_path / "b.pxi")
    model = Model.open(tmp_path / "b.pxi", device="reference")
    assert model.embedder.embed([[1, 2, 3]]).shape == (1, 64)
    with pytest.raises(Exception, match="found none: it takes tokens only"):
        model.embed(["text"])


def test_the_package_is_not_slowed_by_models():
    code = "import sys, pxvm; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "tokenizers", "jinja2"} & set(done.stdout.split())


# The real models, where they are


def test_the_real_model_leaves_one_sha_256_on_both_executors():
    """A prompt taken in and a few tokens drawn: the whole image, 138 MB, byte for byte."""
    found = set()
    for device in (compiled(), "reference"):
        model = Model.open(real("smollm2"), device=device, context=64)
        text = model.generate("The capital of France is", max_tokens=4)
        found.add((text, hashlib.sha256(np.ascontiguousarray(model.image)).hexdigest()))
    assert len(found) == 1, found


def test_the_real_model_knows_the_capital_of_france():
    model = Model.open(real("smollm2"), device=compiled(), context=256)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    assert "Paris" in model.chat(question, max_tokens=20)
    assert model.perplexity("The quick brown fox jumps over the lazy dog.") < 60


def test_the_real_embedder_ranks_sentences():
    model = Model.open(real("minilm"), device=compiled())
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Shares fell on Monday."]
    vectors = model.embed(texts)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.5 > likeness[0, 2]
    assert model.embed(TEXTS).shape == (len(TEXTS), 384)


def test_a_model_closes_itself(writer, encoder):
    with Model.open(writer, device="reference") as model:
        assert model.generate("hello", max_tokens=2)
    for ask in (lambda: model.generate("a"), lambda: model.chat(TALK), lambda: model.proceed(),
                lambda: model.logits([1]), lambda: model.save_state("x"),
                lambda: model.embed(["a"]), lambda: model.tokenizer):  # fmt: skip
        with pytest.raises(ModelError, match="this model is closed"):
            ask()
    with Model.open(encoder, device="reference") as model:
        image = weakref.ref(model.image)
    assert image() is None  # and with it the mapping of the file
    model.close()


def test_keywords_of_an_answer_are_those_of_its_options():
    hints = get_type_hints(Options)
    assert get_type_hints(Keywords) == {field.name: hints[field.name] for field in fields(Options)}
