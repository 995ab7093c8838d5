"""Many conversations with one model at once: one execution of the program serves all of them.

Each conversation asks for its next token when it is ready for it; those that are ready are computed
together, so that the weights are read once for all. Nobody waits for one that is slow. A prompt is
taken in by the model's ordinary program, in parts between two such steps, and moves into a slot.

>>> with Batcher.open("smollm2.pxi") as batcher:
...     for piece in batcher.chat([{"role": "user", "content": "Hello"}]): ...

Every answer has the bytes that ``Model.chat`` gives alone.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from pxvm.core import executors
from pxvm.core.container import PathLike, open_image
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import PxvmError
from pxvm.core.program import Image, load_program
from pxvm.core.tensor import store_words, tensor_words, words_of, write_words
from pxvm.core.verifier import verify
from pxvm.models.constrained import Constraint
from pxvm.models.families.batched import batched, sampler
from pxvm.models.families.llama import set_tokens
from pxvm.models.generation import Generator, Sampling
from pxvm.models.graph.fields import Fields
from pxvm.models.model import Messages, Model

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from pxvm.models.options import Keywords

SLOTS = 8
PART = 64  # tokens of a prompt between two steps of the others
GATHERING = 0.002  # seconds to wait for those that are about to ask


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


class StoppedError(PxvmError, RuntimeError):
    """The batcher was closed while an answer was under way."""


class Batcher:
    """Slots for conversations with one model.

    Args:
        model: a language model as ``Model.open`` gave it; it takes prompts in from now on, and is
            closed with the batcher.
        source: its image as ``open_image`` gives it; mapped, it shares the weights' memory.
        slots: conversations that are computed at once; further ones wait for a slot.
    """

    def __init__(self, model: Model, source: Image, slots: int = SLOTS) -> None:
        self.model, self.prefill = model, model.generator
        self.slots = [_Slot(self, number) for number in range(slots)]
        self.program = _Program(model, source, slots, self.prefill.context)
        self._wake = threading.Condition()
        self._waiting: deque[_Ticket] = deque()
        self._closing = False
        self.steps = self.rows = 0
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        path: PathLike,
        device: str = "auto",
        threads: int | None = None,
        context: int | None = None,
        slots: int = SLOTS,
    ) -> Self:
        """Open a model's file for many conversations; arguments and errors as ``Model.open``."""
        return cls(Model.open(path, device, threads, context), open_image(path), slots)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Stop all answers, which raise StoppedError, and close the model."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        self.model.close()

    # -- answers ---------------------------------------------------------------------------------

    def session(self) -> Model:
        """A model of its own for one answer: ``chat``, ``generate`` and ``finish`` as of a Model.

        Answers are made by iterating in the caller's thread; leaving the iterator frees the slot.
        """
        one = copy.copy(self.model)
        one.__dict__["generator"] = _Shared(self)
        return one

    def chat(self, messages: Messages, **options: Unpack[Keywords]) -> Iterator[str]:
        """Pieces of an answer; as ``Model.chat`` with ``stream``."""
        pieces: Iterator[str] = self.session().chat(messages, stream=True, **options)
        return pieces

    @property
    def busy(self) -> int:
        """Answers under way, and those that wait."""
        with self._wake:
            return sum(slot.ticket is not None for slot in self.slots) + len(self._waiting)

    def answer(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        constraint: Constraint | None = None,
        scores: Scores | None = None,
    ) -> Iterator[int]:
        """Tokens that follow ``ids``; as ``Generator.answer``. Their scores, where asked for."""
        ticket = _Ticket(list(ids), sampling, constraint, scores)
        with self._wake:
            self._waiting.append(ticket)
            self._wake.notify_all()
        try:
            while (token := self._next(ticket)) is not None:
                yield token
        finally:
            with self._wake:
                ticket.left = True
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                self._wake.notify_all()

    def _next(self, ticket: _Ticket) -> int | None:
        with self._wake:
            ticket.wants = True
            self._wake.notify_all()
            while ticket.wants and not self._closing:
                self._wake.wait()
            if self._closing and ticket.wants:
                raise StoppedError("the model is being closed")
            if ticket.error is not None:
                raise ticket.error
            return ticket.token

    # -- the thread that computes ----------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._closing or self._has_work()):
                    self._wake.wait()
                if self._closing:
                    self._wake.notify_all()
                    return
                if self._late_ones():
                    self._wake.wait(GATHERING)
                for slot in self.slots:
                    if slot.ticket is not None and slot.ticket.left:
                        slot.ticket = None
                ready = [s for s in self.slots if s.ticket is not None and s.ticket.wants]
                joining = self._waiting[0] if self._waiting and self._free() else None
            if ready:  # before a slot that is left meanwhile is given to another
                self._guard([slot.ticket for slot in ready], partial(self._step, ready))
            if joining is not None:
                self._guard([joining], partial(self._take_in, joining))

    def _has_work(self) -> bool:
        running = [slot.ticket for slot in self.slots if slot.ticket is not None]
        return any(t.wants or t.left for t in running) or bool(self._waiting and self._free())

    def _late_ones(self) -> bool:
        """Is there an answer under way whose next token is not asked for yet?"""
        running = [slot.ticket for slot in self.slots if slot.ticket is not None]
        return not all(ticket.wants or ticket.left for ticket in running)

    def _free(self) -> bool:
        return any(slot.ticket is None or slot.ticket.left for slot in self.slots)

    def _guard(self, tickets: list[Any], work: Callable[[], None]) -> None:
        """Do a piece of work; what it raises goes to those who wait for it."""
        try:
            work()
        except Exception as error:
            for ticket in tickets:
                self._give(ticket, None, error)
            with self._wake:
                for slot in self.slots:
                    if slot.ticket in tickets:
                        slot.ticket = None
                for ticket in tickets:
                    if ticket in self._waiting:
                        self._waiting.remove(ticket)

    def _give(self, ticket: _Ticket, token: int | None, error: Exception | None = None) -> None:
        with self._wake:
            ticket.token, ticket.error, ticket.wants = token, error, False
            self._wake.notify_all()

    def _take_in(self, ticket: _Ticket) -> None:
        """The next part of a prompt; after its last one the first token, and a slot."""
        g = self.prefill
        if ticket.taken is None:
            self._recall(ticket.ids)
            g.reused = ticket.taken = g.rewind(ticket.ids)
            g.set_sampling(ticket.sampling)
            if ticket.taken + len(ticket.ids[ticket.taken :]) > g.context:
                g.feed(ticket.ids[ticket.taken :])  # raises what says so
            if ticket.constraint is not None:
                _forbid(g.fields, ticket.constraint)
        alone = all(slot.ticket is None for slot in self.slots)
        end = min(ticket.taken + (g.part if alone else min(g.part, PART)), len(ticket.ids))
        set_tokens(g.fields, ticket.ids[ticket.taken : end], answer=end == len(ticket.ids))
        g.run()
        ticket.taken = end
        if end < len(ticket.ids):
            return
        token = g.fields.scalar("token")
        if ticket.constraint is not None:
            ticket.constraint.take([token])
        if ticket.scores is not None:
            g.session.sync()
            ticket.scores.note(g.fields, token)
        with self._wake:
            self._waiting.remove(ticket)
            free = [s for s in self.slots if s.ticket is None or s.ticket.left]
            slot = min(free, key=lambda s: s.used)  # what was said there is the oldest
            slot.ticket, slot.used = ticket, self.steps
        slot.begin(g, token)
        self._give(ticket, token)

    def _recall(self, ids: list[int]) -> None:
        """Bring the caches of the free slot that begins most like ``ids`` back, if that helps."""
        best, common = None, _common(self.prefill.taken(), ids)
        for slot in self.slots:
            if slot.ticket is None and (found := _common(slot.tokens, ids)) > common:
                best, common = slot, found
        if best is not None:
            self.program.copy(best.number, self.prefill.fields, common, back=True)
            f = self.prefill.fields
            f["seen"] = common
            f["history"] = [[token] for token in best.tokens[:common]]
            for name in ("position", "history_length"):
                f[name] = common

    def _step(self, ready: list[_Slot]) -> None:
        """One token for each slot that is ready."""
        full = [slot for slot in ready if len(slot.tokens) >= self.prefill.context]
        going = [slot for slot in ready if slot not in full]
        for slot in full:
            self._give(slot.ticket, None)  # type: ignore[arg-type]
        if not going:
            return
        self.program.run({slot.number: (slot.last, len(slot.tokens)) for slot in going})
        self.steps, self.rows = self.steps + 1, self.rows + len(going)
        for slot in going:
            token = slot.draw(self.program.logits(slot.number))
            self._give(slot.ticket, token)  # type: ignore[arg-type]


