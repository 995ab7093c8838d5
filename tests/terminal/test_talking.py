"""A line from the user, and an answer that comes in pieces."""

from __future__ import annotations

import pytest

from tests.terminal.screen import typed

ASK = """
from pxvm.terminal import ask
import readline
print("READY")
while (line := ask("say> ")) is not None:
    print(f"<{line}>")
print("ended")
"""
SAY = """
import sys
from pxvm.terminal import Answer
print("READY")
sys.stdin.readline()
answer = Answer()
for piece in {pieces!r}:
    answer.put(piece)
answer.end()
print("END")
"""


def test_a_line_can_be_edited_and_comes_back():
    pytest.importorskip("readline")
    left, up = b"\x1b[D", b"\x1b[A"
    shown = typed(ASK, b"helo" + left + b"l\r", up + b"!\r", b"\x04", prompt=b"say> ")
    assert "<hello>" in shown and "<hello!>" in shown and "ended" in shown


def test_ctrl_c_empties_the_line_and_goes_on(interruptible):
    shown = typed(ASK, b"never said\x03", b"said\r", b"\x04", prompt=b"say> ")
    assert "<>" in shown and "<said>" in shown and "never said>" not in shown


def said(*pieces: str, columns: int = 20) -> list[str]:
    """The lines of an answer on a terminal."""
    shown = typed(SAY.format(pieces=pieces), b"\n", columns=columns).replace("\r\n", "\n")
    return shown.split("READY\n")[1].removeprefix("\n").split("\nEND")[0].split("\n")


def test_lines_break_between_words():
    text = "The quick brown fox jumps over the lazy dog again."
    wanted = ["The quick brown fox", "jumps over the lazy", "dog again."]
    assert said(text) == wanted
    assert said(*text) == wanted  # a character at a time
    assert said("a  b\n\n    indented\n") == ["a  b", "", "    indented", ""]


def test_words_that_are_too_long_and_letters_that_need_no_spaces():
    assert said("x" * 30 + " next") == ["x" * 30 + " next"]  # the terminal breaks it itself
    assert said("漢" * 15) == ["漢" * 10, "漢" * 5]


def test_an_answer_does_not_act():
    assert said("a\x1b]0;p", "wned\x07 b", columns=60) == [r"a\x1b]0;pwned\x07 b"]
