"""A program in a record, as the picture that it is: four by four dots for each of its pixels.

The record's text has the program in font-code between fences; where that can be assembled, the
picture stands under the text. The more bits of a pixel are set, the darker it is, by ordered
dithering.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import PxvmError
from pxvm.core.fontcode import assemble

Bits = NDArray[np.uint8]

DOTS = 4
#: Pixels of the widest and highest program that is drawn, and characters of its text.
WIDEST, HIGHEST, LONGEST = 128, 256, 1 << 16
_FENCED = re.compile(r"^```pxi\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IMAGE = re.compile(r"^\.image (\d{1,4})x(\d{1,4})$", re.MULTILINE)
_ORDER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])


def program_picture(answer: str) -> Bits | None:
    """Ink of the first program in a text, packed: uint8 (rows, bytes), 1 is ink; None without one.

    A program that cannot be assembled, or is large, is left to the text.
    """
    found = _FENCED.search(answer)
    size = _IMAGE.search(found[1]) if found else None
    if found is None or size is None or len(found[1]) > LONGEST:
        return None
    if int(size[1]) > WIDEST or int(size[2]) > HIGHEST:
        return None
    try:
        image = assemble(found[1])
    except PxvmError:
        return None
    height, width = image.shape[:2]
    bits = np.unpackbits(image, axis=2).sum(axis=2, dtype=np.int64)
    tone = np.where(bits, 4 + bits * 12 // 32, 0).repeat(DOTS, 0).repeat(DOTS, 1)
    ink = tone > np.tile(_ORDER, (height, width))
    return np.packbits(np.pad(ink, 1, constant_values=True), axis=1)
