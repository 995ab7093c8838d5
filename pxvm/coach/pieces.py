"""What is learned from programs: pieces worth a name, and which opcode follows which.

Every connected part of a program of up to ``LARGEST`` opcodes and two holes is a *pattern*; equal
parts of the program share a hole. Patterns that several programs share, and whole programs, become
pieces: subroutines that search uses like opcodes. What is counted of patterns, pieces and opcodes
alike, is how often each follows what made its operand, by the operand's kind: the prior of search.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product

from pxvm.coach.expression import (
    CONSTANT,
    LEAVES,
    OPERATIONS,
    Expression,
    Shape,
    infer,
    text,
)

LARGEST, HOLES, MOST_PIECES = 7, 2, 32
MOST_PATTERNS = 64  # at one place of a program: what people and search write has half as many
WHOLE = 12  # opcodes of a whole program that is a piece
#: Uses' worth of trust in how often an opcode is used at all, against where it is used.
SMOOTHING = 4.0
#: Programs' worth of trust in nothing learned: every opcode and leaf as likely as any other.
DOUBT = 8.0
#: How much of a chance is what the words of the task suggest, where memory knows some of them.
HINT = 0.5

Key = tuple[str, str]  # what made an operand, and the operand's kind


def kind(shape: Shape) -> str:
    """A shape without its numbers."""
    if shape == CONSTANT:
        return "constant"
    rows, columns = (extent > 1 for extent in shape)
    return {(0, 0): "number", (0, 1): "vector", (1, 0): "column", (1, 1): "matrix"}[rows, columns]


@dataclass(frozen=True)
class Unit:
    """What search composes: an opcode, or a piece under its name.

    Attributes:
        body: with holes; of an opcode the opcode on its holes.
    """

    name: str
    arity: int
    body: Expression

    @property
    def root(self) -> str:
        """The opcode that makes the result."""
        return str(self.body[0])

    @property
    def commutes(self) -> bool:
        """True when the operands may change places."""
        return self.name in OPERATIONS and OPERATIONS[self.name].commutes


def _opcode(name: str) -> Unit:
    op = OPERATIONS[name]
    return Unit(name, op.arity, (name, *(("h", n) for n in range(op.arity))))


OPCODES = tuple(_opcode(name) for name in OPERATIONS)


@dataclass
class Learned:
    """What a set of programs teaches; a function of the set alone.

    Attributes:
        units: opcodes, then pieces from the most to the least useful.
        made: how often a unit follows a key at an operand's place.
        used: how often each unit is used at all.
        leaves: how often each leaf, "x" or a constant, is used.
        programs: how many there were.
        said: for each word of their tasks in how many programs each unit and leaf stands; under ""
            how many programs have the word.
        hints: chances that the words of a task suggest, of units and of leaves; see ``hinted``.
    """

    units: tuple[Unit, ...] = OPCODES
    made: Mapping[tuple[Key, int], Counter[str]] = field(default_factory=dict)
    used: Counter[str] = field(default_factory=Counter)
    leaves: Counter[str] = field(default_factory=Counter)
    programs: int = 0
    said: Mapping[str, Counter[str]] = field(default_factory=dict)
    hints: Mapping[str, float] = field(default_factory=dict)
    _prices: dict[tuple[str, int, Key], float] = field(default_factory=dict)

    @property
    def pieces(self) -> dict[str, Expression]:
        """The pieces by their names."""
        return {unit.name: unit.body for unit in self.units if unit.name[0] == "@"}

    def bits(self, unit: Unit, keys: Sequence[Key]) -> int:
        """Whole bits that a unit costs on operands of these keys: at least 1."""
        cost = sum(self._bits(unit.name, place, key) for place, key in enumerate(keys))
        return max(1, round(cost / len(keys)))

    def _bits(self, name: str, place: int, key: Key) -> float:
        known = self._prices.get((name, place, key))
        if known is None:
            alone = (self.used[name] + 1) / (self.used.total() + len(self.units))
            seen = self.made.get((key, place), Counter())
            chance = (seen[name] + SMOOTHING * alone) / (seen.total() + SMOOTHING)
            uniform = 1 / len(OPCODES) if name in OPERATIONS else 0.0
            known = -math.log2(self._hinted(name, self._mixed(chance, uniform)))
            self._prices[name, place, key] = known
        return known

    def leaf_bits(self, leaf: str, choices: int) -> int:
        """Whole bits of an input ("x") or a constant, of so many choices."""
        chance = (self.leaves[leaf] + 1) / (self.leaves.total() + choices)
        return max(1, round(-math.log2(self._hinted(leaf, self._mixed(chance, 1 / choices)))))

    def _mixed(self, learned: float, uniform: float) -> float:
        """A chance between what was learned and ignorance, by how much there was to learn from."""
        return (self.programs * learned + DOUBT * uniform) / (self.programs + DOUBT)

    def hinted(self, words: str) -> Learned:
        """The same for a task of these words.

        A word speaks for what stands in the programs of tasks that have it, the rarer the more.
        """
        weights: dict[str, float] = defaultdict(float)
        for word in sorted(words_of(words) & self.said.keys()):
            seen = self.said[word]
            rarity = math.log((self.programs + 1) / seen[""])
            for name, count in seen.items():
                weights[name] += rarity * count / (seen[""] + 1)
        weights.pop("", None)
        units = {unit.name for unit in self.units}
        totals = [0.0, 0.0]
        for name, weight in weights.items():
            totals[name in units] += weight
        if min(totals) <= 0:
            return self
        hints = {name: weight / totals[name in units] for name, weight in weights.items()}
        return replace(self, hints=hints, _prices={})

    def _hinted(self, name: str, chance: float) -> float:
        return (1 - HINT) * chance + HINT * self.hints.get(name, 0.0) if self.hints else chance


def words_of(text: str) -> set[str]:
    """The words of a task."""
    return set(text.lower().split())


def name_of(body: Expression) -> str:
    """A piece's name: the same piece has the same everywhere."""
    return "@" + hashlib.sha256(text(body).encode()).hexdigest()[:6]


