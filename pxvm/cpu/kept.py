"""Compiled kernels on disk: under what name they are kept, and which of them are trusted.

The folder's name is a hash of everything that machine code depends on, so that a change of any of
it compiles anew. Loaded is only what nobody else can have written: a plain file of the user's (or
the system's) own, in a folder of theirs, closed to others. Anything else is ignored with a word.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import stat
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from pxvm.core.installation import cache_folder
from pxvm.core.isa import OPCODES
from pxvm.cpu import native

ROOT = Path(__file__).parents[2]
FIRST = "pxvm.cpu.kernels"
IMPORT = re.compile(r"^from (pxvm\b[\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)
OTHERS = stat.S_IWGRP | stat.S_IWOTH


def sources(first: str = FIRST, root: Path = ROOT) -> dict[str, bytes]:
    """Source of a module and of every module of ours that it imports, on whatever way."""
    found: dict[str, bytes] = {}
    waiting = {first}
    while waiting:
        module = waiting.pop()
        path = root / (module.replace(".", "/") + ".py")
        if not path.is_file():
            continue
        found[module] = path.read_bytes()
        for base, names in IMPORT.findall(found[module].decode()):
            waiting.add(base)
            if (root / base.replace(".", "/")).is_dir():  # its names may be modules
                waiting.update(f"{base}.{name}" for name in re.findall(r"\w+", names))
        waiting -= found.keys()
    return found


def inputs() -> dict[str, str]:
    """Everything that the kernels' machine code depends on, by name."""
    opcodes = [
        (op.code, op.name, op.dialect, [m.name for m in op.operands], op.types, op.parameters)
        for op in OPCODES
    ]
    code = {name: hashlib.sha256(source).hexdigest() for name, source in sources().items()}
    return code | {
        "opcodes": repr(opcodes),
        "python": sys.version,
        "numpy": np.__version__,
        "numba": _numba(),
        "llvm": native.compiler(),
        "processor": native.features(),
        "tiles": repr(native.have_amx()),
    }


def _numba() -> str:
    """Numba's statement of its version, read and not imported: that takes a second."""
    found = importlib.util.find_spec("numba")
    assert found and found.origin
    return Path(found.origin).with_name("_version.py").read_text(encoding="utf-8")


def name_of(values: dict[str, str]) -> str:
    """The folder's name for such inputs."""
    digest = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()
    return f"kernels-{digest[:16]}"


@cache
def _name() -> str:
    return name_of(inputs())


def folder() -> Path:
    """Where kernels are kept: below the user's cache folder."""
    return cache_folder() / _name()


class Kept:
    """The kernels in a folder. ``trusted`` is False where others may write to it."""

    def __init__(self, place: Path) -> None:
        self.place, self.trusted = place, True
        with suppress(OSError):  # a folder that cannot be made costs compiling every time
            place.parent.mkdir(parents=True, exist_ok=True)
            place.mkdir(mode=0o700, exist_ok=True)
        try:
            found = place.lstat()
        except OSError:
            return
        if not stat.S_ISDIR(found.st_mode) or not _ours(found):
            self.trusted = False
            _warn(place, "others may write to it; kernels are compiled for this run alone")

    def read(self, name: str) -> bytes:
        """A kernel's machine code; nothing where none is kept that can be trusted."""
        path = self.place / f"{name}.o"
        if not self.trusted:
            return b""
        # A link is not followed, and opening a FIFO does not wait.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            file = os.open(path, flags | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            return b""
        except OSError as error:
            _warn(path, f"{error.strerror}; compiled again")
            return b""
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or not _ours(found):
                _warn(path, "no file that is yours alone; compiled again")
                return b""
            with open(file, "rb", closefd=False) as opened:
                data = opened.read()
        finally:
            os.close(file)
        return data[32:] if data[:32] == _seal(name, data[32:]) else b""

    def write(self, name: str, code: bytes) -> None:
        """Keep a kernel where it can be kept."""
        if not self.trusted:
            return
        path, new = self.place / f"{name}.o", self.place / f"{name}.{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with suppress(OSError):
            try:
                new.unlink(missing_ok=True)
                with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
                    file.write(_seal(name, code) + code)
                new.replace(path)
            finally:
                new.unlink(missing_ok=True)


def _seal(name: str, code: bytes) -> bytes:
    """What stands in front of kept code: a hash that finds damage, and another kernel's file."""
    return hashlib.sha256(f"{_name()} {name} ".encode() + code).digest()


def _ours(found: os.stat_result) -> bool:
    """True for what the user or the system owns and no one else may write."""
    if not hasattr(os, "geteuid"):
        return True  # a system without such owners and modes
    return found.st_uid in (os.geteuid(), 0) and not found.st_mode & OTHERS


def _warn(path: Path, reason: str) -> None:
    print(f"pxvm: {str(path)!r}: {reason}", file=sys.stderr, flush=True)
