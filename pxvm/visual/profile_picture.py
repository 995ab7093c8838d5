"""The picture of a profile: a bar for each opcode and each of the longest instructions.

The upper, coloured bar is time, the longest one full. The thin one below it is the share of the
rate at which the device copies memory: short below a long bar, something is to be gained there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pxvm.core.isa import Opcode
from pxvm.visual import blocks, theme
from pxvm.visual.blocks import Block, Page
from pxvm.visual.profile import Line, Profile
from pxvm.visual.view import glyph_box

if TYPE_CHECKING:
    from PIL import Image as Picture

MARGIN, GAP = 24, 22
NAME, BAR, FIGURES = 330, 420, 270  # dots
MOST = 40  # instructions shown


def draw(found: Profile, name: str, summary: str) -> Picture.Image:
    """A profile with a heading; ``summary`` is a sentence about it."""
    width = NAME + BAR + FIGURES
    title = blocks.clip(f"{name} on {found.device}", width, "bold")
    colors: dict[str, Opcode] = {i.op.name: i.op for i, _, _ in found.instructions.values()}
    opcodes = [(colors[line.name], line) for line in found.opcodes()]
    every = [(found.instructions[i][0].op, found.instructions[i][2])
             for i in sorted(found.instructions)]  # fmt: skip
    longest = {id(line) for _, line in sorted(every, key=lambda e: -e[1].seconds)[:MOST]}
    shown = [(op, line) for op, line in every if id(line) in longest]
    what = "instructions" if len(shown) == len(every) else f"the {MOST} longest instructions"
    parts = [
        blocks.column(
            [
                blocks.text(title, theme.INK, "bold"),
                blocks.paragraph(blocks.sentence(summary), width, theme.MUTED),
                _legend(),
            ],
            6,
        ),
        _bars("opcodes", opcodes, found),
        _bars(f"{what}, in the order of the program", shown, found),
    ]
    return blocks.render(blocks.column(parts, GAP), MARGIN)


def _legend() -> Block:
    def key(color: theme.Color, height: int, words: str) -> Block:
        mark = Block(24, 10, lambda page, x, y: page.box(x, y + 5 - height // 2, 24, height, color))
        return blocks.row([mark, blocks.text(words, theme.MUTED)], 6, centred=True)

    return blocks.row(
        [key(theme.MUTED, 8, "time"), key(theme.INK, 3, "share of the rate of a copy")], GAP
    )


def _bars(title: str, lines: Sequence[tuple[Opcode, Line]], found: Profile) -> Block:
    longest = max((line.seconds for _, line in lines), default=0.0)
    rows = [_bar(op, line, found, longest) for op, line in lines]
    return blocks.framed(blocks.column([blocks.text(title, theme.MUTED), *rows], 7))


def _bar(op: Opcode, line: Line, found: Profile, longest: float) -> Block:
    figures = line.figures(found.seconds(), found.copy)
    part = max(line.seconds, 0.0) / longest if longest > 0 else 0.0
    copied = min(figures["of copy"] or 0.0, 1.0)
    words = f"{figures['ms']:9.3f} ms {figures['share']:6.1%}"
    if figures["of copy"] is not None:
        words += f" {figures['of copy']:6.1%} of copy"
    name = blocks.clip(line.name, NAME - 80)
    times = f"x{line.count}" if line.count > 1 else ""

    def paint(page: Page, x: int, y: int) -> None:
        box = glyph_box(op)
        box.paint(page, x, y)
        page.text(x + box.width + 8, y + 4, name, theme.INK)
        at = x + NAME
        page.box(at, y, BAR, 17, theme.BACKGROUND, radius=2)
        page.box(at, y, max(round(BAR * part), 1), 12, op.color)
        if copied:
            page.box(at, y + 13, max(round(BAR * copied), 1), 3, theme.INK)
        page.text(at - 8 * len(times) - 8, y + 4, times, theme.MUTED)
        page.text(at + BAR + 8, y + 4, words, theme.MUTED)

    return Block(NAME + BAR + FIGURES, 19, paint)
