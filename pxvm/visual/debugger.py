"""The terminal debugger: a thin Textual skin over ``Session``.

Imported only by ``pxvm debug`` without ``--commands``; Textual comes with the extra ``debug``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Footer, Input, RichLog, Static

from pxvm.core.errors import PxvmError
from pxvm.terminal.escaping import visible, visible_lines
from pxvm.visual import text, theme
from pxvm.visual.breakpoints import select
from pxvm.visual.session import Session

HEAT_ROWS = 6
HISTORY_KEPT = 200
MOST_LEVELS = 16
TICK = 0.2  # seconds between two looks at a long run


def _style(color: theme.Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


MUTED = _style(theme.MUTED)


class CommandInput(Input):
    """The command line; up and down bring back earlier commands."""

    BINDINGS: ClassVar[list[Any]] = [
        Binding("up", "recall(-1)", show=False),
        Binding("down", "recall(1)", show=False),
    ]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.earlier: list[str] = []
        self.place = 0

    def remember(self, command: str) -> None:
        """Keep a command for ``up``."""
        self.earlier = [*self.earlier, command][-HISTORY_KEPT:]
        self.place = len(self.earlier)

    def action_recall(self, by: int) -> None:
        """Show an earlier or later command."""
        self.place = max(0, min(len(self.earlier), self.place + by))
        self.value = self.earlier[self.place] if self.place < len(self.earlier) else ""
        self.cursor_position = len(self.value)


class Pane(Static):
    """Text that is made for the room it has: anew whenever that changes."""

    def __init__(self, make: Callable[[int, int], Text], **options: Any) -> None:
        super().__init__(**options)
        self.make = make

    def draw(self) -> None:
        """Show what is so now."""
        width, height = self.content_size
        if width and height:
            self.update(self.make(width, height))

    def on_resize(self) -> None:
        """The room has changed."""
        self.draw()


class Debugger(App[None]):
    """Listing and values beside the picture; output and a command line below."""

    TITLE = "pxvm debug"
    ENABLE_COMMAND_PALETTE = False
    CSS = f"""
    Screen {{ background: {_style(theme.BACKGROUND)}; color: {_style(theme.INK)}; }}
    #status {{ height: 1; padding: 0 1; background: {_style(theme.PANEL)}; }}
    #body {{ height: 1fr; }}
    #left {{ width: 3fr; }}
    .pane {{ border: round {_style(theme.LINE)}; border-title-color: {MUTED}; padding: 0 1; }}
    .pane {{ scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
        scrollbar-color: {_style(theme.LINE)}; scrollbar-background: {_style(theme.BACKGROUND)};
        scrollbar-color-hover: {MUTED};
        scrollbar-background-hover: {_style(theme.BACKGROUND)}; }}
    .pane:focus {{ border: round {MUTED}; }}
    #code {{ height: 1fr; }}
    #watches {{ height: 1fr; }}
    #values {{ height: auto; min-height: 1; }}
    #picture {{ width: 2fr; height: 1fr; content-align: center middle; }}
    #log {{ height: 20%; min-height: 5; background: {_style(theme.BACKGROUND)}; }}
    CommandInput {{ border: none; height: 1; padding: 0 1; background: {_style(theme.PANEL)}; }}
    CommandInput:focus {{ border: none; background: {_style(theme.LINE)}; }}
    Footer {{ background: {_style(theme.PANEL)}; }}
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("s,right", "run_command('step')", "Step"),
        Binding("b,left", "run_command('back')", "Back"),
        Binding("c", "run_command('continue')", "Continue"),
        Binding("r", "run_command('reverse')", "Reverse"),
        Binding("0", "run_command('goto 0')", "Start", show=False),
        Binding("plus,equals_sign", "zoom(1)", "Zoom", key_display="+ -"),
        Binding("minus", "zoom(-1)", show=False),
        Binding("shift+left,h", "pan(-1, 0)", show=False),
        Binding("shift+right,l", "pan(1, 0)", show=False),
        Binding("shift+up,k", "pan(0, -1)", show=False),
        Binding("shift+down,j", "pan(0, 1)", show=False),
        Binding("colon,slash", "command", "Command", key_display=":"),
        Binding("escape", "leave", "Stop", key_display="esc", priority=True),
        Binding("q,ctrl+c", "quit", "Quit", key_display="q", priority=False),
    ]

    def __init__(self, session: Session, name: str = "") -> None:
        super().__init__()
        self.session = session
        self.sub_title = name
        self.interrupt = threading.Event()
        self.running = False
        self.level = 0
        self.centre: tuple[int, int] | None = None
        self.window: text.Window | None = None
        session.show_watches = False

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Pane(self._status, id="status")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                code = Pane(self._listing, id="code", classes="pane")
                code.border_title = "Program"
                yield code
                with VerticalScroll(id="watches", classes="pane") as watches:
                    watches.border_title = "Values"
                    yield Pane(self._values, id="values")
            yield Pane(self._picture, id="picture", classes="pane")
        log = RichLog(id="log", classes="pane", wrap=True, highlight=False)
        log.border_title = "Output"
        yield log
        yield CommandInput(placeholder=': command, such as "watch @8" or "help"', id="command")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Start on the keys, not in the command line."""
        self.query_one("#watches").focus()
        keys = "+ - zoom, shift+arrows move the picture, 0 is the start, : help lists more"
        self.query_one(RichLog).write(Text(keys, MUTED))
        self.set_interval(TICK, self._tick)

    def _tick(self) -> None:
        if self.running:
            self.query_one("#status", Pane).draw()

    def action_command(self) -> None:
        """Go to the command line."""
        self.query_one(CommandInput).focus()

    def action_zoom(self, by: int) -> None:
        """Twice or half the scale, around what is in the middle."""
        if self.running or not 0 <= self.level + by <= MOST_LEVELS:
            return
        x0, y0, x1, y1 = self.window.box if self.window else (0, 0, 0, 0)
        if by > 0 and min(x1 - x0, y1 - y0) < 4:
            return
        self.level += by
        self.show()

    def action_pan(self, right: int, down: int) -> None:
        """Move an enlarged picture by a quarter of what is seen."""
        if self.window and self.level and not self.running:
            x0, y0, x1, y1 = self.window.box
            across, along = max(1, (x1 - x0) // 4), max(1, (y1 - y0) // 4)
            self.centre = (x0 + x1) // 2 + right * across, (y0 + y1) // 2 + down * along
            self.show()

    def action_leave(self) -> None:
        """Stop a long run, and leave the command line."""
        self.interrupt.set()
        self.query_one("#watches").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """A command was entered."""
        line = self.query_one(CommandInput)
        command, line.value = event.value.strip(), ""
        if command in ("q", "quit", "exit"):
            self.exit()
        elif command:
            line.remember(command)
            self.action_run_command(command)

    def action_run_command(self, command: str) -> None:
        """Carry out a command of the session's language."""
        if self.running:
            self.notify("still running; Escape stops it")
            return
        self.running = True
        self.interrupt.clear()
        self._execute(command)

    @work(thread=True, exclusive=True)
    def _execute(self, command: str) -> None:
        try:
            shown = Text(visible_lines(self.session.execute(command, self.interrupt.is_set)))
        except (PxvmError, OSError) as error:
            shown = Text(visible_lines(error), _style(theme.NEGATIVE))
        self.call_from_thread(self._finish, command, shown)

    def _finish(self, command: str, shown: Text) -> None:
        self.running = False
        self.centre = None
        log = self.query_one(RichLog)
        log.write(Text(visible(f"> {command}"), MUTED))
        if shown.plain:
            log.write(shown)
        self.show()

    def show(self) -> None:
        """Draw everything as it is now."""
        for pane in self.query(Pane):
            pane.draw()

    def _status(self, width: int, height: int) -> Text:
        status = Text(visible(f"{self.sub_title}  " if self.sub_title else ""), "bold")
        status.append(f"step {self.session.position:,}", "bold")
        if self.running:
            status.append("   running, Escape stops", _style(theme.CHANGED))
        elif self.session.ended:
            status.append(f"   {self.session.ended}", _style(theme.CHANGED))
        if self.session.last and not self.running:
            status.append(f"   last: {visible(self.session.describe_last())}", MUTED)
        high, wide = self.session.image.shape[:2]
        status.append(f"   {wide} x {high} pixels", MUTED)
        status.truncate(width, overflow="ellipsis")
        return status

    def _picture(self, width: int, height: int) -> Text:
        if self.running and self.window:
            return self.window.blocks
        self.window = text.picture_window(
            self.session.image,
            width,
            height,
            self.session.last[1] if self.session.last else None,
            self.session.next,
            level=self.level,
            centre=self.centre,
        )
        self.query_one("#picture").border_title = f"Picture {self.window.caption}"
        return self.window.blocks

    def _listing(self, width: int, height: int) -> Text:
        if self.running:
            return Text("running", MUTED)
        code = self.session.program.instructions
        upcoming = self.session.next
        here = upcoming.index if upcoming else len(code) - 1
        first = max(0, min(here - height // 2, len(code) - height))
        points = self.session.breakpoints.values()
        names = max(len(i.op.name) for i in code)
        lines = []
        for i in code[first : first + height]:
            current = upcoming is not None and i.index == here
            stops = any(point.stops_before(i) for point in points)
            line = Text()
            line.append("●" if stops else " ", _style(theme.NEGATIVE))
            line.append("▶" if current else " ", _style(theme.CHANGED))
            line.append(f"{i.index:>3} ", MUTED)
            line.append(f"{i.op.glyph} ", f"bold {_style(i.op.color)}")
            line.append(f"{i.op.name:<{names}} ", _style(i.op.color))
            named = visible(self.session.operand_names(i) or i)
            line.append(named, "" if current else MUTED)
            line.truncate(width, overflow="ellipsis")
            if current:
                line.pad_right(max(0, width - len(line)))
                line.stylize(f"on {_style(theme.LINE)}")
            lines.append(line)
        return Text("\n").join(lines)

    def _values(self, width: int, height: int) -> Text:
        """Watched regions, or those of the last step while nothing is watched."""
        if self.running:
            return Text("running", MUTED)
        names = self.session.watches
        if not names and self.session.last:
            found = self.session.machine.operands(self.session.last[0])
            names = list(dict.fromkeys(region.name for mode, region in found if mode.writes))
        if not names:
            return Text('nothing is watched; try ": watch NAME"'[:width], MUTED)
        lines = [line for name in names for line in self._value_lines(name, width)]
        return Text("\n").join(lines)

    def _value_lines(self, name: str, width: int) -> list[Text]:
        values = select(self.session.program, self.session.image, name)
        colors = theme.region_colors(self.session.program)
        color = colors.get(name.partition("[")[0].strip(), theme.INK)
        head = Text(visible(name), f"bold {_style(color)}")
        head.append(f"  {text.summary(values)}", MUTED)
        head.truncate(width, overflow="ellipsis")
        numbers = text.value_lines(values)
        if text.as_numbers(values) and len(numbers[0]) <= width:
            return [head, *map(Text, numbers)]
        if values.size and values.min() != values.max():
            return [head, *text.heat_blocks(values, width, HEAT_ROWS).split("\n")]
        return [head]
