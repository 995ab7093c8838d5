"""Search by meaning and by words at once, explained.

Every vector is scored by the pixel machine, every word looked up in the text index; the best by
either are ranked together, as ``ranking`` says.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pxvm.learning.errors import RecordError
from pxvm.learning.search.building import ask_soon
from pxvm.learning.search.cache import Cache, ask
from pxvm.learning.search.embedding import Embedder, EmbeddingError
from pxvm.learning.search.languages import says_nothing
from pxvm.learning.search.lexical import Filter, Words, by_time, by_words
from pxvm.learning.search.pictures import Embedding
from pxvm.learning.search.ranking import (
    LEAST_SPREAD,
    Hit,
    Ranking,
    Similarities,
    Why,
    newest_first,
    other_names_later,
)
from pxvm.learning.search.times import find_times, names_only_times
from pxvm.learning.store.record import KINDS, several, to_microseconds

__all__ = ["Hit", "Why", "search"]

if TYPE_CHECKING:
    from pxvm.learning.store.store import Store

#: So many of the best by words, and of the best by meaning, are ranked together.
CANDIDATES = 100
#: A question of whose words less is found, and of whose meaning nothing stands out, is of nothing
#: that is known.
LEAST_FOUND = 0.15


def search(
    network: Store,
    text: str,
    k: int = 10,
    *,
    kinds: Sequence[str] = (),
    tags: Sequence[str] = (),
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    device: str = "auto",
    embedder: Embedder | Literal["auto"] | None = "auto",
    now: datetime | None = None,
    unsearched: list[int] | None = None,
) -> list[Hit]:
    """The ``k`` best hits for ``text``, best first.

    Args:
        kinds: one of them; tags: all of them; source: this one, or one in this folder.
        since, until: aware times; an event time counts before the record time, ``until`` is out.
        device: where the question is embedded and the vectors are scored: "auto", "cpu", ...
        embedder: "auto" takes the one on this machine; None searches by words only.
        now: what "last week" counts from; the present when None.
        unsearched: where it is given, the answer does not wait until a large network is indexed: it
            is of the newest records, and how many older ones were not searched is added here.

    Raises RecordError for what is no question, list or time; EmbeddingError when the network's
    vectors are another model's.
    """
    if not isinstance(text, str):
        raise RecordError(f"a question must be text, found {type(text).__name__}")
    now = now or datetime.now(timezone.utc).astimezone()
    chosen = _filter(several(kinds, "kinds"), several(tags, "tags"), source, since, until)

    times = find_times(text, now)
    k = min(k, 1 << 31)  # more than any network has, and less than SQLite takes
    count = max(CANDIDATES, 2 * k)

    def question(cache: Cache) -> Iterator[tuple[int, float, Why]]:
        of_then = by_time(cache, times, chosen, count) if names_only_times(text, times) else []
        if not of_then and says_nothing(text):
            return iter(())
        model, note = _model(cache, text, device, embedder)
        with ThreadPoolExecutor(1) as pool:  # neither needs the interpreter while it computes
            asked = pool.submit(model.real, [text]) if model else None
            lexical = Words({}, 0.0) if of_then else by_words(cache, text, times, chosen, count)
        similar, nearest = None, list[int]()
        if model and asked:
            parts, nearest = _nearest(cache, _key(model), asked.result()[0], chosen, count, device)
            similar = Similarities(parts, model.known(text))
        stands_out = similar.stands_out if similar else 0.0
        if not of_then and lexical.found < LEAST_FOUND and stands_out < LEAST_SPREAD:
            return iter(())
        near = of_then or nearest
        return Ranking(cache, text, times, lexical.scores, similar, near).best(count, note)

    if k <= 0:
        return []
    if unsearched is None:
        ranked = ask(network, question)
    else:
        ranked, left = ask_soon(network, question)
        unsearched.append(left)
    hits = other_names_later(_different(network, ranked, k), text)
    return hits if times else newest_first(hits, text)


def _different(network: Store, ranked: Iterator[tuple[int, float, Why]], k: int) -> list[Hit]:
    """The first ``k`` hits that say different things."""
    hits: list[Hit] = []
    said: set[tuple[str, str]] = set()
    whys: dict[int, tuple[float, Why]] = {}

    def numbers() -> Iterator[int]:
        for sequence, score, why in ranked:
            whys[sequence] = score, why
            yield sequence

    # A damaged record is left out, which ``verify`` reports: it hides no other.
    for record in network.numbered(numbers()):
        # A passage of a document is under headings that may differ where it does not.
        says = ("" if record.kind == "document" else record.query, record.answer)
        if says not in said:
            said.add(says)
            hits.append(Hit(record, *whys[record.sequence]))
            if len(hits) == k:
                break
    return hits


def _filter(
    kinds: Sequence[str],
    tags: Sequence[str],
    source: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Filter | None:
    conditions: list[str] = []
    parameters: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        conditions.append(condition)
        parameters.extend(values)

    if unknown := set(kinds).difference(KINDS):
        raise RecordError(f"unknown kind {min(unknown)!r}: expected {', '.join(KINDS)}")
    if kinds:
        add(f"kind IN ({', '.join('?' * len(kinds))})", *kinds)
    for tag in tags:
        add("sequence IN (SELECT sequence FROM tags WHERE tag = ?)", tag)
    if source is not None:
        source = posixpath.normpath(source)
        if source != ".":
            add("(source = ? OR substr(source, 1, ?) = ?)", source, len(source) + 1, source + "/")
    if since is not None:
        add("moment >= ?", to_microseconds(since, "since"))
    if until is not None:
        add("moment < ?", to_microseconds(until, "until"))
    return Filter(" AND ".join(conditions), tuple(parameters)) if conditions else None


def _model(
    cache: Cache, text: str, device: str, embedder: Embedder | Literal["auto"] | None
) -> tuple[Embedder | None, str]:
    """The model that the network's vectors are of; or None, and why."""
    kinds = cache.embeddings()
    if not kinds:
        return None, "by words only: the network has no vectors"
    if embedder == "auto":
        embedder = Embedder.present(device)
        if embedder is None:
            return None, "by words only: this machine has no embedder"
    if embedder is None or not text.strip():
        return None, "by words only"
    if (key := _key(embedder)) not in kinds:
        raise EmbeddingError(
            f"the network's vectors are from {', '.join(f'{n} ({p})' for n, p, _ in kinds)}, the"
            f" question's from {key.model} ({key.probe}): give the records vectors of this model"
            " with `pxvm network reembed`, or search without an embedder"
        )
    return embedder, ""


