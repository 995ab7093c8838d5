"""How what was found is put in order: two scores into one, boosts, and the reasons.

Both scores are brought to 0..1: an average record, or one without any of the words, is 0, the best
is 1. They are added, half and half. A record's own vector counts together with those of its
neighbours in the conversation. Then come small boosts: for a time that the question names, for whom
or what it names, for what is new; and one taken off for another name. A boost moves a hit; only a
filter removes one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pxvm.learning.search.cache import Cache
from pxvm.learning.search.times import Interval
from pxvm.learning.search.vectors import FRAC
from pxvm.learning.search.words import asked, names_in, words
from pxvm.learning.store.record import Record, to_microseconds

LEXICAL_SHARE = 0.5
#: The average counts so many unrelated records more, since a few say little of what is usual.
FEW = 10
#: The best is at least so much better than the average by cosine, or small differences would count.
LEAST_SPREAD = 0.25
#: What a neighbour's vector counts beside the record's own, by distance.
NEIGHBOURS = {1: 0.5, 2: 0.25}
BOOST_TIME, BOOST_NAMED, BOOST_CORRECTION = 0.15, 0.06, 0.05
#: Of a record in which a name of the question is another: "Anna Lund" is not "Anna".
BOOST_OTHER_NAME = -0.1
#: For the newest; a record of a month earlier gets half of it.
BOOST_NEW, BOOST_NEW_ASKED = 0.01, 0.1
#: Taken off for each better hit of the same conversation, when a question asks for several things.
REPEATED = 0.03
#: Two records say nearly the same when they share so much of their words.
ALIKE = 0.7
_DAY = 86_400_000_000

_ASKS_FOR_SEVERAL = re.compile(
    r"\b(how many|how often|all|every|each|list|in what ways|(what|which)( \w+)? (are|were|kinds|"
    r"types|sorts|else)|(what|which) (\w+ )?(?!is|was|has|does)\w+s (are|were|has|have|did|do|"
    r"does))\b",
    re.IGNORECASE,
)
_ASKS_FOR_NEW = re.compile(
    r"\b(now|current|currently|latest|newest|recent|recently|still|nowadays|these days)\b",
    re.IGNORECASE,
)


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

    @functools.cached_property
    def words(self) -> frozenset[str]:
        """The record's words."""
        return frozenset(words(self._said))

    @functools.cached_property
    def names(self) -> frozenset[tuple[str, ...]]:
        """The names in the record."""
        return frozenset(names_in(self._said))

    @property
    def _said(self) -> str:
        return f"{self.record.query}\n{self.record.answer}"


class _Row(NamedTuple):
    """A candidate, as the text index knows it."""

    sequence: int
    kind: str
    moment: int
    speaker: str
    conversation: int | None


