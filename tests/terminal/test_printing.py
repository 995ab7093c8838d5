"""Lines, JSON and tables, on a terminal and elsewhere."""

from __future__ import annotations

import io
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from pxvm.terminal import counted, echo, echo_json, echo_table, echo_text


def test_a_line_is_one_line_and_a_text_may_be_several(capsys):
    echo("a\nb\x1b[31m")
    echo_text("a\nb\x1b[31m")
    echo("c", err=True)
    assert capsys.readouterr() == ("a\\nb\\x1b[31m\na\nb\\x1b[31m\n", "c\n")


def test_markup_of_the_library_that_draws_tables_is_text(capsys):
    echo_table({"na[b]me": "left", "n": "right"}, [("[red]x[/red]\x1b[2J", 1), ("y" * 300, 22)])
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["na[b]me", "n"]
    assert r"[red]x[/red]\x1b[2J" in out and "y" * 300 in out
    assert len({len(line) for line in out.splitlines()}) == 1  # numbers at the right


def test_json_of_times_paths_and_infinities(capsys):
    moment = datetime(2026, 1, 2, tzinfo=timezone.utc)
    echo_json({"t": moment, "p": Path("a"), "x": [float("inf"), (float("nan"), 1.5)], "é": "\x9b"})
    out = capsys.readouterr().out
    assert "é" in out and "\x9b" not in out
    assert json.loads(out) == {"t": moment.isoformat(), "p": "a", "x": [None, [None, 1.5]],
                               "é": "\x9b"}  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_characters_that_an_output_cannot_hold(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    echo("é ⟦")
    echo_json({"⟦": "é"}, indent=None)
    sys.stdout.flush()
    line, document = raw.getvalue().decode(encoding).splitlines()
    assert line == ("\\xe9 \\u27e6" if encoding == "ascii" else "é \\u27e6")
    assert json.loads(document) == {"⟦": "é"}


def test_one_and_many():
    assert [counted(n, "step") for n in (0, 1, 2, 1234)] == [
        "0 steps", "1 step", "2 steps", "1,234 steps",
    ]  # fmt: skip
