"""Ways to run a program, tried in turns: the same bytes, and what is kept of it."""

from __future__ import annotations

import gc
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from pxvm import Model, Network
from pxvm.core import choices, notes
from pxvm.core.container import save_image
from pxvm.core.errors import PxvmError
from pxvm.learning.search.vectors import Vectors, build_vectors
from pxvm.models.importing.importer import import_model
from pxvm.tuning import speed
from pxvm.tuning.records import Damage, Pace, measured_of, read, store
from tests.core.test_choices import product
from tests.tuning import small


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed")
    import_model(small.llama(folder / "llama"), folder / "llama.pxi")
    import_model(small.bert(folder / "bert"), folder / "bert.pxi")
    save_image(product(), folder / "product.pxi")
    return folder


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    monkeypatch.setattr(notes, "folder", lambda: tmp_path)
    monkeypatch.setattr(choices, "neighbours", lambda: 0)
    monkeypatch.setattr(speed, "ROUNDS", 1)


def pace(text, ratio, work="run", **changes):
    machine = f"{choices.machine()}, 0 busy"
    return replace(Pace("a program", machine, work, text, 1.0, ratio, 1), **changes)


@pytest.mark.parametrize("name", ["llama", "bert", "product"])
def test_every_way_gives_the_same_bytes_and_is_measured(name, models):
    subject = speed.Subject(models / f"{name}.pxi")
    found = speed.tune(subject, rounds=1)  # raises where a byte differs
    tried = {m.settings for m in found.measured}
    assert '{"threads": 1}' in tried and '{"device": "cpu:portable"}' in tried
    assert ('{"prompt": 64}' in tried) == (name == "llama")
    assert ('{"rows": 64}' in tried) == (name == "bert")
    assert choices.checked(found.settings) is not None
    assert all(m.ratio > 0 and m.seconds > 0 for m in found.measured)
    if found.settings:
        assert speed.mean(found.ratios.values()) >= speed.GAIN
    else:
        assert set(found.ratios.values()) == {1.0}


def test_another_byte_is_a_fault(models, monkeypatch):
    subject = speed.Subject(models / "product.pxi")
    runs = iter(range(99))
    monkeypatch.setattr(subject, "_run", lambda *given: bytes([next(runs)]))
    with pytest.raises(PxvmError, match="changed what run gives"):
        speed.tune(subject, rounds=1)


def test_what_was_hopeless_is_not_tried_again(models):
    subject = speed.Subject(models / "product.pxi")
    machine = f"{choices.machine()}, 0 busy"
    slow = Pace(subject.shape, machine, "run", '{"device": "reference"}', 1.0, 0.1, 0)
    tried = [m.settings for m in speed.tune(subject, [slow], rounds=1).measured]
    assert tried and slow.settings not in tried
    elsewhere = replace(slow, machine="another, 0 busy")
    tried = [m.settings for m in speed.tune(subject, [elsewhere], rounds=1).measured]
    assert slow.settings in tried


def test_the_best_is_what_gains_and_loses_nowhere():
    key = choices.key("a program", 0)
    one, portable = '{"threads": 1}', '{"device": "cpu:portable"}'
    assert speed.best_of([pace(one, 1.2), pace(portable, 1.1)]) == {key: {"threads": 1}}
    assert speed.best_of([pace(one, 1.2), pace(one, 0.7), pace(one, 0.8)]) == {}
    assert speed.best_of([pace(one, 1.4, "prompt"), pace(one, 0.9, "decode")]) == {}
    assert speed.best_of([pace(one, 1.01)]) == {}
    assert speed.best_of([pace(one, 1.5, decides=0)]) == {}  # a first look
    # What another machine or anyone else says is not taken.
    lies = [pace(one, 9.0, machine="another, 0 busy"), pace(one, 9.0, machine="x"),
            pace('{"threads": 0}', 9.0), pace("[[", 9.0), pace('"x"', 9.0)]  # fmt: skip
    assert speed.best_of(lies) == {}


def test_models_run_as_is_known_to_be_best_and_say_the_same(models):
    subject = speed.Subject(models / "llama.pxi")
    with Model.open(models / "llama.pxi") as model:
        plain = model.generate("hello", max_tokens=8), model.generator.part
    best = {choices.key(subject.shape, 0): {"prompt": 64}}
    encoder = speed.Subject(models / "bert.pxi")
    best[choices.key(encoder.shape, 0)] = {"rows": 64}
    with Model.open(models / "bert.pxi") as model:
        vectors = model.embed(["one two", "three", "four five six"])
    choices.switch(best)
    with Model.open(models / "llama.pxi") as model:
        assert (model.generate("hello", max_tokens=8), model.generator.part) == (plain[0], 64)
    with Model.open(models / "llama.pxi", device="cpu") as model:  # who says so is obeyed
        assert model.generator.part == plain[1]
    with Model.open(models / "bert.pxi") as model:
        assert model.embedder.most == 64
        assert model.embed(["one two", "three", "four five six"]).tobytes() == vectors.tobytes()


