"""What a conversation needs of a network: evidence for a question, and a place for what was said.

A finished exchange is embedded and appended by a thread of its own, so that no answer waits for a
vector. Whoever asks next sees it: a search waits for what is under way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from pxvm.core.errors import PxvmError
from pxvm.learning import Draft, Link, Network
from pxvm.learning.search.building import ask_soon
from pxvm.learning.search.cache import Cache
from pxvm.learning.search.context import (
    CLOSE,
    OPEN,
    Context,
    Count,
    build_context,
    without_recalled,
)
from pxvm.learning.search.embedding import Embedder, EmbeddingError
from pxvm.learning.search.words import asked

if TYPE_CHECKING:
    from typing_extensions import Self

    from pxvm.learning.search.search import Hit

CANDIDATES = 24
#: A record says something of a question from this cosine on, or with this share of its words.
RELATED, SHARED = 0.4, 0.5
#: How much worse than the best one by cosine a further record may be.
BEHIND = 0.25
NOTHING = Context("", (), 0)

_REFERS = re.compile(
    r"^\W*(and|but|so|also|then|why|what about|how about|what else|which one)\b"
    r"|\b(it|its|that|this|these|those|they|them|their|he|him|his|she|her|there|one|ones|"
    r"former|latter|same|above|previous|again)\b",
    re.IGNORECASE,
)
FEW_WORDS = 3
_THOUGHT = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_REPEATED = re.compile(rf"{OPEN}.*?{re.escape(CLOSE)}\n?", re.DOTALL)
_MARK = re.compile(rf"(?:{OPEN}|{re.escape(CLOSE[:-1])})[^⟧\n]*⟧?")
#: A mark of evidence that a model repeats, when what follows is known; or its mere beginning.
_LONGEST_MARK = 256
_SHOWN_MARK = re.compile(
    rf"⟦/?{OPEN[1:]}(?:[^⟧\n]{{0,{_LONGEST_MARK}}}⟧(?:\n|(?=[^\n]))"
    rf"|(?=[^⟧\n]*\n|[^⟧\n]{{{_LONGEST_MARK + 1}}}):? ?)"
)
_LAST_MARK = re.compile(rf"⟦/?{OPEN[1:]}(?:[^⟧\n]*⟧|:? ?)")


class Remembers(Protocol):
    """What a conversation asks of one network, or of many."""

    def evidence(
        self, question: str, before: Sequence[str], budget: int, most: int, count: Count
    ) -> Context:
        """What is known of a question, in at most ``budget`` tokens and ``most`` passages."""

    def learn(
        self, question: str, answer: str, *, model: str, source: str, used: Sequence[Hit]
    ) -> Future[str]:
        """Store a finished exchange; the id when it is durable."""

    def named(self, hits: Sequence[Hit]) -> str:
        """The records of hits, by the numbers that a person looks them up by."""

    def settle(self) -> None:
        """Wait until everything that was said is on disk, or has failed: its future tells."""

    def close(self) -> None:
        """Settle, and let go of the files."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """As ``close``; on an error a network that was made and is still empty goes again."""


class Memory:
    """One network as a memory.

    Args:
        path: of the network, which is made when it is missing and not ``read_only``.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise PxvmError(
                f"{path}: a folder; name the file, such as {self.path / 'knowledge.png'}"
            )
        self.network = Network.open(self.path, read_only=read_only)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="learn")
        self._pending: Future[str] | None = None

    # -- evidence --------------------------------------------------------------------------------

    def evidence(
        self, question: str, before: Sequence[str], budget: int, most: int, count: Count
    ) -> Context:
        """What is known of a question; nothing where nothing is related to it.

        Args:
            before: earlier questions of the conversation, the newest last.
        """
        left: list[int] = []
        hits = self.hits(question, before, left)[:most]
        return replace(build_context(hits, budget, count=count), unsearched=sum(left))

    def hits(
        self, question: str, before: Sequence[str] = (), unsearched: list[int] | None = None
    ) -> list[Hit]:
        """The records that say something of a question, best first; also of what it refers to.

        Args:
            unsearched: as of ``Network.search``.
        """
        self.settle()
        wanted = searched(question, before)
        if not len(self.network):
            return []
        search = partial(self.network.search, wanted, CANDIDATES, unsearched=unsearched)
        try:
            found = search()
        except EmbeddingError:  # vectors of another model: words remain
            found = search(embedder=None)
        asked_before = set(filter(None, before))  # what was answered then is in the turns
        fresh = [hit for hit in found if hit.record.query not in asked_before]
        return told_first(related(fresh, wanted))

    # -- learning --------------------------------------------------------------------------------

    def learn(
        self, question: str, answer: str, *, model: str, source: str, used: Sequence[Hit] = ()
    ) -> Future[str]:
        """Store a finished exchange, verbatim but for what was recalled into it."""
        return self.append(
            Draft(
                without_recalled(question).strip(),
                own_words(answer),
                model=model,
                source=source,
                event_time=datetime.now(timezone.utc),
                links=tuple(Link("recalled", hit.record.id) for hit in used),
            )
        )

    def append(self, draft: Draft) -> Future[str]:
        """Store a record with its vector, in the background; the id when it is durable."""
        self._pending = self._writer.submit(self._store, draft)
        return self._pending

    def _store(self, draft: Draft) -> str:
        return self.network.append_many([self.embedded(draft)])[0]

    def embedded(self, draft: Draft) -> Draft:
        """A draft with its vector, where there is a model for it and the network has no others."""
        embedder = Embedder.present()
        if embedder is None:
            return draft
        there, _ = ask_soon(self.network, Cache.embeddings)
        if there and embedder.probe not in {known.probe for known in there}:
            return draft
        return embedder.with_vectors([draft])[0]

    def named(self, hits: Sequence[Hit]) -> str:
        """ "record 3" or "records 3, 7"."""
        found = ", ".join(str(hit.record.sequence) for hit in hits)
        return f"record{'s' if len(hits) > 1 else ''} {found}"

    def settle(self) -> None:
        """Wait until everything that was said is on disk, or has failed: its future tells."""
        if self._pending is not None:
            wait([self._pending])

    def close(self) -> None:
        """Settle, and let go of the files."""
        self.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._writer.shutdown()
        self.network.__exit__(kind, error, trace)


