"""Pixels of regions as rectangles, and which pixels a step changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pxvm.core.machine import Step
from pxvm.core.program import Image, Program, Region, Span

BLOCK_ROWS = 256  # rows compared at a time, so that a large image needs no large mask
SMALL = 1 << 20  # pixels up to which comparing everything is cheap
Rectangle = tuple[int, int, int, int]
Positions = NDArray[np.int64]


def rectangles(spans: Iterable[Span]) -> list[Rectangle]:
    """(x0, y0, x1, y1) boxes, right and bottom exclusive, that cover the same pixels."""
    boxes: list[Rectangle] = []
    for y, start, stop in spans:
        if stop <= start:
            continue
        if boxes and boxes[-1][0] == start and boxes[-1][2] == stop and boxes[-1][3] == y:
            boxes[-1] = (start, boxes[-1][1], stop, y + 1)
        else:
            boxes.append((start, y, stop, y + 1))
    return boxes


def bounds(boxes: Iterable[Rectangle]) -> Rectangle:
    """The smallest box around boxes; (0, 0, 0, 0) around none."""
    found = list(boxes)
    if not found:
        return 0, 0, 0, 0
    left, top, right, bottom = zip(*found, strict=True)
    return min(left), min(top), max(right), max(bottom)


def words(image: Image) -> NDArray[np.uint32]:
    """The image as one 32-bit word a pixel, (height, width); a view where pixels are dense."""
    if image.strides[2] == 1 and image.strides[1] == 4:
        return image.view(np.uint32)[..., 0]
    return np.ascontiguousarray(image).view(np.uint32)[..., 0]


@dataclass(frozen=True)
class Changes:
    """Pixels that changed: ``at`` their numbers y * width + x in order, ``before`` and ``after``
    their words."""

    at: Positions
    before: NDArray[np.uint32]
    after: NDArray[np.uint32]
    width: int

    def __len__(self) -> int:
        return len(self.at)

    @property
    def xs(self) -> Positions:
        """Columns of the changed pixels."""
        return self.at % self.width

    @property
    def ys(self) -> Positions:
        """Rows of the changed pixels."""
        return self.at // self.width

    def within(self, *regions: Region) -> NDArray[np.bool_]:
        """Which of them belong to one of the regions."""
        xs, ys = self.xs, self.ys
        within = np.zeros(len(xs), bool)
        if not len(xs):
            return within
        for region in regions:
            for x0, y0, x1, y1 in rectangles(region.spans):
                first, last = np.searchsorted(ys, (y0, y1))
                part = xs[first:last]
                within[first:last] |= (x0 <= part) & (part < x1)
        return within

    def inside(self, *regions: Region) -> int:
        """How many of them belong to one of the regions."""
        return int(self.within(*regions).sum())


def merge(earlier: Changes, later: Changes) -> Changes:
    """Two changes in a row as one; pixels that end as they began drop out."""
    at = np.concatenate([earlier.at, later.at])
    before = np.concatenate([earlier.before, later.before])
    after = np.concatenate([later.after, earlier.after])
    unique, first = np.unique(at, return_index=True)
    _, last = np.unique(np.concatenate([later.at, earlier.at]), return_index=True)
    was, now = before[first], after[last]
    kept = was != now
    return Changes(unique[kept], was[kept], now[kept], earlier.width)


def no_changes(width: int) -> Changes:
    """Nothing changed."""
    none = np.zeros(0, np.uint32)
    return Changes(np.zeros(0, np.int64), none, none, width)


class Shadow:
    """A copy of an image that follows it, and tells what each step changed.

    Everything is compared, except that in a large image a step that names what it writes is
    compared there and in the code and state only.
    """

    def __init__(self, image: Image, program: Program) -> None:
        self.image = image
        self.width = image.shape[1]
        self.copy = np.array(words(image))
        self._always = [r for r in program.regions if r.role in ("code", "state")]
        self._boxes: dict[str, list[Rectangle]] = {}

    def update(self, step: Step | None = None) -> Changes:
        """Pixels that differ from the last time; from now on they count as seen."""
        live = words(self.image)
        height = len(live)
        boxes = [(0, y, self.width, min(height, y + BLOCK_ROWS))
                 for y in range(0, height, BLOCK_ROWS)]  # fmt: skip
        if step and step.writes and live.size > SMALL:
            boxes = [box for r in (*step.writes, *self._always) for box in self._of(r)]
        found = []
        for x0, y0, x1, y1 in boxes:
            ys, xs = np.nonzero(live[y0:y1, x0:x1] != self.copy[y0:y1, x0:x1])
            if len(ys):
                found.append((ys + y0) * self.width + xs + x0)
        if not found:
            return no_changes(self.width)
        at = np.unique(np.concatenate(found))
        place = (at // self.width, at % self.width)
        changes = Changes(at, self.copy[place], live[place], self.width)
        self.copy[place] = changes.after
        return changes

    def put_back(self, changes: Changes) -> None:
        """Undo changes in the image and in the copy."""
        place = (changes.ys, changes.xs)
        self.copy[place] = changes.before
        pixels = changes.before.view(np.uint8).reshape(-1, 4)
        self.image[place] = pixels

    def _of(self, region: Region) -> list[Rectangle]:
        if region.name not in self._boxes:
            self._boxes[region.name] = rectangles(region.spans)
        return self._boxes[region.name]