class _Ticket:
    """One answer: what was asked, and the token that is handed over."""

    def __init__(
        self, ids: list[int], sampling: Sampling, constraint: Constraint | None,
        scores: Scores | None,
    ) -> None:  # fmt: skip
        self.ids, self.sampling, self.constraint, self.scores = ids, sampling, constraint, scores
        self.taken: int | None = None  # tokens of the prompt in the caches
        self.token: int | None = None
        self.error: Exception | None = None
        self.wants = self.left = False


class _Shared:
    """What an answer's own ``Model`` takes for its generator.

    Attributes:
        prompt, count: tokens taken in, and drawn so far.
        scores: of the tokens, where they are wanted.
    """

    scores: Scores | None = None

    def __init__(self, batcher: Batcher) -> None:
        self.context, self.vocab = batcher.prefill.context, batcher.prefill.vocab
        self.prompt = self.count = 0
        self._batcher = batcher

    def answer(
        self, ids: Sequence[int], sampling: Sampling, constraint: Constraint | None = None
    ) -> Iterator[int]:
        """As ``Generator.answer``."""
        self.prompt = len(ids)
        for token in self._batcher.answer(ids, sampling, constraint, self.scores):
            self.count += 1
            yield token


class _Slot:
    """A place in the batch, with a sampler of its own.

    Attributes:
        tokens: in its caches; they stay there when the answer has ended.
        last: the token drawn last, which is not in the caches yet.
        used: the batcher's step at which the last answer began.
    """

    def __init__(self, owner: Batcher, number: int) -> None:
        self.owner, self.number = owner, number
        self.ticket: _Ticket | None = None
        self.tokens: list[int] = []
        self.last, self.used = 0, -1
        g = owner.model.generator
        image = sampler(g.vocab, g.fields.descriptor("logits").frac, g.context)
        program = verify(image)
        assert isinstance(program, TensorProgram)
        self.fields = Fields(image, program)
        executor = executors.executor(owner.model.device, 1)
        self.session = executor.session(image, program, 1)

    def begin(self, g: Generator, token: int) -> None:
        """Take over a prompt and the state of the sampler from the ordinary program."""
        self.tokens, self.last = g.taken(), token
        self.owner.program.copy(self.number, g.fields, len(self.tokens))
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
            _forbid(f, constraint)
        self.session.run(None)
        self.last = f.scalar("token")
        if constraint is not None:
            constraint.take([self.last])
        if ticket is not None and ticket.scores is not None:
            ticket.scores.note(f, self.last)
        return self.last


