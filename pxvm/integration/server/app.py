"""The application: OpenAI's endpoints over a source of answers and the memories."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pxvm.core.errors import PxvmError
from pxvm.integration.server import pages, wanted
from pxvm.integration.server.answering import Answering, Source, Turnstile
from pxvm.integration.server.guard import Guard
from pxvm.integration.server.metrics import Metrics
from pxvm.integration.server.remembering import HEADER, Memories, Recalled
from pxvm.integration.server.wanted import RefusedError, Wanted
from pxvm.learning.search.embedding import NAME as EMBEDDER
from pxvm.learning.search.embedding import Embedder

HOP = "x-pxvm-hop"
RETRY_AFTER = 2  # seconds that a refused client is told to wait


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Attributes:
        queue: answers that wait beside those under way.
        body: bytes of a request.
        seconds: until an answer is ended.
    """

    queue: int = 64
    body: int = 8 << 20
    seconds: float = 600.0


class Service:
    """What the endpoints share."""

    def __init__(
        self, source: Source, memories: Memories, limits: Limits, guard: Guard, hop: str
    ) -> None:
        self.source, self.memories, self.limits, self.guard = source, memories, limits, guard
        self.hop, self.metrics, self.began = hop, Metrics(), int(time.time())
        self.turnstile = Turnstile(source.most + limits.queue)
        self.threads = ThreadPoolExecutor(self.turnstile.most, thread_name_prefix="answer")
        self.helpers = ThreadPoolExecutor(4, thread_name_prefix="helper")

    # -- endpoints -------------------------------------------------------------------------------

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        body = await self._body(request)
        asked = wanted.chat(body)
        self._known_model(asked.model)
        network = request.headers.get(HEADER) or body.get("network")
        recalled = await self._help(partial(self.memories.recall, asked, network, self.source))
        starts = [partial(self.source.chat, recalled.wanted, n) for n in range(asked.choices)]
        return await self._answered(request, Shape("chat", asked), recalled, starts)

    async def complete(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        asked = wanted.completion(await self._body(request))
        self._known_model(asked.model)
        starts = [
            partial(self.source.complete, asked, prompt, n)
            for prompt in asked.prompts
            for n in range(asked.choices)
        ]
        return await self._answered(request, Shape("text", asked), Recalled(asked), starts)

    async def embed(self, request: Request) -> Response:
        """``POST /v1/embeddings``."""
        texts, kind = wanted.embedding(await self._body(request))
        embedder = Embedder.present()
        if embedder is None:
            raise RefusedError("no embedding model is here: pxvm models get minilm", 404)
        vectors = await self._help(partial(embedder.real, texts))
        count = sum(len(text.split()) for text in texts)
        return JSONResponse(
            {
                "object": "list",
                "model": EMBEDDER,
                "data": [
                    {"object": "embedding", "index": i, "embedding": _vector(row, kind)}
                    for i, row in enumerate(vectors)
                ],
                "usage": {"prompt_tokens": count, "total_tokens": count},
            }
        )

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``, and one of them."""
        names = [await self._help(lambda: self.source.model)]
        names += [EMBEDDER] if await self._help(Embedder.present) is not None else []
        rows = [
            {"id": name, "object": "model", "created": self.began, "owned_by": "pxvm"}
            for name in names
        ]
        if (name := request.path_params.get("name")) is None:
            return JSONResponse({"object": "list", "data": rows})
        for row in rows:
            if row["id"] == name:
                return JSONResponse(row)
        raise RefusedError(f"no model is called {name!r:.60}", 404, "model_not_found")

    async def health(self, _: Request) -> Response:
        """``GET /healthz``."""
        return JSONResponse({"status": "ok"})

    async def counters(self, _: Request) -> Response:
        """``GET /metrics``."""
        return Response(
            self.metrics.text(**self.source.gauges()), media_type="text/plain; version=0.0.4"
        )

    async def openapi(self, _: Request) -> Response:
        """``GET /openapi.json``."""
        return JSONResponse(pages.openapi())

    async def page(self, _: Request) -> Response:
        """``GET /docs``."""
        return HTMLResponse(pages.html())

    # -- how an answer is made and sent ------------------------------------------------------------

    async def _answered(
        self,
        request: Request,
        shape: Shape,
        recalled: Recalled,
        starts: Sequence[Callable[[], Answering]],
    ) -> Response:
        if request.headers.get(HOP) == self.hop:
            raise RefusedError("this server is its own back end: name another address", 508)
        shape.model = await self._help(lambda: self.source.model)
        self.turnstile.enter(len(starts))
        run = _Run(self, starts)
        try:
            first = await run.first()  # what is refused is refused before a stream begins
            if shape.wanted.stream:
                return StreamingResponse(
                    self._stream(run, first, shape, recalled), media_type="text/event-stream",
                    headers={"Cache-Control": "no-cache"},
                )  # fmt: skip
            gone = asyncio.ensure_future(_hung_up(request))
            try:
                return JSONResponse(await self._whole(run, first, shape, recalled, gone))
            finally:
                gone.cancel()
        except BaseException:
            run.stop()
            raise

    async def _whole(
        self,
        run: _Run,
        first: Event,
        shape: Shape,
        recalled: Recalled,
        gone: asyncio.Future[None],
    ) -> dict[str, Any]:
        """All answers as one object; a client that hangs up stops them."""
        texts = [""] * run.count
        event: Event | None = first
        while event is not None:
            texts[event.choice] += event.text
            waiting = asyncio.ensure_future(run.next())
            both: list[asyncio.Future[Any]] = [waiting, gone]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                raise ClientDisconnect
            event = waiting.result()
        told = await self._learned(recalled, texts[0])
        choices = [shape.whole(i, text, run.finish(i)) for i, text in enumerate(texts)]
        return {**shape.head(), "choices": choices, "usage": run.usage(), **told}

    async def _stream(
        self, run: _Run, first: Event, shape: Shape, recalled: Recalled
    ) -> AsyncIterator[str]:
        """Server-sent events; leaving them, as when a client hangs up, stops the answers."""
        try:
            texts, event = [""] * run.count, first
            for number in range(run.count):
                if opening := shape.opening(number):
                    yield _sent({**shape.head(), "choices": [opening]})
            while event is not None:
                texts[event.choice] += event.text
                if event.text:
                    piece = shape.piece(event.choice, event.text)
                    yield _sent({**shape.head(), "choices": [piece]})
                if event.ended:
                    last = shape.piece(event.choice, None, run.finish(event.choice))
                    yield _sent({**shape.head(), "choices": [last]})
                event = await run.next()  # type: ignore[assignment]
            told = await self._learned(recalled, texts[0])
            if shape.wanted.usage or told:
                usage = {"usage": run.usage()} if shape.wanted.usage else {}
                yield _sent({**shape.head(), "choices": [], **usage, **told})
            yield "data: [DONE]\n\n"
        except PxvmError as error:  # too late for a status
            yield _sent(error_body(error))
        finally:
            run.stop()

    async def _learned(self, recalled: Recalled, answer: str) -> dict[str, Any]:
        """Store the exchange before its end is sent; nothing of it where there is no memory."""
        if recalled.memory is None and not recalled.found.hits:
            return {}
        told = await self._help(partial(self.memories.learn, recalled, answer, self.source))
        if told["stored"]:
            self.metrics.add("pxvm_learned_total")
        return {"pxvm": told}

    async def _help(self, work: Callable[[], Any]) -> Any:
        """Work that waits or computes, outside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self.helpers, work)

    def _known_model(self, name: str) -> None:
        if name == EMBEDDER:
            raise RefusedError(f"{EMBEDDER} makes vectors: /v1/embeddings", 400, field="model")

    async def _body(self, request: Request) -> dict[str, Any]:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            raise RefusedError("expected Content-Type: application/json", 415)
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > self.limits.body:
                raise RefusedError(f"expected at most {self.limits.body:,} bytes", 413)
        return wanted.parsed(bytes(data))

    def close(self) -> None:
        """Stop what is under way, store what is finished, and let go of everything."""
        self.source.close()
        self.threads.shutdown()
        self.helpers.shutdown()
        self.memories.close()


