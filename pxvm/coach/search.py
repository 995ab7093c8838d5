"""Best-first search over typed compositions, states with equal results merged.

A *state* is a value of all shown examples together with the cheapest program that makes it; another
program that makes the same value is no other state. States of one price, shape and last opcode
form a group; groups are combined by units (opcodes and pieces) in order of price, and all pairs of
two groups are computed by one call of the opcode's defining function. So thousands of candidates a
second are tried, and each is what the machine would compute.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pxvm.coach.expression import (
    CONSTANT,
    CONSTANTS,
    OPERATIONS,
    Expression,
    Shape,
    compute,
    evaluate,
    expand,
    infer,
)
from pxvm.coach.pieces import Learned, Unit, kind, leaf_name
from pxvm.core.integer import Ints

BATCH = 2048  # candidates in one call
MOST_STATE = 4096  # elements of a state
MOST_LIKELY = 32  # programs to begin with
LEARNED_CONSTANTS = 16  # that programs of the memory have most often


@dataclass
class Spent:
    """Candidates of a budget; every one that is computed counts, whatever it gives."""

    budget: int
    used: int = 0

    @property
    def left(self) -> int:
        return self.budget - self.used


Made = tuple[str, Shape]


@dataclass
class _Group:
    """States of one price, shape and maker; ``stacked`` is int64 [states, examples, r, c]."""

    price: int
    shape: Shape
    maker: str
    programs: list[Expression] = field(default_factory=list)
    values: list[Ints] = field(default_factory=list)
    stacked: Any = None

    @property
    def made(self) -> Made:
        return self.maker, self.shape

    @property
    def like(self) -> tuple[Shape, Any]:
        """What states have in common that can stand in one stack: all but a constant."""
        return self.shape, self.programs[0] if self.shape == CONSTANT else None


Groups = tuple[_Group, ...]
Places = Any  # int64 [operands, candidates]: places in the groups


class Search:
    """The search for one task; it can be stopped and goes on where it was.

    Args:
        given, wanted: the shown examples, as of ``Task.shown``.
        learned: units and their prices.
        budget: candidates that it may have in all: none is kept that would not be reached.
        wrong: programs, expanded, that are known to fail hidden examples.
    """

    def __init__(
        self,
        given: Sequence[Ints],
        wanted: Ints,
        learned: Learned,
        budget: int,
        wrong: Collection[Expression] = (),
    ) -> None:
        self.given, self.learned, self.wrong = given, learned, wrong
        self.examples = len(wanted)
        self.goal = (wanted.shape[1], wanted.shape[2]), _bytes(wanted[None])
        self.seen: dict[Shape, set[bytes]] = {}
        self.classes: dict[Made, list[_Group]] = {}
        self.open: dict[int, dict[tuple[Shape, str], _Group]] = {}
        self.waiting: dict[int, dict[Any, tuple[Unit, list[Groups]]]] = {}
        self.volume: dict[int, int] = {}  # candidates that wait, by price
        self.left = budget
        self.limit = 1 << 30  # no candidate of a higher price will be reached
        self.taking: dict[tuple[Shape, ...], list[Unit]] = {}
        self.fits: dict[tuple[Made, ...], list[tuple[Unit, int]]] = {}
        self.spent = Spent(0)
        self._leaves()
        self._way = self._go()

    def _leaves(self) -> None:
        choices = len(self.given) + len(CONSTANTS)
        for number, values in enumerate(self.given):
            shape = (values.shape[1], values.shape[2])
            price = self.learned.leaf_bits("x", choices)
            self._keep(("x", number), values, price, shape, "x")
            self.seen.setdefault(shape, set()).add(_bytes(values[None]))
        counts = {leaf: n for leaf, n in self.learned.leaves.items() if leaf != "x"}
        often = sorted(counts, key=lambda leaf: (-counts[leaf], leaf))[:LEARNED_CONSTANTS]
        learned = [int(leaf) for leaf in sorted(often)]
        for value in dict.fromkeys([*CONSTANTS, *learned]):
            leaf = ("k", value)
            price = self.learned.leaf_bits(leaf_name(leaf), choices)
            group = _Group(price, CONSTANT, "k", [leaf], [np.array(value, np.int64)])
            self.open.setdefault(price, {})[CONSTANT, str(value)] = group  # each on its own

    def begin(self, programs: Sequence[Expression], spent: Spent) -> Expression | None:
        """The first of some likely programs that gives the shown results.

        What the others give are states that the search has from now on, as cheap as can be.
        """
        for program in programs[:MOST_LIKELY]:
            if spent.left <= 0:
                break
            value = evaluate(program, self.given)
            shape, key = (value.shape[1], value.shape[2]), _bytes(value[None])
            spent.used += 1
            self.left -= 1
            if (shape, key) == self.goal:
                if program not in self.wrong:
                    return program
            elif key not in self.seen.setdefault(shape, set()):
                self.seen[shape].add(key)
                self._keep(program, value, 1, shape, str(program[0]))
        return None

    def _keep(self, program: Expression, value: Ints, price: int, shape: Shape, maker: str) -> None:
        place = self.open.setdefault(price, {})
        group = place.get((shape, maker))
        if group is None:
            group = place[shape, maker] = _Group(price, shape, maker)
        group.programs.append(program)
        group.values.append(value)

    def run(self, spent: Spent) -> Expression | None:
        """The next program that gives the shown results, the cheapest first; None when ``spent``
        is used up, or there is nothing more to try."""
        self.spent = spent
        return next(self._way, None)

    def _go(self) -> Iterator[Expression | None]:
        for number, values in enumerate(self.given):
            if ((values.shape[1], values.shape[2]), _bytes(values[None])) == self.goal:
                self.spent.used += 1
                self.left -= 1
                if ("x", number) not in self.wrong:
                    yield ("x", number)
        while self.waiting or self.open:
            price = min([*self.waiting, *self.open])
            self.volume.pop(price, None)
            for unit, operands in self.waiting.pop(price, {}).values():
                yield from self._combine(price, unit, operands)
            for group in self.open.pop(price, {}).values():
                self._bound()
                self._close(group)

    def _bound(self) -> None:
        """Candidates that wait, the cheapest first, use up the budget at some price."""
        left = self.left
        for price in sorted(self.volume):
            left -= self.volume[price]
            if left < 0:
                self.limit = price
                return

    def _close(self, group: _Group) -> None:
        """From now on the group is an operand."""
        group.stacked = np.stack(group.values)
        group.values = []
        self.classes.setdefault(group.made, []).append(group)
        for unit, price in self._fitting(group.made):
            self._offer(price + group.price, unit, (group,))
        for made, others in self.classes.items():
            for unit, price in self._fitting(group.made, made):
                for other in others:
                    if price + group.price + other.price > self.limit:
                        break
                    self._offer(price + group.price + other.price, unit, (group, other))
            for unit, price in self._fitting(made, group.made):
                if unit.commutes and group.shape == made[1]:
                    continue  # the same as the other order
                for other in others:
                    if price + group.price + other.price > self.limit:
                        break
                    if other is not group:
                        self._offer(price + group.price + other.price, unit, (other, group))

    def _fitting(self, *made: Made) -> list[tuple[Unit, int]]:
        """The units that take operands made so, and their prices."""
        found = self.fits.get(made)
        if found is None:
            shapes = tuple([shape for _, shape in made])
            if shapes not in self.taking:
                self.taking[shapes] = [u for u in self.learned.units if _takes(u, shapes)]
            keys = [(maker, kind(shape)) for maker, shape in made]
            found = [(unit, self.learned.bits(unit, keys)) for unit in self.taking[shapes]]
            self.fits[made] = found
        return found

    def _offer(self, price: int, unit: Unit, groups: Groups) -> None:
        if price > self.limit:
            return
        number = 1
        for group in groups:
            number *= len(group.programs)
        self.volume[price] = self.volume.get(price, 0) + number
        alike = (unit.name, tuple([group.like for group in groups]))
        waiting = self.waiting.setdefault(price, {})
        waiting.setdefault(alike, (unit, []))[1].append(groups)

    def _combine(
        self, price: int, unit: Unit, operands: list[Groups]
    ) -> Iterator[Expression | None]:
        """One unit on all operands of equal shapes, a batch of candidates at a time."""
        todo = [(groups, _places(unit, groups)) for groups in operands]
        todo.reverse()
        while todo:
            while self.spent.left <= 0:
                yield None
            batch: list[tuple[Groups, Places]] = []
            room = min(BATCH, self.spent.left)
            while todo and room > 0:
                groups, places = todo.pop()
                if places.shape[1] > room:
                    todo.append((groups, places[:, room:]))
                    places = places[:, :room]
                batch.append((groups, places))
                room -= places.shape[1]
            yield from self._try(price, unit, batch)

    def _try(
        self, price: int, unit: Unit, batch: list[tuple[Groups, Places]]
    ) -> Iterator[Expression]:
        values = []
        for n, (shape, constant) in enumerate(group.like for group in batch[0][0]):
            stacks = [groups[n].stacked[places[n]] for groups, places in batch]
            values.append(stacks[0][0] if constant else np.concatenate(stacks).reshape(-1, *shape))
        result = apply(unit, values)
        shape = (result.shape[1], result.shape[2])
        states = result.reshape(-1, self.examples, *shape)
        data = states.astype("<i4").tobytes()
        step = len(data) // len(states)
        seen = self.seen.setdefault(shape, set())
        goal = self.goal[1] if shape == self.goal[0] else None
        number = 0
        for groups, places in batch:
            for place in zip(*places.tolist(), strict=True):
                key = data[number * step : (number + 1) * step]
                number += 1
                self.spent.used += 1
                self.left -= 1
                if key not in seen:
                    parts = (group.programs[p] for group, p in zip(groups, place, strict=True))
                    program = (unit.name, *parts)
                    if key == goal:
                        if expand(program, self.learned.pieces) not in self.wrong:
                            yield program
                        continue
                    seen.add(key)
                    self._keep(program, states[number - 1], price, shape, unit.root)


def _takes(unit: Unit, shapes: tuple[Shape, ...]) -> bool:
    """Does a unit take operands of these shapes?"""
    if unit.arity != len(shapes) or shapes[0] == CONSTANT:
        return False
    if unit.name[0] == "@" and CONSTANT in shapes:
        return False
    op = OPERATIONS.get(unit.name)
    shape = op.shape(*shapes) if op else infer(unit.body, shapes)
    return shape is not None and shape != CONSTANT and shape[0] * shape[1] <= MOST_STATE


def _places(unit: Unit, groups: Groups) -> Places:
    """Every combination of the groups' states."""
    every = np.indices([len(group.programs) for group in groups]).reshape(len(groups), -1)
    if unit.commutes and groups[0] is groups[1]:
        every = every[:, every[0] <= every[1]]
    return every


def apply(unit: Unit, values: Sequence[Ints]) -> Ints:
    """A unit on stacks of values."""
    op = OPERATIONS.get(unit.name)
    if op is not None:
        return compute(op, *values)
    return evaluate(unit.body, values)


def _bytes(values: Ints) -> bytes:
    return values.astype("<i4").tobytes()
