"""What a reader gives: blocks of a document and what it left out; and how blocks become chunks.

A block is what an author would not tear apart: a paragraph, a list, a table, a piece of code, a row
of data. A chunk is what one record holds: whole blocks that stand under the same headings. Where a
section needs several chunks, each begins with the last words of the one before, so that a sentence
which refers back finds what it refers to; rows of a table begin with the table's head.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

TARGET = 1_000  # bytes of UTF-8 that a chunk should have
SLACK = 250  # what a chunk may have above that, rather than leaving a small rest
OVERLAP = 160  # bytes at most that a chunk repeats of the one before
WHOLE = 8_000  # code, tables and rows are torn only when they are larger

SENTENCE_END = re.compile(r"(?<=[^\s\d][.!?])[\"')\]]*\s+|(?<=[。！？])")
ITEM = re.compile(r"(?m)^[ \t]*(?:[-*+]|\d+[.)]) ")

#: Signs that only say what the text around them is, such as the ``#`` before a heading.
MARKS = "marks"


@dataclass(frozen=True)
class Block:
    """A piece of a document.

    Attributes:
        text: as it stands in the document, without blank lines around it.
        path: the headings or definitions it stands under, outermost first.
        whole: code or a table: kept in one piece, and its tail is not repeated.
        row: a line or a row of data: like ``whole``, and many of them fill a chunk.
        head: what a chunk of such rows begins with: the names of the columns.
        time: when it was written, where the document says so.
    """

    text: str
    path: tuple[str, ...] = ()
    whole: bool = False
    row: bool = False
    head: str = ""
    time: datetime | None = None


@dataclass
class Read:
    """What a reader made of a document.

    Attributes:
        blocks: in the document's order.
        left: characters other than white space that were left out, by what they are.
        things: what was left out and has no characters, by its name in the singular: pictures,
            pages without text.
    """

    blocks: list[Block] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    things: Counter[str] = field(default_factory=Counter)

    def take(self, other: Read, above: tuple[str, ...] = ()) -> None:
        """Add what was read of a part, under these headings."""
        self.blocks += [replace(block, path=(*above, *block.path)) for block in other.blocks]
        self.left += other.left
        self.things += other.things


class Outline:
    """Blocks under the headings that stand above them; a heading over nothing is a block itself."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._open: list[tuple[int, str]] = []
        self._used = 0  # so many of the open headings have something below them
        self.path: tuple[str, ...] = ()  #: the open headings

    def heading(self, depth: int, title: str) -> None:
        """Begin a section, unless it has no title; what is as deep or deeper ends."""
        if title := " ".join(mended(title).split()):
            self.close(depth)
            self._open.append((depth, title))
            self.path = (*self.path, title)

    def add(
        self, text: str, whole: bool = False, *, row: bool = False, head: str = "",
        time: datetime | None = None,
    ) -> None:  # fmt: skip
        """Add a block, unless it is blank."""
        text = mended(text).strip("\n").rstrip()
        if text.strip():
            self.blocks.append(Block(text, self.path, whole, row, head, time))
            self._used = len(self._open)

    def table(self, rows: list[str], head: int = 1) -> None:
        """Add a table, of which the first ``head`` rows are its head."""
        if size("\n".join(rows)) <= WHOLE:
            self.add("\n".join(rows), whole=True)
            return
        self.rows(rows[head:], "\n".join(rows[:head]))

    def rows(self, rows: Iterable[str], head: str = "") -> None:
        """Add rows that stand for themselves, as many as a chunk holds in one block."""
        held: list[str] = []
        room = TARGET - size(head)
        for row in rows:
            room -= size(row := mended(row)) + 1
            if held and room < 0:
                self.add("\n".join(held), row=True, head=head)
                held, room = [], TARGET - size(head) - size(row) - 1
            held.append(row)
        self.add("\n".join(held), row=True, head=head)

    def close(self, depth: int = -1) -> list[Block]:
        """End the sections that are as deep or deeper; returns all blocks."""
        while self._open and self._open[-1][0] >= depth:
            _, title = self._open.pop()
            self.path = self.path[:-1]
            if self._used > len(self._open):
                self._used = len(self._open)
            else:
                self.add(title)
        return self.blocks


