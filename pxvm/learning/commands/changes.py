"""``pxvm network forget``, ``correct`` and ``tag``: change what is remembered."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pxvm.core.errors import PxvmError
from pxvm.learning.commands.shared import (
    as_data,
    is_from,
    json_option,
    line,
    network_option,
    reading,
    record_name,
    since_option,
    source_at,
    until_option,
    when,
    writing,
)
from pxvm.learning.search.words import folded
from pxvm.learning.store.record import BOOKKEEPING, KINDS, to_microseconds
from pxvm.terminal import counted, echo, echo_json

if TYPE_CHECKING:
    from pxvm.learning.network import Network
    from pxvm.learning.store.record import Record, Vector

SHOWN = 20  # records of a preview
MANY, PART = 20, 0.25  # more records, and a larger part of the memory, are asked about twice
TOGETHER = 256  # records that one tombstone names
MOST_ASKED = 1000  # characters of a record that are looked for elsewhere


@click.command(short_help="Forget records: by id, tag, time, source, words or question.")
@click.argument("names", metavar="[ID]...", nargs=-1)
@click.option("--tag", help="Records with this tag.")
@click.option("--source", help="Records from this source, or from below this folder.")
@click.option("--kind", type=click.Choice(KINDS), help="Records of this kind.")
@since_option
@until_option
@click.option("--text", help="Records that hold exactly these characters, in any case.")
@click.option("--query", help="The records that answer this question best; see -k.")
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="With --query.")
@network_option
@click.option("--yes", count=True,
              help="Do not ask; twice: not even about more than a quarter of it all.")  # fmt: skip
@json_option
def forget(
    names: tuple[str, ...],
    tag: str | None,
    source: str | None,
    kind: str | None,
    since: datetime | None,
    until: datetime | None,
    text: str | None,
    query: str | None,
    k: int,
    path: Path,
    yes: int,
    as_json: bool,
) -> None:
    """Forget the records that all of what is given selects, after showing them and asking.

    All versions of them no longer count from then on; `pxvm network compact` removes them from
    the files. Old versions, which a newer one has replaced, are looked through as well, and
    forgotten alone where only they fit. With --json and without --yes nothing is forgotten: it is
    only listed.
    """
    if not (names or tag or source or kind or since or until or text or query):
        raise PxvmError("nothing to forget: give an id, --tag, --source, --text, --query or a time")
    source = source_at(source, path)
    with writing(path) as memory:
        live = memory.live_ids()
        chosen = select(memory, names, tag, source, kind, since, until, text, query, k)
        if as_json:
            if yes:
                forget_all(memory, chosen, live)
            same = same_elsewhere(memory, chosen[:SHOWN]) if yes else []
            rows = {"records": chosen, "same": same}
            echo_json({"forgotten": bool(yes), **{k: [*map(as_data, v)] for k, v in rows.items()}})
        elif chosen:
            for record in chosen[:SHOWN]:
                echo(f"{line(record)}{'' if record.id in live else '  (an old version)'}")
            if len(chosen) > SHOWN:
                echo(f"        and {len(chosen) - SHOWN:,} more")
            _ask(chosen, len(live), yes)
            forget_all(memory, chosen, live)
            echo(
                f"{path}: {counted(len(chosen), 'record')} forgotten; "
                "`pxvm network compact` removes the text from the files"
            )
            for record in same_elsewhere(memory, chosen[:SHOWN]):
                echo(f"{line(record)}  (says the same, and still counts)")
        else:
            echo("no record fits")
    if not chosen:
        raise SystemExit(1)


def _ask(chosen: list[Record], live: int, yes: int) -> None:
    """What is about to be forgotten, by count and span; ends the program unless it may be."""
    times = sorted(when(record) for record in chosen)
    days = [f"{time.astimezone():%Y-%m-%d}" for time in (times[0], times[-1])]
    span = days[0] if days[0] == days[1] else f"{days[0]} to {days[1]}"
    large = len(chosen) > MANY and len(chosen) > live * PART
    if not yes and not click.confirm(f"Forget {counted(len(chosen), 'record')}, {span}?"):
        raise SystemExit(1)
    if large and yes < 2:
        share = f"{len(chosen):,} of the {live:,} records that count"
        if yes:
            raise PxvmError(f"that are {share}: to forget so many without a question, --yes --yes")
        if not click.confirm(f"These are {share}. Forget them all?"):
            raise SystemExit(1)


def select(
    memory: Network,
    names: Sequence[str | int] = (),
    tag: str | None = None,
    source: str | None = None,
    kind: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    text: str | None = None,
    query: str | None = None,
    k: int = 10,
) -> list[Record]:
    """The records that all of what is given selects, old versions too."""
    return [
        record
        for record in _candidates(memory, names, query, k)
        if (tag is None or tag in record.tags)
        and (source is None or is_from(record.source, source))
        and (kind is None or record.kind == kind)
        and (since is None or when(record) >= since)
        and (until is None or when(record) < until)
        and (text is None or folded(text) in folded(f"{record.query}\n{record.answer}"))
    ]


def forget_all(memory: Network, chosen: list[Record], live: set[str]) -> None:
    """With what counts all its versions go; an old version goes alone, for the new one may stay."""
    for versions in (True, False):
        ids = [record.id for record in chosen if (record.id in live) == versions]
        for first in range(0, len(ids), TOGETHER):
            memory.forget(*ids[first : first + TOGETHER], versions=versions)


def same_elsewhere(memory: Network, gone: Sequence[Record]) -> list[Record]:
    """Records that say what those said that were forgotten, as a copy of a file does, and count,
    whenever they said it.

    A search shows one of them. What is not indexed yet is not waited for.
    """
    from pxvm.learning.search.search import search
    from pxvm.learning.store.standing import text_of

    def said_of(record: Record) -> str:
        return text_of(replace(record, event_time=None, model=""))

    said = {said_of(record) for record in gone}
    found = {
        hit.record.id: hit.record
        for record in gone
        for hit in search(memory, record.answer[:MOST_ASKED], k=SHOWN, unsearched=[])
        if said_of(hit.record) in said
    }
    return list(found.values())


def _candidates(
    memory: Network, names: Sequence[str | int], query: str | None, k: int
) -> Iterator[Record]:
    """What may be forgotten: what is named or found, or all that is stored, old versions too."""
    if names:
        found = [
            memory.record(record_name(name) if isinstance(name, str) else name) for name in names
        ]
        yield from {record.id: record for record in found}.values()
    elif query:
        yield from (hit.record for hit in memory.search(query, k=k))
    else:
        standing = memory.standing()
        newest = {record.id: record for record in memory.records(all=True)}
        for record in newest.values():
            gone = standing.is_forgotten(record.id, to_microseconds(record.times[-1]))
            if not gone and not record.flags & BOOKKEEPING:
                yield standing.with_tags(record)


@click.command(short_help="Correct a record.")
@click.argument("name", metavar="ID")
@click.option("--answer", help='The right text ("-": standard input).')
@click.option("--query", help="The right question.")
@network_option
@json_option
def correct(name: str, answer: str | None, query: str | None, path: Path, as_json: bool) -> None:
    """Replace a record's text. The old version remains in the history."""
    from pxvm.learning.sources.encoding import decode

    if answer is None and query is None:
        raise PxvmError("nothing to correct: give --answer or --query")
    if answer == "-":
        answer = decode(sys.stdin.buffer.read())
    with writing(path) as memory:
        old = memory.record(record_name(name))
        vectors = _vectors(old, answer, query) if old.vectors else ()
        changed = memory.correct(old.id, answer=answer, query=query, vectors=vectors)
        new = memory.record(changed)
    if as_json:
        echo_json({"old": old.id, "new": new.id, "sequence": new.sequence})
    else:
        echo(f"{path}: record {new.sequence} ({new.id[:12]}) corrects {old.sequence}")


