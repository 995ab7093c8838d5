"""The terminal debugger: a thin Textual skin over ``Session``.

Imported only by ``pxvm debug`` without ``--commands``; Textual comes with the extra ``debug``.
"""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Footer, Input, RichLog, Static

from pxvm.core.errors import PxvmError
from pxvm.visual import text, theme
from pxvm.visual.breakpoints import select
from pxvm.visual.session import Session

HEAT_ROWS = 6
HISTORY_KEPT = 200


def _style(color: theme.Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


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


class Debugger(App[None]):
    """Listing and watches beside the picture; output and a command line below."""

    TITLE = "pxvm debug"
    ENABLE_COMMAND_PALETTE = False
    CSS = f"""
    Screen {{ background: {_style(theme.BACKGROUND)}; color: {_style(theme.INK)}; }}
    #status {{ height: 1; padding: 0 1; background: {_style(theme.PANEL)}; }}
    #body {{ height: 1fr; }}
    #left {{ width: 50%; }}
    .pane {{ border: round {_style(theme.LINE)}; border-title-color: {_style(theme.MUTED)};
             padding: 0 1; }}
    .pane, CommandInput {{ scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
        scrollbar-color: {_style(theme.LINE)}; scrollbar-background: {_style(theme.BACKGROUND)};
        scrollbar-color-hover: {_style(theme.MUTED)};
        scrollbar-background-hover: {_style(theme.BACKGROUND)}; }}
    .pane:focus {{ border: round {_style(theme.MUTED)}; }}
    #listing {{ height: 1fr; }}
    #watches {{ height: 1fr; }}
    #picture {{ width: 50%; height: 1fr; content-align: center middle; }}
    #log {{ height: 30%; min-height: 6; background: {_style(theme.BACKGROUND)}; }}
    CommandInput {{ border: round {_style(theme.LINE)}; background: {_style(theme.BACKGROUND)};
                    height: 3; }}
    CommandInput:focus {{ border: round {_style(theme.CHANGED)}; }}
    Footer {{ background: {_style(theme.PANEL)}; }}
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("s,right", "run_command('step')", "Step"),
        Binding("b,left", "run_command('back')", "Back"),
        Binding("c", "run_command('continue')", "Continue"),
        Binding("r", "run_command('reverse')", "Reverse"),
        Binding("0", "run_command('goto 0')", "Start"),
        Binding("z", "zoom", "Zoom"),
        Binding("colon,slash", "command", "Command", key_display=":"),
        Binding("escape", "leave", "Stop/keys", priority=True),
        Binding("q,ctrl+c", "quit", "Quit", priority=False),
    ]

    def __init__(self, session: Session, name: str = "") -> None:
        super().__init__()
        self.session = session
        self.sub_title = name
        self.interrupt = threading.Event()
        self.running = False
        self.close = False
        session.show_watches = False

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Static(id="status")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                with VerticalScroll(id="listing", classes="pane") as listing:
                    listing.border_title = "Program"
                    yield Static(id="code")
                with VerticalScroll(id="watches", classes="pane") as watches:
                    watches.border_title = "Values"
                    yield Static(id="values")
            picture = Static(id="picture", classes="pane")
            picture.border_title = "Picture"
            yield picture
        log = RichLog(id="log", classes="pane", wrap=True, highlight=False)
        log.border_title = "Output"
        yield log
        yield CommandInput(placeholder='command, such as "watch @8" or "help"', id="command")
        yield Footer()

    def on_mount(self) -> None:
        """Start on the keys, not in the command line."""
        self.query_one("#listing").focus()
        self.query_one(RichLog).write(
            Text("s step, b back, c continue, r reverse, : command, q quit", theme_muted())
        )
        self.call_after_refresh(self.show)

    def on_resize(self) -> None:
        """The picture depends on the room."""
        self.call_after_refresh(self.show)

    def action_command(self) -> None:
        """Go to the command line."""
        self.query_one(CommandInput).focus()

    def action_zoom(self) -> None:
        """The whole picture, or the part around the changes."""
        self.close = not self.close
        self.show()

    def action_leave(self) -> None:
        """Stop a long run, and leave the command line."""
        self.interrupt.set()
        self.query_one("#listing").focus()

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
            shown = Text(self.session.execute(command, self.interrupt.is_set))
        except (PxvmError, OSError) as error:
            shown = Text(str(error), _style(theme.NEGATIVE))
        self.call_from_thread(self._finish, command, shown)

    def _finish(self, command: str, shown: Text) -> None:
        self.running = False
        log = self.query_one(RichLog)
        log.write(Text(f"> {command}", theme_muted()))
        if shown.plain:
            log.write(shown)
        self.show()

    def show(self) -> None:
        """Draw everything as it is now."""
        if self.running:
            return
        self.query_one("#status", Static).update(self._status())
        self.query_one("#code", Static).update(self._listing())
        self.query_one("#values", Static).update(self._values())
        picture = self.query_one("#picture", Static)
        width, height = picture.content_size
        if width and height:
            changes = self.session.last[1] if self.session.last else None
            blocks, shown = text.picture_blocks(
                self.session.image, width, height, changes, self.session.next, close=self.close
            )
            picture.update(blocks)
            picture.border_title = f"Picture: {shown}"

    def _status(self) -> Text:
        height, width = self.session.image.shape[:2]
        status = Text(f"{self.sub_title}  " if self.sub_title else "", "bold")
        status.append(f"{width} x {height} pixels", theme_muted())
        status.append(f"   step {self.session.position}", "bold")
        if self.session.machine.halted:
            status.append("   halted", _style(theme.CHANGED))
        if self.session.last:
            status.append(f"   last: {self.session.describe_last()}", theme_muted())
        return status

    def _listing(self) -> Text:
        listing = Text(no_wrap=True, overflow="ellipsis")
        width, height = self.query_one("#listing").content_size
        room = max(3, height)
        code = self.session.program.instructions
        upcoming = self.session.next
        here = upcoming.index if upcoming else len(code) - 1
        first = max(0, min(here - room // 2, len(code) - room))
        points = self.session.breakpoints.values()
        for i in code[first : first + room]:
            current = upcoming is not None and i.index == here
            stops = any(point.stops_before(i) for point in points)
            line = Text()
            line.append("●" if stops else " ", _style(theme.NEGATIVE))
            line.append("▶" if current else " ", _style(theme.CHANGED))
            line.append(f"{i.index:>4} ", theme_muted())
            line.append(f"{i.op.glyph} ", f"bold {_style(i.op.color)}")
            line.append(f"{i.op.name:<12} ", _style(i.op.color))
            line.append(self.session.operand_names(i) or str(i), "" if current else theme_muted())
            if current:
                line.pad_right(max(0, width - len(line)))
                line.stylize(f"on {_style(theme.LINE)}")
            listing.append_text(line).append("\n")
        return listing

    def _values(self) -> Text:
        """Watched regions, or those of the last step while nothing is watched."""
        names = self.session.watches
        if not names and self.session.last:
            found = self.session.machine.operands(self.session.last[0])
            names = list(dict.fromkeys(region.name for mode, region in found if mode.writes))
        shown = Text(no_wrap=True)
        colors = theme.region_colors(self.session.program)
        columns = max(8, self.query_one("#watches").content_size.width - 2)
        for name in names:
            values = select(self.session.program, self.session.image, name)
            color = colors.get(name.partition("[")[0].strip(), theme.INK)
            shown.append(name, f"bold {_style(color)}")
            shown.append(f"  {text.summary(values)}\n", theme_muted())
            if text.as_numbers(values) and len(text.value_lines(values)[0]) <= columns:
                shown.append("\n".join(text.value_lines(values)))
            elif values.size and values.min() != values.max():
                shown.append_text(text.heat_blocks(values, columns, HEAT_ROWS))
            shown.append("\n")
        return shown if names else Text('nothing is watched; try ": watch NAME"', theme_muted())


def theme_muted() -> str:
    """The style of what matters less."""
    return _style(theme.MUTED)
