"""Places in a batch: what is computed for each conversation, and the program that has them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pxvm.core import executors
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import ProgramError
from pxvm.core.program import Image, load_program
from pxvm.core.tensor import Descriptor, Words, store_words, tensor_words, words_of, write_words
from pxvm.core.verifier import verify
from pxvm.models.constrained import Constraint
from pxvm.models.families.batched import batched, sampler
from pxvm.models.generation import Generator, Sampling
from pxvm.models.graph.fields import Fields
from pxvm.models.model import Model


@dataclass(frozen=True)
class Score:
    """A token that was drawn, its log-probability, and those of the most likely ones.

    Of the logits as they are, a form's mask included: temperature, top_k and top_p change nothing.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass
class Scores:
    """Asks for the scores of an answer's tokens, and takes them.

    Attributes:
        most: how many of the most likely tokens each has.
    """

    most: int
    found: list[Score] = field(default_factory=list)

    def note(self, f: Fields, token: int) -> None:
        """Append the score of a token from the logits that it was drawn from."""
        real = f.rows("logits", 1)[0] / 2.0 ** f.descriptor("logits").frac
        real -= real.max()
        real -= np.log(np.exp(real).sum())
        best = np.argsort(-real, kind="stable")[: self.most]
        top = tuple((int(t), float(real[t])) for t in best)
        self.found.append(Score(token, float(real[token]), top))


class Ticket:
    """One answer: what was asked, and the token that is handed over."""

    def __init__(
        self, ids: list[int], sampling: Sampling, constraint: Constraint | None,
        scores: Scores | None, answered: threading.Condition,
    ) -> None:  # fmt: skip
        self.answered = answered
        self.ids, self.sampling, self.constraint, self.scores = ids, sampling, constraint, scores
        self.taken: int | None = None  # tokens of the prompt in the caches
        self.token: int | None = None
        self.error: Exception | None = None
        self.wants = self.left = False


class Slot:
    """A place in the batch, with a sampler of its own.

    Attributes:
        tokens: in its caches; they stay there when the answer has ended.
        last: the token drawn last, which is not in the caches yet.
        used: the batcher's step at which the last answer began.
    """

    def __init__(self, model: Model, program: Program, number: int) -> None:
        self.program, self.number = program, number
        self.ticket: Ticket | None = None
        self.tokens: list[int] = []
        self.last, self.used = 0, -1
        g = model.generator
        image = sampler(g.vocab, g.fields.descriptor("logits").frac, g.context)
        drawing = verify(image)
        assert isinstance(drawing, TensorProgram)
        self.fields = Fields(image, drawing)
        executor = executors.executor(model.device, 1)
        self.session = executor.session(image, drawing, 1)

    def begin(self, g: Generator, token: int) -> None:
        """Take over a prompt and the state of the sampler from the ordinary program."""
        self.tokens, self.last = g.taken(), token
        self.program.copy(self.number, len(self.tokens))
        f = self.fields
        for name in ("temperature", "top_p", "penalty", "top_k", "random"):
            f[name] = g.fields[name]
        f["history"] = [[token] for token in self.tokens]
        f["seen"] = f["history_length"] = len(self.tokens)
        f["masked"] = 0
        f.restart()

    def draw(self, logits: Any) -> int:
        """The next token, from logits behind the last one."""
        f, ticket = self.fields, self.ticket
        self.tokens.append(self.last)
        store_words(f.image, f.descriptor("logits"), 0, logits)
        f["ids"] = self.last
        constraint = ticket.constraint if ticket is not None else None
        if constraint is not None:
            forbid(f, constraint)
        self.session.run(None)
        self.last = f.scalar("token")
        if constraint is not None:
            constraint.take([self.last])
        if ticket is not None and ticket.scores is not None:
            ticket.scores.note(f, self.last)
        return self.last


class Program:
    """The batched program, bound to an executor."""

    def __init__(self, model: Model, source: Image, slots: int) -> None:
        network = load_program(source)
        assert isinstance(network, TensorProgram)
        names = [d.name for d in model.fields.network.descriptors if d.name.endswith("_cache")]
        self._cache = model.fields.descriptor(names[0])
        if not self._cache.per:
            raise ProgramError("expected caches whose rows fit into one of the image's")
        image = batched(source, network, slots, self._cache.extents[1])
        program = verify(image)
        assert isinstance(program, TensorProgram)
        self.fields, self.slots = Fields(image, program), slots
        executor = executors.executor(model.device, 1)
        self.session = executor.session(image, program, model.threads)
        self._blocks = [
            [(_block(self.fields, f"{layer}.{slot}.{name}"), _block(model.fields, whole))
             for whole in names for layer, name in [whole.split(".")]]
            for slot in range(slots)
        ]  # fmt: skip

    def run(self, tokens: dict[int, tuple[int, int]]) -> None:
        """One step. ``tokens``: slot -> (its token, tokens in its caches)."""
        f, order = self.fields, sorted(tokens)
        f["ids"] = [[tokens[slot][0]] for slot in order]
        f["positions"] = [[tokens.get(slot, (0, 0))[1]] for slot in range(self.slots)]
        f["active"] = [[int(slot in tokens)] for slot in range(self.slots)]
        f["count"] = len(order)
        self.session.run(None)

    def logits(self, row: int) -> Any:
        """A row of logits, as words: of the first slot in use, of the second ..."""
        return tensor_words(self.fields.image, self.fields.descriptor("logits"), row, 1)

    def copy(self, slot: int, count: int, back: bool = False) -> None:
        """The first ``count`` tokens of the model's own caches into a slot, or back."""
        parts = list(_parts(self._cache, count))
        for mine, theirs in self._blocks[slot]:
            target, source = (theirs, mine) if back else (mine, theirs)
            for part in parts:
                target[part] = source[part]


def _block(fields: Fields, name: str) -> Words:
    """The image from a tensor's first word on."""
    y, x = divmod(fields.descriptor(name).start, fields.image.shape[1])
    return words_of(fields.image)[y:, x:]


def _parts(cache: Descriptor, count: int) -> Iterator[tuple[slice, slice]]:
    """Image rows and columns of the first ``count`` tokens of each head, from the first word on."""
    heads, context, _ = cache.extents
    per, words = cache.per, cache.row_words
    for head in range(heads):
        row, end = head * context, head * context + count
        while row < end:
            line, place = divmod(row, per)
            whole = 0 if place else (end - row) // per  # image rows that are taken whole
            step = whole * per or min(per - place, end - row)
            columns = slice(place * words, (per if whole else place + step) * words)
            yield slice(line, line + (whole or 1)), columns
            row += step


def forbid(f: Fields, constraint: Constraint) -> None:
    write_words(f.image, f.descriptor("mask").start, constraint.mask())
    f["masked"] = 1
