"""Learning again: nothing twice, nothing out of date, nothing that was forgotten."""

from dataclasses import replace

import numpy as np
import pytest

from pxvm.learning import Network
from pxvm.learning.search.embedding import EmbeddingError
from pxvm.learning.sources.documents import Skipped, read_documents
from pxvm.learning.sources.learn import BATCH, EMBEDDED, Learned, learn
from pxvm.learning.store.record import Vector

PAGE = "# Boats\n\n## Keels\n\nA keel is {keel}.\n\n## Sails\n\nA sail is white.\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "boats.md").write_text(PAGE.format(keel="oak"))
    return tmp_path


def again(folder, tags=(), **options):
    found = read_documents([folder / "boats.md"], folder / "knowledge.png", tags)
    with Network.open(folder / "knowledge.png") as network:
        return list(learn(network, found, **options))


def answers(folder):
    with Network.open(folder / "knowledge.png", read_only=True) as network:
        return {record.answer for record in network.records() if record.kind == "document"}


def counts(learned):
    return learned.added, learned.known, learned.replaced, learned.settled


def test_learning_twice_stores_once(folder):
    (first,) = again(folder)
    assert first.source == "boats.md" and counts(first) == (2, 0, 0, 0)
    before = (folder / "knowledge.png").read_bytes()
    (second,) = again(folder)
    assert counts(second) == (0, 2, 0, 0) and (folder / "knowledge.png").read_bytes() == before


def test_a_changed_section_supersedes_its_old_text(folder):
    again(folder)
    (folder / "boats.md").write_text(PAGE.format(keel="steel"))
    (learned,) = again(folder)
    assert counts(learned) == (1, 1, 1, 0)
    assert answers(folder) == {"A keel is steel.", "A sail is white."}
    with Network.open(folder / "knowledge.png", read_only=True) as network:
        new = next(record for record in network.records() if "steel" in record.answer)
        old = next(record for record in network.records(all=True) if "oak" in record.answer)
        assert [tuple(link) for link in new.links] == [("supersedes", old.id)]


def test_what_is_gone_is_out_and_what_comes_back_is_in(folder):
    again(folder)
    (folder / "boats.md").write_text("# Boats\n\n## Sails\n\nA sail is white.\n")
    assert counts(again(folder)[0]) == (0, 1, 1, 0)
    assert answers(folder) == {"A sail is white."}
    (folder / "boats.md").write_text("")
    assert counts(again(folder)[0]) == (0, 0, 1, 0) and answers(folder) == set()
    (folder / "boats.md").write_text(PAGE.format(keel="oak"))
    assert counts(again(folder)[0]) == (2, 0, 0, 0)
    assert answers(folder) == {"A keel is oak.", "A sail is white."}


def test_one_edit_after_another(folder):
    for keel in ("oak", "steel", "oak", "pine", "oak"):
        (folder / "boats.md").write_text(PAGE.format(keel=keel))
        again(folder)
        assert answers(folder) == {f"A keel is {keel}.", "A sail is white."}


def test_the_forgotten_stays_forgotten(folder):
    again(folder)
    with Network.open(folder / "knowledge.png") as network:
        network.forget(next(r.id for r in network.records() if "oak" in r.answer))
    (learned,) = again(folder)
    assert counts(learned) == (0, 1, 0, 1) and answers(folder) == {"A sail is white."}


def test_other_tags_make_no_other_text(folder):
    again(folder, ["a"])
    assert counts(again(folder)[0]) == counts(again(folder, ["b"])[0]) == (0, 2, 0, 0)
    with Network.open(folder / "knowledge.png") as network:
        assert [record.tags for record in network.records()] == [("a",), ("a",)]
        network.forget(next(r.id for r in network.records() if "oak" in r.answer))
        network.compact()
    assert counts(again(folder)[0]) == counts(again(folder, ["b"])[0]) == (0, 1, 0, 1)