class _Program:
    """The batched program, bound to an executor."""

    def __init__(self, model: Model, source: Image, slots: int, context: int) -> None:
        network = load_program(source)
        assert isinstance(network, TensorProgram)
        image = batched(source, network, slots, context)
        program = verify(image)
        assert isinstance(program, TensorProgram)
        self.fields, self.slots = Fields(image, program), slots
        executor = executors.executor(model.device, 1)
        self.session = executor.session(image, program, model.threads)
        self._words = words_of(image)
        names = [d.name for d in model.fields.network.descriptors if d.name.endswith("_cache")]
        self.caches = [tuple(name.split(".")) for name in names]

    def run(self, tokens: dict[int, tuple[int, int]]) -> None:
        """One step. ``tokens``: slot -> (its token, tokens in its caches)."""
        f = self.fields
        rows = [tokens.get(slot, (0, 0)) for slot in range(self.slots)]
        f["ids"] = [[token] for token, _ in rows]
        f["positions"] = [[position] for _, position in rows]
        f["active"] = [[int(slot in tokens)] for slot in range(self.slots)]
        f["count"] = max(tokens) + 1
        self.session.run(None)

    def logits(self, slot: int) -> Any:
        """A slot's row of logits, as words."""
        return tensor_words(self.fields.image, self.fields.descriptor("logits"), slot, 1)

    def copy(self, slot: int, other: Fields, count: int, back: bool = False) -> None:
        """The first ``count`` tokens of the caches of another program into a slot, or back."""
        for layer, name in self.caches:
            mine = self.fields.descriptor(f"{layer}.{slot}.{name}")
            theirs = other.descriptor(f"{layer}.{name}")
            ends = [(other, theirs), (self.fields, mine)]
            (source, d), (target, e) = reversed(ends) if back else ends
            for head in range(d.extents[0]):
                words = tensor_words(source.image, d, head * d.extents[1], count)
                store_words(target.image, e, head * e.extents[1], words)


def _forbid(f: Fields, constraint: Constraint) -> None:
    write_words(f.image, f.descriptor("mask").start, constraint.mask())
    f["masked"] = 1


def _common(ours: Sequence[int], wanted: Sequence[int]) -> int:
    """How many tokens two texts begin with alike, the last wanted one aside."""
    pairs = zip(ours, wanted[:-1], strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(wanted) - 1))
