"""RTF to blocks."""

from __future__ import annotations

import itertools
import re

from pxvm.core.installation import library
from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import Outline, Read

#: How notes, comments, headers and footers begin, which the parser leaves out.
NOTES = re.compile(r"\{(?:\\\*)?\\(?:footnote|annotation|header[lrf]?|footer[lrf]?)(?![a-z])")


def read_rtf(content: bytes) -> Read:
    """Paragraphs and tables."""
    text = content.decode("latin-1")
    if not text.lstrip().startswith("{\\rtf"):
        raise UnreadableError("damaged: no RTF in it")
    text = NOTES.sub(r"{ ", text)
    outline = Outline()
    lines = (
        library("striprtf.striprtf", "documents").rtf_to_text(text, errors="replace").split("\n")
    )
    for is_table, part in itertools.groupby(lines, lambda line: line.rstrip().endswith("|")):
        if is_table:
            outline.table(list(part))
        else:
            for line in part:
                outline.add(line)
    read = Read(outline.close())
    read.things["picture"] += text.count("{\\pict")
    return read
