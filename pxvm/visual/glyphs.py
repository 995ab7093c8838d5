"""Three bitmap fonts for printable ASCII, codes 32 to 126.

The sheets are the X11 "misc-fixed" fonts 5x8, 7x13 and 7x13 bold ("Public domain font. Share and
enjoy."), 19 glyphs on each of five lines, white on black.

>>> from pxvm.visual.glyphs import font
>>> font("small").shape
(95, 8, 5)
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FIRST = 32
COUNT = 95
PER_LINE = 19
FONTS = ("small", "normal", "bold")


@cache
def font(name: str = "small") -> NDArray[np.bool_]:
    """The glyphs of a font, read-only.

    Args:
        name: "small" (5 wide, 8 high), "normal" or "bold" (both 7 wide, 13 high).

    Returns:
        bool (95, height, width), True where there is ink; glyph 0 is the space.
    """
    from PIL import Image

    if name not in FONTS:
        raise ValueError(f"no font is called {name!r}; there are {', '.join(FONTS)}")
    with Image.open(Path(__file__).with_name(f"font-{name}.png")) as sheet:
        ink = np.asarray(sheet.convert("L")) > 127
    height, width = ink.shape[0] // (COUNT // PER_LINE), ink.shape[1] // PER_LINE
    cells = ink.reshape(-1, height, PER_LINE, width).swapaxes(1, 2)
    glyphs = np.array(cells.reshape(COUNT, height, width))
    glyphs.flags.writeable = False
    return glyphs


def text_mask(text: str, name: str = "normal", scale: int = 1) -> NDArray[np.bool_]:
    """One line of text as ink: bool (height x scale, len x width x scale).

    Characters that the font lacks are drawn as "?".
    """
    glyphs = font(name)
    codes = [ord(c) - FIRST if FIRST <= ord(c) < FIRST + COUNT else ord("?") - FIRST for c in text]
    line = glyphs[codes].swapaxes(0, 1).reshape(glyphs.shape[1], -1)
    return np.asarray(line.repeat(scale, 0).repeat(scale, 1))


def text_size(text: str, name: str = "normal", scale: int = 1) -> tuple[int, int]:
    """(width, height) in pixels of one line of text."""
    _, height, width = font(name).shape
    return len(text) * width * scale, height * scale
