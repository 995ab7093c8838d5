"""What the words of solved tasks mean: phrases with holes, and the piece that each stands for.

A *phrase* is words in their order with holes, and an expression with the same holes: "the sum of 0"
is ``Sum(h0)``. Phrases come of solved tasks, by taking out of the words, and out of the program,
what is understood already: with "the squares of x" known, "the sum of the squares of x" says what
"the sum of 0" is, and with that, "the sum of x minus its mean" what "0 minus its mean" is. The
words of a new task are then read as phrases in phrases; every reading is a candidate, and the
parts that are understood are states that a search begins with.

After Y. W. Wong and R. Mooney, *Learning synchronous grammars for semantic parsing with lambda
calculus*, ACL 2007.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pxvm.coach.expression import LEAVES, OPERATIONS, Expression, Shape, fill, infer, text

MOST_WORDS, MOST_HOLES = 48, 2
MOST_READINGS = 8  # of one part of the words, the cheapest
MOST_PHRASES = 4096
MOST_NODES = 256  # of an expression, equal parts counted each time
MOST_TRIES = 20_000  # phrases at places of words, of one reading
ROUNDS = 4  # in which what is new is used for what was not understood before
MOST_LOOKS = 64  # at a task's words and their parts, to learn from it
DEEPEST = 4  # phrases in phrases that are taken off to learn what stands inside
_WORD = re.compile(r"\w+|[^\w\s]")

Pattern = tuple[str | int, ...]
Spans = Mapping[tuple[int, int], "dict[Expression, Reading]"]


@dataclass(frozen=True)
class Phrase:
    """Words with holes and what they mean."""

    words: Pattern
    means: Expression

    @property
    def said(self) -> str:
        """The words, a hole as its name in the expression."""
        return " ".join(word if isinstance(word, str) else f"h{word}" for word in self.words)

    @property
    def literals(self) -> frozenset[str]:
        """The words without the holes."""
        return frozenset(word for word in self.words if isinstance(word, str))


@dataclass(frozen=True)
class Reading:
    """One way to read a part of the words; the cheaper the likelier."""

    cost: float
    phrases: tuple[Phrase, ...] = ()


class Phrases:
    """The phrases of a set of tasks, learned in the order in which they come."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[list[str], Expression, dict[str, Expression]]] = {}
        self._taught: dict[str, Counter[Phrase]] = {}  # by each task that was learned from
        self._support: Counter[Phrase] = Counter()

    def add(self, identity: str, words: str, inputs: Sequence[str], program: Expression) -> None:
        """Learn from a solved task; ``identity`` takes it back."""
        said = split(words)
        if 0 < len(said) <= MOST_WORDS and _nodes(program) <= MOST_NODES:
            self._tasks[identity] = said, ordered(program), _names(inputs)

    def forget(self, identity: str) -> None:
        """As if the task had never been."""
        if self._tasks.pop(identity, None) is not None:
            self._taught, self._support = {}, Counter()

    @property
    def learned(self) -> list[Phrase]:
        """What all of them teach, what most of them speak for first."""
        self._learn()
        return sorted(self._support, key=lambda p: (-self._support[p], p.said, text(p.means)))

    def readings(self, words: str, inputs: Mapping[str, Shape]) -> list[Expression]:
        """Programs that the words may mean, the likeliest first, then parts of them."""
        self._learn()
        said = split(words)[:MOST_WORDS]
        shapes = list(inputs.values())
        spans = self._spans(said, _names(list(inputs)), lambda e: fitted(e, shapes))
        found: dict[Expression, None] = {}
        for _, readings in sorted(spans.items(), key=_longest):
            found |= dict.fromkeys(e for e in readings if e[0] not in LEAVES)
        return list(found)

    # -- reading ---------------------------------------------------------------------------------

    def _spans(
        self, said: Sequence[str], names: Mapping[str, Expression],
        made: Callable[[Expression], Expression | None],
    ) -> Spans:  # fmt: skip
        """What every part of the words may mean, the cheapest first.

        Args:
            made: what is made of an expression, None where it cannot be meant.
        """
        spans: dict[tuple[int, int], dict[Expression, Reading]] = {}
        usable = [p for p in self._support if p.literals <= frozenset(said)]
        costs, tries = self._costs(usable), 0
        for length in range(1, len(said) + 1):
            for first in range(len(said) - length + 1):
                last = first + length
                found: dict[Expression, Reading] = {}
                if length == 1 and said[first] in names:
                    found[names[said[first]]] = Reading(0.0)
                for phrase in usable if tries < MOST_TRIES else ():
                    for holes in _matches(phrase.words, said, first, last, spans):
                        for parts, reading in _filled(holes, spans):
                            tries += 1
                            e = made(fill(phrase.means, parts))
                            cost = reading.cost + costs[phrase]
                            if e is not None and (e not in found or cost < found[e].cost):
                                found[e] = Reading(cost, (*reading.phrases, phrase))
                    tries += 1
                if found:
                    best = sorted(found, key=lambda e: (found[e].cost, text(e)))[:MOST_READINGS]
                    spans[first, last] = {e: found[e] for e in best}
        return spans

    def _costs(self, usable: Sequence[Phrase]) -> dict[Phrase, float]:
        """Bits: how often the words meant this, and not something else; one for being a phrase."""
        every: dict[Pattern, int] = {}
        for phrase in usable:
            every[phrase.words] = every.get(phrase.words, 0) + self._support[phrase]
        return {p: 1 + math.log2((every[p.words] + 1) / self._support[p]) for p in usable}

    # -- learning --------------------------------------------------------------------------------

    def _learn(self) -> None:
        """Go through the tasks that are new, and those of which new phrases may tell more."""
        news: set[Phrase] | None = None
        for _ in range(ROUNDS):
            before = set(self._support)
            for identity, (said, program, names) in self._tasks.items():
                old = self._taught.get(identity)
                if old is not None:
                    there = frozenset(said)
                    if len(old) > 1 or not any(p.literals <= there for p in news or ()):
                        continue
                    self._support = +(self._support - old)
                left = [MOST_LOOKS]
                found = self._understood(said, program, names, 0, left)
                taught = self._taught[identity] = Counter(found)
                self._support += taught
            news = set(self._support) - before
            if not news:
                break

    def _understood(
        self, said: list[str], program: Expression, names: Mapping[str, Expression], depth: int,
        left: list[int],
    ) -> list[Phrase]:  # fmt: skip
        """The phrases by which words mean a program, new ones among them; none: not understood.

        Args:
            left: looks at parts of the words that may still be taken.
        """
        left[0] -= 1
        if left[0] < 0:
            return []
        parts = _parts(program)
        spans = self._spans(said, names, lambda e: e if (e := ordered(e)) in parts else None)
        reading = spans.get((0, len(said)), {}).get(program)
        if reading is not None and (len(reading.phrases) > 1 or depth):
            return list(reading.phrases)
        if depth < DEEPEST:
            there = frozenset(said)
            for phrase in [p for p in self._support if p.literals < there]:
                for bound, holes in _around(phrase, said, program):
                    inner = [
                        self._understood(said[a:b], bound[n], names, depth + 1, left)
                        for n, (a, b) in holes.items()
                    ]
                    if all(inner):
                        return [phrase, *(p for phrases in inner for p in phrases)]
        new = self._abstract(said, program, spans, names)
        if new is None:
            return list(reading.phrases) if reading is not None else []
        phrase, used = new
        return [phrase, *used]

    def _abstract(
        self, said: list[str], program: Expression, spans: Spans, names: Mapping[str, Expression]
    ) -> tuple[Phrase, list[Phrase]] | None:
        """A new phrase: words and program without what is understood of both; and how that is."""
        words: list[str | int] = list(said)
        taken = [False] * len(said)
        used: list[Phrase] = []
        holes: dict[Expression, int] = {}
        for (first, last), found in sorted(spans.items(), key=_longest):
            if any(taken[first:last]) or last - first == len(said):
                continue
            e = next(iter(found))
            used += found[e].phrases
            holes.setdefault(e, len(holes))
            taken[first:last] = [True] * (last - first)
            words[first:last] = [holes[e], *[""] * (last - first - 1)]
        pattern = tuple(word for word in words if word != "")
        numbered = _renamed(pattern, _without(program, holes))
        if numbered is None or len(holes) > MOST_HOLES or len(self._support) >= MOST_PHRASES:
            return None
        phrase = Phrase(*numbered)
        names_left = any(word in names for word in phrase.words)
        if names_left or not phrase.literals or (holes and _inputs(phrase.means)):
            return None
        return phrase, used


