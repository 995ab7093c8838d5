"""How a program may be run, and the best that is known of it: what ``auto`` goes by.

``settings`` is the one table of choices that change how long a run takes and never a byte of what
it leaves. What was measured to be best stands in ``choices.json`` in the cache folder, under the
shape of the program, the machine, and how many of its processors were busy with something else.
Where that file is, ordinary runs note what they took (``notes``), and that counts as well. Without
it everything is as the table says by default, and nothing is noted.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pxvm.core import notes
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import PxvmError
from pxvm.core.reading import read_bytes
from pxvm.core.resources import processors
from pxvm.core.saving import replacing
from pxvm.core.tensor import Role

CPUS = Path("/proc/cpuinfo")
PROMPT, ROWS = 512, 1024  # tokens in one execution: of a prompt, of sentences padded to a length
FRESH = 1.0  # seconds that a count of neighbours holds
GAIN, LOSS = 1.02, 0.98  # what settings must gain in the mean, and may lose in one kind of work
UNPAIRED = 1.1  # and where they were not measured in turns with the defaults, but in runs at will
CONTROL = 8  # to compare, every second ordinary run has the defaults at first, then one of so many


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
DEFAULTS = notes.text_of({})
_OFF = ContextVar("off", default=False)


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


def parsed(text: str) -> dict[str, Any] | None:
    """``checked`` of settings as JSON."""
    try:
        return checked(json.loads(text))
    except (ValueError, RecursionError):
        return None


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
    busy = notes.Busy()
    if busy.ticks is None:
        return 0
    time.sleep(notes.LOOK)
    return busy.count() or 0


def key(shape: str, busy: int) -> str:
    """The name under which the best is kept."""
    return notes.key(shape, machine(), busy)


def _file() -> Path:
    return notes.folder() / "choices.json"


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


@contextmanager
def defaults() -> Iterator[None]:
    """Inside, nothing is known and nothing is noted: what measures the defaults needs them."""
    before = _OFF.set(True)
    try:
        yield
    finally:
        _OFF.reset(before)


def known() -> Mapping[str, dict[str, Any]] | None:
    """What ``auto`` goes by; None where it is switched off."""
    if _OFF.get():
        return None
    try:
        path = _file()
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, PxvmError):
        return None


@lru_cache(1)
def _read(path: Path, changed: int) -> Mapping[str, dict[str, Any]]:
    """The file, as far as it is whole."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(read_bytes(path))
        if isinstance(found, dict):
            every = {name: checked(chosen) for name, chosen in found.items()}
            return {name: chosen for name, chosen in every.items() if chosen is not None}
    return {}


def best(program: TensorProgram) -> dict[str, Any]:
    """The settings that differ from the defaults for a program like this, here and now."""
    there = known()
    if there is None:
        return {}
    begin = key(shape_of(program), 0).removesuffix("0 busy")
    noted = [note for note in notes.read() if note.key.startswith(begin)]
    ways = {note.settings for note in noted} - {DEFAULTS}
    if not ways and not any(name.startswith(begin) for name in there):
        return {}  # nothing to choose from: no need to look at the neighbours
    name = f"{begin}{neighbours()} busy"
    return judged(there.get(name, {}), [note for note in noted if note.key == name])


def judged(tuned: Mapping[str, Any], noted: Sequence[notes.Note]) -> dict[str, Any]:
    """What settings an ordinary run takes.

    Args:
        tuned: what was measured to be best in turns with the defaults, empty where nothing was.
        noted: of ordinary runs of the same key; they say when the tuned settings no longer gain,
            and when others, which somebody named, do.
    """
    rated = notes.rated(noted)
    chosen = dict(tuned)
    if not tuned or notes.text_of(tuned) in rated:
        chosen, top = {}, 0.0
        for text, works in sorted(rated.items()):
            ratios = [ratio for ratio, _ in works.values()]
            settings, gained = parsed(text), notes.mean(ratios)
            least = 1.0 if settings == tuned else UNPAIRED
            everywhere = works.keys() >= rated[DEFAULTS].keys() and min(ratios) >= LOSS
            if settings and everywhere and gained >= max(least, top):
                chosen, top = settings, gained
    ways = [note.settings for note in noted]
    plain, count = ways.count(DEFAULTS), ways.count(notes.text_of(chosen))
    enough = min(count, max(notes.FEW, count // CONTROL))
    return chosen if plain >= enough else {}


@dataclass(frozen=True)
class Plan:
    """How an ordinary run goes.

    Attributes:
        chosen: settings, where nobody named others.
        watch: takes the time of its executions.
    """

    chosen: Mapping[str, Any] = field(default_factory=dict)
    watch: notes.Watch | notes.Unwatched = field(default_factory=notes.Unwatched)


def plan(program: TensorProgram, device: str, threads: int | None) -> Plan:
    """The plan of a run for which a person named a device and threads, or left them open."""
    if known() is None:
        return Plan()
    chosen = best(program) if device == "auto" else {}
    settings: dict[str, Any] = chosen if device == "auto" else {"device": device}
    if threads is not None:
        settings = {k: v for k, v in settings.items() if k != "threads"}
        if threads < processors():
            settings["threads"] = threads
    if checked(settings) is None:
        return Plan(chosen)
    return Plan(chosen, notes.Watch(shape_of(program), machine(), settings))
