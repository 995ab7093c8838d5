"""Text as rows of an RGBA picture.

>>> render_text_to_rows("Knowledge is stored as pixels.", width=256).shape
(10, 256, 4)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pxvm.learning.typeset.rendering import WIDTH, render_text


def render_text_to_rows(text: str, width: int = WIDTH) -> NDArray[np.uint8]:
    """Draws a text, wrapped at words, in black on white.

    A network stores the same picture in 1 bit a pixel, with a header line, and the exact bytes of
    the text beside it; see `pxvm.learning.Network`.

    Args:
        text: any text; what is drawn of control characters and the like, `characters.py` states.
        width: pixels, a multiple of 8, at least 128.

    Returns:
        uint8 (rows, width, 4), RGBA, every alpha 255; no rows for an empty text.

    Raises:
        ValueError: the width cannot be drawn on.
    """
    grey = np.unpackbits(render_text(text, width), axis=1) * np.uint8(255)
    rows = np.repeat(grey[:, :, None], 4, axis=2)
    rows[:, :, 3] = 255
    return rows
