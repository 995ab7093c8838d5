"""How a program may be run, and the best that is known of it: what ``auto`` goes by.

``settings`` is the one table of choices that change how long a run takes and never a byte of what
it leaves. What was measured to be best stands in ``choices.json`` in the cache folder, under the
shape of the program, the machine, and how many of its processors were busy with something else.
Without that file everything is as the table says by default.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import PxvmError
from pxvm.core.installation import cache_folder
from pxvm.core.resources import processors
from pxvm.core.saving import replacing
from pxvm.core.tensor import Role

CPUS, STATISTICS = Path("/proc/cpuinfo"), Path("/proc/stat")
PROMPT, ROWS = 512, 1024  # tokens in one execution: of a prompt, of sentences padded to a length
LOOK, FRESH = 0.04, 1.0  # seconds in which neighbours are counted, and that the count holds


@dataclass(frozen=True)
class Setting:
    """A choice.

    Attributes:
        default: what is taken where nothing better is known.
        values: others that may be better.
        what: it is.
        work: kinds of work that it can change.
    """

    default: Any
    values: tuple[Any, ...]
    what: str
    work: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        """Whether a value may be taken on this machine."""
        known = value == self.default or value in self.values
        return known and type(value) in {type(self.default), *map(type, self.values)}


#: Kinds of work that are measured: a program's run, a search's scores; a language model that takes
#: a prompt in, and one that answers; an encoder with one sentence at a time, and with many.
WORK = ("run", "prompt", "decode", "one sentence", "many sentences")


@cache
def settings() -> Mapping[str, Setting]:
    """The table, for this machine."""
    counts = tuple(n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64) if n < processors())
    return {
        "threads": Setting(None, counts, "worker threads; by default every processor", WORK),
        "device": Setting(
            "auto",
            ("reference", "cpu:portable", "gpu:planned", "gpu:resident"),
            "executor; by default the processor with its widest products, or a GPU that gains",
            WORK,
        ),
        "prompt": Setting(
            PROMPT, (64, 128, 256), "tokens of a prompt in one execution", ("prompt",)
        ),
        "rows": Setting(
            ROWS, (64, 128, 256, 512), "tokens of sentences in one execution", ("many sentences",)
        ),
    }


def checked(chosen: Any) -> dict[str, Any] | None:
    """Settings that the table allows, or None: they come from files that anyone may write."""
    table = settings()
    if not isinstance(chosen, dict) or not chosen.keys() <= table.keys():
        return None
    fits = all(table[name].allows(value) for name, value in chosen.items())
    return dict(chosen) if fits else None


def shape_of(program: TensorProgram) -> str:
    """A name of all programs like this one: the same instructions on constants of the same shapes.

    How many tokens or rows it was opened for does not count.
    """
    parts = [bytes(program.code)]
    for d in program.descriptors:
        if d.role == Role.CONSTANT:
            parts.append(repr((d.name, d.dtype, d.extents)).encode())
    digest = hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]
    return f"{len(program.instructions)} instructions, {digest}"


@cache
def machine() -> str:
    """Processor, how many of them, and system."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = CPUS.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((v.split(":", 1)[1].strip() for v in lines if v.startswith("model name")), name)
    return f"{processors()} x {name[:80]}, {platform.system()}"


def neighbours() -> int:
    """Processors that others keep busy, about, of the last second; 0 where no system tells."""
    return _neighbours(int(time.monotonic() / FRESH))


@lru_cache(1)
def _neighbours(second: int) -> int:
    begin, own = _busy(), time.process_time()
    if begin is None:
        return 0
    time.sleep(LOOK)
    end = _busy()
    assert end is not None
    spent = (end - begin) / os.sysconf("SC_CLK_TCK") - (time.process_time() - own)
    return min(max(round(spent / LOOK), 0), processors())


def _busy() -> int | None:
    """Ticks in which the machine's processors worked."""
    with suppress(OSError, ValueError, IndexError):
        first = STATISTICS.read_text(encoding="ascii").split("\n", 1)[0].split()
        user, nice, system, _, _, interrupts, soft = map(int, first[1:8])
        return user + nice + system + interrupts + soft
    return None


def key(shape: str, busy: int) -> str:
    """The name under which the best is kept."""
    return f"{shape} | {machine()} | {busy} busy"


def _file() -> Path:
    return cache_folder() / "choices.json"


def switch(best: Mapping[str, Mapping[str, Any]] | None) -> None:
    """Let ``auto`` go by these settings, by ``key``; None: by the defaults, as at first."""
    path = _file()
    if best is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(json.dumps(best, indent=1).encode())
    _read.cache_clear()


def known() -> Mapping[str, dict[str, Any]] | None:
    """What ``auto`` goes by; None where it is switched off."""
    try:
        path = _file()
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, PxvmError):
        return None


@lru_cache(1)
def _read(path: Path, changed: int) -> Mapping[str, dict[str, Any]]:
    """The file, as far as it is whole."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            every = {name: checked(chosen) for name, chosen in found.items()}
            return {name: chosen for name, chosen in every.items() if chosen is not None}
    return {}


def best(program: TensorProgram) -> dict[str, Any]:
    """The settings that differ from the defaults for a program like this, here and now."""
    there = known()
    if not there:
        return {}
    shape = shape_of(program)
    if not any(name.startswith(f"{shape} | {machine()} | ") for name in there):
        return {}
    return dict(there.get(key(shape, neighbours()), {}))
