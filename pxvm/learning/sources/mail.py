"""Letters to blocks: single ones and mailboxes of many, with the time at which each was written."""

from __future__ import annotations

import email
import mimetypes
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parsedate_to_datetime

from pxvm.core.errors import MissingPackageError
from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import Outline, Read, weight
from pxvm.learning.sources.encoding import decode
from pxvm.learning.sources.html import read_html
from pxvm.learning.sources.text import read_text

HEADERS = ("From", "To", "Cc", "Bcc", "Date", "Subject")
LONGEST = 10_000  # characters of a header that are decoded
DEEPEST = 20  # letters inside letters
#: A line that begins a letter in a mailbox: a text may have one that begins like it.
BEGINS = re.compile(
    rb"(?:\A|\n\r?\n(?=From [^\n]*\d:\d\d))From [^\n]*\n(?=(?:>?From [^\n]*\n)*[!-9;-~]+:)"
)
OTHER = "other headers of letters"
#: What of several versions of a text says the same as another one.
PAGES = {"text/html", "text/x-amp-html", "text/watch-html", "text/enriched", "text/richtext"}
#: Reads the bytes of something attached, by its name.
Attached = Callable[[bytes, str], Read]


def read_mail(content: bytes, attached: Attached) -> Read:
    """Blocks of a letter, under its subject; what is attached is read as a file of its name is."""
    return _read(email.message_from_bytes(content), attached, 0)


def read_mailbox(content: bytes, attached: Attached) -> Read:
    """Blocks of all letters in a mailbox."""
    read = Read()
    for letter in letters(content):
        read.take(_read(email.message_from_bytes(letter), attached, 0))
    return read


def letters(content: bytes) -> Iterator[bytes]:
    """The letters of a mailbox."""
    found = list(BEGINS.finditer(content))
    if not found:
        yield from [content] if content.strip() else []
        return
    ends = [match.start() for match in found[1:]]
    for match, end in zip(found, [*ends, len(content)], strict=True):
        yield re.sub(rb"(?m)^>(>*From )", rb"\1", content[match.end() : end])


def _read(letter: Message, attached: Attached, depth: int) -> Read:
    read, outline = Read(), Outline()
    told = {name: said for name in HEADERS if (said := header(letter, name))}
    if told:
        read.left[OTHER] += sum(
            weight(str(value)) for name, value in letter.items() if name.title() not in HEADERS
        )
    else:  # a report on a letter, say
        told = {name: header(letter, name.title()) for name in letter}
    above = [" ".join(told.get("Subject", "").split()) or "no subject"] if told else []
    for subject in above:
        outline.heading(0, subject)
    outline.add("\n".join(f"{name}: {said}" for name, said in told.items()), whole=True)
    read.blocks += outline.close()
    for part in _parts(letter, read):
        read.take(_read_part(part, attached, depth), tuple(above))
    time = time_of(letter)
    read.blocks = [replace(block, time=block.time or time) for block in read.blocks]
    return read


def _parts(letter: Message, read: Read) -> Iterator[Message]:
    """The parts that have content; of several versions of a text the plain one, unless it only says
    that there is another. What is attached to any of them is there, too."""
    open_ = [(letter, False)]
    while open_:
        part, again = open_.pop()
        inner = _inner(part)
        if part.get_content_maintype() == "message" or not inner:
            if again and part.get_content_type() in PAGES and not _filename(part):
                read.things["HTML version"] += 1
            else:
                yield part
            continue
        plain = None
        if part.get_content_subtype() == "alternative":
            plain = next((p for p in inner if p.get_content_type() == "text/plain"), None)
        if plain and _says_more(part, plain):
            inner = [p for p in inner if p is not plain]
            read.things["plain version"] += bool(_bytes(plain).strip())
            plain = None
        open_ += [(p, p is not plain and (again or bool(plain))) for p in inner[::-1]]


def _says_more(versions: Message, plain: Message) -> bool:
    """Has a page more words that the plain version of it has not than others?"""
    pages = (p for p in versions.walk() if p.get_content_type() == "text/html")
    page = next(pages, None)
    if page is None:
        return False
    try:
        shown = read_html(_text(page))
    except MissingPackageError:  # then the plain version is what can be read
        return False
    said = re.findall(r"\w+", " ".join(block.text for block in shown.blocks))
    there = set(re.findall(r"\w+", _text(plain)))
    return 2 * sum(word in there for word in said) < len(said)


def _read_part(part: Message, attached: Attached, depth: int) -> Read:
    read, kind = Read(), part.get_content_type()
    if inner := _inner(part):
        for letter in inner:
            if depth < DEEPEST:
                read.take(_read(letter, attached, depth + 1))
            else:
                read.things["unreadable attachment"] += 1
        return read
    name, content = _filename(part), _bytes(part)
    if kind in ("text/plain", "text/html") and not name:
        return read_html(_text(part)) if kind == "text/html" else read_text(_text(part))
    name = name or f"{part.get_content_maintype()}{mimetypes.guess_extension(kind) or ''}"
    outline = Outline()
    outline.add(f"Attached: {name}")
    read.blocks += outline.blocks
    try:
        read.take(attached(content, name), (name,))
    except UnreadableError:
        read.things["unreadable attachment"] += 1
    return read


def header(letter: Message, name: str) -> str:
    """A header as it is meant, whatever it is encoded in."""
    raw = ", ".join(str(v) for k, v in letter.raw_items() if k.title() == name)
    if re.search("[\udc80-\udcff]", raw):  # bytes that no header may have
        raw = decode(raw.encode("utf-8", "surrogateescape"))
    raw = " ".join(raw.split())
    try:
        return str(make_header(decode_header(raw))) if len(raw) <= LONGEST else raw
    except (LookupError, ValueError):
        return raw


def time_of(letter: Message) -> datetime | None:
    """When a letter was written; UTC where it names no zone."""
    try:
        time = parsedate_to_datetime(header(letter, "Date")[:100])
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _inner(part: Message) -> list[Message]:
    inner = part.get_payload()
    return [p for p in inner if isinstance(p, Message)] if isinstance(inner, list) else []


def _filename(part: Message) -> str:
    try:
        return " ".join((part.get_filename() or "").split())
    except (LookupError, ValueError):
        return "attachment"


def _bytes(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _text(part: Message) -> str:
    return decode(_bytes(part), part.get_content_charset() or "")
