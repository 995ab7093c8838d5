"""What an image says: its instructions and the regions of pixels that they name.

Viewers, the debugger, the assembler and the verifier see programs through this module only, so
they need to know nothing of a dialect's layout.
"""

from __future__ import annotations

import numpy as np

from pxvm.core.errors import ProgramError
from pxvm.core.parts import MAGIC, Image, Instruction, Program, Region, Span

__all__ = ["Image", "Instruction", "Program", "Region", "Span", "check_image", "load_program"]


def check_image(image: Image) -> None:
    """Raise ProgramError unless ``image`` is a writable uint8 array (height, width, 4)."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = getattr(image, "dtype", type(image).__name__)
        raise ProgramError(f"an image is a NumPy uint8 array; found {found}")
    if image.ndim != 3 or image.shape[2] != 4 or 0 in image.shape:
        raise ProgramError(f"an image has shape (height, width, 4); found {image.shape}")
    rows_apart = len(image) == 1 or image.strides[0] >= 4 * image.shape[1]
    if image.strides[1:] != (4, 1) or image.strides[0] % 4 or not rows_apart:
        raise ProgramError(
            f"an image's pixels lie side by side, rows whole pixels apart, the first row first;"
            f" found strides {image.strides}: pass a copy"
        )
    if image.ctypes.data % 4:
        raise ProgramError("an image begins at an address that 4 divides; pass a copy")
    if not image.flags.writeable:
        raise ProgramError("the image is read-only; pass a copy")


def load_program(image: Image) -> Program:
    """Parse the program in ``image``, whichever dialect it speaks.

    Raises ProgramError naming the instruction, what was expected and what was found.
    """
    check_image(image)
    if image[0, 0].tobytes() == MAGIC:
        from pxvm.core import dialect1  # a program of one dialect starts without the other

        return dialect1.parse(image)
    from pxvm.core import dialect0

    return dialect0.parse(image)
