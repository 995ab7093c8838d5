"""How answers and errors are written for a client: OpenAI's objects."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

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

    def piece(self, choice: int, text: str | None, finish: str | None = None) -> dict[str, Any]:
        """A piece of an answer, or its end."""
        if self.kind == "chat":
            delta = {} if text is None else {"content": text}
            return {"index": choice, "delta": delta, "finish_reason": finish}
        return {"index": choice, "text": text or "", "logprobs": None, "finish_reason": finish}

    def whole(self, choice: int, text: str, finish: str) -> dict[str, Any]:
        """An answer."""
        if self.kind == "chat":
            message = {"role": "assistant", "content": text, "refusal": None}
            return {"index": choice, "message": message, "logprobs": None, "finish_reason": finish}
        return {"index": choice, "text": text, "logprobs": None, "finish_reason": finish}


def error_body(error: Exception) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    refused = error if isinstance(error, RefusedError) else RefusedError(str(error), 500)
    kind = "invalid_request_error" if refused.status < 500 else "server_error"
    return {
        "error": {
            "message": str(error),
            "type": kind,
            "param": refused.field,
            "code": refused.code,
        }
    }
