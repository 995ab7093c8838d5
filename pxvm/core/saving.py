"""Outputs: the whole new file or the old one untouched, and never over what is being read."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pxvm.core.errors import FormatError, OutputError

PathLike = str | os.PathLike[str]


def check_output(output: PathLike, *inputs: PathLike) -> None:
    """Refuse an output before any work is done for it.

    Args:
        inputs: files that are read for it; those that are not there count for nothing. Standard
            input is always one of them.

    Raises:
        OutputError: it is one of the inputs, by its name, by a link or by another spelling.
        FormatError: something stands there that is no regular file, such as a device.
        OSError: it is a folder, its folder is missing, or it may not be written.
    """
    _status(output)
    if _is_standard_input(output):
        raise OutputError(
            f"{os.fspath(output)}: the output is the same file as standard input; give another name"
        )
    for source in inputs:
        if _same(output, source):
            raise OutputError(
                f"{os.fspath(output)}: the output is the same file as the input"
                f" {os.fspath(source)}; give another name"
            )


def _is_standard_input(path: PathLike) -> bool:
    try:
        return os.path.samestat(Path(path).stat(), os.fstat(0))
    except OSError:  # nothing stands there, or nothing is open
        return False


def _same(one: PathLike, other: PathLike) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:  # one of them does not exist
        return False


def _status(path: PathLike) -> os.stat_result | None:
    """What stands where a file is to be written, if anything; errors as ``check_output``."""
    target = Path(os.path.realpath(path))
    try:
        old = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        if not target.parent.is_dir():
            reason = f"there is no folder {Path(path).parent}"
            raise FileNotFoundError(errno.ENOENT, reason, os.fspath(path)) from None
        if not os.access(target.parent, os.W_OK):
            raise _denied(path) from None
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(old.st_mode):
        raise FormatError(
            f"{os.fspath(path)}: expected a regular file to replace, found a device or pipe"
        )
    if not (os.access(target, os.W_OK) and os.access(target.parent, os.W_OK)):
        raise _denied(path)
    return old


def _denied(path: PathLike) -> OSError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of ``path`` when the block ends well.

    A temporary file in the same folder is written, synced and renamed. Mode bits of a file that
    is replaced are kept, a link is followed.

    Raises FormatError and OSError, which name ``path``; what stood there is untouched then.
    """
    old = _status(path)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".pxvm-{secrets.token_hex(6)}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        # 0o666 leaves the mode of a new file to the user's umask.
        descriptor = os.open(temporary, flags, 0o666)
        with os.fdopen(descriptor, "w+b", buffering=1 << 20) as stream:
            if old:
                _copy_mode(old, temporary)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, os.fspath(temporary)):
            error.filename = os.fspath(path)  # a full disk names none, and nobody knows ours
        raise
    _sync_folder(target.parent)


def _copy_mode(old: os.stat_result, temporary: Path) -> None:
    if hasattr(os, "chown"):
        with contextlib.suppress(PermissionError):
            os.chown(temporary, old.st_uid, old.st_gid)
    temporary.chmod(stat.S_IMODE(old.st_mode))


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where folders can be synced."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
