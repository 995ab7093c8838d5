"""Records as JSONL, Markdown, Parquet and Arrow files, and back without loss.

A row has a record's fields under their names; ``links`` and ``vectors`` are lists of objects, times
are UTC. What other programs write is taken too: rows with a question and an answer, or with
messages, become interactions.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from pxvm.core.errors import FormatError, PxvmError
from pxvm.core.reading import check_regular
from pxvm.core.saving import replacing
from pxvm.learning.errors import UnreadableError
from pxvm.learning.exchange.columnar import read_arrow, read_parquet, write_arrow, write_parquet
from pxvm.learning.sources.chats import exchanges
from pxvm.learning.sources.encoding import decode
from pxvm.learning.store.record import (
    FORMAT_SOURCE,
    Draft,
    Link,
    Record,
    Vector,
    from_microseconds,
    join,
)

if TYPE_CHECKING:
    from pxvm.learning.store.store import Store

Rows = Iterable[dict[str, Any]]
Writer = Callable[[Rows, BinaryIO], None]
Reader = Callable[[Path], "Iterator[Record | Draft]"]

COMMENT = re.compile(r"^<!-- pxvm (\{[^\n]*\}) -->\n", re.MULTILINE)


def export(network: Store, path: Path, *, current: bool = False) -> int:
    """Write a network's records to a file, whose name's end says how; returns how many.

    Everything that is not forgotten goes out as it was stored, with ``counts`` false where a later
    record replaced it or where it only says something of others; importing it into an empty network
    gives the same memory. With ``current`` only what counts goes out, with the tags of now.

    Raises:
        PxvmError: the end is not known, or its library is not installed.
    """
    if current:
        return write_records((replace(record) for record in network.records()), path)
    return write_records(kept(network), path, network.live_ids())


def kept(network: Store) -> Iterator[Record]:
    """Every record of a network that is not forgotten, those stored again with all their times."""
    forgotten: dict[str, datetime] = {}
    last: dict[str, datetime] = {}
    times: Counter[str] = Counter()
    for record in network.records(all=True):
        moment = record.times[-1]
        for relation, target in record.links:
            if relation == "forgets":
                forgotten[target] = max(moment, forgotten.get(target, moment))
        last[record.id] = max(moment, last.get(record.id, moment))
        times[record.id] += 1
    gone = {i for i, moment in forgotten.items() if i in last and moment >= last[i]}
    parts: dict[str, list[Record]] = defaultdict(list)
    for record in network.records(all=True):
        if record.source == FORMAT_SOURCE or record.id in gone:
            continue
        if times[record.id] > 1:
            parts[record.id].append(record)
            if len(parts[record.id]) < times[record.id]:
                continue
            record = join(parts.pop(record.id))
        yield record


def write_records(records: Iterable[Record], path: Path, live: Container[str] | None = None) -> int:
    """Write records to a file; those whose id is not in ``live`` do not count. Returns how many."""
    write, _ = _format(path)
    count = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal count
        for count, record in enumerate(records, 1):  # noqa: B007
            yield to_row(record, live is None or record.id in live)

    with replacing(path) as stream:
        write(rows(), stream)
    return count


def read_records(path: Path) -> Iterator[Record | Draft]:
    """The records of a file that was exported, or drafts of what another program wrote.

    Raises:
        FormatError: a row is neither, or its content is not what its id names.
        PxvmError: the end of the name is not known, or its library is not installed.
    """
    read = _format(path)[1]
    check_regular(path)
    return _as_text(path, read(path))


def _as_text(path: Path, records: Iterator[Record | Draft]) -> Iterator[Record | Draft]:
    try:
        yield from records
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: expected text in UTF-8; found {error.reason}") from None


def read_png(path: Path, uncertain: bool, notes: list[str]) -> Iterator[Record | Draft]:
    """The records of another network, or notes with the text of an old picture.

    Args:
        uncertain: take passages of a picture, too, that hold characters which no glyph fits for
            sure; they are tagged so.
        notes: gets a line for each passage that is not certain.

    Raises:
        FormatError: the file is no picture that can be read.
    """
    from pxvm.learning.exchange.legacy import passages, read_picture
    from pxvm.learning.store.store import Store

    check_regular(path)
    try:
        network = Store.open(path, read_only=True)
    except FormatError:
        pass
    else:
        with network:
            yield from kept(network)
        return
    for number, (text, certain) in enumerate(passages(read_picture(path)), 1):
        sure = certain == 1.0
        if not sure:
            taken = "taken" if uncertain else "left out"
            notes.append(f"passage {number}, {certain:.0%} certain, {taken}: {text!r}")
        if sure or uncertain:
            tags = () if sure else ("uncertain",)
            yield Draft("", text, tags, kind="note", source=path.name)


def to_row(record: Record, counts: bool = True) -> dict[str, Any]:
    """A record's fields; times are aware."""
    return {
        "id": record.id,
        "sequence": record.sequence,
        "kind": record.kind,
        "query": record.query,
        "answer": record.answer,
        "tags": list(record.tags),
        "source": record.source,
        "model": record.model,
        "counts": counts,
        "record_time": record.record_time,
        "event_time": record.event_time,
        "stored_again": list(record.stored_again),
        "links": [link._asdict() for link in record.links],
        "vectors": [
            {"model": v.model, "probe": v.probe, "scale": v.scale, "values": v.values.tolist()}
            for v in record.vectors
        ],
    }


