"""What tuning refuses."""

from __future__ import annotations

from pxvm.core.errors import PxvmError


class TuneError(PxvmError, ValueError):
    """Something that cannot be tuned, or is not what tuning takes."""