def _vectors(old: Record, answer: str | None, query: str | None) -> tuple[Vector, ...]:
    """Vectors for the corrected text, of the model that those of the old one are of."""
    from pxvm.learning.search.embedding import Embedder

    embedder = Embedder.present()
    if embedder is None or all(vector.probe != embedder.probe for vector in old.vectors):
        return ()
    new = replace(
        old.draft(),
        query=old.query if query is None else query,
        answer=old.answer if answer is None else answer,
    )
    return embedder.vectors([new])[0]


@click.command(short_help="Give tags to a record, or take them away.")
@click.argument("name", metavar="ID")
@click.argument("tags", metavar="[TAG]...", nargs=-1)
@click.option("--remove", multiple=True, metavar="TAG", help="Take this tag away; repeatable.")
@network_option
@json_option
def tag(
    name: str, tags: tuple[str, ...], remove: tuple[str, ...], path: Path, as_json: bool
) -> None:
    """Give TAGs to a record and take others away; without any, show those it has."""
    opened = writing(path) if tags or remove else reading(path)
    with opened as memory:
        target = memory.record(record_name(name))
        if tags or remove:
            target = memory.record(memory.tag(target.id, tags, remove))
    if as_json:
        echo_json({"id": target.id, "tags": target.tags})
    else:
        echo(f"{target.sequence}: {', '.join(target.tags) or 'no tags'}")
