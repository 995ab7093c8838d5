"""What the commands of the memory share: which network, which time, how a record is shown."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pxvm.core.errors import OutputError, PxvmError
from pxvm.core.saving import check_output, replacing
from pxvm.learning.search.times import whole_time
from pxvm.learning.store.pages import belongs
from pxvm.terminal.options import FILE

if TYPE_CHECKING:
    from PIL.Image import Image

    from pxvm.learning.network import Network
    from pxvm.learning.store.record import Record

network_option = click.option(
    "-n",
    "--network",
    "path",
    type=FILE,
    envvar="PXVM_NETWORK",
    default="knowledge.png",
    show_default=True,
    show_envvar=True,
    help="The network's file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def _moment(context: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    """A date, a time or an expression such as "last week": when it begins, for --until its end."""
    if value is None:
        return None
    found = whole_time(value, datetime.now().astimezone())
    if found is None:
        raise click.BadParameter(
            f"{value!r}: expected a date such as 2026-03-31, a month such as 2026-03, a year, or "
            "words such as last week, and nothing else"
        )
    return found.end if option.name == "until" else found.start


since_option = click.option(
    "--since", metavar="TIME", callback=_moment, help="From this date on; or words: last week."
)
until_option = click.option(
    "--until", metavar="TIME", callback=_moment, help="Up to the end of this date; or words."
)


@contextmanager
def reading(path: Path, maker: str = "pxvm learn") -> Iterator[Network]:
    """The network at a path, opened so that nothing is written to it; ``maker`` makes one."""
    with _opened(path, read_only=True, maker=maker) as network:
        yield network


@contextmanager
def writing(path: Path, make: bool = False, maker: str = "pxvm learn") -> Iterator[Network]:
    """The network at a path, opened for writing; with ``make`` it may be new."""
    with _opened(path, make=make, read_only=False, maker=maker) as network:
        yield network


@contextmanager
def _opened(path: Path, *, read_only: bool, maker: str, make: bool = False) -> Iterator[Network]:
    from pxvm.learning.network import Network

    if not make and not path.exists():
        raise PxvmError(
            f"{path}: no such file; `{maker}` makes a network, --network names another one"
        )
    if path.is_dir():
        raise PxvmError(f"{path}: a folder; name the file, such as {path / 'knowledge.png'}")
    with Network.open(path, read_only=read_only) as network:
        yield network


def output_target(target: Path, *networks: Path) -> Path:
    """Where something made of networks goes: over nothing that is one's, nor will be."""
    check_output(target, *networks)
    for network in networks:
        if belongs(target, network):
            raise OutputError(
                f"{target}: the output has the name of a file that belongs to {network}; give"
                " another name"
            )
    return target


def save_picture(picture: Image, target: Path) -> None:
    """Write a picture as a PNG, whatever its name ends in."""
    with replacing(target) as stream:
        picture.save(stream, format="PNG")


def record_name(text: str) -> str | int:
    """A record's number if it is one of up to 7 digits, else its id or the beginning of that."""
    return int(text) if text.isdecimal() and len(text) < 8 else text


def source_at(wanted: str | None, network: Path) -> str | None:
    """A source as records name it, from the folder of the network; of a path from here, or one that
    begins with a dot, the same."""
    from pxvm.learning.sources.documents import source_of

    if not wanted:
        return wanted
    home, here = network.resolve().parent, Path.cwd()
    for base in (here, home) if wanted.startswith(".") else (home, here):
        if Path(wanted).is_absolute() or os.path.lexists(base / wanted):
            return source_of(base / wanted, home)
    return wanted


def is_from(source: str, wanted: str) -> bool:
    """Is a source this one, or in this folder, however that is written?"""
    folder = posixpath.normpath(wanted)
    return folder == "." or source == folder or source.startswith(f"{folder}/")


def when(record: Record) -> datetime:
    """When it happened, or else when it was stored."""
    return record.event_time or record.record_time


def one_line(text: str, width: int = 72) -> str:
    """The beginning of a text on one line."""
    words = " ".join(text.split())
    return words if len(words) <= width else words[: width - 3] + "..."


def line(record: Record) -> str:
    """A record in a list: number, id, date, kind, and how it begins."""
    date = when(record).astimezone().strftime("%Y-%m-%d")
    text = one_line(record.query or record.answer)
    return f"{record.sequence:>6}  {record.id[:12]}  {date}  {record.kind:<11}  {text}"


def as_data(record: Record) -> dict[str, Any]:
    """A record for JSON, its vectors by name only."""
    from pxvm.learning.exchange.exchange import to_row

    row = to_row(record)
    del row["counts"]
    row["vectors"] = [vector.model for vector in record.vectors]
    return row
