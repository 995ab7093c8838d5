"""Small random Llamas as programs, against a float64 model in plain NumPy."""

import math

import numpy as np
import pytest

from pxvm import run_program
from pxvm.core.container import open_image, save_image
from pxvm.core.errors import ProgramError
from pxvm.core.reference1 import Runner
from pxvm.core.verifier import verify
from pxvm.models.families.llama import (
    FORBIDDEN,
    LlamaConfig,
    build_llama,
    reset,
    resize_context,
    set_sampler,
    set_tokens,
    tokens,
    weight_shapes,
)
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.quantise import quantise_weight, scale_value
from tests.models.plain_models import llama_logits, random_weights, softmax

SMALL = LlamaConfig(2, 64, 4, 2, 128, 128, context=64)
VARIANT = LlamaConfig(
    2, 64, 4, 1, 96, 100, rope_base=5e5, context=64, interleaved=False, tied=False, qkv_bias=True
)
TEXT = np.random.default_rng(5).integers(0, 100, 48).tolist()


def weights_of(config, seed=1):
    """Random weights; small embeddings, so that a tied output does not repeat its input."""
    weights = random_weights(weight_shapes(config), seed)
    weights["embedding"] *= 0.2
    return weights


def as_integers_mean(weights):
    """The weights that the int8 rows stand for."""
    found = dict(weights)
    for name, w in weights.items():
        if w.ndim == 2:
            q, scale = quantise_weight(name, w)
            found[name] = q * scale_value(scale)[:, None]
    return found


def all_logits(config, weights, ids):
    image = build_llama(config, weights, context=64, prompt=64, all_logits=True)
    set_tokens(image, ids)
    run_program(image, device="reference")
    f = Fields(image)
    assert f.scalar("position") == len(ids)
    return f.real("logits")[: len(ids)]


