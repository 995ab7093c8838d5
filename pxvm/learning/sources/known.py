"""What a network holds of documents: which chunks, of which source, as of which state of the file.

Asked of the search cache, which stands beside the network and is as up to date as it; only the
records of sources that have changed are read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from pxvm.learning.errors import UnknownRecordError
from pxvm.learning.search.cache import Cache, ask
from pxvm.learning.search.pictures import Embedding
from pxvm.learning.sources.documents import Stamp
from pxvm.learning.store.record import Draft, Record, to_microseconds
from pxvm.learning.store.standing import text_of
from pxvm.learning.store.store import Store

#: How sources begin that never were files.
NO_FILE = re.compile(r"stdin: |\w+://")


class Known:
    """The documents of a network."""

    def __init__(self, network: Store) -> None:
        self.network = network
        self._stamps: dict[str, tuple[str, int]] | None = None

    def embeddings(self) -> list[Embedding]:
        """The kinds of vectors there are."""
        return ask(self.network, Cache.embeddings)

    def stamped(self, stamp: Stamp) -> int | None:
        """How many chunks there are of a file, if it was learned in this state before this run."""
        if self._stamps is None:
            rows = self._rows("SELECT source, stamp, chunks FROM files")
            self._stamps = {source: (state, chunks) for source, state, chunks in rows}
        state, chunks = self._stamps.get(stamp.source, ("", 0))
        return chunks if state == stamp.state else None

    def stamp(self, files: Iterable[tuple[Stamp, int]]) -> None:
        """Remember in which state files were learned, and how many chunks they have."""
        rows = [(*stamp, chunks) for stamp, chunks in files]

        def write(cache: Cache) -> None:
            cache.connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)

        if rows:
            ask(self.network, write)

    def chunks(self, source: str) -> list[Record]:
        """The passages of a source that count, and corrections of such."""
        rows = self._rows(
            "SELECT sequence FROM records WHERE source = ? AND live "
            "AND kind IN ('document', 'correction') ORDER BY sequence",
            source,
        )
        return [self.network.record_at(sequence) for (sequence,) in rows]

    def corrected(self) -> list[str]:
        """The sources of which a correction counts."""
        rows = self._rows(
            "SELECT DISTINCT source FROM records WHERE live AND kind = 'correction' "
            "AND source != ''"
        )
        return sorted(source for (source,) in rows)

    def tags(self, source: str) -> set[tuple[str, ...]]:
        """The sets of tags that records of a source have been given, whether they count or not."""
        rows = self._rows("SELECT sequence FROM records WHERE source = ?", source)
        return {self.network.record_at(sequence).tags for (sequence,) in rows}

    def passages(self) -> dict[str, set[int]]:
        """The sources of documents that count and were files, and the lengths of their passages."""
        rows = self._rows(
            "SELECT source, length FROM records WHERE live AND kind IN ('document', 'correction') "
            "AND source != '' AND source NOT IN "
            "(SELECT source FROM records WHERE kind NOT IN ('document', 'correction', 'tombstone'))"
        )
        found: dict[str, set[int]] = defaultdict(set)
        for source, length in rows:
            if not NO_FILE.match(source):
                found[source].add(length)
        return found

    def is_settled(self, identity: str) -> bool:
        """Has the user forgotten or corrected this, and it was not stored again since?"""
        settled = identity in self.network.standing().settled
        return settled and not self.network.counts(identity)

    def is_forgotten(self, chunk: Draft) -> bool:
        """Has the user forgotten this text, wherever it stood?"""
        texts = self.network.standing().texts
        return bool(texts) and text_of(chunk) in texts

    def unforgotten(self, records: Iterable[Record | Draft]) -> Iterator[Record | Draft]:
        """Of what is imported all but what was forgotten here: text that was erased does not come
        back with an older copy, and what another program wrote not when it is imported again."""
        for record in records:
            if isinstance(record, Record):
                time = to_microseconds(record.times[-1])
                gone = self.network.standing().is_forgotten(record.id, time)
                if gone and not self._is_stored(record.id):
                    continue
            elif self.is_settled(record.id) or (
                self.is_forgotten(record) and not self.network.counts(record.id)
            ):
                continue
            yield record

    def _is_stored(self, identity: str) -> bool:
        try:
            return bool(self.network.record(identity))
        except UnknownRecordError:
            return False

    def identity(self, chunk: Draft, others: Iterable[Draft]) -> str:
        """The id under which this text is known from its source, whatever tags it was given."""
        for other in others:
            if self.network.counts(other.id) or self.is_settled(other.id):
                return other.id
        return chunk.id

    def _rows(self, question: str, *parameters: object) -> list[tuple[Any, ...]]:
        return ask(
            self.network, lambda cache: cache.connection.execute(question, parameters).fetchall()
        )
