"""Learning again: nothing twice, nothing out of date, nothing that was forgotten."""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pxvm.learning import Network
from pxvm.learning.search.embedding import EmbeddingError
from pxvm.learning.sources.documents import Skipped, read_documents
from pxvm.learning.sources.known import Known
from pxvm.learning.sources.learn import BATCH, EMBEDDED, Gone, Learned, learn
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


def tree(folder, rng):
    """A random tree: the same text in several places, two names of one file, links, odd names."""
    texts = [PAGE.format(keel=wood) for wood in ("oak", "pine")] + ["# Notes\n\nSome text.\n"]
    files = []
    for number in range(rng.randint(2, 6)):
        name = rng.choice(["a.md", "A.md", "ä.md", "b/a.md", "b/c d.md", "b/c/x.txt", "z"])
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() or path.is_symlink():
            continue
        if files and rng.random() < 0.5:
            if rng.random() < 0.5:
                path.symlink_to(rng.choice(files))
            else:
                path.hardlink_to(rng.choice(files))
        else:
            path.write_text(rng.choice(texts) + f"\nNumber {number % 2}.\n")
            files.append(path)
    return files


def learned(folder, **options):
    home = folder / "knowledge.png"
    with Network.open(home) as network:
        found = read_documents([folder], home, (), Known(network).stamped)
        events = list(learn(network, found, folders=["."], **options))
        return events, {
            (record.source, record.query, record.answer) for record in network.records()
        }


@pytest.mark.parametrize("seed", range(12))
def test_learning_a_tree_again_never_changes_what_counts(tmp_path, seed):
    rng = random.Random(seed)
    files = tree(tmp_path, rng)
    _, first = learned(tmp_path)
    assert {source for source, _, _ in first} == {p.relative_to(tmp_path).as_posix() for p in
                                                  tmp_path.rglob("*") if p.is_file()
                                                  and not p.is_symlink() and p.suffix != ".png"
                                                  and ".png." not in str(p)}  # fmt: skip
    for turn in range(3):
        if turn == 1:
            shutil.rmtree(tmp_path / "knowledge.png.cache")
        if turn == 2:
            for path in files:
                os.utime(path, (1, 1))
        events, again = learned(tmp_path)
        assert again == first
        assert all(e.added == e.replaced == 0 for e in events if isinstance(e, Learned))


def test_a_file_that_did_not_change_is_not_read(folder, monkeypatch):
    os.utime(folder / "boats.md", (1, 1))
    monkeypatch.setattr("pxvm.learning.sources.documents.SETTLED", 0.0)
    learned(folder)
    monkeypatch.setattr(Path, "read_bytes", None)
    (event,) = (e for e in learned(folder)[0] if isinstance(e, Learned))
    assert (event.known, event.added) == (2, 0)
    monkeypatch.undo()
    monkeypatch.setattr("pxvm.learning.sources.documents.SETTLED", 0.0)
    (folder / "boats.md").write_text(PAGE.format(keel="steel"))
    os.utime(folder / "boats.md", (1, 1))  # as some tools leave it: the time of change tells
    assert {answer for _, _, answer in learned(folder)[1]} == {
        "A keel is steel.",
        "A sail is white.",
    }


def test_a_renamed_file_takes_its_passages_along(folder):
    learned(folder)
    (folder / "boats.md").rename(folder / "ships.md")
    (folder / "ships.md").write_text(PAGE.format(keel="steel"))
    events, now = learned(folder)
    (event,) = events
    assert event.moved == "boats.md" and event.replaced == 2
    assert {source for source, _, _ in now} == {"ships.md"} and len(now) == 2


def test_what_is_gone_is_named_and_forgotten_only_when_asked(folder):
    (folder / "other.md").write_text("# Harbours\n\nThe office opens at eight.\n")
    _, before = learned(folder)
    (folder / "boats.md").unlink()
    events, now = learned(folder)
    assert [e for e in events if isinstance(e, Gone)] == [Gone("boats.md", 2, False)]
    assert now == before
    events, now = learned(folder, prune=True)
    assert Gone("boats.md", 2, True) in events and {s for s, _, _ in now} == {"other.md"}
    assert not any(isinstance(e, Gone) for e in learned(folder)[0])


def test_where_a_folder_or_a_link_took_its_place_a_file_is_gone(folder):
    (folder / "plan").write_text("# Plan\n\nThe meeting is in Oslo.\n")
    (folder / "inside").mkdir()
    (folder / "inside" / "a.md").write_text("# Harbours\n\nThe office opens at eight.\n")
    (folder / "cargo.md").write_text("# Cargo\n\nBarrels of salt and rye.\n")
    learned(folder)
    (folder / "plan").unlink()
    (folder / "plan").mkdir()
    (folder / "plan" / "two.md").write_text("# Food\n\nNobody eats nettles in winter.\n")
    (folder / "inside").rename(folder / "z")
    (folder / "inside").symlink_to("z")
    (folder / "cargo.md").unlink()
    (folder / "cargo.md").symlink_to("plan/two.md")
    events, now = learned(folder)
    assert {e.source for e in events if isinstance(e, Gone)} == {"plan", "cargo.md"}
    assert ("z/a.md", "inside/a.md") in {(e.source, e.moved) for e in events if hasattr(e, "moved")}
    assert len(now) == 6 and len(learned(folder, prune=True)[1]) == 4


