"""Search by meaning and by words at once, explained.

Every vector is scored by the pixel machine, every word looked up in the text index. Both scores are
brought to 0..1 (an average record, or one without any of the words, is 0; the best is 1) and added,
half and half, over the union of the best by either. A record's own vector counts together with
those of its neighbours in the conversation. Then come small boosts: for a time that the question
names, for whom or what it names, for what is new. A boost moves a hit; only a filter removes one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pxvm.learning.cache import Cache, Embedding, ask
from pxvm.learning.embedding import Embedder, EmbeddingError
from pxvm.learning.record import Record, to_microseconds
from pxvm.learning.times import find_times
from pxvm.learning.vectors import FRAC

if TYPE_CHECKING:
    from pxvm.learning.network import Network

#: So many of the best by words, and of the best by meaning, are ranked together.
CANDIDATES = 100
#: Terms of a question at most, and records that their words may stand in, counted for each term:
#: what more common words add is little, and scoring them takes long.
MOST_TERMS, MOST_ROWS = 64, 10_000
LEXICAL_SHARE = 0.5
#: The average counts so many unrelated records more, since a few say little of what is usual.
FEW = 10
#: The best is at least so much better than the average by cosine, or small differences would count.
LEAST_SPREAD = 0.25
#: What a neighbour's vector counts beside the record's own, by distance.
NEIGHBOURS = {1: 0.5, 2: 0.25}
BOOST_TIME, BOOST_NAMED, BOOST_CORRECTION = 0.15, 0.06, 0.05
#: For the newest; a record of a month earlier gets half of it.
BOOST_NEW, BOOST_NEW_ASKED = 0.01, 0.1
#: Taken off for each better hit of the same conversation, when a question asks for several things.
REPEATED = 0.03

_STOP_WORDS = """
a am an and are as at be been but by can could did do does for from had has have he her him his how
i if in into is it its me my of on or our she should so that the their them then there these they
this to us was we were what when where which while who whom whose why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
_ASKS_FOR_SEVERAL = re.compile(
    r"\b(how many|how often|all|every|each|list|in what ways|(what|which)( \w+)? (are|were|kinds?|"
    r"types?|sorts?|else)|(what|which) (\w+ )?(?!is|was|has|does)\w+s (are|were|has|have|did|do|"
    r"does))\b",
    re.IGNORECASE,
)
_ASKS_FOR_NEW = re.compile(
    r"\b(now|current|currently|latest|newest|recent|recently|still|nowadays|these days)\b",
    re.IGNORECASE,
)
_DAY = 86_400_000_000

Ranks = dict[int, int]


@dataclass(frozen=True)
class Why:
    """Where a score comes from.

    ``lexical`` and ``dense`` are 0..1 after normalisation, ``dense_near`` is dense with the
    neighbours, ``cosine`` the plain similarity; ranks count from 1. None: not among the best, or
    not asked.
    """

    lexical: float | None = None
    lexical_rank: int | None = None
    dense: float | None = None
    dense_rank: int | None = None
    dense_near: float | None = None
    cosine: float | None = None
    boosts: dict[str, float] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        parts = []
        if self.lexical is not None:
            rank = f" (number {self.lexical_rank})" if self.lexical_rank else ""
            parts.append(f"words {self.lexical:.2f}{rank}")
        if self.dense is not None:
            rank = f" (number {self.dense_rank})" if self.dense_rank else ""
            parts.append(f"meaning {self.dense:.2f}{rank}, with neighbours {self.dense_near:.2f}")
        parts += [f"{name} {value:+.2f}" for name, value in self.boosts.items()]
        return ", ".join(parts + ([self.note] if self.note else []))


@dataclass(frozen=True)
class Hit:
    """A record that was found, with its score and the reasons for it."""

    record: Record
    score: float
    why: Why


@dataclass(frozen=True)
class _Filter:
    """A condition on rows of ``records``, and its parameters."""

    condition: str
    parameters: tuple[Any, ...]


