"""The program's actual pixels, enlarged or reduced, with every region outlined and named.

The map is a grid of *cells*. Enlarged, a cell is one pixel of the program, ``zoom`` dots wide;
reduced, a cell is one dot for ``step`` x ``step`` pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pxvm.core.program import Image, Instruction, Program, Region, Span
from pxvm.visual import theme
from pxvm.visual.blocks import Block, Page
from pxvm.visual.glyphs import text_mask, text_size
from pxvm.visual.pixels import Rectangle, bounds, rectangles
from pxvm.visual.theme import Color

Colors = NDArray[np.uint8]
MOST_WIDE, MOST_HIGH = 1104, 640
LARGEST_ZOOM = 32
GRID_FROM = 8  # zoom from which cells are set apart
GLYPH_FROM = 14  # zoom from which instructions show their glyph
BYTES_FROM = 32  # zoom from which pixels of data show their bytes
OUTLINES_FROM = 3  # zoom from which an outline hides no pixel
MOST_HIDDEN = 1 / 8  # of a region, by an outline below that zoom
SPINE = 6  # width of the strip that tells regions apart below that zoom


class PixelMap:
    """Where pixels of a program stand on the map, and how to draw them.

    Args:
        shape: (height, width) of the program's image.
        scale: dots for one pixel; None takes the largest that fits ``reach``. One that would not
            fit is reduced.
        reach: (width, height) in dots that the map may take.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        scale: int | None = None,
        reach: tuple[int, int] = (MOST_WIDE, MOST_HIGH),
    ) -> None:
        self.image_height, self.image_width = shape
        fits = min(reach[0] // self.image_width, reach[1] // self.image_height)
        self.zoom = max(1, min(scale or LARGEST_ZOOM, fits))
        self.step = 1
        if not fits:
            self.step = max(-(-self.image_width // reach[0]), -(-self.image_height // reach[1]))
        self.columns = -(-self.image_width // self.step)
        self.rows = -(-self.image_height // self.step)
        self.width, self.height = self.columns * self.zoom, self.rows * self.zoom
        self._borders: tuple[Program, list[tuple[NDArray[np.int64], Color]]] | None = None

    @property
    def caption(self) -> str:
        """What a dot means."""
        if self.step > 1:
            return f"one dot is {self.step} x {self.step} pixels"
        if self.zoom == 1:
            return "pixels as they are"
        numbers = ": a number is R, four are R G B A" if self.zoom >= BYTES_FROM else ""
        return f"pixels enlarged {self.zoom} times{numbers}"

    def box(self, rectangle: Rectangle) -> Rectangle:
        """The dots (x0, y0, x1, y1) that show a rectangle of pixels."""
        x0, y0, x1, y1 = rectangle
        step, zoom = self.step, self.zoom
        return x0 // step * zoom, y0 // step * zoom, -(-x1 // step) * zoom, -(-y1 // step) * zoom

    def cells(self, image: Image) -> Colors:
        """One colour for each cell, alpha left out: uint8 (rows, columns, 3)."""
        cells = np.empty((self.rows, self.columns, 3), np.uint8)
        self.refresh(cells, image, range(self.rows))
        return cells

    def refresh(self, cells: Colors, image: Image, rows: Iterable[int]) -> None:
        """Bring some rows of ``cells`` up to date with the image."""
        if self.step == 1:
            for row in rows:
                cells[row] = image[row, :, :3]
            return
        starts = np.arange(0, self.image_width, self.step)
        counts = np.minimum(starts + self.step, self.image_width) - starts
        for row in rows:
            band = image[row * self.step : (row + 1) * self.step, :, :3]
            sums = np.add.reduceat(band.sum(axis=0, dtype=np.uint32), starts, axis=0)
            cells[row] = sums // (counts * len(band))[:, None]

    def enlarge(self, cells: NDArray[np.generic]) -> NDArray[np.generic]:
        """Cells as dots."""
        return cells.repeat(self.zoom, 0).repeat(self.zoom, 1)

    def dots(self, cells: Colors) -> Colors:
        """The map without marks: uint8 (height, width, 3)."""
        dots = np.array(self.enlarge(cells), np.uint8)
        if self.zoom >= GRID_FROM:
            for lines in (dots[self.zoom - 1 :: self.zoom], dots[:, self.zoom - 1 :: self.zoom]):
                lines[...] = lines // 2 + np.array(theme.BACKGROUND, np.uint8) // 2
        return dots

    def border(self, boxes: Iterable[Rectangle], most: float = 1.0) -> NDArray[np.int64]:
        """Numbers y * width + x of the dots just inside the border of what boxes cover.

        None where they would be more than a share ``most`` of these dots.
        """
        placed = [self.box(rectangle) for rectangle in boxes]
        left, top, right, bottom = bounds(placed)
        inside = np.zeros((bottom - top, right - left), bool)
        for x0, y0, x1, y1 in placed:
            inside[y0 - top : y1 - top, x0 - left : x1 - left] = True
        core = inside
        for _ in range(2 if self.zoom >= 6 else 1):
            core = _shrunk(core)
        ys, xs = np.nonzero(inside & ~core)
        if len(ys) > most * np.count_nonzero(inside):
            return np.zeros(0, np.int64)
        return np.asarray((ys + top) * self.width + xs + left, np.int64)

    def outline(self, dots: Colors, border: NDArray[np.int64], color: Color) -> None:
        """Draw a border on the map."""
        share = 1.0 if self.zoom >= OUTLINES_FROM else 0.7
        ys, xs = border // self.width, border % self.width
        dots[ys, xs] = (dots[ys, xs] * (1 - share) + np.array(color) * share).astype(np.uint8)

    def borders(self, program: Program) -> list[tuple[NDArray[np.int64], Color]]:
        """The border and the colour of every region; found once for each program.

        A region that its outline would hide has none: see ``spine``.
        """
        if self._borders is None or self._borders[0] is not program:
            colors = theme.region_colors(program)
            most = 1.0 if self.zoom >= OUTLINES_FROM else MOST_HIDDEN
            found = [
                (self.border(rectangles(r.spans), most), colors[r.name]) for r in program.regions
            ]
            self._borders = program, found
        return self._borders[1]

    def spine(self, program: Program) -> Colors:
        """For each row of dots the colour of the region that takes most of it: (height, 3)."""
        shown = np.full((self.height, 3), theme.BACKGROUND, np.uint8)
        widest = np.zeros(self.height, int)
        colors = theme.region_colors(program)
        for region in program.regions:
            for x0, y0, x1, y1 in map(self.box, rectangles(region.spans)):
                wider = widest[y0:y1] < x1 - x0
                widest[y0:y1][wider] = x1 - x0
                shown[y0:y1][wider] = colors[region.name]
        return shown

    def mark(self, dots: Colors, xs: NDArray[np.int64], ys: NDArray[np.int64]) -> None:
        """Highlight pixels: bright frames where cells are large, a tinted patch with a bright
        border where they are small, a bright border where they are tiny."""
        cells = np.zeros((self.rows, self.columns), bool)
        cells[ys // self.step, xs // self.step] = True
        marked = np.array(self.enlarge(cells), bool)
        if self.zoom >= 12:
            place = np.arange(self.zoom)
            edge = (place < 2) | (place >= self.zoom - 2)
            frame = edge[:, None] | edge[None, :]
            marked &= np.tile(frame, (self.rows, self.columns))
        else:
            border = marked & ~_shrunk(marked)
            if self.zoom >= 4:
                tinted = dots[marked] * 0.65 + np.array(theme.CHANGED) * 0.35
                dots[marked] = tinted.astype(np.uint8)
            marked = border
        dots[marked] = theme.CHANGED

    def glyphs(self, dots: Colors, instructions: Iterable[Instruction]) -> None:
        """Write each instruction's glyph on its pixel, in the opcode's colour."""
        if self.zoom < GLYPH_FROM:
            return
        for i in instructions:
            mask = text_mask(i.op.glyph, "bold")
            y = i.y * self.zoom + (self.zoom - mask.shape[0] + 1) // 2
            x = i.x * self.zoom + (self.zoom - mask.shape[1] + 1) // 2
            cell = dots[i.y * self.zoom : (i.y + 1) * self.zoom, i.x * self.zoom :][:, : self.zoom]
            cell[1:-1, 1:-1] = theme.mix(i.op.color, theme.BACKGROUND, 0.72)
            dots[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = i.op.color

    def write_bytes(self, dots: Colors, image: Image, spans: Iterable[Span]) -> None:
        """Write the bytes of pixels on them: R, or where there is more R and G above B and A.

        Small ones look black.
        """
        if self.zoom < BYTES_FROM:
            return
        for y, start, stop in spans:
            for x, pixel in enumerate(image[y, start:stop].tolist(), start):
                cell = dots[y * self.zoom :, x * self.zoom :][: self.zoom - 1, : self.zoom - 1]
                _write_pixel(cell, pixel)


def _write_pixel(cell: Colors, pixel: list[int]) -> None:
    red, green, blue, _ = pixel
    ink = theme.mix(
        theme.ink_on((red, green, blue)), (red, green, blue), 0.2 if any(pixel) else 0.6
    )
    if not any(pixel[1:]):
        _centred(cell, text_mask(str(red)), ink)
        return
    middle = len(cell) // 2
    halves = (slice(0, middle), slice(middle + 1, None))
    for part, value in zip(itertools.product(halves, halves), pixel, strict=True):
        _centred(cell[part], text_mask(str(value), "small"), ink)


def _centred(cell: Colors, mask: NDArray[np.bool_], ink: Color) -> None:
    y, x = ((room - size + 1) // 2 for room, size in zip(cell.shape, mask.shape, strict=False))
    cell[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = ink


def _shrunk(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Dots whose four neighbours are inside as well."""
    padded = np.pad(inside, 1)
    across = padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & across & padded[:-2, 1:-1] & padded[2:, 1:-1]


def map_block(pixel_map: PixelMap, dots: Colors, program: Program) -> Block:
    """A map beside the names of its regions, each with a line to where it starts.

    Where outlines would hide pixels, a strip between names and map tells regions apart.
    """
    colors = theme.region_colors(program)
    beside, within = _labels(pixel_map, program)
    spine = SPINE if pixel_map.zoom < OUTLINES_FROM else 0
    gutter = max((text_size(r.name, "bold")[0] for r, _, _ in beside), default=0)
    gutter += (22 if beside else 0) + spine

    def paint(page: Page, x: int, y: int) -> None:
        page.pixels(x + gutter, y, dots)
        if spine:
            page.pixels(x + gutter - spine, y, pixel_map.spine(program)[:, None].repeat(4, 1))
        page.box(
            x + gutter - 1, y - 1, pixel_map.width + 2, pixel_map.height + 2, outline=theme.LINE
        )
        for region, start, place in beside:
            color = colors[region.name]
            width, height = text_size(region.name, "bold")
            edge = x + gutter - spine
            page.text(edge - 22 - width, y + place - height // 2, region.name, color, "bold")
            bend = edge - 18
            points = [(bend, y + place), (bend + 4, y + place), (edge - 6, y + start)]
            page.draw.line([*points, (edge - 2, y + start)], fill=color)
        for region, left, top in within:
            width, height = text_size(region.name, "small")
            page.box(x + gutter + left, y + top, width + 4, height + 2, fill=theme.BACKGROUND)
            page.text(x + gutter + left + 2, y + top + 1, region.name, colors[region.name], "small")

    return Block(gutter + pixel_map.width, pixel_map.height, paint)


Label = tuple[Region, int, int]


def _labels(pixel_map: PixelMap, program: Program) -> tuple[list[Label], list[Label]]:
    """((region, y of its start, y of the label) beside, (region, x, y) within the map).

    Regions that start at the left edge are named beside the map, as many as have room, the
    largest first (where many crowd, only as near to their start as they can stand); others
    inside, where their name fits.
    """

    def room_for(name: str) -> int:
        return text_size(name, "small")[0] + 8

    spacing = text_size("x", "bold")[1] + 1
    room = max(1, pixel_map.height // spacing)
    beside: list[tuple[int, Region, int]] = []
    within: list[Label] = []
    for region in program.regions:
        x0, y0, x1, y1 = pixel_map.box(bounds(rectangles(region.spans)))
        if x0 == 0:
            first = pixel_map.zoom // 2 if pixel_map.zoom > 3 else min(4, (y1 - y0) // 2)
            beside.append(((x1 - x0) * (y1 - y0), region, y0 + first))
        elif region.role == "code" and pixel_map.zoom >= GLYPH_FROM:
            continue  # its glyphs say so
        elif y1 - y0 > 14 and x1 - x0 > (3 if y1 - y0 < 40 else 1) * room_for(region.name):
            within.append((region, x0 + 3, y0 + 3))
    beside.sort(key=lambda found: -found[0])
    kept: list[tuple[int, Region]] = []
    for _, region, start in beside:
        crowded = 2 * len(beside) > room and any(abs(start - s) < spacing for s, _ in kept)
        if len(kept) < room and not crowded:
            kept.append((start, region))
    rows = sorted(kept, key=lambda row: row[0])
    places = _spread([start for start, _ in rows], spacing, pixel_map.height)
    return [(r, start, place) for (start, r), place in zip(rows, places, strict=True)], within


def _spread(wanted: list[int], spacing: int, height: int) -> list[int]:
    """Places as near to the wanted ones as possible, in order, at least ``spacing`` apart."""
    places: list[int] = []
    for want in wanted:
        places.append(max(want, places[-1] + spacing if places else 0))
    limit = height - spacing // 2
    for index in range(len(places) - 1, -1, -1):
        places[index] = min(places[index], limit)
        limit = places[index] - spacing
    return places
