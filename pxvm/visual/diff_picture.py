"""The picture of a difference: both images, how far they are apart, the first place enlarged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pxvm.core.program import Image
from pxvm.visual import blocks, theme
from pxvm.visual.blocks import Block
from pxvm.visual.pixelmap import BYTES_FROM, PixelMap, map_block
from pxvm.visual.pixels import Changes
from pxvm.visual.view import map_dots, program_of

if TYPE_CHECKING:
    from PIL import Image as Picture

MARGIN = 24
GAP = 22
BESIDE = (270, 300)  # most dots of each of three maps beside each other
BELOW = (960, 200)  # and below each other
NEAR = (14, 7)  # columns and rows around the first difference
MOST_LINES = 12


def draw(
    lines: list[str], images: tuple[Image, Image], changes: Changes, names: tuple[str, str]
) -> Picture.Image:
    """The lines as a heading, the images with every difference marked, and the first one near.

    Args:
        changes: the pixels that differ, in the coordinates of both.
    """
    size = tuple(max(pair) for pair in zip(*(image.shape[:2] for image in images), strict=True))
    beside = _scale(size, BESIDE) >= _scale(size, BELOW)
    reach = BESIDE if beside else BELOW
    maps = [_map(image, changes, name, reach) for image, name in zip(images, names, strict=True)]
    maps.append(_difference(images, changes, reach))
    parts = [blocks.row(maps, GAP) if beside else blocks.column(maps, GAP)]
    if len(changes) and PixelMap(images[0].shape[:2], None, reach).zoom < BYTES_FROM:
        parts.append(_near(images, changes, names))
    width = max(480, *(part.width for part in parts))
    head = [blocks.text(blocks.clip(lines[0], width, "bold"), theme.INK, "bold")]
    head += [blocks.text(blocks.clip(line, width), theme.MUTED) for line in lines[1:MOST_LINES]]
    if len(lines) > MOST_LINES:
        head.append(blocks.text(f"and {len(lines) - MOST_LINES} more regions", theme.MUTED))
    return blocks.render(blocks.column([blocks.column(head, 3), *parts], GAP), MARGIN)


def _scale(size: tuple[int, ...], reach: tuple[int, int]) -> float:
    return min(reach[0] / size[1], reach[1] / size[0])


def _titled(title: str, body: Block) -> Block:
    words = blocks.clip(title, max(body.width, 160))
    return blocks.column([blocks.text(words, theme.MUTED), body], 10)


def _map(image: Image, changes: Changes, name: str, reach: tuple[int, int]) -> Block:
    """One of the images, its regions outlined and the differences marked."""
    pixel_map = PixelMap(image.shape[:2], None, reach)
    title = f"{name}: {pixel_map.caption}"
    program = program_of(image)
    cells = pixel_map.cells(image)
    dots = map_dots(pixel_map, cells, image, program) if program else pixel_map.dots(cells)
    pixel_map.mark(dots, changes.xs, changes.ys)
    body = map_block(pixel_map, dots, program) if program else blocks.pixels(dots)
    return _titled(title, body)


def _difference(images: tuple[Image, Image], changes: Changes, reach: tuple[int, int]) -> Block:
    """How far each pixel is off in its most different channel, on a heat scale."""
    a, b = (np.ascontiguousarray(w).view(np.uint8).reshape(-1, 4).astype(int)
            for w in (changes.before, changes.after))  # fmt: skip
    height, width = (min(pair) for pair in zip(*(i.shape[:2] for i in images), strict=True))
    pixel_map = PixelMap((height, width), None, reach)
    cells = np.zeros((pixel_map.rows, pixel_map.columns))
    off = np.abs(a - b).max(axis=1) if len(changes) else np.zeros(0)
    np.maximum.at(cells, (changes.ys // pixel_map.step, changes.xs // pixel_map.step), off)
    most = int(off.max(initial=0))
    colors = theme.heat(0.4 + 0.6 * cells / max(1, most), 0.0, 1.0)
    colors[cells == 0] = theme.PANEL
    dots = np.asarray(pixel_map.enlarge(colors), np.uint8)
    program = program_of(images[0])
    same_size = images[0].shape == images[1].shape
    body = map_block(pixel_map, dots, program) if program and same_size else blocks.pixels(dots)
    return _titled(f"difference: at most {most}", body)


def _near(images: tuple[Image, Image], changes: Changes, names: tuple[str, str]) -> Block:
    """The pixels around the first difference of both images, with their bytes."""
    height, width = (min(pair) for pair in zip(*(i.shape[:2] for i in images), strict=True))
    left = max(0, min(int(changes.xs[0]) - NEAR[0] // 4, width - NEAR[0]))
    top = max(0, min(int(changes.ys[0]) - NEAR[1] // 4, height - NEAR[1]))
    parts = []
    for image, name in zip(images, names, strict=True):
        part = image[top : min(height, top + NEAR[1]), left : min(width, left + NEAR[0])]
        rows, columns = part.shape[:2]
        pixel_map = PixelMap((rows, columns), BYTES_FROM, (NEAR[0] * 32, NEAR[1] * 32))
        dots = pixel_map.dots(pixel_map.cells(part))
        pixel_map.write_bytes(dots, part, [(y, 0, columns) for y in range(rows)])
        xs, ys = changes.xs - left, changes.ys - top
        seen = (xs >= 0) & (ys >= 0) & (xs < columns) & (ys < rows)
        pixel_map.mark(dots, xs[seen], ys[seen])
        place = f"x {left}..{left + columns - 1}, y {top}..{top + rows - 1}"
        parts.append(_titled(f"{name}, {place}", blocks.pixels(dots)))
    return blocks.row(parts, GAP)
