"""Programs of similar tasks, adapted: as they are, with other constants, joined."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from pxvm.coach.expression import (
    LEAVES,
    OPERATIONS,
    Expression,
    Shape,
    evaluate,
    fill,
    infer,
    shape_of,
)
from pxvm.coach.memory import SOLVED, Experience
from pxvm.coach.pieces import words_of
from pxvm.coach.search import Spent
from pxvm.coach.task import Task
from pxvm.core.integer import Ints

SIMILAR, REFITTED, JOINED = 16, 6, 8  # programs that are tried, refitted, joined
RANGE = range(-10, 11)


def similar(task: Task, known: Sequence[Experience]) -> list[Experience]:
    """Solved tasks by words, types and what their examples do, the most similar first."""
    wanted = _features(*task.shown())
    words = words_of(task.words)

    def likeness(e: Experience) -> float:
        theirs = words_of(e.task.words)
        by_words = len(words & theirs) / max(len(words | theirs), 1)
        by_types = (list(e.task.inputs.values()) == list(task.inputs.values())) + (
            e.task.output == task.output
        )
        by_examples = sum(a == b for a, b in zip(wanted, _features(*e.task.shown()), strict=True))
        return 2 * by_words + by_types + by_examples / len(wanted)

    usable = [e for e in known if e.outcome == SOLVED and e.expression is not None]
    shapes = list(task.inputs.values())
    fits = [e for e in usable if e.expression and infer(e.expression, shapes) is not None]
    distinct = {e.expression: e for e in sorted(fits, key=lambda e: -e.sequence)}
    return sorted(distinct.values(), key=lambda e: (-likeness(e), e.sequence))


def _features(given: Sequence[Ints], wanted: Ints) -> tuple[bool, ...]:
    """What examples do, in yes and no."""
    first = given[0]
    return (
        bool(((wanted == 0) | (wanted == 1)).all()),
        bool((wanted >= 0).all()),
        bool(np.isin(wanted, first).all()),
        bool(np.abs(wanted).max() > 2 * np.abs(first).max()),
        wanted.shape[1:] == first.shape[1:],
        bool((wanted[:, :, 1:] <= wanted[:, :, :-1]).all()),
    )


class Retrieval:
    """The proposer: every program that it computes is a candidate."""

    def __init__(self, task: Task, known: Sequence[Experience], wrong: Collection[Expression]):
        self.given, self.wanted = task.shown()
        self.shapes: list[Shape] = list(task.inputs.values())
        self.programs = [e.expression for e in similar(task, known) if e.expression][:SIMILAR]
        self.wrong = wrong

    def run(self, spent: Spent) -> Expression | None:
        """The first program that gives the shown results; None where none does."""
        tried: set[Expression] = set()
        for program in self._proposals():
            if spent.left <= 0:
                return None
            if program in tried or program in self.wrong:
                continue
            tried.add(program)
            if infer(program, self.shapes) != shape_of(self.wanted):
                continue
            spent.used += 1
            if np.array_equal(evaluate(program, self.given), self.wanted):
                return program
        return None

    def _proposals(self) -> Iterator[Expression]:
        yield from self.programs
        for program in self.programs[:REFITTED]:
            yield from refitted(program)
        yield from self._joined()

    def _joined(self) -> Iterator[Expression]:
        best = self.programs[:JOINED]
        for outer in best:
            for inner in best:
                if _inputs(outer) == {0}:
                    yield fill(_opened(outer), [inner])
        parts = [*best, *(("x", n) for n in range(len(self.shapes)))]
        for op in OPERATIONS.values():
            if op.arity == 1:
                yield from ((op.name, part) for part in best)
            else:
                for first in parts:
                    yield from ((op.name, first, other) for other in parts)


def refitted(program: Expression) -> Iterator[Expression]:
    """The program with one of its constants exchanged, wherever that stands."""
    for value in sorted(_constants(program)):
        for other in RANGE:
            if other != value:
                yield _exchanged(program, value, other)


def _constants(e: Expression) -> set[int]:
    if e[0] in LEAVES:
        return {e[1]} if e[0] == "k" else set()
    return set().union(*map(_constants, e[1:]))


def _exchanged(e: Expression, value: int, other: int) -> Expression:
    if e[0] in LEAVES:
        return ("k", other) if e == ("k", value) else e
    return (e[0], *(_exchanged(part, value, other) for part in e[1:]))


def _inputs(e: Expression) -> set[int]:
    if e[0] in LEAVES:
        return {e[1]} if e[0] == "x" else set()
    return set().union(*map(_inputs, e[1:]))


def _opened(e: Expression) -> Expression:
    """A program as a piece: its inputs are holes."""
    if e[0] in LEAVES:
        return ("h", e[1]) if e[0] == "x" else e
    return (e[0], *map(_opened, e[1:]))
