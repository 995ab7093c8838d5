"""The words of a network in SQLite: a row for each record, and a full-text index over them.

A record is indexed with the words around it, from its neighbours in the same conversation: what
answers a question often does not repeat its words.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

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
    conversation INTEGER, place INTEGER, live INTEGER
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
"""
_SPEAKER = re.compile(r"\s*([^\W\d_][\w.' -]{0,30}?)(?: said)?:\s")


class _Member(NamedTuple):
    """A record in its conversation."""

    sequence: int
    place: int
    record: Record
    tags: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, str, str, str, str]:
        """Query, answer, tags, source and the ends of long words, as they are indexed."""
        query, answer = indexed(self.record.query), indexed(self.record.answer)
        tags, source = indexed(" ".join(self.tags)), indexed(self.record.source)
        return query, answer, tags, source, ends(f"{self.record.query} {self.record.answer}")

    @property
    def words(self) -> list[str]:
        return indexed(f"{self.record.query} {self.record.answer}").split()


class TextIndex:
    """The tables of ``SCHEMA`` in a database. Whoever calls holds a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def take(self, network: Store, batch: Sequence[Record]) -> None:
        """Take in records that follow those taken before."""
        ended: set[str] = set()
        tagged: set[str] = set()
        members: dict[int | None, list[_Member]] = defaultdict(list)
        for record in batch:
            for relation, target in record.links:
                if relation == "tags":
                    tagged.add(target)
                elif relation in ("corrects", "supersedes", "forgets"):
                    ended.add(target)
            if not record.flags & BOOKKEEPING:
                conversation, member = self._place(record)
                members[conversation].append(member)
        for conversation, new in members.items():
            self._index(network, conversation, new)
        corrections = network.standing().corrections if ended else {}
        for target in ended.union(*(corrections.get(target, ()) for target in ended)):
            self._set_live(target, network.counts(target))
        for target in tagged:
            self._tag_again(network, target)

    def sizes(self, first: int) -> dict[int, int]:
        """How many words the records from number ``first`` on have of their own."""
        rows = self.connection.execute("SELECT id, sz FROM text_docsize WHERE id >= ?", (first,))
        return {sequence: _own_words(counts) for sequence, counts in rows}

    def _place(self, record: Record) -> tuple[int | None, _Member]:
        """Enter a record, at the end of its conversation."""
        db, identity = self.connection, bytes.fromhex(record.id)
        moment = to_microseconds(record.event_time or record.times[-1])
        db.execute("UPDATE records SET live = 0 WHERE id = ?", (identity,))
        match = _SPEAKER.match(record.answer) or _SPEAKER.match(record.query)
        speaker = folded(match[1]) if match and looks_like_name(match[1]) else ""
        conversation = self._conversation(record, moment, speaker)
        place = 0
        if conversation is not None:
            db.execute(
                "UPDATE conversations SET size = size + 1 WHERE conversation = ?", (conversation,)
            )
            (size,) = db.execute(
                "SELECT size FROM conversations WHERE conversation = ?", (conversation,)
            ).fetchone()
            place = size - 1
        db.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)",
            (record.sequence, identity, record.kind, record.source, moment,
             speaker, conversation, place),
        )  # fmt: skip
        db.executemany(
            "INSERT INTO tags VALUES (?, ?)", [(record.sequence, tag) for tag in record.tags]
        )
        return conversation, _Member(record.sequence, place, record, record.tags)

    def _conversation(self, record: Record, moment: int, speaker: str) -> int | None:
        """Records of one source belong together; without one, those that follow each other."""
        db, source = self.connection, record.source
        if not source:
            if record.event_time is None and not speaker:
                return None
            row = db.execute(
                "SELECT conversation, moment, source FROM records ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
            if row and row[0] and not row[2] and abs(moment - row[1]) <= TOGETHER:
                return int(row[0])
        elif row := db.execute(
            "SELECT conversation FROM conversations WHERE source = ?", (source,)
        ).fetchone():
            return int(row[0])
        made = db.execute(
            "INSERT INTO conversations (source, size) VALUES (?, 0)", (source or None,)
        )
        return made.lastrowid

    def _index(self, network: Store, conversation: int | None, new: list[_Member]) -> None:
        """Index new members of a conversation, and those before them anew: they have neighbours."""
        if conversation is None:
            self._write(new, [""] * len(new))
            return
        first = new[0].place
        before = self._members(network, conversation, first - 2 * REACH, first)
        old = [_around(before, i) for i in range(len(before))]
        again = max(0, len(before) - REACH)
        self._write(before[again:], old[again:], delete=True)
        both = before + new
        self._write(both[again:], [_around(both, i) for i in range(again, len(both))])

    def _members(self, network: Store, conversation: int, start: int, stop: int) -> list[_Member]:
        rows = self.connection.execute(
            "SELECT sequence, place FROM records WHERE conversation = ? AND place >= ? "
            "AND place < ? ORDER BY place",
            (conversation, start, stop),
        ).fetchall()
        return [
            _Member(sequence, place, network.record_at(sequence), self._tags(sequence))
            for sequence, place in rows
        ]

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
        around, here = "", _Member(sequence, place, record, old)
        if conversation is not None:
            near = self._members(network, conversation, place - REACH, place + REACH + 1)
            around = _around(near, [m.place for m in near].index(place))
        tags = network.record(target).tags
        self._write([here], [around], delete=True)
        self._write([here._replace(tags=tags)], [around])
        self.connection.execute("DELETE FROM tags WHERE sequence = ?", (sequence,))
        self.connection.executemany(
            "INSERT INTO tags VALUES (?, ?)", [(sequence, tag) for tag in tags]
        )


def _own_words(counts: bytes) -> int:
    """The first two of a row of SQLite's varints: words of the question and of the answer."""
    total = value = found = 0
    for byte in counts:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            total, value, found = total + value, 0, found + 1
            if found == 2:
                break
    return total


def _around(members: Sequence[_Member], position: int) -> str:
    """The nearest words of the neighbours before and after a member."""
    before = [w for m in members[max(0, position - REACH) : position] for w in m.words]
    after = [w for m in members[position + 1 : position + 1 + REACH] for w in m.words]
    return " ".join([*before[-WORDS:], *after[:WORDS]])
