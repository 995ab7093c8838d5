"""Characters to cells: how much room each takes in a line, and which have no room of their own.

A line of text becomes a string of *cells*, one character for each cell of a face. A character that
needs more room than one cell is followed by fillers; a base with combining marks is one `CLUSTER`
cell, its fillers, and an entry in the line's list of clusters. These three signs are lone
surrogates, which no text may hold.

What is drawn is the text in Normalization Form C. Characters without an image (joiners, variation
selectors, soft hyphens) are not drawn; control characters, and the signs that override the
direction of writing, are drawn as Unifont's boxes with their abbreviations, and lone surrogates as
U+FFFD.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from pxvm.learning.typeset.fonts import face as face_of
from pxvm.learning.typeset.fonts import unifont

FILL = "\udc00"  # room of the character before; the line does not break here
BREAK = "\udc01"  # the same; the line may break after it
CLUSTER = "\udc02"  # a base and its marks, from the list of clusters
TAB = 4

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff"
    "\U000e0020-\U000e007f\U000e0100-\U000e01ef]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SAMPLE = 2000  # characters that decide about the face

#: Cells that one and two Unifont columns take in a line of each face.
ROOM = {"small": (2, 4), "large": (2, 3), "unifont": (1, 2)}


class _Widener(dict[int, str]):
    """For ``str.translate``: each character with the fillers that it needs in a face."""

    def __init__(self, name: str):
        self.room = ROOM[name]
        self.own = frozenset() if name == "unifont" else frozenset(face_of(name).codes.tolist())

    def __missing__(self, code: int) -> str:
        text = chr(code)
        if code not in self.own:
            cells = self.room[unifont().columns(code) - 1]
            text += (BREAK if is_wide(text) else FILL) * (cells - 1)
        self[code] = text
        return text


_widener = cache(_Widener)


@cache
def _clusters() -> re.Pattern[str]:
    marks = "".join(map(chr, unifont().marks))
    return re.compile(f"[^{marks}]?[{marks}]+")


@cache
def _outside(name: str) -> re.Pattern[str]:
    """Finds a character that a compact face lacks."""
    return re.compile("[^" + re.escape("".join(map(chr, face_of(name).codes.tolist()))) + "]")


def clean(text: str) -> str:
    """The text as it is drawn: composed, without what has no image, lone surrogates replaced."""
    if text.isascii():
        return text
    if not _outside("small").search(text.replace("\n", "")):
        return text
    text = _INVISIBLE.sub("", _SURROGATE.sub("\ufffd", text))
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def face_for(text: str) -> str:
    """The face for cleaned text: "small", or "unifont" where that has a third of its characters.

    Letters beside Chinese are then of the same size as these. Letters of alphabets count thrice,
    for they stand in words with others (Vietnamese).
    """
    if text.isascii():
        return "small"
    visible = "".join(text[:_SAMPLE].split())
    foreign = _outside("small").findall(visible)
    weight = len(foreign) + 2 * sum(c.isalpha() and not is_wide(c) for c in foreign)
    return "unifont" if 3 * weight > len(visible) else "small"


def is_wide(character: str) -> bool:
    """Whether a character is as wide as it is high (Chinese, Japanese, Korean; emoji)."""
    return unicodedata.east_asian_width(character) in "WF"


def to_cells(text: str, name: str) -> tuple[str, list[str]]:
    """One line of cleaned text as (cells, clusters) for the face "small", "large" or "unifont"."""
    if text.isascii():
        if text.isprintable():
            return text, []
        text = text.expandtabs(TAB)
        return text if text.isprintable() else text.translate(_widener(name)), []
    if name != "unifont" and not _outside(name).search(text):
        return text, []
    text = text.expandtabs(TAB)
    clusters: list[str] = _clusters().findall(text)
    if not clusters:
        return text.translate(_widener(name)), []
    room = ROOM[name]
    pieces, done = [], 0
    for match in _clusters().finditer(text):
        pieces.append(text[done : match.start()].translate(_widener(name)))
        columns = max(unifont().columns(ord(c)) for c in match.group())
        pieces.append(CLUSTER + FILL * (room[columns - 1] - 1))
        done = match.end()
    pieces.append(text[done:].translate(_widener(name)))
    return "".join(pieces), clusters
