"""A run step by step: a table of what each step did, and an animated PNG that shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from pxvm.core.errors import PxvmError
from pxvm.core.machine import Machine, Step
from pxvm.core.program import Image, Instruction, Program, Region
from pxvm.terminal import counted
from pxvm.visual import blocks, theme
from pxvm.visual.blocks import Block, Page
from pxvm.visual.glyphs import text_size
from pxvm.visual.heatmap import MOST_DECODED
from pxvm.visual.pixelmap import Colors, PixelMap, map_block
from pxvm.visual.pixels import Changes, Shadow, merge, no_changes
from pxvm.visual.view import glyph_box, map_dots

if TYPE_CHECKING:
    from PIL import Image as Picture

MARGIN = 24
MOST_FRAMES = 60
MILLISECONDS = 900
LAST_MILLISECONDS = 3000
NAMES_SHOWN = 6


@dataclass(frozen=True)
class Row:
    """One step: ``changed`` counts pixels, ``low`` and ``high`` span the first written region."""

    step: int
    index: int
    text: str
    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    changed: int
    low: float | None
    high: float | None


@dataclass
class Trace:
    """What happened: ``rows`` in order, ``frames`` of the animation, ``stopped`` says why it ended:
    "halted", "yielded", "max_steps" or the error's text."""

    rows: list[Row] = field(default_factory=list)
    frames: list[Picture.Image] = field(default_factory=list)
    stopped: str = "halted"
    error: PxvmError | None = None

    def to_dict(self) -> dict[str, Any]:
        """The rows and the reason for stopping, ready for JSON."""
        return {"steps": [asdict(row) for row in self.rows], "stopped": self.stopped}

    def table(self) -> tuple[dict[str, str], list[list[str]]]:
        """The rows for a terminal: title -> side of each column, cells of each row."""
        sides = {"step": "right", "instruction": "left", "name": "left", "reads": "left",
                 "writes": "left", "changed": "right", "min": "right", "max": "right"}  # fmt: skip
        rows = []
        for row in self.rows:
            ends = ["" if v is None else theme.number(v) for v in (row.low, row.high)]
            names = [" ".join(_few(names)) for names in (row.reads, row.writes)]
            rows.append([str(row.step), row.text, row.name, *names, str(row.changed), *ends])
        return sides, rows

    def save(self, path: str | Path | BinaryIO) -> None:
        """Write the frames as an animated PNG; the last one stays longer."""
        if not self.frames:
            raise ValueError("the trace was made without frames")
        last = len(self.frames) - 1
        durations = [MILLISECONDS] * last + [LAST_MILLISECONDS]
        options: dict[str, Any] = {"duration": durations, "loop": 0} if last else {}
        self.frames[0].save(
            path, format="PNG", save_all=True, append_images=self.frames[1:], **options
        )


def trace(
    image: Image,
    *,
    max_steps: int = 1024,
    runs: int = 1,
    frames: bool = True,
    max_frames: int = MOST_FRAMES,
    scale: int | None = None,
    report: Callable[[int], object] = lambda steps: None,
) -> Trace:
    """Run the program in ``image`` (in place) and record every step.

    Args:
        max_steps: stop after so many.
        runs: a program that yields goes on until it has yielded so often.
        frames: also draw the animation: the start, then a frame for each step.
        max_frames: of a longer run, so many frames are kept, evenly spaced, each showing all
            changes since the one before.
        scale: dots for one pixel; None takes what fits well.
        report: told the number of steps after each of them.

    An instruction that cannot be executed ends the trace; the error is kept in ``error``.

    Raises ProgramError when the program is refused.
    """
    machine = Machine(image)
    shadow = Shadow(image, machine.program)
    film = _Film(image, machine.program, scale, max_frames) if frames else None
    result = Trace()
    if film:
        film.add(machine.next, None, no_changes(image.shape[1]))
    try:
        while runs and machine.steps < max_steps and (step := machine.step()):
            changes = shadow.update(step)
            result.rows.append(_row(machine, step, changes))
            if film:
                film.add(machine.next, result.rows[-1], changes)
            report(machine.steps)
            runs -= machine.yielded
        result.stopped = _why_stopped(machine)
    except PxvmError as error:
        result.stopped, result.error = str(error), error
    if film:
        result.frames = film.finish()
    return result


def _why_stopped(machine: Machine) -> str:
    if machine.halted:
        return "halted"
    return "yielded" if machine.yielded else "max_steps"


