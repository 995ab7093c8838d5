"""Words of any language as the text index knows them: folded, and cut where no spaces are.

Everything that compares words goes through here: what is indexed, what is asked, what is marked in
a picture. Folding is Unicode's compatibility form (NFKC) in lower case, without the marks that
people leave out: accents of Latin, Greek and Cyrillic letters, points of Hebrew and Arabic. Marks
that are letters stay: the vowel signs of Indic scripts, the voicing of kana, the Cyrillic "й".

Chinese, Japanese, Korean, Thai, Lao, Khmer and Burmese are indexed as pairs of neighbouring
characters, since their words stand without spaces or carry their endings (CJK bigrams, as Lucene's
CJKBigramFilter). Long words of other scripts are indexed with their ends as well, so that
"Schlüssel" is found in "Fahrradschlüssel".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import dropwhile, pairwise
from typing import Any

#: A word of at least so many letters is indexed with its ends, of at least so many letters; one of
#: more than the last is no word but data, whose ends would be its square.
LONG, END, LONGEST = 10, 5, 100

_DROPPED = re.compile(
    "(?<!и)\u0306|[\u0300-\u0305\u0307-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u00ad\u200b-\u200f\u2060\ufe00-\ufe0f"
    "\ufeff]"
)
#: Letters that have no decomposition and are often written plainly, and Persian ones as Arabic.
_PLAIN = str.maketrans({
    "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h",
    "ŧ": "t", "ĸ": "k", "ŋ": "n", "ى": "ي", "ی": "ي", "ک": "ك", "ة": "ه", "ς": "σ",
})  # fmt: skip
_MARKS = r"\u0300-\u036f\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc-\u09cd\u09d7\u0a01-\u0a03\u0a3c-\u0a4d\u0a70\u0a71\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57\u0b82\u0bbe-\u0bcd\u0bd7\u0c00-\u0c04\u0c3e-\u0c56\u0c81-\u0c83\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d4d\u0d57\u0d81-\u0d83\u0dca-\u0ddf\u0f18\u0f19\u0f35-\u0f39\u0f71-\u0f84\u0f8d-\u0fbc\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u1056-\u1059\u17b4-\u17d3"  # noqa: E501
_LABELS = """
answer author caution chapter copyright date edit error example figure fixme from hint important
info license licence note notes part ps question re section see source step subject summary table
tip title to todo update url usage version warning
"""
_STOP_WORDS = """
a am an and are as at be been but by can could did do does for from had has have he her him his how
i if in into is it its me my of on or our she should so that the their them then there these they
this to us was we were what when where which while who whom whose why will with would you your
"""
#: What stands before a colon and is no speaker.
LABELS = frozenset(_LABELS.split())
#: English words that say little; so long as they are not written as names, they are not looked up.
STOP_WORDS = frozenset(_STOP_WORDS.split())
#: A word: letters, digits and the marks that Python's ``\w`` leaves out.
WORD = re.compile(rf"[\w{_MARKS}]+")
#: The same where all is ASCII, several times as fast; and long ones.
_PLAIN_WORD, _PLAIN_LONG = re.compile(r"\w+", re.ASCII), re.compile(rf"\w{{{LONG},}}", re.ASCII)
#: Words with capitals that stand together, where all is ASCII.
_PLAIN_NAME = re.compile(r"\b[A-Z]\w*(?:[ -][A-Z]\w*)*", re.ASCII)
_UNSPACED = (
    r"\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\u3005-\u3007\u3040-\u30ff"
    r"\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_RUN = re.compile(rf"[{_UNSPACED}]+")
_LONG = re.compile(rf"[\w{_MARKS}]{{{LONG},}}")
_ARTICLE = re.compile("[وفبكل]?ال(?=\\w{2})|لل(?=\\w{2})|[הובלכמש](?=[א-ת]{3})")
#: A character with the marks that stand on it.
_UNIT = re.compile(
    r".[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3"
    r"\u3099\u309a]*",
    re.DOTALL,
)


def folded(text: str) -> str:
    """A text as it is compared: every way of writing the same word becomes one."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKC", text).casefold()
    bare = _DROPPED.sub("", unicodedata.normalize("NFD", plain))
    return unicodedata.normalize("NFC", bare).translate(_PLAIN)


def indexed(text: str) -> str:
    """A text as the index takes it, in which a run without spaces is the pairs in it.

    The last character of a run stands alone as well, so that each begins some word of the index.
    """
    if text.isascii():
        return text
    return _RUN.sub(lambda run: f" {' '.join(_pairs(run[0]))} ", folded(text))


