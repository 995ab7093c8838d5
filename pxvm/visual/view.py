"""A labelled picture of a program: instructions, the pixel map, every region as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pxvm.core.errors import PxvmError
from pxvm.core.isa import Mode, Opcode
from pxvm.core.machine import Machine
from pxvm.core.program import Image, Instruction, Program, Region, load_program
from pxvm.terminal import counted
from pxvm.visual import blocks, theme
from pxvm.visual.blocks import Block, Page
from pxvm.visual.glyphs import text_size
from pxvm.visual.heatmap import panel, shape_text, single_value, value_panel
from pxvm.visual.pixelmap import MOST_HIGH, MOST_WIDE, Colors, PixelMap, map_block

if TYPE_CHECKING:
    from PIL import Image as Picture

MARGIN = 28
GAP = 14
MOST_CARDS = 48
MOST_PANELS = 12
MOST_EQUAL = 30
MAX_SIZE = 4096

Operands = dict[int, list[tuple[Mode, Region]]]


def render_view(
    image: Image, name: str = "", *, scale: int | None = None, max_size: int = MAX_SIZE
) -> Picture.Image:
    """Draw the program in ``image``.

    Args:
        image: uint8 (height, width, 4); not changed.
        name: the title, such as the file's name.
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
    return blocks.render(_page(image, name, program, pixel_map, max_size - 2 * MARGIN), MARGIN)


def program_of(image: Image) -> Program | None:
    """The program in an image, or None."""
    try:
        return load_program(image)
    except PxvmError:
        return None


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


def map_dots(pixel_map: PixelMap, cells: Colors, image: Image, program: Program) -> Colors:
    """The pixel map with glyphs, bytes and outlines: uint8 (height, width, 3)."""
    dots = pixel_map.dots(cells)
    pixel_map.glyphs(dots, program.instructions)
    data = (r for r in program.regions if r.role not in ("code", "font", "canvas"))
    pixel_map.write_bytes(dots, image, (span for region in data for span in region.spans))
    for border, color in pixel_map.borders(program):
        pixel_map.outline(dots, border, color)
    return dots


def _page(image: Image, name: str, program: Program, pixel_map: PixelMap, most: int) -> Block:
    dots = map_dots(pixel_map, pixel_map.cells(image), image, program)
    pixels = map_block(pixel_map, dots, program)
    width = min(most, max(960, pixels.width))
    title = _title(image, name, program, width)
    operands = operand_regions(image, program)
    cards = _cards(program, operands, width)
    beside = width - pixels.width - 2 * GAP
    map_part = blocks.column(
        [blocks.text(blocks.sentence(pixel_map.caption), theme.MUTED), pixels], 10
    )
    legend = _legend(program, beside if beside >= 300 else width)
    both = [map_part, legend]
    middle = blocks.row(both, 2 * GAP) if beside >= 300 else blocks.column(both, 2 * GAP)
    parts = [title, cards, middle]
    left = most - sum(part.height + 2 * GAP for part in parts)
    panels = _panels(image, program, _by_use(program, operands), width, left)
    return blocks.column([*parts, panels], 2 * GAP)


def _title(image: Image, name: str, program: Program, width: int) -> Block:
    size = f"{image.shape[1]} x {image.shape[0]} pixels"
    facts = [
        f"dialect {program.dialect}",
        counted(len(program.instructions), "instruction"),
        counted(len(program.regions), "region"),
    ]
    if name:
        facts = [size, *facts]
    title = blocks.text(blocks.clip(name or size, width // 2, "bold"), theme.INK, "bold", 2)
    return blocks.column([title, blocks.text(", ".join(facts), theme.MUTED)], 6)


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
    """Heat maps, as many as ``height`` holds; regions of one value each share a panel."""
    colors = theme.region_colors(program)
    reach = (width - GAP) // 2 - 24  # two beside each other
    equal: list[Region] = []
    shown: list[Region] = []
    panels: list[Block] = []
    for region in regions:
        full = len(panels) == MOST_PANELS
        if (not full or not shape_text(region.shape)) and single_value(image, region) is not None:
            equal.append(region)
        elif not full:
            panels.append(panel(image, region, colors[region.name], reach))
            shown.append(region)
    if equal:
        panels.insert(0, value_panel(image, equal[:MOST_EQUAL], colors, width))
    while panels and blocks.packed(panels, width, GAP).height > height - 60:
        panels.pop()
    parts = [blocks.text("Values", theme.MUTED), blocks.packed(panels, width, GAP)]
    told = shown[: len(panels) - bool(equal)] + equal[:MOST_EQUAL] * bool(panels)
    rest = [region.name for region in regions if region not in told]
    if rest:
        names = ", ".join(rest[:12]) + (", ..." * (len(rest) > 12))
        parts.append(blocks.paragraph(f"and {len(rest)} more: {names}", width, theme.MUTED))
    return blocks.column(parts if regions else [], 10)
