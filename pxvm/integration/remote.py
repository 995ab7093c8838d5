"""Any server that speaks OpenAI's protocol, through the official client."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlsplit

from pxvm.core import installation
from pxvm.integration.backends import ANY_MODEL, Messages, checked_key, is_loopback
from pxvm.integration.errors import BackendError, ContextTooLongError
from pxvm.integration.events import events
from pxvm.integration.pieces import Piece, read_choice

CONNECT, READ = 5.0, 120.0  # seconds: until a server takes the call, and between two pieces
PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before what was refused for now is asked once more
CONTEXT, PASSAGES = 4096, 8  # where nothing is known of the model
_TOO_LONG = re.compile(
    r"context.{0,40}(length|window|size|exceed|overflow|tokens)|exceed.{0,40}context"
    r"|(prompt|input|message).{0,30}too long|too many tokens|maximum context",
    re.IGNORECASE | re.DOTALL,
)
FILTERED = "content_filter"  # why an answer ended that was refused in the middle
_EMBEDS = re.compile(r"embed|minilm|bge-|rerank|whisper", re.IGNORECASE)
#: Where LM Studio tells which of its models is loaded: /models lists all that are on the disk.
LOADED = "/api/v0/models"


class Cut:
    """Ends an answer from another thread: its connection is shut down, which stops the server."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._response: Any = None
        self._done = False

    def hold(self, response: Any) -> None:
        """The answer's response, as it begins."""
        with self._turn:
            self._response = response
        if self._done:
            self()

    def __call__(self) -> None:
        """End it, now or as soon as it begins."""
        with self._turn:
            self._done = True
            if self._response is not None:
                stream = self._response.extensions.get("network_stream")
                line = stream and stream.get_extra_info("socket")
                if line:
                    with suppress(OSError):
                        line.shutdown(socket.SHUT_RDWR)


