"""``pxvm tune`` from end to end: files in, files and words out, exit status."""

from __future__ import annotations

import json

import pytest

from pxvm import Model
from pxvm.core import notes
from pxvm.core.container import save_image
from pxvm.models.importing.importer import import_model
from pxvm.tuning import quantise
from tests.core.test_choices import product
from tests.terminal.screen import called
from tests.tuning import small


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notes, "folder", lambda: tmp_path)
    return tmp_path


def pxvm(line):
    status, shown = called(line.split())
    return status, shown.decode().replace("\r\n", "\n")


def test_a_model_becomes_smaller_and_the_next_one_begins_with_what_is_known(here, monkeypatch):
    small.bert(here / "model")
    import_model(here / "model", here / "default.pxi")
    monkeypatch.setattr(quantise, "SLACK_VECTORS", 0.002)
    status, said = pxvm("tune quantise model -o small.pxi --budget 14 -n k.png --predictor p.pxi")
    assert status == 0, said
    assert "in four bits" in said and "fewer bytes of weights; cosine" in said
    assert (here / "small.pxi").stat().st_size < (here / "default.pxi").stat().st_size
    with Model.open(here / "small.pxi") as model:
        assert model.embed(["hello"]).shape == (1, small.BERT.width)
    status, said = pxvm("run p.pxi")
    assert status == 0 and "sensitivity" in said, said
    status, said = pxvm("tune quantise model -o again.pxi --budget 5 -n k.png --json")
    found = json.loads(said)
    assert status == 0 and found["measured"] == 0 and found["trials"] <= 5, said
    status, said = pxvm("recall damage -n k.png")
    assert status == 0 and "measured: damage" in said, said


def test_what_cannot_be_tuned_is_refused_in_one_line(here):
    small.llama(here / "model")
    save_image(product(), here / "p.pxi")
    for line, words in (
        ("tune quantise p.pxi -o s.pxi -n k.png", "p.pxi"),
        ("tune quantise none -o s.pxi -n k.png", "none"),
        ("tune quantise model -o k.png -n k.png", "k.png"),
        ("tune speed none -n k.png", "none"),
        ("tune auto on -n .", "a folder"),
        ("tune auto on -n k.png", "k.png: no such file; `pxvm tune speed` makes a network"),
    ):
        status, said = pxvm(line)
        assert status == 2 and words in said and len(said.splitlines()) == 1, said
    assert not (here / "s.pxi").exists() and not list(here.glob("k.png*"))


def test_what_fails_on_the_way_leaves_no_empty_memory(here, monkeypatch):
    small.llama(here / "model")
    (here / "short.txt").write_text("x")
    status, said = pxvm("tune quantise model -o s.pxi --text short.txt -n k.png")
    assert status == 2 and "expected a text of several lines" in said, said
    assert not (here / "k.png").exists() and not (here / "k.png.index").exists()
    pxvm("learn short.txt -n k.png")
    before = (here / "k.png").read_bytes()
    status, said = pxvm("tune quantise model -o s.pxi --text short.txt -n k.png")
    assert status == 2 and (here / "k.png").read_bytes() == before


def test_the_default_is_at_its_bound(here, monkeypatch):
    small.llama(here / "model")
    monkeypatch.setattr(quantise, "SLACK_TEXT", -1.0)
    status, said = pxvm("tune quantise model -o s.pxi --budget 3 -n k.png")
    assert status == 1 and "at its bound" in said and not (here / "s.pxi").exists()


def test_from_measuring_to_running(here, monkeypatch):
    save_image(product(), here / "p.pxi")
    status, said = pxvm("tune speed p.pxi --rounds 1 -n k.png")
    assert status == 0 and "best: " in said and "pxvm tune auto on" in said, said
    status, said = pxvm("tune auto show -n k.png")
    assert status == 0 and said.startswith("off") and "worker threads" in said
    status, said = pxvm("tune auto on -n k.png")
    assert status == 0 and said.startswith("on: "), said
    status, said = pxvm("run p.pxi -o a.png")
    assert status == 0, said
    status, said = pxvm("tune speed p.pxi --rounds 1 -n other.png --json")
    assert status == 0 and json.loads(said)["measured"], said
    status, said = pxvm("tune auto off")
    assert (status, said) == (0, "off: every program runs by the defaults\n")
    status, said = pxvm("run p.pxi -o b.png")
    assert status == 0 and (here / "a.png").read_bytes() == (here / "b.png").read_bytes()


def test_ordinary_runs_teach_while_it_is_on(here, monkeypatch):
    monkeypatch.setattr(notes.Busy, "count", lambda self: 0)
    save_image(product(), here / "p.pxi")
    (here / "one.txt").write_text("a memory that knows of no measurement")
    pxvm("learn one.txt -n k.png")
    status, said = pxvm("tune auto on -n k.png")
    assert status == 0 and said == "on: 0 programs known on this machine\n", said
    for _ in range(notes.FEW):
        pxvm("run p.pxi -o a.png")
        pxvm("run p.pxi -o b.png --threads 1")
    assert (here / "a.png").read_bytes() == (here / "b.png").read_bytes()
    status, said = pxvm("tune auto show -n k.png")
    assert status == 0 and f"noted by ordinary runs: {2 * notes.FEW} lines" in said, said
    status, said = pxvm("tune auto on -n k.png")
    assert status == 0 and notes.read() == (), said
    status, said = pxvm("recall measured -n k.png")
    assert status == 0 and '"threads": 1' in said, said
