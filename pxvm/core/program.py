"""What an image says: its instructions and the regions of pixels that they name.

Viewers, the debugger, the assembler and the verifier see programs through this module only, so
they need to know nothing of a dialect's layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core import isa
from pxvm.core.errors import ProgramError

Image = NDArray[np.uint8]
Span = tuple[int, int, int]

MAGIC = b"PXV1"


@dataclass(frozen=True)
class Instruction:
    """One pixel of program: ``op`` with operands (G, B, A) at (x, y), the index-th in order.

    ``code`` is the R byte as it stands, which in the oldest files is not ``op.code``.
    """

    index: int
    x: int
    y: int
    code: int
    op: isa.Opcode
    operands: tuple[int, int, int]

    def __str__(self) -> str:
        name = self.op.glyph if self.code == self.op.code else str(self.code)
        used = list(self.operands)
        while used and used[-1] == 0:
            used.pop()
        return "@".join([name, *map(str, used)])

    @property
    def place(self) -> str:
        """Where it stands and what it is, for messages."""
        return f"instruction {self.index} at x={self.x}, y={self.y} ({self}, {self.op.name})"


@dataclass(frozen=True)
class Region:
    """Pixels that hold one thing.

    Attributes:
        name: how font-code calls it, such as "@4".
        role: "code", "state", "matrix", "vector", "scalar", "font", "canvas" or "tensor".
        encoding: how its elements stand in the pixels.
        shape: extents of what ``values`` gives.
        spans: (y, x_start, x_stop) runs of pixels, header included.
    """

    name: str
    role: str
    encoding: str
    shape: tuple[int, ...]
    spans: tuple[Span, ...]
    decode: Callable[[Image], NDArray[Any]]

    def values(self, image: Image) -> NDArray[Any]:
        """What the pixels mean now: an array of ``shape``, float64 or integers."""
        return self.decode(image)

    def covers(self, x: int, y: int) -> bool:
        """True when the pixel (x, y) belongs to the region."""
        return any(y == row and start <= x < stop for row, start, stop in self.spans)


@dataclass(frozen=True)
class Program:
    """An image's program: see ``load_program``."""

    dialect: int
    instructions: tuple[Instruction, ...]
    regions: tuple[Region, ...]

    def region(self, name: str) -> Region:
        """The region called ``name``. Raises ProgramError naming the known ones."""
        for region in self.regions:
            if region.name == name:
                return region
        known = ", ".join(region.name for region in self.regions)
        raise ProgramError(f"no region is called {name!r}; there are {known}")

    def region_at(self, x: int, y: int) -> Region | None:
        """The smallest region that covers the pixel (x, y), or None."""
        hits = [region for region in self.regions if region.covers(x, y)]
        return min(hits, key=lambda r: sum(b - a for _, a, b in r.spans), default=None)


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
        from pxvm.core import dialect1

        return dialect1.parse(image)
    from pxvm.core import dialect0

    return dialect0.parse(image)
