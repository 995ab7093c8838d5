"""Lines to pixels: whole lines at once by gathering glyphs from the faces' bit tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pxvm.learning.typeset.characters import BREAK, CLUSTER, FILL, ROOM
from pxvm.learning.typeset.fonts import ASCENT, HEIGHT, Face, unifont
from pxvm.learning.typeset.fonts import face as face_of
from pxvm.learning.typeset.typesetting import PITCH, Line, Placing

Bits = NDArray[np.uint8]

_AT_ONCE = 512  # lines in one gather, so that a long text does not need much memory


def draw_lines(canvas: Bits, placed: Sequence[Placing], width: int) -> None:
    """Draws lines of one face as ink (1 bits) on a blank canvas.

    Args:
        canvas: uint8 (rows, bytes), packed pixels, the first in the top bit; drawn on in place.
        placed: for each line the row of its top, the byte where its text begins, the line.
        width: bytes of the text's room; no line has more cells than fit.
    """
    placed = [place for place in placed if place[2].cells]
    if not placed:
        return
    name = placed[0][2].face
    draw = _draw_columns if name == "unifont" else _draw_cells
    for first in range(0, len(placed), _AT_ONCE):
        draw(canvas, placed[first : first + _AT_ONCE], width)


def _codes(placed: Sequence[Placing], cells: int) -> NDArray[np.uint32]:
    """uint32 (lines, cells): the code points of the cells."""
    joined = "".join([line.cells.ljust(cells) for _, _, line in placed])
    if joined.isascii():
        codes = np.frombuffer(joined.encode("ascii"), np.uint8).astype(np.uint32)
    else:
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    return codes.reshape(len(placed), cells)


def pack(face: Face, glyphs: NDArray[np.integer]) -> Bits:
    """Glyph numbers (lines, cells) of a face to pixels: uint8 (lines, height, bytes).

    The number of cells must be a multiple of the face's group.
    """
    group, height = face.group, face.height
    used = group * face.width // 8
    places = glyphs.reshape(-1, group).T + (len(face.codes) + 1) * np.arange(group)[:, None]
    words = np.bitwise_or.reduce(face.shifted.take(places, axis=0), axis=0)
    octets = words.astype(">u8").view(np.uint8).reshape(len(glyphs), -1, height, 8)
    pixels = octets[..., 8 - used :].swapaxes(1, 2)
    return np.asarray(pixels.reshape(len(glyphs), height, -1))


def _draw_cells(canvas: Bits, placed: Sequence[Placing], width: int) -> None:
    """Lines of a compact face; glyphs that it lacks are taken from Unifont one by one."""
    face = face_of(placed[0][2].face)
    cells = width * 8 // face.width // face.group * face.group
    codes = _codes(placed, cells)
    pixels = pack(face, face.index[np.minimum(codes, 0xFFFF)])
    stop = pixels.shape[2]
    for (row, byte, line), text in zip(placed, pixels, strict=True):
        if line.rows > PITCH[face.name]:
            top = row + ASCENT - face.ascent
            canvas[top : top + face.height, byte : byte + stop] = text
            _overlay(canvas, row, 8 * byte, line, face)
        else:
            canvas[row : row + face.height, byte : byte + stop] = text


def _overlay(canvas: Bits, row: int, left: int, line: Line, face: Face) -> None:
    clusters = iter(line.clusters)
    rows = slice(row, row + HEIGHT)
    for cell, sign in enumerate(line.cells):
        if sign in (FILL, BREAK) or (ord(sign) < 0x10000 and face.index[ord(sign)]):
            continue
        glyph = _glyph(next(clusters) if sign == CLUSTER else sign)
        room = ROOM[face.name][len(glyph) - 1] * face.width
        x = left + cell * face.width + (room - 8 * len(glyph)) // 2
        for column in glyph:
            byte, shift = divmod(x, 8)
            canvas[rows, byte] |= column >> shift
            if shift:
                canvas[rows, byte + 1] |= column << (8 - shift)
            x += 8


@lru_cache(4096)
def _glyph(text: str) -> Bits:
    """uint8 (columns, 16): a character of Unifont, or a base with its marks drawn over it."""
    source = unifont()
    if len(text) == 1:
        return source.glyph(ord(text))
    base = text[0] if ord(text[0]) not in source.marks else " "
    parts = [(ord(c), source.glyph(ord(c))) for c in text]
    glyph = np.zeros((max(len(part) for _, part in parts), HEIGHT), np.uint8)
    pen = 8 * source.columns(ord(base))
    for code, part in parts:
        offset = source.marks.get(code, 0)
        x = max(0, pen + offset) if offset else 0
        bits = np.zeros((HEIGHT, 32), np.uint8)
        bits[:, x : x + 8 * len(part)] = np.unpackbits(np.ascontiguousarray(part.T), axis=1)
        glyph |= np.packbits(bits, axis=1).T[: len(glyph)]
    return glyph


def _draw_columns(canvas: Bits, placed: Sequence[Placing], width: int) -> None:
    """Lines of Unifont: every glyph is one or two whole columns."""
    codes = _codes(placed, width)
    follows = (codes == ord(FILL)) | (codes == ord(BREAK))
    owner = codes.copy()
    owner[:, 1:][follows[:, 1:]] = codes[:, :-1][follows[:, 1:]]
    known = owner < 0x10000
    known[known] = unifont().widths[owner[known]] > 0
    pixels = np.zeros((len(placed), width, HEIGHT), np.uint8)
    pixels[known] = unifont().gather(owner[known], follows[known].astype(np.uint8))
    for number, cell in np.argwhere(~known & ~follows).tolist():
        line = placed[number][2]
        sign = line.cells[cell]
        if sign == CLUSTER:
            sign = line.clusters[line.cells.count(CLUSTER, 0, cell)]
        glyph = _glyph(sign)
        pixels[number, cell : cell + len(glyph)] = glyph
    for (row, byte, _), text in zip(placed, pixels.swapaxes(1, 2), strict=True):
        canvas[row : row + HEIGHT, byte : byte + width] = text
