"""The closed set of errors: each a ``PxvmError`` and the fitting standard exception.

A message says where (byte offset, instruction, row), what was expected, what was found, and how
to mend it.
"""

from __future__ import annotations


class PxvmError(Exception):
    """Anything that pxvm refuses or cannot do."""


class FormatError(PxvmError, ValueError):
    """A file is not a valid `.pxi`."""


class LimitError(FormatError):
    """A file or image is over a stated limit."""


class ProgramError(PxvmError, ValueError):
    """A program is malformed and was refused before it ran."""


class AssemblyError(PxvmError, ValueError):
    """Font-code text cannot be assembled."""


class ExecutionError(PxvmError, RuntimeError):
    """An instruction cannot be executed."""


class DeviceError(PxvmError, RuntimeError):
    """An executor is missing or cannot be used here."""


class OutputError(PxvmError, ValueError):
    """An output that would destroy what is read."""


class MissingPackageError(PxvmError, ImportError):
    """A package of an extra is not installed, or cannot be loaded."""
