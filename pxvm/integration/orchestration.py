"""Many networks at once: one question, evidence from those that know something of it.

Scores of two networks cannot be compared, for each is relative to its own best. What can are the
cosine of a record with the question and the share of the question's words that it has: they order
the evidence of all networks on one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pxvm.core.errors import PxvmError
from pxvm.integration.memory import Memory, asked_lines, searched, shared, told_first
from pxvm.learning.search.context import Context, Count, build_context
from pxvm.learning.search.search import Hit

if TYPE_CHECKING:
    from typing_extensions import Self

AT_ONCE = 8  # networks that are searched at a time


class NetworkOrchestrator:
    """Networks that are asked together.

    Args:
        paths: of networks that exist; all are only read, except one.
        learn_to: the one that takes in what is learned, one of ``paths`` or another; None: none.

    Raises PxvmError for a network that is missing, or named twice.
    """

    def __init__(self, paths: Sequence[str | Path], *, learn_to: str | Path | None = None) -> None:
        named = {Path(path).resolve(): Path(path) for path in paths}
        target = None if learn_to is None else Path(learn_to).resolve()
        if not named or len(named) != len(paths):
            raise PxvmError("expected at least one network, and each of them once")
        for found, path in named.items():
            if found != target and not path.exists():
                raise PxvmError(f"{path}: no such file; `pxvm learn` makes a network")
        with ExitStack() as stack:
            self.members = [
                stack.enter_context(Memory(path, read_only=found != target))
                for found, path in named.items()
            ]
            self._target = next((m for m in self.members if m.path.resolve() == target), None)
            if target is not None and self._target is None:
                self._target = stack.enter_context(Memory(Path(str(learn_to))))
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._open.__exit__(kind, error, trace)

    def search(
        self,
        question: str,
        k: int = 10,
        before: Sequence[str] = (),
        unsearched: list[int] | None = None,
    ) -> list[tuple[Path, Hit]]:
        """The best records of all networks for a question, with the network of each; ``unsearched``
        as of ``Network.search``."""

        def of(member: Memory) -> list[Hit]:
            return member.hits(question, before, unsearched)

        with ThreadPoolExecutor(min(len(self.members), AT_ONCE)) as pool:
            found = list(pool.map(of, self.members))
        lines = asked_lines(searched(question, before))
        scored: dict[str, tuple[float, Path, Hit]] = {}
        for member, hits in zip(self.members, found, strict=True):
            for hit in hits:
                worth = on_one_scale(hit, lines)
                known = scored.get(hit.record.id)
                if known is None or known[0] < worth:  # networks that were merged share records
                    scored[hit.record.id] = (worth, member.path, hit)
        order = sorted(scored.values(), key=lambda each: -each[0])
        told = {id(hit) for hit in told_first([hit for _, _, hit in order])}
        return [(path, hit) for _, path, hit in order if id(hit) in told][:k]

    def evidence(
        self, question: str, before: Sequence[str], budget: int, most: int, count: Count
    ) -> Context:
        """As ``Memory.evidence``; each piece names its network."""
        left: list[int] = []
        found = self.search(question, most, before, left)
        shown = [
            replace(hit, record=replace(hit.record, source=_source(path, hit)))
            for path, hit in found
        ]
        made = build_context(shown, budget, count=count)
        originals = {id(piece): hit for piece, (_, hit) in zip(shown, found, strict=True)}
        hits = tuple(originals[id(piece)] for piece in made.hits)
        return replace(made, hits=hits, unsearched=sum(left))

    def learn(
        self, question: str, answer: str, *, model: str, source: str, used: Sequence[Hit] = ()
    ) -> Future[str]:
        """Store a finished exchange in the network named ``learn_to``. Raises PxvmError."""
        if self._target is None:
            raise PxvmError("no network was named to learn to: these are only read")
        return self._target.learn(question, answer, model=model, source=source, used=used)

    def named(self, hits: Sequence[Hit]) -> str:
        """ "record 3 of a.png, record 7 of b.png"."""
        return ", ".join(f"record {hit.record.sequence} of {self.home(hit).name}" for hit in hits)

    def home(self, hit: Hit) -> Path:
        """The network that a hit is of."""
        return next(
            member.path
            for member in self.members
            if member.network.counts(hit.record.id)
            and member.network.record(hit.record.id).sequence == hit.record.sequence
        )

    def settle(self) -> None:
        """Wait until everything that was learned is on disk."""
        if self._target is not None:
            self._target.settle()

    def close(self) -> None:
        """Settle, and let go of all files."""
        self._open.close()


def on_one_scale(hit: Hit, lines: Sequence[frozenset[str]]) -> float:
    """How much a record has to do with a question, about 0 to 1, comparable between networks."""
    share, boosts = shared(hit, lines), sum(hit.why.boosts.values())
    fits = share if hit.why.cosine is None else (share + max(hit.why.cosine, 0.0)) / 2
    return fits + boosts


def _source(path: Path, hit: Hit) -> str:
    return " · ".join(part for part in (path.name, hit.record.source) if part)
