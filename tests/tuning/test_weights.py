"""Bits chosen by measuring: trials, the pictures that come of them, the predictor, the records."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from pxvm import Model, Network
from pxvm.core.container import open_image
from pxvm.core.errors import PxvmError
from pxvm.models.families.checkpoint import open_checkpoint
from pxvm.models.graph.fields import Fields
from pxvm.tuning import quantise, truth
from pxvm.tuning.predictor import Predictor
from pxvm.tuning.records import Damage, measured_of, read, store
from pxvm.tuning.trials import Trials, sizes
from pxvm.tuning.weights import FEATURES
from tests.models.plain_models import bert_vectors
from tests.tuning import small


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    source = small.llama(tmp_path_factory.mktemp("models") / "llama")
    with Trials(source, small.text(), device="cpu") as trials:
        yield trials


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    source = small.bert(tmp_path_factory.mktemp("models") / "bert")
    with Trials(source, small.text(), device="cpu") as trials:
        yield trials


def damages(count, model="a model", seed=0):
    """Measurements in which the first feature multiplies the damage by 64."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        features = np.zeros(len(FEATURES))
        features[0], features[9] = number % 2, rng.uniform()
        change = float(rng.uniform(0.05, 0.1))
        damage = change**2 * 64.0 ** features[0]
        found.append(Damage(model, str(number), "int4", tuple(features), change, damage, 9, 0.1))
    return found


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_a_trial_computes_what_an_import_with_its_choices_does(name, request, tmp_path):
    trials = request.getfixturevalue(name)
    choices = {w.name: "int4" for w in trials.weights[::2]}
    for fine in {False, trials.embeds}:
        trials.fine = fine
        trials.write(tmp_path / "made.pxi", choices)
        with Model.open(tmp_path / "made.pxi") as made, trials._opened(choices) as tried:
            if trials.embeds:
                found = made.embedder.embed(trials.ids), tried.embedder.embed(trials.ids)
            else:
                found = made.logits(trials.ids[:20]), tried.logits(trials.ids[:20])
        assert found[0].tobytes() == found[1].tobytes()
    trials.fine = False
    assert trials.damage({})[0] == pytest.approx(0, abs=1e-6)
    assert trials.damage(choices)[0] > 1e-5


def test_every_matrix_is_found_that_is_in_the_picture_as_it_was_trained(llama, bert):
    assert {w.name for w in llama.weights} == {
        "embedding",
        *(f"{i}.{n}" for i in range(2) for n in (*"qkvo", "gate", "up", "down")),
    }
    # Positions are stored with a token type added to them.
    assert {w.name for w in bert.weights} == {
        "embedding",
        *(f"{i}.{n}" for i in range(2) for n in (*"qkvo", "up", "down")),
    }


def test_an_encoder_in_float32(bert):
    checkpoint = open_checkpoint(bert.source)
    weights = {n: np.asarray(w, np.float64) for n, w in checkpoint.weights.items()}
    wanted = bert_vectors(checkpoint.config, weights, bert.ids[:5])
    found = truth.vectors(checkpoint.config, checkpoint.weights, bert.ids[:5])
    np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_smaller_and_as_good(name, request, monkeypatch, tmp_path):
    trials = request.getfixturevalue(name)
    monkeypatch.setattr(quantise, "SLACK_TEXT", 0.02)
    monkeypatch.setattr(quantise, "SLACK_VECTORS", 0.002)
    found = quantise.tune(trials, budget=20)
    assert found.choices and found.bytes < found.default_bytes and found.trials <= 20
    assert found.loss == trials.loss(found.choices) <= found.default_loss + 0.02
    assert found.bytes == sizes(trials.weights, found.choices)
    assert len(found.measured) > 8 and all(m.damage >= 0 for m in found.measured)
    again = quantise.tune(trials, budget=20)
    assert again.choices == found.choices and again.trials == found.trials
    # What was measured of this very model is not measured again.
    known = quantise.tune(trials, found.measured, budget=6)
    assert not known.measured and known.bytes <= found.bytes + 4000
    trials.fine = False


class Added:
    """Trials of a model whose damages add up, nearly: each weight has 4 KiB and a damage."""

    embeds, model, fine, device = True, "added", False, "reference"

    def __init__(self, damages, like=None):
        self.damages, self.done = damages, 0
        self.weights = [
            Plain(str(number), *((like[number].features, like[number].change) if like else ()))
            for number in range(len(damages))
        ]

    def damage(self, choices):
        self.done += 1
        return sum(self.damages[int(name)] for name in choices), 0.1

    def loss(self, choices=None):
        self.done += 1
        return 0.01 + 1.05 * sum(self.damages[int(name)] for name in choices or {})


NONE = (0.0,) * len(FEATURES)


class Plain:
    choices, role = ("int8", "int4"), "q"

    def __init__(self, name, features=NONE, change=0.1):
        self.name, self._features, self._change = name, features, change

    def bytes(self, choice):
        return 4096 if choice == "int8" else 2048

    def features(self, choice):
        return self._features

    def change(self, choice):
        return self._change


