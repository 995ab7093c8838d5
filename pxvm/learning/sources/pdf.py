"""PDF to blocks: the text of each page under the outline's headings and its page number."""

from __future__ import annotations

import logging
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from pxvm.core.installation import library
from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import MARKS, Block, Read, mended, weight

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

DIVIDED = re.compile(r"(?<=[^\W\d_])[-\u2010]\n([^\W\d_])|\u00ad\n?")
#: One character for several letters, as printers set them.
LIGATURES = {number: normalize("NFKC", chr(number)) for number in range(0xFB00, 0xFB07)}
SCAN = "scanned page"  # which optical character recognition would read


def read_pdf(content: bytes) -> Read:
    """Blocks of a PDF.

    Raises:
        UnreadableError: it is damaged, wants a password, or holds no text (a scan).
    """
    pypdf = library("pypdf", "documents")
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what it can mend, it mends in silence
    read = Read()
    try:
        reader = pypdf.PdfReader(BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableError("the PDF wants a password; store a copy without one")
        outline = headings(reader)
        above: tuple[str, ...] = ()
        for number, page in enumerate(reader.pages):
            above = outline.get(number, above)
            _read_page(page, (*above, f"page {number + 1}"), read)
    except (OSError, UnreadableError):
        raise
    except Exception as error:  # a damaged file makes the parser fail in every way there is
        raise UnreadableError(f"the PDF is damaged ({type(error).__name__}: {error})") from error
    if not read.blocks:
        raise UnreadableError("the PDF holds no text; a scan needs optical character recognition")
    return read


def _read_page(page: PageObject, where: tuple[str, ...], read: Read) -> None:
    """Take a page's text, and what was written onto it."""
    text = mended(page.extract_text()).translate(LIGATURES)
    pictures = _pictures(page)
    if not text.strip():
        read.things[SCAN] += bool(pictures)
    else:
        read.things["picture"] += pictures
    whole = DIVIDED.sub(_together, text)
    read.left[MARKS] += weight(text) - weight(whole)
    read.blocks += [Block(part, where) for part in paragraphs(whole)]
    for note in page.annotations or ():
        said = note.get_object().get("/Contents") or note.get_object().get("/V")
        if isinstance(said, str) and said.strip():
            read.blocks.append(Block(mended(said).strip(), (*where, "note")))


def _together(divided: re.Match[str]) -> str:
    """A word that was divided at a line's end, put together unless it goes on with a capital."""
    after = divided[1] or ""
    return after if not after or after.islower() else divided[0]


def _pictures(page: PageObject) -> int:
    """How many pictures a page shows."""
    resources = page.get("/Resources")
    things = resources.get_object().get("/XObject") if resources else None
    found = (thing.get_object() for thing in (things.get_object() if things else {}).values())
    return sum(thing.get("/Subtype") == "/Image" for thing in found)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a page."""
    parts = (re.sub(r"[ \t]+", " ", part).strip() for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if part]


def headings(reader: PdfReader) -> dict[int, tuple[str, ...]]:
    """Page number from 0 -> the headings of the outline's last entry on that page."""
    found: dict[int, tuple[str, ...]] = {}

    def walk(entries: list[Any], path: tuple[str, ...]) -> None:
        inner = path
        for entry in entries:
            if isinstance(entry, list):
                walk(entry, inner)
                continue
            inner = (*path, " ".join(str(entry.title).split()))
            number = reader.get_destination_page_number(entry)
            if number is not None:
                found[number] = inner

    walk(list(reader.outline), ())
    return found
