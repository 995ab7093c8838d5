"""Three bitmap faces that together draw every character of the Basic Multilingual Plane.

| face | cell | characters | from |
|---|---|---|---|
| `small` | 5 × 8 | 1,386: Latin, Greek, Cyrillic, lines, arrows, mathematics | misc-fixed 5x8 |
| `large` | 6 × 13, bold | 1,168: Latin, Greek, Cyrillic and more | misc-fixed 6x13B |
| Unifont | 8 or 16 × 16 | 57,086, and 3,550 beyond: emoji, mathematical letters | Unifont 15.0.01 |

``glyphs.npz`` (made by ``make_fonts.py``) holds them as bits. The misc-fixed fonts of X11 are in
the public domain ("Public domain font. Share and enjoy."); crosses in their full stop and colon
are squares here. GNU Unifont is under the SIL Open Font License 1.1 in ``LICENSE-unifont.txt``.

A Unifont glyph is one or two *columns* of 8 × 16 pixels; so every line of it is a line of columns.
A character that no face has is a box with its code point in six hexadecimal digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("glyphs.npz")
HEIGHT = 16  # rows of a Unifont glyph
ASCENT = 14  # of these above the baseline

# The digits 0 to F, 3 x 5 pixels, a row in each octal digit, top row first.
_DIGITS = (
    0o25552, 0o26227, 0o61247, 0o61216, 0o55711, 0o74616, 0o34652, 0o71122,
    0o25252, 0o25316, 0o25755, 0o65656, 0o34443, 0o65556, 0o74647, 0o74644,
)  # fmt: skip


@cache
def _arrays() -> Mapping[str, NDArray[np.generic]]:
    with np.load(FILE) as file:
        return {name: file[name] for name in file.files}


@dataclass(frozen=True)
class Face:
    """A face whose glyphs all have one width.

    Attributes:
        name: its name.
        width, height, ascent: pixels of a cell; rows above the baseline.
        codes: uint16 (n,), the code points it has, ascending.
        rows: uint8 (n, height), the pixels, the first in the top bit.
    """

    name: str
    width: int
    height: int
    ascent: int
    codes: NDArray[np.uint16]
    rows: NDArray[np.uint8]

    @cached_property
    def group(self) -> int:
        """Cells in the shortest run that fills whole bytes."""
        return 8 // int(np.gcd(8, self.width))

    @cached_property
    def index(self) -> NDArray[np.uint16]:
        """uint16 (65536,): number of each code point's glyph in `shifted`, 0 for none."""
        index = np.zeros(0x10000, np.uint16)
        index[self.codes] = np.arange(1, len(self.codes) + 1)
        return index

    @cached_property
    def shifted(self) -> NDArray[np.uint64]:
        """uint64 (group x (n + 1), height): the glyphs at each place of a group, glyph 0 blank.

        The group's pixels are the lowest ``group x width`` bits.
        """
        bits = np.zeros((len(self.rows) + 1, self.height), np.uint64)
        bits[1:] = self.rows >> (8 - self.width)
        shifts = self.width * np.arange(self.group - 1, -1, -1)
        return np.concatenate([bits << np.uint64(shift) for shift in shifts])


@cache
def face(name: str) -> Face:
    """The face "small" or "large"."""
    width, height, ascent = {"small": (5, 8, 7), "large": (6, 13, 11)}[name]
    arrays = _arrays()
    return Face(name, width, height, ascent, arrays[f"{name}_codes"], arrays[name])  # type: ignore[arg-type]


class Unifont:
    """The face that has everything, in columns of 8 × 16 pixels."""

    def __init__(self) -> None:
        arrays = _arrays()
        #: uint8 (65536,): columns of each code point, 1 or 2; 0 where there is no glyph.
        self.widths: NDArray[np.uint8] = arrays["widths"]  # type: ignore[assignment]
        self._columns = np.concatenate([arrays["columns"], arrays["astral"].reshape(-1, HEIGHT)])
        self._first = np.cumsum(self.widths, dtype=np.uint32) - self.widths
        start = len(arrays["columns"])
        self._astral = {int(c): start + 2 * i for i, c in enumerate(arrays["astral_codes"])}
        #: Code point of a combining mark -> pixels from the end of its base to where it is drawn.
        self.marks: dict[int, int] = dict(
            zip(arrays["marks"].tolist(), arrays["offsets"].tolist(), strict=True)
        )

    def has(self, code: int) -> bool:
        """Whether there is a glyph: without one, `glyph` draws the box with the code point."""
        return bool(self.widths[code]) if code < 0x10000 else code in self._astral

    def columns(self, code: int) -> int:
        """Columns of a character: 1 or 2."""
        return (int(self.widths[code]) if code < 0x10000 else 2) or 2

    def glyph(self, code: int) -> NDArray[np.uint8]:
        """uint8 (columns, 16): the pixels of a character, the first in the top bit."""
        if not self.has(code):
            return hexadecimal_box(code)
        first = int(self._first[code]) if code < 0x10000 else self._astral[code]
        return self._columns[first : first + self.columns(code)]

    def gather(self, codes: NDArray[np.uint32], column: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (n, 16): column 0 or 1 of many characters, all in the Basic Multilingual Plane."""
        return np.asarray(self._columns[self._first[codes] + column])


@cache
def unifont() -> Unifont:
    return Unifont()


@cache
def hexadecimal_box(code: int) -> NDArray[np.uint8]:
    """uint8 (2, 16): a framed box with a code point in six hexadecimal digits on two lines."""
    box = np.zeros((16, 16), np.uint8)
    box[:, :15] = 1
    box[1:15, 1:14] = 0
    for place, digit in enumerate(f"{code:06X}"):
        pattern = _DIGITS[int(digit, 16)]
        pixels = [[pattern >> 12 - 3 * y >> 2 - x & 1 for x in range(3)] for y in range(5)]
        top, left = 2 + 7 * (place // 3), 2 + 4 * (place % 3)
        box[top : top + 5, left : left + 3] = pixels
    return np.ascontiguousarray(np.packbits(box, axis=1).T)
