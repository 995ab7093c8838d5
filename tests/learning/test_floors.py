"""What a question tells, how much of it is found, and what is done with words that all have."""

import json
import zlib

import numpy as np
import pytest

from pxvm.core.errors import FormatError
from pxvm.learning import Draft, Network
from pxvm.learning.search import lexical
from pxvm.learning.search.cache import ask
from pxvm.learning.search.search import search
from pxvm.learning.store.record import DEFLATED, Payload, Record, decode, encode
from tests.learning.hashed_words import HashedWords


class Blind(HashedWords):
    """Has no token for anything."""

    def known(self, text):
        return 0.0


@pytest.fixture
def network(tmp_path):
    with Network.open(tmp_path / "k.png", draw=lambda r: np.full((1, 128), 255, np.uint8)) as made:
        yield made


def answers(network, question, **options):
    return [hit.record.answer for hit in search(network, question, **options)]


NOTES = ["The ferry leaves the harbour at nine.", "The keel is made of oak.", "Anna paints boats."]


@pytest.mark.parametrize("embedder", [None, HashedWords(64)])
def test_nonsense_finds_nothing_and_questions_do(network, embedder):
    drafts = [Draft("", note) for note in NOTES]
    network.append_many(embedder.with_vectors(drafts) if embedder else drafts)
    for question in ("xyzzy plugh quux", "where is zorplenut brandywhistle", "9f8e7d6c"):
        assert answers(network, question, embedder=embedder) == []
    assert answers(network, "what are keels made of", embedder=embedder)[0] == NOTES[1]
    assert answers(network, "when does the ferry leave", embedder=embedder)[0] == NOTES[0]


def test_what_a_model_has_no_tokens_for_is_left_to_words(network):
    network.append_many(Blind(64).with_vectors([Draft("", note) for note in NOTES]))
    question = "oak keel and ferry"
    assert answers(network, question, embedder=Blind(64))[:2] == answers(
        network, question, embedder=None
    )
    assert answers(network, "xyzzy plugh", embedder=Blind(64)) == []


def test_a_word_that_all_have_finds_the_newest_in_whose_own_text_it_is(network, monkeypatch):
    monkeypatch.setattr(lexical, "MOST_ROWS", 3)
    monkeypatch.setattr(lexical, "NEWEST", 5)
    network.append_many(Draft("", f"note {n} of the harbour" + " and more" * n) for n in range(8))

    def found():
        scores = ask(network, lambda cache: lexical.by_words(cache, "harbour", [], None, 9).scores)
        return list(scores)

    assert found() == [4, 5, 6, 7, 8]  # the shortest first
    network.forget(5)
    assert found() == [3, 4, 6, 7, 8]


def test_length_counts_beside_that_of_the_records_found_whatever_stands_between(
    network, monkeypatch
):
    monkeypatch.setattr(lexical, "MOST_ROWS", 3)
    notes = [f"harbour {'pier ' * n}" for n in range(4)]
    for note in notes:
        network.append_many([Draft("", note), Draft("", "of something else " * 50)])
    scores = ask(network, lambda cache: lexical.by_words(cache, "harbour", [], None, 9).scores)
    usual = sum(map(len, notes)) / len(notes)
    assert list(scores.values()) == pytest.approx([1 / (1 + len(n) / usual) for n in notes])


def test_single_characters_of_a_question_without_spaces_are_found(network):
    network.append("", "猫只吃鸡肉味的猫粮，不吃鱼味的。")
    network.append("", "会议室的投影仪需要一个转接头。")
    assert answers(network, "猫吃什么？", embedder=None)[0].startswith("猫")


# -- records of the usual form are read with fewer steps ------------------------------------------

PLAIN = {"query": "q", "answer": "a", "source": "s", "model": "m", "event_time": 5}


def read(described, identity=None):
    raw = json.dumps(described).encode()
    packed = zlib.compress(raw)
    payload = Payload(DEFLATED, len(packed), len(raw), 0, packed)
    draft = Draft("q", "a", source="s")
    identity = identity or bytes.fromhex(draft.id)
    return decode(payload, kind=0, sequence=1, time=7, identity=identity)


@pytest.mark.parametrize(
    "change",
    [{"answer": "x\ud800"}, {"answer": 1}, {"source": None}, {"model": []}, {"event_time": True},
     {"event_time": 1.5}, {"query": None}, {"tags": "t"}, {"links": [["hates", "0" * 64]]}],
)  # fmt: skip
def test_fields_of_another_kind_are_refused(change):
    with pytest.raises(FormatError):
        read(PLAIN | change)


def test_the_usual_form_reads_as_any_other(network):
    usual = network.record(network.append("q", 'a\n"x" é 猫', source="s"))
    long_way = Record(
        query=usual.query, answer=usual.answer, source="s", sequence=1,
        record_time=usual.record_time,
    )  # fmt: skip
    assert usual == long_way and usual.id == long_way.id and encode(usual) == encode(long_way)
    assert usual.tags == usual.links == usual.vectors == ()
