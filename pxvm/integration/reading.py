"""Lines from a person: edited, completed and called back on a terminal; plain ones from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pxvm.core import installation
from pxvm.core.errors import PxvmError
from pxvm.terminal import ask, draws, echo


class Lines:
    """What a person says, one text at a time.

    On a terminal with the package prompt_toolkit: history across sessions, completion of commands,
    and lines that go on where a line ends in a backslash, or with Alt-Enter. Elsewhere plain lines.

    Args:
        commands: name -> what it does, for completion.
    """

    def __init__(self, prompt: str, commands: Mapping[str, str]) -> None:
        self.prompt = prompt
        self._session = self._opened(commands) if is_terminal() else None

    def next(self) -> str | None:
        """The next text, None at the end; Ctrl-C empties the line."""
        lines: list[str] = []
        while True:
            line = self._line(self.prompt if not lines else "... ")
            if line is None:
                return "\n".join(lines) if lines else None
            if not line.endswith("\\"):
                return "\n".join([*lines, line])
            lines.append(line[:-1])

    def _line(self, prompt: str) -> str | None:
        if self._session is None:
            if sys.stdin.isatty():
                return ask(prompt)
            line = sys.stdin.readline()
            return line.rstrip("\n") if line else None
        try:
            return str(self._session.prompt(prompt))
        except EOFError:
            return None
        except KeyboardInterrupt:
            echo()
            return ""

    def _opened(self, commands: Mapping[str, str]) -> Any:
        try:
            prompt_toolkit = installation.library("prompt_toolkit", "bridge")
        except ImportError:
            return None
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory, InMemoryHistory
        from prompt_toolkit.key_binding import KeyBindings

        keys = KeyBindings()

        @keys.add("escape", "enter")
        def _(event: Any) -> None:
            event.current_buffer.insert_text("\n")

        completer = WordCompleter(list(commands), meta_dict=dict(commands), sentence=True)
        file = history_file()
        return prompt_toolkit.PromptSession(
            history=FileHistory(str(file)) if file else InMemoryHistory(),
            completer=completer,
            complete_while_typing=False,
            key_bindings=keys,
        )


def as_text(typed: str) -> str:
    """What was typed, in whatever locale, as the text of UTF-8 that its bytes are.

    Raises PxvmError for bytes that are none: what is stored would not be what was said.
    """
    try:
        return typed.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        raise PxvmError("that is no text in UTF-8") from None


def is_terminal() -> bool:
    """Is there a person at a terminal that can do more than print lines?"""
    return sys.stdin.isatty() and draws()


def history_file() -> Path | None:
    """Where lines are kept, readable for the user alone; None where that cannot be."""
    try:
        file = installation.cache_folder() / "talk.history"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        return file
    except OSError:
        return None
