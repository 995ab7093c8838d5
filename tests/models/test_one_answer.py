"""One PNG, one answer: a text generated on either executor, or half on each, is the same bytes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pxvm import run_program
from pxvm.core import executors
from pxvm.core.container import open_image, save_image
from pxvm.models.families.llama import LlamaConfig, build_llama, set_sampler, set_tokens, tokens
from tests.models.test_llama import weights_of

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
