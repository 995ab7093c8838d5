"""The Pixel-LLM: text, training, the picture against float32, and the four scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxvm.core.container import read_image, save_image
from pxvm.core.errors import ProgramError
from pxvm.examples import pixellm, pixellm_text
from pxvm.examples.generate_text import choose, continue_text
from pxvm.examples.pixellm import RECIPE, Weights
from pxvm.examples.pixellm_picture import PixelLLM, encode
from pxvm.examples.pixellm_text import WORDS, Spelling, Vocabulary, corpus, learn_vocabulary
from pxvm.examples.validate_pixellm_accuracy import compare

ROOT = Path(__file__).resolve().parents[2]
TRAINING, HELD_OUT = corpus()
EXCERPT = TRAINING[:60_000]
TINY = replace(RECIPE, vocabulary=200, window=3, width=16, hidden=24, epochs=12.0, batch=128)

Trained = tuple[Weights, Vocabulary]


@pytest.fixture(scope="module")
def tiny() -> Trained:
    """A small network trained on an excerpt, in about a second."""
    vocabulary = learn_vocabulary(EXCERPT, TINY.vocabulary)
    numbers = np.array(vocabulary.encode(EXCERPT))
    return pixellm.train(numbers, vocabulary.number["\n"], TINY), vocabulary


def test_the_corpus_is_plain_text_without_a_licence_and_split_by_chapters():
    boilerplate = re.compile(
        r"gutenberg|copyright|licen[cs]e agreement|\betext\b|==", re.IGNORECASE
    )
    assert not boilerplate.search(TRAINING + HELD_OUT)
    assert 0.05 < len(HELD_OUT) / len(TRAINING) < 0.1
    assert not {line for line in HELD_OUT.split("\n") if len(line) > 80} & set(TRAINING.split("\n"))
    assert "public domain" in (pixellm_text.CORPUS.parent / "SOURCE.md").read_text(encoding="utf-8")


def test_the_vocabulary_is_the_same_every_time_and_spells_what_it_never_saw(tiny: Trained):
    vocabulary = tiny[1]
    assert learn_vocabulary(EXCERPT, TINY.vocabulary).pieces == vocabulary.pieces
    assert len(vocabulary) == TINY.vocabulary
    unseen = HELD_OUT[:5000]
    known = "".join(c if c in vocabulary.number else "?" for c in unseen)
    assert vocabulary.decode(vocabulary.encode(unseen)) == known


@given(text=st.text(max_size=60))
def test_any_text_can_be_encoded(text: str):
    vocabulary = Vocabulary([*"?aeht .\n", "the", " the", "at"])
    numbers = vocabulary.encode(text)
    assert all(0 <= i < len(vocabulary) for i in numbers)
    spelled = vocabulary.decode(numbers)
    assert vocabulary.decode(vocabulary.encode(spelled)) == spelled


def test_accents_and_typographic_quotes_are_folded():
    vocabulary = Vocabulary([*'?cafe" -'])
    assert vocabulary.decode(vocabulary.encode("“café” — ∞")) == '"cafe" - ?'


@pytest.mark.parametrize("pieces", [["a", "b"], ["?", "a", "a"]])
def test_a_vocabulary_that_cannot_work_is_refused(pieces: list[str]):
    with pytest.raises(ValueError, match="distinct"):
        Vocabulary(pieces)


def test_gradients_agree_with_differences():
    recipe = replace(TINY, vocabulary=7, window=2, width=3, hidden=4, floor_weight=0.0)
    network = Weights(*(p.astype(np.float64) for p in pixellm.initial(recipe).parameters()))
    rng = np.random.default_rng(3)
    windows, targets = rng.integers(0, 7, (5, 2)), rng.integers(0, 7, 5)
    _, gradients = pixellm._gradients(network, windows, targets, recipe)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        for at in np.ndindex(parameter.shape):
            losses = []
            for change in (1e-6, -2e-6):
                parameter[at] += change
                losses.append(pixellm._gradients(network, windows, targets, recipe)[0])
            parameter[at] += 1e-6
            assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(gradient[at], abs=1e-6)


def test_the_floor_keeps_logits_in_a_narrow_range(tiny: Trained):
    network, vocabulary = tiny
    numbers = np.array(vocabulary.encode(EXCERPT))
    free = pixellm.train(numbers, vocabulary.number["\n"], replace(TINY, floor_weight=0.0))
    windows = pixellm.windows_of(numbers[:2000], TINY.window, vocabulary.number["\n"])
    ranges = [np.ptp(n.logits(windows), axis=1).mean() for n in (network, free)]
    assert ranges[0] < 0.8 * ranges[1]


def test_training_beats_counting_single_pieces_and_repeats_itself(tiny: Trained):
    network, vocabulary = tiny
    padding = vocabulary.number["\n"]
    numbers, unseen = (np.array(vocabulary.encode(t)) for t in (EXCERPT, HELD_OUT[:20_000]))
    single, pair = pixellm.baselines(numbers, unseen, len(vocabulary))
    assert pixellm.perplexity(network, unseen, padding) < 0.6 * single
    assert pair < single < TINY.vocabulary
    again = pixellm.train(numbers[:2000], padding, TINY)
    once_more = pixellm.train(numbers[:2000], padding, TINY)
    for first, second in zip(again.parameters(), once_more.parameters(), strict=True):
        assert np.array_equal(first, second)


def test_weights_are_stored_and_other_weights_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(pixellm, "corpus", lambda: (EXCERPT[:8000], HELD_OUT[:2000]))
    recipe = replace(TINY, epochs=1.0, vocabulary=128)
    path = tmp_path / "new" / "weights.npz"
    network, vocabulary = pixellm.trained(path, recipe)
    assert "perplexity on the held-out text" in capsys.readouterr().out
    stored, pieces = pixellm.trained(path, recipe)
    assert capsys.readouterr().out == "" and pieces.pieces == vocabulary.pieces
    for first, second in zip(network.parameters(), stored.parameters(), strict=True):
        assert np.array_equal(first, second)
    other, _ = pixellm.trained(path, replace(recipe, hidden=8))
    assert other.hidden_bias.shape == (1, 8)
    assert [p.name for p in path.parent.iterdir()] == ["weights.npz"]


def test_the_picture_holds_everything_and_agrees_with_float32(tiny: Trained, tmp_path: Path):
    network, vocabulary = tiny
    path = tmp_path / "tiny.pxi"
    save_image(encode(network, vocabulary), path)
    model = PixelLLM(read_image(path))
    assert model.window == TINY.window and model.holds(network, vocabulary)
    numbers = np.array(vocabulary.encode(HELD_OUT[:20_000]))
    result = compare(model, network, numbers, 400)
    assert result.passes and result.worst > 0.98, result
    assert result.picture_perplexity == pytest.approx(result.float_perplexity, rel=0.05)


def test_another_program_or_network_is_told_apart(tiny: Trained):
    network, vocabulary = tiny
    image = encode(network, vocabulary)
    changed = Weights(*network.parameters())
    changed.embedding = network.embedding + 0.1
    assert not PixelLLM(image).holds(changed, vocabulary)
    image[0, 1] = 0
    with pytest.raises(ProgramError, match="no Pixel-LLM"):
        PixelLLM(image)


def test_text_depends_on_the_seed_alone_and_spells_known_words(tiny: Trained):
    model = PixelLLM(encode(*tiny))

    def text(prompt: str, **options: float) -> str:
        return "".join(continue_text(model, prompt, 40, **options))  # type: ignore[arg-type]

    first = text("Elizabeth", seed=1)
    assert first == text("Elizabeth", seed=1) != text("Elizabeth", seed=2)
    known = set(WORDS.findall(TRAINING + HELD_OUT))
    assert set(WORDS.findall("Elizabeth" + first)[:-1]) <= known
    assert text("zzxq 1+1", seed=1), "a prompt of unknown words is continued too"
    assert text("", temperature=0) == text("", temperature=0, seed=2)
    assert text("Elizabeth", free_spelling=True, temperature=2.0, top_p=1.0)


def test_spelling_always_leaves_a_way_on():
    vocabulary = learn_vocabulary(EXCERPT, 160)
    rng = np.random.default_rng(0)
    for prompt in ("", " ", "Xyz", "\n", '"', "don't"):
        spelling = Spelling(vocabulary, prompt)
        for _ in range(30):
            open_ways = np.flatnonzero(spelling.allowed())
            assert len(open_ways)
            spelling.append(int(rng.choice(open_ways)))


def test_choosing_takes_the_lowest_of_equals_and_keeps_to_the_likely():
    rng = np.random.default_rng(0)
    logits = np.array([0.0, 3.0, 3.0, -np.inf])
    assert choose(logits, 0, 1.0, rng) == 1
    assert {choose(logits, 1.0, 0.9, rng) for _ in range(50)} == {1, 2}
    assert {choose(logits, 5.0, 1.0, rng) for _ in range(200)} == {0, 1, 2}


def script(tree: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pxvm/examples/NAME.py of a copy of the package."""
    return subprocess.run(
        [sys.executable, f"pxvm/examples/{name}.py", *arguments],
        cwd=tree,
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(
    not os.environ.get("PXVM_FETCH"), reason="trains for two minutes: for continuous integration"
)
def test_slow_the_four_scripts_with_the_fully_trained_network(tmp_path: Path):
    """Half a minute to a minute on two cores where no trained weights are kept yet."""
    leave = shutil.ignore_patterns("__pycache__", "networks", "models", "cpu", "gpu")
    shutil.copytree(ROOT / "pxvm", tmp_path / "pxvm", ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    if pixellm.WEIGHTS.exists():
        (tmp_path / "pxvm/networks").mkdir()
        shutil.copy(pixellm.WEIGHTS, tmp_path / "pxvm/networks")

    encoded = script(tmp_path, "encode_pixellm_forward")
    assert encoded.returncode == 0, encoded.stderr
    assert (tmp_path / "pxvm/networks/pixellm.pxi").stat().st_size < 1_000_000
    (tmp_path / "pxvm/networks/pixellm.npz").rename(tmp_path / "weights.npz")

    predicted = script(tmp_path, "run_pixellm_forward", "He was a very agreeable young")
    assert predicted.returncode == 0, predicted.stderr
    assert re.search(r"%  ' man'", predicted.stdout)
    written = script(tmp_path, "generate_text", "Elizabeth", "--length", "30", "--seed", "4")
    assert written.returncode == 0, written.stderr
    assert "Elizabeth" in written.stdout
    refused = script(tmp_path, "generate_text", "--length", "0")
    assert refused.returncode == 2 and "at least 1" in refused.stderr

    (tmp_path / "weights.npz").rename(tmp_path / "pxvm/networks/pixellm.npz")
    compared = script(tmp_path, "validate_pixellm_accuracy", "--positions", "1000")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    for name in ("pixellm", "pixellm_forward", "generate_text", "pixellm_accuracy"):
        assert (tmp_path / f"demo/{name}.view.png").exists()

    path = tmp_path / "pxvm/networks/pixellm.pxi"
    image = read_image(path)
    image[-1, :, 0] ^= 128
    save_image(image, path)
    spoiled = script(tmp_path, "validate_pixellm_accuracy", "--positions", "10")
    assert spoiled.returncode == 1 and spoiled.stderr.startswith("WRONG")
