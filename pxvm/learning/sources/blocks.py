"""Blocks of a document, and how they are packed into chunks of about one kilobyte.

A block is what an author would not tear apart: a paragraph, a list, a table, a piece of code. A
chunk is what one record holds: whole blocks that stand under the same headings. Where a section
needs several chunks, each begins with the last words of the one before, so that a sentence which
refers back finds what it refers to.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

TARGET = 1_000  # bytes of UTF-8 that a chunk should have
SLACK = 250  # what a chunk may have above that, rather than leaving a small rest
OVERLAP = 160  # bytes at most that a chunk repeats of the one before
WHOLE = 8_000  # code and tables are torn only when they are larger

SENTENCE_END = re.compile(r"(?<=[^\s\d][.!?])[\"')\]]*\s+|(?<=[。！？])")


@dataclass(frozen=True)
class Block:
    """A piece of a document.

    Attributes:
        text: as it stands in the document, without blank lines around it.
        path: the headings or definitions it stands under, outermost first.
        whole: code or a table: kept in one piece, and its tail is not repeated.
    """

    text: str
    path: tuple[str, ...] = ()
    whole: bool = False


def size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text.encode())


def pack(blocks: list[Block]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Chunks of a document, in its order, as (path, text)."""
    path: tuple[str, ...] = ()
    held: list[Block] = []
    fresh = False  # holds more than what it repeats of the chunk before
    for block in itertools.chain.from_iterable(map(pieces, blocks)):
        joined = size("\n\n".join([*(b.text for b in held), block.text]))
        room = TARGET + (SLACK if size(block.text) <= SLACK else 0)
        full = joined > room and joined - size(block.text) > OVERLAP  # no tiny chunk
        if fresh and (block.path != path or full):
            yield path, "\n\n".join(b.text for b in held)
            held, fresh = (tail(held[-1]) if block.path == path else []), False
        if not fresh and sum(size(b.text) for b in held) + size(block.text) > TARGET + SLACK:
            held = []  # a large block needs no repetition before it
        held.append(block)
        path, fresh = block.path, True
    if fresh:
        yield path, "\n\n".join(b.text for b in held)


def tail(block: Block) -> list[Block]:
    """The last sentences of a block, as many as the overlap allows."""
    if block.whole:
        return []
    kept = ""
    for sentence in reversed(sentences(block.text)):
        if size(sentence + kept) > OVERLAP:
            break
        kept = sentence + kept
    return [Block(kept.strip(), block.path)] if kept.strip() else []


def pieces(block: Block) -> Iterator[Block]:
    """A block, torn only when it is too large for a chunk: code at lines, prose at sentences."""
    if size(block.text) <= (WHOLE if block.whole else TARGET + SLACK):
        yield block
        return
    parts = re.split(r"(?<=\n)", block.text) if block.whole else sentences(block.text)
    room = WHOLE if block.whole else TARGET
    held = ""
    for part in (small for sentence in parts for small in words(sentence, room)):
        if held and size(held + part) > room:
            yield Block(held.strip("\n").rstrip(), block.path, block.whole)
            held = ""
        held += part
    if held.strip():
        yield Block(held.strip("\n").rstrip(), block.path, block.whole)


def sentences(text: str) -> list[str]:
    """A text cut behind its sentences and lines of a list; joined they are the text again."""
    cuts = [match.end() for match in SENTENCE_END.finditer(text)]
    cuts += [match.start() for match in re.finditer(r"(?m)^\s*(?:[-*+]|\d+[.)]) ", text)]
    places = [0, *sorted(set(cuts)), len(text)]
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
