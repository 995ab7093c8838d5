"""The first difference of two images: where it is, and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pxvm.core.errors import PxvmError
from pxvm.core.program import Image, Instruction, Program, Region, load_program
from pxvm.visual import blocks, theme
from pxvm.visual.heatmap import MOST_DECODED
from pxvm.visual.pixelmap import PixelMap, map_block
from pxvm.visual.pixels import BLOCK_ROWS, Changes, rectangles, words
from pxvm.visual.view import map_dots, operand_regions

if TYPE_CHECKING:
    from PIL import Image as Picture

Pixel = tuple[int, int, int, int]
MARGIN = 24


@dataclass
class Diff:
    """What ``diff`` found. All fields about the first difference are None where there is none.

    Attributes:
        shapes: (height, width) of both; where they differ only the common part is compared.
        count: differing pixels.
        first: (x, y) of the first one, row by row.
        pixels: its RGBA values in both.
        region: name of the smallest region that it belongs to.
        instruction: text of the instruction at that pixel.
        written_by: texts of the instructions that write the region.
        element: index in the region's shape of the first element that this pixel alone changes,
            or, where it changes none (a header), of the region's first element that differs.
        values: the element in both.
        regions: differing pixels of each region that has any; pixels of no region under "".
    """

    shapes: tuple[tuple[int, int], tuple[int, int]]
    count: int = 0
    first: tuple[int, int] | None = None
    pixels: tuple[Pixel, Pixel] | None = None
    region: str | None = None
    instruction: str | None = None
    written_by: tuple[str, ...] = ()
    element: tuple[int, ...] | None = None
    values: tuple[float, float] | None = None
    regions: dict[str, int] = field(default_factory=dict)
    images: tuple[Image, Image] | None = field(default=None, repr=False)
    changes: Changes | None = field(default=None, repr=False)

    @property
    def same(self) -> bool:
        """True when sizes and all pixels are equal."""
        return not self.count and self.shapes[0] == self.shapes[1]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images, ready for JSON."""
        skip = ("images", "changes")
        found = {key: value for key, value in vars(self).items() if key not in skip}
        return {"same": self.same, **found}

    def __str__(self) -> str:
        if self.same:
            return "the images are equal"
        lines = []
        if self.shapes[0] != self.shapes[1]:
            (h, w), (other_h, other_w) = self.shapes
            lines.append(f"sizes differ: {w} x {h} and {other_w} x {other_h} pixels")
        if self.first and self.pixels:
            (x, y), (a, b) = self.first, self.pixels
            lines.append(f"first difference at x={x}, y={y}: {a} and {b}")
            lines += self._meaning()
            lines.append("1 pixel differs:" if self.count == 1 else f"{self.count} pixels differ:")
            lines += [f"  {n:>8}  {name or 'in no region'}" for name, n in self.regions.items()]
        return "\n".join(lines)

    def _meaning(self) -> list[str]:
        lines = []
        if self.instruction:
            lines.append(f"  instruction {self.instruction}")
        if self.region:
            lines.append(f"  region {self.region}")
        if self.element is not None and self.values:
            index = ", ".join(map(str, self.element))
            a, b = (theme.number(value) for value in self.values)
            lines.append(f"  element [{index}]: {a} and {b}")
        if self.written_by:
            lines.append(f"  written by {', '.join(self.written_by[:4])}")
        return lines

    def picture(self) -> Picture.Image:
        """Both images and a map of the differences, each difference marked."""
        if self.images is None or self.changes is None:
            raise ValueError("this Diff holds no images")
        parts = [
            _part(image, self.changes, name)
            for image, name in zip(self.images, ("A", "B"), strict=True)
        ]
        parts.append(_difference(self.images, self.changes))
        lines = str(self).splitlines()
        width = max(480, *(part.width for part in parts))
        head = [blocks.text(lines[0], theme.INK, "bold")]
        head += [blocks.text(blocks.clip(line, width), theme.MUTED) for line in lines[1:12]]
        return blocks.render(blocks.column([blocks.column(head, 3), *parts], 22), MARGIN)


def diff(image_a: Image, image_b: Image) -> Diff:
    """Compare two images pixel by pixel.

    Regions are those of the program in the first image (of the second where the first has none);
    images without a program are compared as well.
    """
    found = Diff((_size(image_a), _size(image_b)))
    height, width = (min(pair) for pair in zip(*found.shapes, strict=True))
    a, b = image_a[:height, :width], image_b[:height, :width]
    found.images, found.changes = (image_a, image_b), _changes(a, b)
    found.count = len(found.changes)
    if not found.count:
        return found
    x, y = int(found.changes.xs[0]), int(found.changes.ys[0])
    found.first = x, y
    one, two = (tuple(int(v) for v in image[y, x]) for image in (a, b))
    found.pixels = one, two  # type: ignore[assignment]
    image, program = _program(image_a, image_b)
    if program:
        _explain(found, image, program, x, y)
    return found


