"""Old networks that are only pictures of text: their text by exact glyph lookup.

Such a file has no exact data beside the picture. A cell of it is read when its pixels are those of
a glyph of a known face, all of them, and left as U+FFFD when they are not; each line says how much
of it is certain. Known are Pillow's built-in bitmap font (6 x 11 pixels, what it drew with before
it had a scalable default, whose blurred letters cannot be looked up) and our own faces, dark on
light or light on dark.

Several characters may share a glyph (Latin, Greek and Cyrillic A). The letters of the word decide,
or where it has none of its own those of the line; a choice is uncertain where they speak for
several scripts, or for none while the picture has others. Among other signs the one in ASCII is
taken. Right-to-left text comes in the order it is seen, marks over letters are not read, and
spaces at the ends of a line leave no trace.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError
from pxvm.learning.typeset.characters import ROOM
from pxvm.learning.typeset.fonts import ASCENT, HEIGHT, unifont
from pxvm.learning.typeset.fonts import face as face_of

UNKNOWN = "\ufffd"
MAX_PIXELS = 1 << 31
_ENOUGH = 8  # characters that cannot all fit by chance
_MISSES = 20  # lines at the top without any known face after which the search is given up

Ink = NDArray[np.bool_]


@dataclass(frozen=True)
class ReadLine:
    """A line of text that was read from a picture.

    Attributes:
        row: of the line's top in the picture.
        text: what it says; U+FFFD for each cell that no glyph fits.
        certain: share of the visible characters that are certain, 0 to 1.
        doubtful: places in ``text`` of those that are not.
        face: the face it is set in, "" when no face fits.
    """

    row: int
    text: str
    certain: float
    doubtful: tuple[int, ...]
    face: str


@dataclass(frozen=True, eq=False)
class Grid:
    """A way in which text may have been set: cells, and what their pixels mean.

    Attributes:
        face: name of the face.
        width, height: pixels of a cell.
        tables: (cells spanned, packed pixels -> characters), those to try first in front.
        shared: columns at the right of a cell where the next glyph may have ink as well.
    """

    face: str
    width: int
    height: int
    tables: list[tuple[int, dict[bytes, str]]]
    shared: int = 0


def read_picture(path: str | Path) -> list[ReadLine]:
    """The lines of text in a picture, from top to bottom.

    Raises:
        FormatError: the file is no picture that can be read.
    """
    found = list(_find_lines(_ink(Path(path))))
    lines = [cells for _, cells, _ in found]
    scripts = _deciding(cells for line in lines for cells in line)
    margin = min((_indent(line) for line in lines), default=0)
    return [_decide(line[margin:], row, face, scripts) for row, line, face in found]


def passages(lines: Iterable[ReadLine]) -> Iterator[tuple[str, float]]:
    """Lines that stand close together as one text, with the share that is certain."""
    group: list[ReadLine] = []
    pitch = 0
    for line in lines:
        if group:
            step = line.row - group[-1].row
            if pitch and step > 1.3 * pitch:
                yield _joined(group)
                group, pitch = [], 0
            else:
                pitch = step
        group.append(line)
    if group:
        yield _joined(group)


def _joined(group: list[ReadLine]) -> tuple[str, float]:
    visible = [sum(not c.isspace() for c in line.text) for line in group]
    certain = sum(line.certain * count for line, count in zip(group, visible, strict=True))
    return "\n".join(line.text for line in group), certain / max(sum(visible), 1)


def _ink(path: Path) -> Ink:
    """The picture as bool (rows, columns): True where it is not of the commoner brightness."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise FormatError(
                        f"{path}: {picture.width} x {picture.height} pixels are too many"
                    )
                grey = np.asarray(picture.convert("RGB").convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path} is no readable picture: {error}") from None
    light: Ink = grey > 127
    return ~light if light.mean() > 0.5 else light