def test_measurements_of_both_kinds_stand_side_by_side(tmp_path):
    with Network.open(tmp_path / "k.png") as network:
        measured = [pace('{"threads": 1}', 1.25), pace('{"threads": 1}', 1.5, "decode")]
        ids = store(network, measured)
        assert list(read(network, Pace)) == measured and not list(read(network, Damage))
        network.forget(ids[0])
        assert list(read(network, Pace)) == measured[1:]


def test_models_note_what_they_took_and_say_the_same(models, monkeypatch):
    monkeypatch.setattr(notes.Busy, "count", lambda self: 0)

    def said():
        with Model.open(models / "llama.pxi") as model:
            answer = model.generate("hello", max_tokens=4)
        with Model.open(models / "bert.pxi") as model:
            found = answer, model.embed(["one"]).tobytes(), model.embed(["one", "two"]).tobytes()
        scores = Vectors(
            build_vectors(np.arange(3), np.ones(3), np.eye(3, 8, dtype=np.int8))
        ).scores(np.arange(8.0))
        gc.collect()
        return *found, scores.tobytes()

    plain = said()
    assert notes.read() == ()
    choices.switch({})
    assert said() == plain
    works = {note.work for note in notes.read()}
    assert works == {"prompt", "decode", "one sentence", "many sentences", "run"}
    count = len(notes.read())
    speed.tune(speed.Subject(models / "product.pxi"), rounds=1)
    gc.collect()
    assert len(notes.read()) == count  # what is measured on purpose is no ordinary run


def test_what_ordinary_runs_took_is_remembered_and_counts_where_it_is_clear(tmp_path):
    key, one = choices.key("a program", 1), '{"threads": 1}'

    def noted(settings, seconds, key=key):
        return [notes.Note(key, "run", "4", settings, seconds) for _ in range(notes.FEW)]

    other = noted("{}", 1.0, "no key")  # nothing to compare it with
    lie = noted(one, 1e-9, f"{'long' * 80} | x | 1 busy")
    choices.switch({})
    notes.append([*noted("{}", 1.0), *noted(one, 0.5), *other, *lie])
    with Network.open(tmp_path / "k.png") as network:
        found = speed.known(network)
        assert found == [
            pace("{}", 1.0, machine=f"{choices.machine()}, 1 busy", decides=0),
            pace(one, 2.0, machine=f"{choices.machine()}, 1 busy", seconds=0.5),
        ]
        assert speed.best_of(found) == {key: {"threads": 1}}
        assert notes.read() == (*other, *lie)
        assert speed.known(network) == found
        notes.append([*noted("{}", 1.0), *noted(one, 0.95)])  # not clear
        assert [p.decides for p in speed.known(network)] == [0, 1, 0, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"ratio": float("nan")}, {"ratio": float("inf")}, {"ratio": -2.0}, {"ratio": 0},
        {"ratio": 1e300}, {"ratio": 10**400}, {"ratio": "2"}, {"ratio": None}, {"seconds": 0},
        {"decides": 2}, {"decides": True}, {"work": "sleep"}, {"work": 1}, {"machine": "m" * 999},
        {"settings": {}}, {"more": 1},
    ],
)  # fmt: skip
def test_what_is_no_measurement_of_a_way_to_run_is_none(change):
    data = asdict(pace('{"threads": 1}', 2.0))
    text = f"```json\n{json.dumps(data | change)}\n```"
    assert measured_of(text, Pace) is None
    assert measured_of(f"```json\n{json.dumps(data)}\n```", Pace) is not None


def test_a_record_that_lies_costs_a_few_runs(models):
    """A stranger's memory says that the slowest way is the best: runs of both kinds tell."""
    lie = pace('{"device": "reference"}', 9e5, program="a program")
    tuned = speed.best_of([lie])[choices.key("a program", 0)]
    log, slow = [], 0
    for _ in range(100):
        chosen = choices.judged(tuned, log)
        slow += bool(chosen)
        seconds = 30.0 if chosen else 1.0
        log.append(notes.Note("k", "run", "1", notes.text_of(chosen), seconds))
    assert slow == notes.FEW


def test_what_was_measured_outlives_an_interrupt(models):
    def stop(what):
        if "portable" in what:
            raise KeyboardInterrupt

    kept = []
    with pytest.raises(KeyboardInterrupt):
        speed.tune(speed.Subject(models / "product.pxi"), rounds=1, measured=kept, told=stop)
    assert '{"threads": 1}' in {m.settings for m in kept}
    with choices.defaults():
        assert choices.known() is None
