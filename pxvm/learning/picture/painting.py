"""Colour, text and pixels of a page on a Pillow picture: the brushes of `picture.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pxvm.learning.search.words import folded, folded_by_place, terms
from pxvm.learning.typeset.characters import BREAK, FILL, clean, to_cells
from pxvm.learning.typeset.drawing import Bits, draw_lines
from pxvm.learning.typeset.rendering import Composition
from pxvm.learning.typeset.typesetting import PITCH, PLAIN, Line

Color = tuple[int, int, int]

PAPER: Color = (252, 250, 244)
MARKER: Color = (255, 226, 92)
_ENDING = re.compile(r"(?<=\w\w\w)(?:ies|es|s|ing|ed)$")
_INK: Color = (24, 26, 32)
_ZEROS = 8 - np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)
CELL = {"small": 5, "large": 6, "unifont": 8}


def text_mask(text: str, face: str = "small") -> NDArray[np.bool_]:
    """One line of text as ink: bool (rows, pixels)."""
    cells, clusters = to_cells(clean(text), face)
    tall = FILL in cells or BREAK in cells
    rows = PITCH["unifont" if tall else face]
    room = -(-len(cells) * CELL[face] // 8) // 15 * 15 + 15  # whole groups of either face
    canvas = np.zeros((rows, room), np.uint8)
    draw_lines(canvas, [(0, 0, Line(cells, clusters, face, PLAIN, rows))], room)
    return np.unpackbits(canvas, axis=1)[:, : len(cells) * CELL[face]].astype(bool)


def write(
    image: Image.Image, x: int, y: int, text: str, color: Color, face: str = "small", scale: int = 2
) -> int:
    """Writes a line of text with its top left corner at (x, y); returns where it ends."""
    mask = text_mask(text, face).repeat(scale, 0).repeat(scale, 1)
    image.paste(color, (x, y), Image.fromarray(mask.astype(np.uint8) * 255))
    return x + int(mask.shape[1])


def paper(rows: Bits, scale: int, marks: Iterable[tuple[int, int, int, int]] = ()) -> Image.Image:
    """Packed rows of a page as black on paper, enlarged; ``marks`` are boxes under a marker pen.

    Args:
        rows: uint8 (rows, bytes), 1 is white.
        scale: how many pixels wide and high each pixel becomes.
        marks: boxes (left, top, right, bottom) in pixels of the page.
    """
    white = np.unpackbits(rows, axis=1).astype(bool)
    ground = np.empty((*white.shape, 3), np.uint8)
    ground[:] = PAPER
    for left, top, right, bottom in marks:
        ground[max(top, 0) : max(bottom, 0), left:right] = MARKER
    ground[~white] = _INK
    return Image.fromarray(ground.repeat(scale, 0).repeat(scale, 1))


def find_words(page: Composition, words: Iterable[str]) -> Iterator[tuple[int, int, int, int]]:
    """The boxes (left, top, right, bottom) of words, their other forms and their compounds.

    These are all words that begin with one of ``words`` less an English ending, and the pairs of
    characters of words that are written without spaces.
    """
    gap = f"[{FILL}{BREAK}]*"
    patterns = []
    for word in words:
        for term in terms(folded(word)):
            spelled = gap.join(map(re.escape, _ENDING.sub("", term.rstrip("*"))))
            patterns.append(rf"(?<!\w){spelled}\w*" if term == folded(word) else spelled)
    if not patterns:
        return
    pattern = re.compile("|".join(patterns))
    for row, byte, line in page.lines:
        if row < page.top:
            continue
        width = CELL[line.face]
        for match in pattern.finditer(folded_by_place(line.cells)):
            left = 8 * byte + match.start() * width
            yield (
                left - 1,
                row - 1,
                left + (match.end() - match.start()) * width,
                row + line.rows - 2,
            )


def density(rows: Bits, height: int, width: int) -> NDArray[np.float32]:
    """How much ink there is in each part of a page: float32 (height, width), 0..1.

    ``width`` divides the page's bytes, or its pixels.
    """
    fine = width > rows.shape[1]
    ink, full = (1 - np.unpackbits(rows, axis=1), 1.0) if fine else (_ZEROS[rows], 8.0)
    edges = np.linspace(0, len(rows), height + 1).astype(int)
    starts = np.minimum(edges[:-1], len(rows) - 1)
    counts = np.maximum(np.diff(edges), 1)
    sums = np.add.reduceat(ink, starts, axis=0, dtype=np.uint32) / (full * counts[:, None])
    return np.asarray(sums.reshape(height, width, -1).mean(2), np.float32)


def frame(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], color: Color, line: int
) -> None:
    """A frame around a box, outside it."""
    left, top, right, bottom = box
    draw.rectangle(
        (left - line, top - line, right + line - 1, bottom + line - 1), None, color, line
    )