def _key(embedder: Embedder) -> Embedding:
    return Embedding(embedder.name, embedder.probe, embedder.dimension)


def _nearest(
    cache: Cache,
    key: Embedding,
    query: NDArray[np.float32],
    chosen: Filter | None,
    count: int,
    device: str,
) -> tuple[list[tuple[NDArray[np.int64], NDArray[np.int32]]], list[int]]:
    """(every record's score by picture, the records that are nearest in order)."""
    parts = [(part.records, part.scores(query)) for part in cache.vectors(key, device)]
    allowed = _allowed(cache, chosen)
    best: list[tuple[int, int]] = []
    for records, scores in parts:
        usable = np.flatnonzero(allowed(records)) if allowed else None
        places = _largest(scores if usable is None else scores[usable], count)
        places = places if usable is None else usable[places]
        best += zip(
            (-scores[places].astype(np.int64)).tolist(), records[places].tolist(), strict=True
        )
    return parts, [record for _, record in sorted(best)[:count]]


def _allowed(
    cache: Cache, chosen: Filter | None
) -> Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None:
    """Which records may be hits; None for all."""
    if chosen is None:
        dead = cache.connection.execute("SELECT sequence FROM records WHERE NOT live").fetchall()
        gone = [row[0] for row in dead]
        return (lambda records: ~np.isin(records, gone)) if gone else None
    rows = cache.connection.execute(
        f"SELECT sequence FROM records WHERE live AND {chosen.condition}", chosen.parameters
    )
    there = [row[0] for row in rows]
    return lambda records: np.isin(records, there)


def _largest(scores: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Places of the ``count`` largest, in order; of equal ones the first."""
    block = 256
    whole = len(scores) // block * block
    if whole // block <= count:
        places = np.arange(len(scores))
    else:
        # At least ``count`` scores reach the count-th largest of the blocks' largest.
        tops = scores[:whole].reshape(-1, block).max(axis=1)
        places = np.flatnonzero(scores >= np.partition(tops, -count)[-count])
    order = np.lexsort((places, -scores[places].astype(np.int64)))
    return np.asarray(places[order[:count]])
