"""Bytes to text: UTF-8 and UTF-16 are known for sure, a declaration is believed, the rest guessed.

The guess asks chardet, which knows the letters of languages, for encodings that people's files are
in. It is often unsure of short texts and of lists of names; so each of its answers counts as much
as the text reads well in it, and Windows-1252 a little more, because most such files are Western.
"""

from __future__ import annotations

import codecs
import re
from typing import Any, NamedTuple
from unicodedata import category

from pxvm.core.errors import MissingPackageError
from pxvm.core.installation import library
from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.lettering import fitting, japanese

SNIFFED = 8_192  # bytes looked at to tell text from binary
GUESSED = 65_536  # bytes of lines that are not ASCII from which the encoding is guessed
FEW = 4  # so many characters of UTF-8 for each byte that is none: UTF-8 with damage
READ = 4_096  # bytes of them that are read in each encoding, to see how well that goes
#: How much likelier Windows-1252 is than what chardet says, and how much less what is old; and how
#: much it counts that a text reads badly (chosen on 29 languages in their 60 usual encodings).
USUAL, UNUSUAL, STRICT = 1.3, 0.5, 6

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with the mark of UTF-16: first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
DECLARED = re.compile(
    rb"""(?i)(?:<\?xml\b[^>]*\bencoding|<meta\b[^>]*\bcharset|^#.*coding)\s*[=:]\s*["']?([\w.-]+)""",
    re.MULTILINE,
)
WEB = [
    "utf-8", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257",
    "cp1258", "cp874", "tis-620", "koi8-r", "koi8-u", "iso8859-1", "iso8859-2", "iso8859-5",
    "iso8859-6", "iso8859-7", "iso8859-8", "iso8859-9", "iso8859-15", "cp932", "euc_jis_2004",
    "iso2022_jp_2", "gb18030", "big5hkscs", "euc_kr", "cp949", "hz",
]  # fmt: skip
OLD = ("cp437", "cp850", "cp852", "cp858", "cp866", "mac-roman")  # DOS and the old Macintosh
WESTERN = {"cp1252", "iso8859-1", "iso8859-15", "ascii"}
WIDER = {"iso8859-9": "cp1254", "tis-620": "cp874", "euc_kr": "cp949"}  # the same and more
#: What it is instead, where signs stand at which the first has none.
SIGNED = {
    "iso8859-2": "cp1250",
    "iso8859-5": "cp1251",
    "iso8859-7": "cp1253",
    "iso8859-8": "cp1255",
}
#: Signs that nobody writes, or not inside words, where Latin-9 has the euro and the French œ.
EURO = re.compile(rb"\xa4|[a-z]\xbd[a-z]", re.IGNORECASE)
COMMON = re.compile("[ -~\\n\u3000-\u3002\uff00-\uff1f]")
ASCII, ZEROS = re.compile(rb"[\t\n\r -~]"), re.compile(rb"\0+")
FEW_ZEROS = 200  # bytes for each place with zero bytes: a text with damage
CONTROLS = dict.fromkeys([*range(7), *range(14, 27), *range(28, 32), 127])


class Decoded(NamedTuple):
    """A text, with ``\\n`` at the ends of its lines.

    Attributes:
        encoding: what it was taken for.
        guessed: neither certain nor declared.
        bad: places with bytes that are none of this encoding, each ``\\ufffd`` in the text.
    """

    text: str
    encoding: str
    guessed: bool = False
    bad: int = 0


def decode(content: bytes, declared: str = "") -> str:
    """The text that bytes are, as declared, if they are, else as `decoded` finds it."""
    found = _named(content, declared) if declared else None
    return _lines(found.text) if found else decoded(content).text


def decoded(content: bytes) -> Decoded:
    """Bytes to text.

    Raises:
        UnreadableError: they are no text.
    """
    found = _sure(content) or _declared(content) or _with_zeros(content) or _wide(content)
    if found is None:
        if b"\0" in content[:SNIFFED]:
            raise UnreadableError("binary")
        found = _damaged(content) or _guessed(content)
    text, sample = found.text, found.text[:SNIFFED]
    plain = len(sample.translate(CONTROLS))
    if (found.guessed or found.bad) and 10 * plain < 9 * len(sample):
        raise UnreadableError("binary")
    return found._replace(text=_lines(text))


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _sure(content: bytes) -> Decoded | None:
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return _replaced(content[len(mark) :], encoding)
    if b"\0" in content[:SNIFFED]:
        return None
    if b"\x1b$" in content[:GUESSED]:  # Japanese in seven bits
        try:
            return Decoded(content.decode("iso2022_jp_2"), "iso2022_jp_2")
        except UnicodeDecodeError:
            pass
    try:
        return Decoded(content.decode(), "utf-8")
    except UnicodeDecodeError:
        return None