def relative(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def rounding_bound(values, steps, count):
    """Twice the error that ``count`` roundings in a row leave when they are independent.

    Rounding to 1 / steps of a row's largest value errs by largest / steps / sqrt(12) root mean
    square; relative to the row that is times largest / rms. Errors of independent roundings add
    in squares, and each reaches the residual stream at most whole.
    """
    peak = (np.abs(values).max(axis=-1) / np.sqrt((values**2).mean(axis=-1))).mean()
    return 2 * math.sqrt(count) * peak / steps / math.sqrt(12)


@pytest.mark.parametrize("config", [SMALL, VARIANT], ids=["pairs", "halves"])
def test_logits_stay_within_the_bound_of_their_roundings(config):
    weights = weights_of(config)
    found = all_logits(config, weights, TEXT)
    # Weights: of a layer's seven products four stand in a row, and embedding and output.
    weight_bound = rounding_bound(weights["0.q"], 127, 4 * config.layers + 2)
    # Heads of q, k and v, the only ones of 7 bits; 14 bits elsewhere count for nothing beside.
    heads = np.random.default_rng(0).normal(size=(4096, config.head))
    head_bound = rounding_bound(heads, 127, 3 * config.layers)
    exact = llama_logits(config, as_integers_mean(weights), TEXT)
    assert relative(found, exact) < head_bound < 0.03
    real = llama_logits(config, weights, TEXT)
    assert relative(found, real) < math.hypot(weight_bound, head_bound) < 0.06


def test_perplexity_is_within_one_percent():
    weights = weights_of(SMALL, 3)
    found = all_logits(SMALL, weights, TEXT)
    wanted = llama_logits(SMALL, weights, TEXT)

    def perplexity(logits):
        probability = softmax(logits[:-1])[np.arange(len(TEXT) - 1), TEXT[1:]]
        return np.exp(-np.log(probability).mean())

    assert perplexity(found) == pytest.approx(perplexity(wanted), rel=0.01)


def chat(prompt=16, seed=9, **sampler):
    image = build_llama(SMALL, weights_of(SMALL), context=64, prompt=prompt)
    set_sampler(image, seed=seed, **sampler)
    return image


def test_a_prompt_is_the_same_at_once_in_parts_and_token_by_token():
    results = []
    for part in (12, 5, 1):
        image = chat()
        for first in range(0, 12, part):
            set_tokens(image, TEXT[:12][first : first + part], answer=first + part >= 12)
            run_program(image, device="reference")
        f = Fields(image)
        names = [n for n in f.by_name if n.endswith("cache")]
        results.append([f[n].tobytes() for n in ("logits", "token", "history", "output", *names)])
    assert results[0] == results[1] == results[2]


def test_generation_at_temperature_zero_is_that_of_the_logits():
    image = chat()
    set_tokens(image, TEXT[:7])
    for _ in range(16):
        run_program(image, device="reference")
        f = Fields(image)
        assert f.scalar("token") == int(f["logits"].argmax())
    text = TEXT[:7] + tokens(image)
    assert len(tokens(image)) == 16
    taken = f.rows("history", f.scalar("history_length"))[:, 0].tolist()
    assert taken == text[:-1]  # what the penalty sees; the last token is not taken in yet
    again = all_logits(SMALL, weights_of(SMALL), text[:-1])
    assert again.argmax(axis=1)[6:].tolist() == tokens(image)


def test_a_seed_repeats_and_reset_forgets():
    image = chat(temperature=1.0, top_k=20, top_p=0.9, penalty=1.1)

    def generate(seed):
        reset(image)
        set_sampler(image, seed=seed)
        set_tokens(image, TEXT[:5])
        for _ in range(8):
            run_program(image, device="reference")
        return tokens(image)

    first = generate(1)
    assert generate(2) != first
    assert generate(1) == first


def test_a_penalty_keeps_the_text_from_repeating_itself():
    found = []
    for penalty in (1.0, 5.0):
        image = chat(penalty=penalty)
        set_tokens(image, TEXT[:7])
        for _ in range(16):
            run_program(image, device="reference")
        found.append(len(set(tokens(image) + TEXT[:7])))
    assert found[0] < found[1] == len(set(TEXT[:7])) + 16


def test_a_mask_forbids_tokens_while_it_is_switched_on():
    image = chat(temperature=1.0, top_k=1024)
    f = Fields(image)
    allowed = [3, 50, 99]
    mask = np.full(SMALL.vocab, FORBIDDEN)
    mask[allowed] = 0
    f["mask"], f["masked"] = mask, 1
    set_tokens(image, TEXT[:7])
    for _ in range(16):
        run_program(image, device="reference")
    assert len(set(tokens(image))) > 1 and set(tokens(image)) <= set(allowed)
    f["masked"] = 0
    run_program(image, device="reference")
    assert f["logits"].min() > FORBIDDEN // 2


def test_stopping_anywhere_and_resuming_from_pixels_changes_nothing():
    straight = chat(temperature=0.8)
    set_tokens(straight, TEXT[:6])
    for _ in range(4):
        run_program(straight, device="reference")
    rng = np.random.default_rng(2)
    stopped = chat(temperature=0.8)
    set_tokens(stopped, TEXT[:6])
    while len(tokens(stopped)) < 4 or Fields(stopped).scalar("n") == 0:
        stopped = stopped.copy()
        Runner(stopped, verify(stopped)).run(int(rng.integers(1, 40)))
    if not np.array_equal(stopped, straight):  # stopped right behind the last Copy, not at Yield
        Runner(stopped, verify(stopped)).run(None)
    assert np.array_equal(stopped, straight)


def test_opening_with_more_rows_is_building_with_more(tmp_path):
    path = tmp_path / "small.pxi"
    save_image(build_llama(SMALL, weights_of(SMALL)), path, layout="mappable")
    built = build_llama(SMALL, weights_of(SMALL), context=40, prompt=9)
    opened = resize_context(path, 40, prompt=9)
    assert np.array_equal(opened, built)
    assert np.array_equal(resize_context(open_image(path), 40, prompt=9), built)
    assert np.array_equal(resize_context(built, 1, prompt=1), open_image(path))


def test_a_text_goes_on_in_a_larger_context():
    small = build_llama(SMALL, weights_of(SMALL), context=10, prompt=8)
    large = build_llama(SMALL, weights_of(SMALL), context=64, prompt=8)
    for image in (small, large):
        set_tokens(image, TEXT[:8])
        run_program(image, device="reference")
    with pytest.raises(ProgramError, match="8 tokens are in use"):
        resize_context(small, 7)
    small = resize_context(small, 64)
    assert np.array_equal(small, large)
    for image in (small, large):
        run_program(image, device="reference")
    assert tokens(small) == tokens(large)


def test_too_many_tokens_are_refused():
    image = chat(prompt=4)
    for ids in ([], [1] * 5):
        with pytest.raises(ProgramError, match="expected 1 to 4 tokens"):
            set_tokens(image, ids)


def test_wrong_weights_are_named():
    weights = weights_of(SMALL)
    weights["1.down"] = weights["1.down"].T
    with pytest.raises(ProgramError, match=r"1\.down: expected \(64, 128\)"):
        build_llama(SMALL, weights)
    del weights["1.down"]
    with pytest.raises(ProgramError, match=r"1\.down"):
        build_llama(SMALL, weights)


def test_a_file_is_little_larger_than_its_weights():
    """The shape of SmolLM2-135M with 6 layers: within 2 percent of int8 weights and mask."""
    config = LlamaConfig(6, 576, 9, 3, 1536, 16384, 1e5, context=1024)
    shapes = weight_shapes(config)
    weights = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    image = build_llama(config, weights)
    raw = sum(int(np.prod(s)) for s in shapes.values() if len(s) == 2)
    assert image.nbytes < 1.02 * raw + 4 * config.vocab
    assert image.shape[1] % 1152 == 0  # 144 and 384 words in a row fill it
