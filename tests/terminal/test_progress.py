"""How far work is: lines where there is no terminal, a bar where there is one, or nothing."""

from __future__ import annotations

import re
import time

from pxvm.terminal import progress
from tests.terminal.screen import typed

BAR = """
import sys, time
from pxvm.terminal import progress
print("READY")
sys.stdin.readline()
with progress("first [red]\\x1b]0;pwned\\x07") as update:
    update(3, 10)
    time.sleep(0.2)
    update(500_000, 1_000_000, "second [b]")
    time.sleep(0.2)
"""


def test_quick_work_says_nothing(capsys):
    with progress("quick") as update:
        update(1, 2)
    assert capsys.readouterr() == ("", "")


def test_longer_work_says_how_far_it_is_ever_more_seldom(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress("reading\x1b[2J") as update:
        for second in range(1, 301):
            now = float(second)
            update(second, 300)
        update(100_001, 200_002, "next")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [rf"reading\x1b[2J: {n} of 300, about {m} min left"
                         for n, m in ((10, 5), (20, 5), (30, 4))]  # fmt: skip
    assert re.search(r"2\d\d of 300, about \d\d s left", "\n".join(lines))
    assert 8 < len(lines) < 20
    with progress("unknown") as update:
        now += 10
        update(0)
        now += 10
        update(1234)
    assert capsys.readouterr().err.splitlines() == ["unknown", "unknown: 1,234"]


def test_the_time_left_is_that_of_the_stage_at_work(capsys, monkeypatch):
    """What came before, at another pace and counted otherwise, says nothing of it."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress("fetching") as update:
        for now in range(0, 9):
            update(now, 8)
        for now in range(9, 30):
            update(10 * (now - 9), 1000, "converting")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["converting: 10 of 1,000, about 99 s left",
                     "converting: 110 of 1,000, about 89 s left"]  # fmt: skip


def test_work_for_a_program_says_nothing(capsys, monkeypatch):
    with progress("json", shown=False) as update:
        monkeypatch.setattr(time, "monotonic", lambda: 1e9)
        update(1, 2, "title")
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal_shows_titles_as_they_are():
    shown = typed(BAR, b"\n")
    assert r"first [red]\x1b]0;pwned\x07" in shown and "\x1b]" not in shown
    assert "3 of 10" in shown and "second [b]" in shown and "50%" in shown
