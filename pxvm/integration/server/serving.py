"""A server from its settings to its end."""

from __future__ import annotations

import os
import re
import socket
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pxvm.core import installation
from pxvm.core.errors import PxvmError
from pxvm.integration.backends import (
    ADDRESSES,
    EMBEDDED,
    EMBEDDED_MODEL,
    KEY,
    checked_key,
    completed,
    is_loopback,
    kind_of,
)

if TYPE_CHECKING:
    from pxvm.integration.server.answering import Source
    from pxvm.integration.server.app import Site

SERVER_KEY = "PXVM_SERVER_KEY"
UPSTREAM_AT_ONCE = 32


@dataclass(frozen=True)
class Settings:
    """What ``pxvm serve`` is told.

    Attributes:
        model: a ``.pxi`` or a name; None takes the embedded model where there is no ``backend``,
            "" none, so that nobody answers.
        networks: memories, the first for requests that choose none.
        backend: name or address of the server behind this one; None: the model answers itself.
        key: that clients must send.
    """

    model: str | None = None
    networks: Sequence[Path] = ()
    backend: str | None = None
    host: str = "127.0.0.1"
    port: int = 1235
    key: str = ""
    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    device: str = "auto"
    threads: int | None = None
    context: int | None = None
    slots: int = 8
    queue: int = 64
    body: int = 8 << 20
    seconds: float = 600.0


def serve(settings: Settings, ready: Callable[[str], None], site: Site | None = None) -> None:
    """Serve until the process is told to end.

    Args:
        ready: called with the address when requests are taken.
        site: what is offered beside OpenAI's protocol.

    Raises PxvmError for settings that are unsafe or do not fit, BackendError.
    """
    installation.library("starlette", "server")
    uvicorn = installation.library("uvicorn", "server")
    from pxvm.integration.server.app import Service, application
    from pxvm.integration.server.guard import Guard
    from pxvm.integration.server.remembering import Memories
    from pxvm.integration.server.running import Limits

    local, key = is_loopback(settings.host), checked_key(settings.key)
    if not local and not key:
        raise PxvmError(
            f"{settings.host} can be reached from other machines: set a key in {SERVER_KEY}, or"
            " with --api-key, or bind to 127.0.0.1"
        )
    with closing(bound(settings.host, settings.port)) as listening:
        port = listening.getsockname()[1]
        hop = uuid.uuid4().hex
        source = _source(settings, port, hop)
        try:
            name = f"[{settings.host}]" if ":" in settings.host else settings.host
            hosts = [name, *settings.hosts] if local else None
            guard = Guard(key, hosts, settings.origins, site.is_open if site else None)
            limits = Limits(settings.queue, settings.body, settings.seconds)
            service = Service(source, Memories(settings.networks), limits, guard, hop)
        except BaseException:
            source.close()
            raise
        config = uvicorn.Config(
            application(service, site), log_level="warning", access_log=False, lifespan="off",
            timeout_graceful_shutdown=2, server_header=False,
        )  # fmt: skip
        server = uvicorn.Server(config)
        try:
            ready(f"http://{name}:{port}/v1")
            server.run(sockets=[listening])
        finally:
            service.close()


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises PxvmError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off, which holds pieces back.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # elsewhere it would let two servers share a port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # who calls from now on waits, and is not refused
    except OSError as error:
        listening.close()
        raise PxvmError(
            f"{host}:{port} cannot be used: {error.strerror or error}; --port names another"
        ) from None
    return listening


def _source(settings: Settings, port: int, hop: str) -> Source:
    from pxvm.integration.remote import Remote
    from pxvm.integration.server.answering import Local, Nobody, Upstream

    if settings.backend not in (None, EMBEDDED):
        backend = str(settings.backend)
        address = ADDRESSES.get(backend)
        if address is None and not re.search(r"[.:/]", backend):
            raise PxvmError(f"{backend}: expected {', '.join(ADDRESSES)}, or an address")
        url = address.url if address else completed(backend)
        if is_itself(url, settings.host, port):
            raise PxvmError(f"{url} is this very server: name another address")
        name, variable = (backend, address.key) if address else (kind_of(url), KEY)
        key = os.environ.get(variable, "")
        remote = Remote(name, url, settings.model, key, {"X-PXVM-Hop": hop})
        return Upstream(remote, UPSTREAM_AT_ONCE)
    if settings.model == "":
        return Nobody()
    from pxvm.models.commands import file_of

    path = file_of(settings.model or EMBEDDED_MODEL)
    return Local(path, settings.device, settings.threads, settings.slots, settings.context)


def is_itself(url: str, host: str, port: int) -> bool:
    """Does an address, as ``completed`` gives it, lead to where this server listens?"""
    parts = urlsplit(url)
    there, name = parts.port or (443 if parts.scheme == "https" else 80), str(parts.hostname)
    mine = (host, socket.gethostname(), "0.0.0.0", "::")
    return there == port and (is_loopback(name) or name in mine)
