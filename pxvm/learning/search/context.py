"""Evidence for a prompt: what was found, under a budget of tokens, marked as recalled.

Each piece stands between marks that name the record's number, date and source:

    ⟦recalled 12 · 2023-05-08 · notes/garden.md⟧
    The tulips go in the north bed.
    ⟦/recalled⟧

What is between such marks was remembered once already: ``without_recalled`` takes it out of a
conversation before that is stored, so that a memory does not feed on itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pxvm.learning.search.search import Hit
from pxvm.learning.store.record import Record

OPEN, CLOSE = "⟦recalled", "⟦/recalled⟧"
#: A piece that does not fit is cut, unless fewer tokens than this would be left of it.
WORTH_CUTTING = 24

Count = Callable[[str], int]

_MARKED = re.compile(rf"{OPEN}.*?(?:{re.escape(CLOSE)}\n?|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Context:
    """``text`` of at most the budget, the ``hits`` that are in it (best first), its ``tokens``, and
    how many records were ``unsearched``, as they are still being indexed."""

    text: str
    hits: tuple[Hit, ...]
    tokens: int
    unsearched: int = 0

    @property
    def warning(self) -> str:
        """What this is not of, in words; "" where it is of everything."""
        if not self.unsearched:
            return ""
        return f"{self.unsearched:,} older records are still being indexed and were not searched"


def estimate_tokens(text: str) -> int:
    """About how many tokens a language model sees; rather more than fewer."""
    return len(re.findall(r"\w{1,4}|[^\w\s]|\n", text))


def build_context(hits: Sequence[Hit], budget: int, *, count: Count = estimate_tokens) -> Context:
    """The best hits that fit into ``budget`` tokens, oldest first, so that the newest word is last.

    Args:
        hits: best first.
        count: tokens of a text; give the language model's own tokenizer where there is one.
    """
    pieces: dict[int, str] = {}
    for number, hit in enumerate(hits):
        fits = _Fit(hits, pieces, number, budget, count)
        said = _said(hit.record)
        if not fits(said):
            said = _cut(said, fits)
            if count(said) < WORTH_CUTTING:
                continue
        pieces[number] = _piece(hit.record, said)
    text = _joined(hits, pieces)
    return Context(text, tuple(hits[number] for number in sorted(pieces)), count(text))


def without_recalled(text: str) -> str:
    """A text without what was recalled into it; an open mark takes all that follows."""
    return _MARKED.sub("", text)


@dataclass
class _Fit:
    """Whether a text of a record fits beside the pieces that were taken before."""

    hits: Sequence[Hit]
    pieces: dict[int, str]
    number: int
    budget: int
    count: Count

    def __call__(self, said: str) -> bool:
        piece = _piece(self.hits[self.number].record, said)
        together = {**self.pieces, self.number: piece}
        return self.count(_joined(self.hits, together)) <= self.budget


def _joined(hits: Sequence[Hit], pieces: dict[int, str]) -> str:
    def age(number: int) -> tuple[float, int]:
        record = hits[number].record
        return (record.event_time or record.record_time).timestamp(), record.sequence

    return "\n".join(pieces[number] for number in sorted(pieces, key=age))


def _piece(record: Record, said: str) -> str:
    when = (record.event_time or record.record_time).date().isoformat()
    facts = [f"{OPEN} {record.sequence}", when, *([_plain(record.source)] if record.source else [])]
    return f"{' · '.join(facts)}⟧\n{said}\n{CLOSE}"


def _said(record: Record) -> str:
    query, answer = _plain(record.query.strip()), _plain(record.answer.strip())
    return f"Q: {query}\nA: {answer}" if query and answer else query or answer


def _plain(text: str) -> str:
    """Without the brackets of the marks, so that no record can end its own piece."""
    return text.replace("⟦", "[").replace("⟧", "]")


def _cut(said: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning, at a word's end, that fits with an ellipsis; empty when none does."""
    ends = [match.end() for match in re.finditer(r"\S+", said)]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(f"{said[: ends[middle - 1]]} …"):
            low = middle
        else:
            high = middle - 1
    return f"{said[: ends[low - 1]]} …" if low else ""
