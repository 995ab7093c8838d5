"""What the readers keep of real files: words in, words kept, and what was left out by name.

Run: ``python -m benchmarks.readers [FOLDER ...]``, where folders hold more files to take. Counted
are the letters and digits of words, not signs of punctuation; a word that a passage repeats of the
one before counts once.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks._reader_files import TEXTS, WRITERS, File, found, installed, made
from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import MARKS
from pxvm.learning.sources.documents import Document, read_content

FILES = 14  # of each kind, at most
AIM = 0.995
WORD = re.compile(r"[^\W_]+")
SHOWN = 12  # files of which something is missing


@dataclass
class Count:
    """What was counted of a kind: characters of words, and files of which some are missing."""

    files: int = 0
    there: int = 0
    kept: int = 0
    named: int = 0
    seconds: float = 0.0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)


def words(document: Document) -> Counter[str]:
    """The words of a document's passages, each as often as the document has it."""
    found: Counter[str] = Counter()
    before, above = ("", ""), []
    for chunk in document.chunks:
        headings = chunk.query.split(" > ")[1:] if chunk.kind == "document" else [chunk.query]
        path = list(itertools.accumulate(headings, "{} > {}".format))
        for place, heading in enumerate(headings):
            if path[place : place + 1] != above[place : place + 1]:
                found.update(WORD.findall(heading))
        above = path
        repeated, _, rest = chunk.answer.partition("\n\n")
        overlaps = rest and chunk.query == before[0] and before[1].endswith(repeated)
        found.update(WORD.findall(rest if overlaps else chunk.answer))
        before = (chunk.query, chunk.answer)
    return found


def letters(found: Counter[str]) -> int:
    """Characters of words."""
    return sum(len(word) * times for word, times in found.items())


def count(file: File, into: Count) -> None:
    """Read a file and add what came of it."""
    there = Counter(WORD.findall(file.text))
    into.files += 1
    into.there += letters(there)
    into.bytes += len(file.content)
    start = time.process_time()
    try:
        document = read_content(file.content, f"file{file.suffix}", f"file{file.suffix}")
    except UnreadableError as error:
        into.missing.append(f"{file.origin}: {error}")
        return
    into.seconds += time.process_time() - start
    lost = there - words(document)
    named = document.left.total() - document.left[MARKS]
    into.kept += letters(there) - letters(lost)
    into.named += min(letters(lost), named)
    if letters(lost) > named + 0.005 * letters(there):
        some = ", ".join(word for word, _ in lost.most_common(5))
        into.missing.append(f"{file.origin}: {letters(lost) / letters(there):.1%} ({some}, ...)")


def main(folders: tuple[str, ...] = ()) -> None:
    """Print the table."""
    places = [*map(Path, folders), *installed()]
    texts = [*found(".rst", places, FILES), *found(".md", places, FILES)]
    texts += found(".txt", places, FILES)
    counts: dict[str, Count] = {}
    for suffix in (*TEXTS, *WRITERS):
        counted = counts[suffix] = Count()
        for file in found(suffix, places, FILES):
            count(file, counted)
        if suffix in WRITERS:
            try:
                for file in made(suffix, texts, FILES - counted.files):
                    count(file, counted)
            except ImportError as error:
                print(f"{suffix}: {error.name} is not installed (pip install 'pxvm[bench]')")
    _print(counts)


def _print(counts: dict[str, Count]) -> None:
    table = Table(title=f"Characters of words, aim {AIM:.1%} kept and the rest named")
    for column in ("kind", "files", "characters", "kept", "left out by name", "neither", "MB/s"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    everything = Count()
    for suffix, counted in counts.items():
        for name in ("files", "there", "kept", "named", "seconds", "bytes"):
            setattr(everything, name, getattr(everything, name) + getattr(counted, name))
        everything.missing += counted.missing
        _row(table, suffix, counted)
    table.add_section()
    _row(table, "all", everything)
    Console().print(table)
    for line in everything.missing[:SHOWN]:
        print(f"missing in {line}")
    if len(everything.missing) > SHOWN:
        print(f"and {len(everything.missing) - SHOWN} more files of which something is missing")


def _row(table: Table, name: str, counted: Count) -> None:
    there = max(counted.there, 1)
    neither = counted.there - counted.kept - counted.named
    table.add_row(
        name,
        f"{counted.files}",
        f"{counted.there:,}",
        f"{counted.kept / there:.3%}",
        f"{counted.named / there:.3%}",
        f"{neither / there:.3%}",
        f"{counted.bytes / 1e6 / counted.seconds:.2f}" if counted.seconds else "",
    )


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
