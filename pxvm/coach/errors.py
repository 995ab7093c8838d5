"""What the coach refuses."""

from __future__ import annotations

from pxvm.core.errors import PxvmError


class TaskError(PxvmError, ValueError):
    """A task that is malformed, or a program that does not fit it."""
