"""A record as a picture that people read: 1-bit rows, black on white.

From top to bottom: a rule; a thin line with the record's number (in a black tab), dates, kind,
source and tags; then the question, larger and behind a bar, and the answer, flowing through two
columns of equal height. Code stands behind a thin line, as it was written.

The picture is for eyes; the exact text is in the record's data rows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import numpy as np

from pxvm.learning.characters import clean, face_for, to_cells
from pxvm.learning.drawing import Bits, draw_lines
from pxvm.learning.typesetting import (
    PITCH,
    PLAIN,
    QUESTION,
    Line,
    Placed,
    in_columns,
    set_lines,
)  # fmt: skip

WIDTH = 1024
#: Pixels of width from which on the text is set in two columns.
TWO_COLUMNS = 640
BLOCK = 720  # rows after which the columns start anew
#: Most rows of one record's picture; what does not fit is said to be left out.
MAX_ROWS = 60_000

_TOP = 13  # rows of rule and header line
_BOTTOM = 6
_MARGIN = 2  # bytes left of the text, the second for the mark
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
    columns, room = _geometry(width)
    lines: list[Line] = []
    joint = -1
    if record.query:
        lines += _set(record.query, QUESTION, room)
        if record.answer:
            lines.append(Line("", [], "large", PLAIN, _SEPARATION))
        joint = len(lines)
    if record.answer:
        lines += _set(record.answer, PLAIN, room)
    lines, omitted = _limit(lines, columns)
    placed, rows = in_columns(lines, columns, BLOCK, joint)
    canvas = np.zeros((_TOP + rows + _BOTTOM, width // 8), np.uint8)
    _draw_header(canvas, record, omitted)
    _draw(canvas, placed, _TOP, room, width // 8 // columns)
    return ~canvas


def render_text(text: str, width: int = WIDTH) -> Bits:
    """Draws a text without a header in one column; see `render_record`."""
    _geometry(width)
    room = width // 8 - _MARGIN
    lines, _ = _limit(_set(text, PLAIN, room), 1)
    placed, rows = in_columns(lines, 1, MAX_ROWS)
    canvas = np.zeros((rows, width // 8), np.uint8)
    _draw(canvas, placed, 0, room, width // 8)
    return ~canvas


def _geometry(width: int) -> tuple[int, int]:
    """(columns, bytes of text in one)."""
    if width % 8 or width < 128:
        raise ValueError(f"width {width}: expected a multiple of 8, at least 128")
    columns = 2 if width >= TWO_COLUMNS else 1
    return columns, width // 8 // columns - 2 * _MARGIN


def _set(text: str, mark: int, room: int) -> list[Line]:
    face = face_for(clean(text))
    if face == "small" and mark == QUESTION:
        face = "large"
    return list(set_lines(text, face, mark, _cells(face, room)))


def _cells(face: str, room: int) -> int:
    """Cells of a face in a room of so many bytes, in whole groups."""
    return {"small": room // 5 * 8, "large": room // 3 * 4, "unifont": room}[face]


def _limit(lines: list[Line], columns: int) -> tuple[list[Line], int]:
    """The lines that may be drawn, and how many were left out."""
    height = 0
    for number, line in enumerate(lines):
        height += line.rows
        if height > columns * (MAX_ROWS - 1000):
            return lines[:number], len(lines) - number
    return lines, 0


def _draw(canvas: Bits, placed: list[Placed], top: int, room: int, column: int) -> None:
    for face in ("small", "large", "unifont"):
        chosen = [p for p in placed if p.line.face == face]
        places = [(top + p.row, p.column * column + _MARGIN) for p in chosen]
        draw_lines(canvas, places, [p.line for p in chosen], room)
    for row, number, line in placed:
        if line.mark:
            canvas[top + row : top + row + line.rows, number * column + 1] = line.mark


def _draw_header(canvas: Bits, record: Readable, omitted: int) -> None:
    """The rule and the line under it: the number in a black tab, the rest plain."""
    number = f"{record.sequence:>6} "
    parts = [f"{record.record_time:%Y-%m-%d %H:%M}", record.kind]
    if record.event_time is not None:
        parts.insert(1, f"of {record.event_time:%Y-%m-%d}")
    parts += [part for part in (record.source, record.model) if part]
    if record.tags:
        parts.append(" ".join("#" + tag for tag in record.tags))
    if omitted:
        parts.append(f"[{omitted} lines not drawn]")
    room = canvas.shape[1] - 2
    limit = _cells("small", room)
    text = number + "  " + " · ".join(parts)
    cells, clusters = to_cells(clean(text.replace("\n", " ")), "small")
    canvas[0] = 0xFF
    draw_lines(
        canvas, [(2, 1)], [Line(cells[:limit], clusters, "small", PLAIN, PITCH["small"])], room
    )
    canvas[1:10, : 1 + len(number) * 5 // 8] ^= 0xFF
