"""How things look: one dark theme, a colour for each region, two heat scales, short numbers."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core.program import Program

Color = tuple[int, int, int]

BACKGROUND: Color = (15, 18, 24)
PANEL: Color = (23, 28, 37)
LINE: Color = (45, 53, 68)
INK: Color = (230, 234, 240)
MUTED: Color = (139, 149, 168)
CHANGED: Color = (255, 222, 89)
NEGATIVE: Color = (255, 107, 107)
CODE: Color = (205, 212, 224)
EQUAL: Color = (44, 50, 64)
MOST_LISTED = 16

# The first regions of a program get colours chosen by hand; further ones walk the colour circle.
_FIRST = (
    (96, 178, 255), (255, 159, 90), (104, 219, 160), (222, 132, 240), (255, 120, 140),
    (84, 214, 222), (196, 222, 96), (150, 150, 255),
)  # fmt: skip
_GOLDEN = 0.61803398875

# Few-point versions of perceptually even scales, interpolated linearly.
_SEQUENTIAL = np.array(
    [(18, 14, 44), (66, 24, 104), (128, 37, 116), (192, 58, 98), (236, 104, 76), (251, 172, 92),
     (252, 243, 180)], float)  # fmt: skip
_DIVERGING = np.array(
    [(120, 215, 255), (44, 134, 214), (30, 66, 120), (30, 33, 44), (126, 52, 26), (226, 110, 38),
     (255, 214, 130)], float)  # fmt: skip


def region_colors(program: Program) -> dict[str, Color]:
    """A colour for each region by name, the same in every picture of a program."""
    colors: dict[str, Color] = {}
    number = 0
    for region in program.regions:
        if region.role in ("code", "state"):
            colors[region.name] = CODE
            continue
        colors[region.name] = _FIRST[number] if number < len(_FIRST) else _hue(number)
        number += 1
    return colors


def _hue(number: int) -> Color:
    lightness = (0.62, 0.72, 0.55)[number % 3]
    red, green, blue = colorsys.hls_to_rgb(number * _GOLDEN % 1, lightness, 0.75)
    color = round(red * 255), round(green * 255), round(blue * 255)
    brightness = 0.3 * red + 0.59 * green + 0.11 * blue
    return mix(color, INK, max(0.0, 0.6 - brightness))


def mix(color: Color, other: Color, share: float) -> Color:
    """``color`` with a ``share`` (0..1) of ``other``."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue


def ink_on(color: Color) -> Color:
    """Black or white, whichever reads better on ``color``."""
    red, green, blue = color
    return (12, 14, 18) if 0.3 * red + 0.59 * green + 0.11 * blue > 135 else (245, 247, 250)


def limits(values: NDArray[Any]) -> tuple[float, float]:
    """The ends of the heat scale: symmetric about zero when both signs occur."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    low, high = float(finite.min()), float(finite.max())
    if low < 0 < high:
        high = max(-low, high)
        low = -high
    return low, high


def heat(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Colours for values between ``low`` and ``high``: uint8 of ``values.shape`` + (3,).

    Two-sided when the limits have both signs, dark at zero; neutral when the limits are equal;
    not-a-number is the panel's colour.
    """
    real = np.asarray(values, float)
    anchors = _DIVERGING if low < 0 < high else _SEQUENTIAL
    if not high > low:
        return np.full((*real.shape, 3), EQUAL, np.uint8)
    share = np.clip((real - low) / (high - low), 0, 1)
    place = np.nan_to_num(share) * (len(anchors) - 1)
    below = np.minimum(place.astype(int), len(anchors) - 2)
    part = (place - below)[..., None]
    colors = anchors[below] * (1 - part) + anchors[below + 1] * part
    colors[~np.isfinite(real)] = PANEL
    return np.asarray(np.rint(colors), np.uint8)


def number(value: float) -> str:
    """A value in few characters: integers of 32 bits as they are, others with three digits."""
    value = float(value)
    if abs(value) < 1e10 and value == int(value):
        return str(int(value))
    return f"{value:.3g}"


def brief(values: NDArray[Any]) -> str:
    """Values in one line: few as nested lists, many by their range."""
    if values.size > MOST_LISTED:
        low, high = number(values.min()), number(values.max())
        return f"all {low}" if low == high else f"min {low}, max {high}"
    if values.ndim == 0:
        return number(values.item())
    return f"[{', '.join(map(brief, values))}]"
