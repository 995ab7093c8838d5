"""Documents whose files are gone, and which of them a new file is: renamed, or in another folder.

A file is known again by what it says. So that a renamed folder of thousands of files is learned
fast, only a few are compared with it word by word: that have passages of the same length, the same
end of their path, or stood in the folders that are learned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice

from pxvm.learning.search.words import words
from pxvm.learning.sources.documents import is_there
from pxvm.learning.sources.known import Known
from pxvm.learning.store.record import Draft, Record

SAME = 0.5  # of their words that a file and the one it was before have in common
COMPARED = 20  # lost files of each kind that a new one is compared with, word by word


def name_of(source: str) -> str:
    """The name of a source's file, which its passages' headings begin with."""
    return source.rpartition("/")[2]


def renamed(headings: str, source: str, other: str) -> str:
    """The headings of a source's passage, as those of another source."""
    return f"{name_of(other)}{headings.removeprefix(name_of(source))}"


class Lost:
    """The sources of ``known`` whose files are gone; ``folders`` are those that are learned."""

    def __init__(self, known: Known, folders: Sequence[str]) -> None:
        self._known, self._folders = known, folders
        self._taken: set[str] = set()
        self._words: dict[str, frozenset[str]] = {}
        self._tags: dict[str, set[tuple[str, ...]]] = {}

    def gone(self) -> Iterator[tuple[str, list[Record]]]:
        """Those in the learned folders that no new file was, with the passages that count."""
        for source in self._inside:
            if source not in self._taken:
                yield source, self._known.chunks(source)

    def take(self, source: str, chunks: Collection[Draft]) -> str:
        """The one that a new document says the same as, by half of their words, or ""; it is taken
        for no other."""
        best, alike = "", 0.0
        for other in self._candidates(source, chunks) if self._sizes else ():
            kept = [chunk for chunk in chunks if not self._left_out(chunk, other)]
            if kept:
                shared = _shared(_words(kept), self._words_of(other))
            else:
                shared = float(bool(chunks) and all(self.settled(c, other) for c in chunks))
            if shared >= SAME and shared > alike:
                best, alike = other, shared
            if alike == 1.0:
                break
        self._taken.add(best)
        return best

    def copied(self, chunks: Sequence[Draft]) -> str:
        """The source with corrections that a new document is a copy of, passage for passage as it
        was before them, or ""."""
        known = self._known
        for other in self._corrected if chunks else ():
            past: set[str] = set()
            for chunk in chunks:
                ids = self.past(chunk, other)
                if not any(known.network.counts(i) or known.is_settled(i) for i in ids):
                    break
                past |= ids
            else:
                documents = {r.id for r in known.chunks(other) if r.kind == "document"}
                if documents <= past:
                    return other
        return ""

    def past(self, chunk: Draft, old: str) -> set[str]:
        """The ids that a passage may have under its file's old name."""
        past = replace(chunk, source=old, query=renamed(chunk.query, chunk.source, old))
        if old not in self._tags:
            self._tags[old] = self._known.tags(old)
        return {replace(past, tags=tags).id for tags in {past.tags, (), *self._tags[old]}}

    def settled(self, chunk: Draft, old: str) -> set[str]:
        """Those of them that the user forgot or corrected."""
        if not self._known.network.standing().settled:
            return set()
        return set(filter(self._known.is_settled, self.past(chunk, old)))

    def _left_out(self, chunk: Draft, old: str) -> bool:
        """Did the user forget or correct a passage under its file's old name, or its text
        elsewhere, so that it was not learned from there?"""
        if self.settled(chunk, old):
            return True
        known = self._known
        return known.is_forgotten(chunk) and not any(
            map(known.network.counts, self.past(chunk, old))
        )

    def _candidates(self, source: str, chunks: Iterable[Draft]) -> Iterator[str]:
        by_end, by_size = self._index
        sizes = {_size(source, len(chunk.query) + len(chunk.answer)) for chunk in chunks}
        alike = sorted((by_size.get(size, ()) for size in sizes), key=len)
        named = next((by_end[end] for end in _ends(source) if end in by_end), ())
        likely = (named, chain(*alike), self._inside)
        free = (islice((s for s in some if s not in self._taken), COMPARED) for some in likely)
        return iter(dict.fromkeys(chain(*free)))

    @cached_property
    def _corrected(self) -> list[str]:
        return self._known.corrected()

    @cached_property
    def _sizes(self) -> dict[str, set[int]]:
        """The sizes of the passages of every source whose file is gone."""
        home, known = self._known.network.path.resolve().parent, self._known.passages()
        folders: dict[str, str] = {}
        return {s: sizes for s, sizes in known.items() if not is_there(s, home, folders)}

    @cached_property
    def _inside(self) -> list[str]:
        if not self._folders:
            return []
        return [
            source
            for source in sorted(self._sizes)
            if any(folder == "." or source.startswith(f"{folder}/") for folder in self._folders)
        ]

    @cached_property
    def _index(self) -> tuple[dict[str, list[str]], dict[int, list[str]]]:
        """Sources by the ends of their paths, and by the sizes of their passages."""
        by_end, by_size = defaultdict(list), defaultdict(list)
        for source, sizes in self._sizes.items():
            for end in _ends(source):
                by_end[end].append(source)
            for size in sizes:
                by_size[_size(source, size)].append(source)
        return by_end, by_size

    def _words_of(self, source: str) -> frozenset[str]:
        if source not in self._words:
            passages = (r for r in self._known.chunks(source) if r.kind == "document")
            self._words[source] = _words(passages)
        return self._words[source]


def _size(source: str, characters: int) -> int:
    """Characters of a passage without its file's name."""
    return characters - len(name_of(source))


def _ends(source: str) -> Iterator[str]:
    """The path, without its first folder, and so on down to the file's name."""
    yield source
    while "/" in source:
        source = source.partition("/")[2]
        yield source


def _words(chunks: Iterable[Draft]) -> frozenset[str]:
    return frozenset(word for chunk in chunks for word in words(chunk.answer))


def _shared(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / max(len(first | second), 1)
