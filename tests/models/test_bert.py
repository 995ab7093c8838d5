"""Small random BERTs as programs, against a float64 model in plain NumPy."""

from dataclasses import replace

import numpy as np
import pytest

from pxvm import run_program
from pxvm.core.container import save_image
from pxvm.core.errors import ProgramError
from pxvm.models.families.bert import (
    PLANES,
    BertConfig,
    build_bert,
    resize_rows,
    set_sentences,
    vectors,
    weight_shapes,
)
from pxvm.models.graph.fields import Fields
from tests.models.plain_models import bert_vectors, random_weights

CONFIG = BertConfig(2, 64, 4, 128, 100, 32)
WEIGHTS = random_weights(weight_shapes(CONFIG), 2)
SENTENCES = [[1, 2, 3, 4, 5], [7, 8], list(range(20, 36)), [99]]


@pytest.mark.parametrize(("planes", "limit"), [(2, 0.02), (1, 0.03)])
def test_vectors_are_those_of_the_float_model(planes, limit):
    """Six products of int8 weights in a row of each layer err by about 0.006 each (see Llama's
    bound): 0.006 * sqrt(8) = 0.017 at most before the mean over tokens averages some away; one
    plane adds as much again for its activations."""
    image = build_bert(CONFIG, WEIGHTS, batch=4, tokens=16, planes=dict.fromkeys(PLANES, planes))
    set_sentences(image, SENTENCES)
    run_program(image, device="reference")
    found = vectors(image, 4)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(4), abs=1e-4)
    assert np.linalg.norm(found - bert_vectors(CONFIG, WEIGHTS, SENTENCES), axis=1).max() < limit


@pytest.mark.parametrize(("pooling", "unit"), [("cls", True), ("cls", False), ("mean", False)])
def test_other_poolings_and_lengths(pooling, unit):
    """The bound above, less what averaging spares; of vectors that are about 8 long where they are
    left as they are."""
    config = replace(CONFIG, pooling=pooling, unit=unit)
    image = build_bert(config, WEIGHTS, batch=4, tokens=16)
    set_sentences(image, SENTENCES)
    run_program(image, device="reference")
    found, wanted = vectors(image, 4), bert_vectors(config, WEIGHTS, SENTENCES)
    lengths = np.linalg.norm(wanted, axis=1)
    assert unit == (lengths == pytest.approx(np.ones(4)))
    assert (np.linalg.norm(found - wanted, axis=1) / lengths).max() < 0.03
    plain = bert_vectors(CONFIG, WEIGHTS, SENTENCES)
    assert np.linalg.norm(wanted - plain, axis=1).max() > 0.1  # another thing altogether


def test_a_sentence_does_not_depend_on_its_batch():
    together = build_bert(CONFIG, WEIGHTS, batch=4, tokens=16)
    set_sentences(together, SENTENCES)
    run_program(together, device="reference")
    alone = build_bert(CONFIG, WEIGHTS, batch=1, tokens=16)
    for number, sentence in enumerate(SENTENCES):
        set_sentences(alone, [sentence])
        run_program(alone, device="reference")
        assert np.array_equal(Fields(alone)["vectors"][0], Fields(together)["vectors"][number])


def test_a_file_opens_with_room_for_more_rows(tmp_path):
    path = tmp_path / "bert.pxi"
    save_image(build_bert(CONFIG, WEIGHTS, batch=4), path, layout="mappable")
    opened = resize_rows(path, 64)
    assert np.array_equal(opened, build_bert(CONFIG, WEIGHTS, batch=4, tokens=16))


def test_sentences_that_do_not_fit_are_refused():
    image = build_bert(CONFIG, WEIGHTS, batch=2, tokens=8)
    for sentences in ([], [[]], [[1]] * 3, [[1] * 9, [1]], [[1] * 33]):
        with pytest.raises(ProgramError, match="expected 1 to 2 sentences"):
            set_sentences(image, sentences)
