"""Pieces of an answer as they become certain: stop strings are never shown, not even in part."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Holds back text that may be the beginning of a stop string.

    Args:
        stops: strings that end an answer; the earliest that is found counts.

    Attributes:
        held: text that is held back.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.stopped = False
        self.held = ""

    def put(self, text: str) -> str:
        """Take text in; returns what may be shown."""
        if self.stopped:
            return ""
        self.held += text
        found = [at for at in (self.held.find(stop) for stop in self.stops) if at >= 0]
        if found:
            self.stopped = True
            shown, self.held = self.held[: min(found)], ""
            return shown
        keep = max((self._overlap(stop) for stop in self.stops), default=0)
        cut = len(self.held) - keep
        shown, self.held = self.held[:cut], self.held[cut:]
        return shown

    def finish(self) -> str:
        """What was held back, when nothing follows."""
        shown, self.held = self.held, ""
        return shown

    def _overlap(self, stop: str) -> int:
        """The length of the longest beginning of ``stop`` that the text ends with."""
        lengths = range(min(len(stop) - 1, len(self.held)), 0, -1)
        return next((n for n in lengths if self.held.endswith(stop[:n])), 0)