@dataclass
class _Dense:
    """Scores of every vector: records [n] ascending, scores [n] as real numbers."""

    records: NDArray[np.int64]
    scores: NDArray[np.float32]
    best: NDArray[np.int64]
    mean: float

    def of(self, records: NDArray[np.int64]) -> NDArray[np.float64]:
        """The scores of records; NaN for those without a vector."""
        place = np.minimum(np.searchsorted(self.records, records), len(self.records) - 1)
        found = self.scores[place].astype(np.float64)
        return np.where(self.records[place] == records, found, np.nan)


def search(
    network: Network,
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
        device: where the vectors are scored: "auto", "cpu", "reference", ...
        embedder: "auto" takes the one on this machine; None searches by words only.
        now: what "last week" counts from; the present when None.

    Raises EmbeddingError when the network's vectors are another model's.
    """
    now = now or datetime.now(timezone.utc).astimezone()
    chosen = _filter(kinds, tags, source, since, until)

    def question(cache: Cache) -> list[Hit]:
        lexical = _lexical(cache, text, chosen)
        dense, note = _dense(cache, text, chosen, device, embedder)
        ranking = _Ranking(cache, text, now, lexical, dense)
        return [
            Hit(network.record(sequence), score, why)
            for sequence, score, why in ranking.best(k, note)
        ]

    return ask(network, question) if k > 0 else []


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


def _lexical(cache: Cache, text: str, chosen: _Filter | None) -> dict[int, float]:
    """BM25 of the best records by words."""
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
            CANDIDATES,
        ),
    )
    return dict(rows.fetchall())


def _telling(cache: Cache, terms: Sequence[str]) -> list[str]:
    """The rarest terms, so many that not more than MOST_ROWS places have to be scored."""
    question = "SELECT count(*) FROM (SELECT 1 FROM text WHERE text MATCH ? LIMIT ?)"
    rows = {}
    for term in terms:
        asked = (f'"{term}"', MOST_ROWS + 1)
        (rows[term],) = cache.connection.execute(question, asked).fetchone()
    kept: list[str] = []
    total = 0
    for term in sorted(terms, key=lambda term: rows[term]):
        total += rows[term]
        if kept and total > MOST_ROWS:
            break
        kept.append(term)
    return kept


def _dense(
    cache: Cache,
    text: str,
    chosen: _Filter | None,
    device: str,
    embedder: Embedder | Literal["auto"] | None,
) -> tuple[_Dense | None, str]:
    """Scores by meaning; or None and why there are none."""
    kinds = cache.embeddings()
    if embedder == "auto":
        embedder = Embedder.present(device) if kinds else None
        if embedder is None:
            missing = "this machine has no embedder" if kinds else "the network has no vectors"
            return None, f"by words only: {missing}"
    if embedder is None or not text.strip():
        return None, "by words only"
    key = Embedding(embedder.name, embedder.probe, embedder.dimension)
    if key not in kinds:
        if not kinds:
            return None, "by words only: the network has no vectors"
        raise EmbeddingError(
            f"the network's vectors are from {', '.join(f'{n} ({p})' for n, p, _ in kinds)}, the"
            f" question's from {key.model} ({key.probe}): give the records vectors of this model"
            " with `pxvm network reembed`, or search without an embedder"
        )
    (query,) = embedder.real([text])
    pictures = cache.vectors(key, device)
    records = np.concatenate([picture.records for picture in pictures])
    scores = np.concatenate([picture.scores(query) for picture in pictures])
    mean = float(scores.sum(dtype=np.int64)) / (len(scores) + FEW)
    wanted = _mask(cache, records, chosen)
    usable = scores if wanted is None else np.where(wanted, scores, np.iinfo(np.int32).min)
    best = _largest(usable, CANDIDATES)
    best = best if wanted is None else best[wanted[best]]
    unit = np.float32(2.0**-FRAC)
    return _Dense(records, scores * unit, records[best], mean * float(unit)), ""


def _mask(
    cache: Cache, records: NDArray[np.int64], chosen: _Filter | None
) -> NDArray[np.bool_] | None:
    """Which vectors may be hits; None for all."""
    if chosen is None:
        dead = cache.connection.execute("SELECT sequence FROM records WHERE NOT live").fetchall()
        return ~np.isin(records, [row[0] for row in dead]) if dead else None
    rows = cache.connection.execute(
        f"SELECT sequence FROM records WHERE live AND {chosen.condition}", chosen.parameters
    )
    return np.isin(records, [row[0] for row in rows])


def _largest(scores: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Places of the ``count`` largest, in order; of equal ones the first."""
    block = 256
    whole = len(scores) // block * block
    places = np.arange(len(scores))
    if whole // block > count:
        # At least ``count`` scores reach the count-th largest of the blocks' largest.
        tops = scores[:whole].reshape(-1, block).max(axis=1)
        places = np.flatnonzero(scores >= np.partition(tops, -count)[-count])
    order = np.lexsort((places, -scores[places].astype(np.int64)))
    return np.asarray(places[order[:count]])


class _Ranking:
    """The candidates, column by column, and their scores."""

    def __init__(
        self,
        cache: Cache,
        text: str,
        now: datetime,
        lexical: dict[int, float],
        dense: _Dense | None,
    ) -> None:
        self.cache, self.text, self.now = cache, text, now
        self.dense = dense
        found = set(lexical) | (set(dense.best.tolist()) if dense else set())
        rows = cache.connection.execute(
            "SELECT sequence, kind, moment, speaker, conversation, place FROM records "
            "WHERE sequence IN (SELECT value FROM json_each(?)) ORDER BY sequence",
            (f"[{','.join(map(str, found))}]",),
        ).fetchall()
        self.rows = rows
        self.sequences = np.array([row[0] for row in rows], np.int64)
        self.lexical = _to_unit(np.array([lexical.get(row[0], 0.0) for row in rows]), 0.0)
        self.lexical_ranks = {s: i for i, s in enumerate(lexical, 1)}
        self.dense_ranks: Ranks = {}
        if dense is not None:
            self.dense_ranks = {s: i for i, s in enumerate(dense.best.tolist(), 1)}
            self.near, self.own = self._nearness(dense)

    def _nearness(self, dense: _Dense) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(with the neighbours, alone): dense scores of the candidates, 0..1."""
        top = float(dense.of(dense.best[:1])[0]) if len(dense.best) else 1.0
        top = max(top, dense.mean + LEAST_SPREAD)
        reach = max(NEIGHBOURS)
        pairs = self.cache.connection.execute(
            "SELECT m.sequence, r.sequence, abs(r.place - m.place) FROM json_each(?) j JOIN records"
            " m ON m.sequence = j.value JOIN records r ON r.conversation = m.conversation AND"
            " r.place BETWEEN m.place - ? AND m.place + ? AND r.place != m.place WHERE r.live",
            (f"[{','.join(map(str, self.sequences))}]", reach, reach),
        ).fetchall()
        own = _to_unit(np.nan_to_num(dense.of(self.sequences), nan=dense.mean), dense.mean, top)
        total, weights = own.copy(), np.ones(len(own))
        if pairs:
            whose, other, distance = np.array(pairs, np.int64).T
            share = np.array([0.0, *(NEIGHBOURS[i + 1] for i in range(reach))])[distance]
            score = np.nan_to_num(dense.of(other), nan=dense.mean)
            place = np.searchsorted(self.sequences, whose)
            np.add.at(total, place, share * _to_unit(score, dense.mean, top))
            np.add.at(weights, place, share)
        near = total / weights
        return near * (own.max(initial=0.0) / max(near.max(initial=0.0), 1e-9)), own

    def best(self, k: int, note: str) -> list[tuple[int, float, Why]]:
        """(sequence, score, why) of the k best."""
        if not self.rows:
            return []
        score = self.lexical.copy()
        if self.dense is not None:
            meaning = (self.own + self.near) / 2
            share = LEXICAL_SHARE if self.lexical_ranks else 0.0
            score = share * self.lexical + (1 - share) * meaning
        boosts = self._boosts()
        score = score + np.array([sum(given.values()) for given in boosts])
        order = self._order(score, k)
        return [
            (int(self.sequences[i]), float(score[i]), self._why(i, boosts[i], note)) for i in order
        ]

    def _order(self, score: NDArray[np.float64], k: int) -> list[int]:
        """The k best, best first, of equal ones the newest; spread out where several are asked."""
        order: list[int] = np.lexsort((-self.sequences, -score)).tolist()
        if not _ASKS_FOR_SEVERAL.search(self.text):
            return order[:k]
        chosen: list[int] = []
        seen: dict[int, int] = {}
        while order and len(chosen) < k:
            worth = [score[i] - REPEATED * seen.get(self.rows[i][4] or -1, 0) for i in order]
            i = order.pop(int(np.argmax(worth)))
            chosen.append(i)
            if self.rows[i][4] is not None:
                seen[self.rows[i][4]] = seen.get(self.rows[i][4], 0) + 1
        return chosen

    def _boosts(self) -> list[dict[str, float]]:
        words = set(re.findall(r"\w+", self.text.lower()))
        times = find_times(self.text, self.now)
        spans = [(_clamped(t.start), _clamped(t.end), t.text) for t in times]
        newest = max(row[2] for row in self.rows)
        new = BOOST_NEW_ASKED if _ASKS_FOR_NEW.search(self.text) else BOOST_NEW
        named = self._named(words)
        found: list[dict[str, float]] = []
        for sequence, kind, moment, speaker, _, _ in self.rows:
            given = {"new": new / (1 + (newest - moment) / (30 * _DAY))}
            for start, end, name in spans:
                if start <= moment < end:
                    given[f"time {name!r}"] = BOOST_TIME
            if speaker and set(speaker.split()) & words:
                given[f"named {speaker}"] = BOOST_NAMED
            for tag in named.get(sequence, ()):
                given[f"named {tag}"] = BOOST_NAMED
            if kind == "correction":
                given["correction"] = BOOST_CORRECTION
            found.append(given)
        return found

    def _named(self, words: Iterable[str]) -> dict[int, list[str]]:
        """Tags of candidates that the question names."""
        rows = self.cache.connection.execute(
            "SELECT sequence, tag FROM tags WHERE sequence IN (SELECT value FROM json_each(?))",
            (f"[{','.join(map(str, self.sequences))}]",),
        )
        known, found = set(words), dict[int, list[str]]()
        for sequence, tag in rows:
            parts = re.findall(r"\w+", tag.lower())
            if parts and known.issuperset(parts):
                found.setdefault(sequence, []).append(tag)
        return found

    def _why(self, i: int, boosts: dict[str, float], note: str) -> Why:
        sequence = int(self.sequences[i])
        lexical_rank = self.lexical_ranks.get(sequence)
        given = {name: round(value, 4) for name, value in boosts.items()}
        lexical = float(self.lexical[i]) if lexical_rank else None
        if self.dense is None:
            return Why(lexical, lexical_rank, boosts=given, note=note)
        cosine = float(self.dense.of(self.sequences[i : i + 1])[0])
        return Why(
            lexical,
            lexical_rank,
            float(self.own[i]),
            self.dense_ranks.get(sequence),
            float(self.near[i]),
            None if np.isnan(cosine) else cosine,
            given,
            note,
        )


def _clamped(moment: datetime) -> int:
    """Microseconds of a time that may be the first or last of all, in whatever zone."""
    return to_microseconds(moment.replace(tzinfo=timezone.utc)) - (
        0 if moment.utcoffset() is None else round(moment.utcoffset().total_seconds() * 1e6)  # type: ignore[union-attr]
    )


def _to_unit(
    values: NDArray[np.float64], zero: float, one: float | None = None
) -> NDArray[np.float64]:
    """Values so that ``zero`` becomes 0 and ``one``, the largest when None, becomes 1."""
    if one is None:
        one = float(values.max()) if len(values) else 1.0
    return np.maximum((values - zero) / max(one - zero, 1e-9), 0.0)