def _longest(span: tuple[tuple[int, int], Any]) -> int:
    """For sorting: the longest first, else as they stand."""
    (first, last), _ = span
    return first - last


def split(words: str) -> list[str]:
    """Words, and signs each for itself."""
    return _WORD.findall(words.lower())


def _names(inputs: Sequence[str]) -> dict[str, Expression]:
    return {name.lower(): ("x", number) for number, name in enumerate(inputs)}


def _matches(
    pattern: Pattern, said: Sequence[str], first: int, last: int, spans: Spans
) -> Iterator[dict[int, list[tuple[int, int]]]]:
    """Where the holes of a pattern stand in words that it fits."""

    def fit(place: int, at: int) -> Iterator[list[tuple[int, int, int]]]:
        if place == len(pattern):
            if at == last:
                yield []
            return
        word, left = pattern[place], len(pattern) - place - 1
        if isinstance(word, str):
            if at < last and said[at] == word:
                yield from fit(place + 1, at + 1)
            return
        ends = [last] if not left else range(at + 1, last - left + 1)
        for end in ends:
            if (at, end) in spans:
                for rest in fit(place + 1, end):
                    yield [(word, at, end), *rest]

    for found in fit(0, first):
        holes: dict[int, list[tuple[int, int]]] = {}
        for hole, a, b in found:
            holes.setdefault(hole, []).append((a, b))
        yield holes