def test_where_nobody_may_look_nothing_is_gone(folder, monkeypatch):
    (folder / "closed").mkdir()
    (folder / "closed" / "other.md").write_text("# Harbours\n\nThe office opens at eight.\n")
    _, before = learned(folder)
    closed, lstat, scan = folder / "closed", os.lstat, os.scandir

    def refuse(function):
        def looked(path, *arguments, **options):
            if Path(path).is_relative_to(closed) and (function is scan or Path(path) != closed):
                raise PermissionError(13, "Permission denied")
            return function(path, *arguments, **options)

        return looked

    monkeypatch.setattr(os, "lstat", refuse(lstat))  # the folder is closed, also to the superuser
    monkeypatch.setattr(os, "stat", refuse(os.stat))
    monkeypatch.setattr(os, "scandir", refuse(scan))
    events, now = learned(folder, prune=True)
    assert now == before and not any(isinstance(event, Gone) for event in events)
    assert [(e.path, e.reason) for e in events if isinstance(e, Skipped)] == [
        (str(closed), "Permission denied")
    ]


def test_a_correction_ends_when_its_document_says_otherwise(folder):
    again(folder)
    with Network.open(folder / "knowledge.png") as network:
        oak = next(r.id for r in network.records() if "oak" in r.answer)
        network.correct(oak, answer="A keel is pine.")
    again(folder)
    assert "A keel is oak." not in answers(folder)
    (folder / "boats.md").write_text(PAGE.format(keel="steel"))
    again(folder)
    with Network.open(folder / "knowledge.png", read_only=True) as network:
        assert {r.answer for r in network.records()} == {"A keel is steel.", "A sail is white."}


def of_folder(folder, name, **options):
    """Events and what counts after one folder was learned alone."""
    home = folder / "knowledge.png"
    with Network.open(home) as network:
        found = read_documents([folder / name], home, (), Known(network).stamped)
        events = list(learn(network, found, folders=[name], **options))
        return events, {
            (record.source, record.answer)
            for record in network.records()
            if record.kind in ("document", "correction")
        }


@pytest.fixture
def notes(tmp_path):
    for name in ("a.md", "sub/a.md", "sub/b.md"):
        path = tmp_path / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PAGE.format(keel=f"of {name}"))
    of_folder(tmp_path, "notes")
    return tmp_path


def test_a_renamed_folder_that_is_learned_alone_is_stored_once(notes):
    (notes / "notes").rename(notes / "archive")
    events, now = of_folder(notes, "archive")
    assert {(e.source, e.moved) for e in events} == {
        ("archive/a.md", "notes/a.md"),
        ("archive/sub/a.md", "notes/sub/a.md"),
        ("archive/sub/b.md", "notes/sub/b.md"),
    }
    assert {s for s, _ in now} == {"archive/a.md", "archive/sub/a.md", "archive/sub/b.md"}
    assert len(now) == 6 and of_folder(notes, "archive")[1] == now


def test_a_file_that_was_moved_and_is_named_is_stored_once(notes):
    (notes / "notes/sub/b.md").rename(notes / "c.md")
    (notes / "c.md").write_text(PAGE.format(keel="steel"))
    found = read_documents([notes / "c.md"], notes / "knowledge.png")
    with Network.open(notes / "knowledge.png") as network:
        (event,) = learn(network, found)
        sources = [r.source for r in network.records()]
    assert event.moved == "notes/sub/b.md" and sources.count("c.md") == 2
    assert "notes/sub/b.md" not in sources


def test_a_copy_is_no_move(notes):
    shutil.copytree(notes / "notes", notes / "copy")
    events, now = of_folder(notes, "copy")
    assert not any(e.moved for e in events) and len(now) == 12


def test_what_was_settled_stays_so_when_its_file_is_renamed(notes):
    with Network.open(notes / "knowledge.png") as network:
        found = {r.answer: r.id for r in network.records() if r.source == "notes/sub/b.md"}
        network.forget(found["A keel is of sub/b.md."])
        network.correct(found["A sail is white."], answer="A sail is red.")
    for old, new in (("notes", "archive"), ("archive", "third"), ("third", "third")):
        (notes / old).rename(notes / new)
        events, now = of_folder(notes, new)
        assert {a for s, a in now if s == f"{new}/sub/b.md"} == {"A sail is red."}
        assert len(now) == 5 and not any(isinstance(e, Gone) for e in events)
        (event,) = (e for e in events if e.source == f"{new}/sub/b.md")
        assert counts(event)[::3] == (0, 2)


