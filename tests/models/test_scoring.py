"""A text is scored in parts, and the numbers are those of token after token."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pxvm import Model
from pxvm.core.container import save_image
from pxvm.models.families.llama import build_llama, weight_shapes
from pxvm.models.text.tokenizer import Settings, store_tokenizer
from tests.models.plain_models import random_weights
from tests.models.tiny_models import CHATML, LLAMA, bytes_bpe, compiled, write_llama

IDS = [int(n) for n in np.random.default_rng(5).integers(3, 600, 23)]


def one_by_one(model, ids):
    """Logits behind each token, fed alone to the program as it answers."""
    generator, rows = model.generator, []
    generator.rewind([])
    for token in ids:
        generator.fields["output_length"] = 0
        generator.feed([token])
        rows.append(generator.fields.real("logits")[0])
    return np.array(rows, np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("scored") / "tiny.pxi")


@pytest.mark.parametrize("device", ["reference", "cpu"])
@pytest.mark.parametrize("part", [1, 5, 23, 512])
def test_parts_give_the_numbers_of_single_tokens(path, device, part, monkeypatch):
    monkeypatch.setattr("pxvm.models.scoring.PART", part)
    if device == "cpu":
        compiled()
    model = Model.open(path, device=device, threads=2)
    assert np.array_equal(model.logits(IDS), one_by_one(model, IDS))
    assert model._scorer.part == min(part, 256)
    assert np.array_equal(model.logits(IDS[:7]), one_by_one(model, IDS[:7]))


def test_an_output_weight_of_its_own_and_biases(tmp_path):
    config = replace(LLAMA, tied=False, qkv_bias=True)
    settings = Settings(bos=0, stops=(2,), template=CHATML)
    image = build_llama(
        config, random_weights(weight_shapes(config), 8),
        extend=lambda b: store_tokenizer(b, bytes_bpe(), settings),
    )  # fmt: skip
    save_image(image, tmp_path / "untied.pxi")  # and not mappable
    model = Model.open(tmp_path / "untied.pxi", device="reference")
    assert np.array_equal(model.logits(IDS), one_by_one(model, IDS))


def test_a_conversation_under_way_stays_as_it_is(path, tmp_path):
    model = Model.open(path, device="reference")
    whole = model.chat([{"role": "user", "content": "hi"}], max_tokens=8)
    pieces = model.chat([{"role": "user", "content": "hi"}], max_tokens=8, stream=True)
    begun = next(pieces)
    first = model.logits(IDS)
    model.save_state(tmp_path / "half.pxi")
    assert begun + "".join(pieces) == whole
    resumed = Model.resume(tmp_path / "half.pxi", device="reference", context=64)
    assert np.array_equal(resumed.logits(IDS), first)


def test_windows_and_how_far_it_is(path):
    model, told = Model.open(path, device="reference", context=16), []
    text = "Programs as pixels, and pixels as programs."
    ids = model.tokenizer.encode(text)
    loss, count = model.score(text, lambda done, total: told.append((done, total)))
    wanted = 0.0
    for first in range(0, len(ids), 16):
        window = ids[first : first + 16]
        rows = one_by_one(model, window).astype(np.float64)
        for row, token in zip(rows, window[1:], strict=False):
            wanted += float(np.log(np.exp(row - row.max()).sum()) + row.max() - row[token])
    assert loss == pytest.approx(wanted, rel=1e-12)
    assert told == [(n + 1, len(ids)) for n in range(count)]