Pattern = tuple[Expression, tuple[Expression, ...]]  # body, and what fills its holes


def patterns(program: Expression) -> list[Pattern]:
    """The patterns of a program, each where it stands."""
    known: dict[Expression, list[Expression]] = {}

    def cut(e: Expression) -> list[Expression]:
        """The part at ``e`` with sub-expressions cut off: ("cut", what was there)."""
        if e in known:
            return known[e]
        choices = []
        for part in e[1:]:
            if part[0] == "k":
                choices.append([part])
            elif part[0] in LEAVES:
                choices.append([("cut", part)])
            else:
                choices.append([("cut", part), *cut(part)])
        bodies = ((e[0], *parts) for parts in product(*choices))
        small = (b for b in bodies if _opcodes(b) <= LARGEST and len(_holes(b)) <= HOLES)
        known[e] = list(islice(small, MOST_PATTERNS))
        return known[e]

    found, seen = [], set()
    todo = [program]
    while todo:
        e = todo.pop()
        if e[0] in LEAVES or e in seen:
            continue
        seen.add(e)
        todo += e[1:]
        found += [_named(body) for body in cut(e) if _holes(body)]
    whole = _named(_cut_inputs(program))
    if LARGEST < _opcodes(whole[0]) <= WHOLE and len(whole[1]) <= HOLES:
        found.append(whole)
    return found


def _cut_inputs(e: Expression) -> Expression:
    if e[0] in LEAVES:
        return e if e[0] == "k" else ("cut", e)
    return (e[0], *map(_cut_inputs, e[1:]))


def _holes(body: Expression) -> list[Expression]:
    """What was cut off, each once, from left to right."""
    if body[0] == "cut":
        return [body[1]]
    if body[0] in LEAVES:
        return []
    return list(dict.fromkeys(hole for part in body[1:] for hole in _holes(part)))


def _opcodes(body: Expression) -> int:
    """Different opcodes of a body."""
    found: set[Expression] = set()

    def walk(e: Expression) -> None:
        if e[0] not in LEAVES and e[0] != "cut" and e not in found:
            found.add(e)
            for part in e[1:]:
                walk(part)

    walk(body)
    return len(found)


def _named(body: Expression) -> Pattern:
    holes = _holes(body)

    def name(e: Expression) -> Expression:
        if e[0] == "cut":
            return ("h", holes.index(e[1]))
        return e if e[0] in LEAVES else (e[0], *map(name, e[1:]))

    return name(body), tuple(holes)


