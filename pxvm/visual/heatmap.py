"""Panels of regions: values as a heat map with the scale, as numbers in cells, or one for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core.program import Image, Region
from pxvm.visual import blocks, theme
from pxvm.visual.blocks import Block, Page
from pxvm.visual.glyphs import text_size
from pxvm.visual.pixels import bounds, rectangles
from pxvm.visual.theme import Color

NUMBERED = (16, 16)  # rows and columns up to which cells show their numbers
LARGEST = (512, 192)  # width and height of a heat map in pixels
WRAP_FROM = 48  # a single row or column at least so long is shown in several lines
MOST_DECODED = 1 << 23  # elements; larger regions are shown by their pixels
LINES = 10  # of a panel of single values before it gets another column


def single_value(image: Image, region: Region) -> float | None:
    """What all elements of a region are, where they are all the same."""
    if _is_picture(region) or not 0 < np.prod(region.shape, dtype=float) <= MOST_DECODED:
        return None
    values = region.values(image)
    low, high = float(values.min()), float(values.max())
    return low if low == high else None


def value_panel(
    image: Image, regions: Sequence[Region], colors: dict[str, Color], reach: int
) -> Block:
    """A framed panel, at most about ``reach`` pixels wide, of regions that are one value each."""
    lines = max(LINES, -(-len(regions) // max(1, reach // 360)))
    columns = [
        _value_lines(image, regions[start : start + lines], colors)
        for start in range(0, len(regions), lines)
    ]
    title = blocks.text("one value each", theme.INK)
    return blocks.framed(blocks.column([title, blocks.row(columns, 28)], 10), 12)


def _value_lines(image: Image, regions: Sequence[Region], colors: dict[str, Color]) -> Block:
    """Lines of name, value, shape and encoding, aligned."""
    names = [blocks.chip(blocks.clip(r.name, 180), colors[r.name], "bold") for r in regions]
    values = [blocks.text(theme.number(single_value(image, r) or 0.0)) for r in regions]
    kinds = [
        blocks.text(" ".join(filter(None, (shape_text(r.shape), r.encoding))), theme.MUTED)
        for r in regions
    ]
    widths = [max(part.width for part in parts) for parts in (names, values, kinds)]

    def line(name: Block, value: Block, kind: Block) -> Block:
        def paint(page: Page, x: int, y: int) -> None:
            name.paint(page, x, y)
            value.paint(page, x + widths[0] + 10 + widths[1] - value.width, y + 2)
            kind.paint(page, x + widths[0] + widths[1] + 20, y + 2)

        return Block(sum(widths) + 20, name.height, paint)

    return blocks.column([line(*parts) for parts in zip(names, values, kinds, strict=True)], 4)


def shape_text(shape: tuple[int, ...]) -> str:
    """ "2 x 3", nothing for one element."""
    return " x ".join(map(str, shape)) if np.prod(shape, dtype=float) != 1 else ""


def _is_picture(region: Region) -> bool:
    return region.role in ("font", "canvas") or region.encoding.startswith("RGBA")


def panel(image: Image, region: Region, color: Color, reach: int = 512) -> Block:
    """A framed panel, at most ``reach`` pixels wide inside: name, shape, encoding, values."""
    if _is_picture(region):
        body, notes = _picture(image, region), []
    elif np.prod(region.shape, dtype=float) > MOST_DECODED:
        body, notes = _picture(image, region), ["stored pixels, too many values to decode"]
    else:
        body, notes = _values(region.values(image), reach)
    shape = " x ".join(map(str, region.shape)) or "scalar"
    name = blocks.chip(blocks.clip(region.name, reach // 2), color, "bold")
    what = blocks.text(shape, theme.INK)
    kind = " ".join(dict.fromkeys([region.role, region.encoding]))
    head = [blocks.row([name, what], 8, centred=True)]
    head += [blocks.text(line, theme.MUTED) for line in [kind, *notes]]
    block = blocks.column([blocks.column(head, 3), body], 10)
    return blocks.framed(block, 12, outline=theme.mix(theme.LINE, color, 0.45))


def _values(values: NDArray[Any], reach: int) -> tuple[Block, list[str]]:
    if not values.size:
        return blocks.text("no elements", theme.MUTED), []
    table = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    low, high = theme.limits(table)
    if table.shape[0] <= NUMBERED[0] and table.shape[1] <= NUMBERED[1]:
        cells = _cells(table, low, high)
        notes = []
        for per_line in (8, 4):
            if cells.width > reach and len(table) == 1:
                cells, notes = (
                    _cells(_lines(table, per_line), low, high),
                    [f"in lines of {per_line}"],
                )
        if cells.width <= reach:
            return blocks.column([cells, _scale(values, low, high, cells.width)], 8), notes
    notes = []
    if 1 in table.shape and table.size >= WRAP_FROM:
        per_line = min(256, max(16, 8 * round((2 * table.size) ** 0.5 / 8)))
        table = _lines(table, per_line)
        notes.append(f"in lines of {per_line}")
    small, down, across = _reduced(table, (min(LARGEST[0], reach), LARGEST[1]))
    if down > 1 or across > 1:
        notes.append(f"a dot is the mean of {down} x {across}")
        low, high = theme.limits(small)
    colors = theme.heat(small, low, high)
    zoom = max(1, min(12, min(300, reach) // small.shape[1], 150 // small.shape[0]))
    heat = blocks.pixels(colors.repeat(zoom, 0).repeat(zoom, 1))
    return blocks.column([heat, _scale(values, low, high, heat.width)], 8), notes


def _lines(table: NDArray[Any], per_line: int) -> NDArray[Any]:
    """A single row or column in lines, the rest of the last one not-a-number."""
    padded = np.full(-(-table.size // per_line) * per_line, np.nan)
    padded[: table.size] = table.reshape(-1)
    return padded.reshape(-1, per_line)


def _reduced(table: NDArray[Any], most: tuple[int, int]) -> tuple[NDArray[Any], int, int]:
    """(means of blocks, rows in a block, columns in a block) so that it fits into ``most``."""
    across, down = -(-table.shape[1] // most[0]), -(-table.shape[0] // most[1])
    if across > 1 and down > 1:
        across = down = max(across, down)
    if across == down == 1:
        return np.asarray(table, float), 1, 1
    rows = [np.asarray(table[y : y + down], float).mean(axis=0)
            for y in range(0, table.shape[0], down)]  # fmt: skip
    real = np.array(rows)
    starts = np.arange(0, table.shape[1], across)
    counts = np.minimum(starts + across, table.shape[1]) - starts
    return np.add.reduceat(real, starts, axis=1) / counts, down, across


def _cells(table: NDArray[Any], low: float, high: float) -> Block:
    """Every value as a number on its colour."""
    texts = [[theme.number(v) if v == v else "" for v in line] for line in table.tolist()]
    longest = max(len(text) for line in texts for text in line)
    width, height = max(24, text_size("0" * longest)[0] + 10), 22
    colors = theme.heat(table, low, high)

    def paint(page: Page, x: int, y: int) -> None:
        for r, line in enumerate(texts):
            for c, text in enumerate(line):
                red, green, blue = (int(v) for v in colors[r, c])
                left, top = x + c * width, y + r * height
                page.box(left, top, width - 1, height - 1, fill=(red, green, blue))
                inset = (width - 1 - text_size(text)[0]) // 2
                page.text(left + inset, top + 5, text, theme.ink_on((red, green, blue)))

    return Block(table.shape[1] * width - 1, table.shape[0] * height - 1, paint)


def _scale(values: NDArray[Any], low: float, high: float, width: int) -> Block:
    """Colour bar with its ends."""
    smallest, largest = float(values.min()), float(values.max())
    left, right = theme.number(low), theme.number(high)
    width = max(120, min(width, 240), 30 + text_size(left + right)[0])
    bar = theme.heat(np.linspace(low, high, width)[None].repeat(8, 0), low, high)

    def paint(page: Page, x: int, y: int) -> None:
        page.pixels(x, y, bar)
        page.text(x, y + 11, left, theme.MUTED)
        page.text(x + width - text_size(right)[0], y + 11, right, theme.MUTED)

    scale = Block(width, 24, paint)
    if (low, high) == (smallest, largest):
        return scale
    ends = f"values {theme.number(smallest)} .. {theme.number(largest)}"
    return blocks.column([scale, blocks.text(ends, theme.MUTED)], 3)


def _picture(image: Image, region: Region) -> Block:
    """The pixels themselves, alpha left out."""
    x0, y0, x1, y1 = bounds(rectangles(region.spans))
    part = image[y0:y1, x0:x1, :3]
    step = max(1, -(-part.shape[1] // LARGEST[0]), -(-part.shape[0] // LARGEST[1]))
    part = part[::step, ::step]
    zoom = max(1, min(6, 360 // max(1, part.shape[1]), 150 // max(1, part.shape[0])))
    return blocks.pixels(part.repeat(zoom, 0).repeat(zoom, 1))