def _replaced(content: bytes, encoding: str) -> Decoded:
    """Text with marks where there is damage, which are counted."""
    text = content.decode(encoding, "replace")
    there = content.count("\ufffd".encode(encoding)) if encoding.startswith("utf") else 0
    return Decoded(text, encoding, bad=max(text.count("\ufffd") - there, 0))


def _declared(content: bytes) -> Decoded | None:
    """The text, if it says near its beginning in which encoding it is, and is."""
    found = DECLARED.search(content[:1_024])
    if found is None or b"\0" in content[:SNIFFED]:
        return None
    return _named(content, found[1].decode())


def _named(content: bytes, name: str) -> Decoded | None:
    """The text in an encoding of this name, as browsers take it; None if it is in no such."""
    try:
        name = codecs.lookup(name).name
        if name in ("iso8859-1", "ascii", "cp1252"):  # claimed of much
            return _sure(content) or Decoded(content.decode("cp1252"), "cp1252")
        name = WIDER.get(name, name)
        return Decoded(content.decode(name), name)
    except (LookupError, ValueError):
        return None


def _with_zeros(content: bytes) -> Decoded | None:
    """UTF-8 with a few zero bytes in it, as a log has after a power cut."""
    if not 0 < len(ZEROS.findall(content[:SNIFFED])) * FEW_ZEROS <= len(content[:SNIFFED]):
        return None
    marked, runs = ZEROS.subn("\ufffd".encode(), content)
    try:
        return Decoded(marked.decode(), "utf-8", bad=runs)
    except UnicodeDecodeError:
        return None


def _wide(content: bytes) -> Decoded | None:
    """UTF-16 without a mark, if it reads well so and better than with its bytes swapped."""
    begin = content[:SNIFFED]
    zeros = begin.count(0)
    if len(content) % 2 or len(content) < 4 or not zeros:
        return None
    if 4 * zeros < len(begin) and 100 * len(ASCII.findall(begin)) > 98 * (len(begin) - zeros):
        return None  # pairs of Latin letters are no Chinese
    best: tuple[int, str, str] = (0, "", "")
    for encoding in ("utf-16-le", "utf-16-be"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        sample = text[:SNIFFED]
        strange = sum(category(character) in ("Cn", "Co", "Cc") for character in sample)
        strange -= len(re.findall(r"[\t\n\r\f]", sample))
        if 50 * strange <= len(sample):
            best = max(best, (len(COMMON.findall(sample)), encoding, text))
    return Decoded(best[2], best[1], guessed=True) if best[0] else None


def _damaged(content: bytes) -> Decoded | None:
    """UTF-8, if there is little in it that is not."""
    found = _replaced(content, "utf-8")
    good = sum(map(len, re.findall(r"[^\x00-\x7f\ufffd]+", found.text)))
    cut_off = found.bad <= 3 and found.text.endswith("\ufffd") and "\ufffd" not in found.text[:-1]
    if found.bad and (good >= FEW * found.bad or (cut_off and good)):
        return found
    return None


def _guessed(content: bytes) -> Decoded:
    try:
        chardet = library("chardet", "documents")
    except MissingPackageError as error:
        raise MissingPackageError(f"not UTF-8, and to guess its encoding {error}") from None
    sample, size = [], 0
    for line in re.finditer(rb"[^\n]*[\x80-\xff][^\n]*\n?", content):
        sample.append(line[0][: GUESSED - size])
        size += len(sample[-1])
        if size >= GUESSED:
            break
    seen = b"".join(sample)
    encoding = japanese(seen) or _likeliest(seen, chardet)
    return _replaced(content, encoding)._replace(guessed=True)


def _likeliest(seen: bytes, chardet: Any) -> str:
    """Of the encodings that chardet knows the likeliest, so far as the text reads well in it."""
    has_signs = re.search(rb"[\x80-\x9f]", seen)
    likely: dict[str, float] = {"cp1252": 0.0}
    for found in chardet.detect_all(
        seen, ignore_threshold=True, include_encodings=[*WEB, *OLD], compat_names=False
    ):
        name = found["encoding"] or "cp1252"
        name = "cp1252" if name in WESTERN else WIDER.get(name, name)
        name = SIGNED.get(name, name) if has_signs else name
        share = USUAL if name == "cp1252" else UNUSUAL if name in OLD else 1.0
        share *= fitting(seen[:READ].decode(name, "ignore")) ** STRICT
        likely[name] = max(likely.get(name, 0.0), share * found["confidence"])
    best = max(likely, key=likely.__getitem__)
    return "iso8859-15" if best == "cp1252" and not has_signs and EURO.search(seen) else best


def spoken(encoding: str) -> str:
    """An encoding's name as people know it."""
    return re.sub(r"^cp(?=12\d\d$)", "Windows-", encoding).upper().replace("WINDOWS", "Windows")
