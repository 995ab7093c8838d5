"""Pictures of a network: what is framed is where the record's pixels are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from pxvm.learning import Draft, Network, Record
from pxvm.learning.errors import NetworkError
from pxvm.learning.picture.painting import MARKER, PAPER, density, find_words, text_mask
from pxvm.learning.picture.picture import KIND_COLORS, RANKS, draw_growth, draw_hits, draw_page
from pxvm.learning.typeset.rendering import compose, render_record


@dataclass(frozen=True)
class Found:
    record: Record
    score: float
    why: str = "words 0.5 (rank 1)"


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Network:
    path = tmp_path_factory.mktemp("network") / "knowledge.png"
    made = Network.open(path, page_rows=1500)
    drafts = [
        Draft(f"question {n} about pixels", f"answer {n} tells of pixels and rows. " * 8)
        for n in range(30)
    ]
    drafts[20] = Draft("", "a note on penguins, which keeps the penguin apart", kind="note")
    made.append_many(drafts)
    return made


def colored(image, color) -> np.ndarray:
    return (np.asarray(image) == color).all(axis=2)


def test_hits_are_shown_as_they_stand_on_their_pages(network: Network):
    assert len(network.pages) > 1
    notes = [r for r in network.records() if "penguin" in r.answer]
    others = [r for r in network.records() if r.query.startswith("question 3 ")]
    hits = [Found(notes[0], 0.9), Found(others[0], 0.4)]
    image = draw_hits(network, hits, ["penguin"])
    for rank in (0, 1):
        assert colored(image, RANKS[rank]).sum() > 4 * 2000, "frame, tab, line to the map"
    # In the first card the record's own pixels stand, twice as large.
    rows = np.unpackbits(render_record(notes[0]), axis=1).astype(bool)
    light = colored(image, PAPER) | colored(image, MARKER)
    top, left = (int(np.flatnonzero(light.any(axis=axis))[0]) for axis in (1, 0))
    top -= 2 * int(np.flatnonzero(rows.any(axis=1))[0])
    left -= 2 * int(np.flatnonzero(rows.any(axis=0))[0])
    enlarged = light[top : top + 2 * len(rows), left : left + 2048]
    assert np.array_equal(enlarged, rows.repeat(2, 0).repeat(2, 1))
    assert colored(image, MARKER).any()


def test_marked_words_cover_the_word_in_the_drawn_record():
    record = Draft(
        "Where do penguins live?", "The penguin lives in the south; penguinlike birds too."
    )
    shown = Shown(record)
    pixels = np.unpackbits(render_record(shown), axis=1) == 0
    boxes = list(find_words(compose(shown), ["penguin"]))
    assert len(boxes) == 3
    assert list(find_words(compose(shown), ["Penguins", "absent"])) == boxes
    for left, top, right, bottom in boxes:
        box = pixels[top:bottom, left:right]
        assert box.any() and not pixels[top:bottom, left - 2 : left].any()
    assert list(find_words(compose(shown), ["enguin"])) == []
    assert list(find_words(compose(shown), [])) == []


@dataclass(frozen=True)
class Shown:
    draft: Draft

    def __getattr__(self, name: str):
        if name == "sequence":
            return 3
        if name == "record_time":
            return datetime(2026, 1, 1, tzinfo=timezone.utc)
        return getattr(self.draft, name)


def test_a_page_shows_kinds_and_frames(network: Network):
    plain = draw_page(network, 1)
    assert colored(plain, KIND_COLORS["interaction"]).any()
    assert not colored(plain, RANKS[0]).any()
    first = next(iter(network.records()))
    assert colored(draw_page(network, 1, [Found(first, 1.0)]), RANKS[0]).sum() > 100
    assert np.array_equal(plain, draw_page(str(network.pages[0]), 1)), "a path will do"


def test_a_page_that_is_not_there(network: Network):
    for page in (0, len(network.pages) + 1):
        with pytest.raises(NetworkError, match="has pages 1 to"):
            draw_page(network, page)


def test_no_hits(network: Network):
    with pytest.raises(NetworkError, match="no hits"):
        draw_hits(network, [])


def test_a_long_hit_is_shown_from_its_marked_word(tmp_path: Path):
    network = Network.open(tmp_path / "k.png")
    network.append("", "plain words here " * 900 + " the needle " + "and more words " * 100)
    record = next(r for r in network.records() if "needle" in r.answer)
    image = draw_hits(network, [Found(record, 0.5)], ["needle"])
    assert image.height < 700
    assert colored(image, MARKER).any()


def test_growth_counts_everything(network: Network, tmp_path: Path):
    image = draw_growth(network)
    assert image.size == (1200, 760)
    assert colored(image, KIND_COLORS["interaction"]).sum() > 1000
    empty = Network.open(tmp_path / "empty.png")
    assert draw_growth(empty).size == (1200, 760)


def test_a_short_page_is_drawn_as_large_as_it_is(tmp_path: Path):
    network = Network.open(tmp_path / "k.png")
    network.append("who keeps the boat?", "the harbour master")
    record = next(r for r in network.records() if r.query)
    rows = np.unpackbits(render_record(record), axis=1) == 0
    _, first, data, text = network.locate(record.sequence)
    top = 108 + first + data
    seen = np.asarray(draw_page(network))[top : top + text, 36 : 36 + rows.shape[1]]
    assert np.array_equal(seen.max(axis=2) > 128, rows), "every pixel of the record, readable"


def test_what_came_last_is_seen_in_the_growth(tmp_path: Path):
    network = Network.open(tmp_path / "k.png")
    for n in range(5):
        network.append("", f"a note of number {n}", kind="note")
    network.append("the newest?", "this one")
    image = draw_growth(network)
    newest = colored(image, KIND_COLORS["interaction"])[110:380].any(axis=0).sum()
    assert newest > 30, "no line of one pixel"


def test_density_is_the_share_of_ink():
    rows = np.full((40, 128), 0xFF, np.uint8)
    rows[:20, :64] = 0
    light = density(rows, 4, 16)
    assert light.shape == (4, 16)
    assert (light[:2, :8] == 1).all() and light[2:].sum() == 0 and light[:, 8:].sum() == 0
    assert density(rows[:1], 3, 16).shape == (3, 16)
    assert np.array_equal(density(rows, 40, 1024), np.unpackbits(rows, axis=1) == 0)


def test_labels_are_as_wide_as_their_text():
    assert text_mask("abc").shape == (10, 15)
    assert text_mask("abc", "large").shape == (15, 18)
    assert text_mask("").shape == (10, 0)
    assert text_mask("漢").shape == (18, 20)
