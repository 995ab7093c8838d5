"""Ctrl-C between two pieces of work, never inside one: what is at hand is then whole."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

PATIENCE = 0.5  # seconds; one press may arrive twice, through a wrapper


class Uninterrupted:
    """Holds Ctrl-C back until the block ends, and then hands it to whoever handled it before.

    Pressed again PATIENCE seconds later it does not wait. Blocks may stand inside each other: the
    outer one gets it from the inner. Threads other than the main one are left alone.
    """

    def __enter__(self) -> None:
        self.first: float | None = None
        self.before: Callable[[int, FrameType | None], Any] | None = None
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                self.before = handler
                signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.first is None:
            self.first = time.monotonic()
        elif time.monotonic() - self.first > PATIENCE:
            raise KeyboardInterrupt

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.before is None:
            return
        signal.signal(signal.SIGINT, self.before)
        if self.first is not None and error is None:
            self.before(signal.SIGINT, None)
