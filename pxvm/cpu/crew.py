"""How many threads a session works with: as many as get a processor each.

Threads meet at every barrier, so that one which another program keeps from its processor keeps all
of them waiting, a scheduler's turn each time: two threads on two processors, one of them busy
elsewhere, are a hundred times as slow as one thread. Results do not depend on their number.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache

import numpy as np

# Seconds of work after which the threads are judged, so that what takes a processor for a moment
# does not count; elsewhere their clocks are coarse.
ENOUGH = 0.03 if os.name == "posix" else 0.5
SHARE = 0.75  # of the time, that each thread has to have had a processor for
FIRST, LAST = 0.125, 8.0  # seconds until more threads are tried again, at first and at most


class Crew:
    """The number of threads, judged by the processor time that they got.

    Attributes:
        active: how many work now, 1 to ``most``.
    """

    def __init__(self, most: int) -> None:
        self.most = self.active = most
        self._before = most  # as many as there were before more were tried
        self._pause = FIRST
        self._again = 0.0
        self._spans = np.zeros((most, 2))

    def worked(self, spans: Sequence[tuple[float, float]], now: float) -> None:
        """Take in what a piece of work took, and change ``active`` where that says so.

        Args:
            spans: of each of the ``active`` threads, the seconds from its begin to its end, and
                for how many of them it had a processor.
            now: seconds on any clock.
        """
        self._spans[: self.active] += spans
        walls, times = self._spans[: self.active].T
        if walls.max() < ENOUGH:
            return
        got = times / np.maximum(walls, ENOUGH / 10)
        self._spans[:] = 0
        if self.active > 1 and got.min() < SHARE:
            if self.active > self._before:  # more were tried in vain
                self.active, self._pause = self._before, min(2 * self._pause, LAST)
            else:
                self.active = max(1, min(self.active - 1, int(got.sum())))
            self._before, self._again = self.active, now + self._pause
        elif self.active > self._before:
            self._before, self._pause = self.active, FIRST
        elif self.active < self.most and now >= self._again:
            self.active = min(self.most, 2 * self.active)


class Places:
    """The processors on which the threads of a piece of work begin: each on one of its own.

    A system wakes a thread where it is woken from, beside the one that waits for it, and leaves
    it there for longer than a piece of work takes.

    Attributes:
        taken: their numbers.
    """

    def __init__(self) -> None:
        self.taken = set[int]()

    def begin(self) -> None:
        """Take the processor that this thread is on, or move to one that none has taken."""
        if (where := _processor()) is None:
            return
        here = where()
        if here in self.taken:
            allowed = os.sched_getaffinity(0)
            if others := allowed - self.taken:
                with suppress(OSError):  # where a process may not say so, it stays
                    os.sched_setaffinity(0, others)
                    here = where()
                    os.sched_setaffinity(0, allowed)  # the system may move it again
        self.taken.add(here)


@cache
def _processor() -> Callable[[], int] | None:
    """What says which processor this thread is on; None where no system does, or moves threads."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    found: Callable[[], int] | None = getattr(ctypes.CDLL(None), "sched_getcpu", None)
    return found
