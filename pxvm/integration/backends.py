"""Language models by name and address, and what every back end offers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from pxvm.integration.errors import BackendError

LM_STUDIO = "http://localhost:1234/v1"
#: The seed's name for "whatever is loaded".
ANY_MODEL = "local-model"
AUTO, EMBEDDED = "auto", "embedded"
#: The embedded model: a name of ``pxvm models list``.
EMBEDDED_MODEL = "smollm2"
KEY = "PXVM_API_KEY"

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Address:
    """Where a kind of server listens unless it is told otherwise; the variable with its key."""

    url: str
    key: str = KEY


ADDRESSES: Mapping[str, Address] = {
    "lm-studio": Address(LM_STUDIO),
    "ollama": Address("http://localhost:11434/v1"),
    "llama.cpp": Address("http://localhost:8080/v1"),
    "vllm": Address("http://localhost:8000/v1"),
    "pxvm": Address("http://localhost:1235/v1"),
    "openai": Address("https://api.openai.com/v1", "OPENAI_API_KEY"),
}
NAMES = (AUTO, *ADDRESSES, EMBEDDED)
#: What an address may end in when it is copied from a page; the client appends it itself.
ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/models")


def completed(url: str) -> str:
    """An address as the client takes it: ``localhost:1234`` is ``http://localhost:1234/v1``.

    Raises BackendError for what is no address of a server.
    """
    url = url.strip()
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        raise BackendError(
            f"{url}: no address of a server; expected such as http://localhost:1234/v1"
        ) from None
    path = parts.path.rstrip("/")
    for end in ENDPOINTS:
        path = path.removesuffix(end)
    return urlunsplit(parts._replace(path=path or "/v1", fragment=""))


def checked_key(key: str) -> str:
    """A key without the line's end of a file. Raises BackendError where no header can hold it."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise BackendError("the key holds characters that no key can have")
    return key


def kind_of(url: str) -> str:
    """The name under which an address is known, else "server"."""
    there = _place(url)
    return next((name for name, known in ADDRESSES.items() if _place(known.url) == there), "server")


def _place(url: str) -> tuple[str, int | None, str]:
    parts = urlsplit(completed(url))
    host = str(parts.hostname)
    return "localhost" if is_loopback(host) else host, parts.port, parts.path


def is_loopback(host: str) -> bool:
    """Does an address lead to this machine alone?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


class Backend(Protocol):
    """A language model that answers conversations.

    Attributes:
        name: of the kind of back end, such as "lm-studio".
        model: that answers, as the back end calls it.
        context: tokens that question, evidence and answer may take together.
        passages: so much evidence helps the model; more confuses a small one.
    """

    name: str
    context: int
    passages: int

    @property
    def model(self) -> str: ...

    def stream(self, messages: Messages, **options: Any) -> Iterator[str]:
        """Pieces of the answer. Raises BackendError, ContextTooLongError; leaving it stops it."""

    def count(self, text: str) -> int:
        """Tokens of a text, by the model's own tokenizer where it is known."""

    def close(self) -> None:
        """Let go of connections and memory."""
