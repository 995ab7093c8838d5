"""How the bits of a model's weights are chosen: what is known, what is measured, what is kept.

A *move* stores one weight with fewer bytes. Moves are ordered by the damage that each does for a
byte saved, as measured or, where it was not, as predicted; the model with the first so many of them
is tried, until the longest row is known with which it is as good as the default; then the others
one by one. What comes out was measured as a whole, so a wrong prediction costs bytes, never
quality.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pxvm.models.graph.quantise import Floats
from pxvm.tuning.errors import TuneError
from pxvm.tuning.predictor import LEAST, Predictor
from pxvm.tuning.records import Damage
from pxvm.tuning.trials import Choices, Trials, sizes
from pxvm.tuning.weights import DEFAULT, Weight

TARGETS = ("bytes", "quality")
#: What counts as equally good: nats a token (a tenth of a percent of perplexity), or cosine.
SLACK_TEXT, SLACK_VECTORS = 0.001, 0.001
OWN = 8  # measurements of a model that tell more of it than those of all others
VAIN = 3  # further moves in vain, one after the other, behind which measuring is worth more
Told = Callable[[int, int], None]
Step = tuple[Weight, str]


@dataclass(frozen=True)
class Move:
    """A weight stored with fewer bytes.

    Attributes:
        saved: bytes.
        worth: damage for each, as far as that is known; only the order counts.
    """

    weight: Weight
    choice: str
    saved: int
    worth: float


@dataclass
class Result:
    """What came out.

    Attributes:
        choices: of the weights that are not stored as by default.
        fine: whether an encoder's activations have two planes everywhere.
        bytes, default_bytes: of all weights' integers.
        loss, default_loss: see ``Trials.loss``.
        trials: how often the model was run with other choices.
        predicted: moves whose damage was predicted.
    """

    choices: Choices
    fine: bool
    bytes: int
    default_bytes: int
    loss: float
    default_loss: float
    trials: int
    predicted: int
    measured: list[Damage] = field(default_factory=list)
    path: list[tuple[int, int]] = field(default_factory=list)


def tune(
    trials: Trials, known: Sequence[Damage] = (), *, budget: int, target: str = "bytes",
    measured: list[Damage] | None = None, told: Told | None = None,
) -> Result:  # fmt: skip
    """Choose how a model's weights are stored.

    Args:
        known: measurements, of this model and of others.
        budget: trials at most; those that find out how long the row of moves may be come first,
            what is left measures single moves.
        target: "bytes": as few as possible, as good as the default; "quality": as good as possible,
            in as many bytes at most.
        measured: what is measured is put here at once, so that it outlives an interrupt.
        told: called with trials done, and all of them.

    Raises TuneError.
    """
    if target not in TARGETS:
        raise TuneError(f"target: expected {' or '.join(TARGETS)}; found {target!r}")
    into = [] if measured is None else measured
    return _Tuning(trials, known, budget, into, told).run(target)


class _Tuning:
    def __init__(
        self, trials: Trials, known: Sequence[Damage], budget: int, measured: list[Damage],
        told: Told | None,
    ) -> None:  # fmt: skip
        self.trials, self.known, self.told = trials, list(known), told
        self.first, self.budget, self.measured = trials.done, budget, measured
        self.path: list[tuple[int, int]] = []  # (trials, bytes) whenever fewer bytes were found
        trials.fine = False
        self.default_loss = trials.loss()
        trials.fine = trials.embeds
        self.slack = SLACK_VECTORS if trials.embeds else SLACK_TEXT
        self.steps = [
            (weight, choice)
            for weight in trials.weights
            for choice in weight.choices
            if weight.bytes(choice) < weight.bytes(DEFAULT)
        ]
        self.predicted, self.scaled = 0, False

    @property
    def spent(self) -> int:
        return self.trials.done - self.first

    def _tell(self) -> None:
        if self.told is not None:
            self.told(min(self.spent, self.budget), self.budget)

    def run(self, target: str) -> Result:
        if target == "quality":
            return self._best()
        options = []
        if Predictor(self.known).image is not None:  # what is known is enough to begin with
            options.append(self._longest(self._ordered(), VAIN))
        count = self.budget - halvings(len(self.steps)) - self.spent
        if self._measure(count) or not options:
            options.append(self._longest(self._ordered(), len(self.steps)))
        found, loss = max(options, key=lambda option: sum(m.saved for m in option[0]))
        if not found:
            self.trials.fine = False
        return self._done({m.weight.name: m.choice for m in found}, self.trials.fine, loss)

    # -- what a move does ------------------------------------------------------------------------

    def _measure(self, count: int) -> int:
        """Damage of single moves, of each role some, from all over the network; how many."""
        there = {(m.tensor, m.choice) for m in self._own()}
        roles: dict[str, list[Step]] = {}
        for step in self.steps:
            roles.setdefault(step[0].role, []).append(step)
        turns = [(turn, step) for of in roles.values() for turn, step in enumerate(_spread(of))]
        ordered = [step for _, step in sorted(turns, key=lambda t: (t[0], -t[1][0].bytes(DEFAULT)))]
        wanted = [s for s in ordered if (s[0].name, s[1]) not in there]
        chosen = wanted[: max(0, count)]
        for weight, choice in chosen:
            self.measured.append(self._damage(weight, choice))
            self._tell()
        return len(chosen)

    def _damage(self, weight: Weight, choice: str) -> Damage:
        damage, seconds = self.trials.damage({weight.name: choice})
        return Damage(
            self.trials.model, weight.name, choice, weight.features(choice), weight.change(choice),
            damage, weight.bytes(choice), seconds,
        )  # fmt: skip

    def _own(self) -> list[Damage]:
        return [m for m in (*self.known, *self.measured) if m.model == self.trials.model]

    def _ordered(self) -> list[Move]:
        """The moves, the best first: measured where they were, else predicted."""
        own = self._own()
        predictor = Predictor(own if len(own) >= OWN else [*self.known, *own])
        features = [weight.features(choice) for weight, choice in self.steps]
        says = predictor.sensitivities(features, self.trials.device)
        changes = np.array([weight.change(choice) for weight, choice in self.steps])
        damages = np.exp2(says + predictor.level) * changes**2
        damage = {(m.tensor, m.choice): m.damage for m in own}
        keys = [(weight.name, choice) for weight, choice in self.steps]
        there = [i for i, key in enumerate(keys) if key in damage]
        if there:  # what the model has of its own puts predictions in their place, role by role
            misses = {i: np.log(max(damage[keys[i]], LEAST) / damages[i]) for i in there}
            for i, (weight, _) in enumerate(self.steps):
                like = [m for n, m in misses.items() if self.steps[n][0].role == weight.role]
                damages[i] *= np.exp(np.median(like or list(misses.values())))
            damages[there] = [damage[keys[i]] for i in there]
        self.predicted = len(keys) - len(there)
        self.scaled = bool(there) or predictor.image is not None
        moves = [
            Move(weight, choice, saved, float(damage) / saved)
            for (weight, choice), damage in zip(self.steps, damages, strict=True)
            if (saved := weight.bytes(DEFAULT) - weight.bytes(choice))
        ]
        return sorted(moves, key=lambda m: (m.worth, m.weight.name, m.choice))

    # -- the model as a whole --------------------------------------------------------------------

    def _loss(self, moves: Sequence[Move]) -> float:
        """Of the model with these moves; what is good is noted."""
        choices = {m.weight.name: m.choice for m in moves}
        loss = self.trials.loss(choices)
        self._tell()
        if self._good(loss):
            self.path.append((self.spent, sizes(self.trials.weights, choices)))
        return loss

    def _good(self, loss: float) -> bool:
        return loss <= self.default_loss + self.slack

    def _longest(self, moves: Sequence[Move], most: int) -> tuple[list[Move], float]:
        """The most moves with which the model is good, and its loss: the first ones, then any.

        Damages add up, so what trials lost, beside what was expected, says where the next one
        should be; where that twice did not halve what is open, the middle is next. At most ``most``
        further moves are tried in vain, one after the other.
        """
        expected = np.cumsum([0.0, *(m.worth * m.saved for m in moves)])
        losses, low, high, idle = {0: self.default_loss}, 0, len(moves) + 1, 0
        if self.trials.embeds:  # its activations are finer with moves than by default
            losses[0] = max(self.default_loss / 2, self.default_loss - self.slack)
        while high - low > 1 and self.spent < self.budget:
            count, open_ = (low + high) // 2, high - low
            if idle < 2 and (self.scaled or low or high <= len(moves)):
                count = self._likely(expected, losses, low, high)
            else:
                idle = -1
            losses[count] = self._loss(moves[:count])
            low, high = (count, high) if self._good(losses[count]) else (low, count)
            idle = 0 if 2 * (high - low) <= open_ + 1 else idle + 1
        found, kept, vain = list(moves[:low]), losses[low] if low else self.default_loss, 0
        for move in moves[low + 1 :]:
            if self.spent >= self.budget or vain == most:
                break
            loss = self._loss([*found, move])
            found, kept, vain = (
                ([*found, move], loss, 0) if self._good(loss) else (found, kept, vain + 1)
            )
        return found, kept

    def _likely(self, expected: Floats, losses: dict[int, float], low: int, high: int) -> int:
        """How many moves may be made, on the line through what is known of the losses.

        What an encoder loses with no move is a guess: where all damages were measured, these tell
        the slope, and not that.
        """
        one, other = (low, high) if high in losses else (0, low)
        slope = 1.0
        if one < other and (one or self.predicted or not self.trials.embeds):
            slope = (losses[other] - losses[one]) / max(expected[other] - expected[one], LEAST)
        near = low or other
        room = self.default_loss + self.slack - losses[near]
        end = expected[near] + room / max(slope, 1e-9)
        likely = int(np.searchsorted(expected, end, side="right")) - 1
        return min(max(likely, low + 1), high - 1)

    def _best(self) -> Result:
        """The choice with the least error for each weight, where the whole is better for it."""
        choices: Choices = {}
        for weight in self.trials.weights:
            fits = [c for c in weight.choices if weight.bytes(c) <= weight.bytes(DEFAULT)]
            best = min(fits, key=lambda c: (weight.error(c), c != DEFAULT))
            if best != DEFAULT:
                choices = {**choices, weight.name: best}
        options = [(choices, self.trials.fine), ({}, self.trials.fine), (choices, False)]
        found: list[tuple[float, int, Choices, bool]] = [(self.default_loss, -1, {}, False)]
        for number, (some, fine) in enumerate(options):
            if self.spent < self.budget and (some or fine):
                self.trials.fine = fine
                found.append((self.trials.loss(some), number, some, fine))
                self._tell()
        loss, _, some, fine = min(found, key=lambda f: f[:2])
        self.trials.fine = fine
        return self._done(some, fine, loss)

    def _done(self, choices: Choices, fine: bool, loss: float) -> Result:
        weights = self.trials.weights
        return Result(
            choices, fine, sizes(weights, choices), sizes(weights, {}), loss, self.default_loss,
            self.spent, self.predicted, self.measured, self.path,
        )  # fmt: skip


def _spread(steps: Sequence[Step]) -> list[Step]:
    """Steps in an order whose every beginning is spread over them: halves, quarters, ..."""
    bits = max(len(steps) - 1, 1).bit_length()
    places = (int(f"{n:0{bits}b}"[::-1], 2) for n in range(1 << bits))
    return [steps[place] for place in places if place < len(steps)]


def halvings(count: int) -> int:
    """Trials that find how many of so many moves may be made."""
    return int(np.ceil(np.log2(count + 1)))


def every(weights: Sequence[Weight]) -> int:
    """Trials that measure each move by itself, and then find how many of them may be made."""
    count = sum(len(weight.choices) - 1 for weight in weights)
    return 1 + count + halvings(count)