def _filled(
    holes: Mapping[int, list[tuple[int, int]]], spans: Spans
) -> Iterator[tuple[list[Expression], Reading]]:
    """Every way to fill holes with what stands there; a hole that stands twice has one meaning."""

    def ways(number: int) -> Iterator[tuple[list[Expression], Reading]]:
        if number == len(holes):
            yield [], Reading(0.0)
            return
        places = holes[number]
        for e, reading in spans[places[0]].items():
            if all(e in spans[place] for place in places):
                for rest, other in ways(number + 1):
                    phrases = (*reading.phrases, *other.phrases)
                    yield [e, *rest], Reading(reading.cost + other.cost, phrases)

    if set(holes) == set(range(len(holes))):
        yield from ways(0)


class Everywhere(dict[tuple[int, int], "dict[Expression, Reading]"]):
    """Spans of which every one may be a hole."""

    def __contains__(self, span: object) -> bool:
        return True


def _around(
    phrase: Phrase, said: Sequence[str], program: Expression
) -> Iterator[tuple[dict[int, Expression], dict[int, tuple[int, int]]]]:
    """Ways in which a phrase is the outermost: what its holes mean, and where they stand."""
    for holes in _matches(phrase.words, said, 0, len(said), Everywhere()):
        if holes and all(len(places) == 1 for places in holes.values()):
            for bound in _bindings(phrase.means, program, {}):
                if bound.keys() == holes.keys():
                    yield bound, {n: places[0] for n, places in holes.items()}


def _bindings(
    body: Expression, e: Expression, bound: dict[int, Expression]
) -> Iterator[dict[int, Expression]]:
    """What the holes of a body are where it is an expression; operands that commute either way."""
    if body[0] == "h":
        if bound.get(body[1], e) == e:
            yield {**bound, body[1]: e}
    elif body[0] in LEAVES or e[0] != body[0]:
        if body == e:
            yield bound
    else:
        orders = [e[1:]]
        if OPERATIONS[e[0]].commutes:
            orders.append(e[:0:-1])
        for order in orders:
            ways = [bound]
            for part, other in zip(body[1:], order, strict=True):
                ways = [found for way in ways for found in _bindings(part, other, way)]
            yield from ways


# -- expressions ---------------------------------------------------------------------------------


def ordered(e: Expression) -> Expression:
    """The same with operands that commute in one order."""
    if e[0] in LEAVES:
        return e
    parts = [ordered(part) for part in e[1:]]
    return (e[0], *(sorted(parts, key=repr) if OPERATIONS[e[0]].commutes else parts))


def fitted(e: Expression, shapes: Sequence[Shape]) -> Expression | None:
    """The same with operands in an order that the machine takes; None where there is none."""
    if _nodes(e) > MOST_NODES:
        return None

    def fit(e: Expression) -> tuple[Expression, Shape] | None:
        if e[0] in LEAVES:
            shape = infer(e, shapes)
            return None if shape is None else (e, shape)
        parts = [fit(part) for part in e[1:]]
        if None in parts:
            return None
        op = OPERATIONS[e[0]]
        for order in (parts, parts[::-1]) if op.commutes else (parts,):
            shape = op.shape(*(found[1] for found in order if found))
            if shape is not None:
                return (e[0], *(found[0] for found in order if found)), shape
        return None

    found = fit(e)
    return found[0] if found else None


def _nodes(e: Expression) -> int:
    """How large an expression is, as far as it matters."""
    count, todo = 0, [e]
    while todo and count <= MOST_NODES:
        e = todo.pop()
        count += 1
        if e[0] not in LEAVES:
            todo += e[1:]
    return count


def _parts(e: Expression) -> set[Expression]:
    """An expression and all in it."""
    if e[0] in LEAVES:
        return {e}
    return {e}.union(*map(_parts, e[1:]))


def _inputs(e: Expression) -> set[int]:
    if e[0] in LEAVES:
        return {e[1]} if e[0] == "x" else set()
    return set().union(*map(_inputs, e[1:]))


def _without(e: Expression, holes: Mapping[Expression, int]) -> Expression:
    """The largest parts that are holes' taken out."""
    if e in holes:
        return ("h", holes[e])
    return e if e[0] in LEAVES else (e[0], *(_without(part, holes) for part in e[1:]))


def _renamed(words: Pattern, body: Expression) -> tuple[Pattern, Expression] | None:
    """Holes numbered as they stand in the words; None where the program lacks one of them."""
    order = list(dict.fromkeys(word for word in words if isinstance(word, int)))
    there = _holes(body)
    if set(order) != there:
        return None
    number = {old: new for new, old in enumerate(order)}
    parts: list[Expression] = [("h", number[old]) for old in range(len(order))]
    return tuple(number[w] if isinstance(w, int) else w for w in words), ordered(fill(body, parts))


def _holes(e: Expression) -> set[int]:
    if e[0] in LEAVES:
        return {e[1]} if e[0] == "h" else set()
    return set().union(*map(_holes, e[1:]))
