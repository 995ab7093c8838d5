"""Documents into a network: what is new is stored, what is no longer there is superseded.

A chunk that is stored already is skipped, so an interrupted run is continued by running it again.
What the user forgot or corrected stays so when its document is learned again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from time import monotonic

from pxvm.learning.search.embedding import Embedder, EmbeddingError
from pxvm.learning.sources.documents import Document, Skipped
from pxvm.learning.store.record import Draft, Link
from pxvm.learning.store.store import Store

BATCH = 256  # records committed at once,
PATIENCE = 1.0  # or as many as are ready after so many seconds, for embedding takes its time
EMBEDDED = 16  # records embedded at once


@dataclass(frozen=True)
class Learned:
    """A document that is in the network now, durably.

    Attributes:
        added: chunks stored.
        known: chunks that were there.
        replaced: older chunks of this document that it no longer has.
        settled: chunks left out because the user forgot or corrected them.
    """

    path: str
    source: str
    added: int
    known: int
    replaced: int
    settled: int


def learn(
    network: Store,
    documents: Iterable[Document | Skipped],
    *,
    embedder: Embedder | None = None,
    committed: Callable[[int], None] = lambda total: None,
) -> Iterator[Learned | Skipped]:
    """Store documents; yields each when all its chunks are durable.

    Args:
        embedder: gives chunks their vectors.
        committed: called after each commit with the number of records stored so far.

    Raises:
        EmbeddingError: the network's vectors are another model's.
    """
    memory = _Memory(network)

    def embed(drafts: list[Draft]) -> list[Draft]:
        if embedder is None:
            return drafts
        if memory.probes and embedder.probe not in memory.probes:
            raise EmbeddingError(
                f"{network.path.name} has vectors of {', '.join(sorted(memory.models))} and the "
                f"model here is another ({embedder.name}, {embedder.probe}): give every record "
                "its vectors with `pxvm network reembed`, then learn"
            )
        return embedder.with_vectors(drafts)

    store = _Store(network, embed, committed)
    finished: list[Learned] = []
    for document in documents:
        if isinstance(document, Skipped):
            yield document
            continue
        drafts, learned = memory.plan(document)
        finished.append(learned)
        store.add(drafts)
        if store.is_settled:
            yield from finished
            finished = []
    store.settle()
    yield from finished


class _Store:
    """Embeds and stores drafts, in batches that are neither large nor late."""

    def __init__(
        self,
        network: Store,
        embed: Callable[[list[Draft]], list[Draft]],
        committed: Callable[[int], None],
    ) -> None:
        self.network, self.embed, self.committed = network, embed, committed
        self.raw: list[Draft] = []
        self.ready: list[Draft] = []
        self.total = 0
        self.last = monotonic()

    @property
    def is_settled(self) -> bool:
        """Is everything on disk?"""
        return not (self.raw or self.ready)

    def add(self, drafts: list[Draft]) -> None:
        """Take drafts in; commits when it is time."""
        self.raw += drafts
        while len(self.raw) >= EMBEDDED:
            self._embed()
            if len(self.ready) >= BATCH or monotonic() - self.last > PATIENCE:
                self._commit()
        if monotonic() - self.last > PATIENCE:
            self.settle()

    def settle(self) -> None:
        """Commit all that was taken in."""
        while self.raw:
            self._embed()
        self._commit()

    def _embed(self) -> None:
        self.ready += self.embed(self.raw[:EMBEDDED])
        del self.raw[:EMBEDDED]

    def _commit(self) -> None:
        if self.ready:
            self.network.append_many(self.ready)
            self.total += len(self.ready)
            self.ready = []
            self.committed(self.total)
        self.last = monotonic()


class _Memory:
    """What a network holds of documents."""

    def __init__(self, network: Store) -> None:
        self.live = network.live_ids()
        self.settled: set[str] = set()  # the user's word on it is the last
        self.probes: set[str] = set()
        self.models: set[str] = set()
        self.headings: dict[str, dict[str, str]] = defaultdict(dict)  # by source and id
        self.tags: dict[str, set[tuple[str, ...]]] = defaultdict(set)  # by source
        for record in network.records(all=True):
            self.settled |= {
                target
                for relation, target in record.links
                # A tombstone with a source is one of ours.
                if relation == "corrects" or (relation == "forgets" and not record.source)
            }
            self.probes |= {vector.probe for vector in record.vectors}
            self.models |= {f"{vector.model} ({vector.probe})" for vector in record.vectors}
            self.tags[record.source].add(record.tags)
            if record.kind == "document" and record.id in self.live:
                self.headings[record.source][record.id] = record.query
        self.settled -= self.live

    def plan(self, document: Document) -> tuple[list[Draft], Learned]:
        """The drafts to store, which name what they take the place of."""
        named = {self._id(chunk): chunk for chunk in document.chunks}
        there = {i: chunk for i, chunk in named.items() if i not in self.settled}
        new = {i: chunk for i, chunk in there.items() if i not in self.live}
        old = self.headings[document.source] if document.replaces else {}
        gone = [i for i in old if i not in there]
        links: dict[str, list[Link]] = defaultdict(list)
        orphans: list[str] = []
        for i in gone:
            if heir := _heir(old.pop(i), new, links):
                links[heir].append(Link("supersedes", i))
            else:
                orphans.append(i)
        drafts = [replace(chunk, links=tuple(links[i])) for i, chunk in new.items()]
        for first in range(0, len(orphans), BATCH):
            drafts.append(_tombstone(document.source, orphans[first : first + BATCH]))
        self.live.update(new)
        if document.replaces:
            old.update((i, chunk.query) for i, chunk in new.items())
        learned = Learned(
            path=document.path,
            source=document.source,
            added=len(new),
            known=len(there) - len(new),
            replaced=len(gone),
            settled=len(named) - len(there),
        )
        return drafts, learned

    def _id(self, chunk: Draft) -> str:
        """The id under which this text is known from its source, whatever tags it was given."""
        for tags in (chunk.tags, (), *self.tags[chunk.source]):
            identity = replace(chunk, tags=tags).id
            if identity in self.live or identity in self.settled:
                return identity
        return chunk.id


def _heir(headings: str, new: dict[str, Draft], links: dict[str, list[Link]]) -> str | None:
    """The new chunk under the same headings that takes an old one's place; each one if it can."""
    same = [i for i, chunk in new.items() if chunk.query == headings]
    unused = [i for i in same if not links[i]]
    return next(iter(unused or same[-1:]), None)


def _tombstone(source: str, ids: list[str]) -> Draft:
    return Draft(
        "",
        "\n".join([f"No longer in {source}:", *ids]),
        kind="tombstone",
        source=source,
        event_time=datetime.now(timezone.utc),
        links=tuple(Link("forgets", i) for i in ids),
    )
