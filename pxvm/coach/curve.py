"""How the coach got on, as a picture: what each attempt cost, and how many of the last were solved.

Above, a dot for each attempt at the candidates that it took, in the colour of the proposer that
found the program; below, the share of the last ``WINDOW`` attempts that were solved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from PIL import Image, ImageDraw

from pxvm.coach.memory import SOLVED
from pxvm.learning.picture.painting import write

WINDOW = 20
GROUND, INK, MUTED, LINE = (252, 250, 244), (24, 26, 32), (120, 118, 110), (222, 218, 206)
COLORS = {
    "recall": (106, 90, 205), "phrases": (40, 150, 150), "glance": (70, 150, 220),
    "retrieval": (230, 140, 40), "search": (60, 160, 90), "model": (200, 70, 120),
    "taught": (150, 120, 90),
}  # fmt: skip
UNSOLVED_COLOR, PLAIN = (190, 60, 50), (176, 172, 162)
SIZE, BOXES = (1200, 760), ((110, 100, 1160, 400), (110, 490, 1160, 690))


class Tried(Protocol):
    """What is drawn of an attempt."""

    @property
    def outcome(self) -> str: ...
    @property
    def by(self) -> str: ...
    @property
    def candidates(self) -> int: ...


def draw_curve(attempts: Sequence[Tried], beside: Sequence[Tried] = ()) -> Image.Image:
    """The attempts in their order: an RGB picture of 1200 x 760 pixels.

    Args:
        beside: the same tasks, tried without memory; drawn in grey.
    """
    image = Image.new("RGB", SIZE, GROUND)
    counted = [e for e in attempts if e.by != "taught"]
    solved = sum(e.outcome == SOLVED for e in counted)
    title = f"the coach: {solved} of {len(counted)} tasks solved"
    if beside:
        title += f", {sum(e.outcome == SOLVED for e in beside)} without memory"
    write(image, 40, 24, title, INK, "large")
    most = max([e.candidates for e in [*counted, *beside]], default=1)
    top = max(1, math.ceil(math.log10(max(most, 10))))
    marks = [(power / top, f"{10**power:,}") for power in range(top + 1)]
    _axis(image, BOXES[0], "candidates of each task", marks)
    _costs(image, BOXES[0], beside, top, plain=True)
    _costs(image, BOXES[0], counted, top)
    _legend(image, BOXES[0], counted, beside)
    marks = [(part / 4, f"{25 * part}%") for part in range(5)]
    _axis(image, BOXES[1], f"solved of the last {WINDOW} tasks", marks)
    _share(image, BOXES[1], beside, PLAIN)
    _share(image, BOXES[1], counted, COLORS["search"])
    left, _, _, bottom = BOXES[1]
    write(image, left, bottom + 16, f"{len(counted)} attempts, the first at the left", MUTED)
    return image


Box = tuple[int, int, int, int]


def _axis(image: Image.Image, box: Box, title: str, marks: Sequence[tuple[float, str]]) -> None:
    """A chart's lines; ``marks`` are (height from 0 to 1, label)."""
    left, top, right, bottom = box
    write(image, left, top - 32, title, INK)
    for height, label in marks:
        y = round(bottom - height * (bottom - top))
        ImageDraw.Draw(image).line((left, y, right, y), LINE)
        write(image, left - 12 - 10 * len(label), y - 8, label, MUTED)


def _along(box: Box, number: int, count: int) -> int:
    left, _, right, _ = box
    return round(left + 8 + (right - left - 16) * number / max(1, count - 1))


def _costs(
    image: Image.Image, box: Box, attempts: Sequence[Tried], top: int, plain: bool = False
) -> None:
    draw = ImageDraw.Draw(image)
    for number, e in enumerate(attempts):
        x = _along(box, number, len(attempts))
        height = math.log10(max(e.candidates, 1)) / top
        y = round(box[3] - height * (box[3] - box[1]))
        if e.outcome == SOLVED:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), PLAIN if plain else COLORS.get(e.by, INK))
        else:
            color = PLAIN if plain else UNSOLVED_COLOR
            draw.line((x - 4, y - 4, x + 4, y + 4), color, 2)
            draw.line((x - 4, y + 4, x + 4, y - 4), color, 2)


def _legend(
    image: Image.Image, box: Box, attempts: Sequence[Tried], beside: Sequence[Tried]
) -> None:
    used = {e.by for e in attempts if e.outcome == SOLVED}
    named = [(name, color) for name, color in COLORS.items() if name in used]
    if any(e.outcome != SOLVED for e in attempts):
        named.append(("a cross: not solved", UNSOLVED_COLOR))
    if beside:
        named.append(("without memory", PLAIN))
    x = box[0]
    for name, color in named:
        ImageDraw.Draw(image).rectangle((x, box[3] + 16, x + 10, box[3] + 26), color)
        x = write(image, x + 16, box[3] + 12, name, MUTED) + 24


def _share(
    image: Image.Image, box: Box, attempts: Sequence[Tried], color: tuple[int, int, int]
) -> None:
    points = []
    for number in range(len(attempts)):
        last = attempts[max(0, number + 1 - WINDOW) : number + 1]
        share = sum(e.outcome == SOLVED for e in last) / len(last)
        y = round(box[3] - share * (box[3] - box[1]))
        points.append((_along(box, number, len(attempts)), y))
    if len(points) > 1:
        ImageDraw.Draw(image).line(points, color, 3)
