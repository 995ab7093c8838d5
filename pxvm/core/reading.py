"""Inputs: a file that is opened is a regular one, so that nothing waits for a pipe without end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from pxvm.core.errors import FormatError
from pxvm.core.saving import PathLike

# A pipe is opened at once, though nobody writes to it, and a terminal does not become ours.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: PathLike, flags: int = os.O_RDONLY) -> int:
    """The descriptor of a regular file.

    Args:
        flags: as for ``os.open``.

    Raises:
        FormatError: it is a pipe, a device or a socket, or no file can have this name.
        OSError: it is a folder, missing, or may not be opened.
    """
    try:
        descriptor = os.open(path, flags | _AT_ONCE, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:  # what a socket gives
            raise _irregular(path) from None
        raise
    except ValueError:  # such a name stands in another file
        raise FormatError(f"{os.fspath(path)!a}: expected the name of a file; found none") from None
    try:
        check_regular(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_regular(path: PathLike, status: os.stat_result | None = None) -> os.stat_result:
    """What the system says of a regular file, for a library that opens it by its path.

    Raises as ``open_regular``.
    """
    status = status or Path(path).stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise _irregular(path)
    return status


def _irregular(path: PathLike) -> FormatError:
    return FormatError(f"{os.fspath(path)}: expected a regular file; found a device or pipe")


def open_binary(path: PathLike) -> BinaryIO:
    """A regular file to read; raises as ``open_regular``."""
    return os.fdopen(open_regular(path), "rb")


def read_bytes(path: PathLike, most: int | None = None) -> bytes:
    """All of a regular file; raises as ``open_regular``, and FormatError where it is larger than
    ``most`` bytes."""
    with open_binary(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if most is not None and size > most:
            raise FormatError(f"{os.fspath(path)}: expected at most {most} bytes; found {size}")
        return stream.read()
