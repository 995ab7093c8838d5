"""Commands and programs on a pseudo-terminal, and what arrives there."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import pytest

from pxvm.cli import main

COLUMNS = 60
CTRL_C = b"\x03"
PATIENCE, MOST = 2.0, 120.0  # seconds without a word, until a key is pressed again; until the end
#: Makes the terminal that a process has as its input the one that controls it: Ctrl-C is heard.
ITS_OWN = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"


def called(words: Sequence[object], given: str = "", columns: int = COLUMNS) -> tuple[int, bytes]:
    """(exit status, bytes on the terminal) of the command line's entry point, in this process."""
    master, slave = os.openpty()
    arrived = bytearray()

    def listen() -> None:
        while True:
            try:
                arrived.extend(os.read(master, 1 << 16))
            except OSError:  # the other end is closed
                return

    listener = threading.Thread(target=listen)
    listener.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(slave, "w", encoding="utf-8") as screen:
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", str(columns))
        patch.setattr(sys, "argv", ["pxvm", *map(str, words)])
        keyboard = io.BytesIO(given.encode())
        keyboard.name = "<stdin>"  # type: ignore[attr-defined]
        patch.setattr(sys, "stdin", io.TextIOWrapper(keyboard, "utf-8"))
        patch.setattr(sys, "stdout", screen)
        patch.setattr(sys, "stderr", screen)
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
    listener.join()
    os.close(master)
    return status, bytes(arrived)


def typed(
    code: str, *keys: bytes, prompt: bytes | Sequence[bytes] = b"READY", columns: int = COLUMNS
) -> str:
    """What a Python program shows on a terminal where keys are pressed at each of its prompts.

    Several prompts are what is waited for before each of the keys.
    """
    terminal, slave = os.openpty()
    # Not pty.fork(), whose child may stand still: the threads of this process are not in it, but
    # what they held is.
    process = subprocess.Popen(
        [sys.executable, "-c", ITS_OWN + code],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": str(columns)},
    )
    os.close(slave)
    shown, rest, place, last = bytearray(), list(keys), 0, b""
    prompts = [prompt] * len(keys) if isinstance(prompt, bytes) else list(prompt)
    end = time.monotonic() + MOST
    while True:
        if not select.select([terminal], [], [], PATIENCE)[0]:
            if time.monotonic() > end:
                process.kill()
                raise AssertionError(f"nothing more is shown after {bytes(shown)!r}")
            if last.endswith(CTRL_C):  # between two keys Python's readline does not hear it
                os.write(terminal, CTRL_C)
            continue
        try:
            block = os.read(terminal, 1 << 16)
        except OSError:  # the program has ended
            break
        if not block:
            break
        shown.extend(block)
        while rest and (found := shown.find(prompts[0], place)) >= 0:
            place = found + len(prompts.pop(0))
            last = rest.pop(0)
            os.write(terminal, last)
    os.close(terminal)
    process.wait()
    return shown.decode()
