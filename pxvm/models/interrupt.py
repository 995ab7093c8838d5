"""Ctrl-C between two runs, never inside one: the pixels then hold a state to go on from."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Uninterrupted:
    """Holds a KeyboardInterrupt back until the block ends.

    Another handler of the signal, and threads other than the main one, are left alone.
    """

    def __enter__(self) -> None:
        self.noted = False
        here = threading.current_thread() is threading.main_thread()
        self.ours = here and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.ours:
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.noted and error is None:
            raise KeyboardInterrupt
