"""How well a text reads: whether its letters are those of one language, and signs where they stand.

Bytes that are read in the wrong encoding show letters of several languages at once, signs inside
words, capitals at the ends of words, Greek or Russian letters in Latin words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from unicodedata import category, normalize

#: The letters that languages of Latin script have beside those of ASCII; before Vietnamese those of
#: the West together, for names of one language stand in the texts of its neighbours.
_LETTERS = """
    áčďéěíňóřšťúůýž äáčďéíĺľňóôŕšťúýž ąćęłńóśźż áéíóöőúüű čšž čćđšž ăâîșțşţ ëç äöüß àâæçèéêëîïôœùûüÿ
    áéíñóúüªº àèéìíîòóù áâãàçéêíóôõúüªº àçèéíïòóúü åäöé æøåéòâ áéíóúýðþæö äöõüšž ąčęėįšųūž
    āčēģīķļņōŗšūž çğıİöşüâîû ĉĝĥĵŝŭ ëïéüöèê àâäåæáãçèéêëìíîïñòóôõöøœùúûüßªº
    àảãáạăằẳẵắặâầẩẫấậđèẻẽéẹêềểễếệìỉĩíịòỏõóọôồổỗốộơờởỡớợùủũúụưừửữứựỳỷỹýỵ
"""
_ALPHABETS = [frozenset(letters) for letters in _LETTERS.split()]
_WORD = re.compile(r"[^\s!-&(-,./:-@\[-`{-~]*[^\x00-\x7f]\S*")
_OTHER = re.compile("[\u0370-\u1dff]")  # letters of other scripts
_EAST = re.compile("[\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff]")
_KANA, _HALF = re.compile("[\u3041-\u3096\u30a1-\u30fc]"), re.compile("[\uff61-\uff9f]")
_MIXED = re.compile("[a-z][\u3041-\u30fc]+[a-z]")
#: Signs; those that may stand inside a word, those that stand behind none, and before none.
_SIGNS = frozenset("°©®™§«»“”„‘’‚–—…·•£€½¼¾×µ¿¡ªº²³¹´\xa0±†‰‹›")
_INSIDE, _NOT_BEHIND = frozenset("’·-–—"), frozenset("¹²³¿¡µ±½¼¾£€×")
_NOT_BEFORE = frozenset("©®™±¹²³")


def fitting(text: str) -> float:
    """The share of the characters beyond ASCII that stand where a text has such, 0..1."""
    letters: Counter[str] = Counter()
    odd = total = 0
    has_others = re.search(f"{_OTHER.pattern}{{2}}", text)  # "и" alone is an "è"
    for word in _WORD.findall(normalize("NFC", text)):
        for before, sign, after in _neighbours(word):
            total += 1
            if _is_latin(sign) and not (sign.isupper() and before.islower()):
                letters[sign if sign == "İ" else sign.lower()] += 1
            else:
                alone = _OTHER.match(sign) and not has_others
                odd += bool(alone) or _is_odd(before, sign, after)
    known = max(sum(letters[letter] for letter in alphabet) for alphabet in _ALPHABETS)
    return 1 - (odd + letters.total() - known) / max(total, 1)


def japanese(content: bytes) -> str:
    """The encoding in which bytes are Japanese, mostly kana; "" where there is none."""
    for encoding in ("euc_jis_2004", "cp932"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        kana = len(_KANA.findall(text))
        mostly = kana >= 3 and 2 * kana >= len(re.findall(r"[^\x00-\x7f]", text))
        if mostly and not _HALF.search(text) and not _MIXED.search(text):
            return encoding
    return ""


def _neighbours(word: str) -> Iterator[tuple[str, str, str]]:
    """Each character beyond ASCII, between what stands on both sides of it."""
    padded = f" {word} "
    for place, sign in enumerate(word, 1):
        if not sign.isascii():
            yield padded[place - 1], sign, padded[place + 1]


def _is_latin(sign: str) -> bool:
    if _OTHER.match(sign) or _EAST.match(sign):
        return False
    return sign.isalpha() or category(sign).startswith("M")


def _is_odd(before: str, sign: str, after: str) -> bool:
    """Does a sign, a letter of another script, or a capital, not belong between these two?"""
    latin = [neighbour.isalpha() and neighbour < "\u0250" for neighbour in (before, after)]
    if _EAST.match(sign):
        return all(latin) and after.islower()
    if _OTHER.match(sign):
        return any(latin)
    if _is_latin(sign) or sign not in _SIGNS:
        return sign < "\u2e80"
    inside = before.isalpha() and after.isalpha() and sign not in _INSIDE
    return (
        inside
        or (before.isalpha() and sign in _NOT_BEHIND)
        or (after.isalpha() and sign in _NOT_BEFORE)
    )
