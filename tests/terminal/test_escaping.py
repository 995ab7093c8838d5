"""What acts on a terminal, or hides there, is shown; everything else stays as it is."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxvm.terminal.escaping import safe_json, visible, visible_lines

# Format characters that stay: spelling needs them, or they are seen.
KEPT = {
    *"\u00ad\u061c\u200c\u200d\u200e\u200f\u06dd\u070f\u08e2\u0890\u0891\U000110bd\U000110cd",
    *map(chr, range(0x600, 0x606)),
    *map(chr, range(0x13430, 0x13440)),
}
anything = st.text(st.characters())


def acts(character: str) -> bool:
    """By the Unicode database of this Python, not by the module's own list."""
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in KEPT


def test_every_character_that_acts_is_shown_and_no_other():
    for code in range(0x110000):
        character = chr(code)
        if acts(character) and character != "\t":
            assert visible(character) != character, hex(code)
        elif unicodedata.category(character) != "Cn":  # tags that are not assigned yet
            assert visible(character) == character, hex(code)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b]0;title\x07b", r"a\x1b]0;title\x07b"),
        ("\x9b2J", r"\x9b2J"),
        ("user\u202etxt.exe", r"user\u202etxt.exe"),
        ("\u2066a\u2069", r"\u2066a\u2069"),
        ("one\ntwo\rthree\u2028four", r"one\ntwo\rthree\u2028four"),
        ("\U000e0041", r"\U000e0041"),
        ("\udc9b", r"\udc9b"),
        ("نمی‌خواهم 👩‍🚀 שלום naïve\tx", "نمی‌خواهم 👩‍🚀 שלום naïve\tx"),
    ],
)
def test_how_it_is_shown(text, shown):
    assert visible(text) == shown
    assert visible_lines(text) == shown.replace(r"\n", "\n")


def test_a_text_of_another_system_keeps_its_lines():
    assert visible_lines("a\r\nb\rc") == "a\nb\\rc"


@given(anything)
def test_nothing_that_acts_is_left(text):
    assert not any(acts(c) for c in visible(text) if c != "\t")
    assert not any(acts(c) for c in visible_lines(text) if c not in "\t\n")
    visible(text).encode()


@given(st.recursive(anything, lambda inner: st.lists(inner) | st.dictionaries(anything, inner)))
def test_json_says_the_same_and_does_not_act(value):
    document = safe_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(document) == json.loads(json.dumps(value))
    assert not any(acts(c) for c in document)
