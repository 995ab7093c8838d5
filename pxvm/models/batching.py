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
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pxvm.core.container import PathLike, open_image
from pxvm.core.errors import PxvmError
from pxvm.core.program import Image
from pxvm.models.constrained import Constraint
from pxvm.models.families.llama import set_tokens
from pxvm.models.generation import Sampling
from pxvm.models.model import Messages, Model
from pxvm.models.slots import Program, Scores, Slot, Ticket, forbid

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from pxvm.models.options import Keywords

SLOTS = 8
PART = 64  # tokens of a prompt between two steps of the others
#: Seconds to wait for those that are about to ask, and the share of the last step's time: who asks
#: a moment later would be computed in a step of its own each time.
GATHERING, SHARE = 0.002, 0.1


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
        self.program = Program(model, source, slots)
        self.slots = [Slot(model, self.program, number) for number in range(slots)]
        self._turn = threading.Lock()
        self._wake = threading.Condition(self._turn)  # of the thread that computes
        self._waiting: deque[Ticket] = deque()
        self._closing = False
        self._moving: tuple[Slot, int] | None = None  # a prompt taken in, and its first token
        self.steps = self.rows = 0
        self._took = 0.0  # seconds of the last step
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
        with self._turn:
            self._closing = True
            self._wake.notify()
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
        with self._turn:
            return sum(slot.ticket is not None for slot in self.slots) + len(self._waiting)

    def answer(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        constraint: Constraint | None = None,
        scores: Scores | None = None,
    ) -> Iterator[int]:
        """Tokens that follow ``ids``; as ``Generator.answer``. Their scores, where asked for."""
        return self.follow(self.ticket(ids, sampling, constraint, scores))

    def ticket(
        self,
        ids: Sequence[int],
        sampling: Sampling,
        constraint: Constraint | None = None,
        scores: Scores | None = None,
    ) -> Ticket:
        """What ``answer`` follows, and ``leave`` gives up."""
        return Ticket(list(ids), sampling, constraint, scores, threading.Condition(self._turn))

    def leave(self, ticket: Ticket) -> None:
        """End an answer from another thread; its place in the line, or its slot, is free then."""
        with self._turn:
            ticket.left = True
            ticket.answered.notify()

    def follow(self, ticket: Ticket) -> Iterator[int]:
        """The tokens of a ticket, one by one."""
        with self._turn:
            self._waiting.append(ticket)
            self._wake.notify()
        try:
            while (token := self._next(ticket)) is not None:
                yield token
        finally:
            with self._turn:
                ticket.left = True
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                self._wake.notify()

    def _next(self, ticket: Ticket) -> int | None:
        with self._turn:
            ticket.wants = True
            self._wake.notify()
            while ticket.wants and not (self._closing or ticket.left):
                ticket.answered.wait()
            if ticket.left:
                return None
            if self._closing and ticket.wants:
                raise StoppedError("the model is being closed")
            if ticket.error is not None:
                raise ticket.error
            return ticket.token

    # -- the thread that computes ----------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._turn:
                while not (self._closing or self._moving or self._has_work()):
                    self._wake.wait()
                patience = max(GATHERING, SHARE * self._took)
                self._wake.wait_for(lambda: self._closing or not self._late_ones(), patience)
                if self._closing:
                    for ticket in (*self._waiting, *(slot.ticket for slot in self.slots)):
                        if ticket is not None:
                            ticket.answered.notify()
                    return
                for slot in self.slots:
                    if slot.ticket is not None and slot.ticket.left:
                        slot.ticket = None
                ready = [s for s in self.slots if s.ticket is not None and s.ticket.wants]
                joining = self._waiting[0] if self._waiting and self._free() else None
                moving, self._moving = self._moving, None
            if moving is not None:  # its first token is under way by now
                slot, token = moving
                self._guard(
                    [slot.ticket] if slot.ticket else [], partial(slot.begin, self.prefill, token)
                )
                ready = [each for each in ready if each.ticket is not None]
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
            with self._turn:
                for slot in self.slots:
                    if slot.ticket in tickets:
                        slot.ticket = None
                for ticket in tickets:
                    if ticket in self._waiting:
                        self._waiting.remove(ticket)

    def _give(self, ticket: Ticket, token: int | None, error: Exception | None = None) -> None:
        with self._turn:
            ticket.token, ticket.error, ticket.wants = token, error, False
            ticket.answered.notify()

    def _take_in(self, ticket: Ticket) -> None:
        """The next part of a prompt; after its last one the first token, and a slot."""
        g = self.prefill
        if ticket.taken is None:
            self._recall(ticket.ids)
            g.reused = ticket.taken = g.rewind(ticket.ids)
            g.set_sampling(ticket.sampling)
            if ticket.taken + len(ticket.ids[ticket.taken :]) > g.context:
                g.feed(ticket.ids[ticket.taken :])  # raises what says so
            if ticket.constraint is not None:
                forbid(g.fields, ticket.constraint)
        alone = all(slot.ticket is None for slot in self.slots)
        end = min(ticket.taken + (g.part if alone else min(g.part, PART)), len(ticket.ids))
        set_tokens(g.fields, ticket.ids[ticket.taken : end], answer=end == len(ticket.ids))
        g.run(end - ticket.taken)
        ticket.taken = end
        if end < len(ticket.ids):
            return
        token = g.fields.scalar("token")
        if ticket.constraint is not None:
            ticket.constraint.take([token])
        if ticket.scores is not None:
            g.session.sync()
            ticket.scores.note(g.fields, token)
        with self._turn:
            if ticket.left:
                return
            self._waiting.remove(ticket)
            free = [s for s in self.slots if s.ticket is None or s.ticket.left]
            slot = min(free, key=lambda s: s.used)  # what was said there is the oldest
            slot.ticket, slot.used, self._moving = ticket, self.steps, (slot, token)
        self._give(ticket, token)

    def _recall(self, ids: list[int]) -> None:
        """Bring the caches of the slot that begins most like ``ids`` back, if that helps.

        It may be in use, for what it holds stays as it is.
        """
        best, common = None, _common(self.prefill.taken(), ids)
        for slot in self.slots:
            if (found := _common(slot.tokens, ids)) > common:
                best, common = slot, found
        if best is not None:
            self.program.copy(best.number, common, back=True)
            f = self.prefill.fields
            f["seen"] = common
            f["history"] = [[token] for token in best.tokens[:common]]
            for name in ("position", "history_length"):
                f[name] = common

    def _step(self, ready: list[Slot]) -> None:
        """One token for each slot that is ready."""
        full = [slot for slot in ready if len(slot.tokens) >= self.prefill.context]
        going = [slot for slot in ready if slot not in full]
        for slot in full:
            self._give(slot.ticket, None)  # type: ignore[arg-type]
        if not going:
            return
        began = time.perf_counter()
        self.program.run({slot.number: (slot.last, len(slot.tokens)) for slot in going})
        self._took = time.perf_counter() - began
        self.steps, self.rows = self.steps + 1, self.rows + len(going)
        for row, slot in enumerate(going):  # in the order of their numbers
            token = slot.draw(self.program.logits(row))
            self._give(slot.ticket, token)  # type: ignore[arg-type]


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
        self._ticket: Ticket | None = None

    def answer(
        self, ids: Sequence[int], sampling: Sampling, constraint: Constraint | None = None
    ) -> Iterator[int]:
        """As ``Generator.answer``."""
        self.prompt = len(ids)
        self._ticket = self._batcher.ticket(ids, sampling, constraint, self.scores)
        for token in self._batcher.follow(self._ticket):
            self.count += 1
            yield token

    def leave(self) -> None:
        """End the answer from another thread."""
        if self._ticket is not None:
            self._batcher.leave(self._ticket)


def _common(ours: Sequence[int], wanted: Sequence[int]) -> int:
    """How many tokens two texts begin with alike, the last wanted one aside."""
    pairs = zip(ours, wanted[:-1], strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(wanted) - 1))
