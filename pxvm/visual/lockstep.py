"""Two runs side by side: the first instruction whose results differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pxvm.core.machine import Machine
from pxvm.core.program import Image, Region

Place = tuple[int, int]


@dataclass(frozen=True)
class Divergence:
    """Where two runs part.

    Attributes:
        step: steps that both made before, all with equal results.
        instructions: the instruction of each run at that step, as font-code; "" when halted.
        region, at: the first region written with a difference, and its first differing (x, y), of
            a region that stands elsewhere in the second image its start in the first; empty and
            None where the runs are at different instructions.
        pixels: the two RGBA values there.
    """

    step: int
    instructions: tuple[str, str]
    region: str = ""
    at: tuple[int, int] | None = None
    pixels: tuple[tuple[int, ...], ...] = ()

    def __str__(self) -> str:
        first, second = self.instructions
        if self.at is None:
            return f"step {self.step}: at {first or 'the end'} and at {second or 'the end'}"
        x, y = self.at
        return (
            f"step {self.step}: {first} writes {self.region} differently, first at x={x}, y={y}:"
            f" {self.pixels[0]} and {self.pixels[1]}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON document."""
        return {
            "step": self.step,
            "instructions": list(self.instructions),
            "region": self.region,
            "at": list(self.at) if self.at else None,
            "pixels": [list(pixel) for pixel in self.pixels],
        }


def first_divergence(
    image_a: Image,
    image_b: Image,
    max_steps: int = 1024,
    report: Callable[[int], object] = lambda steps: None,
) -> Divergence | None:
    """Run both programs step by step on copies; None when every step gave equal results.

    Differences that stand in the images from the start count once an instruction's result shows
    them. ``report`` is told the number of steps after each. Raises ProgramError when either program
    is refused.
    """
    a, b = Machine(image_a.copy()), Machine(image_b.copy())
    for step in range(max_steps):
        names = tuple(str(machine.next) if machine.next else "" for machine in (a, b))
        if names[0] != names[1]:
            return Divergence(step, (names[0], names[1]))
        done, other = a.step(), b.step()
        if done is None or other is None:
            return None
        for region, twin in zip_longest(done.writes, other.writes):
            # A shape that only one run could foresee: the same pixels are compared in both.
            one, two = region or twin, twin or region
            if found := _first_difference(one, two, a.image, b.image):
                pixels = tuple(
                    tuple(m.image[y, x].tolist()) for m, (x, y) in zip((a, b), found, strict=True)
                )
                return Divergence(step, (names[0], names[1]), one.name, found[0], pixels)
        report(step + 1)
    return None


def _first_difference(
    region: Region, twin: Region, a: Image, b: Image
) -> tuple[Place, Place] | None:
    """The first differing pixel in either image; of a region that has moved both starts."""
    if region.spans != twin.spans:
        (y, x, _), (other_y, other_x, _) = region.spans[0], twin.spans[0]
        return (x, y), (other_x, other_y)
    for y, start, stop in region.spans:
        unequal = (a[y, start:stop] != b[y, start:stop]).any(axis=1)
        if unequal.any():
            place = start + int(unequal.argmax()), y
            return place, place
    return None