@pytest.mark.parametrize("compact", [False, True])
def test_a_copy_takes_corrections_along_and_another_document_does_not(notes, compact):
    with Network.open(notes / "knowledge.png") as network:
        found = {r.answer: r.id for r in network.records() if r.source == "notes/sub/b.md"}
        network.correct(found["A sail is white."], answer="A sail is red.")
        if compact:
            network.compact()
    (notes / "copy").mkdir()
    shutil.copy(notes / "notes/sub/b.md", notes / "copy/c.md")
    (notes / "copy/other.md").write_text(PAGE.format(keel="steel"))
    for _ in range(2):
        _, now = of_folder(notes, "copy")
        assert {(s, a) for s, a in now if s.startswith("copy/")} == {
            ("copy/c.md", "A keel is of sub/b.md."),
            ("copy/c.md", "A sail is red."),
            ("copy/other.md", "A keel is steel."),
            ("copy/other.md", "A sail is white."),
        }
        assert ("notes/sub/b.md", "A sail is red.") in now
    (notes / "copy/c.md").write_text("# Keels\n\nA keel.\n\n# Sails\n\nA sail is blue.\n")
    assert {a for s, a in of_folder(notes, "copy")[1] if s == "copy/c.md"} == {
        "A keel.",
        "A sail is blue.",
    }


def test_what_never_was_a_file_is_not_gone(notes):
    with Network.open(notes / "knowledge.png") as network:
        for source in ("stdin: boats.md", "https://example.org/boats"):
            network.append("Boats", f"From {source}", kind="document", source=source)
    events, now = learned(notes, prune=True)
    assert not any(isinstance(e, Gone) for e in events) and len(now) == 8


def forget(folder, *parts):
    with Network.open(folder / "knowledge.png") as network:
        for record in list(network.records()):
            if any(part in record.answer for part in parts):
                network.forget(record.id)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda folder, page: page.rename(folder / "ships.md"),
        lambda folder, page: shutil.copy(page, folder / "copy.md"),
        lambda folder, page: page.write_text(page.read_text().replace("# Keels", "# Wood")),
        lambda folder, page: (folder / "all.md").write_text(
            f"# All\n\nMore.\n\n{page.read_text()}"
        ),
    ],
    ids=["renamed", "copied", "other headings", "in another file"],
)
def test_a_text_that_was_forgotten_stays_so_wherever_it_stands(folder, change, compact):
    learned(folder)
    forget(folder, "A keel is oak.", "A sail is white.")
    if compact:
        with Network.open(folder / "knowledge.png") as network:
            network.compact()
    change(folder, folder / "boats.md")
    events, now = learned(folder)
    assert not any("keel" in answer or "sail" in answer for _, _, answer in now)
    assert sum(event.settled for event in events) in (2, 4)
    (folder / "boats.md").write_text(PAGE.format(keel="steel"))
    assert {answer for _, _, answer in learned(folder)[1]} >= {"A keel is steel."}


def test_what_was_forgotten_elsewhere_stays_where_it_was_kept(folder):
    (folder / "other.md").write_text(PAGE.format(keel="oak"))
    learned(folder)
    with Network.open(folder / "knowledge.png") as network:
        network.forget(*(r.id for r in network.records() if r.source == "boats.md"))
    (folder / "boats.md").unlink()
    (folder / "other.md").rename(folder / "third.md")
    events, now = learned(folder)
    assert [event.moved for event in events if isinstance(event, Learned)] == ["other.md"]
    assert {(source, answer) for source, _, answer in now} == {
        ("third.md", "A keel is oak."),
        ("third.md", "A sail is white."),
    }


def test_a_copy_without_what_was_forgotten_is_known_when_its_folder_is_renamed(folder):
    (folder / "notes").mkdir()
    long = PAGE.replace("{keel}", "made of oak, of larch and of elm, and nobody knows why")
    (folder / "boats.md").rename(folder / "notes" / "a.md").write_text(long)
    of_folder(folder, "notes")
    forget(folder, "larch")
    shutil.copy(folder / "notes" / "a.md", folder / "notes" / "b.md")
    of_folder(folder, "notes")
    (folder / "notes").rename(folder / "other")
    events, now = of_folder(folder, "other")
    assert {(e.source, e.moved) for e in events} == {
        ("other/a.md", "notes/a.md"),
        ("other/b.md", "notes/b.md"),
    }
    assert {source for source, _ in now} == {"other/a.md", "other/b.md"}


def test_an_exchange_that_was_forgotten_does_not_come_back_under_another_title(folder):
    line = '{"title": "%s", "messages": [{"role": "user", "content": "a"}, {"role": "assistant",'
    export = folder / "chats.json"
    (folder / "boats.md").unlink()
    for title in ("Boats", "Ships"):
        export.write_text((line % title) + ' "content": "A keel is oak."}]}')
        _, now = learned(folder)
        assert len(now) == (title == "Boats")
        forget(folder, "A keel is oak.")