def ends(text: str) -> str:
    """The ends of a text's long words, for the index: of "boathouses" "athouses", "thouses" ..."""
    plain = folded(text)
    is_plain = plain.isascii()
    found: dict[str, None] = {}
    long = " ".join([piece for piece in plain.split() if len(piece) >= LONG])
    for word in (_PLAIN_LONG if is_plain else _LONG).findall(long):
        if len(word) <= LONGEST and (is_plain or not _RUN.search(word)):
            found |= _ends_of(word)
    if not is_plain:
        found |= dict.fromkeys(filter(None, map(without_article, WORD.findall(plain))))
    return " ".join(found)


@lru_cache(1 << 13)  # the same words come again and again
def _ends_of(word: str) -> dict[str, None]:
    return dict.fromkeys(word[first:] for first in range(2, len(word) - END + 1))


def without_article(word: str) -> str:
    """An Arabic or Hebrew word without the article and the particles written on it, or ""."""
    match = _ARTICLE.match(word)
    return word[match.end() :] if match else ""


def words(text: str) -> list[str]:
    """The different words of a text, folded, in its order; runs without spaces whole."""
    plain = folded(text)
    return list(dict.fromkeys((_PLAIN_WORD if plain.isascii() else WORD).findall(plain)))


def asked(text: str) -> list[str]:
    """The words of a question that tell something, maybe none.

    "US" and "Will" are no stop words where they are written as names: in capitals, or with one
    after the first word, or alone.
    """
    written, names = WORD.findall(text), set()
    alone = len(written) == 1
    for number, word in enumerate(() if text.isupper() and not alone else written):
        if len(word) > 1 and (word.isupper() or ((number or alone) and word[0].isupper())):
            names.add(folded(word))
    return [word for word in words(text) if word in names or word not in STOP_WORDS]


def names_in(text: str) -> Iterator[tuple[str, ...]]:
    """Words that stand together with capitals, folded: "Anna Schmidt" is another name than "Anna".

    Words that say little are no part where they begin one, as at the beginning of a sentence.
    """
    if text.isascii():
        for run in _PLAIN_NAME.findall(text):
            found = run.lower().replace("-", " ").split(" ")
            if kept := tuple(dropwhile(STOP_WORDS.__contains__, found)):
                yield kept
        return
    name: list[str] = []
    end = 0
    for match in WORD.finditer(text):
        word = match[0]
        is_part = word[0].isupper()
        if name and not (is_part and text[end : match.start()] in (" ", "-")):
            yield tuple(name)
            name = []
        if is_part and (name or folded(word) not in STOP_WORDS):
            name.append(folded(word))
            end = match.end()
    if name:
        yield tuple(name)


def looks_like_name(text: str) -> bool:
    """Is this, before a colon, a speaker: up to four words, capitalised, none of them a label?"""
    parts = text.split()
    return (
        len(parts) <= 4
        and all(part[:1].lower() != part[:1] or part[:1].upper() == part[:1] for part in parts)
        and not (STOP_WORDS | LABELS).intersection(map(folded, parts))
    )


def terms(word: str) -> Iterator[str]:
    """What of the index a folded word is looked up by; ``x*`` is a beginning."""
    last = 0
    for run in _RUN.finditer(word):
        if between := word[last : run.start()]:
            yield between
        units = _UNIT.findall(run[0])
        yield from ("".join(pair) for pair in pairwise(units))
        if len(units) == 1:
            yield f"{units[0]}*"
        last = run.end()
    if rest := word[last:]:
        yield rest


def units(word: str) -> list[str]:
    """The characters of a folded word's runs without spaces, each with its marks."""
    return [unit for run in _RUN.findall(word) for unit in _UNIT.findall(run)]


def folded_by_place(text: str) -> str:
    """A text folded character by character, so that each stays in its place."""
    return text.lower() if text.isascii() else "".join(map(_one, text))


def _one(character: str) -> str:
    found = folded(character)
    return found if len(found) == 1 else character


def _pairs(run: str) -> Iterator[str]:
    units = _UNIT.findall(run)
    yield from ("".join(pair) for pair in pairwise(units))
    yield units[-1]


def rules() -> dict[str, Any]:
    """How words are folded and cut, for readers in other languages: patterns as Python's `re` has
    them, letters that become others, the words that say little, and lengths."""
    return {
        "dropped": _DROPPED.pattern,
        "word": WORD.pattern,
        "run": _RUN.pattern,
        "unit": _UNIT.pattern,
        "long": _LONG.pattern,
        "article": _ARTICLE.pattern,
        "plain": {chr(code): letters for code, letters in _PLAIN.items()},
        "stopWords": sorted(STOP_WORDS),
        "lengths": {"long": LONG, "end": END, "longest": LONGEST},
    }
