"""One PNG, one answer: a text generated on either executor, or half on each, is the same bytes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pxvm import Model, run_program
from pxvm.core import executors
from pxvm.core.container import open_image, save_image
from pxvm.models.families.llama import LlamaConfig, build_llama, set_sampler, set_tokens, tokens
from pxvm.models.graph.fourbit import FourBits
from tests.models.test_llama import weights_of
from tests.models.tiny_models import compiled, write_llama

CONFIG = LlamaConfig(2, 64, 4, 2, 128, 128, context=96)
LENGTH = 64


def started(temperature: float):
    image = build_llama(CONFIG, weights_of(CONFIG), context=96, prompt=8)
    set_sampler(image, temperature=temperature, top_k=40, top_p=0.95, penalty=1.1, seed=7)
    set_tokens(image, [5, 17, 99, 3])
    return image


def generate(image, count, device):
    found = []
    for _ in range(count):
        run_program(image, device=device)
        found = tokens(image)
    return found


def digest(image):
    return hashlib.sha256(np.ascontiguousarray(image)).hexdigest()


@pytest.fixture(params=[name for name in executors.installed() if name != "reference"])
def other(request):
    """Each executor beside the reference; skipped, with its own reason, where it cannot run."""
    if reason := executors.load(request.param).available():
        pytest.skip(f"device {request.param!r}: {reason}")
    return request.param


@pytest.mark.parametrize("temperature", [0, 0.8])
def test_a_long_answer_has_one_sha_256(other, temperature, tmp_path):
    length = LENGTH if other == "cpu" else LENGTH // 4  # a GPU may be a processor that plays one
    reference, fast, both = (started(temperature) for _ in range(3))
    words = generate(reference, length, "reference")
    assert len(words) >= length and len(set(words)) > 1
    assert generate(fast, length, other) == words
    assert digest(fast) == digest(reference)

    generate(both, length // 2, other)
    run_program(both, 17, device=other)  # stop in the middle of a layer
    for layout in ("compressed", "mappable"):
        save_image(both, tmp_path / f"{layout}.pxi", layout=layout)
        resumed = open_image(tmp_path / f"{layout}.pxi")
        while len(tokens(resumed)) < len(words):
            run_program(resumed, device="reference")
        assert tokens(resumed) == words
        assert digest(resumed) == digest(reference)


@pytest.mark.parametrize("width", [64, 288])  # rows that processors take one by one, and in lanes
def test_weights_of_four_bits_have_one_answer(width):
    config = LlamaConfig(2, width, 4, 2, 2 * width, 128, context=64)
    weights = {n: FourBits(w) if w.ndim == 2 else w for n, w in weights_of(config).items()}
    images = [build_llama(config, weights, context=64, prompt=9) for _ in range(2)]
    for image, device in zip(images, ("reference", compiled()), strict=True):
        set_sampler(image, temperature=0.8, seed=7)
        set_tokens(image, [5, 17, 99, 3, 1, 4, 1, 5, 9])
        assert len(generate(image, 24, device)) == 24
    assert digest(images[0]) == digest(images[1])


def test_a_conversation_that_turns_back_has_one_saved_state(other, tmp_path):
    """Registers that the host writes between two runs are taken; caches may lie elsewhere."""
    path = write_llama(tmp_path / "tiny.pxi")
    settings = {"temperature": 0.9, "seed": 3, "max_tokens": 6}
    talk = [{"role": "user", "content": "bado fine kus"}]
    with Model.open(path, device="reference") as plain, Model.open(path, device=other) as model:
        assert model.chat(talk, **settings) == plain.chat(talk, **settings)
        assert model.generate("bado fine", **settings) == plain.generate("bado fine", **settings)
        if other == "cpu":  # a minute of a processor that plays a GPU
            assert model.perplexity("bado fine kus") == plain.perplexity("bado fine kus")
        for one, name in ((model, "other.pxi"), (plain, "plain.pxi")):
            one.chat(talk, **settings)
            one.save_state(tmp_path / name)
    assert (tmp_path / "other.pxi").read_bytes() == (tmp_path / "plain.pxi").read_bytes()


@pytest.mark.parametrize("back", [False, True])
def test_an_answer_saved_on_one_goes_on_on_the_other(other, back, tmp_path):
    """Its caches too, which the host does not look at between two tokens."""
    path, state = write_llama(tmp_path / "tiny.pxi"), tmp_path / "state.pxi"
    settings = {"temperature": 0.9, "top_p": 0.95, "seed": 3}
    first, second = (other, "reference") if back else ("reference", other)
    with Model.open(path, device="reference") as plain:
        plain.generate("bado fine", max_tokens=4, **settings)
        whole = plain.generator.drawn()
        plain.save_state(tmp_path / "whole.pxi")
    with Model.open(path, device=first) as model:
        model.generate("bado fine", max_tokens=2, **settings)
        model.save_state(state)
    with Model.resume(state, device=second) as model:
        model.proceed(max_tokens=4)
        assert model.generator.drawn() == whole
        model.save_state(state)
    assert state.read_bytes() == (tmp_path / "whole.pxi").read_bytes()
