"""Files of rows to blocks: each row whole, under the names of its columns."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from pxvm.learning.sources.blocks import TARGET, WHOLE, Outline, Read, size

SIGNS = ",;\t|"  # between cells


def read_table(text: str) -> Read:
    """CSV, TSV and their like: the first row is the head, unless it is all numbers; above it may
    stand which sign is between cells, and remarks."""
    outline = Outline()
    found = rows(text)
    first = next(found, "").strip("\n")
    second = next(found, "")
    while _is_above(first, second):
        outline.add(first, row=True)
        first, second = second.strip("\n"), next(found, "")
    found = itertools.chain(filter(None, [second]), found)
    named = bool(re.search(r"[^\W\d_]", first)) and size(first) < TARGET // 2
    head = first if named else ""
    outline.rows(found if named else itertools.chain([first], found), head)
    if head and not any(block.head for block in outline.blocks):
        outline.add(head, row=True)
    return Read(outline.close())


def rows(text: str) -> Iterator[str]:
    """Rows as they stand; a quoted cell may hold line ends."""
    held: list[str] = []
    length, quotes = 0, 0
    for line in text.split("\n"):
        held.append(line)
        length += len(line)
        quotes += line.count('"')
        if quotes % 2 and length < WHOLE:
            continue
        if quotes % 2:  # no quoted cell is so long: a quote that stands for inches, say
            yield from held
        elif any(map(str.strip, held)):
            yield "\n".join(held)
        held, length, quotes = [], 0, 0
    yield from filter(str.strip, held)


def _is_above(line: str, below: str) -> bool:
    """Is it no row, but which sign is between cells, or a remark? Names of columns may begin with a
    ``#`` too: then as many cells stand below."""
    if not line.startswith("#"):
        return bool(re.fullmatch("sep=.", line))
    return not any(line.count(sign) == below.count(sign) > 0 for sign in SIGNS)