def _row(machine: Machine, step: Step, changes: Changes) -> Row:
    low = high = None
    for region in step.writes[:1]:
        if 0 < np.prod(region.shape, dtype=float) <= MOST_DECODED:
            values = region.values(machine.image)
            low, high = float(values.min()), float(values.max())
    return Row(
        machine.steps,
        step.instruction.index,
        str(step.instruction),
        step.instruction.op.name,
        _names(step.reads),
        _names(step.writes),
        len(changes),
        low,
        high,
    )


def _names(regions: tuple[Region, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(region.name for region in regions))


def _few(names: tuple[str, ...]) -> list[str]:
    return [*names[:NAMES_SHOWN], *(["..."] if len(names) > NAMES_SHOWN else [])]


class _Film:
    """Collects frames of equal size; of a long run every second one is dropped, again and again."""

    def __init__(self, image: Image, program: Program, scale: int | None, most: int) -> None:
        self.image, self.program = image, program
        self.map = PixelMap(image.shape[:2], scale)
        self.cells = self.map.cells(image)
        self.most = max(2, most)
        self.stride = 1
        self.pending = no_changes(image.shape[1])
        self.count = 0
        self.kept: list[Picture.Image] = []
        self.last: tuple[Instruction | None, Row | None] = (None, None)

    def add(self, upcoming: Instruction | None, row: Row | None, changes: Changes) -> None:
        """One more step; ``upcoming`` is the instruction that comes next."""
        self.pending = merge(self.pending, changes)
        self.last = upcoming, row
        if self.count % self.stride == 0:
            self._draw()
            if len(self.kept) > self.most:
                self.kept = self.kept[::2]
                self.stride *= 2
        self.count += 1

    def finish(self) -> list[Picture.Image]:
        """The frames, the last step's among them."""
        if (self.count - 1) % self.stride:
            self._draw()
        return self.kept

    def _draw(self) -> None:
        upcoming, row = self.last
        rows = np.unique(self.pending.ys // self.map.step).tolist()
        self.map.refresh(self.cells, self.image, rows)
        dots = map_dots(self.map, self.cells, self.image, self.program)
        self.kept.append(frame(dots, self.program, self.map, upcoming, row, self.pending))
        self.pending = no_changes(self.image.shape[1])


def frame(
    dots: Colors,
    program: Program,
    pixel_map: PixelMap,
    upcoming: Instruction | None,
    row: Row | None,
    changes: Changes,
) -> Picture.Image:
    """One picture of a run: the step just made, the map ``dots`` with changes, what comes next."""
    pixel_map.mark(dots, changes.xs, changes.ys)
    done = program.instructions[row.index] if row else None
    for instruction, color in ((upcoming, theme.INK), (done, theme.CHANGED)):
        if instruction:
            x, y = instruction.x, instruction.y
            pixel_map.outline(dots, pixel_map.border([(x, y, x + 1, y + 1)]), color)
    pixels = map_block(pixel_map, dots, program)
    width = max(720, pixels.width)
    head = _head(done, row, width)
    foot = f"next: {upcoming} {upcoming.op.name}" if upcoming else "halted"
    parts = [head, pixels, blocks.text(blocks.clip(foot, width), theme.MUTED)]
    body = blocks.column(parts, 16)
    return blocks.render(Block(width, body.height, body.paint), MARGIN)


def _head(done: Instruction | None, row: Row | None, width: int) -> Block:
    """Two lines of constant height about the step just made."""
    if not row or not done:
        title, facts = "Start", "nothing has run yet"
        box = Block(30, 30, lambda page, x, y: None)
    else:
        title = f"Step {row.step}: {done.op.name} {row.text}"
        facts = f"{counted(row.changed, 'pixel')} changed"
        if row.writes:
            facts = f"{' '.join(_few(row.reads))} > {' '.join(_few(row.writes))}, {facts}"
        if row.low is not None and row.high is not None:
            facts += f", {row.writes[0]} now {theme.number(row.low)} .. {theme.number(row.high)}"
        box = glyph_box(done.op, 2)

    def paint(page: Page, x: int, y: int) -> None:
        box.paint(page, x, y)
        left = x + 42 if row else x
        page.text(left, y, blocks.clip(title, width - 42, "bold"), theme.INK, "bold")
        color = theme.CHANGED if row and row.changed else theme.MUTED
        page.text(left, y + 16, blocks.clip(facts, width - 42), color)

    return Block(width, 2 * text_size("x")[1] + 4, paint)
