"""What the knowledge network refuses or cannot do."""

from __future__ import annotations

from pxvm.core.errors import PxvmError


class RecordError(PxvmError, ValueError):
    """A record cannot be stored as it is."""


class UnknownRecordError(PxvmError, LookupError):
    """No record, or more than one, answers to a name or number."""


class NetworkError(PxvmError, RuntimeError):
    """A network cannot be opened, locked or written."""


class BusyError(NetworkError):
    """Another process is writing the network, and did not finish in time."""


class UnreadableError(PxvmError, ValueError):
    """A document cannot be read."""
