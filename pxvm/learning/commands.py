"""``pxvm learn`` and ``pxvm recall``: documents into the memory, answers out of it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pxvm.learning.terminal import FILE, echo_json, json_option, network_option, progress, writing

if TYPE_CHECKING:
    from pxvm.learning.documents import Document, Skipped
    from pxvm.learning.record import Draft

EXPECTED = ("hidden", "ignored", "binary")  # reasons to skip a file that are only counted


@click.command(short_help="Take files and folders into the memory.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=FILE)
@network_option
@click.option("--tag", "tags", multiple=True, help="Give this tag to what is new; repeatable.")
@click.option("--name", default="standard input", show_default=True,
              help="What standard input is called; its end says how to read it.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="Executor that embeds.")
@json_option
def learn(
    paths: tuple[Path, ...],
    path: Path,
    tags: tuple[str, ...],
    name: str,
    device: str,
    as_json: bool,
) -> None:
    """Take documents into the network: files, folders, or "-" for standard input.

    Markdown, text, source code, HTML, PDF and exported chats are cut into passages; what is stored
    already is skipped, so an interrupted run is continued by running it again. What a changed file
    no longer says is superseded. With --json, a line tells how many records are safe on disk after
    each commit, and one line what became of each file.
    """
    from pxvm.learning.documents import read_documents
    from pxvm.learning.learn import Learned
    from pxvm.learning.learn import learn as learn_documents

    reasons: Counter[str] = Counter()
    totals = Counter(documents=0, added=0, known=0, replaced=0, forgotten=0)
    with writing(path, make=True) as network, progress("learning", not as_json) as update:

        def committed(total: int) -> None:
            update(total, 0)
            if as_json:
                echo_json({"acknowledged": total}, indent=None)

        found: Iterator[Document | Skipped]
        if paths == (Path("-"),):
            found = iter([_standard_input(name, tags)])
        else:
            found = read_documents(paths, path, tags)
        embed = _embedder(device, as_json)
        for event in learn_documents(network, found, embed=embed, committed=committed):
            if isinstance(event, Learned):
                totals["documents"] += 1
                for key in ("added", "known", "replaced", "forgotten"):
                    totals[key] += getattr(event, key)
                if as_json:
                    echo_json({"learned": asdict(event)}, indent=None)
            else:
                reasons[event.reason] += 1
                if as_json:
                    echo_json({"skipped": asdict(event)}, indent=None)
                elif event.reason not in EXPECTED:
                    click.echo(f"skipped {event.path}: {event.reason}", err=True)
    if as_json:
        echo_json({"done": {**totals, "skipped": dict(reasons)}}, indent=None)
        return
    parts = [f"{totals['added']:,} passages stored"]
    parts += [f"{totals['known']:,} known already"] if totals["known"] else []
    parts += [f"{totals['replaced']:,} superseded"] if totals["replaced"] else []
    parts += [f"{totals['forgotten']:,} stay forgotten"] if totals["forgotten"] else []
    click.echo(f"{path}: {totals['documents']:,} documents, {', '.join(parts)}")
    skipped = [f"{count:,} {reason}" for reason, count in reasons.items() if reason in EXPECTED]
    if skipped:
        click.echo(f"skipped: {', '.join(skipped)}")


def _standard_input(name: str, tags: tuple[str, ...]) -> Document:
    from pxvm.learning.documents import read_content

    return read_content(sys.stdin.buffer.read(), name, name, tags)


def _embedder(device: str, as_json: bool) -> Callable[[list[Draft]], list[Draft]]:
    """What gives drafts their vectors; without a model, nothing, and says so."""
    from pxvm.learning.embedding import Embedder

    embedder = Embedder.present(device)
    if embedder is not None:
        return embedder.with_vectors
    if not as_json:
        click.echo("no embedding model here: passages will be found by their words only; "
                   "`pxvm models get minilm` brings one", err=True)  # fmt: skip
    return list