class Remote:
    """A server as a back end.

    Args:
        name: how the kind of server is called.
        url: that ``/chat/completions`` is appended to.
        model: None, or "local-model", takes the one that is loaded, or the first of ``/models``.
        key: that the server asks for, if any.
        headers: sent along with everything.
    """

    context, passages = CONTEXT, PASSAGES

    def __init__(
        self, name: str, url: str, model: str | None = None, key: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.url = name, url
        self._wanted = None if model in (None, "", ANY_MODEL) else model
        self._key, self._headers = checked_key(key), dict(headers or {})

    @cached_property
    def _openai(self) -> Any:
        return installation.library("openai", "bridge")

    @cached_property
    def _client(self) -> Any:
        timeout = self._openai.Timeout(READ, connect=CONNECT)
        local = is_loopback(urlsplit(self.url).hostname or "")
        with self._faults():
            return self._openai.OpenAI(
                base_url=self.url,
                api_key=self._key or "none",
                max_retries=0,
                timeout=timeout,
                organization="",
                project="",
                default_headers=self._headers,
                # No proxy stands between this machine and itself, and what is said to one server
                # goes to no other because that one says so.
                http_client=self._openai.DefaultHttpxClient(
                    trust_env=not local, follow_redirects=False, timeout=timeout
                ),
            )

    @cached_property
    def model(self) -> str:
        """The model that answers. Raises BackendError when none is loaded."""
        if self._wanted is not None:
            return self._wanted
        with self._faults():
            listed = self._tried(self._client.models.list).data
            names = [str(model.id) for model in listed or []]
        loaded = self._loaded() if self.name == "lm-studio" else []
        found = (name for name in [*loaded, *names] if not _EMBEDS.search(name))
        chosen = next(found, None)
        if chosen is None:
            raise BackendError(
                f"{self._who}: no language model is loaded there; load one, or name it"
            )
        return chosen

    def _loaded(self) -> list[str]:
        """The models that LM Studio has in memory; none where it does not tell."""
        try:
            parts = urlsplit(self.url)
            found = self._client.get(f"{parts.scheme}://{parts.netloc}{LOADED}", cast_to=object)
            return [row["id"] for row in found["data"] if row.get("state") == "loaded"]
        except (self._openai.OpenAIError, ValueError, TypeError, KeyError, AttributeError):
            return []

    def stream(self, messages: Messages, **options: Any) -> Iterator[str]:
        """Pieces of the answer; leaving it closes the connection, which stops the server."""
        said = False
        if self.name == "openai" and "max_tokens" in options:  # which has another name there
            options["max_completion_tokens"] = options.pop("max_tokens")
        for piece, finish in self.pieces("chat", list(messages), extra=options):
            said = said or bool(piece.text.strip())
            if piece.text:
                yield piece.text
            if finish == FILTERED:
                raise BackendError(f"{self._who}: a filter there has cut the answer")
        if not said:
            raise BackendError(f"{self._who}: {self.model} gave an empty answer")

    def pieces(
        self, kind: str, given: Any, *, extra: Mapping[str, Any], cut: Cut | None = None
    ) -> Iterator[tuple[Piece, str | None]]:
        """(a piece, why the answer ended) one by one, of a "chat" or a "completion".

        Args:
            given: messages, or a prompt.
            extra: further fields of the request, as the protocol calls them.
            cut: lets another thread end it, while this one waits for a silent server.

        Raises BackendError, also for an answer that ends before its end was said.
        """
        began = ended = False
        chat = kind == "chat"
        asked = self._client.chat.completions if chat else self._client.completions
        request = {"model": self.model, "messages" if chat else "prompt": given, "stream": True}
        # Some servers answer what they cannot do with a stream of nothing, and tell why only who
        # does not ask for one.
        for instead in ({}, {"stream": False}):
            ask = partial(asked.create, **request, extra_body={**extra, **instead})
            with self._faults():
                answer = self._tried(ask)
                if cut is not None:
                    cut.hold(answer.response)
                silent = "event-stream" in answer.response.headers.get("content-type", "")
                try:
                    for data in self._data(answer.response):
                        silent = False
                        if data.startswith(b"[DONE]"):
                            ended = True  # some servers say nothing else at the end
                            break
                        if ended and not data.rstrip().endswith(b"}"):
                            break  # cut after the answer's end
                        for choice in self._choices(data):
                            piece, finish = read_choice(choice)
                            began, ended = True, ended or finish is not None
                            yield piece, finish
                finally:
                    answer.close()
            if not silent:
                break
        if not began or not ended:
            raise BackendError(
                f"{self._who}: the answer was cut in the middle"
                if began
                else f"{self._who}: expected an answer; the server sent none that can be read"
            )

    def _data(self, response: Any) -> Iterator[bytes]:
        """What the events of an answer carry; all of one that came whole, though not asked for."""
        if response.headers.get("content-type", "").startswith("application/json"):
            yield response.read()
        else:
            yield from events(response.iter_bytes())

    def _choices(self, data: bytes) -> list[Any]:
        """The choices of a chunk. Raises what the server says went wrong, ValueError."""
        chunk = json.loads(data)
        if not isinstance(chunk, dict):
            raise ValueError(f"a chunk is {type(chunk).__name__}")
        if error := chunk.get("error"):
            raise self._complaint(_message(error) or "the server met an error it does not describe")
        choices = chunk.get("choices")
        if choices is not None and not isinstance(choices, list):
            raise ValueError(f"choices are {type(choices).__name__}")
        return [
            each for each in choices or () if not (isinstance(each, dict) and each.get("index"))
        ]

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

    def _tried(self, ask: Callable[[], Any]) -> Any:
        """What a request gives; one that was refused for now, or dropped, is sent once more."""
        openai = self._openai
        try:
            return ask()
        except (openai.RateLimitError, openai.InternalServerError) as error:
            wait = error.response.headers.get("retry-after", "")
            pause = float(wait) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", wait) else PAUSE
            time.sleep(min(pause, LONGEST_PAUSE))
        except openai.APITimeoutError:
            raise
        except openai.APIConnectionError as error:
            if type(error.__cause__).__name__ == "ConnectError":  # nobody is there
                raise
        return ask()

    def _complaint(self, said: str) -> BackendError:
        """What a server says is wrong, as an error: that too much was sent may be mended."""
        kind = ContextTooLongError if _TOO_LONG.search(said) else BackendError
        return kind(f"{self._who}: {said}")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What goes wrong on the way to a server and back, as one sentence each."""
        openai, who = self._openai, self._who
        try:
            yield
        except BackendError:
            raise
        except openai.APITimeoutError:
            raise self._late() from None
        except (openai.AuthenticationError, openai.PermissionDeniedError):
            raise BackendError(
                f"{who}: the key was refused; set the environment variable that holds it"
            ) from None
        except openai.NotFoundError as error:
            self.__dict__.pop("model", None)  # another one may be loaded by now
            raise BackendError(f"{who}: not found there: {_said(error)}") from None
        except openai.RateLimitError:
            raise BackendError(f"{who}: too many requests; try again later") from None
        except openai.APIConnectionError as error:
            raise BackendError(f"{who}: no server answers there{_cause(error)}") from None
        except openai.APIStatusError as error:
            said = _said(error)
            if _TOO_LONG.search(said):
                raise self._complaint(said) from None
            raise BackendError(f"{who}: error {error.status_code}: {said}") from None
        except UnicodeEncodeError:
            raise BackendError(f"{who}: what was to be sent is no text in UTF-8") from None
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            raise BackendError(f"{who}: an answer that cannot be read: no JSON") from None
        except openai.APIError as error:
            raise self._complaint(_said(error)) from None
        except (AttributeError, TypeError, ValueError) as error:  # JSON of another form
            raise BackendError(f"{who}: an answer of an unknown form ({error!s:.80})") from None
        except Exception as error:
            if type(error).__module__.split(".")[0] not in (
                "httpx",
                "httpx2",
                "httpcore",
                "httpcore2",
            ):
                raise
            if "Timeout" in type(error).__name__:
                raise self._late() from None
            raise BackendError(f"{who}: the answer was cut in the middle{_cause(error)}") from None

    def _late(self) -> BackendError:
        return BackendError(f"{self._who}: no answer within {READ:.0f} seconds")


def _said(error: Any) -> str:
    """What the server says went wrong, on one line."""
    return _message(getattr(error, "body", None)) or " ".join(str(error).split())[:300]


def _message(body: Any) -> str:
    """The words of an error, which servers send as a text, or in an object."""
    while isinstance(body, dict):
        body = body.get("message") or body.get("error") or body.get("detail")
    return " ".join(str(body or "").split())[:300]


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return f" ({cause!s:.80})" if str(cause) else ""
