"""Answers of a small model from a GPU, which draws several tokens in a run."""

from __future__ import annotations

from itertools import islice

import pytest

from pxvm import Model
from pxvm.gpu import executor as gpu
from pxvm.models import generation
from pxvm.models.generation import Sampling
from tests.models.tiny_models import compiled, write_llama

needs_gpu = pytest.mark.skipif(bool(gpu.available()), reason=gpu.available() or "there is one")
ASK = [{"role": "user", "content": "What is a pixel?"}]
DRAWN = {"max_tokens": 24, "temperature": 0.9, "seed": 4, "penalty": 1.2}


@needs_gpu
def test_an_answer_left_in_the_middle_of_a_run_goes_on_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "MOMENT", 1e9)
    path = write_llama(tmp_path / "tiny.pxi", stops=())
    there = Model.open(path, device="gpu:planned", context=128)
    here = Model.open(path, device=compiled(), threads=1, context=128)
    whole = here.chat(ASK, **DRAWN)
    assert there.chat(ASK, **DRAWN) == whole
    assert there.generator.drawn() == here.generator.drawn()
    ids = there.tokenizer.encode(there.tokenizer.render(ASK), special=False)
    for count in (1, 6):  # of runs of 1, 2 and 4
        tokens = there.generator.answer(ids, Sampling(**DRAWN))
        given = list(islice(tokens, count))
        tokens.close()
        assert there.generator.drawn() == given == here.generator.drawn()[:count]
        there.save_state(tmp_path / "half.pxi")
        resumed = Model.resume(tmp_path / "half.pxi", device=compiled(), threads=1)
        assert (
            list(islice(resumed.generator.proceed(), 24 - count))
            == (here.generator.drawn()[count:])
        )


@needs_gpu
def test_where_several_tokens_take_long_there_are_fewer_in_a_run(tmp_path, monkeypatch):
    path = write_llama(tmp_path / "tiny.pxi", stops=())
    with Model.open(path, device="gpu:planned", context=64) as model:
        session, counts = model.generator.session, []
        run_on = session.run_on
        monkeypatch.setattr(
            session, "run_on", lambda count, *more: counts.append(count) or run_on(count, *more)
        )
        ids = model.tokenizer.encode("bado fine")
        texts = []
        for moment in (1e9, 0.0):
            monkeypatch.setattr(generation, "MOMENT", moment)
            texts.append(list(islice(model.generator.answer(ids, Sampling(**DRAWN)), 7)))
    assert counts == [2, 4] + [1] * 6 and texts[0] == texts[1]
