"""Calls into libraries that a stranger's data can break: what comes back is an answer or one error.

The libraries in Rust raise ``PanicException``, which is no ``Exception``, and cannot be stopped:
a call has a time limit, after which it is left behind in its thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pxvm.core.errors import FormatError, PxvmError

Result = TypeVar("Result")
MAX_REASON = 200


def reason(error: object) -> str:
    """The first line of a message, cut where it is long."""
    lines = str(error).strip().splitlines()
    return lines[0][:MAX_REASON] if lines else type(error).__name__


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Raises FormatError, ``what`` and the reason, for whatever a library raises inside."""
    try:
        yield
    except (PxvmError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise FormatError(f"{what}: {reason(error)}") from None