def _size(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _changes(a: Image, b: Image) -> Changes:
    left, right = words(a), words(b)
    width = left.shape[1]
    found = []
    for y in range(0, len(left), BLOCK_ROWS):
        ys, xs = np.nonzero(left[y : y + BLOCK_ROWS] != right[y : y + BLOCK_ROWS])
        found.append((ys + y) * width + xs)
    at = np.concatenate(found).astype(np.int64)
    place = (at // width, at % width)
    return Changes(at, left[place], right[place], width)


def _program(*images: Image) -> tuple[Image, Program | None]:
    for image in images:
        try:
            return image, load_program(image)
        except PxvmError:
            continue
    return images[0], None


def _explain(found: Diff, image: Image, program: Program, x: int, y: int) -> None:
    """Fill in what the first difference belongs to."""
    assert found.changes is not None and found.images is not None
    region = program.region_at(x, y)
    here = [i for i in program.instructions if (i.x, i.y) == (x, y)]
    found.instruction = _text(here[0]) if here else None
    counts = {r.name: found.changes.inside(r) for r in program.regions}
    counts[""] = found.count - _covered(found.changes, program.regions)
    found.regions = {name: count for name, count in counts.items() if count}
    if region is None:
        return
    found.region = region.name
    operands = operand_regions(image, program)
    found.written_by = tuple(
        _text(i)
        for i in program.instructions
        if any(m.writes and r.name == region.name for m, r in operands.get(i.index, []))
    )
    _element(found, region, x, y)


def _text(instruction: Instruction) -> str:
    return f"{instruction.index} ({instruction}, {instruction.op.name})"


def _covered(changes: Changes, regions: tuple[Region, ...]) -> int:
    covered = np.zeros(len(changes), bool)
    for region in regions:
        for x0, y0, x1, y1 in rectangles(region.spans):
            first, last = np.searchsorted(changes.ys, (y0, y1))
            part = changes.xs[first:last]
            covered[first:last] |= (x0 <= part) & (part < x1)
    return int(covered.sum())


def _element(found: Diff, region: Region, x: int, y: int) -> None:
    """Which element the pixel decides: change it alone, and see which value follows."""
    assert found.images is not None
    a, b = found.images
    if a.shape != b.shape or not 0 < np.prod(region.shape, dtype=float) <= MOST_DECODED:
        return
    probe = np.array(a)
    before = region.values(a)
    probe[y, x] = b[y, x]
    after = region.values(b)
    differ = np.flatnonzero((region.values(probe) != before).reshape(-1))
    if not len(differ):
        differ = np.flatnonzero((after != before).reshape(-1))
    if not len(differ):
        return
    index = np.unravel_index(int(differ[0]), before.shape)
    found.element = tuple(int(i) for i in index)
    found.values = float(before[index]), float(after[index])


def _part(image: Image, changes: Changes, name: str) -> blocks.Block:
    """One of the images, its regions outlined and the differences marked."""
    pixel_map = PixelMap(_size(image))
    title = blocks.text(f"{name}  ({pixel_map.caption})", theme.MUTED)
    try:
        program = load_program(image)
    except PxvmError:
        dots = pixel_map.dots(pixel_map.cells(image))
        pixel_map.mark(dots, changes.xs, changes.ys)
        return blocks.column([title, blocks.pixels(dots)], 10)
    dots = map_dots(pixel_map, pixel_map.cells(image), program)
    pixel_map.mark(dots, changes.xs, changes.ys)
    return blocks.column([title, map_block(pixel_map, dots, program)], 10)


def _difference(images: tuple[Image, Image], changes: Changes) -> blocks.Block:
    """How far each pixel is off in its most different channel, on a heat scale."""
    a, b = (np.ascontiguousarray(w).view(np.uint8).reshape(-1, 4).astype(int)
            for w in (changes.before, changes.after))  # fmt: skip
    height, width = (min(pair) for pair in zip(*map(_size, images), strict=True))
    pixel_map = PixelMap((height, width))
    cells = np.zeros((pixel_map.rows, pixel_map.columns))
    off = np.abs(a - b).max(axis=1) if len(changes) else np.zeros(0)
    np.maximum.at(cells, (changes.ys // pixel_map.step, changes.xs // pixel_map.step), off)
    most = int(off.max(initial=0))
    colors = theme.heat(0.4 + 0.6 * cells / max(1, most), 0.0, 1.0)
    colors[cells == 0] = theme.PANEL
    dots = np.asarray(pixel_map.enlarge(colors), np.uint8)
    title = blocks.text(f"Difference (largest in a channel: {most})", theme.MUTED)
    _, program = _program(*images)
    if program and _size(images[0]) == _size(images[1]):
        return blocks.column([title, map_block(pixel_map, dots, program)], 10)
    return blocks.column([title, blocks.pixels(dots)], 10)
