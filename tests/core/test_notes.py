"""What ordinary runs note, and what comes of it: only where it is switched on, never a byte."""

from __future__ import annotations

import gc
import json
import math
import os
import time
from dataclasses import asdict, replace

import pytest

from pxvm import execute_pxi
from pxvm.core import choices, notes
from pxvm.core.container import save_image
from pxvm.core.interpreter import run_program
from pxvm.core.verifier import verify
from tests.core.test_choices import product

ONE = '{"threads": 1}'


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(notes, "folder", lambda: tmp_path / "pxvm")
    monkeypatch.setattr(choices, "neighbours", lambda: 0)
    monkeypatch.setattr(notes.Busy, "count", lambda self: 0)
    monkeypatch.setattr(choices, "processors", lambda: 2)
    monkeypatch.setattr(choices, "settings", lambda: {
        "threads": choices.Setting(None, (1,), "threads", choices.WORK),
        "device": choices.Setting("auto", ("reference",), "executor", choices.WORK),
    })  # fmt: skip
    return tmp_path / "pxvm"


def noted(settings, *seconds, work="run", alike="4"):
    return [notes.Note("a key", work, alike, settings, s) for s in seconds]


def test_nothing_is_noted_before_it_is_switched_on_and_every_run_after(cache):
    plain = run_program(product()).tobytes()
    assert not cache.exists()
    choices.switch({})
    for threads in (None, 1, 2):
        assert run_program(product(), threads=threads).tobytes() == plain
    assert run_program(product(), device="reference").tobytes() == plain
    run_program(product(), device="cpu")  # no setting of the table: nothing to learn
    gc.collect()
    found = notes.read()
    assert [n.settings for n in found] == ["{}", ONE, "{}", '{"device": "reference"}']
    shape = choices.shape_of(verify(product()))
    assert {(n.key, n.work) for n in found} == {(choices.key(shape, 0), "run")}
    assert all(0 < n.seconds < 60 for n in found)
    with choices.defaults():
        run_program(product())
    choices.switch(None)
    run_program(product())
    gc.collect()
    assert len(notes.read()) == 4


@pytest.mark.parametrize("make", ["mkdir", "mkfifo"])
def test_a_run_is_no_worse_for_a_cache_that_cannot_be_written(make, cache, tmp_path):
    choices.switch({})
    if not hasattr(os, make):
        pytest.skip("this system has no such pipes")
    (cache / "choices.json").unlink()
    for name in ("runs.jsonl", "choices.json"):
        getattr(os, make)(cache / name)
    save_image(product(), tmp_path / "p.pxi")
    assert execute_pxi(tmp_path / "p.pxi").tobytes() == run_program(product()).tobytes()
    gc.collect()
    assert notes.read() == ()


@pytest.mark.parametrize(
    "line",
    [b"", b"[[[", b"[1]", b"\xff\xfe", b'{"key": 1}', b"[" * 9999, b'{"a": "b"}',
     *(json.dumps({"key": "k", "work": "run", "alike": "", "settings": "{}", "seconds": s}).encode()
       for s in (math.nan, math.inf, -1.0, 0.0, 1e99, 1, True, "1.0", None, [1.0])),
     json.dumps(asdict(notes.Note("k", "run", "", "{}", 1.0)) | {"more": 1}).encode(),
     b'{"key": "%s", "work": "run", "alike": "", "settings": "{}", "seconds": 1.0}' % (b"k" * 999)],
)  # fmt: skip
def test_what_is_no_note_is_passed_over(line, cache):
    true = noted("{}", 1.0)
    notes.append(true)
    with (cache / "runs.jsonl").open("ab") as stream:
        stream.write(line + b"\n")
    notes.append(true)
    assert notes.read() == (*true, *true)


def test_the_file_stays_small(cache, monkeypatch):
    monkeypatch.setattr(notes, "MOST", 2000)
    for number in range(1, 99):
        notes.append(noted("{}", float(number)))
    assert (cache / "runs.jsonl").stat().st_size <= 2000
    assert notes.read()[-1].seconds == 98.0 and len(notes.read()) > 5