def own_words(answer: str) -> str:
    """An answer without what the model said to itself first, and without the evidence that it
    repeats; a mark that it only names takes nothing."""
    return _MARK.sub("", _REPEATED.sub("", _THOUGHT.sub("", answer))).strip()


def without_marks(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces of an answer without the marks of evidence that a model repeats; what stands between
    them stays."""
    held = ""
    for piece in pieces:
        held = _SHOWN_MARK.sub("", held + piece)
        at = held.rfind("⟦")
        may_be_one = at >= 0 and any(
            held[at:].startswith(mark) or mark.startswith(held[at:]) for mark in (OPEN, CLOSE[:-1])
        )
        shown, held = (held[:at], held[at:]) if may_be_one else (held, "")
        if shown:
            yield shown
    if rest := _LAST_MARK.sub("", held):
        yield rest


def searched(question: str, before: Sequence[str]) -> str:
    """What is searched for a question: with the last one before it, where it refers to that."""
    bare = without_recalled(question)
    if before and (len(asked(bare)) < FEW_WORDS or _REFERS.search(bare)):
        return f"{before[-1]}\n{bare}"
    return bare


def related(hits: Sequence[Hit], question: str) -> list[Hit]:
    """The hits that have to do with a question, or with what it refers to, in their order."""
    best = max((hit.why.cosine or 0.0 for hit in hits), default=0.0)
    lines = asked_lines(question)

    def is_related(hit: Hit) -> bool:
        cosine = hit.why.cosine
        if cosine is not None and cosine >= max(RELATED, best - BEHIND):
            return True
        has_words = shared(hit, lines) >= SHARED
        return has_words and (cosine is None or cosine >= RELATED / 2)

    return [hit for hit in hits if is_related(hit)]


def asked_lines(question: str) -> list[frozenset[str]]:
    """The words that each line of a question asks for, where it has any."""
    return [line for line in map(frozenset, map(asked, question.splitlines())) if line]


def shared(hit: Hit, lines: Sequence[frozenset[str]]) -> float:
    """The share of a question's words that a record has: of its line of which it has the most."""
    return max((len(line & hit.words) / len(line) for line in lines), default=0.0)


def told_first(hits: Sequence[Hit]) -> list[Hit]:
    """What a person told; only where there is none of it, what a model answered to a mere question.

    Such an answer may have been guessed, and what it was made from is found itself.
    """
    told = [hit for hit in hits if not is_guess(hit)]
    return told or list(hits)


def is_guess(hit: Hit) -> bool:
    """Is a record what a model answered to a mere question?"""
    record = hit.record
    asks = record.query.rstrip().endswith("?")
    return record.kind == "interaction" and bool(record.model) and asks


def note(text: str) -> Draft:
    """What a person teaches, as a record."""
    return Draft("", text.strip(), kind="note", event_time=datetime.now(timezone.utc))


def changed(memory: Memory, name: str | int, answer: str) -> Any:
    """Correct a record of a memory, with a vector for the new text; the new record."""
    network = memory.network
    old = network.record(name)
    vectors = memory.embedded(replace(old.draft(), answer=answer, vectors=())).vectors
    return network.record(network.correct(old.id, answer=answer, vectors=vectors))
