"""Who may ask: the Host header, the key, and what a browser may do.

A page on the internet can make a browser send requests to 127.0.0.1 under a name of its own (DNS
rebinding). So a server that is bound to this machine answers only to this machine's names.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pxvm.integration.server.metrics import Metrics

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_PORT = re.compile(r":[0-9]*\Z")
OPEN = ("/healthz",)  # asked without a key, by what watches over the server


class Guard:
    """What a request must have.

    Args:
        key: that a client sends as a bearer token; "" for none.
        hosts: names that the Host header may hold beside this machine's; None: any.
        origins: of pages in browsers that may ask; none unless named.
        is_open: says of a path whether it may be asked for without the key.
    """

    def __init__(
        self,
        key: str,
        hosts: Sequence[str] | None,
        origins: Sequence[str],
        is_open: Callable[[str], bool] | None = None,
    ) -> None:
        self.key, self.is_open = key, is_open
        self.hosts = None if hosts is None else {*LOCAL_NAMES, *(h.lower() for h in hosts)}
        self.origins = tuple(origins)

    def install(self, app: Starlette, metrics: Metrics) -> None:
        """Stand before an application."""
        if self.origins:
            from starlette.middleware.cors import CORSMiddleware

            app.add_middleware(
                CORSMiddleware,
                allow_origins=list(self.origins),
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
            )
        app.add_middleware(_Gate, guard=self, metrics=metrics)

    def complaint(self, path: str, headers: Headers) -> tuple[int, str]:
        """(status, message) of what is refused, else (0, "")."""
        host = headers.get("host", "").lower()
        name = _PORT.sub("", host).removesuffix(".")
        if self.hosts is not None and name not in self.hosts:
            return 403, f"this server does not answer to the name {name!r:.80}"
        if not self.key or path in OPEN or (self.is_open is not None and self.is_open(path)):
            return 0, ""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode(), self.key.encode()
        ):
            return 401, "the key is missing or wrong: Authorization: Bearer KEY"
        return 0, ""


class _Gate:
    """Counts every answer, and refuses before anything is read."""

    def __init__(self, app: ASGIApp, guard: Guard, metrics: Metrics) -> None:
        self.app, self.guard, self.metrics = app, guard, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        preflight = scope["method"] == "OPTIONS" and self.guard.origins
        status, message = self.guard.complaint(path, headers)
        if status and not (preflight and status == 401):
            kind = "invalid_request_error"
            code = "invalid_api_key" if status == 401 else None
            body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
            self.metrics.add("pxvm_requests_total", path="refused", status=status)
            await JSONResponse(body, status)(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                self.metrics.add("pxvm_requests_total", path=_route(scope), status=status)
            await send(message)

        await self.app(scope, receive, counted)


def _route(scope: Scope) -> str:
    """The path of the route that answers, never what a client wrote: that is any text, and much."""
    routes, endpoint = scope["app"].routes, scope.get("endpoint")
    found = (r.path for r in routes if endpoint and getattr(r, "endpoint", None) is endpoint)
    return next(found, "other")


def describe() -> dict[str, Any]:
    """How the key is sent, for the OpenAPI page."""
    return {"key": {"type": "http", "scheme": "bearer"}}
