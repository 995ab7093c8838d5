"""What can go wrong between a question and its answer, in sentences for the one who asks."""

from __future__ import annotations

from pxvm.core.errors import PxvmError


class BackendError(PxvmError, RuntimeError):
    """A language model that cannot be reached, or does not answer as it should."""


class ContextTooLongError(BackendError):
    """What was sent is longer than the model's context; less of it may do."""
