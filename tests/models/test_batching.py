"""Many conversations in one execution: each gets the bytes that it gets alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pxvm import Model
from pxvm.core.container import open_image
from pxvm.core.errors import ProgramError
from pxvm.core.program import load_program
from pxvm.core.tensor import Descriptor, DType, Role, tensor_words, words_of
from pxvm.models.batching import Batcher, StoppedError
from pxvm.models.constrained import GrammarError
from pxvm.models.families.batched import batched
from pxvm.models.generation import ContextError
from pxvm.models.slots import _parts
from tests.models.tiny_models import compiled, write_bert, write_llama

ASK = [{"role": "user", "content": "What is a pixel?"}]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("tiny") / "tiny.pxi")


@pytest.fixture(scope="module")
def batcher(path):
    with Batcher.open(path, compiled(), threads=1, slots=3) as found:
        yield found


@pytest.fixture(scope="module")
def alone(path):
    with Model.open(path, compiled(), threads=1) as model:
        yield lambda text, **options: model.chat([{"role": "user", "content": text}], **options)


def together(batcher, requests):
    """The answers to (text, options, pieces to take or None), asked at once."""

    def one(request):
        text, options, most = request
        pieces = batcher.chat([{"role": "user", "content": text}], **options)
        found = []
        for piece in pieces:
            found.append(piece)
            if len(found) == most:
                break
        pieces.close()
        return "".join(found)

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(one, requests))


TEXTS = st.sampled_from(["pixel", "What is a pixel?", "What is a voxel? " * 9, "da ko " * 20, "x"])
OPTIONS = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 24)},
    optional={
        "temperature": st.sampled_from([0.0, 0.7, 1.5]),
        "seed": st.integers(0, 3),
        "top_k": st.sampled_from([1, 40]),
        "top_p": st.sampled_from([0.5, 1.0]),
        "penalty": st.sampled_from([1.0, 1.4]),
        "stop": st.just(["s"]),
        "regex": st.just("(ab|cd){1,6}"),
    },
)
REQUESTS = st.lists(
    st.tuples(TEXTS, OPTIONS, st.one_of(st.none(), st.integers(1, 4))), min_size=1, max_size=7
)


@given(REQUESTS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_company_changes_an_answer(batcher, alone, requests):
    """Whatever else is asked, drawn, formed, stopped or left in the middle at the same time."""
    for (text, options, most), answer in zip(requests, together(batcher, requests), strict=True):
        whole = alone(text, **options)
        assert answer == whole if most is None else whole.startswith(answer), (text, options)


def test_the_reference_gives_the_same(path, alone):
    requests = [(text, {"max_tokens": 4}, None) for text in ("pixel", "a longer question", "x")]
    with Batcher.open(path, "reference", slots=2) as batcher:
        assert together(batcher, requests) == [alone(t, **o) for t, o, _ in requests]
        assert batcher.rows > batcher.steps


def test_what_a_conversation_said_before_is_not_taken_in_again(batcher, path):
    talk = [*ASK]
    answer = "".join(batcher.chat(talk, max_tokens=30))
    talk += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And why?"}]
    "".join(batcher.chat([{"role": "user", "content": "Something else in between"}], max_tokens=5))
    again = "".join(batcher.chat(talk, max_tokens=5))
    assert batcher.prefill.reused > 20
    with Model.open(path, compiled(), threads=1) as model:
        assert again == model.chat(talk, max_tokens=5)


def test_an_answer_ends_where_the_context_does(batcher, alone):
    text = "pixel " * 20
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: _whole(batcher, text), range(2)))
    assert found == [alone(text, max_tokens=None)] * 2


def _whole(batcher, text):
    return "".join(batcher.chat([{"role": "user", "content": text}], max_tokens=None))


def test_faults_reach_the_one_who_asked(batcher, alone):
    with pytest.raises(ContextError):
        list(batcher.session().generate("pixel " * 400, stream=True))
    with pytest.raises(GrammarError):
        list(batcher.chat(ASK, regex="("))
    assert "".join(batcher.chat(ASK, max_tokens=3)) == alone(ASK[0]["content"], max_tokens=3)


def test_who_is_left_from_another_thread_gives_up_its_place_at_once(batcher, alone):
    """In a slot, and in the line before it; the others and those after it answer as ever."""
    slow = {"regex": "(pixel ){400}", "max_tokens": None}
    held = [batcher.session() for _ in range(3)]  # as many as there are slots
    streams = [one.chat(ASK, stream=True, **slow) for one in held]
    for stream in streams:
        next(stream)
    waits = batcher.session()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: list(waits.chat(ASK, stream=True, **slow)))
        while batcher.busy < 4:
            pass
        waits.generator.leave()
        assert found.result(30) == [] and batcher.busy == 3
    for one, stream in zip(held, streams, strict=True):
        one.generator.leave()
        list(stream)
    wanted = alone(ASK[0]["content"], max_tokens=8)
    assert "".join(batcher.chat(ASK, max_tokens=8)) == wanted


def test_closing_stops_what_is_under_way(path):
    batcher = Batcher.open(path, compiled(), threads=1, slots=1)
    pieces, failed = batcher.chat(ASK, regex="(ab){200}"), threading.Event()
    next(pieces)

    def listen():
        with pytest.raises(StoppedError):
            list(pieces)
        failed.set()

    thread = threading.Thread(target=listen)
    thread.start()
    batcher.close()
    thread.join(10)
    assert failed.is_set()


def test_a_step_computes_the_answers_that_are_ready_and_no_others(batcher, alone, monkeypatch):
    """Of whichever slots; each token is drawn from the row of its own."""
    rows, run = [], batcher.program.run

    def counted(tokens):
        run(tokens)
        rows.append((len(tokens), batcher.program.fields.scalar("n")))

    monkeypatch.setattr(batcher.program, "run", counted)
    asked = [(text, {"max_tokens": 4}) for text in ("one", "two more", "three at last")]
    for _ in range(2):  # one after the other, they take the slots in turn
        for text, options in asked:
            pieces = batcher.chat([{"role": "user", "content": text}], **options)
            assert "".join(pieces) == alone(text, **options)
    assert set(rows) == {(1, 1)}
    found = together(batcher, [(text, options, None) for text, options in asked])
    assert found == [alone(text, **options) for text, options in asked]
    assert all(wanted == computed for wanted, computed in rows)


def test_what_an_answer_under_way_begins_with_is_not_computed_again(batcher, alone):
    begin = "What is a voxel? " * 6
    under_way = batcher.chat([{"role": "user", "content": begin + "one"}], max_tokens=9)
    first = next(under_way)
    list(batcher.chat([{"role": "user", "content": "da ko"}], max_tokens=2))
    other = batcher.chat([{"role": "user", "content": begin + "two"}], max_tokens=4)
    assert "".join(other) == alone(begin + "two", max_tokens=4)
    assert batcher.prefill.reused > len(batcher.model.tokenizer.encode(begin))
    assert first + "".join(under_way) == alone(begin + "one", max_tokens=9)


@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 50), st.data())
def test_the_stretches_of_a_cache_are_the_first_tokens_of_each_head(heads, context, per, data):
    count = data.draw(st.integers(0, context))
    image = np.zeros((heads * context + 2, 200, 4), np.uint8)
    cache = Descriptor(0, "k_cache", DType.I32, Role.STATE, 0, (heads, context, 3), 201,
                       min(per, heads * context), None, None, None)  # fmt: skip
    block = words_of(image)[1:, 1:]
    for part in _parts(cache, count):
        block[part] += 1
    found = tensor_words(image, cache, 0, heads * context).reshape(heads, context, 3)
    assert (found[:, :count] == 1).all() and words_of(image).sum() == heads * count * 3


def test_only_a_model_that_writes_has_slots(tmp_path, path):
    image = open_image(write_bert(tmp_path / "bert.pxi"))
    with pytest.raises(ProgramError, match="Llama family"):
        batched(image, load_program(image), 2, 32)
    image = open_image(path)
    with pytest.raises(ProgramError, match="no room for 400 slots"):
        batched(image, load_program(image), 400, 32)
