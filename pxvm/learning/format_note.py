"""The first record of every network: how to read it without this program."""

from __future__ import annotations

from pxvm.learning.record import FORMAT_SOURCE, Draft

_TEXT = """\
TODO"""


def format_note() -> Draft:
    """The record that explains the format; the same in every network of this version."""
    return Draft("", _TEXT, kind="note", source=FORMAT_SOURCE)
