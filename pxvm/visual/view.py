"""A labelled picture of a program: instructions, the pixel map, every region as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pxvm.core.errors import PxvmError
from pxvm.core.isa import Mode, Opcode
from pxvm.core.machine import Machine
from pxvm.core.program import Image, Instruction, Program, Region, load_program
from pxvm.visual import blocks, theme
from pxvm.visual.blocks import Block, Page
from pxvm.visual.glyphs import text_size
from pxvm.visual.heatmap import panel
from pxvm.visual.pixelmap import MOST_HIGH, MOST_WIDE, Colors, PixelMap, map_block

if TYPE_CHECKING:
    from PIL import Image as Picture

MARGIN = 28
GAP = 14
MOST_CARDS = 48
MOST_PANELS = 20
MAX_SIZE = 4096

Operands = dict[int, list[tuple[Mode, Region]]]


def render_view(
    image: Image, *, scale: int | None = None, max_size: int = MAX_SIZE
) -> Picture.Image:
    """Draw the program in ``image``.

    Args:
        image: uint8 (height, width, 4); not changed.
        scale: dots for one pixel of the program in its map; None takes what fits well.
        max_size: largest width and height of the picture in dots; panels of regions beyond it
            are left out and counted.

    Returns:
        An RGB picture.

    Raises ProgramError when the image holds no program.
    """
    program = load_program(image)
    reach = (MOST_WIDE, MOST_HIGH)
    if scale:
        reach = (max(320, max_size - 2 * MARGIN - 160), max(160, max_size - 2 * MARGIN - 240))
    pixel_map = PixelMap(image.shape[:2], scale, reach)
    return blocks.render(_page(image, program, pixel_map, max_size - 2 * MARGIN), MARGIN)


def operand_regions(image: Image, program: Program) -> Operands:
    """The regions that each instruction names, as far as the program can run at all.

    Operands that move with a loop are those of its first round.
    """
    try:
        machine = Machine(image)
    except PxvmError:
        return {}
    found: Operands = {}
    for instruction in program.instructions:
        try:
            found[instruction.index] = machine.operands(instruction)
        except (PxvmError, IndexError):
            continue
    return found


def map_dots(pixel_map: PixelMap, cells: Colors, program: Program) -> Colors:
    """The pixel map with outlines and glyphs: uint8 (height, width, 3)."""
    dots = pixel_map.dots(cells)
    pixel_map.glyphs(dots, program.instructions)
    for border, color in pixel_map.borders(program):
        pixel_map.outline(dots, border, color)
    return dots


def _page(image: Image, program: Program, pixel_map: PixelMap, most: int) -> Block:
    pixels = map_block(pixel_map, map_dots(pixel_map, pixel_map.cells(image), program), program)
    width = min(most, max(960, pixels.width))
    title = _title(image, program)
    operands = operand_regions(image, program)
    cards = _cards(program, operands, width)
    beside = width - pixels.width - 2 * GAP
    map_part = blocks.column([blocks.text(pixel_map.caption.capitalize(), theme.MUTED), pixels], 10)
    legend = _legend(program, beside if beside >= 300 else width)
    both = [map_part, legend]
    middle = blocks.row(both, 2 * GAP) if beside >= 300 else blocks.column(both, 2 * GAP)
    parts = [title, cards, middle]
    left = most - sum(part.height + 2 * GAP for part in parts)
    panels = _panels(image, program, _by_use(program, operands), width, left)
    return blocks.column([*parts, panels], 2 * GAP)


def _title(image: Image, program: Program) -> Block:
    height, width = image.shape[:2]
    count = len(program.instructions)
    facts = (
        f"dialect {program.dialect}, {count} instruction{'s' * (count != 1)},"
        f" {len(program.regions)} regions"
    )
    size = blocks.text(f"{width} x {height} pixels", theme.INK, "bold", 2)
    return blocks.column([size, blocks.text(facts, theme.MUTED)], 6)


def _cards(program: Program, operands: Operands, width: int) -> Block:
    colors = theme.region_colors(program)
    shown = [
        instruction_card(i, operands.get(i.index, []), colors)
        for i in program.instructions[:MOST_CARDS]
    ]
    rest = len(program.instructions) - len(shown)
    if rest > 0:
        shown.append(blocks.text(f"and {rest} more", theme.MUTED))
    return blocks.flow(shown, width, 8)


def instruction_card(
    instruction: Instruction,
    operands: list[tuple[Mode, Region]],
    colors: dict[str, theme.Color],
    *,
    current: bool = False,
) -> Block:
    """An instruction: glyph, name, text, and chips of what it reads and, after ">", writes."""
    op = instruction.op
    words = [blocks.text(op.name, theme.INK, "bold"), blocks.text(str(instruction), theme.MUTED)]
    head = blocks.row([glyph_box(op, 2), blocks.column(words, 2)], 8, centred=True)
    chips = [_chip(r, colors) for mode, r in operands if mode.reads]
    written = [_chip(r, colors) for mode, r in operands if mode.writes]
    if written:
        chips += [blocks.text(">", theme.MUTED, "bold"), *written]
    line = blocks.flow(chips, 300, 4, centred=True) if chips else Block(0, 17, lambda *_: None)
    outline = theme.CHANGED if current else theme.LINE
    return blocks.framed(blocks.column([head, line], 8), 8, outline=outline)


def _chip(region: Region, colors: dict[str, theme.Color]) -> Block:
    return blocks.chip(blocks.clip(region.name, 140), colors[region.name])


def glyph_box(op: Opcode, scale: int = 1) -> Block:
    """The opcode's glyph in a box of its colour."""
    width, height = text_size(op.glyph, "bold", scale)
    side = height + 4

    def paint(page: Page, x: int, y: int) -> None:
        page.box(x, y, side, side, fill=op.color, radius=4)
        inset = (side - width) // 2 + scale // 2
        page.text(x + inset, y + 2, op.glyph, theme.ink_on(op.color), "bold", scale)

    return Block(side, side, paint)


