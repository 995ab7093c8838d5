"""``pxvm learn`` and ``pxvm recall``: documents into the memory, answers out of it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pxvm.core.reading import check_regular
from pxvm.learning.commands.left_out import LeftOut
from pxvm.learning.commands.shared import (
    as_data,
    json_option,
    network_option,
    output_target,
    reading,
    save_picture,
    since_option,
    source_at,
    until_option,
    when,
    writing,
)
from pxvm.learning.store.pages import belongs
from pxvm.learning.store.record import KINDS
from pxvm.terminal import counted, echo, echo_json, echo_text, progress
from pxvm.terminal.options import FILE, device_option

if TYPE_CHECKING:
    from pxvm.learning.network import Network
    from pxvm.learning.search.search import Hit
    from pxvm.learning.sources.documents import Document, Skipped

SHOWN_LINES = 16  # of a hit's text
SHOWN_GONE = 10  # files that are no longer there, or elsewhere
EXPECTED = (
    "hidden",
    "ignored",
    "binary",
    "link; name it to learn it",
)  # reasons to skip a file that are only counted


@click.command(short_help="Take files and folders into the memory.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=FILE)
@network_option
@click.option("--tag", "tags", multiple=True, help="Give this tag to what is new; repeatable.")
@click.option("--prune", is_flag=True,
              help="Forget what came from files that are gone from these folders.")  # fmt: skip
@click.option("--name", default="standard input", show_default=True,
              help="What standard input is called; its end says how to read it.")  # fmt: skip
@click.option("--watch", is_flag=True,
              help="Go on: learn what changes in these files, until Ctrl-C.")  # fmt: skip
@device_option("embeds")
@json_option
def learn(
    paths: tuple[Path, ...],
    path: Path,
    tags: tuple[str, ...],
    prune: bool,
    name: str,
    watch: bool,
    device: str,
    as_json: bool,
) -> None:
    """Take documents into the network: files, folders, or "-" for standard input.

    Notes, text, source code, data, HTML, PDF, books, office files, letters, notebooks and exported
    chats are cut into passages; what is left out of them is told. What is stored already is
    skipped, so an interrupted run is continued by running it again. What a changed file no longer
    says is superseded; a file that was renamed takes its passages along, and one that is gone from
    a folder is named. Links in folders are not followed.

    With --json, a line tells how many records are safe on disk after each commit, and lines what
    became of each file and what was left out of it. With --watch (extra watch) the folders stay
    learned.
    """
    for named in paths:
        if named != Path("-") and not named.is_dir():
            check_regular(named)  # a name that is mistyped makes no network
    changes = _changes(paths, path) if watch else iter(())
    next(changes, None)  # what changes while the first learning runs is seen after it
    _learn(paths, path, tags, prune, name, device, as_json)
    for changed in changes:
        if changed:
            _learn(paths, path, tags, prune, name, device, as_json)


def _changes(paths: tuple[Path, ...], network: Path) -> Iterator[set[object]]:
    """What has changed in what is watched, now and then, often nothing; until Ctrl-C."""
    from pxvm.core import installation

    if Path("-") in paths:
        raise click.UsageError("standard input cannot be watched")
    watchfiles = installation.library("watchfiles", "watch")
    changes: Iterator[set[object]] = watchfiles.watch(
        *paths,
        watch_filter=lambda _, changed: not belongs(Path(changed), network),
        raise_interrupt=False,
        yield_on_timeout=True,
        rust_timeout=250,
        step=100,
        debounce=1000,
    )
    return changes


def _learn(
    paths: tuple[Path, ...],
    path: Path,
    tags: tuple[str, ...],
    prune: bool,
    name: str,
    device: str,
    as_json: bool,
) -> None:
    from pxvm.learning.search.embedding import Embedder
    from pxvm.learning.sources.documents import read_documents, source_of
    from pxvm.learning.sources.known import Known
    from pxvm.learning.sources.learn import Gone, Learned
    from pxvm.learning.sources.learn import learn as learn_documents

    reasons: Counter[str] = Counter()
    totals = Counter(documents=0, added=0, known=0, replaced=0, settled=0, moved=0)
    gone, moved = [], []
    left = LeftOut(as_json)
    with writing(path, make=True) as network, progress("learning", not as_json) as update:

        def committed(total: int) -> None:
            update(total, 0)
            if as_json:
                echo_json({"acknowledged": total}, indent=None)

        found: Iterator[Document | Skipped]
        if paths == (Path("-"),):
            found = iter([_standard_input(name, tags)])
        else:
            found = read_documents(paths, path, tags, Known(network).stamped)
        home = path.resolve().parent
        folders = [source_of(folder, home) for folder in paths if folder.is_dir()]
        embedder = Embedder.present(device)
        for event in learn_documents(
            network,
            left.noted(found),
            embedder=embedder,
            committed=committed,
            folders=folders,
            prune=prune,
        ):
            if isinstance(event, Learned):
                totals["documents"] += 1
                totals["moved"] += bool(event.moved)
                moved += [event] if event.moved else []
                for key in ("added", "known", "replaced", "settled"):
                    totals[key] += getattr(event, key)
                if as_json:
                    echo_json({"learned": asdict(event)}, indent=None)
            elif isinstance(event, Gone):
                gone.append(event)
                if as_json:
                    echo_json({"gone": asdict(event)}, indent=None)
            else:
                reasons[event.reason] += 1
                if as_json:
                    echo_json({"skipped": asdict(event)}, indent=None)
                elif event.reason not in EXPECTED:
                    echo(f"skipped {event.path}: {event.reason}", err=True)
    if as_json:
        done = {**totals, "gone": len(gone), "skipped": dict(reasons), "left": left.as_data()}
        echo_json({"done": done}, indent=None)
        return
    parts = [f"{counted(totals['added'], 'passage')} stored"]
    parts += [f"{totals['known']:,} known already"] if totals["known"] else []
    parts += [f"{totals['replaced']:,} superseded"] if totals["replaced"] else []
    parts += [f"{totals['settled']:,} forgotten or corrected"] if totals["settled"] else []
    parts += [f"{totals['moved']:,} renamed"] if totals["moved"] else []
    echo(f"{path}: {counted(totals['documents'], 'document')}, {', '.join(parts)}")
    for line in left.lines():
        echo(line)
    for event in moved[:SHOWN_GONE]:
        echo(f"renamed: {event.moved} is {event.source} now")
    if len(moved) > SHOWN_GONE:
        echo(f"renamed: {len(moved) - SHOWN_GONE:,} more")
    for event in gone[:SHOWN_GONE]:
        what = "forgotten" if event.pruned else "kept"
        echo(f"gone: {event.source} ({counted(event.chunks, 'passage')} {what})")
    if len(gone) > SHOWN_GONE:
        echo(f"gone: {len(gone) - SHOWN_GONE:,} more")
    if gone and not prune:
        echo("`--prune` forgets what was learned from files that are gone")
    skipped = [f"{count:,} {reason}" for reason, count in reasons.items() if reason in EXPECTED]
    if skipped:
        echo(f"skipped: {', '.join(skipped)}")
    if embedder is None and totals["added"]:
        echo("found by words only: no embedding model is here; `pxvm models get minilm` "
                   "brings one, then `pxvm network reembed`")  # fmt: skip


@click.command(short_help="Find what the memory knows of a question.")
@click.argument("query", nargs=-1, required=True)
@network_option
@click.option("-k", type=click.IntRange(1), help="So many hits (default: 5, with --context 25).")
@since_option
@until_option
@click.option("--tag", "tags", multiple=True, help="Only records with this tag; repeatable.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS),
              help="Only records of this kind; repeatable.")  # fmt: skip
@click.option("--source", help="Only records from this source, or from below this folder.")
@click.option("--context", "tokens", type=click.IntRange(1), metavar="TOKENS",
              help="Print the evidence for a language model, at most so long.")  # fmt: skip
@click.option("--picture", type=FILE, help="Draw the hits framed in their pages, as a PNG.")
@click.option("--why", is_flag=True, help="Say where each score comes from.")
@device_option("searches")
@json_option
def recall(
    query: tuple[str, ...],
    path: Path,
    k: int | None,
    since: datetime | None,
    until: datetime | None,
    tags: tuple[str, ...],
    kinds: tuple[str, ...],
    source: str | None,
    tokens: int | None,
    picture: Path | None,
    why: bool,
    device: str,
    as_json: bool,
) -> None:
    """Show the records that answer QUERY best; exit status 1 if there are none.

    Words and meaning count together; without an embedding model only words do. A time in the
    question, such as "last week", prefers records of that time; only options leave records out.

    A score is at most 1 for words and meaning; boosts, for what is new or named, come on top.
    """
    from pxvm.learning.search.context import build_context
    from pxvm.learning.search.search import search

    question, k = " ".join(query), k or (25 if tokens else 5)
    with reading(path) as network:
        found = partial(
            search, network, question, k, since=since, until=until, tags=tags, kinds=kinds,
            source=source_at(source, path), device=device,
        )  # fmt: skip
        if not (as_json or tokens or picture) and sys.stdout.isatty():
            _show_early(network, found, why)
        hits = found()
        if picture and hits:
            _draw(network, hits, question, output_target(picture, path))
    if as_json:
        rows = [{**as_data(hit.record), "score": hit.score, "why": asdict(hit.why)} for hit in hits]
        evidence = {"context": build_context(hits, tokens).text} if tokens else {}
        echo_json({"query": question, "hits": rows, **evidence})
    elif tokens:
        context = build_context(hits, tokens)
        if context.hits or not hits:
            echo_text(context.text)
        else:
            echo(f"nothing that was found fits into {counted(tokens, 'token')}", err=True)
    else:
        for rank, hit in enumerate(hits, 1):
            _show(rank, hit, why)
        if hits and hits[0].why.note:
            echo(f"({hits[0].why.note})", err=True)
    if picture and hits and not as_json:
        echo(f"wrote {picture}", err=True)
    if not hits:
        if not as_json:
            echo(f"{path}: nothing is known of this", err=True)
        raise SystemExit(1)


def _show_early(network: Network, found: Callable[..., list[Hit]], why: bool) -> None:
    """While a large network is being indexed, what the newest records say; returns when it is."""
    from pxvm.learning.search.building import finish

    left: list[int] = []
    hits = found(unsearched=left)
    if left and left[0]:
        for rank, hit in enumerate(hits, 1):
            _show(rank, hit, why)
        about = f"of the newest records; {left[0]:,} older ones are being indexed"
        echo(f"({about if hits else f'nothing {about}'})", err=True)
        finish(network)


def _show(rank: int, hit: Hit, why: bool) -> None:
    """A hit for people: what it is, then its text."""
    record = hit.record
    date = when(record).astimezone().strftime("%Y-%m-%d")
    about = f"record {record.sequence}, {date}, {record.source or record.kind}"
    echo(f"{rank}. {' '.join(record.query.split()) or record.kind}", bold=True)
    echo(f"   {about}, score {hit.score:.3f}", dim=True)
    if why:
        echo(f"   {hit.why}", dim=True)
    rows = record.answer.splitlines()
    for row in rows[:SHOWN_LINES]:
        echo(f"   {row}")
    if len(rows) > SHOWN_LINES:
        left = len(rows) - SHOWN_LINES
        echo(f"   ({left} more lines: pxvm network history {record.sequence})", dim=True)
    echo()


def _draw(network: Network, hits: list[Hit], question: str, target: Path) -> None:
    from pxvm.learning.picture.picture import draw_hits
    from pxvm.learning.search.words import asked

    save_picture(draw_hits(network, hits, asked(question)), target)


def _standard_input(name: str, tags: tuple[str, ...]) -> Document:
    from pxvm.learning.sources.documents import read_content

    read = read_content(sys.stdin.buffer.read(), name, name, tags)
    # Another text of this name is no newer version, and no file that might be gone.
    chunks = tuple(replace(c, source=c.source and f"stdin: {c.source}") for c in read.chunks)
    return replace(read, source=f"stdin: {name}", chunks=chunks, replaces=False)