def _find_lines(ink: Ink) -> Iterator[tuple[int, list[str], str]]:
    """(row of its top, what each cell may be, face) of each line."""
    filled = np.asarray(ink.any(axis=1))
    known: tuple[Grid, int] | None = None  # the way in which the line before was set
    row = misses = 0
    while row < len(ink):
        if not filled[row]:
            row += 1
            continue
        found = _best(ink, row, known) if known or misses < _MISSES else None
        if found is None:
            top, misses = row, misses + 1
            while row < len(ink) and filled[row]:
                row += 1
            yield top, [UNKNOWN], ""
            continue
        grid, phase, top, cells = found
        known = grid, phase
        if grid.shared:
            cells = _verified(ink, top, phase, cells)
        yield top, cells, grid.face
        row = max(top + grid.height, row + 1)


def _best(
    ink: Ink, row: int, known: tuple[Grid, int] | None
) -> tuple[Grid, int, int, list[str]] | None:
    """The setting that explains most of the line whose first ink is in ``row``."""
    best, most = None, 0.0
    for grid, phase in _settings(known):
        if phase >= ink.shape[1]:
            continue
        for top in range(row, row - grid.height, -1):
            if top < 0 or (top and ink[max(0, top) : row].any()):
                continue
            cells, share = _cells(ink, grid, top, phase)
            if ink[top + grid.height - 1 : top + grid.height + 1].any(axis=1).sum() == 2:
                share *= 0.6  # the box cuts through ink
            seen = sum(c != " " for c in cells)
            # A larger cell says more: between equals it is the better reading.
            score = share + 1e-6 * grid.width * grid.height
            if score > most:
                best, most = (grid, phase, top, cells), score
            if share == 1 and (known == (grid, phase) or seen >= _ENOUGH):
                return grid, phase, top, cells
    return best if most > 0.5 else None


def _settings(known: tuple[Grid, int] | None) -> Iterator[tuple[Grid, int]]:
    if known:
        yield known
    for name in ("pillow", "small", "large", "small with unifont", "unifont"):
        grid = _grid(name)
        for phase in range(grid.width):
            yield grid, phase