def _legend(program: Program, width: int) -> Block:
    used = dict.fromkeys(i.op for i in program.instructions)
    rows: list[Block] = []
    wide = width // 2 - GAP if width > 800 else width
    for op in used:
        name = blocks.text(op.name, op.color, "bold")
        meaning = blocks.paragraph(op.semantics, wide - 34, theme.MUTED)
        row = blocks.row([glyph_box(op), blocks.column([name, meaning], 2)], 12)
        rows.append(Block(wide, row.height, row.paint))
    title = blocks.text("Instructions used", theme.MUTED)
    if wide == width:
        return blocks.column([title, *rows], 12)
    half = -(-len(rows) // 2)
    columns = [blocks.column(rows[:half], 12), blocks.column(rows[half:], 12)]
    return blocks.column([title, blocks.row(columns, 2 * GAP)], 12)


def _by_use(program: Program, operands: Operands) -> list[Region]:
    """Regions in the order in which instructions name them, then the others."""
    named = [region for found in operands.values() for _, region in found]
    order = {region.name: region for region in (*named, *program.regions)}
    return [region for region in order.values() if region.role not in ("code", "state")]


def _panels(
    image: Image, program: Program, regions: list[Region], width: int, height: int
) -> Block:
    """Heat maps, as many as ``height`` holds."""
    colors = theme.region_colors(program)
    shown: list[Block] = []
    for region in regions[:MOST_PANELS]:
        shown.append(panel(image, region, colors[region.name], min(512, width - 24)))
        if blocks.packed(shown, width, GAP).height > height - 60:
            shown.pop()
            break
    parts = [blocks.text("Values", theme.MUTED), blocks.packed(shown, width, GAP)]
    rest = regions[len(shown) :]
    if rest:
        names = ", ".join(region.name for region in rest[:12]) + (", ..." * (len(rest) > 12))
        parts.append(blocks.paragraph(f"and {len(rest)} more: {names}", width, theme.MUTED))
    return blocks.column(parts if regions else [], 10)