@dataclass(frozen=True)
class Event:
    """A piece of an answer, or its end."""

    choice: int
    text: str = ""
    ended: bool = False


class _Run:
    """The answers to one request, each made by a thread, their pieces in one line."""

    def __init__(self, service: Service, starts: Sequence[Callable[[], Answering]]) -> None:
        self.service, self.count = service, len(starts)
        self.loop, self.queue = asyncio.get_running_loop(), asyncio.Queue[Any]()
        self.stopped, self.left = threading.Event(), len(starts)
        self.began, self.deadline = time.monotonic(), time.monotonic() + service.limits.seconds
        self._room = threading.Semaphore(1024)  # pieces that a slow client may be behind
        self._finished = False
        self.answers = [start() for start in starts]
        self.running = len(starts)
        for number, answer in enumerate(self.answers):
            service.threads.submit(self._make, number, answer)

    def _make(self, number: int, answer: Answering) -> None:
        try:
            pieces = iter(answer)
            if not self.stopped.is_set():
                for piece in pieces:
                    while not self._room.acquire(timeout=0.2):
                        if self.stopped.is_set():
                            break
                    if self.stopped.is_set():
                        break
                    self._put(Event(number, piece))
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            self._put(Event(number, ended=True))
        except BaseException as error:
            self._put(error)
        finally:
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._left)

    def _put(self, event: Event | BaseException) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens
            self.loop.call_soon_threadsafe(self.queue.put_nowait, event)

    def _left(self) -> None:
        self.running -= 1
        self.service.turnstile.leave(1)

    async def first(self) -> Event:
        """The first piece or end. Raises what refuses the request."""
        event = await self.next()
        assert event is not None
        self.service.metrics.took("pxvm_first_piece_seconds", time.monotonic() - self.began)
        return event

    async def next(self) -> Event | None:
        """The next piece or end, None after the last. Raises what an answer was stopped by."""
        if not self.left:
            self._finish()
            return None
        try:
            left = self.deadline - time.monotonic()
            event = await asyncio.wait_for(self.queue.get(), max(left, 0.001))
        except asyncio.TimeoutError:
            self.stop()
            raise RefusedError(
                f"not finished within {self.service.limits.seconds:g} seconds", 504, "timeout"
            ) from None
        self._room.release()
        if isinstance(event, BaseException):
            self.stop()
            raise event
        self.left -= event.ended
        return event  # type: ignore[no-any-return]

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        metrics, usage = self.service.metrics, self.usage()
        metrics.took("pxvm_request_seconds", time.monotonic() - self.began)
        metrics.add("pxvm_prompt_tokens_total", usage["prompt_tokens"])
        metrics.add("pxvm_answer_tokens_total", usage["completion_tokens"])

    def stop(self) -> None:
        """Nobody wants the rest."""
        self.stopped.set()

    def finish(self, choice: int) -> str:
        """Why an answer ended."""
        return self.answers[choice].finish or "stop"

    def usage(self) -> dict[str, int]:
        """Tokens taken in and drawn."""
        prompt = self.answers[0].prompt
        drawn = sum(answer.drawn for answer in self.answers)
        return {"prompt_tokens": prompt, "completion_tokens": drawn, "total_tokens": prompt + drawn}


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


