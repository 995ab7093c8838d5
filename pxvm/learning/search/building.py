"""Answers while the search cache is made: of the newest records, until all are indexed.

Indexing 100,000 records takes many seconds. A question that need not be complete is answered
meanwhile out of a small cache of the newest ones, which is gone with the process.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pxvm.core.errors import PxvmError
from pxvm.learning.search.cache import (
    DATABASE,
    Answer,
    Cache,
    ask,
    cache_folder,
    is_current,
)
from pxvm.terminal import progress

if TYPE_CHECKING:
    from pxvm.learning.store.store import Store

#: So many of the newest records are indexed at once, in two seconds or three.
RECENT = 8_192
#: Seconds that a question waits for the whole cache first.
PATIENCE = 1.0


@dataclass
class _Build:
    """A cache that is being made by ``thread``, and the one that serves meanwhile."""

    thread: threading.Thread
    recent: Cache | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)


_BUILDS: WeakKeyDictionary[Store, _Build] = WeakKeyDictionary()
_TURN = threading.Lock()


def ask_soon(network: Store, question: Callable[[Cache], Answer]) -> tuple[Answer, int]:
    """What ``question`` answers, as `ask`; and how many of the oldest records were not asked,
    because the cache is still being made. Raises what `ask` does."""
    build = _building(network)
    if build is None:
        return ask(network, question), 0
    build.thread.join(PATIENCE)
    if not build.thread.is_alive():
        return ask(network, question), 0
    with build.turn:
        last = network.state.sequence
        if build.recent is None:
            recent = Cache(network.path, is_quiet=True)
            recent.move()
            recent.begin_with_newest(network, RECENT)
            build.recent = recent
        return ask(network, question, build.recent), max(last + 1 - RECENT, 0)


def finish(network: Store) -> None:
    """Wait until the cache is made, if it is being made; progress is shown on a terminal."""
    build = _BUILDS.get(network)
    if build is None:
        return
    total = network.state.sequence + 1
    with progress("indexing", sys.stderr.isatty()) as update:
        while build.thread.is_alive():
            update(total - _behind(network), total)
            build.thread.join(0.2)  # so that Ctrl-C is heard


def _building(network: Store) -> _Build | None:
    """What makes the cache, which is begun where much is missing; None where little is."""
    with _TURN:
        build = _BUILDS.get(network)
        if build is not None and build.thread.is_alive():
            return build
        if is_current(network) or _behind(network) <= RECENT:
            return None
        thread = threading.Thread(target=_make, args=(network,), name="index", daemon=True)
        _BUILDS[network] = build = _Build(thread)
        thread.start()
        return build


def _make(network: Store) -> None:
    # Whoever asks next is told; RuntimeError is that of threads while the program ends.
    with contextlib.suppress(PxvmError, OSError, sqlite3.Error, RuntimeError):
        ask(network, lambda cache: None, Cache(network.path, is_quiet=True))


def _behind(network: Store) -> int:
    """How many records, about, the cache beside the network has not taken in."""
    state, row = network.state, None
    database = (cache_folder(network.path) / DATABASE).absolute().as_uri()
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{database}?mode=ro", uri=True)) as connection,
    ):
        row = connection.execute("SELECT generation, sequence FROM known").fetchone()
    generation, sequence = row or (0, -1)
    return state.sequence - (sequence if generation == state.generation else -1)
