"""Any server that speaks OpenAI's protocol, through the official client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from pxvm.core import installation
from pxvm.integration.backends import ANY_MODEL, Messages
from pxvm.integration.errors import BackendError, ContextTooLongError
from pxvm.integration.pieces import Piece

CONNECT, READ = 5.0, 120.0  # seconds: until a server takes the call, and between two pieces
RETRIES = 1  # of what was refused for now (429, 5xx) or not connected; never of a begun answer
CONTEXT, PASSAGES = 4096, 8  # where nothing is known of the model
_TOO_LONG = re.compile(
    r"context.{0,40}(length|window|size|exceed|overflow|tokens)|exceed.{0,40}context"
    r"|(prompt|input|message).{0,30}too long|too many tokens|maximum context",
    re.IGNORECASE | re.DOTALL,
)
_EMBEDS = re.compile(r"embed|minilm|bge-|rerank|whisper", re.IGNORECASE)


class Remote:
    """A server as a back end.

    Args:
        name: how the kind of server is called.
        url: that ``/chat/completions`` is appended to.
        model: None, or "local-model", takes the first that ``/models`` lists.
        key: that the server asks for, if any.
    """

    context, passages = CONTEXT, PASSAGES

    def __init__(self, name: str, url: str, model: str | None = None, key: str = "") -> None:
        self.name, self.url = name, url
        self._wanted = None if model in (None, "", ANY_MODEL) else model
        self._key = key

    @cached_property
    def _openai(self) -> Any:
        return installation.library("openai", "bridge")

    @cached_property
    def _client(self) -> Any:
        timeout = self._openai.Timeout(READ, connect=CONNECT)
        with self._faults():
            return self._openai.OpenAI(
                base_url=self.url,
                api_key=self._key or "none",
                max_retries=RETRIES,
                timeout=timeout,
                organization="",
                project="",
            )

    @cached_property
    def model(self) -> str:
        """The model that answers. Raises BackendError when none is loaded."""
        if self._wanted is not None:
            return self._wanted
        with self._faults():
            listed = self._client.models.list().data
            names = [str(model.id) for model in listed or []]
        chosen = next((name for name in names if not _EMBEDS.search(name)), None)
        if chosen is None:
            raise BackendError(
                f"{self._who}: no language model is loaded there; load one, or name it"
            )
        return chosen

    def stream(self, messages: Messages, **options: Any) -> Iterator[str]:
        """Pieces of the answer; leaving it closes the connection, which stops the server."""
        said = False
        for piece, _ in self.pieces("chat", list(messages), extra=options):
            said = said or bool(piece.text.strip())
            if piece.text:
                yield piece.text
        if not said:
            raise BackendError(f"{self._who}: {self.model} gave an empty answer")

    def pieces(
        self,
        kind: str,
        given: Any,
        *,
        extra: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[Piece, str | None]]:
        """(a piece, why the answer ended) one by one, of a "chat" or a "completion".

        Args:
            given: messages, or a prompt.
            extra: further fields of the request, as the protocol calls them.

        Raises BackendError, also for an answer that ends without saying why.
        """
        model, began, finish = self.model, False, None
        chat = kind == "chat"
        with self._faults():
            asked = self._client.chat.completions if chat else self._client.completions
            answer = asked.create(
                model=model,
                stream=True,
                extra_body=dict(extra),
                extra_headers=dict(headers or {}),
                **{"messages" if chat else "prompt": given},
            )
            if not hasattr(answer, "__next__"):
                raise BackendError(f"{self._who}: expected a stream of pieces; found none")
            try:
                for chunk in answer:
                    for choice in chunk.choices or ():
                        began, finish = True, choice.finish_reason or finish
                        yield _piece(choice, chat), choice.finish_reason
            finally:
                answer.close()
        if finish is None:
            raise BackendError(
                f"{self._who}: the answer was cut in the middle"
                if began
                else f"{self._who}: expected an answer; the server sent none that can be read"
            )

    def count(self, text: str) -> int:
        """Tokens of a text, estimated; rather more than fewer."""
        from pxvm.learning.search.context import estimate_tokens

        return estimate_tokens(text)

    def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            self._client.close()

    @property
    def _who(self) -> str:
        return f"{self.name} at {self.url}"

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What goes wrong on the way to a server and back, as one sentence each."""
        openai, who = self._openai, self._who
        try:
            yield
        except openai.APITimeoutError:
            raise BackendError(f"{who}: no answer within {READ:.0f} seconds") from None
        except (openai.AuthenticationError, openai.PermissionDeniedError):
            raise BackendError(
                f"{who}: the key was refused; set the environment variable that holds it"
            ) from None
        except openai.NotFoundError as error:
            raise BackendError(f"{who}: not found there: {_said(error)}") from None
        except openai.RateLimitError:
            raise BackendError(f"{who}: too many requests; try again later") from None
        except openai.APIConnectionError as error:
            raise BackendError(f"{who}: no server answers there{_cause(error)}") from None
        except openai.APIStatusError as error:
            if _TOO_LONG.search(_said(error)):
                raise ContextTooLongError(f"{who}: {_said(error)}") from None
            raise BackendError(f"{who}: error {error.status_code}: {_said(error)}") from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise BackendError(f"{who}: an answer that cannot be read: no JSON") from None
        except openai.APIError as error:  # also what a stream says instead of its next piece
            if _TOO_LONG.search(_said(error)):
                raise ContextTooLongError(f"{who}: {_said(error)}") from None
            raise BackendError(f"{who}: {_said(error)}") from None
        except (AttributeError, TypeError) as error:  # JSON of another form than the protocol's
            raise BackendError(f"{who}: an answer of an unknown form ({error!s:.80})") from None
        except Exception as error:
            if type(error).__module__.split(".")[0] not in (
                "httpx",
                "httpx2",
                "httpcore",
                "httpcore2",
            ):
                raise
            raise BackendError(f"{who}: the answer was cut in the middle{_cause(error)}") from None


def _piece(choice: Any, chat: bool) -> Piece:
    """A choice of a chunk."""
    if not chat:
        return Piece(choice.text or "")
    calls = tuple(call.model_dump(exclude_none=True) for call in choice.delta.tool_calls or ())
    scores = choice.logprobs.content if choice.logprobs is not None else None
    return Piece(choice.delta.content or "", calls, tuple(s.model_dump() for s in scores or ()))


def _said(error: Any) -> str:
    """What the server says went wrong, on one line."""
    body = getattr(error, "body", None)
    text = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(text or getattr(error, "message", error)).split())[:300]


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return f" ({cause!s:.80})" if str(cause) else ""
