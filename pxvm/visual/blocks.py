"""Pictures from blocks: a block knows its size and how to paint itself, combinators lay it out.

Pillow draws rectangles and lines; text comes from the bitmap fonts in ``glyphs``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pxvm.visual import theme
from pxvm.visual.glyphs import text_mask, text_size
from pxvm.visual.theme import Color

if TYPE_CHECKING:
    from PIL import Image


class Page:
    """A picture being painted; coordinates are pixels from the top left."""

    def __init__(self, width: int, height: int, color: Color = theme.BACKGROUND) -> None:
        from PIL import Image, ImageDraw

        self.image = Image.new("RGB", (width, height), color)
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self, x: int, y: int, text: str, color: Color = theme.INK, font: str = "normal",
        scale: int = 1,
    ) -> None:  # fmt: skip
        """One line of text whose top left corner is (x, y)."""
        from PIL import Image

        if text:
            mask = text_mask(text, font, scale).astype(np.uint8) * 255
            self.draw.bitmap((x, y), Image.fromarray(mask), fill=color)

    def box(
        self, x: int, y: int, width: int, height: int, fill: Color | None = None,
        outline: Color | None = None, radius: int = 0,
    ) -> None:  # fmt: skip
        """A rectangle that covers exactly width x height pixels."""
        corners = (x, y, x + width - 1, y + height - 1)
        self.draw.rounded_rectangle(corners, radius, fill=fill, outline=outline)

    def pixels(self, x: int, y: int, colors: NDArray[np.uint8]) -> None:
        """An array (height, width, 3) of colours."""
        from PIL import Image

        self.image.paste(Image.fromarray(np.ascontiguousarray(colors)), (x, y))


@dataclass(frozen=True)
class Block:
    """Something ``width`` x ``height`` pixels large that ``paint(page, x, y)`` draws."""

    width: int
    height: int
    paint: Callable[[Page, int, int], None]


def render(block: Block, margin: int = 0, color: Color = theme.BACKGROUND) -> Image.Image:
    """The picture of a block."""
    page = Page(block.width + 2 * margin, block.height + 2 * margin, color)
    block.paint(page, margin, margin)
    return page.image


def text(value: str, color: Color = theme.INK, font: str = "normal", scale: int = 1) -> Block:
    """One line of text."""
    width, height = text_size(value, font, scale)
    return Block(width, height, lambda page, x, y: page.text(x, y, value, color, font, scale))


def sentence(value: str) -> str:
    """The same, with a capital at its start."""
    return value[:1].upper() + value[1:]


def clip(value: str, width: int, font: str = "normal") -> str:
    """``value`` cut so that it is at most ``width`` pixels wide, two dots at the cut."""
    most = max(3, width // text_size("x", font)[0])
    return value if len(value) <= most else value[: most - 2] + ".."


def paragraph(
    value: str, width: int, color: Color = theme.INK, font: str = "normal", leading: int = 2
) -> Block:
    """Text broken at spaces into lines at most ``width`` pixels wide."""
    per_line = max(8, width // text_size("x", font)[0])
    lines = [""]
    for word in value.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > per_line:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return column([text(line, color, font) for line in lines], leading)


def chip(value: str, color: Color, font: str = "normal", *, solid: bool = False) -> Block:
    """Text in a small rounded box of a colour: tinted, or solid."""
    width, height = text_size(value, font)
    fill = color if solid else theme.mix(theme.BACKGROUND, color, 0.22)
    ink = theme.ink_on(color) if solid else color

    def paint(page: Page, x: int, y: int) -> None:
        page.box(x, y, width + 10, height + 4, fill=fill, radius=4)
        page.text(x + 5, y + 2, value, ink, font)

    return Block(width + 10, height + 4, paint)


def pixels(colors: NDArray[np.uint8]) -> Block:
    """An array (height, width, 3) of colours."""
    return Block(colors.shape[1], colors.shape[0], lambda page, x, y: page.pixels(x, y, colors))


def framed(
    block: Block, padding: int = 12, fill: Color = theme.PANEL, outline: Color | None = theme.LINE
) -> Block:
    """A block on a panel."""
    width, height = block.width + 2 * padding, block.height + 2 * padding

    def paint(page: Page, x: int, y: int) -> None:
        page.box(x, y, width, height, fill=fill, outline=outline, radius=6)
        block.paint(page, x + padding, y + padding)

    return Block(width, height, paint)


def column(blocks: Sequence[Block], gap: int = 0) -> Block:
    """Blocks below each other, left-aligned."""
    height = sum(block.height for block in blocks) + gap * max(0, len(blocks) - 1)

    def paint(page: Page, x: int, y: int) -> None:
        for block in blocks:
            block.paint(page, x, y)
            y += block.height + gap

    return Block(max((block.width for block in blocks), default=0), height, paint)


def row(blocks: Sequence[Block], gap: int = 0, *, centred: bool = False) -> Block:
    """Blocks beside each other, aligned at the top or centred."""
    width = sum(block.width for block in blocks) + gap * max(0, len(blocks) - 1)
    height = max((block.height for block in blocks), default=0)

    def paint(page: Page, x: int, y: int) -> None:
        for block in blocks:
            block.paint(page, x, y + (height - block.height) // 2 * centred)
            x += block.width + gap

    return Block(width, height, paint)


def flow(blocks: Sequence[Block], width: int, gap: int = 0, *, centred: bool = False) -> Block:
    """Blocks beside each other, on a new line where ``width`` is used up."""
    lines: list[list[Block]] = []
    used = width + 1
    for block in blocks:
        if used + block.width > width or not lines:
            lines.append([])
            used = 0
        lines[-1].append(block)
        used += block.width + gap
    return column([row(line, gap, centred=centred) for line in lines], gap)


def packed(blocks: Sequence[Block], width: int, gap: int = 0) -> Block:
    """Blocks of different heights fitted together: each as high up, then as far left as it goes."""
    placed: list[tuple[int, int, Block]] = []
    for block in blocks:
        starts = [0, *(x + b.width + gap for x, _, b in placed)]
        spots = []
        for x in starts:
            if x == 0 or x + block.width <= width:
                below = [
                    y + b.height + gap
                    for left, y, b in placed
                    if left < x + block.width + gap and x < left + b.width + gap
                ]
                spots.append((max(below, default=0), x))
        top, left = min(spots)
        placed.append((left, top, block))

    def paint(page: Page, x: int, y: int) -> None:
        for left, top, block in placed:
            block.paint(page, x + left, y + top)

    return Block(
        max((x + b.width for x, _, b in placed), default=0),
        max((y + b.height for _, y, b in placed), default=0),
        paint,
    )
