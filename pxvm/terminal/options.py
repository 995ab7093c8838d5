"""Options that several groups of commands take."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from pxvm.core.reading import check_regular

Command = Callable[..., Any]
FILE = click.Path(path_type=Path)


class RegularFile(click.File):
    """A file to read, or "-" for standard input; nothing that is waited for without end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value != "-":
            with suppress(OSError):  # click says of it what is wrong
                check_regular(value)
        return super().convert(value, param, ctx)


TEXT, BYTES = RegularFile("r", encoding="utf-8"), RegularFile("rb")
larger_files = click.option(
    "--max-pixels", type=click.IntRange(1), help="Open files of up to so many pixels."
)
layout_option = click.option(
    "--layout", type=click.Choice(["compressed", "mappable"]), default="compressed",
    show_default=True,
    help="compressed: a small file; mappable: larger, opens in no time, read only where used.",
)  # fmt: skip
set_option = click.option(
    "--set", "settings", multiple=True, metavar="NAME=NUMBER",
    help="Set a scalar of the state first, such as count=1; repeatable.",
)  # fmt: skip


def device_option(what: str) -> Callable[[Command], Command]:
    """The option --device; ``what`` the executor does, for its help."""
    choices = (
        "auto (the fastest here), cpu (compiled; cpu:portable for no one processor), gpu, gpu:N or"
        " gpu:dawn (see `pxvm gpus`; gpu:planned and gpu:resident say how), or reference (NumPy)"
    )
    return click.option(
        "--device", default="auto", show_default=True, help=f"Executor that {what}: {choices}."
    )
