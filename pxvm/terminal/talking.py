"""A conversation in a terminal: a line that can be edited, and an answer as it comes."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress

from pxvm.terminal.escaping import visible_lines
from pxvm.terminal.printing import echo, write


def ask(prompt: str) -> str | None:
    """A line from the user, with editing and history where the system has them; None at the end.

    Ctrl-C empties the line.
    """
    with suppress(ImportError):  # Windows edits lines itself
        import readline  # noqa: F401
    try:
        return input(prompt)
    except EOFError:
        echo()
        return None
    except KeyboardInterrupt:
        echo()
        return ""


class Answer:
    """Prints a text that comes in pieces; on a terminal lines break between words.

    A word is held back until its end is known.
    """

    def __init__(self) -> None:
        self._wraps = sys.stdout.isatty()
        self._out: list[str] = []
        self._space = self._word = ""
        self._column = 0

    def put(self, text: str) -> None:
        """Print the next piece."""
        text = visible_lines(text)
        if not self._wraps:
            write(text, nl=False)
            return
        for character in text:
            self._take(character)
        self._show()

    def end(self) -> None:
        """Print what was held back, and end the line."""
        self._place()
        self._show()
        write("")

    def _show(self) -> None:
        if self._out:
            write("".join(self._out), nl=False)
            self._out.clear()

    def _take(self, character: str) -> None:
        from rich.cells import cell_len

        if character == "\n":
            self._place()
            self._out.append("\n")
            self._space, self._column = "", 0
        elif character.isspace():
            self._place()
            self._space += " " * 4 if character == "\t" else character
        elif cell_len(character) > 1:  # between Chinese characters a line may break anywhere
            self._place()
            self._word = character
            self._place()
        else:
            self._word += character

    def _place(self) -> None:
        """Put the word on this line, or on the next one if it does not fit."""
        from rich.cells import cell_len

        if not self._word:
            return
        width = shutil.get_terminal_size().columns
        if self._column and self._column + cell_len(self._space + self._word) > width:
            self._out.append("\n")
            self._space, self._column = "", 0
        self._out.append(self._space + self._word)
        self._column = (self._column + cell_len(self._space + self._word) - 1) % width + 1
        self._space = self._word = ""
