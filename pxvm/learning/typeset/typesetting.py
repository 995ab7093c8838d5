"""Text to lines: wrapping at words, code kept as it is, lines set in two columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from pxvm.learning.typeset.characters import BREAK, CLUSTER, FILL, to_cells
from pxvm.learning.typeset.righttoleft import has_right_to_left, reorder, shape, starts_right

#: Rows from one line to the next; a line of the compact faces that holds a Unifont glyph is as
#: high as one of Unifont.
PITCH = {"small": 10, "large": 15, "unifont": 18}
BLANK = 5  # rows of an empty line
#: Longest lines of texts that other programs wrapped.
_WRAPPED = 130

# What stands at the left of a line, as the pixels of one byte.
PLAIN, QUESTION, CODE = 0b00000000, 0b01111000, 0b00010000

_FENCE = re.compile(r" {0,3}(```|~~~)")
_CONTINUES = re.compile(r" {0,6}(?![-*+•>|#] |\d{1,3}[.)] |[|#]|```|~~~)[^ ]")
_HANGING = re.compile(r" *(?:[-*+•] +|\d{1,3}[.)] +|> ?)?")
#: Signs that do not begin a line.
_CLOSING = frozenset("、。，．！？：；）」』】〉》〕］｝”’…ー々")


class Line(NamedTuple):
    """A line that has been set: its cells, its clusters in the order of their cells, its look."""

    cells: str
    clusters: list[str]
    face: str
    mark: int
    rows: int


Placing = tuple[int, int, Line]
"""The row of a line's top, the byte where its text begins, the line."""


def wrap(cells: str, width: int) -> list[str]:
    """Cuts cells into lines of at most ``width``: at spaces, beside wide characters, else anywhere.

    Further lines of a list item hang under its text.
    """
    if len(cells) <= width:
        return [cells]
    hanging = _HANGING.match(cells)
    indent = " " * hanging.end() if hanging and hanging.end() <= width // 3 else ""
    filled = BREAK in cells or FILL in cells
    first = len(indent)
    lines, start, room, lead = [], 0, width, ""
    while len(cells) - start > room:
        stop = cells.rfind(" ", start + first, start + room + 1)
        if filled:
            stop = max(stop, _break(cells, start, start + room))
        if stop <= start:
            stop = start + room
            while filled and cells[stop] in (FILL, BREAK) and stop > start + 1:
                stop -= 1
        lines.append(lead + cells[start:stop].rstrip(" "))
        start = stop
        while start < len(cells) and cells[start] == " ":
            start += 1
        room, lead, first = width - len(indent), indent, 0
    if start < len(cells):
        lines.append(lead + cells[start:])
    return lines


def _break(cells: str, start: int, stop: int) -> int:
    """The last place in (start, stop] beside a wide character where a line may end, or -1."""
    place = stop
    while (place := cells.rfind(BREAK, start, place)) > start:
        after = place + 1
        if cells[after] not in (BREAK, FILL) and cells[after] not in _CLOSING:
            return after
    return -1


def set_lines(text: str, face: str, mark: int, width: int) -> list[Line]:
    """Sets a cleaned text in lines of ``width`` cells of a face.

    Lines between code fences are cut only where the column ends, and stand behind a bar; they are
    left in the order in which they are written, whatever their direction.
    """
    lines: list[Line] = []
    in_code = blank = False
    fenced = "```" in text or "~~~" in text
    for paragraph in _joined(text.split("\n"), width):
        paragraph = paragraph.rstrip(" ")
        if not paragraph or paragraph.isspace():
            if in_code or not blank:
                lines.append(Line("", [], face, CODE if in_code else mark, BLANK))
            blank = True
            continue
        blank = False
        fence = fenced and _FENCE.match(paragraph) is not None
        if in_code or fence:
            cells, clusters = to_cells(paragraph, face)
            lines += as_lines(cut(cells, width), clusters, face, CODE)
        elif paragraph.isascii() or not has_right_to_left(paragraph):
            cells, clusters = to_cells(paragraph, face)
            lines += as_lines(wrap(cells, width), clusters, face, mark)
        else:
            right = starts_right(paragraph)
            cells, clusters = to_cells(shape(paragraph), face)
            for line in as_lines(wrap(cells, width), clusters, face, mark):
                cells, clusters = reorder(line.cells, line.clusters, right)
                cells = cells.rjust(width) if right else cells
                lines.append(line._replace(cells=cells, clusters=clusters))
        in_code ^= fence
    return lines