def error_body(error: PxvmError) -> dict[str, Any]:
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


def application(service: Service) -> Starlette:
    """The routes, behind the guard."""
    routes = [
        Route("/v1/chat/completions", service.chat, methods=["POST"]),
        Route("/v1/completions", service.complete, methods=["POST"]),
        Route("/v1/embeddings", service.embed, methods=["POST"]),
        Route("/v1/models", service.models),
        Route("/v1/models/{name:path}", service.models),
        Route("/healthz", service.health),
        Route("/metrics", service.counters),
        Route("/openapi.json", service.openapi),
        Route("/docs", service.page),
    ]

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, PxvmError)
        status = error.status if isinstance(error, RefusedError) else 500
        service.metrics.add("pxvm_requests_total", path=request.url.path, status=status)
        headers = {"Retry-After": str(RETRY_AFTER)} if status == 429 else {}
        return JSONResponse(error_body(error), status, headers)

    async def hung_up(_: Request, __: Exception) -> Response:
        return Response(status_code=499)

    app = Starlette(
        routes=routes, exception_handlers={PxvmError: refused, ClientDisconnect: hung_up}
    )
    service.guard.install(app, service.metrics)
    return app


async def _hung_up(request: Request) -> None:
    """Returns when the client is gone."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.1)


def _sent(value: Any) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _vector(row: Any, kind: str) -> Any:
    if kind == "base64":
        return base64.b64encode(np.ascontiguousarray(row, "<f4").tobytes()).decode()
    return [float(value) for value in row]
