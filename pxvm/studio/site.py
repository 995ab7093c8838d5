"""What ``pxvm studio`` serves beside OpenAI's protocol: the page, opened files, and ``/api/``.

The page may read what the command line named, and nothing else on this machine. A request must come
from the page itself: browsers say where one is from, and other origins are refused.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pxvm import __version__
from pxvm.core.errors import PxvmError
from pxvm.core.reading import check_regular
from pxvm.integration.server.app import Service
from pxvm.integration.server.wanted import RefusedError, parsed
from pxvm.learning.errors import UnknownRecordError
from pxvm.studio import experiments
from pxvm.studio.built import INDEX, TYPES, served
from pxvm.studio.memories import Memories

#: Bytes of a file that is sent to be learned, merged or profiled.
MOST_BYTES = 512 << 20
ARRIVAL = 120  # seconds that they may take
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self';"
        " img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; worker-src 'self';"
        " object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Answer = Callable[..., Any]


class Studio:
    """The page and its interface.

    Args:
        files: that the page may read, in order.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files, self.page = tuple(files), served()
        self.numbered = {str(number): path for number, path in enumerate(self.files)}

    def is_open(self, path: str) -> bool:
        """The page's own files are no secret, and a browser asks for them without a key."""
        return path == "/" or path[1:] in self.page

    def install(self, app: Starlette, service: Service) -> None:
        """Add the routes, and the headers that every answer has."""
        self.service, self.memories = service, Memories(service.memories.by_name)
        app.router.routes += [
            self._route("/api/session", self.session),
            Route("/api/files/{number}", self._guarded(self.file)),
            self._route("/api/profile", experiments.profiled, "POST", octets=True),
            *(
                self._route(f"/api/networks/{{network}}/{name}", answer)
                for name, answer in self.memories.reading.items()
            ),
            *(
                self._route(f"/api/networks/{{network}}/{name}", answer, "POST")
                for name, answer in self.memories.writing.items()
            ),
            *(
                self._route(f"/api/networks/{{network}}/{name}", answer, "POST", octets=True)
                for name, answer in self.memories.taking.items()
            ),
            Route("/{path:path}", self.static),
        ]
        app.add_middleware(_Headers)

    # -- what is asked -----------------------------------------------------------------------------

    def session(self) -> dict[str, Any]:
        """What the command line opened."""
        source = self.service.source
        model = {"name": source.model, "backend": source.name, "context": source.context}
        return {
            "version": __version__,
            "files": [
                {"number": number, "name": path.name} for number, path in enumerate(self.files)
            ],
            "networks": [self.memories.about(name) for name in self.memories.names],
            "model": model if model["name"] else None,
        }

    async def file(self, request: Request) -> Response:
        """A file that the command line named, by its number."""
        number = request.path_params["number"]
        path = self.numbered.get(number)
        if path is None:
            raise RefusedError(f"no file has the number {number:.20}", 404)
        try:
            check_regular(path)
        except OSError as error:
            said = f"{path.name}: {error.strerror}; it was there when pxvm studio began"
            raise RefusedError(said, 404) from None
        return FileResponse(path, media_type="application/octet-stream")

    async def static(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params["path"] or INDEX
        data = self.page.get(name)
        if data is None:
            raise RefusedError("there is no such page", 404)
        tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        kind = TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
        return Response(data, headers=headers, media_type=kind)

    # -- how it is answered ------------------------------------------------------------------------

    def _route(
        self, path: str, answer: Answer, method: str = "GET", *, octets: bool = False
    ) -> Route:
        """A route whose answer is computed in a thread, from path, query and body by name."""

        async def answered(request: Request) -> Response:
            given: dict[str, Any] = {**request.query_params, **request.path_params}
            if method == "POST":
                given["body"] = await (_octets(request) if octets else _json(request))
            found = await self.service.help(partial(_answer, answer, given))
            if isinstance(found, bytes):
                return Response(found, media_type="application/octet-stream")
            return JSONResponse(found)

        return Route(path, self._guarded(answered), methods=[method])

    def _guarded(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that answers only the page."""

        async def guarded(request: Request) -> Response:
            site = request.headers.get("sec-fetch-site", "none")
            origin = request.headers.get("origin")
            own = f"{request.url.scheme}://{request.headers.get('host', '')}"
            if site not in ("none", "same-origin") or origin not in (None, own):
                raise RefusedError("only the page of pxvm studio may ask here", 403)
            return await answer(request)

        return guarded


def _answer(answer: Answer, given: dict[str, Any]) -> Any:
    """What an endpoint says. Raises RefusedError for what is refused, by whomever."""
    try:
        return answer(**given)
    except RefusedError:
        raise
    except UnknownRecordError as error:
        raise RefusedError(str(error), 404) from None
    except (PxvmError, ValueError) as error:
        raise RefusedError(str(error)) from None
    except TypeError as error:
        if "argument" in str(error):  # a field that is unknown, or missing
            raise RefusedError(f"this is not how it is asked: {error}") from None
        raise


async def _octets(request: Request) -> bytes:
    if request.headers.get("content-type", "") != "application/octet-stream":
        raise RefusedError("expected Content-Type: application/octet-stream", 415)
    return await _body(request, MOST_BYTES)


async def _json(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise RefusedError("expected Content-Type: application/json", 415)
    return parsed(await _body(request, 8 << 20))


async def _body(request: Request, most: int) -> bytes:
    def check(size: int) -> None:
        if size > most:
            raise RefusedError(f"expected at most {most:,} bytes", 413)

    async def read() -> bytes:
        data = bytearray()
        async for part in request.stream():
            data += part
            check(len(data))
        return bytes(data)

    check(int(request.headers.get("content-length", 0)))

    try:
        return await asyncio.wait_for(read(), ARRIVAL)
    except asyncio.TimeoutError:
        raise RefusedError(f"the body did not arrive within {ARRIVAL} seconds", 408) from None


class _Headers:
    """Says with every answer what a browser may do with it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, told if scope["type"] == "http" else send)
