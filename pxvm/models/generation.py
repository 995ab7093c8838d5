"""The generation loop: tokens into a Llama program, tokens out, by a session bound once.

Between two runs only a few words of the image are touched: the token drawn is read from one pixel.
What a new text has in common with the one in the caches is kept; the rest is fed in parts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from pxvm.core.errors import PxvmError
from pxvm.core.executors import Bursts, Session
from pxvm.core.interrupt import Uninterrupted
from pxvm.core.notes import Unwatched, Watch
from pxvm.core.tensor import (
    STATE_WORDS,
    Role,
    Words,
    read_words,
    store_words,
    tensor_words,
    words_of,
    write_words,
)
from pxvm.models.constrained import Constraint
from pxvm.models.families.llama import set_sampler, set_tokens, tokens
from pxvm.models.graph.fields import Fields

MOMENT = 0.25  # seconds of a run of several tokens, about


class ContextError(PxvmError, ValueError):
    """A text that is longer than the context."""


class SettingError(PxvmError, ValueError):
    """A setting of the sampler that is out of range."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; the same settings and seed give the same answer on every executor.

    Attributes:
        max_tokens: at most so many; None until the context is full.
        temperature: 0 takes the most likely token.
        top_k: draw from so many of the most likely, 1 to 1,024.
        top_p: and from as few as together reach this share of probability.
        penalty: tokens that the text holds already become less likely above 1.
        seed: of the random numbers.
    """

    max_tokens: int | None = 512
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 1.0
    penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {"max_tokens": (1, 1 << 31), "temperature": (0, 1000), "top_k": (1, 1024),
                  "top_p": (0, 1), "penalty": (0.01, 100), "seed": (0, 2**64 - 1)}  # fmt: skip
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise SettingError(f"{name}: expected {low} to {high}; found {value}")


class Generator:
    """A Llama program bound to an executor.

    Args:
        fields: of a verified image.
        session: of the same image.
        part: tokens of a prompt in one execution; None: as many as there is room for.
        watch: takes the time of executions.

    Attributes:
        context: tokens that the caches hold.
        reused: tokens of the last text that the caches held already.
        stops: tokens behind which nobody asks for more.
    """

    stops: tuple[int, ...] = ()

    def __init__(
        self, fields: Fields, session: Session, part: int | None = None,
        watch: Watch | Unwatched | None = None,
    ) -> None:  # fmt: skip
        self.fields, self.session, self.reused = fields, session, 0
        self.watch = watch or Unwatched()
        cache = next(d for d in fields.network.descriptors if d.name.endswith("k_cache"))
        self.context = min(cache.extents[1], fields.descriptor("rope").rows)
        room = fields.descriptor("ids").rows
        self.part = min(part or room, room)
        self.vocab = fields.descriptor("logits").cols
        self._words = words_of(fields.image)
        self._token, self._position = self._place("token"), self._place("position")
        self._hosted = [
            d
            for d in fields.network.descriptors
            if d.role == Role.STATE and not d.name.endswith(("_cache", "logits"))
        ]
        session.host(d.name for d in self._hosted)

    def _place(self, name: str) -> tuple[int, int]:
        y, x = divmod(self.fields.descriptor(name).start, self.fields.image.shape[1])
        return y, x

    @property
    def position(self) -> int:
        """Tokens in the caches."""
        return int(self._words[self._position])

    def taken(self) -> list[int]:
        """The tokens in the caches."""
        return [int(t) for t in self.fields.rows("history", self.position)[:, 0]]

    def drawn(self) -> list[int]:
        """The tokens of the answer under way; the last one is not in the caches yet."""
        return tokens(self.fields)

    def run(self, prompt: int = 0) -> None:
        """Take in what stands in ``ids``, so many tokens of a prompt or the last one drawn.

        Ctrl-C waits for the end of it.
        """
        begun = time.perf_counter()
        with Uninterrupted():
            self.session.run(None)
        work = "prompt" if prompt else "decode"
        self.watch.took(work, begun, units=prompt or 1, size=self.position)

    def set_sampling(self, sampling: Sampling) -> None:
        """Write the sampler's settings into the state."""
        set_sampler(
            self.fields,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            penalty=sampling.penalty,
            seed=sampling.seed,
        )

    def rewind(self, ids: Sequence[int]) -> int:
        """Keep what the caches and ``ids`` have in common, except the last of ``ids``.

        Returns how many tokens were kept.
        """
        common = 0
        for ours, wanted in zip(self.taken(), ids[:-1], strict=False):
            if ours != wanted:
                break
            common += 1
        f = self.fields
        for name in ("position", "history_length", "seen"):
            f[name] = common
        for name in ("count", "output_length", "masked"):
            f[name] = 0
        f.restart()
        return common

    def feed(self, ids: Sequence[int], *, answer: bool = True) -> None:
        """Take tokens in, in parts, and draw the next one behind the last of them.

        Raises ContextError when there is no room for them.
        """
        if not ids or self.position + len(ids) > self.context:
            raise ContextError(
                f"expected 1 to {self.context - self.position} tokens, what is left of a context"
                f" of {self.context}; found {len(ids)}; open the model with more, or shorten it"
            )
        for first in range(0, len(ids), self.part):
            part = ids[first : first + self.part]
            set_tokens(self.fields, part, answer=answer and first + len(part) == len(ids))
            self.run(len(part))

    def answer(
        self, ids: Sequence[int], sampling: Sampling, constraint: Constraint | None = None
    ) -> Iterator[int]:
        """Tokens that follow ``ids``, the whole text; the iterator may be left at any time."""
        self.reused = self.rewind(ids)
        self.set_sampling(sampling)
        self._forbid(constraint)
        self.feed(ids[self.position :])
        yield self._drawn(constraint)
        yield from self.proceed(constraint)

    def proceed(self, constraint: Constraint | None = None) -> Iterator[int]:
        """Further tokens of the answer under way, until the context is full.

        Without a constraint an executor may draw several in a run, more each time, as long as that
        takes a moment: the reader waits for them, and Ctrl-C. Where the answer is left among them,
        those given out are drawn again, so that the state is theirs.
        """
        burst, self._took = 1, 0.0
        while self.position < self.context:
            self._forbid(constraint)
            most = getattr(self.session, "burst", 1)
            if constraint is None and most > 1:
                wanted = 2 * burst if self._took < MOMENT else burst // 2
                burst = min(max(wanted, 1), most, self.context - self.position)
                yield from self._several(cast(Bursts, self.session), burst)
            else:
                self.run()
                yield self._drawn(constraint)

    def _several(self, session: Bursts, count: int) -> Iterator[int]:
        """Up to so many tokens of one run."""
        before, known, given = self._snapshot(), len(self.drawn()), 0
        begun = time.perf_counter()
        with Uninterrupted():
            session.run_on(count, "token", self.stops)
        self._took = time.perf_counter() - begun
        found = self.drawn()[known:]
        self.watch.took("decode", begun, units=max(len(found), 1), size=self.position)
        try:
            for token in found:
                given += 1
                yield token
        finally:
            if given < len(found):
                self._restore(before)
                with Uninterrupted():
                    session.run_on(given, "token", ())

    def _snapshot(self) -> tuple[Words, list[Words]]:
        """The registers, and the tensors that the host sees."""
        f = self.fields
        registers = read_words(f.image, f.network.state_start, STATE_WORDS)
        return registers, [tensor_words(f.image, d, 0, d.rows) for d in self._hosted]

    def _restore(self, before: tuple[Words, list[Words]]) -> None:
        f = self.fields
        write_words(f.image, f.network.state_start, before[0])
        for d, words in zip(self._hosted, before[1], strict=True):
            store_words(f.image, d, 0, words)

    def _drawn(self, constraint: Constraint | None) -> int:
        token = int(self._words[self._token])
        if constraint is not None:
            constraint.take([token])
        return token

    def _forbid(self, constraint: Constraint | None) -> None:
        f = self.fields
        if constraint is not None:
            write_words(f.image, f.descriptor("mask").start, constraint.mask())
            f["masked"] = 1