def _joined(paragraphs: list[str], width: int) -> list[str]:
    """Joins lines of which another program made a paragraph a little wider than the column.

    Otherwise every second line would hold a word or two. Such lines are recognised by each being as
    full as the longest allows; code stays as it is.
    """
    if not any(width < len(paragraph) <= _WRAPPED for paragraph in paragraphs):
        return paragraphs
    joined: list[str] = []
    group: list[str] = []
    in_code = False
    for paragraph in [*paragraphs, ""]:
        if in_code or not (group and group[0].strip() and _CONTINUES.match(paragraph)):
            longest = max(map(len, group), default=0)
            full = all(
                len(line) + 1 + len(after.split()[0]) > longest and not line.endswith("  ")
                for line, after in pairwise(group)
            )
            if width < longest <= _WRAPPED and full:
                group = [" ".join([group[0], *map(str.strip, group[1:])])]
            joined += group
            group = []
        group.append(paragraph)
        in_code ^= _FENCE.match(paragraph) is not None
    return joined


def as_lines(pieces: Iterable[str], clusters: list[str], face: str, mark: int) -> Iterator[Line]:
    """Makes lines of one paragraph's pieces, and hands out its clusters among them."""
    pitch, rest = PITCH[face], iter(clusters)
    for piece in pieces:
        if piece.isascii():
            yield Line(piece, [], face, mark, pitch)
            continue
        own = list(islice(rest, piece.count(CLUSTER))) if clusters else []
        tall = FILL in piece or BREAK in piece
        yield Line(piece, own, face, mark, PITCH["unifont"] if tall else pitch)


def cut(cells: str, width: int) -> Iterator[str]:
    """Cuts cells where the column ends, between two characters."""
    start = 0
    while len(cells) - start > width:
        stop = start + width
        while cells[stop] in (FILL, BREAK):
            stop -= 1
        yield cells[start:stop]
        start = stop
    yield cells[start:]


def in_columns(
    lines: list[Line], lefts: Sequence[int], top: int, block: int, joint: int = -1
) -> tuple[list[Placing], int]:
    """Places lines in columns of equal height.

    Args:
        lines: what to place.
        lefts: for each of one or two columns the byte where its text begins.
        top: the row where the columns begin.
        block: rows after which the columns start anew below, so that one need not scroll far back.
        joint: number of the line before which a split is best (where the answer begins), or -1.

    Returns:
        The placed lines, and the row where they end.
    """
    placed: list[Placing] = []
    start = 0
    while start < len(lines):
        stop, height = start, 0
        while stop < len(lines):
            rows = lines[stop].rows
            if height + rows > len(lefts) * block and stop > start:
                break
            height += rows
            stop += 1
        split = stop
        if len(lefts) == 2:
            split = start + _split(lines[start:stop], height, joint - start)
        bottom = top
        for left, part in zip(lefts, (lines[start:split], lines[split:stop]), strict=False):
            row = top
            for line in part:
                if line.cells or row > top:  # no empty line at the top of a column
                    placed.append((row, left, line))
                    row += line.rows
            bottom = max(bottom, row)
        top = bottom + (8 if stop < len(lines) else 0)
        start = stop
    return placed, top


def _split(lines: list[Line], height: int, joint: int) -> int:
    """How many lines stand in the left column: the more even, the better, but not at any price.

    Best is a split before line ``joint``; a few lines may stand together; code is not torn lightly,
    least of all from its fence.
    """
    best, cost, left = len(lines), height - 25, 0
    code = [line.mark == CODE for line in lines]
    for place in range(1, len(lines)):
        left += lines[place - 1].rows
        price = max(left, height - left)
        if left > cost + 20:
            break
        if place == joint:
            price -= 20
        elif code[place - 1] and code[place]:
            outside = not (all(code[place - 2 : place]) and all(code[place : place + 2]))
            price += 40 if outside or place < 2 or place + 2 > len(lines) else 25
        if price < cost:
            best, cost = place, price
    return best
