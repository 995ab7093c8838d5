"""How answers and errors are written for a client: OpenAI's objects."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pxvm.integration.errors import BackendError
from pxvm.integration.pieces import Piece
from pxvm.integration.server.wanted import RefusedError, Wanted


@dataclass
class Shape:
    """How answers are written for a client: "chat" or "text"."""

    kind: str
    wanted: Wanted
    model: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    @cached_property
    def name(self) -> str:
        """The answer's id."""
        return f"{'chatcmpl' if self.kind == 'chat' else 'cmpl'}-{uuid.uuid4().hex}"

    def head(self) -> dict[str, Any]:
        """What every object begins with."""
        what = "chat.completion" if self.kind == "chat" else "text_completion"
        chunk = ".chunk" if self.kind == "chat" and self.wanted.stream else ""
        return {"id": self.name, "object": what + chunk, "created": self.created,
                "model": self.model, "system_fingerprint": "pxvm"}  # fmt: skip

    def opening(self, choice: int) -> dict[str, Any] | None:
        """What comes before the first piece of a chat."""
        if self.kind != "chat":
            return None
        return {"index": choice, "delta": {"role": "assistant", "content": ""},
                "finish_reason": None}  # fmt: skip

    def piece(self, choice: int, piece: Piece | None, finish: str | None = None) -> dict[str, Any]:
        """A piece of an answer, or its end."""
        told = {"index": choice, "logprobs": self._scores(piece), "finish_reason": finish}
        if self.kind != "chat":
            return {**told, "text": piece.text if piece else ""}
        delta: dict[str, Any] = {}
        if piece is not None and (piece.text or not (piece.calls or piece.thought)):
            delta["content"] = piece.text
        if piece is not None and piece.thought:
            delta["reasoning_content"] = piece.thought
        if piece is not None and piece.calls:
            delta["tool_calls"] = list(piece.calls)
        return {**told, "delta": delta}

    def whole(self, choice: int, pieces: Sequence[Piece], finish: str) -> dict[str, Any]:
        """An answer."""
        text, calls = "".join(piece.text for piece in pieces), joined(pieces)
        all_scores = Piece(text, scores=tuple(s for piece in pieces for s in piece.scores))
        told = {"index": choice, "logprobs": self._scores(all_scores), "finish_reason": finish}
        if self.kind != "chat":
            return {**told, "text": text}
        message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
        if thought := "".join(piece.thought for piece in pieces):
            message["reasoning_content"] = thought
        if calls:
            message["tool_calls"] = calls
        else:
            message["content"] = text
        return {**told, "message": message}

    def _scores(self, piece: Piece | None) -> dict[str, Any] | None:
        """The scores of a piece, where they are wanted."""
        if self.wanted.scores is None or piece is None:
            return None
        if self.kind == "chat":
            return {"content": list(piece.scores), "refusal": None}
        return {
            "tokens": [score["token"] for score in piece.scores],
            "token_logprobs": [score["logprob"] for score in piece.scores],
            "top_logprobs": [
                {each["token"]: each["logprob"] for each in score["top_logprobs"]}
                for score in piece.scores
            ],
            "text_offset": None,
        }


def joined(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Calls whose deltas came in several pieces, as one object each."""
    calls: dict[int, dict[str, Any]] = {}
    for delta in (call for piece in pieces for call in piece.calls):
        call = calls.setdefault(
            delta.get("index", 0), {"id": "", "type": "function", "function": {}}
        )
        call["id"] = delta.get("id") or call["id"]
        function = delta.get("function") or {}
        if name := function.get("name"):  # which some servers repeat in each piece
            call["function"]["name"] = name
        said = call["function"].get("arguments", "")
        call["function"]["arguments"] = said + function.get("arguments", "")
    return [calls[index] for index in sorted(calls)]


def status_of(error: Exception) -> int:
    """The status of HTTP for what a request ended in."""
    if isinstance(error, RefusedError):
        return error.status
    return 502 if isinstance(error, BackendError) else 500


def error_body(error: Exception) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    refused = error if isinstance(error, RefusedError) else None
    return {
        "error": {
            "message": str(error),
            "type": "invalid_request_error" if status_of(error) < 500 else "server_error",
            "param": refused.field if refused else None,
            "code": refused.code if refused else None,
        }
    }