def _cells(ink: Ink, grid: Grid, top: int, phase: int) -> tuple[list[str], float]:
    """What stands in the cells of a line: the characters that each may be, " ", or U+FFFD.

    And the share of the ink that this explains.
    """
    box = np.zeros((grid.height, -(-(ink.shape[1] - phase) // grid.width) * grid.width), bool)
    part = ink[top : top + grid.height, phase:]
    box[: part.shape[0], : part.shape[1]] = part
    cells = box.reshape(grid.height, -1, grid.width).swapaxes(0, 1)
    cells = cells[:, :, : grid.width - grid.shared]
    amount = cells.sum(axis=(1, 2))
    empty = amount == 0
    last = len(empty) - int(np.argmin(empty[::-1])) if not empty.all() else 0
    keys = [
        _keys(np.concatenate([cells[i : len(cells) - span + 1 + i] for i in range(span)], axis=2))
        for span, _ in grid.tables
    ]
    found: list[str] = []
    cell = explained = 0
    while cell < last:
        for (span, table), own in zip(grid.tables, keys, strict=True):
            if cell < len(own) and (characters := table.get(own[cell])):
                found.append(characters)
                explained += int(amount[cell : cell + span].sum())
                cell += span
                break
        else:
            found.append(" " if empty[cell] else UNKNOWN)
            cell += 1
    return found, explained / max(int(amount.sum()), 1)


def _keys(boxes: Ink) -> list[bytes]:
    packed = np.packbits(boxes.reshape(len(boxes), -1), axis=1)
    return [key.tobytes() for key in packed]


def _verified(ink: Ink, top: int, phase: int, cells: list[str]) -> list[str]:
    """The cells of a line in Pillow's font, those unknown that look different when drawn again."""
    from PIL import ImageFont

    start = _indent(cells)
    text = "".join(c[0] if c != UNKNOWN else "?" for c in cells[start:])
    mask = ImageFont.load_default_imagefont().getmask(text, mode="1")
    drawn = np.array(mask, bool).reshape(mask.size[::-1])
    left = phase + 6 * start
    seen = ink[top : top + len(drawn), left : left + drawn.shape[1]]
    same = drawn[: seen.shape[0], : seen.shape[1]] == seen
    return cells[:start] + [
        c if same[:, 6 * i : 6 * i + 6].all() else UNKNOWN for i, c in enumerate(cells[start:])
    ]


def _indent(cells: list[str]) -> int:
    return next((i for i, c in enumerate(cells) if c != " "), len(cells))


def _deciding(cells: Iterable[str]) -> Counter[str]:
    """How many characters of each script have a look of their own."""
    return Counter(s for c in cells if len(c) == 1 and (s := _script(c)))


def _decide(cells: list[str], row: int, face: str, present: Counter[str]) -> ReadLine:
    """Decides between characters of one look by the scripts of the others in the word."""
    text, doubtful = "", []
    line = _deciding(cells)
    for _, run in groupby(cells, lambda c: c == " "):
        word = list(run)
        scripts = _deciding(word) or line
        for characters in word:
            ranked = sorted(characters, key=lambda c: (-scripts[_script(c)], ord(c)))
            best, *others = map(_script, ranked)
            torn = best != "" and any(
                scripts[other] or (present[other] and not scripts[best])
                for other in others
                if other != best
            )
            twins = best in others and not ranked[0].isascii()
            if characters == UNKNOWN or torn or twins:
                doubtful.append(len(text))
            text += ranked[0]
    visible = sum(c != " " for c in text)
    return ReadLine(row, text, 1 - len(doubtful) / max(visible, 1), tuple(doubtful), face)


def _script(character: str) -> str:
    """The first word of a letter's name: "LATIN", "GREEK", "CJK"; "" for what is no letter."""
    return unicodedata.name(character, "").split(" ")[0] if character.isalpha() else ""


@cache
def _grid(name: str) -> Grid:
    if name == "pillow":
        return Grid(name, 6, 11, [(1, _table(_pillow_glyphs()))], shared=1)
    if name in ("small", "large"):
        face = face_of(name)
        return Grid(name, face.width, face.height, [(1, _table(_face_glyphs(name)))])
    if name == "unifont":
        tables = [(2, _table(_unifont_glyphs(2), 16, HEIGHT, 0, 0)),
                  (1, _table(_unifont_glyphs(1), 8, HEIGHT, 0, 0))]  # fmt: skip
        return Grid(name, 8, HEIGHT, tables)
    face = face_of("small")
    narrow, wide = ROOM["small"]
    own = set(map(chr, face.codes.tolist()))
    tables = []
    for columns, span in ((2, wide), (1, narrow)):
        glyphs = ((c, g) for c, g in _unifont_glyphs(columns) if c not in own)
        room = span * face.width
        tables.append((span, _table(glyphs, room, HEIGHT, (room - 8 * columns) // 2, 0)))
    low = ASCENT - face.ascent
    tables.append((1, _table(_face_glyphs("small"), face.width, HEIGHT, 0, low)))
    return Grid("small", face.width, HEIGHT, tables)


def _table(
    glyphs: Iterable[tuple[str, Ink]], width: int = 0, height: int = 0, left: int = 0, top: int = 0
) -> dict[bytes, str]:
    """Packed pixels of a cell -> the characters that look like this, without blank ones."""
    table: dict[bytes, str] = {}
    for character, glyph in glyphs:
        box = np.zeros((height or glyph.shape[0], width or glyph.shape[1]), bool)
        box[top : top + glyph.shape[0], left : left + glyph.shape[1]] = glyph
        if glyph.any() and unicodedata.is_normalized("NFC", character):
            key = np.packbits(box).tobytes()
            table[key] = table.get(key, "") + character
    return table


def _face_glyphs(name: str) -> Iterator[tuple[str, Ink]]:
    face = face_of(name)
    bits = np.unpackbits(face.rows[..., None], axis=2)[..., : face.width].astype(bool)
    return zip(map(chr, face.codes.tolist()), bits, strict=True)


def _unifont_glyphs(columns: int) -> Iterator[tuple[str, Ink]]:
    font = unifont()
    for code in np.flatnonzero(font.widths == columns).tolist():
        yield chr(code), np.unpackbits(font.glyph(code).T.copy(), axis=1).astype(bool)


def _pillow_glyphs() -> Iterator[tuple[str, Ink]]:
    """The five columns of each glyph that no neighbour can have ink in."""
    from PIL import ImageFont

    font = ImageFont.load_default_imagefont()
    for code in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)):
        mask = font.getmask(chr(code), mode="1")
        yield chr(code), np.array(mask, bool).reshape(mask.size[::-1])[:, :5]
