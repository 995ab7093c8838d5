"""Merging is union by content: the same whatever the order, however often, with both histories."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxvm.learning import Draft, Network, Record
from pxvm.learning.errors import NetworkError
from tests.learning.crashing_disk import Disk
from tests.learning.networks import small, varied, vector
from tests.learning.test_crash import draw

WORDS = st.sampled_from(("sun", "moon", "tide", "wind"))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), WORDS),
        st.tuples(st.just("forget"), WORDS),
        st.tuples(st.just("correct"), WORDS),
        st.tuples(st.just("tag"), WORDS),
        st.tuples(st.just("embed"), WORDS),
    ),
    max_size=6,
)


def grow(network: Network, steps: list[tuple[str, str]]) -> None:
    """Does what ``steps`` say; words that are not there are told first."""
    for number, (what, word) in enumerate(steps):
        if what == "embed":
            network.append_many([Draft(word, "", vectors=[vector(number, 5)])])
            continue
        name = network.append(word, "")
        if what == "forget":
            network.forget(name)
        elif what == "correct":
            network.correct(name, answer=f"better {number % 2}")
        elif what == "tag":
            network.tag(name, add=[f"t{number % 2}"], remove=[f"t{(number + 1) % 2}"])


class Shelf:
    """Networks on one disk in memory, merged by name."""

    def __init__(self, *grown: list[tuple[str, str]]) -> None:
        self.disk = Disk()
        for name, steps in zip("abc", grown, strict=False):
            grow(self[name], steps)

    def __getitem__(self, name: str) -> Network:
        return Network.open(Path(f"/disk/{name}.png"), files=self.disk, draw=draw, page_rows=60)

    def merge(self, first: str, second: str) -> str:
        name = f"({first}{second})"
        if not self.disk.exists(Path(f"/disk/{name}.png")):
            Network.merge(self[first], self[second], Path(f"/disk/{name}.png"))
        return name

    def said(self, name: str) -> list[Record]:
        return list(self[name].records(all=True))

    def counting(self, name: str) -> list[Record]:
        return list(self[name].records())


@settings(max_examples=25, deadline=None)
@given(STEPS, STEPS, STEPS)
def test_merge_laws(first, second, third):
    shelf = Shelf(first, second, third)
    ab, ba = shelf.merge("a", "b"), shelf.merge("b", "a")
    assert shelf.said(ab) == shelf.said(ba) and shelf.counting(ab) == shelf.counting(ba)
    assert shelf.said(shelf.merge(ab, ab)) == shelf.said(ab)
    assert shelf.said(shelf.merge(ab, "b")) == shelf.said(ab), "what is in it already adds nothing"
    left, right = shelf.merge(ab, "c"), shelf.merge("a", shelf.merge("b", "c"))
    assert shelf.said(left) == shelf.said(right) and shelf.counting(left) == shelf.counting(right)
    names = {r.id for name in "abc" for r in shelf.said(name)}
    assert [r.id for r in shelf.said(left)] == [*dict.fromkeys(r.id for r in shelf.said(left))]
    assert {r.id for r in shelf.said(left)} == names
    for record in shelf.said(left):
        same = [r for name in "abc" for r in shelf.said(name) if r.id == record.id]
        assert set(record.times) == {moment for r in same for moment in r.times}
        assert set(record.links) == {link for r in same for link in r.links}
        assert set(record.vectors) == {v for r in same for v in r.vectors}
    assert shelf[left].verify().sound


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_merging_a_network_with_nothing_changes_nothing_that_counts(steps):
    shelf = Shelf(steps, [])
    merged = shelf.counting(shelf.merge("a", "b"))
    assert {(r.id, r.tags) for r in merged} == {(r.id, r.tags) for r in shelf.counting("a")}


def test_what_was_forgotten_and_erased_does_not_come_back():
    shelf = Shelf([("append", "sun"), ("append", "moon")], [])
    copy = shelf.merge("a", "b")
    name = next(r.id for r in shelf.counting("a") if r.query == "sun")
    shelf["a"].forget(name)
    shelf["a"].compact()
    assert name not in {r.id for r in shelf.said("a")}
    again = shelf.merge("a", copy)
    assert [r.query for r in shelf.counting(again)] == ["moon"]


def test_a_merge_takes_no_place_that_is_taken(tmp_path):
    first = varied(tmp_path / "a.png")
    second = Network.open(tmp_path / "b.png", draw=small)
    before = second.path.read_bytes()
    with pytest.raises(NetworkError, match="exists"):
        Network.merge(first, second, second.path)
    assert second.path.read_bytes() == before
    outcome = Network.merge(first, second, tmp_path / "c.png")
    merged = Network.open(tmp_path / "c.png")
    assert outcome.records == len(list(merged.records(all=True)))
    assert next(merged.records(all=True)).source == "pxvm:format"
