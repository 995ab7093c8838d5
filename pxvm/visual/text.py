"""Values and pictures as characters for a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core.program import Image, Instruction
from pxvm.visual import theme
from pxvm.visual.pixelmap import PixelMap
from pxvm.visual.pixels import Changes, Rectangle

if TYPE_CHECKING:
    from rich.text import Text

SHADES = " ░▒▓█"
MOST_NUMBERS = (16, 16)  # rows and columns up to which values are shown as numbers
MOST_SHADES = (12, 64)
UPPER_HALF = "▀"
MOST_AVERAGED = 1 << 21  # pixels; means of more would take too long for a screen


def as_table(values: NDArray[Any]) -> NDArray[Any]:
    """Values with all but the last extent flattened: two dimensions."""
    return values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)


def summary(values: NDArray[Any]) -> str:
    """Shape and range in one line."""
    shape = " x ".join(map(str, values.shape)) or "one value"
    if not values.size:
        return f"{shape}, empty"
    low, high = theme.number(values.min()), theme.number(values.max())
    return f"{shape}, all {low}" if low == high else f"{shape}, {low} .. {high}"


def as_numbers(values: NDArray[Any]) -> bool:
    """True where ``value_lines`` gives numbers: few values, not all of them equal."""
    if not values.size or (values.size > 1 and values.min() == values.max()):
        return False
    rows, columns = as_table(values).shape
    return bool(rows <= MOST_NUMBERS[0] and columns <= MOST_NUMBERS[1])


def value_lines(values: NDArray[Any]) -> list[str]:
    """Small values as aligned numbers, large ones as shaded blocks from lowest to highest.

    Nothing where all of many values are equal: the summary has said it.
    """
    if not values.size or (values.size > 1 and values.min() == values.max()):
        return []
    table = as_table(values)
    if not as_numbers(values):
        return shade_lines(table)
    texts = [[theme.number(value) for value in line] for line in table.tolist()]
    width = max(len(text) for line in texts for text in line)
    return [" ".join(text.rjust(width) for text in line) for line in texts]


def sampled(table: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """At most rows x columns of a table: means where it is larger and small enough to average."""
    if table.shape[0] == 1 and table.shape[1] > columns:
        lines = min(rows, -(-table.shape[1] // columns))
        per_line = -(-table.shape[1] // lines)
        padded = np.full(lines * per_line, np.nan)
        padded[: table.shape[1]] = table[0]
        table = padded.reshape(lines, per_line)
    starts = [np.arange(0, n, -(-n // most))
              for n, most in zip(table.shape, (rows, columns), strict=True)]  # fmt: skip
    if table.size > 1 << 22:
        return np.asarray(table[np.ix_(*starts)], float)
    real = np.asarray(table, float)
    known = np.isfinite(real)
    for axis in (0, 1):
        real = np.add.reduceat(np.where(np.isfinite(real), real, 0.0), starts[axis], axis=axis)
        known = np.add.reduceat(known.astype(int), starts[axis], axis=axis)
    return np.where(known > 0, real / np.maximum(known, 1), np.nan)


def shade_lines(table: NDArray[Any]) -> list[str]:
    """A table as shades of grey, the lightest being the largest."""
    small = sampled(table, *MOST_SHADES)
    low, high = float(np.nanmin(small)), float(np.nanmax(small))
    share = (small - low) / (high - low) if high > low else np.zeros(small.shape)
    place = np.nan_to_num(np.clip(share, 0, 1) * (len(SHADES) - 1)).round().astype(int)
    return ["".join(SHADES[i] for i in line).rstrip() for line in place.tolist()]


def half_blocks(colors: NDArray[np.uint8]) -> Text:
    """Colours (height, width, 3) as characters that show two of them, one above the other."""
    from rich.text import Text

    if len(colors) % 2:
        colors = np.concatenate([colors, np.full((1, colors.shape[1], 3), theme.BACKGROUND)])
    text = Text(no_wrap=True, end="")
    for number, (upper, lower) in enumerate(
        zip(colors[::2].tolist(), colors[1::2].tolist(), strict=True)
    ):
        if number:
            text.append("\n")
        for (r, g, b), (r2, g2, b2) in zip(upper, lower, strict=True):
            style = f"#{r:02x}{g:02x}{b:02x} on #{r2:02x}{g2:02x}{b2:02x}"
            text.append(UPPER_HALF, style)
    return text


def heat_blocks(values: NDArray[Any], columns: int, rows: int) -> Text:
    """Values as coloured half blocks, at most ``columns`` x ``rows`` characters."""
    small = sampled(as_table(values), 2 * rows, columns)
    zoom = max(1, min(4, columns // small.shape[1], 2 * rows // small.shape[0]))
    low, high = theme.limits(small)
    return half_blocks(theme.heat(small, low, high).repeat(zoom, 0).repeat(zoom, 1))


@dataclass(frozen=True)
class Window:
    """The part of a picture that a terminal shows.

    Attributes:
        blocks: its pixels as half blocks.
        caption: its scale, such as 1:4 where a dot is 4 x 4 pixels, and which part it is.
        box: (x0, y0, x1, y1) in pixels of the program, right and bottom exclusive.
    """

    blocks: Text
    caption: str
    box: Rectangle


def picture_window(
    image: Image,
    columns: int,
    rows: int,
    changes: Changes | None = None,
    current: Instruction | None = None,
    *,
    level: int = 0,
    centre: tuple[int, int] | None = None,
) -> Window:
    """The program's pixels as half blocks, changed ones and the current instruction marked.

    Args:
        columns, rows: characters that the picture may take, each at least 1.
        level: 0 shows the whole image; each further level doubles its scale.
        centre: (x, y) in the middle of a part; None is the middle of the changes, or the current
            instruction.
    """
    reach = columns, 2 * rows
    height, width = image.shape[:2]
    whole = PixelMap((height, width), None, reach)
    step, zoom = max(1, whole.step >> level), whole.zoom
    zoom <<= max(0, level - whole.step.bit_length() + 1)
    x, y = centre or _focus(changes, current)
    wide, high = (max(1, dots * step // zoom) for dots in reach)
    left = max(0, min(x - wide // 2, width - wide))
    top = max(0, min(y - high // 2, height - high))
    part = image[top : top + high, left : left + wide]
    placed = PixelMap((part.shape[0], part.shape[1]), zoom, reach)
    colors = _cells(placed, part)
    if changes is not None and len(changes):
        seen = _seen(changes.xs - left, changes.ys - top, placed)
        mixed = colors[seen] * 0.45 + np.array(theme.CHANGED) * 0.55
        colors[seen] = mixed.astype(np.uint8)
    if current is not None:
        colors[_seen(np.array([current.x - left]), np.array([current.y - top]), placed)] = theme.INK
    box = left, top, left + part.shape[1], top + part.shape[0]
    caption = f"{placed.zoom}:{placed.step}"
    if level:
        caption += f", x {left}..{box[2] - 1}, y {top}..{box[3] - 1}"
    return Window(half_blocks(np.asarray(placed.enlarge(colors), np.uint8)), caption, box)


def _focus(changes: Changes | None, current: Instruction | None) -> tuple[int, int]:
    """The pixel that matters now."""
    if changes is not None and len(changes):
        return int(np.median(changes.xs)), int(np.median(changes.ys))
    return (current.x, current.y) if current is not None else (0, 0)


def _cells(placed: PixelMap, part: Image) -> NDArray[np.uint8]:
    """Means of a small part, single pixels of a large one."""
    if part.shape[0] * part.shape[1] <= MOST_AVERAGED:
        return placed.cells(part)
    return np.array(part[:: placed.step, :: placed.step, :3])


def _seen(
    xs: NDArray[np.int64], ys: NDArray[np.int64], placed: PixelMap
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells (rows, columns) of those pixels that the map shows."""
    xs, ys = xs // placed.step, ys // placed.step
    inside = (xs >= 0) & (ys >= 0) & (xs < placed.columns) & (ys < placed.rows)
    return ys[inside], xs[inside]
