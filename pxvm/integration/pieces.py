"""What an answer is made of while it is under way, and how servers write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Call = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """A piece of an answer.

    Attributes:
        thought: what a model says to itself before it answers; no part of the answer.
        calls: of functions, as the protocol's deltas: each with index, id, type and function.
        scores: of tokens, as the protocol's logprobs: token, logprob, bytes, top_logprobs.
    """

    text: str = ""
    thought: str = ""
    calls: tuple[Call, ...] = ()
    scores: tuple[dict[str, Any], ...] = ()


NOTHING = Piece()


def read_choice(choice: Any) -> tuple[Piece, str | None]:
    """(a piece, why the answer ended or None) from a choice of a chunk, or of a whole answer.

    Raises ValueError for one that is of another form than the protocol's.
    """
    if not isinstance(choice, dict):
        raise ValueError(f"a choice is {type(choice).__name__}")
    said = choice.get("delta") or choice.get("message") or {}
    finish = choice.get("finish_reason")
    if not isinstance(said, dict) or not (finish or {"delta", "message", "text"} & choice.keys()):
        raise ValueError("a choice has no text")
    scores = choice.get("logprobs")
    found = scores.get("content") if isinstance(scores, dict) else None
    piece = Piece(
        _text(choice.get("text")) + _text(said.get("content")),
        _text(said.get("reasoning_content") or said.get("reasoning")),
        tuple(_call(n, call) for n, call in enumerate(_list(said.get("tool_calls")))),
        tuple(each for each in _list(found) if isinstance(each, dict)),
    )
    return piece, finish if isinstance(finish, str) and finish else None


def _text(content: Any) -> str:
    """A text, or the texts of a list of parts; without halves of characters."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(part for part in parts if isinstance(part, str))
    if content is not None and not isinstance(content, str):
        raise ValueError(f"a text is {type(content).__name__}")
    return whole_characters(content or "")


def whole_characters(text: str) -> str:
    """A text with a mark for each half of a character that JSON's ``\\ud800`` left in it."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def whole_values(value: Any) -> Any:
    """A value of JSON whose texts have whole characters: halves are what careless clients cut."""
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, list):
        return [whole_values(each) for each in value]
    if isinstance(value, dict):
        return {whole_characters(name): whole_values(each) for name, each in value.items()}
    return value


def _list(value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise ValueError(f"a list is {type(value).__name__}")
    return value or []


def _call(number: int, call: Any) -> Call:
    """A delta of a call with the fields that clients count on; arguments may come as an object."""
    if not isinstance(call, Mapping):
        raise ValueError(f"a call is {type(call).__name__}")
    function, index = call.get("function"), call.get("index")
    found: Call = {"index": index if isinstance(index, int) else number, "function": {}}
    found |= {name: call[name] for name in ("id", "type") if isinstance(call.get(name), str)}
    for name, value in function.items() if isinstance(function, Mapping) else ():
        if value is not None:
            found["function"][name] = value if isinstance(value, str) else json.dumps(value)
    return found
