"""The few operations on files that the network needs, so that a test can put a crashing disk here.

Positions and sizes are bytes. Everything else in the room reaches the disk through `Files`.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from pxvm.core.errors import FormatError
from pxvm.core.reading import check_regular, open_regular
from pxvm.learning.errors import NetworkError


class Handle:
    """An open file, read and written at positions; safe to share between threads."""

    def __init__(self, path: Path, *, writable: bool, create: bool) -> None:
        self._descriptor = -1
        flags = os.O_RDWR if writable else os.O_RDONLY
        if create:
            flags |= os.O_CREAT | os.O_TRUNC
        try:
            self._descriptor = open_regular(path, flags)
        except FormatError as error:  # nothing that is damaged: something else has its name
            raise NetworkError(f"{error}; move it away") from None
        self._turn = threading.Lock()

    def read(self, position: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``position``; fewer only at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, position)
        with self._turn:
            os.lseek(self._descriptor, position, os.SEEK_SET)
            return os.read(self._descriptor, size)

    def write(self, position: int, data: bytes) -> None:
        """Writes all of ``data`` at ``position``; `OSError` when the disk is full or failing."""
        view = memoryview(data)
        while view:
            if hasattr(os, "pwrite"):
                done = os.pwrite(self._descriptor, view, position)
            else:
                with self._turn:
                    os.lseek(self._descriptor, position, os.SEEK_SET)
                    done = os.write(self._descriptor, view)
            view, position = view[done:], position + done

    def sync(self) -> None:
        """Returns when everything written is on the medium."""
        if sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(self._descriptor, fcntl.F_FULLFSYNC)
        elif hasattr(os, "fdatasync"):
            os.fdatasync(self._descriptor)
        else:
            os.fsync(self._descriptor)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def identity(self) -> tuple[int, int]:
        """What tells this file from another that was renamed over its path."""
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class Files:
    """The real file system."""

    def open(self, path: Path, *, writable: bool = False, create: bool = False) -> Handle:
        """Opens ``path``; with ``create`` it is made anew and empty."""
        return Handle(path, writable=writable, create=create)

    def exists(self, path: Path) -> bool:
        return path.exists()

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def identity(self, path: Path) -> tuple[int, int]:
        """Like `Handle.identity`, of what stands at ``path`` now."""
        status = path.stat()
        return status.st_dev, status.st_ino

    def names(self, directory: Path) -> list[str]:
        """Names of the files in ``directory``, in no order."""
        return [entry.name for entry in directory.iterdir()]

    def replace(self, source: Path, target: Path) -> None:
        """Renames ``source`` to ``target`` in one step, over whatever was there; see `settle`."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Deletes a file."""
        path.unlink(missing_ok=True)

    def remove_from(self, folder: Path, names: re.Pattern[str]) -> None:
        """Deletes the files of these names from a folder, and the folder if nothing is left.

        Links are not followed: what is one, or stands in one, stays.
        """
        if folder.is_symlink() or not folder.is_dir():
            return
        for path in folder.iterdir():
            if names.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            folder.rmdir()

    def lock(self, path: Path) -> FileLock:
        """The lock file at ``path``, to be held against other processes; freed when one dies."""
        with suppress(FileNotFoundError):
            check_regular(path)
        return FileLock(path)

    def settle(self, directory: Path) -> None:
        """Returns when the names in ``directory`` are on the medium (where a system can say so)."""
        if os.name == "nt":
            return
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