def test_a_watch_adds_up_and_writes_now_and_then(cache, monkeypatch):
    watch = notes.Watch("a program", "a machine", {"threads": 1})
    clock = time.perf_counter()
    monkeypatch.setattr(notes.time, "perf_counter", lambda: clock)
    for _ in range(12):
        watch.took("decode", clock - 0.125, units=2, size=100)
    found = notes.read()
    # The first execution for itself; a line after half a second of work, then after a whole one.
    assert [(n.alike, n.seconds) for n in found] == [
        ("first, 7", 0.0625), ("7", 0.0625), ("7", 0.0625)]  # fmt: skip
    assert {(n.key, n.work, n.settings) for n in found} == {
        ("a program | a machine | 0 busy", "decode", ONE)
    }
    del watch
    gc.collect()
    assert len(notes.read()) == 3


def test_medians_of_what_is_alike_are_compared():
    slow, fast = (2.0, 2.0, 2.0, 9.0, 1.0), (1.0, 1.0, 1.0, 1.0, 7.0)
    found = notes.rated([*noted("{}", *slow), *noted(ONE, *fast)])
    assert found == {"{}": {"run": (1.0, 2.0)}, ONE: {"run": (2.0, 1.0)}}
    # Too few, or of other work: nothing to compare.
    assert ONE not in notes.rated([*noted("{}", *slow), *noted(ONE, 1.0, 1.0)])
    assert ONE not in notes.rated([*noted("{}", *slow), *noted(ONE, *fast, alike="9")])
    # Halves and doubles cancel out.
    both = [*noted("{}", *slow), *noted(ONE, *fast), *noted(ONE, *slow, alike="9"),
            *noted("{}", *fast, alike="9")]  # fmt: skip
    assert notes.rated(both)[ONE]["run"][0] == pytest.approx(1.0)


def judged(tuned, *groups):
    return choices.judged(tuned, [note for group in groups for note in group])


def test_what_ordinary_runs_say_counts():
    five = [1.0] * 5
    plain, tuned = noted("{}", *five), {"threads": 1}
    assert judged({}) == {} and judged(tuned) == tuned
    # Tuned settings stay until runs say that they gain nothing; not tuned ones must be clear.
    assert judged(tuned, plain, noted(ONE, *[0.99] * 5)) == tuned
    assert judged(tuned, plain, noted(ONE, *[1.03] * 5)) == {}
    assert judged({}, plain, noted(ONE, *[0.95] * 5)) == {}
    assert judged({}, plain, noted(ONE, *[0.5] * 5)) == {"threads": 1}
    assert judged({}, plain, noted(ONE, *[0.5] * 4)) == {}
    # One kind of work that loses, or that was never tried, is enough.
    other = noted("{}", *five, work="decode")
    assert judged({}, plain, other, noted(ONE, *[0.5] * 5)) == {}
    worse = noted(ONE, *[1.1] * 5, work="decode")
    assert judged({}, plain, other, noted(ONE, *[0.5] * 5), worse) == {}
    # Settings that the table does not have are nobody's.
    assert judged({}, plain, noted('{"threads": 7}', *[0.5] * 5)) == {}
    assert judged({}, plain, noted("[[", *[0.5] * 5)) == {}


def test_some_runs_have_the_defaults_to_compare():
    tuned, taken, log = {"threads": 1}, [], []
    for _ in range(60):
        chosen = choices.judged(tuned, log)
        taken.append(bool(chosen))
        log += noted(notes.text_of(chosen), 0.5 if chosen else 1.0)
    assert taken[:10] == [True, False] * 5
    assert sum(taken[10:]) >= 48 and not all(taken[10:])


def test_auto_takes_what_runs_with_named_settings_have_shown(cache):
    choices.switch({})
    program = verify(product())
    key = choices.key(choices.shape_of(program), 0)
    notes.append(replace(n, key=key) for n in noted("{}", *[1.0] * 5))
    assert choices.best(program) == {}
    notes.append(replace(n, key=key) for n in noted(ONE, *[0.5] * 5))
    assert choices.best(program) == {"threads": 1}
    assert choices.plan(program, "auto", None).chosen == {"threads": 1}
    assert choices.plan(program, "cpu", None).chosen == {}
    assert choices.best(verify(product(rows=12))) == {}
    choices.switch(None)
    assert choices.best(program) == {}


def test_what_is_over_at_once_is_not_noted(cache, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(notes, "folder", lambda: cache)
    notes.Watch("a program", "a machine", {}).took("run", time.perf_counter())
    gc.collect()
    assert not cache.exists()
    monkeypatch.setattr(notes, "STATISTICS", cache)
    busy = notes.Busy()
    time.sleep(notes.LOOK)
    assert busy.count() == 0  # where no system tells
