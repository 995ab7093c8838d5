"""Options that several groups of commands take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from pxvm.core.reading import check_regular

FILE = click.Path(path_type=Path)


class TextFile(click.File):
    """A text file to read, or "-" for standard input; nothing that is waited for without end."""

    def __init__(self) -> None:
        super().__init__("r", encoding="utf-8")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value != "-":
            with suppress(OSError):  # click says of it what is wrong
                check_regular(value)
        return super().convert(value, param, ctx)


TEXT = TextFile()
larger_files = click.option(
    "--max-pixels", type=click.IntRange(1), help="Open files of up to so many pixels."
)
