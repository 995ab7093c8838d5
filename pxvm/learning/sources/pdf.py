"""PDF to blocks: the text of each page under the outline's headings and its page number."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import Block

if TYPE_CHECKING:
    from pypdf import PdfReader


def read_pdf(path: Path) -> list[Block]:
    """Blocks of a PDF.

    Raises:
        UnreadableError: it is damaged, wants a password, or holds no text (a scan).
    """
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what it can mend, it mends in silence
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableError("the PDF wants a password; store a copy without one")
        pages = [page.extract_text() for page in reader.pages]
        outline = headings(reader)
    except (OSError, UnreadableError):
        raise
    except Exception as error:  # a damaged file makes the parser fail in every way there is
        raise UnreadableError(f"the PDF is damaged ({type(error).__name__}: {error})") from error
    blocks: list[Block] = []
    path_now: tuple[str, ...] = ()
    for number, text in enumerate(pages):
        path_now = outline.get(number, path_now)
        where = (*path_now, f"page {number + 1}")
        blocks += [Block(part, where) for part in paragraphs(text)]
    if not blocks:
        raise UnreadableError("the PDF holds no text; a scan needs optical character recognition")
    return blocks


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a page; a word that was divided at a line's end is put together."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", text)
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
