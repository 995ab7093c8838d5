"""What an answer is made of while it is under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Piece:
    """A piece of an answer.

    Attributes:
        calls: of functions, as the protocol's deltas: each with index, id, type and function.
        scores: of tokens, as the protocol's logprobs: token, logprob, bytes, top_logprobs.
    """

    text: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    scores: tuple[dict[str, Any], ...] = ()


NOTHING = Piece()