def from_row(row: dict[str, Any], where: str) -> Iterator[Record | Draft]:
    """The record of a row, or the drafts of a row that another program wrote.

    Args:
        where: file and row, for messages.

    Raises:
        FormatError: the row is neither.
    """
    try:
        if "id" in row and "record_time" in row and "kind" in row:
            yield _record(row)
            return
        found = [
            Draft(turn.query, turn.answer, _tags(row), source=turn.session, model=turn.model,
                  event_time=turn.time)
            for turn in exchanges([{key: row[key] for key in row if key != "tags"}])
        ]  # fmt: skip
    except KeyError as error:
        raise FormatError(f"{where}: {error} is missing") from None
    except (PxvmError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise FormatError(f"{where}: {error}") from None
    if not found:
        raise FormatError(
            f"{where}: expected an exported record, or query and answer, or messages; found "
            f"{', '.join(map(repr, list(row)[:8])) or 'nothing'}"
        )
    yield from found


def to_json(row: Any, indent: int | None = None) -> str:
    """A row, or several, as JSON with times in ISO 8601."""
    return json.dumps(row, ensure_ascii=False, indent=indent, default=datetime.isoformat)


def _tags(row: dict[str, Any]) -> tuple[str, ...]:
    tags = row.get("tags") or ()
    return tuple(str(tag) for tag in ([tags] if isinstance(tags, str) else tags))


def _record(row: dict[str, Any]) -> Record:
    event = row.get("event_time")
    record = Record(
        query=row["query"],
        answer=row["answer"],
        tags=tuple(row["tags"]),
        kind=row["kind"],
        source=row["source"],
        model=row["model"],
        event_time=None if event is None else _time(event),
        links=tuple(Link(link["relation"], link["id"]) for link in row["links"]),
        vectors=tuple(
            Vector(v["model"], v["probe"], np.array(v["values"], np.int8), float(v["scale"]))
            for v in row["vectors"]
        ),
        sequence=int(row["sequence"]),
        record_time=_time(row["record_time"]),
        stored_again=tuple(map(_time, row["stored_again"])),
    )
    if record.id != row["id"]:
        raise FormatError(f"the content hashes to {record.id}, but the id is {row['id']}")
    return record


def _time(value: Any) -> datetime:
    if isinstance(value, int):
        return from_microseconds(value)
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise FormatError(f"expected a time with its zone, such as +00:00; found {value}")
    return moment


# JSON


def _write_jsonl(rows: Rows, stream: BinaryIO) -> None:
    for row in rows:
        stream.write(f"{to_json(row)}\n".encode())


def _read_jsonl(path: Path) -> Iterator[Record | Draft]:
    single: list[dict[str, Any]] = []  # messages of one conversation, a line each
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise FormatError(f"{where}: not JSON ({error})") from None
            if not isinstance(row, dict):
                raise FormatError(f"{where}: expected an object, found {type(row).__name__}")
            if "role" in row and "content" in row:
                single.append(row)
            else:
                yield from from_row(row, where)
    if single:
        yield from from_row({"messages": single}, str(path))


def _read_json(path: Path) -> Iterator[Record | Draft]:
    try:
        whole = json.loads(decode(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON ({error})") from None
    for number, row in enumerate(whole if isinstance(whole, list) else [whole], 1):
        if not isinstance(row, dict):
            raise FormatError(f"{path}, item {number}: expected an object")
        yield from from_row(row, f"{path}, item {number}")


def _write_json(rows: Rows, stream: BinaryIO) -> None:
    stream.write(to_json(list(rows), indent=1).encode())


# Markdown: what a person reads; the other fields stand in a comment, with the lengths of the texts.


def _write_markdown(rows: Rows, stream: BinaryIO) -> None:
    for row in rows:
        query, answer = row["query"], row["answer"]
        hidden = to_json({**row, "query": len(query), "answer": len(answer)})
        when = (row["event_time"] or row["record_time"]).strftime("%Y-%m-%d %H:%M")
        parts = [f"## {row['kind']} {row['sequence']}, {when}\n\n"]
        parts += ["<!-- pxvm {} -->\n".format(hidden.replace(">", "\\u003e"))]
        parts += [f"\n**{query}**\n"] if query else []
        stream.write("".join([*parts, f"\n{answer}\n\n"]).encode())


def _read_markdown(path: Path) -> Iterator[Record | Draft]:
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    place, found, number, counted = 0, False, 1, 0
    while match := COMMENT.search(text, place):
        number, counted = number + text.count("\n", counted, match.start()), match.start()
        where = f"{path}, line {number}"
        found = True
        try:
            row = json.loads(match[1])
            place = match.end()
            for name, before, after in (("query", "\n**", "**\n"), ("answer", "\n", "\n\n")):
                length = int(row[name])
                if name == "query" and not length:
                    row[name] = ""
                    continue
                place += len(before)
                row[name] = text[place : place + length]
                place += length + len(after)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise FormatError(f"{where}: the comment of a record was changed") from None
        try:
            yield from from_row(row, where)
        except FormatError as error:
            raise FormatError(f"{error}; was the text edited? Learn it as a document") from None
    if not found:
        raise FormatError(f"{path}: no exported record in it; use pxvm learn for a document")


def _read_columns(reader: Callable[[Path], Rows], path: Path) -> Iterator[Record | Draft]:
    for number, row in enumerate(reader(path), 1):
        yield from from_row(row, f"{path}, row {number}")


_ARROW = (write_arrow, partial(_read_columns, read_arrow))
FORMATS: dict[str, tuple[Writer, Reader]] = {
    ".jsonl": (_write_jsonl, _read_jsonl),
    ".ndjson": (_write_jsonl, _read_jsonl),
    ".json": (_write_json, _read_json),
    ".md": (_write_markdown, _read_markdown),
    ".parquet": (write_parquet, partial(_read_columns, read_parquet)),
    ".arrow": _ARROW,
    ".feather": _ARROW,
}


def _format(path: Path) -> tuple[Writer, Reader]:
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise UnreadableError(
            f"{path}: expected a name that ends in {', '.join(FORMATS)}; found {path.suffix!r}"
        ) from None
