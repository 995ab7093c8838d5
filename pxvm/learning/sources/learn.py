"""Documents into a network: what is new is stored, what is no longer there is superseded.

A chunk that is stored already is skipped, so an interrupted run is continued by running it again.
What the user forgot or corrected stays so when its document is learned again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from time import monotonic

from pxvm.learning.search.embedding import Embedder, EmbeddingError
from pxvm.learning.sources.documents import Document, Skipped, Stamp
from pxvm.learning.sources.known import Known
from pxvm.learning.sources.lost import Lost, renamed
from pxvm.learning.store.record import Draft, Link, Record
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
        moved: the source that it had before, where the file was renamed; else "".
    """

    path: str
    source: str
    added: int
    known: int
    replaced: int
    settled: int
    moved: str = ""


@dataclass(frozen=True)
class Gone:
    """A source whose file is no longer there; its chunks are forgotten if ``pruned``."""

    source: str
    chunks: int
    pruned: bool


def learn(
    network: Store,
    documents: Iterable[Document | Skipped],
    *,
    embedder: Embedder | None = None,
    committed: Callable[[int], None] = lambda total: None,
    folders: Sequence[str] = (),
    prune: bool = False,
) -> Iterator[Learned | Skipped | Gone]:
    """Store documents; yields each when all its chunks are durable.

    Args:
        embedder: gives chunks their vectors.
        committed: called after each commit with the number of records stored so far.
        folders: sources of the folders that ``documents`` are all of: what was learned from a file
            in them that is no longer there, and is in no new one, is gone.
        prune: forget what is gone.

    Raises:
        EmbeddingError: the network's vectors are another model's.
    """
    known = Known(network)

    def embed(drafts: list[Draft]) -> list[Draft]:
        if embedder is None:
            return drafts
        there = known.embeddings()
        if there and embedder.probe not in {e.probe for e in there}:
            models = ", ".join(sorted(f"{e.model} ({e.probe})" for e in there))
            raise EmbeddingError(
                f"{network.path.name} has vectors of {models} and the "
                f"model here is another ({embedder.name}, {embedder.probe}): give every record "
                "its vectors with `pxvm network reembed`, then learn"
            )
        return embedder.with_vectors(drafts)

    plan = _Plan(known, folders)
    store = _Store(network, embed, committed)
    finished: list[tuple[Learned, Stamp | None]] = []
    finished_gone: list[Gone] = []

    def told() -> Iterator[Learned]:
        known.stamp(
            (stamp, learned.added + learned.known + learned.settled)
            for learned, stamp in finished
            if stamp
        )
        yield from (learned for learned, _ in finished)
        finished.clear()

    for document in documents:
        if isinstance(document, Skipped):
            yield document
            continue
        if document.unchanged:
            yield Learned(document.path, document.source, 0, document.unchanged, 0, 0)
            continue
        drafts, learned = plan.of(document)
        finished.append((learned, document.stamp))
        store.add(drafts)
        if store.is_settled:
            yield from told()
    for source, records in plan.lost.gone():
        if prune:
            ids = [record.id for record in records]
            store.add(_tombstones(f"No longer in {source}", source, ids))
        finished_gone.append(Gone(source, len(records), prune))
    store.settle()
    yield from told()
    yield from finished_gone


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


