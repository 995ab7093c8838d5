"""Who answers: the model in this process, many conversations at once, or a server behind this one.

Both give an ``Answering``: pieces by iteration, in a thread of the caller's, and afterwards why it
ended and how many tokens it took. Leaving the iteration stops the work.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pxvm.integration.embedded import passages_for
from pxvm.integration.errors import BackendError, ContextTooLongError
from pxvm.integration.remote import Remote
from pxvm.integration.server.wanted import RefusedError, Wanted
from pxvm.models.batching import Batcher
from pxvm.models.constrained import GrammarError
from pxvm.models.generation import ContextError
from pxvm.models.model import ModelError
from pxvm.models.text.template import MessageError


class Answering(Protocol):
    """One answer that is made.

    Attributes:
        finish: "stop" or "length", once it has ended.
        prompt, drawn: tokens taken in, and drawn so far.
    """

    @property
    def finish(self) -> str | None: ...

    @property
    def prompt(self) -> int: ...

    @property
    def drawn(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


class Source(Protocol):
    """Where answers come from.

    Attributes:
        name: of the kind of back end, as records carry it.
        most: answers that are made at once.
        context, passages: as of a ``Backend``.
    """

    name: str
    most: int
    context: int
    passages: int

    @property
    def model(self) -> str: ...

    def chat(self, wanted: Wanted, seed: int) -> Answering: ...

    def complete(self, wanted: Wanted, prompt: str, seed: int) -> Answering: ...

    def count(self, text: str) -> int: ...

    def gauges(self) -> dict[str, float]: ...

    def close(self) -> None: ...


class Local:
    """A ``.pxi`` in this process.

    Args:
        slots: answers made at once.
    """

    name = "pxvm"

    def __init__(self, path: Path, device: str, threads: int | None, slots: int,
                 context: int | None) -> None:  # fmt: skip
        self.batcher = Batcher.open(path, device, threads, context, slots)
        self.model, self.most = path.stem, slots
        self.context = self.batcher.prefill.context
        self.passages = passages_for(self.batcher.prefill.fields.network)

    def chat(self, wanted: Wanted, seed: int) -> Answering:
        """An answer to a conversation."""
        return _LocalAnswer(self, wanted, None, seed)

    def complete(self, wanted: Wanted, prompt: str, seed: int) -> Answering:
        """How a text goes on."""
        return _LocalAnswer(self, wanted, prompt, seed)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.batcher.model.tokenizer.encode(text, special=False))

    def gauges(self) -> dict[str, float]:
        """What the batcher is doing."""
        return {
            "pxvm_answers_under_way": self.batcher.busy,
            "pxvm_batch_steps_total": self.batcher.steps,
            "pxvm_batch_rows_total": self.batcher.rows,
        }

    def close(self) -> None:
        """Stop what is under way, and let go of the model."""
        self.batcher.close()


class _LocalAnswer:
    def __init__(self, source: Local, wanted: Wanted, prompt: str | None, seed: int) -> None:
        self.session = source.batcher.session()
        self.wanted, self.text, self.seed = wanted, prompt, seed

    @property
    def finish(self) -> str | None:
        return self.session.finish

    @property
    def prompt(self) -> int:
        return int(self.session.generator.prompt)  # type: ignore[attr-defined]

    @property
    def drawn(self) -> int:
        return int(self.session.generator.count)  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[str]:
        options: dict[str, Any] = dict(self.wanted.options)
        options.setdefault("max_tokens", None)
        options["seed"] = (options.get("seed", 0) + self.seed) % 2**64
        try:
            if self.text is None:
                yield from self.session.chat(self.wanted.messages, stream=True, **options)
            else:
                yield from self.session.generate(self.text, stream=True, **options)
        except ContextError as error:
            raise RefusedError(str(error), code="context_length_exceeded") from None
        except (MessageError, GrammarError, ModelError) as error:
            raise RefusedError(str(error)) from None


class Upstream:
    """Another server behind this one.

    Args:
        remote: as ``connect`` gives it.
        most: answers asked for at once.
        hop: sent along, so that this server knows itself again.
    """

    def __init__(self, remote: Remote, most: int, hop: str) -> None:
        self.remote, self.most = remote, most
        self.name, self.context, self.passages = remote.name, remote.context, remote.passages
        self.hop = {"X-PXVM-Hop": hop}

    @property
    def model(self) -> str:
        """The model that answers there."""
        return self.remote.model

    def chat(self, wanted: Wanted, seed: int) -> Answering:
        """An answer to a conversation."""
        body = {**wanted.body, "messages": list(wanted.messages)}
        return _UpstreamAnswer(self, "chat", body, seed)

    def complete(self, wanted: Wanted, prompt: str, seed: int) -> Answering:
        """How a text goes on."""
        return _UpstreamAnswer(self, "completion", {**wanted.body, "prompt": prompt}, seed)

    def count(self, text: str) -> int:
        """Tokens of a text, estimated."""
        return self.remote.count(text)

    def gauges(self) -> dict[str, float]:
        """Nothing of what happens there is known."""
        return {}

    def close(self) -> None:
        """Close the connections."""
        self.remote.close()


class _UpstreamAnswer:
    def __init__(self, source: Upstream, kind: str, body: Mapping[str, Any], seed: int) -> None:
        self.source, self.kind = source, kind
        dropped = ("stream", "stream_options", "n", "network", "model", "messages", "prompt")
        self.body = {k: v for k, v in body.items() if k not in dropped and v is not None}
        if seed and "seed" in self.body:
            self.body["seed"] += seed
        self.given = body.get("messages", body.get("prompt"))
        self.finish: str | None = None
        self.prompt = self.drawn = 0

    def __iter__(self) -> Iterator[str]:
        remote = self.source.remote
        self.prompt = remote.count(str(self.given))
        try:
            for piece, finish in remote.pieces(
                self.kind, self.given, extra=self.body, headers=self.source.hop
            ):
                self.finish = finish or self.finish
                if piece:
                    self.drawn += 1
                    yield piece
        except ContextTooLongError as error:
            raise RefusedError(str(error), code="context_length_exceeded") from None
        except BackendError as error:
            raise RefusedError(str(error), 502, "upstream_error") from None


class Turnstile:
    """Lets so many in, and refuses the rest.

    Args:
        most: under way together, those that wait for a slot among them.
    """

    def __init__(self, most: int) -> None:
        self.most, self._inside, self._turn = most, 0, threading.Lock()

    def enter(self, count: int) -> None:
        """Raises RefusedError, status 429, when there is no room for so many."""
        with self._turn:
            if self._inside + count > self.most:
                raise RefusedError(
                    f"{self._inside} answers are under way or wait, of at most {self.most}: try"
                    " again later",
                    429,
                    "rate_limit_exceeded",
                )
            self._inside += count

    def leave(self, count: int) -> None:
        """Make room again."""
        with self._turn:
            self._inside -= count
