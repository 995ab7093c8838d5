"""A network as the first version of the program wrote it opens, answers and grows as it did then.

``first_version/knowledge.png`` is that program's own file: a question with tags, two notes, one of
them corrected and one forgotten, a text in two scripts, a document; a vector each, tags changed.
"""

import hashlib
import shutil
from pathlib import Path

import pytest

from pxvm.learning import Network

FILE = Path(__file__).parent / "first_version" / "knowledge.png"
#: Number, beginning of the id, kind, tags as of then, beginning of the answer.
RECORDS = [
    (1, "09531deae4c3", "interaction", ("family",), "Anna, since 2019."),
    (4, "b3249406aff7", "interaction", ("harbour", "時刻"), "早上八点。 Früh um acht. 🚢"),
    (5, "ce88ac4d0a2b", "correction", (), "The sails are red since May."),
    (8, "7c5011bb203b", "document", (), "Boats > Keels: the keel is made of oak."),
]


@pytest.fixture
def network(tmp_path):
    shutil.copy(FILE, tmp_path / "knowledge.png")
    with Network.open(tmp_path / "knowledge.png") as network:
        yield network


def test_every_byte_is_right_and_what_counts_is_the_same(network):
    assert network.verify().sound
    found = [
        (r.sequence, r.id[:12], r.kind, r.tags, r.answer.split("\n")[0]) for r in network.records()
    ]
    assert found == RECORDS
    assert len(list(network.records(all=True))) == 9
    assert {r.sequence for r in network.records(all=True) if not r.vectors} == {0, 6, 7}


@pytest.mark.parametrize(
    ("question", "number"),
    [("who is the owner of the Molly", 1), ("sails", 5), ("keel oak", 8), ("八点", 4)],
)
def test_questions_are_answered_as_before(network, question, number):
    assert network.search(question, embedder=None)[0].record.sequence == number


def test_what_was_forgotten_is_not_found(network):
    hits = network.search("the code of the shed 4711", embedder=None)
    assert all("4711" not in hit.record.answer for hit in hits)


def test_it_grows_and_is_compacted(network):
    before = hashlib.sha256(FILE.read_bytes()).digest()
    identity = network.append("Where is the anchor?", "In the locker.")
    network.compact()
    assert network.verify().sound and network.record(identity).sequence == 9
    assert [(r.sequence, r.id[:12]) for r in network.records()][:-1] == [r[:2] for r in RECORDS]
    assert hashlib.sha256(FILE.read_bytes()).digest() == before