class Library:
    """Programs that are learned from, one after the other, and taken back when forgotten."""

    def __init__(self) -> None:
        self._programs: dict[str, list[tuple[Expression, tuple[Key, ...]]]] = {}
        self._leaves: dict[str, Counter[str]] = {}
        self._where: dict[Expression, set[str]] = defaultdict(set)
        self._wholes: dict[str, Expression] = {}
        self._words: dict[str, set[str]] = {}
        self._learned: Learned | None = None

    def add(
        self, identity: str, program: Expression, inputs: Sequence[Shape], words: str = ""
    ) -> None:
        """Learn from a program for a task of these words; ``identity`` takes it back."""
        uses = []
        for body, holes in patterns(program):
            keys = tuple(_key(hole, inputs) for hole in holes)
            uses.append((body, keys))
            self._where[body].add(identity)
        self._programs[identity] = uses
        self._leaves[identity] = _leaves(program)
        self._words[identity] = words_of(words)
        self._wholes[identity] = _named(_cut_inputs(program))[0]
        self._learned = None

    def forget(self, identity: str) -> None:
        """As if the program had never been."""
        for body, _ in self._programs.pop(identity, ()):
            self._where[body].discard(identity)
            if not self._where[body]:
                del self._where[body]
        self._leaves.pop(identity, None)
        self._words.pop(identity, None)
        self._wholes.pop(identity, None)
        self._learned = None

    @property
    def learned(self) -> Learned:
        """What all of them teach."""
        if self._learned is None:
            self._learned = self._learn()
        return self._learned

    def _learn(self) -> Learned:
        bodies = [*OPCODES, *(_piece(body) for body in self._chosen())]
        by_body = {unit.body: unit.name for unit in bodies}
        made: dict[tuple[Key, int], Counter[str]] = defaultdict(Counter)
        used: Counter[str] = Counter()
        said: dict[str, Counter[str]] = defaultdict(Counter)
        for identity, uses in self._programs.items():
            names = {"", *self._leaves[identity]}
            for body, keys in uses:
                name = by_body.get(body)
                if name is not None:
                    names.add(name)
                    used[name] += 1
                    for place, key in enumerate(keys):
                        made[key, place][name] += 1
            for word in self._words[identity]:
                said[word].update(sorted(names))  # in one order, so that sums come out the same
        leaves = sum(self._leaves.values(), Counter())
        return Learned(tuple(bodies), made, used, leaves, len(self._programs), said)

    def _chosen(self) -> Iterable[Expression]:
        """The patterns that save the most opcodes, none of which stands in a better one only."""
        wholes = set(self._wholes.values())
        best: dict[frozenset[str], tuple[float, Expression]] = {}
        for body, where in self._where.items():
            length = _opcodes(body) + len(_constants(body))
            programs = len(where)
            if length < 2 or (programs < 2 and body not in wholes):
                continue
            worth = (length - 1) * (programs - 0.75)
            key = frozenset(where)
            entry = (worth, body)
            if key not in best or (worth, text(body)) > (best[key][0], text(best[key][1])):
                best[key] = entry
        ordered = sorted(best.values(), key=lambda entry: (-entry[0], text(entry[1])))
        return [body for _, body in ordered[:MOST_PIECES]]


def _constants(body: Expression) -> set[int]:
    if body[0] in LEAVES:
        return {body[1]} if body[0] == "k" else set()
    return set().union(*map(_constants, body[1:]))


def _piece(body: Expression) -> Unit:
    return Unit(name_of(body), len(_filled(body)), body)


def _filled(body: Expression) -> set[int]:
    if body[0] in LEAVES:
        return {body[1]} if body[0] == "h" else set()
    return set().union(*map(_filled, body[1:]))


def _key(e: Expression, inputs: Sequence[Shape]) -> Key:
    shape = infer(e, inputs)
    return str(e[0]), kind(shape) if shape is not None else ""


def _leaves(program: Expression) -> Counter[str]:
    if program[0] in LEAVES:
        return Counter([leaf_name(program)])
    return sum((_leaves(part) for part in program[1:]), Counter())


def leaf_name(leaf: Expression) -> str:
    """An input is "x", whichever it is; a constant its number."""
    return "x" if leaf[0] == "x" else str(leaf[1])
