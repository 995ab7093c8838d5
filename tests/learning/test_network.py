"""What goes in comes out; forgetting, correcting and tagging; merging by content."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pxvm.core.errors import LimitError, PxvmError
from pxvm.learning import Draft, Link, Network, Record, Vector
from pxvm.learning.errors import NetworkError, RecordError, UnknownRecordError
from tests.learning.crashing_disk import Disk
from tests.learning.networks import drafts, small, varied, vector
from tests.learning.test_crash import opened

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)
TAGS = st.lists(st.from_regex(r"\w+( \w+)?", fullmatch=True), max_size=4)
MOMENTS = st.datetimes(timezones=st.just(timezone.utc))


@st.composite
def any_drafts(draw) -> Draft:
    values = draw(st.lists(st.integers(-128, 127), min_size=1, max_size=20))
    vectors = [Vector(draw(TEXT), "p", np.array(values, np.int8), draw(st.floats(-9, 9)))]
    return Draft(
        query=draw(TEXT),
        answer=draw(TEXT),
        tags=tuple(draw(TAGS)),
        kind=draw(st.sampled_from(("interaction", "note", "document", "program", "measurement"))),
        source=draw(TEXT),
        model=draw(TEXT),
        event_time=draw(st.none() | MOMENTS),
        links=tuple(Link("next", "ab" * 32) for _ in range(draw(st.integers(0, 2)))),
        vectors=tuple(vectors) if draw(st.booleans()) else (),
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(any_drafts(), min_size=1, max_size=5))
@example([Draft("\0", "\u202e\u05d0\u0301\U0010ffff\ufeff")])
@example([Draft("", "")])
def test_any_text_comes_back(made):
    disk = Disk()
    ids = opened(disk).append_many(made)
    network = opened(Disk(disk.image()), read_only=True)
    distinct = {draft.id: draft for draft in reversed(made)}
    assert ids == [draft.id for draft in made]
    assert {r.id: r.draft() for r in network.records()} == distinct
    assert network.verify().sound or len({v.probe for d in made for v in d.vectors}) > 1


def test_what_failed_leaves_no_empty_network(tmp_path):
    path = tmp_path / "k.png"

    def fail(*stored, other=None):
        with pytest.raises(KeyError), Network.open(path, draw=small) as network:
            assert not list(network.records())
            network.append_many(stored)
            if other is not None:
                with Network.open(path, draw=small) as second:
                    second.append_many(other)
            raise KeyError

    fail()
    assert [left.name for left in tmp_path.iterdir()] == ["k.png.lock"]
    fail(Draft("stored", "before it failed"))
    assert len(Network.open(path)) == 1
    with pytest.raises(KeyError), Network.open(path):  # which was there before
        raise KeyError
    path.unlink()
    fail(other=[Draft("by another", "process meanwhile")])
    assert len(Network.open(path)) == 1
    path.unlink()
    with Network.open(path, draw=small):
        pass
    assert path.exists()


def test_a_megabyte_comes_back(tmp_path):
    network = Network.open(tmp_path / "k.png", draw=small)
    text = "".join(chr(0x20 + (i * 7919) % 0xD7E0) for i in range(1 << 20))
    name = network.append("large", text)
    again = Network.open(network.path, read_only=True)
    assert again.record(name).answer == text and again.verify().sound


@pytest.mark.parametrize("place", ["query", "answer", "source", "model", "tags"])
def test_lone_surrogates_are_refused(place):
    values = {"query": "q", "answer": "a", place: ("\ud800",) if place == "tags" else "x\ud800"}
    with pytest.raises(RecordError, match=r"lone surrogate U\+D800 at character [01]"):
        Draft(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "rumour"}, "unknown kind 'rumour'"),
        ({"tags": "one"}, "tags must be a list"),
        ({"tags": ("two\nlines",)}, "line breaks"),
        ({"tags": ("",)}, "empty"),
        ({"links": (("likes", "ab" * 32),)}, "unknown relation 'likes'"),
        ({"links": (("next", "short"),)}, "64 hexadecimal digits"),
        ({"event_time": datetime(2024, 1, 1)}, "no time zone"),
        ({"answer": 7}, "answer must be text, found int"),
        ({"answer": "x" * (17 << 20)}, "over the limit"),
    ],
)
def test_what_cannot_be_kept_is_refused(values, message):
    with pytest.raises((RecordError, LimitError), match=message):
        Draft(**{"query": "q", "answer": "a", **values})


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2), np.int8), np.zeros(0, np.int8)])
def test_vectors_are_int8_rows(values):
    with pytest.raises(RecordError, match="int8"):
        Vector("m", "p", values, 1.0)


def test_content_is_stored_once(tmp_path):
    network = Network.open(tmp_path / "k.png", draw=small)
    ids = network.append_many(drafts() + drafts())
    assert ids[: len(drafts())] == ids[len(drafts()) :]
    size = network.path.stat().st_size
    assert [
        network.append(
            d.query, d.answer, tags=d.tags, kind=d.kind, source=d.source, event_time=d.event_time
        )
        for d in drafts()
    ] == ids[: len(drafts())]
    assert network.path.stat().st_size == size and len(network) == len(drafts())


def test_the_id_covers_content_only():
    base = Draft("q", "a", tags=("x", "y"), source="s")
    assert base.id == Draft("q", "a", tags=["y", "x", "x"], source="s").id
    assert base.id == Draft("q", "a", ("x", "y"), source="s", model="m", vectors=[vector(1)]).id
    others = [
        Draft("q", "a", ("x",), source="s"),
        Draft("qa", "", ("x", "y"), source="s"),
        Draft("q", "a", ("x", "y"), kind="note", source="s"),
        Draft("q", "a", ("x", "y")),
        Draft("q", "a", ("x y",), source="s"),
        Draft("q", "a", ("x", "y"), source="s", event_time=datetime.now(timezone.utc)),
    ]
    assert len({base.id, *(other.id for other in others)}) == 7


def test_forgetting_and_storing_again(tmp_path):
    network = Network.open(tmp_path / "k.png", draw=small)
    name = network.append("q", "a")
    network.forget(name)
    assert len(network) == 0 and network.record(name).answer == "a"
    assert network.append("q", "a") == name, "said again, it counts again"
    assert [r.id for r in network.records()] == [name]
    network.forget(name[:10])
    assert not list(network.records()) and len(network.history(name)) == 4
    outcome = network.compact()
    assert outcome.left_out == 1
    with pytest.raises(UnknownRecordError):
        network.record(name)
    assert network.append("q", "a") == name and len(network) == 1


def test_correcting(tmp_path):
    network = Network.open(tmp_path / "k.png", draw=small)
    first = network.append("q", "one", tags=["t"], source="s")
    other = network.append("other", "text")
    second = network.correct(first, answer="two")
    third = network.correct(first, answer="three", query="Q")
    assert network.correct(third, answer="three") == third
    assert [(r.query, r.answer, r.tags) for r in network.records()] == [
        ("other", "text", ()),
        ("Q", "three", ("t",)),
    ]
    assert [r.id for r in network.history(second)] == [first, second, third]
    assert network.correct(third, answer="two", query="q") == second, "back to what was said"
    assert {r.id for r in network.records()} == {other, second}
    network.forget(first)
    assert {r.id for r in network.records()} == {other}, "all versions are forgotten together"


def test_tagging(tmp_path):
    network = Network.open(tmp_path / "k.png", draw=small)
    name = network.append("q", "a", tags=["old", "kept"])
    for _ in range(2):
        assert network.tag(name, add=["new", "kept"], remove=["old"]) == name
        assert network.record(name).tags == ("kept", "new")
        assert network.tag(name, add=["old"], remove=["new"]) == name
        assert next(network.records()).tags == ("kept", "old")
    assert next(r for r in network.records(all=True) if r.id == name).tags == ("kept", "old")
    assert len(network) == 1 and len(network.history(name)) == 5
    corrected = network.correct(name, answer="b")
    network.tag(name, add=["on the newest"])
    assert network.record(corrected).tags == ("kept", "old", "on the newest")


def test_names_and_numbers(tmp_path):
    network = varied(tmp_path / "k.png")
    everything = list(network.records(all=True))
    assert [r.sequence for r in everything] == list(range(len(everything)))
    assert network.record_at(5) == everything[5] == network.record(everything[5].id[:16])
    assert list(network.records_from(7)) == everything[7:]
    for wrong in ("zz", "", "ab" * 40, 10_000, -1, "0" * 64):
        with pytest.raises(UnknownRecordError):
            network.record(wrong)
    digits = {r.id[0] for r in everything}
    shared = next(d for d in digits if sum(r.id[0] == d for r in everything) > 1)
    with pytest.raises(UnknownRecordError, match="give more digits"):
        network.record(shared)


def test_places_are_where_the_pixels_are(tmp_path):
    from PIL import Image

    network = varied(tmp_path / "k.png")
    for number in (0, 3, 40):
        page, row, data_rows, text_rows = network.locate(number)
        with Image.open(network.pages[page - 1]) as picture:
            rows = np.packbits(np.asarray(picture), axis=1)[row : row + data_rows + text_rows]
        assert rows[0, :6].tobytes() == b"\x89pxREC"
        assert (rows[data_rows:] == small(network.record_at(number))).all()


def test_the_state_changes_with_every_record(tmp_path):
    network = Network.open(tmp_path / "k.png", draw=small, page_rows=40)
    other = Network.open(network.path, read_only=True)
    seen = {network.state}
    for number in range(12):
        network.append(f"q{number}", "a")
        assert other.state == network.state and network.state not in seen
        seen.add(network.state)
    assert len(other.pages) > 1
    network.compact()
    assert other.state == network.state and network.state not in seen


def test_the_index_is_only_a_cache(tmp_path):
    network = varied(tmp_path / "k.png")
    everything = list(network.records(all=True))
    network.close()
    index = network.path.with_name("k.png.index")
    good = index.read_bytes()
    for bad in (good, b"", good[:100], good[:-1], good[:60] + b"\xff" + good[61:], None):
        index.unlink() if bad is None else index.write_bytes(bad)
        with Network.open(network.path, draw=small) as again:
            assert list(again.records(all=True)) == everything
        assert index.read_bytes() == good
    with Network.open(network.path, draw=small) as again:
        again.append("one", "more")
    index.write_bytes(good)
    assert len(list(Network.open(network.path).records(all=True))) == len(everything) + 1


def test_record_times_rise_even_when_the_clock_does_not(tmp_path, monkeypatch):
    from pxvm.learning.store import appending as module

    class Clock(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime(2024, 1, 1, tzinfo=zone)

    monkeypatch.setattr(module, "datetime", Clock)
    network = Network.open(tmp_path / "k.png", draw=small)
    network.append_many(drafts())
    times = [r.record_time for r in network.records(all=True)]
    assert all(b - a == timedelta(microseconds=1) for a, b in pairwise(times))


def test_other_vectors_over_the_network_itself(tmp_path):
    network = varied(tmp_path / "k.png")
    before = list(network.records(all=True))

    def embed(records: list[Record]) -> list[list[Vector]]:
        return [[vector(r.sequence, 64, "new")] for r in records]

    network.reembed(embed)
    after = list(network.records(all=True))
    assert [r.draft().id for r in after] == [r.id for r in before]
    assert all(r.vectors == (vector(r.sequence, 64, "new"),) for r in after)
    assert network.verify().sound and network.state.generation == 1
    network.append("mixed", "vectors", vectors=[vector(1, 64, "old")])
    assert "another model" in str(network.verify().problems[0])
    with pytest.raises(NetworkError, match="exists"):
        network.export_single(network.path)


def test_one_file_instead_of_many(tmp_path):
    network = varied(tmp_path / "k.png")
    network.export_single(tmp_path / "single.png")
    single = Network.open(tmp_path / "single.png", read_only=True)
    assert list(single.records(all=True)) == list(network.records(all=True))
    assert len(single.pages) == 1 and single.verify().sound


def test_an_import_keeps_the_history(tmp_path):
    """`append_many` of records takes over their times, links and vectors."""
    network = varied(tmp_path / "k.png")
    other = Network.open(tmp_path / "other.png", draw=small)
    before = list(network.records(all=True))
    other.append_many(network.records(all=True))
    size = other.path.stat().st_size
    other.append_many(network.records(all=True))
    assert other.path.stat().st_size == size, "again adds nothing"
    after = {r.id: r for r in other.records(all=True)}
    for record in before[1:]:
        same = after[record.id]
        assert same.draft() == record.draft() and record.record_time in same.times
    assert {r.id for r in other.records()} == {r.id for r in network.records()}


@pytest.mark.parametrize(
    ("said", "act"),
    [
        ("tags must be a list of texts, found 'abc'", lambda n: n.append("q", "a", tags="abc")),
        ("tags must be a list of texts, found None", lambda n: n.append("q", "a", tags=None)),
        ("tags must be text, found int", lambda n: n.append("q", "a", tags=[1])),
        ("tags must be a list of texts", lambda n: n.tag(0, add="abc")),
        ("tags must be a list of texts", lambda n: n.search("zebra", tags="abc")),
        ("kinds must be a list of texts", lambda n: n.search("zebra", kinds="note")),
        ("unknown kind 'foo'", lambda n: n.search("zebra", kinds=["foo"])),
        ("since must be a datetime, found str", lambda n: n.search("zebra", since="2024")),
        ("a question must be text, found NoneType", lambda n: n.search(None)),
        (
            "event_time must be a datetime, found date",
            lambda n: n.append(
                "q", "a", event_time=datetime(2024, 1, 2, tzinfo=timezone.utc).date()
            ),
        ),
        ("a link must be", lambda n: n.append("q", "a", links=["corrects"])),
        ("a draft must be a Draft, found str", lambda n: n.append_many("q")),
        ("a record is named by id or number, found 1.5", lambda n: n.record(1.5)),
        ("a record is named by id or number, found None", lambda n: n.forget(None)),
    ],
)
def test_what_is_no_such_thing_is_refused_and_changes_nothing(said, act, tmp_path):
    with Network.open(tmp_path / "k.png") as network:
        network.append("the zebra", "is striped")
        before = network.state
        with pytest.raises(PxvmError, match=re.escape(said)):
            act(network)
        assert network.state == before
        assert network.record(np.int64(1)).query == "the zebra"
