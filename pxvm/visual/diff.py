"""The first difference of two images: where it is, and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pxvm.core.program import Image, Instruction, Program, Region
from pxvm.terminal import counted
from pxvm.visual import theme
from pxvm.visual.heatmap import MOST_DECODED, shape_text
from pxvm.visual.pixels import BLOCK_ROWS, Changes, words
from pxvm.visual.view import operand_regions, program_of

if TYPE_CHECKING:
    from PIL import Image as Picture

Pixel = tuple[int, int, int, int]
Programs = tuple[Program | None, Program | None]


@dataclass
class Diff:
    """What ``diff`` found. All fields about the first difference are None where there is none.

    Attributes:
        shapes: (height, width) of both; where they differ only the common part is compared.
        count: differing pixels.
        first: (x, y) of the first one, row by row.
        pixels: its RGBA values in both.
        region: name of the smallest region that it belongs to.
        forms: shape and encoding of that region in both, where they differ; "missing" where one
            image has no region of the name.
        instruction: text of the instruction at that pixel.
        written_by: texts of the instructions that write the region.
        element: index in the region's shape of the first element that this pixel alone changes,
            or, where it changes none (a header), of the region's first element that differs.
        values: the element in both, each as its own image means it.
        regions: differing pixels of each region, as it stands in either image, that has any;
            pixels of no region under "".
    """

    shapes: tuple[tuple[int, int], tuple[int, int]]
    count: int = 0
    first: tuple[int, int] | None = None
    pixels: tuple[Pixel, Pixel] | None = None
    region: str | None = None
    forms: tuple[str, str] | None = None
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
            lines.append(
                f"{counted(self.count, 'pixel')} {'differs' if self.count == 1 else 'differ'}:"
            )
            lines += [f"  {n:>8}  {name or 'in no region'}" for name, n in self.regions.items()]
        return "\n".join(lines)

    def _meaning(self) -> list[str]:
        lines = []
        if self.instruction:
            lines.append(f"  instruction {self.instruction}")
        if self.region:
            forms = f": {self.forms[0]} and {self.forms[1]}" if self.forms else ""
            lines.append(f"  region {self.region}{forms}")
        if self.element is not None and self.values:
            index = ", ".join(map(str, self.element))
            a, b = (theme.number(value) for value in self.values)
            lines.append(f"  element [{index}]: {a} and {b}")
        if self.written_by:
            lines.append(f"  written by {', '.join(self.written_by[:4])}")
        return lines

    def picture(self, names: tuple[str, str] = ("A", "B")) -> Picture.Image:
        """Both images, called ``names``, and where they differ, near and from afar."""
        from pxvm.visual.diff_picture import draw

        if self.images is None or self.changes is None:
            raise ValueError("this Diff holds no images")
        return draw(str(self).splitlines(), self.images, self.changes, names)


def diff(image_a: Image, image_b: Image) -> Diff:
    """Compare two images pixel by pixel.

    Each image is read by its own program; images without one are compared as well.
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
    _explain(found, (program_of(image_a), program_of(image_b)), x, y)
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


def _explain(found: Diff, programs: Programs, x: int, y: int) -> None:
    """Fill in what the first difference belongs to."""
    assert found.changes is not None and found.images is not None
    known = [program for program in programs if program]
    found.regions = _counts(found.changes, known)
    for image, program in zip(found.images, programs, strict=True):
        region = program.region_at(x, y) if program else None
        if region is None or program is None:
            continue
        here = [i for i in program.instructions if (i.x, i.y) == (x, y)]
        found.instruction = _text(here[0]) if here else None
        found.region = region.name
        operands = operand_regions(image, program)
        found.written_by = tuple(
            _text(i)
            for i in program.instructions
            if any(m.writes and r.name == region.name for m, r in operands.get(i.index, []))
        )
        _compare(found, programs, region.name, x, y)
        return


def _text(instruction: Instruction) -> str:
    return f"{instruction.index} ({instruction}, {instruction.op.name})"


def _counts(changes: Changes, programs: list[Program]) -> dict[str, int]:
    """Differing pixels of each region by name, as it stands in any of the programs."""
    regions = [region for program in programs for region in program.regions]
    named: dict[str, list[Region]] = {}
    for region in regions:
        named.setdefault(region.name, []).append(region)
    counts = {name: changes.inside(*both) for name, both in named.items()}
    counts[""] = len(changes) - changes.inside(*regions)
    return {name: count for name, count in counts.items() if count}


def _named(program: Program | None, name: str) -> Region | None:
    return next((r for r in program.regions if r.name == name), None) if program else None


def _form(region: Region | None) -> str:
    """Shape and encoding in words."""
    if region is None:
        return "missing"
    return f"{shape_text(region.shape) or 'one value'} {region.encoding}"


def _compare(found: Diff, programs: Programs, name: str, x: int, y: int) -> None:
    """How the region of a name differs: in its form, or else in which element.

    The element is one that the pixel alone decides, if it decides any.
    """
    assert found.images is not None
    a, b = found.images
    one, two = (_named(program, name) for program in programs)
    if all(programs) and _form(one) != _form(two):
        found.forms = _form(one), _form(two)
    if one is None or two is None or one.shape != two.shape:
        return
    if not 0 < np.prod(one.shape, dtype=float) <= MOST_DECODED:
        return
    before, after = one.values(a), two.values(b)
    probe = np.array(a)
    probe[y, x] = b[y, x]
    alone = _named(program_of(probe), name)
    differ = after != before
    if not differ.any():
        return
    if alone is not None and alone.shape == one.shape:
        by_it = differ & (alone.values(probe) != before)
        differ = by_it if by_it.any() else differ
    index = np.unravel_index(int(differ.argmax()), before.shape)
    found.element = tuple(int(i) for i in index)
    found.values = float(before[index]), float(after[index])
