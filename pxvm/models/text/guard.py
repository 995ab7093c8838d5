"""Calls into libraries that a stranger's data can break: what comes back is an answer or one error.

The libraries in Rust raise ``PanicException``, which is no ``Exception``, and cannot be stopped:
a call has a time limit, after which it is left behind in its thread.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import BinaryIO, TypeVar, cast

from pxvm.core.errors import FormatError, PxvmError

Result = TypeVar("Result")
MAX_REASON = 200
PANIC = re.compile(
    rb"\n?thread '[^\n]*panicked at [^\n]*\n[^\n]*\n"
    rb"(stack backtrace:\n( +[^\n]*\n)*)?(note: [^\n]*\n)*"
)
_standard_error = threading.Lock()
_stacks = threading.Lock()  # the size of the next thread's stack is one for all


class LateError(FormatError):
    """A call that took longer than it may."""


def reason(error: object) -> str:
    """The first line of a message, cut where it is long."""
    lines = str(error).strip().splitlines()
    return lines[0][:MAX_REASON] if lines else type(error).__name__


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Raises FormatError, ``what`` and the reason, for whatever a library raises inside."""
    try:
        with _without_panics():
            yield
    except (PxvmError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise FormatError(f"{what}: {reason(error)}") from None


@contextmanager
def _without_panics() -> Iterator[None]:
    """Keeps from standard error what Rust writes there of a panic before Python hears of it.

    All else that is written meanwhile follows at the end. Of calls at the same time one does this.
    """
    if not _standard_error.acquire(blocking=False):
        yield
        return
    try:
        try:
            real = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        kept = _kept()
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            kept.seek(0)
            os.write(real, PANIC.sub(b"", kept.read()))
            kept.truncate(0)
            kept.seek(0)
            os.close(real)
    finally:
        _standard_error.release()


@cache
def _kept() -> BinaryIO:
    """Where standard error goes meanwhile."""
    return cast("BinaryIO", tempfile.TemporaryFile(buffering=0))


def timed(seconds: float, what: str, call: Callable[[], Result], *, stack: int = 0) -> Result:
    """What a call gives within a time; raises FormatError where it raises or takes longer.

    A call that takes longer goes on in its thread, which nobody can end: never call again what
    did so once.

    Args:
        stack: bytes of the thread's, for what calls itself deeply; 0 takes the usual ones.
    """
    found: list[Result] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    with _without_panics():
        with _stacks:
            usual = threading.stack_size(stack)
            thread.start()
            threading.stack_size(usual)
        thread.join(seconds)
    if failed:
        with guarded(what):
            raise failed[0]
    if not found:
        raise LateError(f"{what}: it takes more than {seconds:.0f} seconds")
    return found[0]
