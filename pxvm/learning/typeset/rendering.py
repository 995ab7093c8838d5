"""A record as a picture that people read: 1-bit rows, black on white.

From top to bottom: a rule; a thin line with the record's number (in a black tab), dates, kind,
source and tags; then the question, larger and behind a bar, and the answer, flowing through two
columns of equal height. Code stands behind a thin line, as it was written; under a record of kind
``program`` stands its program as a picture.

The picture is for eyes; the exact text is in the record's data rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from pxvm.learning.typeset.characters import clean, face_for, to_cells
from pxvm.learning.typeset.drawing import Bits, draw_lines
from pxvm.learning.typeset.programs import program_picture
from pxvm.learning.typeset.typesetting import (
    PLAIN,
    QUESTION,
    Line,
    Placing,
    as_lines,
    cut,
    in_columns,
    set_lines,
)  # fmt: skip

WIDTH = 1024
#: Pixels of width from which on the text is set in two columns.
TWO_COLUMNS = 640
BLOCK = 720  # rows after which the columns start anew
#: Most rows of one record's text; what does not fit is left out, and the header line says so.
MAX_ROWS = 800_000

_RULE = 2  # rows of the rule and the white under it
_DIGITS = 7  # of a record's number
_GAP = 2  # rows under the header line
_BOTTOM = 6
_MARGIN = 2  # bytes left of the text, the second for the mark
_LARGE = 240  # characters up to which a question is set in the large face
_SEPARATION = 3  # rows between question and answer


class Readable(Protocol):
    """What is drawn of a record."""

    @property
    def sequence(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def source(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def record_time(self) -> datetime: ...
    @property
    def event_time(self) -> datetime | None: ...


@dataclass(frozen=True)
class Composition:
    """A record's lines and their places, before anything is drawn.

    Attributes:
        rows: rows in all.
        top: rows of rule and header line.
        room: bytes of a line's text.
        lines: for each line the row of its top, the byte where its text begins, the line.
        picture: ink that stands under the lines.
    """

    rows: int
    top: int
    room: int
    lines: list[Placing]
    picture: Bits | None = None


def render_record(record: Readable, width: int = WIDTH) -> Bits:
    """Draws a record.

    Args:
        record: what to draw.
        width: pixels, a multiple of 8, at least 128.

    Returns:
        uint8 (rows, width / 8), packed pixels, the first in the top bit; 1 is white.

    Raises:
        ValueError: the width cannot be drawn on.
    """
    page = compose(record, width)
    canvas = np.zeros((page.rows, width // 8), np.uint8)
    if page.picture is not None:
        bottom, right = page.rows - _BOTTOM, _MARGIN + page.picture.shape[1]
        canvas[bottom - len(page.picture) : bottom, _MARGIN:right] = page.picture
    _draw(canvas, page.lines, page.room)
    canvas[0] = 0xFF
    tab = 8 + 5 * len(f"{record.sequence:>{_DIGITS}} ")
    canvas[1 : page.top - _GAP - 1, : -(-tab // 8)] ^= 0xFF
    return ~canvas


def compose(record: Readable, width: int = WIDTH) -> Composition:
    """Sets a record in lines without drawing it; see `render_record`."""
    lefts, room = _geometry(width)
    lines: list[Line] = []
    joint = -1
    if record.query:
        lines += _set(record.query, QUESTION, room)
        if record.answer:
            lines.append(Line("", [], "large", PLAIN, _SEPARATION))
        joint = len(lines)
    if record.answer:
        lines += _set(record.answer, PLAIN, room)
    omitted = _limit(lines, len(lefts))
    header = _header(record, omitted, len(lefts), room)
    top = _RULE + header[0].rows + _GAP
    placed, bottom = in_columns(lines, lefts, top, BLOCK, joint)
    length = _cells("small", room) * 5 // 8
    above = [(_RULE, 1 + number * length, piece) for number, piece in enumerate(header)]
    picture = program_picture(record.answer) if record.kind == "program" else None
    if picture is None or picture.shape[1] > width // 8 - _MARGIN:
        return Composition(bottom + _BOTTOM, top, room, above + placed)
    rows = bottom + len(picture) + 2 * _BOTTOM
    return Composition(rows, top, room, above + placed, picture)


def render_text(text: str, width: int = WIDTH) -> Bits:
    """Draws a text without a header in one column; see `render_record`."""
    _geometry(width)
    room = width // 8 - 2 * _MARGIN
    lines = _set(text, PLAIN, room)
    _limit(lines, 1)
    placed, rows = in_columns(lines, [_MARGIN], 0, MAX_ROWS)
    canvas = np.zeros((rows, width // 8), np.uint8)
    _draw(canvas, placed, room)
    return ~canvas


def _geometry(width: int) -> tuple[list[int], int]:
    """(bytes where the columns' text begins, bytes of text in one)."""
    if width % 8 or width < 128:
        raise ValueError(f"width {width}: expected a multiple of 8, at least 128")
    columns = 2 if width >= TWO_COLUMNS else 1
    column = width // 8 // columns
    return [number * column + _MARGIN for number in range(columns)], column - 2 * _MARGIN


def _set(text: str, mark: int, room: int) -> list[Line]:
    text = clean(text.replace("\r\n", "\n")).lstrip("\n").rstrip(" \t\n")
    face = face_for(text)
    if face == "small" and mark == QUESTION and len(text) <= _LARGE:
        face = "large"
    return set_lines(text, face, mark, _cells(face, room))


def _cells(face: str, room: int) -> int:
    """Cells of a face in a room of so many bytes, in whole groups."""
    return {"small": room // 5 * 8, "large": room // 3 * 4, "unifont": room}[face]


def _limit(lines: list[Line], columns: int) -> int:
    """Takes away the lines that are too many to be drawn, and returns how many."""
    height = 0
    for number, line in enumerate(lines):
        height += line.rows
        if height > columns * MAX_ROWS:
            omitted = len(lines) - number
            del lines[number:]
            return omitted
    return 0


def _draw(canvas: Bits, drawn: list[Placing], room: int) -> None:
    """Draws lines, each with the row of its top and the byte where its text begins."""
    by_face: dict[str, list[Placing]] = {}
    for place in drawn:
        by_face.setdefault(place[2].face, []).append(place)
    for chosen in by_face.values():
        draw_lines(canvas, chosen, room)
    for row, byte, line in drawn:
        if line.mark:
            canvas[row : row + line.rows, byte - 1] = line.mark


def _header(record: Readable, omitted: int, columns: int, room: int) -> list[Line]:
    """The line above a record, in pieces of ``room`` bytes: number, times, kind, source; tags."""
    parts = [f"{record.sequence:>{_DIGITS}} ", f"{record.record_time:%Y-%m-%d %H:%M}", record.kind]
    if record.event_time is not None:
        parts.insert(2, f"of {record.event_time:%Y-%m-%d}")
    parts += [part for part in (record.source, record.model) if part]
    if omitted:
        parts.append(f"({omitted} lines not drawn)")
    left, clusters = to_cells(clean("   ".join(parts).replace("\n", " ")), "small")
    tags = " ".join(["#" + tag for tag in record.tags])
    right, more = to_cells(clean(tags.replace("\n", " ")), "small")
    cells = _cells("small", room)
    line = left + "   " + right.rjust(columns * cells - len(left) - 3)
    pieces = list(as_lines(cut(line, cells), clusters + more, "small", PLAIN))[:columns]
    rows = max(piece.rows for piece in pieces)
    return [piece._replace(rows=rows) for piece in pieces]
