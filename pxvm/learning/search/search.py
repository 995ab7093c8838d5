"""Search by meaning and by words at once, explained.

Every vector is scored by the pixel machine, every word looked up in the text index; the best by
either are ranked together, as ``ranking`` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError
from pxvm.learning.search.cache import Cache, Embedding, ask
from pxvm.learning.search.embedding import Embedder, EmbeddingError
from pxvm.learning.search.ranking import Hit, Ranking, Similarities, Why
from pxvm.learning.store.record import to_microseconds

__all__ = ["STOP_WORDS", "Hit", "Why", "search"]

if TYPE_CHECKING:
    from pxvm.learning.store.store import Store

#: So many of the best by words, and of the best by meaning, are ranked together.
CANDIDATES = 100
#: Terms of a question at most, and records that their words may stand in, counted for each term:
#: what more common words add is little, and scoring them takes long.
MOST_TERMS, MOST_ROWS = 64, 10_000
_STOP_WORDS = """
a am an and are as at be been but by can could did do does for from had has have he her him his how
i if in into is it its me my of on or our she should so that the their them then there these they
this to us was we were what when where which while who whom whose why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True)
class _Filter:
    """A condition on rows of ``records``, and its parameters."""

    condition: str
    parameters: tuple[Any, ...]


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
) -> list[Hit]:
    """The ``k`` best hits for ``text``, best first.

    Args:
        kinds: one of them; tags: all of them; source: this one, or one in this folder.
        since, until: aware times; an event time counts before the record time, ``until`` is out.
        device: where the question is embedded and the vectors are scored: "auto", "cpu", ...
        embedder: "auto" takes the one on this machine; None searches by words only.
        now: what "last week" counts from; the present when None.

    Raises EmbeddingError when the network's vectors are another model's.
    """
    now = now or datetime.now(timezone.utc).astimezone()
    chosen = _filter(kinds, tags, source, since, until)

    count = max(CANDIDATES, 2 * k)

    def question(cache: Cache) -> list[tuple[int, float, Why]]:
        lexical = _lexical(cache, text, chosen, count)
        similar, nearest, note = _similar(cache, text, chosen, count, device, embedder)
        return Ranking(cache, text, now, lexical, similar, nearest).best(k, note)

    ranked = ask(network, question) if k > 0 else []
    hits = []
    for sequence, score, why in ranked:
        with suppress(FormatError):  # a damaged record, which ``verify`` reports, hides no other
            hits.append(Hit(network.record(sequence), score, why))
    return hits


def _filter(
    kinds: Sequence[str],
    tags: Sequence[str],
    source: str | None,
    since: datetime | None,
    until: datetime | None,
) -> _Filter | None:
    conditions: list[str] = []
    parameters: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        conditions.append(condition)
        parameters.extend(values)

    if kinds:
        add(f"kind IN ({', '.join('?' * len(kinds))})", *kinds)
    for tag in tags:
        add("sequence IN (SELECT sequence FROM tags WHERE tag = ?)", tag)
    if source is not None:
        add("(source = ? OR substr(source, 1, ?) = ?)", source, len(source) + 1, source + "/")
    if since is not None:
        add("moment >= ?", to_microseconds(since, "since"))
    if until is not None:
        add("moment < ?", to_microseconds(until, "until"))
    return _Filter(" AND ".join(conditions), tuple(parameters)) if conditions else None


def _lexical(cache: Cache, text: str, chosen: _Filter | None, count: int) -> dict[int, float]:
    """BM25 of the best records by words, best first."""
    words = dict.fromkeys(re.findall(r"\w+", text.lower()))
    terms = [word for word in words if word not in STOP_WORDS] or list(words)
    if not terms:
        return {}
    terms = _telling(cache, terms[:MOST_TERMS])
    condition = "rowid NOT IN (SELECT sequence FROM records WHERE NOT live)"
    if chosen is not None:
        condition = f"rowid IN (SELECT sequence FROM records WHERE live AND {chosen.condition})"
    rows = cache.connection.execute(
        f"SELECT rowid, -rank FROM text WHERE text MATCH ? AND {condition} ORDER BY rank LIMIT ?",
        (
            " OR ".join(f'"{term}"' for term in terms),
            *(chosen.parameters if chosen else ()),
            count,
        ),
    )
    return dict(rows.fetchall())


def _telling(cache: Cache, terms: Sequence[str]) -> list[str]:
    """The rarest terms, so many that not more than MOST_ROWS places have to be scored."""
    question = "SELECT count(*) FROM (SELECT 1 FROM text WHERE text MATCH ? LIMIT ?)"
    rows = {}
    for term in terms:
        asked = (f'"{term}"', 10 * MOST_ROWS)  # exact enough to tell the rarest
        (rows[term],) = cache.connection.execute(question, asked).fetchone()
    kept: list[str] = []
    total = 0
    for term in sorted(terms, key=lambda term: rows[term]):
        total += rows[term]
        if kept and total > MOST_ROWS:
            break
        kept.append(term)
    return kept


def _similar(
    cache: Cache,
    text: str,
    chosen: _Filter | None,
    count: int,
    device: str,
    embedder: Embedder | Literal["auto"] | None,
) -> tuple[Similarities | None, list[int], str]:
    """Every record's similarity and the nearest; or none, and why."""
    kinds = cache.embeddings()
    if not kinds:
        return None, [], "by words only: the network has no vectors"
    if embedder == "auto":
        embedder = Embedder.present(device)
        if embedder is None:
            return None, [], "by words only: this machine has no embedder"
    if embedder is None or not text.strip():
        return None, [], "by words only"
    key = Embedding(embedder.name, embedder.probe, embedder.dimension)
    if key not in kinds:
        raise EmbeddingError(
            f"the network's vectors are from {', '.join(f'{n} ({p})' for n, p, _ in kinds)}, the"
            f" question's from {key.model} ({key.probe}): give the records vectors of this model"
            " with `pxvm network reembed`, or search without an embedder"
        )
    (query,) = embedder.real([text])
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
    return Similarities(parts), [record for _, record in sorted(best)[:count]], ""


def _allowed(
    cache: Cache, chosen: _Filter | None
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
