"""Right-to-left writing: Arabic letters joined, cells of a line put in the order of reading.

The order is that of the Unicode bidirectional algorithm (Unicode Standard Annex 9) without explicit
embeddings, overrides and isolates, which are drawn as boxes instead, and without paired brackets. A
paragraph whose first strong character is right-to-left stands at the right of its column.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby

from pxvm.learning.typeset.characters import BREAK, CLUSTER, FILL

_RIGHT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_ARABIC = re.compile("[\u0620-\u06ff\u0750-\u077f]{2,}")
_UNIT = re.compile(f"[^{FILL}{BREAK}][{FILL}{BREAK}]*")
_LAM = "\u0644"
_MIRROR = str.maketrans("()[]{}<>«»", ")(][}{><»«")


def has_right_to_left(text: str) -> bool:
    return _RIGHT.search(text) is not None


def starts_right(text: str) -> bool:
    """Whether the first strong character of a paragraph is right-to-left."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("L", "R", "AL"):
            return kind != "L"
    return False


@cache
def _forms() -> dict[str, dict[str, str]]:
    """Letter, or lam with alef -> {"initial", "medial", "final", "isolated": presentation form}."""
    forms: dict[str, dict[str, str]] = {}
    for code in (*range(0xFB50, 0xFC00), *range(0xFE70, 0xFEFD)):
        kind, *letters = unicodedata.decomposition(chr(code)).split() or [""]
        text = "".join(chr(int(letter, 16)) for letter in letters)
        if len(text) == 1 or (len(text) == 2 and text[0] == _LAM):
            forms.setdefault(text, {})[kind.strip("<>")] = chr(code)
    forms["\u0640"] = dict.fromkeys(("initial", "medial", "final", "isolated"), "\u0640")
    return forms


def shape(text: str) -> str:
    """Replaces Arabic letters by their presentation forms for their place in the word."""
    return _ARABIC.sub(lambda match: _shape_word(match.group()), text)


def _shape_word(word: str) -> str:
    forms = _forms()
    letters: list[list[str]] = []  # [letter or ligature, its marks]
    for character in word:
        if letters and unicodedata.category(character) == "Mn":
            letters[-1][1] += character
        elif (
            letters and letters[-1][0] == _LAM and _LAM + character in forms and not letters[-1][1]
        ):
            letters[-1][0] += character
        else:
            letters.append([character, ""])
    shaped = []
    joined = False  # whether the letter before reaches out to this one
    for number, (letter, marks) in enumerate(letters):
        own = forms.get(letter, {})
        after = letters[number + 1][0] if number + 1 < len(letters) else ""
        takes = joined and "final" in own
        gives = "initial" in own and "final" in forms.get(after, {})
        place = ("medial" if gives else "final") if takes else ("initial" if gives else "isolated")
        shaped.append(own.get(place, letter) + marks)
        joined = gives
    return "".join(shaped)


def reorder(cells: str, clusters: list[str], right: bool) -> tuple[str, list[str]]:
    """A wrapped line's cells and clusters from logical to visual order, left to right.

    Args:
        cells, clusters: the line, as `to_cells` made it.
        right: whether its paragraph is right-to-left.
    """
    units = _UNIT.findall(cells)
    marked = iter(clusters)
    bases = [next(marked) if unit[0] == CLUSTER else unit[0] for unit in units]
    levels = _levels([unicodedata.bidirectional(base[0]) or "L" for base in bases], right)
    order = list(range(len(units)))
    for level in range(max(levels, default=0), 0, -1):
        start = 0
        for high, run in groupby([levels[i] >= level for i in order]):
            length = len(list(run))
            if high:
                order[start : start + length] = order[start : start + length][::-1]
            start += length
    seen = [units[i].translate(_MIRROR) if levels[i] % 2 else units[i] for i in order]
    return "".join(seen), [bases[i] for i in order if units[i][0] == CLUSTER]


def _levels(kinds: list[str], right: bool) -> list[int]:
    """Embedding level of each character from its class (rules W1 to W7, N1 to N2, I1 to I2)."""
    base = int(right)
    own = "R" if right else "L"
    kinds = ["ON" if kind in _BOXES else kind for kind in kinds]
    strong = own
    for i, kind in enumerate(kinds):
        if kind in ("L", "R", "AL"):
            strong = kind
        if kind == "EN" and strong == "AL":
            kinds[i] = "AN"
        elif kind == "NSM":
            kinds[i] = kinds[i - 1] if i else own
    kinds = ["R" if kind == "AL" else kind for kind in kinds]
    for i in range(1, len(kinds) - 1):
        before, kind, after = kinds[i - 1 : i + 2]
        if before == after and (
            (kind == "CS" and before in ("EN", "AN")) or (kind, before) == ("ES", "EN")
        ):
            kinds[i] = before
    spans = [(kind, len(list(run))) for kind, run in groupby(kinds)]
    kinds = []
    strong = own
    for number, (kind, length) in enumerate(spans):
        beside = {spans[j][0] for j in (number - 1, number + 1) if 0 <= j < len(spans)}
        if kind == "ET" and "EN" in beside:
            kind = "EN"
        elif kind in ("ES", "ET", "CS"):
            kind = "ON"
        if kind in ("L", "R"):
            strong = kind
        if kind == "EN" and strong == "L":
            kind = "L"
        kinds += [kind] * length
    levels = []
    before = own
    runs = [(key, list(run)) for key, run in groupby(kinds, lambda k: k in ("L", "R", "EN", "AN"))]
    for number, (is_strong, run) in enumerate(runs):
        if is_strong:
            levels += [base + (_STEP[kind][base]) for kind in run]
            before = "L" if run[-1] == "L" else "R"
            continue
        after = own if number + 1 == len(runs) else runs[number + 1][1][0]
        after = "L" if after == "L" else "R"
        levels += [base + _STEP[before if before == after else own][base]] * len(run)
    return levels


_BOXES = frozenset(("LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN"))
_STEP = {"L": (0, 1), "R": (1, 0), "EN": (2, 1), "AN": (2, 1)}
