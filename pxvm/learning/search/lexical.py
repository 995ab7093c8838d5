"""Records by their words: BM25 over the text index, of the words of a question that tell most.

What common words add is little, and BM25 asks for every record that has them; so the rarest are
looked up, and where even the rarest is common, the newest records that have it are told apart by
where it stands and by how long they are. A word that (almost)
no record has is looked for in other forms: as the beginning or the end of longer words, with
another ending, in its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, NamedTuple

from pxvm.learning.search import words
from pxvm.learning.search.cache import Cache
from pxvm.learning.search.times import Interval
from pxvm.learning.search.words import END, LONG, LONGEST, asked, without_article
from pxvm.learning.store.record import to_microseconds

#: Rarity counts as if there were so many records more, since a few say little of what is rare.
FEW = 10
#: A word of so many letters tells as much as a longer one.
TELLING = 8
#: Terms of a question at most; records that the rarest may stand in; and all of them, counted for
#: each term: to score a record costs 2 microseconds, and what many have tells few apart.
MOST_TERMS, MOST_ROWS, MOST_SCORED = 64, 10_000, 4_000
#: Where even the rarest is in more, so many of the newest records are looked at.
NEWEST = 2_000
#: What a common word counts in a record's own text, and around it or in parts of words.
OWN, OTHER = 1.0, 0.4
#: A word that stands in no more records than this is looked for in other forms, too.
RARE = 2
#: Letters of a word at least for that; of a word's beginning, and of what it may lack at the end.
WORD, STEM, ENDING = 4, 4, 3


@dataclass(frozen=True)
class Filter:
    """A condition on rows of ``records``, and its parameters."""

    condition: str
    parameters: tuple[Any, ...]


class Words(NamedTuple):
    """``scores``: BM25 of the best by words, best first, by sequence number; ``found``: 0..1, how
    much of what the question tells some record has."""

    scores: dict[int, float]
    found: float


def by_words(
    cache: Cache, text: str, times: Sequence[Interval], chosen: Filter | None, count: int
) -> Words:
    """The ``count`` best records by words; ``times`` are those that the question names."""
    terms, found = _terms(cache, text, {w for time in times for w in words.words(time.text)})
    if not terms:
        return Words({}, 0.0)
    return Words(_scores(cache, terms, chosen, count), found)


def _scores(
    cache: Cache, terms: dict[str, int], chosen: Filter | None, count: int
) -> dict[int, float]:
    looked_up, is_common = _telling(terms)
    dead = "SELECT 1 FROM records INDEXED BY dead WHERE NOT live AND sequence = text.rowid"
    condition = f"NOT EXISTS ({dead})"
    if chosen is not None:
        condition = f"rowid IN (SELECT sequence FROM records WHERE live AND {chosen.condition})"
    parameters = chosen.parameters if chosen else ()
    if is_common:
        return _newest(cache, looked_up[0], condition, parameters, count)
    rows = cache.connection.execute(
        f"SELECT rowid, -rank FROM text WHERE text MATCH ? AND {condition} ORDER BY rank LIMIT ?",
        (" OR ".join(looked_up), *parameters, count),
    )
    return dict(rows.fetchall())


def _newest(
    cache: Cache, expression: str, condition: str, parameters: Sequence[Any], count: int
) -> dict[int, float]:
    """Of the newest records with a common word the best, by where it stands and their length."""
    rows = cache.connection.execute(
        "WITH found (n) AS (SELECT rowid FROM text WHERE text MATCH ? AND"
        f" {condition} ORDER BY rowid DESC LIMIT ?), usual (size) AS"
        " (SELECT max(avg(length), 1.0) FROM records WHERE sequence IN (SELECT n FROM found)),"
        " itself (n) AS (SELECT rowid FROM text WHERE text MATCH ? AND"
        " rowid >= (SELECT min(n) FROM found))"
        " SELECT n, (CASE WHEN n IN itself THEN ? ELSE ? END) / (1 + length / size) AS score"
        " FROM found JOIN records ON sequence = n, usual ORDER BY score DESC, n DESC LIMIT ?",
        (expression, *parameters, NEWEST, f"{{query answer tags}} : {expression}", OWN, OTHER,
         count),
    )  # fmt: skip
    return dict(rows.fetchall())


def by_time(
    cache: Cache, times: Sequence[Interval], chosen: Filter | None, count: int
) -> list[int]:
    """The newest ``count`` records of some stretches of time, by sequence number."""
    spans = [(to_microseconds(t.start), to_microseconds(t.end)) for t in times]
    within = " OR ".join("moment >= ? AND moment < ?" for _ in spans)
    condition = f"live AND ({within})" + (f" AND {chosen.condition}" if chosen else "")
    rows = cache.connection.execute(
        f"SELECT sequence FROM records WHERE {condition} ORDER BY moment DESC LIMIT ?",
        (*(m for span in spans for m in span), *(chosen.parameters if chosen else ()), count),
    )
    return [sequence for (sequence,) in rows]


def _terms(cache: Cache, text: str, of_times: set[str]) -> tuple[dict[str, int], float]:
    """What is looked up for the words of a question, as FTS5 writes it, and how many records have
    it; and how much of what they tell is found.

    A word tells the more the fewer records have it, most when none has, and the longer it is, for
    what every sentence has is short in every language; other forms tell half, and words of a time
    nothing, which need not be written in what is of then.
    """
    (last,) = cache.connection.execute("SELECT max(sequence) FROM records").fetchone()
    terms: dict[str, int] = {}
    told = found = 0.0
    for word in asked(text)[:MOST_TERMS]:
        pieces = list(map(_quoted, words.terms(word)))
        others = [_quoted(bare)] if (bare := without_article(word)) else []
        rows = {piece: _rows(cache, piece, MOST_ROWS) for piece in pieces}
        if pieces == [_quoted(word)] and len(word) >= WORD and rows[pieces[0]] <= RARE:
            others += _other_forms(cache, word)
        if not any(rows.values()):
            others += [_quoted(f"{unit}*") for unit in words.units(word)]
        more = {other: _rows(cache, other, MOST_ROWS) for other in others}
        letters = 0 if word in of_times else min(len(word), TELLING)
        worth = [letters * _worth(last, n) / len(pieces) for n in rows.values()]
        told += sum(worth)
        there = sum(w for w, n in zip(worth, rows.values(), strict=True) if n)
        # Between the words of a run without spaces stand as many pairs that are no words.
        there = min(2 * there, sum(worth)) if len(pieces) > 1 else there
        found += there or 0.5 * sum(worth) * any(more.values())
        terms |= {term: n for term, n in (rows | more).items() if n}
    return terms, found / max(told, 1e-9)


def _worth(records: int | None, rows: int) -> float:
    return log2(1 + (FEW + (records or 0)) / (1 + rows))


def _quoted(term: str) -> str:
    return f'"{term[:-1]}"*' if term.endswith("*") else f'"{term}"'


def _other_forms(cache: Cache, word: str) -> Iterator[str]:
    """Longer words with this one in them, one with another ending, the parts of a compound."""
    beginnings = (word[:stop] for stop in range(len(word), max(STEM, len(word) - ENDING) - 1, -1))
    yield from [b for b in (f'"{start}"*' for start in beginnings) if _rows(cache, b, 1)][:1]
    if len(word) >= END:
        yield f'ends : "{word}"*'
    if LONG <= len(word) <= LONGEST:
        cuts = range(WORD, len(word) - WORD + 1)
        for parts in ([word[:cut] for cut in reversed(cuts)], [word[cut:] for cut in cuts]):
            yield from [p for p in map(_quoted, parts) if _rows(cache, p, 1)][:1]


def _rows(cache: Cache, expression: str, most: int) -> int:
    """How many records an expression fits, counted up to one more than ``most``."""
    question = "SELECT count(*) FROM (SELECT 1 FROM text WHERE text MATCH ? LIMIT ?)"
    (rows,) = cache.connection.execute(question, (expression, most + 1)).fetchone()
    return int(rows)


def _telling(rows: dict[str, int]) -> tuple[list[str], bool]:
    """The rarest, so many that no more than about MOST_SCORED places have to be scored; and whether
    even the rarest is in more than MOST_ROWS records."""
    kept: list[str] = []
    total = 0
    for expression in sorted(rows, key=lambda e: rows[e])[:MOST_TERMS]:
        total += rows[expression]
        if kept and total > MOST_SCORED:
            break
        kept.append(expression)
    return kept, rows[kept[0]] > MOST_ROWS
