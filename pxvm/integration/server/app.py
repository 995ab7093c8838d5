"""The application: OpenAI's endpoints over a source of answers and the memories."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pxvm.core.errors import PxvmError
from pxvm.integration.pieces import NOTHING, Piece
from pxvm.integration.remote import FILTERED
from pxvm.integration.server import pages, wanted
from pxvm.integration.server.answering import Answering, Source, Turnstile
from pxvm.integration.server.guard import Guard
from pxvm.integration.server.metrics import Metrics
from pxvm.integration.server.remembering import HEADER, Memories, Recalled
from pxvm.integration.server.running import Event, Limits, Run
from pxvm.integration.server.shapes import Shape, error_body, status_of
from pxvm.integration.server.wanted import RefusedError
from pxvm.learning.search.embedding import NAME as EMBEDDER
from pxvm.learning.search.embedding import Embedder

HOP = "x-pxvm-hop"
RETRY_AFTER = 2  # seconds that a refused client is told to wait
ARRIVAL = 60  # seconds that the body of a request may take to arrive


class Site(Protocol):
    """What a server offers beside OpenAI's protocol."""

    def is_open(self, path: str) -> bool:
        """May a path be asked for without the key, as a browser asks for a page?"""

    def install(self, app: Starlette, service: Service) -> None:
        """Add its routes to the application, which the guard will stand before."""


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
        asked = wanted.chat(body, self.source.forwards)
        self._known_model(asked.model)
        network = request.headers.get(HEADER) or body.get("network")
        recalled = Recalled(asked)
        if self.memories.chosen(network) is not None:
            recalled = await self.help(partial(self.memories.recall, asked, network, self.source))
        starts = [partial(self.source.chat, recalled.wanted, n) for n in range(asked.choices)]
        return await self._answered(request, Shape("chat", asked), recalled, starts)

    async def complete(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        asked = wanted.completion(await self._body(request), self.source.forwards)
        self._known_model(asked.model)
        starts = [
            partial(self.source.complete, asked, prompt, n)
            for prompt in asked.prompts
            for n in range(asked.choices)
        ]
        return await self._answered(request, Shape("text", asked), Recalled(asked), starts)

    async def embed(self, request: Request) -> Response:
        """``POST /v1/embeddings``."""
        body = await self._body(request)
        embedder = await self.help(Embedder.present)
        if embedder is None:
            raise RefusedError("no embedding model is here: pxvm models get minilm", 404)
        texts, kind = wanted.embedding(body, await self.help(lambda: embedder.dimension))
        vectors = await self.help(partial(embedder.real, texts))
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
        self._not_itself(request)
        names = [name] if (name := await self.help(lambda: self.source.model)) else []
        names += [EMBEDDER] if await self.help(Embedder.present) is not None else []
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
        return HTMLResponse(pages.html(), headers={"Content-Security-Policy": pages.POLICY})

    # -- how an answer is made and sent ------------------------------------------------------------

    async def _answered(
        self,
        request: Request,
        shape: Shape,
        recalled: Recalled,
        starts: Sequence[Callable[[], Answering]],
    ) -> Response:
        self.turnstile.enter(len(starts))
        try:
            run = Run(self, starts)
        except BaseException:
            self.turnstile.leave(len(starts))
            raise
        gone = asyncio.ensure_future(_hung_up(request))
        try:
            first = await _unless(gone, run.first())  # refused before a stream begins, if at all
            shape.model = run.answers[first.choice].model
            if shape.wanted.stream:
                return StreamingResponse(
                    self._stream(run, first, shape, recalled), media_type="text/event-stream",
                    headers={"Cache-Control": "no-cache"},
                )  # fmt: skip
            return JSONResponse(await self._whole(run, first, shape, recalled, gone))
        except BaseException:
            run.stop()
            raise
        finally:
            gone.cancel()

    async def _whole(
        self,
        run: Run,
        first: Event,
        shape: Shape,
        recalled: Recalled,
        gone: asyncio.Future[None],
    ) -> dict[str, Any]:
        """All answers as one object; a client that hangs up stops them."""
        found: list[list[Piece]] = [[] for _ in range(run.count)]
        event: Event | None = first
        while event is not None:
            found[event.choice].append(event.piece)
            event = await _unless(gone, run.next())
        told = await self._learned(recalled, "".join(piece.text for piece in found[0]), run)
        choices = [shape.whole(i, pieces, run.finish(i)) for i, pieces in enumerate(found)]
        return {**shape.head(), "choices": choices, "usage": run.usage(), **told}

    async def _stream(
        self, run: Run, first: Event, shape: Shape, recalled: Recalled
    ) -> AsyncIterator[str]:
        """Server-sent events; leaving them, as when a client hangs up, stops the answers."""
        try:
            answer, event = "", first
            choices = [o for n in range(run.count) if (o := shape.opening(n))]
            while event is not None:
                answer += event.piece.text if event.choice == 0 else ""
                if event.piece != NOTHING:
                    choices.append(shape.piece(event.choice, event.piece))
                if event.ended:
                    finish = run.finish(event.choice)
                    choices.append(shape.piece(event.choice, None, finish))
                if choices:
                    yield "".join(_sent({**shape.head(), "choices": [each]}) for each in choices)
                    choices = []
                event = await run.next()  # type: ignore[assignment]
            told = await self._learned(recalled, answer, run)
            if shape.wanted.usage or told:
                usage = {"usage": run.usage()} if shape.wanted.usage else {}
                yield _sent({**shape.head(), "choices": [], **usage, **told})
            yield "data: [DONE]\n\n"
        except (PxvmError, OSError) as error:  # too late for a status
            yield _sent(error_body(error))
        except Exception:
            yield _sent(error_body(PxvmError("a fault of pxvm itself; its log tells where")))
            raise
        finally:
            run.stop()

    async def _learned(self, recalled: Recalled, answer: str, run: Run) -> dict[str, Any]:
        """Store the exchange before its end is sent; nothing of it where there is no memory."""
        if recalled.memory is None and not recalled.found.hits:
            return {}
        if run.finish(0) == FILTERED:
            answer = ""  # no more than its beginning: nothing is learned
        told = await self.help(partial(self.memories.learn, recalled, answer, self.source))
        if told["stored"]:
            self.metrics.add("pxvm_learned_total")
        if "fault" in told:
            self.metrics.add("pxvm_not_learned_total")
        return {"pxvm": told}

    async def help(self, work: Callable[[], Any]) -> Any:
        """Work that waits or computes, outside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self.helpers, work)

    def _known_model(self, name: str) -> None:
        if name == EMBEDDER:
            raise RefusedError(f"{EMBEDDER} makes vectors: /v1/embeddings", 400, field="model")

    def _not_itself(self, request: Request) -> None:
        if request.headers.get(HOP) == self.hop:
            raise RefusedError("this server is its own back end: name another address", 508)

    async def _body(self, request: Request) -> dict[str, Any]:
        self._not_itself(request)
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            raise RefusedError("expected Content-Type: application/json", 415)
        try:
            return wanted.parsed(await asyncio.wait_for(self._data(request), ARRIVAL))
        except asyncio.TimeoutError:
            raise RefusedError(f"the body did not arrive within {ARRIVAL} seconds", 408) from None

    async def _data(self, request: Request) -> bytes:
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > self.limits.body:
                raise RefusedError(f"expected at most {self.limits.body:,} bytes", 413)
        return bytes(data)

    def close(self) -> None:
        """Stop what is under way, store what is finished, and let go of everything."""
        self.source.close()
        self.threads.shutdown()
        self.helpers.shutdown()
        self.memories.close()


def application(service: Service, site: Site | None = None) -> Starlette:
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

    async def refused(_: Request, error: Exception) -> Response:
        status = status_of(error)
        headers = {"Retry-After": str(RETRY_AFTER)} if status == 429 else {}
        return JSONResponse(error_body(error), status, headers)

    async def nothing_there(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        refusal = RefusedError(error.detail, error.status_code)
        return JSONResponse(error_body(refusal), error.status_code, error.headers)

    async def fault(_: Request, __: Exception) -> Response:
        refusal = RefusedError("a fault of pxvm itself; its log tells where", 500)
        return JSONResponse(error_body(refusal), 500)

    async def hung_up(_: Request, __: Exception) -> Response:
        return Response(status_code=499)

    app = Starlette(
        routes=routes,
        exception_handlers={
            PxvmError: refused,
            OSError: refused,
            ClientDisconnect: hung_up,
            HTTPException: nothing_there,
            Exception: fault,
        },
    )
    if site is not None:
        site.install(app, service)
    service.guard.install(app, service.metrics)
    return app


async def _hung_up(request: Request) -> None:
    """Returns when the client is gone."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.1)


async def _unless(gone: asyncio.Future[None], work: Coroutine[Any, Any, Any]) -> Any:
    """What work gives. Raises ClientDisconnect as soon as nobody waits for it."""
    waiting = asyncio.ensure_future(work)
    both: list[asyncio.Future[Any]] = [waiting, gone]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        raise ClientDisconnect
    return waiting.result()


def _sent(value: Any) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _vector(row: Any, kind: str) -> Any:
    if kind == "base64":
        return base64.b64encode(np.ascontiguousarray(row, "<f4").tobytes()).decode()
    return [float(value) for value in row]