def test_the_corrected_stays_corrected(folder):
    again(folder)
    with Network.open(folder / "knowledge.png") as network:
        network.correct(next(r.id for r in network.records() if "oak" in r.answer), answer="Pine.")
    assert counts(again(folder)[0]) == (0, 1, 0, 1)
    with Network.open(folder / "knowledge.png", read_only=True) as network:
        assert {record.answer for record in network.records()} == {"Pine.", "A sail is white."}


def test_chats_only_grow_and_keep_their_times(folder):
    export = folder / "boats.jsonl"
    lines = ['{"question": "a", "answer": "b", "date": "2024-01-02T03:04:05+02:00"}']
    for more in (1, 0):
        export.write_text("\n".join(lines))
        with Network.open(folder / "knowledge.png") as network:
            (learned,) = learn(network, read_documents([export], folder / "knowledge.png"))
        assert counts(learned) == (1, 1 - more, 0, 0)
        lines.append('{"question": "c", "answer": "d"}')
    export.write_text(lines[1])
    with Network.open(folder / "knowledge.png") as network:
        assert counts(next(learn(network, read_documents([export], folder / "knowledge.png")))) == (
            0,
            1,
            0,
            0,
        )
        found = {record.query: record for record in network.records()}
        assert found["a"].event_time.isoformat() == "2024-01-02T01:04:05+00:00"
        assert found["a"].kind == "interaction" and found["c"].event_time is None


def test_documents_are_told_only_when_they_are_durable(folder, monkeypatch):
    monkeypatch.setattr("pxvm.learning.sources.learn.PATIENCE", 1e9)
    (folder / "boats.md").write_text("".join(f"# {n}\n\ntext {n}\n\n" for n in range(3 * BATCH)))
    (folder / "z.md").write_text("# Z\n\nlast")
    (folder / "a.bin").write_bytes(b"\0")
    seen = []
    with Network.open(folder / "knowledge.png") as network:
        found = read_documents([folder], folder / "knowledge.png")
        for event in learn(
            network, found, committed=lambda total: seen.append((total, len(network)))
        ):
            if isinstance(event, Learned):
                with Network.open(folder / "knowledge.png", read_only=True) as reader:
                    sources = [record.source for record in reader.records()]
                assert sources.count(event.source) == event.added > 0
            else:
                assert isinstance(event, Skipped)
    assert [total for total, _ in seen] == [BATCH, 2 * BATCH, 3 * BATCH, 3 * BATCH + 1]
    assert all(total == live for total, live in seen)


class Embedder:
    """Vectors that tell which texts were embedded, and how many at once."""

    def __init__(self, probe):
        self.name, self.probe, self.sizes = "minilm", probe, []

    def with_vectors(self, drafts):
        self.sizes.append(len(drafts))
        values = [np.array([len(draft.answer) % 100, 1], np.int8) for draft in drafts]
        return [
            replace(draft, vectors=(Vector(self.name, self.probe, value, 1.0),))
            for draft, value in zip(drafts, values, strict=True)
        ]


def test_vectors_are_stored_and_two_models_never_mixed(folder):
    (folder / "boats.md").write_text("".join(f"# {n}\n\ntext {n}\n\n" for n in range(40)))
    embedder = Embedder("a" * 16)
    again(folder, embedder=embedder)
    assert sum(embedder.sizes) == 40 and max(embedder.sizes) == EMBEDDED
    with Network.open(folder / "knowledge.png", read_only=True) as network:
        for record in network.records():
            (vector,) = record.vectors
            assert vector.values[0] == len(record.answer) and vector.probe == embedder.probe
    again(folder, embedder=Embedder("b" * 16))  # nothing new, nothing to embed
    (folder / "boats.md").write_text("# New\n\ntext")
    with pytest.raises(EmbeddingError, match="pxvm network reembed"):
        again(folder, embedder=Embedder("b" * 16))
    assert len(answers(folder)) == 40
    again(folder, embedder=embedder)
    assert answers(folder) == {"text"}