class Similarities:
    """Scores of every vector of the network for one question."""

    def __init__(
        self, parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int32]]], known: float
    ) -> None:
        """``parts``: (records [n] ascending, dot products [n] with FRAC fraction bits); ``known``:
        how much of the question the model has read, 0..1."""
        self._parts, self.known = parts, known
        total = sum(int(scores.sum(dtype=np.int64)) for _, scores in parts)
        self.mean = total * 2.0**-FRAC / (sum(len(scores) for _, scores in parts) + FEW)

    @property
    def stands_out(self) -> float:
        """By how much the best is better than the average, so far as the question was read."""
        best = max((int(scores.max(initial=0)) for _, scores in self._parts), default=0)
        return self.known * (best * 2.0**-FRAC - self.mean)

    def of(self, records: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cosines of records; NaN for those without a vector."""
        found = np.full(len(records), np.nan)
        for known, scores in self._parts:
            place = np.minimum(np.searchsorted(known, records), len(known) - 1)
            here = known[place] == records
            found[here] = scores[place[here]] * 2.0**-FRAC
        return found

    def unit(self, records: NDArray[np.int64], best: float) -> NDArray[np.float64]:
        """The same as 0..1: 0 for the average and for what has no vector, 1 for ``best``."""
        cosines = np.nan_to_num(self.of(records), nan=self.mean)
        return to_unit(cosines, self.mean, max(best, self.mean + LEAST_SPREAD))


class Ranking:
    """The candidates, column by column, and their scores."""

    def __init__(
        self,
        cache: Cache,
        text: str,
        times: Sequence[Interval],
        lexical: dict[int, float],
        similar: Similarities | None,
        nearest: Sequence[int],
    ) -> None:
        """``lexical``: BM25 of the best by words; ``nearest``: the best by meaning, in order."""
        self.cache, self.text, self.times, self.similar = cache, text, times, similar
        self._all = f"[{','.join(map(str, sorted({*lexical, *nearest})))}]"
        self.rows = [
            _Row(*row)
            for row in cache.connection.execute(
                "SELECT sequence, kind, moment, speaker, conversation FROM records "
                "WHERE sequence IN (SELECT value FROM json_each(?)) ORDER BY sequence",
                (self._all,),
            )
        ]
        self.sequences = np.array([row.sequence for row in self.rows], np.int64)
        self.lexical = to_unit(np.array([lexical.get(row.sequence, 0.0) for row in self.rows]), 0.0)
        self.lexical_ranks = {sequence: rank for rank, sequence in enumerate(lexical, 1)}
        self.nearest_ranks = {sequence: rank for rank, sequence in enumerate(nearest, 1)}
        if similar is not None:
            self.near, self.own = self._nearness(similar)
            self.cosines = similar.of(self.sequences)

    def _nearness(self, similar: Similarities) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(with the neighbours, alone): similarities of the candidates, 0..1."""
        reach = max(NEIGHBOURS)
        pairs = self.cache.connection.execute(
            "SELECT m.sequence, r.sequence, abs(r.place - m.place) FROM json_each(?) j JOIN records"
            " m ON m.sequence = j.value JOIN records r ON r.conversation = m.conversation AND"
            " r.place BETWEEN m.place - ? AND m.place + ? AND r.place != m.place WHERE r.live",
            (self._all, reach, reach),
        ).fetchall()
        best = float(np.nanmax(similar.of(self.sequences), initial=-1.0))
        own = similar.unit(self.sequences, best)
        total, weights = own.copy(), np.ones(len(own))
        if pairs:
            whose, other, distance = np.array(pairs, np.int64).T
            share = np.array([0.0, *(NEIGHBOURS[i + 1] for i in range(reach))])[distance]
            place = np.searchsorted(self.sequences, whose)
            np.add.at(total, place, share * similar.unit(other, best))
            np.add.at(weights, place, share)
        near = total / weights
        return near * (own.max(initial=0.0) / max(near.max(initial=0.0), 1e-9)), own

    def best(self, k: int, note: str) -> Iterator[tuple[int, float, Why]]:
        """(sequence, score, why) of the k best; all but the reasons is asked of the cache now."""
        if not self.rows:
            return iter(())
        score = self.lexical.copy()
        if self.similar is not None:
            meaning = (self.own + self.near) / 2
            share = LEXICAL_SHARE if self.lexical_ranks else 0.0
            by_meaning = (1 - share) * self.similar.known
            score = (share * self.lexical + by_meaning * meaning) / max(share + by_meaning, 1e-9)
        boosts = self._boosts()
        score = score + np.array([sum(given.values()) for given in boosts])
        order = self._order(score, k)
        return (
            (int(self.sequences[i]), float(score[i]), self._why(i, boosts[i], note)) for i in order
        )

    def _order(self, score: NDArray[np.float64], k: int) -> list[int]:
        """The k best, best first, of equal ones the newest; spread out where several are asked."""
        order: list[int] = np.lexsort((-self.sequences, -score)).tolist()
        if not _ASKS_FOR_SEVERAL.search(self.text):
            return order[:k]
        chosen: list[int] = []
        seen: dict[int, int] = {}
        while order and len(chosen) < k:
            worth = [
                score[i] - REPEATED * seen.get(self.rows[i].conversation or 0, 0) for i in order
            ]
            i = order.pop(int(np.argmax(worth)))
            chosen.append(i)
            if conversation := self.rows[i].conversation:
                seen[conversation] = seen.get(conversation, 0) + 1
        return chosen

    def _boosts(self) -> list[dict[str, float]]:
        named_words = set(asked(self.text))
        spans = [(to_microseconds(t.start), to_microseconds(t.end), t.text) for t in self.times]
        newest = max(row.moment for row in self.rows)
        new = BOOST_NEW_ASKED if _ASKS_FOR_NEW.search(self.text) else BOOST_NEW
        named = self._named(named_words)
        found: list[dict[str, float]] = []
        for row in self.rows:
            given = {"new": new / (1 + (newest - row.moment) / (30 * _DAY))}
            for start, end, name in spans:
                if start <= row.moment < end:
                    given[f"time {name!r}"] = BOOST_TIME
            if row.speaker and named_words.intersection(words(row.speaker)):
                given[f"named {row.speaker}"] = BOOST_NAMED
            for tag in named.get(row.sequence, ()):
                given[f"named {tag}"] = BOOST_NAMED
            if row.kind == "correction":
                given["correction"] = BOOST_CORRECTION
            found.append(given)
        return found

    def _named(self, asked_for: set[str]) -> dict[int, list[str]]:
        """Tags of candidates that the question names."""
        rows = self.cache.connection.execute(
            "SELECT sequence, tag FROM tags WHERE sequence IN (SELECT value FROM json_each(?))",
            (self._all,),
        )
        found: dict[int, list[str]] = {}
        for sequence, tag in rows:
            parts = words(tag)
            if parts and asked_for.issuperset(parts):
                found.setdefault(sequence, []).append(tag)
        return found

    def _why(self, i: int, boosts: dict[str, float], note: str) -> Why:
        sequence = int(self.sequences[i])
        lexical_rank = self.lexical_ranks.get(sequence)
        given = {name: round(value, 4) for name, value in boosts.items()}
        lexical = float(self.lexical[i]) if lexical_rank else None
        if self.similar is None:
            return Why(lexical, lexical_rank, boosts=given, note=note)
        cosine = float(self.cosines[i])
        return Why(
            lexical,
            lexical_rank,
            float(self.own[i]),
            self.nearest_ranks.get(sequence),
            float(self.near[i]),
            None if np.isnan(cosine) else cosine,
            given,
            note,
        )


def to_unit(
    values: NDArray[np.float64], zero: float, one: float | None = None
) -> NDArray[np.float64]:
    """Values so that ``zero`` becomes 0 and ``one``, the largest when None, becomes 1."""
    if one is None:
        one = float(values.max()) if len(values) else 1.0
    return np.maximum((values - zero) / max(one - zero, 1e-9), 0.0)


def other_names_later(hits: Sequence[Hit], text: str) -> list[Hit]:
    """Hits in their order, those moved back in which a name of the question is another."""
    wanted = frozenset(names_in(text))
    if not wanted or _ASKS_FOR_SEVERAL.search(text):
        return list(hits)
    asked_for = frozenset(word for name in wanted for word in name)
    found = [_of_another(hit) if _is_another(hit.names, wanted, asked_for) else hit for hit in hits]
    return sorted(found, key=lambda hit: -hit.score) if found != list(hits) else found


def _of_another(hit: Hit) -> Hit:
    boosts = {**hit.why.boosts, "another name": BOOST_OTHER_NAME}
    return replace(hit, score=hit.score + BOOST_OTHER_NAME, why=replace(hit.why, boosts=boosts))


def _is_another(
    names: frozenset[tuple[str, ...]],
    wanted: frozenset[tuple[str, ...]],
    asked_for: frozenset[str],
) -> bool:
    """Has a record none of the names that are wanted, but one that shares a word with them and has
    others: "Anna Lund" where "Anna" is asked for, or "Anna Schmidt"?"""
    if names & wanted:
        return False
    return any(not asked_for.isdisjoint(name) and not asked_for.issuperset(name) for name in names)


def newest_first(hits: Sequence[Hit], text: str) -> list[Hit]:
    """Hits in their order, but those that say nearly the same by time, the newest where the first
    of them stood: where facts conflict, the last word is heard first.

    They have the same of the words that are asked for, in the same names, or they are of different
    things."""
    asked_for = frozenset(asked(text))
    told = [hit.words & asked_for for hit in hits]
    order = list(hits)
    done: set[int] = set()

    @functools.cache
    def names(number: int) -> frozenset[tuple[str, ...]]:
        return frozenset(n for n in hits[number].names if not asked_for.isdisjoint(n))

    def same(first: int, other: int) -> bool:
        return (
            told[first] == told[other]
            and _alike(hits[first].words, hits[other].words)
            and names(first) == names(other)
        )

    for first in range(len(hits)):
        if first in done:
            continue
        alike = [i for i in range(first, len(hits)) if i not in done and same(first, i)]
        done.update(alike)
        newest = sorted((hits[i] for i in alike), key=lambda hit: -_moment(hit.record))
        for place, hit in zip(alike, newest, strict=True):
            order[place] = hit
    return order


def _alike(first: frozenset[str], second: frozenset[str]) -> bool:
    return len(first & second) >= ALIKE * len(first | second)


def _moment(record: Record) -> int:
    return to_microseconds(record.event_time or record.times[-1])
