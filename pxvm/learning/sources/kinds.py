"""Which reader a file is for: one table by the end of its name, and by how it begins."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import Read
from pxvm.learning.sources.chats import Exchange, read_chats
from pxvm.learning.sources.code import DEFINITIONS, NAMES, read_code
from pxvm.learning.sources.databases import read_database
from pxvm.learning.sources.encoding import SNIFFED, decoded, spoken
from pxvm.learning.sources.epub import read_epub
from pxvm.learning.sources.html import read_html
from pxvm.learning.sources.mail import read_mail, read_mailbox
from pxvm.learning.sources.markdown import read_markdown
from pxvm.learning.sources.notebook import read_notebook
from pxvm.learning.sources.office import read_docx, read_pptx
from pxvm.learning.sources.opendocument import read_odt
from pxvm.learning.sources.pdf import read_pdf
from pxvm.learning.sources.rtf import read_rtf
from pxvm.learning.sources.sheets import read_xlsx
from pxvm.learning.sources.structured import parse, parse_lines, read_json, read_values
from pxvm.learning.sources.tables import read_table
from pxvm.learning.sources.text import MARKED, read_log, read_marked, read_text

EXPORTED = re.compile(r'"id": ?"[0-9a-f]{64}",\s*"sequence": ?\d+')  # what an export begins with
#: Pictures and other files that stand in a text, as characters.
DATA = re.compile(r"(data:[\w/+.-]{1,80};base64,)[A-Za-z0-9+/=]{100,}")
BASE64 = "pictures as text"
BAD = "places that are not in the encoding"

TEXT: dict[str, Callable[[str], Read]] = {
    **dict.fromkeys((".md", ".markdown", ".mdx", ".qmd", ".rmd", ""), read_markdown),
    **dict.fromkeys((".html", ".htm", ".xhtml"), read_html),
    **dict.fromkeys((".csv", ".tsv", ".tab", ".psv"), read_table),
    **{suffix: partial(read_code, suffix=suffix) for suffix in DEFINITIONS},
    **{suffix: partial(read_marked, suffix=suffix) for suffix in MARKED},
    ".ipynb": read_notebook,
    ".log": read_log,
}
JSON = {".json": False, ".jsonl": True, ".ndjson": True}  # whether each line is a value
BYTES: dict[str, Callable[[bytes], Read]] = {
    ".pdf": read_pdf,
    ".epub": read_epub,
    ".rtf": read_rtf,
    **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm"), read_docx),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx", ".potx"), read_pptx),
    **dict.fromkeys((".xlsx", ".xlsm", ".xltx"), read_xlsx),
    **dict.fromkeys((".odt", ".ott", ".odp", ".otp", ".ods", ".ots", ".odg"), read_odt),
}
LETTERS = {".eml": read_mail, ".mht": read_mail, ".mhtml": read_mail, ".mbox": read_mailbox}
ARCHIVE = "an archive: unpack it and learn its folder"
REFUSED = {
    ".doc": "an old Word file: save it as .docx",
    ".xls": "an old Excel file: save it as .xlsx",
    ".xlsb": "a binary Excel file: save it as .xlsx",
    ".ppt": "an old PowerPoint file: save it as .pptx",
    ".pages": "a Pages file: export it as Word or PDF",
    ".numbers": "a Numbers file: export it as Excel or CSV",
    ".key": "a Keynote file: export it as PowerPoint or PDF",
    ".mobi": "a Kindle book: convert it to EPUB",
    ".azw3": "a Kindle book: convert it to EPUB",
    ".msg": "an Outlook letter: save it as .eml",
    ".pst": "an Outlook mailbox: export it as .mbox",
    ".one": "a OneNote file: export it as Word or PDF",
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"), ARCHIVE),
}
DATABASE = ".sqlite3"
#: How files begin whose names do not say what they are.
BEGINNINGS = (
    (re.compile(rb"%PDF-"), ".pdf"),
    (re.compile(rb"SQLite format 3\0"), DATABASE),
    (re.compile(rb"\{\\rtf"), ".rtf"),
    (re.compile(rb"(?i)\s*<(?:!doctype html|html)\b"), ".html"),
    (re.compile(rb"#!"), ".sh"),
    (re.compile(rb"From \S+ [^\n]{10,60}\d{4}\r?\n[\w-]+:"), ".mbox"),
    (re.compile(rb"(?i)(?:Return-Path|Received|Delivered-To|MIME-Version): "), ".eml"),
)


@dataclass
class Contents:
    """What a file holds.

    Attributes:
        read: passages, and what was left out.
        exchanges: of conversations.
        encoding: as what it was read where that was guessed; else "".
    """

    read: Read
    exchanges: list[Exchange] = field(default_factory=list)
    encoding: str = ""


def read_kind(content: bytes, name: str) -> Contents:
    """Read a file's bytes as what its name says it is.

    Raises:
        UnreadableError: they are binary, damaged, or of a kind that is not read.
        MissingPackageError: they need a parser that is not installed.
        RecursionError: they are nested too deeply.
    """
    suffix = kind_of(content, name)
    if suffix in REFUSED and b"\0" in content[:SNIFFED]:
        raise UnreadableError(REFUSED[suffix])
    if suffix == DATABASE:
        return _conversations(read_database(content))
    if suffix in BYTES:
        return Contents(BYTES[suffix](content))
    if suffix in LETTERS:
        return Contents(LETTERS[suffix](content, lambda inner, name: read_kind(inner, name).read))
    found = decoded(content)
    text = DATA.sub(r"\1", found.text)
    if suffix in JSON:
        contents = _json(text, JSON[suffix])
    elif name.lower() in NAMES:
        contents = Contents(read_code(text, suffix))
    else:
        contents = Contents(TEXT.get(suffix, read_text)(text))
    contents.read.left[BASE64] += len(found.text) - len(text)
    contents.read.left[BAD] += found.bad
    contents.encoding = spoken(found.encoding) if found.guessed else ""
    return contents


def kind_of(content: bytes, name: str) -> str:
    """The end of a file's name in small letters, or one that fits how it begins."""
    suffix = PurePath(name).suffix.lower()
    if suffix in TEXT.keys() - {""} or suffix in {*BYTES, *LETTERS, *JSON}:
        return suffix
    return next((kind for begins, kind in BEGINNINGS if begins.match(content)), suffix)


def _json(text: str, lines: bool) -> Contents:
    """Conversations, and whatever else there is."""
    if EXPORTED.search(text, 0, SNIFFED):
        raise UnreadableError("an exported network: pxvm network import takes it")
    try:
        return _conversations(_values(text, lines))
    except (ValueError, RecursionError):
        return Contents(read_json(text))


def _conversations(values: list[Any]) -> Contents:
    chats = read_chats(values)
    if not chats.exchanges:
        return Contents(read_values(values))
    read = read_values(chats.rest)
    read.left += chats.left
    read.things += chats.things
    return Contents(read, chats.exchanges)


def _values(text: str, lines: bool) -> list[Any]:
    if not lines:
        try:
            whole = parse(text)
            return whole if isinstance(whole, list) else [whole]
        except ValueError:
            parse(text.strip().partition("\n")[0])  # JSON Lines under another name?
    return list(parse_lines(text))
