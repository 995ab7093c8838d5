"""Sessions on a GPU as the rest of pxVM sees them: what fails there is said, the image whole."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from pxvm.core.executors import Bursts, Session
from pxvm.gpu.devices import CLOCK, Adapter, Clock, Gpu, opened

PATIENCE = 1.0  # seconds of a start without a word
_LOG = logging.getLogger(__name__)


@contextmanager
def starting(adapter: Adapter) -> Iterator[None]:
    """A start that takes longer than ``PATIENCE`` is reported."""
    begin = time.monotonic()
    yield
    if (took := time.monotonic() - begin) > PATIENCE:
        slow = "; a processor plays it: --device cpu is faster" if adapter.is_software else ""
        _LOG.warning("%s was ready after %.1f s%s", adapter, took, slow)


class Guarded:
    """A session on a GPU: what goes wrong there is a DeviceError, and leaves the image as it was.

    Attributes:
        inner: the session itself.
        behind: the device has results that the image has not.
        burst: as ``core.executors.Bursts`` says.
    """

    def __init__(self, adapter: Adapter, make: Callable[[Gpu], Session]) -> None:
        with starting(adapter):
            self.gpu, self.partial, self.behind = opened(adapter), False, False
            with self.gpu.told():
                self.inner = make(self.gpu)
        self.burst: int = getattr(self.inner, "burst", 1)

    def run(self, *arguments: Any, **named: Any) -> int:
        """As every session's."""
        with self.gpu.told():
            made = self.inner.run(*arguments, **named)
        self.behind = self.partial
        return made

    def run_on(self, rounds: int, scalar: str, values: Iterable[int]) -> int:
        """As ``core.executors.Bursts`` says."""
        with self.gpu.told():
            made = cast(Bursts, self.inner).run_on(rounds, scalar, values)
        self.behind = self.partial
        return made

    def host(self, names: Iterable[str] | None) -> None:
        """As every session's."""
        with self.gpu.told():
            self.inner.host(names)
        self.partial, self.behind = names is not None, False

    def sync(self) -> None:
        """As every session's."""
        with self.gpu.told():
            self.inner.sync()
        self.behind = False

    def timed(self, max_steps: int | None) -> tuple[int, float | None]:
        """Run, and the seconds by the device's clock; None where it has none."""
        if CLOCK not in self.gpu.features:
            return self.run(max_steps), None
        with self.gpu.told():
            self.gpu.clock = Clock(self.gpu)
            try:
                return self.run(max_steps), self.gpu.clock.seconds()
            finally:
                self.gpu.clock = None
