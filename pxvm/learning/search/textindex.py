"""The words of a network in SQLite: a row for each record, and a full-text index over them.

A record is indexed with the words around it, from its neighbours in the same conversation: what
answers a question often does not repeat its words.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from pxvm.learning.search.words import ends, folded, indexed, looks_like_name
from pxvm.learning.store.record import BOOKKEEPING, Record, to_microseconds

if TYPE_CHECKING:
    from pxvm.learning.store.store import Store

#: Neighbours on each side whose words are indexed with a record, and at most so many words.
REACH, WORDS = 2, 48
#: Records without a source that say when or who belong together within this time, in microseconds.
TOGETHER = 3_600 * 1_000_000

SCHEMA = """
CREATE TABLE records (
    sequence INTEGER PRIMARY KEY, id BLOB, kind TEXT, source TEXT, moment INTEGER, speaker TEXT,
    conversation INTEGER, place INTEGER, length INTEGER, live INTEGER
);
CREATE INDEX by_id ON records (id);
CREATE INDEX by_source ON records (source);
CREATE INDEX by_place ON records (conversation, place);
CREATE INDEX by_moment ON records (moment);
CREATE INDEX dead ON records (sequence) WHERE NOT live;
CREATE TABLE tags (sequence INTEGER, tag TEXT, PRIMARY KEY (sequence, tag)) WITHOUT ROWID;
CREATE TABLE conversations (conversation INTEGER PRIMARY KEY, source TEXT UNIQUE, size INTEGER);
CREATE VIRTUAL TABLE text USING fts5 (
    query, answer, tags, source, ends, around, content='',
    tokenize="porter unicode61 remove_diacritics 0 categories 'L* N* M* Co'"
);
INSERT INTO text (text, rank) VALUES ('rank', 'bm25(1.0, 1.0, 1.0, 0.5, 0.3, 0.4)');
INSERT INTO text (text, rank) VALUES ('hashsize', 16777216);
INSERT INTO text (text, rank) VALUES ('automerge', 0);
INSERT INTO text (text, rank) VALUES ('usermerge', 16);
INSERT INTO text (text, rank) VALUES ('crisismerge', 64);
"""
#: Pages of the index that are merged after an append, and at once where all of it is.
FEW_PAGES, MANY_PAGES = 32, 4_096
_SPEAKER = re.compile(r"\s*([^\W\d_][\w.' -]{0,30}?)(?: said)?:\s")


class Entry(NamedTuple):
    """A record, and what is indexed of it: query, answer, tags, source, the ends of long words."""

    record: Record
    columns: tuple[str, str, str, str, str]

    @classmethod
    def of(cls, record: Record, tags: Iterable[str] | None = None) -> Entry:
        """``tags``: those that it has by now, where they are others."""
        query, answer, source = map(indexed, (record.query, record.answer, record.source))
        named = indexed(" ".join(record.tags if tags is None else tags))
        found = ends(f"{record.query} {record.answer}")
        return cls(record, (query, answer, named, source, found))


class _Member(NamedTuple):
    """A record in its conversation."""

    sequence: int
    place: int
    columns: tuple[str, str, str, str, str]

    @property
    def said(self) -> str:
        return f"{self.columns[0]} {self.columns[1]}"


@dataclass
class _Conversation:
    """Whose records belong together: how many there are, and of the last one when it was."""

    number: int
    size: int
    moment: int = 0


class TextIndex:
    """The tables of ``SCHEMA`` in a database. Whoever calls holds a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def take(self, network: Store, batch: Sequence[Entry]) -> None:
        """Take in records that follow those taken before."""
        ended: set[str] = set()
        tagged: set[str] = set()
        for record, _ in batch:
            for relation, target in record.links:
                if relation == "tags":
                    tagged.add(target)
                elif relation in ("corrects", "supersedes", "forgets"):
                    ended.add(target)
        for conversation, new in self._place(
            [e for e in batch if not e.record.flags & BOOKKEEPING]
        ):
            self._index(network, conversation, new)
        corrections = network.standing().corrections if ended else {}
        for target in ended.union(*(corrections.get(target, ()) for target in ended)):
            self._set_live(target, network.counts(target))
        for target in tagged:
            self._tag_again(network, target)

    def merge(self, count: int) -> None:
        """After ``count`` records were taken in, merge some of what was written: so much that its
        parts stay few, so little that no append waits for what was stored before."""
        self._merge(FEW_PAGES + count)

    def merge_all(self) -> Iterator[None]:
        """Merge the index into one part, a step each time: many records make large parts, which
        must not be merged together with those of the next appends."""
        pages, before = -MANY_PAGES, -2
        while self.connection.total_changes - before >= 2:
            before = self.connection.total_changes
            self._merge(pages)
            pages = MANY_PAGES
            yield

    def _merge(self, pages: int) -> None:
        self.connection.execute("INSERT INTO text (text, rank) VALUES ('merge', ?)", (pages,))

    def _place(self, batch: Sequence[Entry]) -> Iterator[tuple[int | None, list[_Member]]]:
        """Enter records, each at the end of its conversation; yields what is new of each."""
        db = self.connection
        by_source: dict[str, _Conversation] = {}
        grown: dict[int, _Conversation] = {}
        open_one = self._open_conversation()
        members: dict[int | None, list[_Member]] = defaultdict(list)
        rows: dict[bytes, list[tuple[Any, ...]]] = defaultdict(list)
        for record, columns in batch:
            moment = to_microseconds(record.event_time or record.times[-1])
            match = _SPEAKER.match(record.answer) or _SPEAKER.match(record.query)
            speaker = folded(match[1]) if match and looks_like_name(match[1]) else ""
            found: _Conversation | None = None
            if source := record.source:
                found = by_source.get(source) or self._of_source(source)
                by_source[source] = found
            elif record.event_time is not None or speaker:
                near = open_one and abs(moment - open_one.moment) <= TOGETHER
                found = open_one if near else self._made(None)
            open_one = None if source else found
            number, place = None, 0
            if found is not None:
                number, place = found.number, found.size
                found.size, found.moment = found.size + 1, moment
                grown[number] = found
            length = len(record.query) + len(record.answer)
            rows[bytes.fromhex(record.id)].append(
                (record.sequence, record.kind, record.source, moment, speaker, number, place,
                 length)
            )  # fmt: skip
            members[number].append(_Member(record.sequence, place, columns))
        self._enter(rows)
        db.executemany(
            "UPDATE conversations SET size = ? WHERE conversation = ?",
            [(each.size, each.number) for each in grown.values()],
        )
        db.executemany(
            "INSERT INTO tags VALUES (?, ?)",
            [(record.sequence, tag) for record, _ in batch for tag in record.tags],
        )
        yield from members.items()

    def _enter(self, rows: dict[bytes, list[tuple[Any, ...]]]) -> None:
        """Write records by their ids; of several of one id, the last counts."""
        identities = [(identity,) for identity in rows]
        self.connection.executemany("UPDATE records SET live = 0 WHERE id = ?", identities)
        self.connection.executemany(
            "INSERT INTO records (id, live, sequence, kind, source, moment, speaker, conversation,"
            " place, length) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            sorted(
                ((identity, row is same[-1], *row) for identity, same in rows.items()
                 for row in same),
                key=itemgetter(2),
            ),
        )  # fmt: skip

    def _open_conversation(self) -> _Conversation | None:
        """That of the last record, if it has one and no source."""
        row = self.connection.execute(
            "SELECT conversation, size, moment, r.source FROM records r LEFT JOIN conversations"
            " USING (conversation) ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        return _Conversation(*row[:3]) if row and row[0] and not row[3] else None

    def _of_source(self, source: str) -> _Conversation:
        row = self.connection.execute(
            "SELECT conversation, size FROM conversations WHERE source = ?", (source,)
        ).fetchone()
        return _Conversation(*row) if row else self._made(source)

    def _made(self, source: str | None) -> _Conversation:
        made = self.connection.execute(
            "INSERT INTO conversations (source, size) VALUES (?, 0)", (source,)
        )
        return _Conversation(int(made.lastrowid or 0), 0)

    def _index(self, network: Store, conversation: int | None, new: list[_Member]) -> None:
        """Index new members of a conversation, and those before them anew: they have neighbours."""
        if conversation is None:
            self._write(new, [""] * len(new))
            return
        first = new[0].place
        before = self._members(network, conversation, first - 2 * REACH, first)
        again = max(0, len(before) - REACH)
        self._write(before[again:], _around(before)[again:], delete=True)
        both = before + new
        self._write(both[again:], _around(both)[again:])

    def _members(self, network: Store, conversation: int, start: int, stop: int) -> list[_Member]:
        rows = self.connection.execute(
            "SELECT sequence, place FROM records WHERE conversation = ? AND place >= ? "
            "AND place < ? ORDER BY place",
            (conversation, start, stop),
        ).fetchall()
        return [
            self._member(network.record_at(sequence), place, self._tags(sequence))
            for sequence, place in rows
        ]

    def _member(self, record: Record, place: int, tags: tuple[str, ...]) -> _Member:
        return _Member(record.sequence, place, Entry.of(record, tags).columns)

    def _tags(self, sequence: int) -> tuple[str, ...]:
        rows = self.connection.execute("SELECT tag FROM tags WHERE sequence = ?", (sequence,))
        return tuple(sorted(tag for (tag,) in rows))

    def _write(
        self, members: Iterable[_Member], around: Iterable[str], *, delete: bool = False
    ) -> None:
        """Put rows into the text index, or take exactly those rows out."""
        command = "text, rowid" if delete else "rowid"
        self.connection.executemany(
            f"INSERT INTO text ({command}, query, answer, tags, source, ends, around) "
            f"VALUES ({'?, ' * delete}?, ?, ?, ?, ?, ?, ?)",
            [
                (*(["delete"] if delete else []), m.sequence, *m.columns, words)
                for m, words in zip(members, around, strict=True)
            ],
        )

    def _set_live(self, target: str, live: bool) -> None:
        self.connection.execute(
            "UPDATE records SET live = ? WHERE sequence = "
            "(SELECT max(sequence) FROM records WHERE id = ?)",
            (live, bytes.fromhex(target)),
        )

    def _tag_again(self, network: Store, target: str) -> None:
        """Give a record the tags it has by now."""
        row = self.connection.execute(
            "SELECT max(sequence), conversation, place FROM records WHERE id = ?",
            (bytes.fromhex(target),),
        ).fetchone()
        sequence, conversation, place = row
        if sequence is None:
            return
        record, old = network.record_at(sequence), self._tags(sequence)
        around, here = "", self._member(record, place, old)
        if conversation is not None:
            near = self._members(network, conversation, place - REACH, place + REACH + 1)
            around = _around(near)[[m.place for m in near].index(place)]
        tags = network.record(target).tags
        self._write([here], [around], delete=True)
        self._write([self._member(record, place, tags)], [around])
        self.connection.execute("DELETE FROM tags WHERE sequence = ?", (sequence,))
        self.connection.executemany(
            "INSERT INTO tags VALUES (?, ?)", [(sequence, tag) for tag in tags]
        )


def _around(members: Sequence[_Member]) -> list[str]:
    """For each member the nearest words of those before and after it."""
    firsts = [m.said.split(None, WORDS)[:WORDS] for m in members]
    lasts = [m.said.rsplit(None, WORDS)[-WORDS:] for m in members]
    found = []
    for i in range(len(members)):
        before = [w for near in lasts[max(0, i - REACH) : i] for w in near]
        after = [w for near in firsts[i + 1 : i + 1 + REACH] for w in near]
        found.append(" ".join([*before[-WORDS:], *after[:WORDS]]))
    return found
