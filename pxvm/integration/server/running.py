"""The answers to one request under way: threads make them, the loop takes their pieces."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from pxvm.integration.pieces import NOTHING, Piece
from pxvm.integration.server.answering import Answering, Turnstile
from pxvm.integration.server.metrics import Metrics
from pxvm.integration.server.wanted import RefusedError


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


class Shared(Protocol):
    """What the answers of all requests share."""

    limits: Limits
    metrics: Metrics
    turnstile: Turnstile
    threads: ThreadPoolExecutor


@dataclass(frozen=True)
class Event:
    """A piece of an answer, or its end."""

    choice: int
    piece: Piece = NOTHING
    ended: bool = False


class Run:
    """The answers to one request, each made by a thread, their pieces in one line."""

    def __init__(self, service: Shared, starts: Sequence[Callable[[], Answering]]) -> None:
        self.service, self.count = service, len(starts)
        self.loop, self.queue = asyncio.get_running_loop(), asyncio.Queue[Any]()
        self.stopped, self.left = threading.Event(), len(starts)
        self.began, self.deadline = time.monotonic(), time.monotonic() + service.limits.seconds
        self._alarm = self.loop.call_later(
            service.limits.seconds, lambda: self.queue.put_nowait(self._late())
        )
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
                    while not self._room.acquire(timeout=0.2) and not self._is_over():
                        pass
                    if self._is_over():
                        break
                    self._put(Event(number, piece))
                else:
                    self._put(Event(number, ended=True))
                    return
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            self._put(self._late())  # whoever still listens takes no part for the whole
        except BaseException as error:
            self._put(error)
        finally:
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._left)

    def _is_over(self) -> bool:
        """Does nobody want the rest, or is the time up?"""
        return self.stopped.is_set() or time.monotonic() > self.deadline

    def _put(self, event: Event | BaseException) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens
            self.loop.call_soon_threadsafe(self.queue.put_nowait, event)

    def _left(self) -> None:
        self.running -= 1
        if not self.running:
            self._alarm.cancel()
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
        event = await self.queue.get()
        self._room.release()
        if isinstance(event, BaseException):
            self.stop()
            raise event
        self.left -= event.ended
        return event  # type: ignore[no-any-return]

    def _late(self) -> RefusedError:
        seconds = self.service.limits.seconds
        return RefusedError(f"not finished within {seconds:g} seconds", 504, "timeout")

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
        for answer in self.answers:
            answer.leave()

    def finish(self, choice: int) -> str:
        """Why an answer ended."""
        return self.answers[choice].finish or "stop"

    def usage(self) -> dict[str, int]:
        """Tokens taken in and drawn."""
        prompt = self.answers[0].prompt
        drawn = sum(answer.drawn for answer in self.answers)
        return {"prompt_tokens": prompt, "completion_tokens": drawn, "total_tokens": prompt + drawn}
