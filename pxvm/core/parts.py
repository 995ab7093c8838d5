"""The parts of a program: instructions, and the regions of pixels that they name.

The same for both dialects, which make them; ``program.load_program`` gives them to everyone else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core import isa
from pxvm.core.errors import ProgramError

Image = NDArray[np.uint8]
Span = tuple[int, int, int]

MAGIC = b"PXV1"  # the first pixel of a dialect 1 program


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
    """An image's program: see ``program.load_program``."""

    dialect: int
    instructions: tuple[Instruction, ...]
    lay_out: Callable[[], tuple[Region, ...]]

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """What the instructions name, laid out when it is first asked for: to run needs none."""
        return self.lay_out()

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