def test_where_all_was_measured_their_sum_says_how_many_may_be_made():
    costs = np.random.default_rng(3).lognormal(0, 1.5, 60)
    costs *= 0.001 / np.sort(costs)[:41].sum()
    known = [replace(m, model="added", tensor=str(n), damage=float(cost))
             for n, (m, cost) in enumerate(zip(damages(60), costs, strict=True))]  # fmt: skip
    trials = Added(costs)
    found = quantise.tune(trials, known, budget=99)
    best = [saved for _, saved in found.path]
    assert min(best) == found.bytes and found.loss <= found.default_loss + quantise.SLACK_VECTORS
    assert found.path[0][0] <= 3 < quantise.halvings(60)
    first = next(spent for spent, saved in found.path if saved == found.bytes)
    assert first <= 4, found.path


def test_what_other_models_taught_needs_few_trials_and_no_measurement():
    like = np.random.default_rng(5).permutation(np.array(damages(60, seed=2), object)).tolist()
    small_ones = {str(number) for number, m in enumerate(like) if not m.features[0]}
    scale = 0.0009 / sum(like[int(name)].damage for name in small_ones)
    taught = [replace(m, damage=2 * scale * m.damage) for m in damages(40, "another")]
    trials = Added([scale * m.damage for m in like], like)
    found = quantise.tune(trials, taught, budget=5)
    assert not found.measured and set(found.choices) == small_ones
    assert len(quantise.tune(trials, budget=5).choices) < len(small_ones) / 2
    # What is false of this model costs trials; with more of them, its own measurements count.
    lies = [replace(m, damage=scale * 64 / m.damage) for m in taught]
    assert len(quantise.tune(trials, lies, budget=5).choices) < len(small_ones) / 2
    found = quantise.tune(trials, lies, budget=40)
    assert set(found.choices) == small_ones and len(found.measured) > 20


def test_nothing_is_chosen_where_nothing_is_as_good(llama, monkeypatch):
    monkeypatch.setattr(quantise, "SLACK_TEXT", -1.0)
    found = quantise.tune(llama, budget=8)
    assert not found.choices and found.bytes == found.default_bytes
    assert found.loss == found.default_loss


def test_the_best_of_the_same_size(bert):
    found = quantise.tune(bert, budget=8, target="quality")
    assert found.fine and found.loss < found.default_loss and found.bytes <= found.default_bytes
    bert.fine = False
    with pytest.raises(PxvmError, match="expected bytes or quality"):
        quantise.tune(bert, budget=8, target="speed")


def test_poisoned_measurements_make_nothing_wrong(llama, monkeypatch):
    monkeypatch.setattr(quantise, "SLACK_TEXT", 0.02)
    true = quantise.tune(llama, budget=20).measured
    worst = max(m.damage for m in true)
    lies = [replace(m, damage=worst - m.damage + 1e-9) for m in true]
    found = quantise.tune(llama, lies, budget=12)
    assert found.loss <= found.default_loss + 0.02
    assert found.loss == pytest.approx(llama.loss(found.choices))


def test_the_predictor_learns_what_a_feature_does_and_is_a_picture(tmp_path):
    predictor = Predictor(damages(40))
    predictor.save(tmp_path / "predictor.pxi")
    features = [m.features for m in damages(70, seed=1)]
    found = {device: predictor.sensitivities(features, device) for device in ("reference", "cpu")}
    assert found["reference"].tobytes() == found["cpu"].tobytes()
    likely = found["cpu"]
    assert likely[1::2].min() - likely[::2].max() > 4  # of the 6 powers of two that are true
    fields = Fields(open_image(tmp_path / "predictor.pxi"))
    assert {"features", "sensitivity"} <= fields.by_name.keys()
    assert Predictor(damages(40)).image.tobytes() == predictor.image.tobytes()


def test_with_nothing_measured_every_weight_is_like_another():
    predictor = Predictor(damages(3))
    assert predictor.image is None
    assert not predictor.sensitivities([m.features for m in damages(5)]).any()


def test_measurements_are_records_that_can_be_forgotten(tmp_path):
    with Network.open(tmp_path / "k.png") as network:
        ids = store(network, damages(8))
        assert list(read(network, Damage)) == damages(8)
        assert network.record(ids[0]).kind == "measurement"
        before = Predictor(list(read(network, Damage)))
        network.forget(ids[1])
        assert [m.tensor for m in read(network, Damage)] == list("0234567")
        after = Predictor(list(read(network, Damage)))
        assert before.image.tobytes() != after.image.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"damage": float("nan")}, {"damage": True}, {"damage": 1e99}, {"damage": 10**400},
        {"change": 0}, {"bytes": -1},
        {"bytes": 1.5}, {"choice": "int2"}, {"features": [1.0]}, {"features": "x" * 18},
        {"features": [1e9] * len(FEATURES)}, {"model": "m" * 999}, {"model": 5}, {"more": 1},
    ],
)  # fmt: skip
def test_what_is_no_measurement_is_none(change):
    data = asdict(damages(1)[0])
    assert measured_of(f"```json\n{json.dumps(data)}\n```", Damage) == damages(1)[0]
    assert measured_of(f"```json\n{json.dumps(data | change)}\n```", Damage) is None
    assert measured_of("```json\n[[[[\n```", Damage) is None
    assert measured_of("nothing", Damage) is None


def test_a_text_that_is_too_short_is_refused(llama):
    with pytest.raises(PxvmError, match="expected a text of several lines"):
        Trials(llama.source, "", device="cpu")
