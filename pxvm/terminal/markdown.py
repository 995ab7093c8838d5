"""Markdown as it comes: what is certain stays on the screen, the block under way is drawn again.

Headings, lists, tables and code look like that on a terminal. Elsewhere, and where a terminal only
prints lines, an answer is the text itself.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import time

from pxvm.terminal.escaping import visible_lines
from pxvm.terminal.printing import draws, write
from pxvm.terminal.talking import Answer

PAUSE = 0.08  # seconds between two drawings, at least; and so many times what one takes
SHARE = 4
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
UP, CLEAR = "\x1b[{}A", "\r\x1b[J"  # the cursor so many lines up; all from it on


def readable_answer() -> Answer | Markdown:
    """For an answer of a model to a person: ``put`` its pieces, and ``end`` it."""
    return Markdown() if draws() else Answer()


class Markdown:
    """Prints Markdown that comes in pieces.

    Of the last block only so many lines are drawn again as the screen has; those above stay.
    """

    def __init__(self) -> None:
        self._text = ""  # of the blocks that are not finished
        self._lines: list[str] = []  # of it on the screen
        self._kept = 0  # of them above what is drawn again
        self._gap = 0  # lines that the block under way stands below the last one, still to come
        self._began = False
        self._next = 0.0

    def put(self, text: str) -> None:
        """Take the next piece; it is on the screen within a blink."""
        self._text += text
        if time.monotonic() < self._next:
            return
        began = time.monotonic()
        self._draw()
        took = time.monotonic() - began
        self._next = began + took + max(PAUSE, SHARE * took)

    def end(self) -> None:
        """Draw the rest, and end the line."""
        self._draw()
        if self._lines or not self._began:
            write("")

    def _draw(self) -> None:
        size, out = shutil.get_terminal_size(), ""
        *finished, self._text = _blocks(self._text)
        for block in (*finished, self._text):
            new = _lines(block, size.columns)
            if new:
                out += "\n" * self._gap
                self._gap = 0
            out += self._shown(new)
            if block is not self._text and new:
                out += "\n"
                self._lines, self._kept, self._gap, self._began = [], 0, 1, True
        self._kept = max(self._kept, len(self._lines) - (size.lines - 1))
        if out:
            write(out, nl=False)
            sys.stdout.flush()

    def _shown(self, new: list[str]) -> str:
        """What brings the screen from the lines that are there to new ones."""
        old, self._lines = self._lines, new
        same = self._kept
        while same < min(len(old), len(new)) and old[same] == new[same]:
            same += 1
        if same == len(old) == len(new):
            return ""
        if not old:
            return "\n".join(new)
        if same == len(old):  # only more lines
            return "\n" + "\n".join(new[same:])
        same = max(min(same, len(new) - 1), 0)
        up = len(old) - 1 - same
        return (UP.format(up) if up else "") + CLEAR + "\n".join(new[same:])


def _blocks(text: str) -> list[str]:
    """The blocks of a text; nothing that follows changes any but the last one."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt().enable("table").parse(text)
    starts = [t.map[0] for t in tokens if t.level == 0 and t.nesting >= 0 and t.map]
    lines = text.split("\n")
    ends = [*starts[1:], len(lines)]
    parts = [
        "\n".join(lines[a:b]) + "\n" * (b < len(lines))
        for a, b in zip([0, *starts[1:]], ends, strict=False)
    ]
    return parts or [text]


def _lines(text: str, columns: int) -> list[str]:
    """Markdown as lines for a terminal of so many columns."""
    from rich.console import Console
    from rich.markdown import Markdown as Rendering

    if not text.strip():
        return []
    page = io.StringIO()
    console = Console(file=page, force_terminal=True, width=columns, legacy_windows=False)
    console.print(Rendering(visible_lines(text), code_theme="ansi_dark", hyperlinks=False))
    lines = [line.rstrip() for line in page.getvalue().split("\n")]
    said = [number for number, line in enumerate(lines) if _STYLE.sub("", line).strip()]
    return lines[said[0] : said[-1] + 1] if said else []
