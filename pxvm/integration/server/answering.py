"""Who answers: the model in this process, many conversations at once, or a server behind this one.

Both give an ``Answering``: pieces by iteration, in a thread of the caller's, and afterwards why it
ended and how many tokens it took. Leaving the iteration stops the work; so does ``leave``.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pxvm.integration.embedded import passages_for
from pxvm.integration.errors import BackendError, ContextTooLongError
from pxvm.integration.pieces import NOTHING, Piece
from pxvm.integration.remote import Cut, Remote
from pxvm.integration.server.wanted import RefusedError, Wanted
from pxvm.models.batching import Batcher
from pxvm.models.calls import Calls, for_template, grammar, knows_tools
from pxvm.models.constrained import GrammarError
from pxvm.models.generation import ContextError
from pxvm.models.model import ModelError
from pxvm.models.slots import Scores
from pxvm.models.text.template import MessageError


class Answering(Protocol):
    """One answer that is made.

    Attributes:
        finish: "stop", "length" or "tool_calls", once it has ended.
        model: that makes it, from its first piece on.
        prompt, drawn: tokens taken in, and drawn so far.
    """

    @property
    def model(self) -> str: ...

    @property
    def finish(self) -> str | None: ...

    @property
    def prompt(self) -> int: ...

    @property
    def drawn(self) -> int: ...

    def __iter__(self) -> Iterator[Piece]: ...

    def leave(self) -> None:
        """Stop the work, from another thread."""


class Source(Protocol):
    """Where answers come from.

    Attributes:
        name: of the kind of back end, as records carry it.
        most: answers that are made at once.
        context, passages: as of a ``Backend``.
        forwards: whether a request goes on as it is, for another server to judge.
    """

    name: str
    most: int
    forwards: bool
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

    name, forwards = "pxvm", False

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
        self.session, self.model = source.batcher.session(), source.model
        self.wanted, self.text, self.seed = wanted, prompt, seed
        self.scores = None if wanted.scores is None else Scores(wanted.scores)
        self.session.generator.scores = self.scores  # type: ignore[attr-defined]
        self.calls = Calls()

    @property
    def finish(self) -> str | None:
        return "tool_calls" if self.calls.count else self.session.finish

    @property
    def prompt(self) -> int:
        return int(self.session.generator.prompt)  # type: ignore[attr-defined]

    @property
    def drawn(self) -> int:
        return int(self.session.generator.count)  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[Piece]:
        options: dict[str, Any] = dict(self.wanted.options)
        options.setdefault("max_tokens", None)
        options["seed"] = (options.get("seed", 0) + self.seed) % 2**64
        try:
            if self.text is not None:
                made = self.session.generate(self.text, stream=True, **options)
            else:
                messages = for_template(self.wanted.messages)
                made = self.session.chat(messages, stream=True, **options, **self._told())
            for text in made:
                yield self._piece(*(self.calls.put(text) if self.wanted.tools else (text, ())))
            rest = self._piece(*self.calls.finish())
            if rest != NOTHING:
                yield rest
        except ContextError as error:
            raise RefusedError(str(error), code="context_length_exceeded") from None
        except (MessageError, GrammarError, ModelError) as error:
            raise RefusedError(str(error)) from None

    def leave(self) -> None:
        """Give up the place in the line, or the slot."""
        self.session.generator.leave()  # type: ignore[attr-defined]

    def _told(self) -> dict[str, Any]:
        """What the model is told of functions, and the form of an answer that must call one."""
        wanted = self.wanted
        if not wanted.tools:
            return {}
        if not knows_tools(self.session.tokenizer.settings.template):
            raise RefusedError("the model's chat template knows no tools", field="tools")
        must = {"grammar": grammar(wanted.must_call)} if wanted.must_call else {}
        return {"tools": wanted.tools, **must}

    def _piece(self, text: str, calls: Sequence[tuple[str, str]]) -> Piece:
        first = self.calls.count - len(calls)
        made = tuple(
            {
                "index": first + number,
                "id": f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for number, (name, arguments) in enumerate(calls)
        )
        return Piece(text, calls=made, scores=self._scored())

    def _scored(self) -> tuple[dict[str, Any], ...]:
        """The scores of the tokens drawn since the last piece, but for the one that ends it all."""
        if self.scores is None:
            return ()
        new, self.scores.found = self.scores.found, []
        tokenizer = self.session.tokenizer
        stops = tokenizer.settings.stops

        def named(token: int, logprob: float) -> dict[str, Any]:
            text = tokenizer.inner.decode([token], skip_special_tokens=False)
            data = None if "\ufffd" in text else list(text.encode())  # a part of a character
            return {"token": text, "logprob": logprob, "bytes": data}

        return tuple(
            {**named(s.token, s.logprob), "top_logprobs": [named(*each) for each in s.top]}
            for s in new
            if s.token not in stops
        )


class Upstream:
    """Another server behind this one.

    Args:
        remote: as ``connect`` gives it.
        most: answers asked for at once.
    """

    forwards = True

    def __init__(self, remote: Remote, most: int) -> None:
        self.remote, self.most = remote, most
        self.name, self.context, self.passages = remote.name, remote.context, remote.passages

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
        if seed and isinstance(self.body.get("seed"), int):
            self.body["seed"] += seed
        self.given = body.get("messages", body.get("prompt"))
        self.finish: str | None = None
        self.model = ""
        self.prompt = self.drawn = 0
        self.leave = Cut()

    def __iter__(self) -> Iterator[Piece]:
        remote = self.source.remote
        self.prompt = remote.count(str(self.given))
        try:
            self.model = remote.model
            for piece, finish in remote.pieces(
                self.kind, self.given, extra=self.body, cut=self.leave
            ):
                self.finish = finish or self.finish
                if piece != NOTHING:
                    self.drawn += 1
                    yield piece
        except ContextTooLongError as error:
            raise RefusedError(str(error), code="context_length_exceeded") from None
        except BackendError as error:
            raise RefusedError(str(error), 502, "upstream_error") from None


class Nobody:
    """No model is here: every question is refused."""

    name = model = ""
    most, context, passages, forwards = 1, 0, 0, False

    def chat(self, wanted: Wanted, seed: int) -> Answering:
        """Refuses."""
        raise RefusedError("no model answers here: start with --backend or --model", 404)

    def complete(self, wanted: Wanted, prompt: str, seed: int) -> Answering:
        """Refuses."""
        return self.chat(wanted, seed)

    def count(self, text: str) -> int:
        """Tokens of a text, of which there are none."""
        return 0

    def gauges(self) -> dict[str, float]:
        """Nothing happens."""
        return {}

    def close(self) -> None:
        """Nothing is held."""


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