class _Plan:
    """What of each document is new, and what that takes the place of."""

    def __init__(self, known: Known, folders: Sequence[str]) -> None:
        self.known = known
        self.lost = Lost(known, folders)
        self.pending: set[str] = set()  # ids that this run has stored, or will

    def of(self, document: Document) -> tuple[list[Draft], Learned]:
        """The drafts to store, which name what they take the place of."""
        known, source = self.known, document.source
        variants = known.tags(source) | {()}
        named = {
            known.identity(chunk, (chunk, *(replace(chunk, tags=tags) for tags in variants))): chunk
            for chunk in document.chunks
        }
        there = {i: chunk for i, chunk in named.items() if not known.is_settled(i)}
        before = known.chunks(source) if document.replaces else []
        is_new = document.replaces and not before
        moved = self.lost.take(source, there.values()) if is_new else ""
        carried: list[Draft] = []
        if moved:
            before = known.chunks(moved)
        if origin := moved or (self.lost.copied(list(there.values())) if is_new else ""):
            there, carried = self._settled_before(origin, there, supersedes=bool(moved))
        there = {i: c for i, c in there.items() if not self._stays_forgotten(i, c, moved)}
        new = {
            i: chunk
            for i, chunk in there.items()
            if i not in self.pending and not known.network.counts(i)
        }
        kept = {target for draft in carried for _, target in draft.links}
        gone = [r for r in before if r.id not in kept and (moved or self._is_out(r, named))]
        drafts = [*carried, *self._linked(source, new, gone)]
        self.pending.update(new)
        learned = Learned(
            path=document.path,
            source=source,
            added=len(new),
            known=len(there) - len(new),
            replaced=len(gone),
            settled=len(named) - len(there),
            moved=moved,
        )
        return drafts, learned

    def _settled_before(
        self, old: str, chunks: Mapping[str, Draft], *, supersedes: bool
    ) -> tuple[dict[str, Draft], list[Draft]]:
        """Of a renamed or copied document the passages that the user neither forgot nor corrected
        under its old name; and drafts that say of the others what was said of them there."""
        there, forgotten, drafts = {}, [], []
        standing, before = self.known.network.standing(), self.known.chunks(old)
        for identity, chunk in chunks.items():
            settled = self.lost.settled(chunk, old)
            right = (r for r in before if settled & standing.versions(r.id))
            if not settled:
                there[identity] = chunk
            elif correction := next(right, None):
                links = [Link("corrects", identity)]
                links += [Link("supersedes", correction.id)] if supersedes else []
                query = renamed(correction.query, old, chunk.source)
                now = replace(correction.draft(), source=chunk.source, query=query)
                drafts.append(replace(now, links=tuple(links)))
            else:
                forgotten.append(identity)
        return there, [*drafts, *_tombstones("Forgotten", "", forgotten)]

    def _stays_forgotten(self, identity: str, chunk: Draft, moved: str) -> bool:
        """Was this text forgotten where it stood before, and does not count from this file?"""
        known = self.known
        if not known.is_forgotten(chunk) or known.network.counts(identity):
            return False
        return not (moved and any(map(known.network.counts, self.lost.past(chunk, moved))))

    def _is_out(self, record: Record, named: Mapping[str, Draft]) -> bool:
        """Does a document no longer say what a record of it says, or what that corrects?"""
        if record.kind == "document":
            return record.id not in named
        return not any(i in named for i in self.known.network.standing().versions(record.id))

    def _linked(self, source: str, new: Mapping[str, Draft], gone: Sequence[Record]) -> list[Draft]:
        """The new chunks, which supersede what is gone; and what forgets the rest of that."""
        links: dict[str, list[Link]] = defaultdict(list)
        orphans: list[str] = []
        for record in gone:
            if heir := _heir(record, new, links):
                links[heir].append(Link("supersedes", record.id))
            else:
                orphans.append(record.id)
        drafts = [replace(chunk, links=tuple(links[i])) for i, chunk in new.items()]
        return [*drafts, *_tombstones(f"No longer in {source}", source, orphans)]


def _heir(record: Record, new: Mapping[str, Draft], links: Mapping[str, list[Link]]) -> str | None:
    """The new chunk that takes an old one's place: with its text, or under its headings; of
    several each one if it can."""
    same = [i for i, chunk in new.items() if chunk.answer == record.answer]
    same = same or [i for i, chunk in new.items() if chunk.query == record.query]
    unused = [i for i in same if not links.get(i)]
    return next(iter(unused or same[-1:]), None)


def _tombstones(why: str, source: str, ids: Sequence[str]) -> list[Draft]:
    return [
        Draft(
            "",
            "\n".join([f"{why}:", *some]),
            kind="tombstone",
            source=source,
            event_time=datetime.now(timezone.utc),
            links=tuple(Link("forgets", i) for i in some),
        )
        for some in (ids[first : first + BATCH] for first in range(0, len(ids), BATCH))
    ]
