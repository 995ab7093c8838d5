"""Memory that is a file's: mapped privately, longer than the file where wanted, and watched.

Writing to such memory never changes the file. The other way round no system helps: pages that
another program overwrites in place change under the reader, and those of a file that is cut
shorter are gone, so that touching one ends the process (SIGBUS). A mapping therefore knows its
file and says, before and after each run, whether it is still what it was.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError
from pxvm.core.png import Source, file_state


class MappedFile:
    """A file that memory is mapped from, kept open to see whether it changes.

    Attributes:
        size: bytes of the file when it was opened.
    """

    def __init__(self, source: Source) -> None:
        self._name, self._state = source.name, source.state
        self._descriptor = os.dup(source.stream.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self.size = source.size

    def check(self) -> None:
        """Raise FormatError when the file has been written to or cut since it was opened."""
        before, now = self._state, file_state(self._descriptor)
        if now != before:
            what = "written to" if now[0] == before[0] else f"{before[0]} bytes then, {now[0]} now"
            raise FormatError(
                f"{self._name}: expected the file as it was when it was opened, found {what}; open"
                " it again, and replace files by renaming, not by writing over them"
            )

    def map(self, length: int) -> Mapping:
        """``length`` bytes of private memory: the file's, and zeros where it is longer.

        Raises FormatError when the file has changed; OSError.
        """
        self.check()
        if length <= self.size:
            mapping = Mapping(self._descriptor, length, access=mmap.ACCESS_COPY)
        else:
            mapping = _map_longer(self._descriptor, self.size, length)
        mapping.file = self
        return mapping


class Mapping(mmap.mmap):
    """Private memory of a file that it holds on to."""

    file: MappedFile


def can_map_longer() -> bool:
    """Can this system put zeros behind a mapped file?"""
    return os.name == "posix" and ctypes.sizeof(ctypes.c_long) == 8


def _map_longer(descriptor: int, size: int, length: int) -> Mapping:
    """A private mapping of a file that goes on with zeros up to ``length`` bytes.

    An anonymous mapping reserves the addresses and unmaps them all when it is collected; the
    file is laid over its front, where MAP_FIXED replaces the pages.
    """
    no_reserve = 0x4000 if sys.platform == "linux" else 0
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve
    mapping = Mapping(-1, length, flags=flags)
    system_map = ctypes.CDLL(None, use_errno=True).mmap
    system_map.restype = ctypes.c_void_p
    system_map.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    fixed = 0x10  # MAP_FIXED, on Linux, macOS and the BSDs alike
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    placed = system_map(address, size, protection, mmap.MAP_PRIVATE | fixed, descriptor, 0)
    if placed != address:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return mapping


def mapped_file(image: NDArray[np.uint8]) -> MappedFile | None:
    """The file that an image, or the one that it is a view of, is mapped from."""
    owner: Any = image
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner.file if isinstance(owner, Mapping) else None


def check_unchanged(image: NDArray[np.uint8]) -> None:
    """Raise FormatError when ``image`` is mapped from a file that has changed since."""
    if (file := mapped_file(image)) is not None:
        file.check()


def watched(run: Callable[..., int]) -> Callable[..., int]:
    """A method that runs ``self.image``, refused before and after where its file has changed."""

    @functools.wraps(run)
    def checked(self: Any, *arguments: Any, **named: Any) -> int:
        check_unchanged(self.image)
        made = run(self, *arguments, **named)
        check_unchanged(self.image)
        return made

    return checked