def size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text.encode())


def weight(text: str) -> int:
    """Characters of a text that are not white space."""
    return sum(map(len, text.split()))


def mended(text: str) -> str:
    """A text without half characters (lone surrogates), which no record can hold."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def pack(blocks: Iterable[Block]) -> Iterator[Block]:
    """Chunks of a document, in its order."""
    held: list[Block] = []
    total = 0  # bytes of what is held, with what comes between
    fresh = False  # holds more than what it repeats of the chunk before
    for block in itertools.chain.from_iterable(map(pieces, blocks)):
        last = held[-1] if held else None
        same = last is not None and (last.path, last.time) == (block.path, block.time)
        mine = size(block.text) + (0 if last and last.head == block.head else size(block.head))
        full = total + mine > TARGET + (SLACK if mine <= SLACK else 0) and total > OVERLAP
        if last and fresh and (not same or full):  # but no tiny chunk
            yield joined(held)
            held, fresh = (tail(last) if same else []), False
            total = sum(size(b.text) + 2 for b in held)
        if not fresh and total + mine > TARGET + SLACK:
            held, total = [], 0  # a large block needs no repetition before it
        if block.head and not (held and held[-1].head == block.head):
            total += size(block.head) + 1
        held.append(block)
        total += size(block.text) + (1 if block.row else 2)
        fresh = True
    if fresh:
        yield joined(held)


def joined(blocks: list[Block]) -> Block:
    """One block of several: rows stand close together, under their head."""
    text = []
    before = Block("")
    for block in blocks:
        close = block.row and before.row and block.head == before.head
        text.append("\n" if close else "\n\n")
        text.append(f"{block.head}\n" if block.head and not close else "")
        text.append(block.text)
        before = block
    return replace(before, text="".join(text[1:]), head="")


def tail(block: Block) -> list[Block]:
    """The last sentences of a block, as many as the overlap allows."""
    if block.whole or block.row:
        return []
    kept = ""
    for sentence in reversed(sentences(block.text)):
        if size(sentence + kept) > OVERLAP:
            break
        kept = sentence + kept
    return [replace(block, text=kept.strip())] if kept.strip() else []


def pieces(block: Block) -> Iterator[Block]:
    """A block, torn only when it is too large for a chunk: code at lines, prose at sentences."""
    fixed = block.whole or block.row
    if size(block.text) <= (WHOLE if fixed else TARGET + SLACK):
        yield block
        return
    parts = re.split(r"(?<=\n)", block.text) if fixed else sentences(block.text)
    room = WHOLE if fixed else TARGET
    held: list[str] = []
    total = 0
    for part in (small for sentence in parts for small in words(sentence, room)):
        mine = size(part)
        if held and total + mine > room:
            yield from _piece(block, held)
            held, total = [], 0
        held.append(part)
        total += mine
    yield from _piece(block, held)


def _piece(block: Block, parts: list[str]) -> Iterator[Block]:
    text = "".join(parts).strip("\n").rstrip()
    if text.strip():
        yield replace(block, text=text)


def sentences(text: str) -> list[str]:
    """A text cut behind its sentences and lines of a list; joined they are the text again."""
    cuts = {match.end() for match in SENTENCE_END.finditer(text)}
    cuts |= {match.start() for match in ITEM.finditer(text)}
    places = [0, *sorted(cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(places) if a < b]


def words(text: str, room: int) -> Iterator[str]:
    """A text cut behind spaces, or anywhere where there are none, into parts of at most ``room``
    bytes; joined they are the text again."""
    start = 0
    while start < len(text):
        part = text[start : start + room].encode()[:room].decode(errors="ignore")
        if start + len(part) < len(text):
            space = max(part.rfind(" "), part.rfind("\n")) + 1
            part = part[: space or len(part)]
        yield part
        start += len(part)
