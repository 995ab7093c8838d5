"""What the commands print: lines, texts, JSON and tables, none of which acts on the terminal."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from pxvm.terminal.escaping import safe_json, visible, visible_lines

WIDE = 10_000  # columns of what is no terminal, so that no cell is cut


def echo(text: object = "", *, err: bool = False, bold: bool = False, dim: bool = False) -> None:
    """Print one line; a line end inside it is shown as ``\\n``."""
    write(visible(text), err=err, bold=bold, dim=dim)


def echo_text(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print a text of several lines, or with ``nl`` False a part of one."""
    write(visible_lines(text), err=err, nl=nl)


def echo_json(value: Any, indent: int | None = 2) -> None:
    """Print one JSON document; times as ISO 8601, what is neither number nor text as text.

    JSON has no infinities: they are null.
    """
    try:
        document = _document(value, indent, sys.stdout.encoding)
    except ValueError:
        document = _document(_finite(value), indent, sys.stdout.encoding)
    write(document)


def _document(value: Any, indent: int | None, encoding: str | None) -> str:
    """Readable characters where the output can hold them, else their escapes."""
    settings: dict[str, Any] = {"indent": indent, "allow_nan": False, "default": _plain}
    document = safe_json(json.dumps(value, ensure_ascii=False, **settings))
    try:
        document.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        document = json.dumps(value, **settings)
    return document


def echo_table(columns: Mapping[str, str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table.

    Args:
        columns: title -> "left" or "right".
        rows: a value for each column.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, side in columns.items():
        if side == "right":
            table.add_column(Text(title), justify="right", no_wrap=True)
        else:
            table.add_column(Text(title), overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(value)) for value in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(table)


def draws() -> bool:
    """Is standard output a terminal that can do more than print lines?"""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def counted(count: int, what: str) -> str:
    """A number of things: "1 record", "2 records"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def write(
    text: str, *, err: bool = False, nl: bool = True, bold: bool = False, dim: bool = False
) -> None:
    """Print what is safe already: all that the room prints leaves here."""
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    if bold or dim:
        text = click.style(text, bold=bold or None, dim=dim or None)
    click.echo(text, file=stream, nl=nl)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
