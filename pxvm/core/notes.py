"""What ordinary runs took, noted in a file while ``auto`` goes by what was measured.

Every line of ``runs.jsonl`` in the cache folder tells what some executions of one program took: its
``choices.key``, the kind of work, what of it is alike, the settings, and seconds for each unit. A
run measures what it does anyway, so only what was alike is compared, by medians: a way of running
counts when ``FEW`` lines of it stand beside ``FEW`` of the defaults.
"""

from __future__ import annotations

import json
import math
import os
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.core.installation import cache_folder
from pxvm.core.reading import open_binary, open_regular
from pxvm.core.resources import processors
from pxvm.core.saving import replacing

STATISTICS = Path("/proc/stat")
LOOK = 0.04  # seconds that neighbours must be counted for
STRETCH = 0.5  # seconds of work behind which a line is written; from one to the next twice as many
MOST = 1 << 17  # bytes of the file: then the older half of its lines goes
FEW = 5  # lines that a median is taken of
LONGEST, SLOWEST = 400, 1e6  # characters of a field, seconds


@dataclass(frozen=True)
class Note:
    """What some executions took.

    Attributes:
        key: see ``choices.key``.
        work: a kind of it: one of ``choices.WORK``.
        alike: what else has to be the same where two notes are compared.
        settings: of ``choices.settings``, as JSON in the order of their names.
        seconds: for each unit of the work.
    """

    key: str
    work: str
    alike: str
    settings: str
    seconds: float

    def __post_init__(self) -> None:
        texts = (self.key, self.work, self.alike, self.settings)
        if not all(isinstance(text, str) and len(text) <= LONGEST for text in texts):
            raise ValueError("expected short texts")
        if type(self.seconds) is not float or not 0 < self.seconds < SLOWEST:  # NaN is neither
            raise ValueError("expected seconds")


class Busy:
    """How many processors others kept busy since this was made."""

    def __init__(self) -> None:
        self.ticks, self.own, self.begun = _ticks(), time.process_time(), time.monotonic()

    def count(self) -> int | None:
        """About; 0 where no system tells, None where it was not long enough to tell."""
        span, ticks = time.monotonic() - self.begun, _ticks()
        if span < LOOK:
            return None
        if self.ticks is None or ticks is None:
            return 0
        spent = (ticks - self.ticks) / os.sysconf("SC_CLK_TCK")
        others = spent - (time.process_time() - self.own)
        return min(max(round(others / span), 0), processors())


def _ticks() -> int | None:
    """Ticks in which the machine's processors worked."""
    with suppress(OSError, ValueError, IndexError):
        first = STATISTICS.read_text(encoding="ascii").split("\n", 1)[0].split()
        user, nice, system, _, _, interrupts, soft = map(int, first[1:8])
        return user + nice + system + interrupts + soft
    return None


class Watch:
    """Takes the time of one program's executions; a line now and then, and one at the end.

    Args:
        shape, machine: parts of the key.
        settings: that the program runs with.
    """

    def __init__(self, shape: str, machine: str, settings: Mapping[str, Any]) -> None:
        self._sums = _Sums(shape, machine, text_of(settings))
        weakref.finalize(self, self._sums.write)

    def took(self, work: str, begun: float, units: int = 1, size: int = 0) -> None:
        """Work that began at ``begun`` (``time.perf_counter``) is done.

        Args:
            size: in powers of two, what has to be alike where two are compared.
        """
        self._sums.add(work, size, units, time.perf_counter() - begun)


class Unwatched:
    """A watch where nothing is noted."""

    def took(self, work: str, begun: float, units: int = 1, size: int = 0) -> None:
        """Nothing."""


class _Sums:
    def __init__(self, shape: str, machine: str, settings: str) -> None:
        self.shape, self.machine, self.settings = shape, machine, settings
        self.sums: dict[tuple[str, str], list[float]] = {}
        self.warm: set[str] = set()
        self.limit, self.seconds, self.busy = STRETCH, 0.0, Busy()

    def add(self, work: str, size: int, units: int, seconds: float) -> None:
        cold = "" if work in self.warm else "first, "  # kernels are loaded, pages come in
        self.warm.add(work)
        alike = work, f"{cold}{size.bit_length()}"
        known = self.sums.setdefault(alike, [0.0, 0.0])
        known[0], known[1] = known[0] + seconds, known[1] + units
        self.seconds += seconds
        if self.seconds >= self.limit:
            self.limit *= 2
            self.write()

    def write(self) -> None:
        """Append what there is. A run never fails because nothing can be noted."""
        busy = self.busy.count()
        if busy is not None:
            name = key(self.shape, self.machine, busy)
            with suppress(OSError, ValueError):
                append(
                    Note(name, work, alike, self.settings, seconds / max(units, 1))
                    for (work, alike), (seconds, units) in self.sums.items()
                )
        self.sums, self.seconds, self.busy = {}, 0.0, Busy()


def key(shape: str, machine: str, busy: int) -> str:
    """The name of a program, on a machine, beside so many busy neighbours."""
    return f"{shape} | {machine} | {busy} busy"


def text_of(settings: Mapping[str, Any]) -> str:
    """Settings as one text, always the same."""
    return json.dumps(dict(settings), sort_keys=True)


# -- the file ------------------------------------------------------------------------------------


def folder() -> Path:
    """Where it stands, beside what is known to be best."""
    return cache_folder()


def _file() -> Path:
    return folder() / "runs.jsonl"


def append(notes: Iterable[Note]) -> None:
    """Write notes at the end of the file, all at once; OSError or FormatError where that fails."""
    lines = "".join(json.dumps(asdict(note)) + "\n" for note in notes).encode()
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with os.fdopen(open_regular(path, flags), "ab", buffering=0) as stream:
        stream.write(lines)
        size = stream.tell()
    if size > MOST:
        there = read()
        write(there[len(there) // 2 :])


def write(notes: Sequence[Note]) -> None:
    """Let the file hold these alone."""
    with replacing(_file()) as stream:
        stream.write("".join(json.dumps(asdict(note)) + "\n" for note in notes).encode())


def read() -> tuple[Note, ...]:
    """The file's lines that are notes, the oldest first; it may hold anything."""
    try:
        path = _file()
        state = path.stat()
        return _read(path, state.st_mtime_ns, state.st_size)
    except (OSError, ValueError):
        return ()


@lru_cache(1)
def _read(path: Path, changed: int, size: int) -> tuple[Note, ...]:
    found = []
    with open_binary(path) as stream:
        stream.seek(max(0, size - 2 * MOST))
        for line in stream.read(2 * MOST).splitlines():
            with suppress(ValueError, TypeError, RecursionError):
                found.append(Note(**json.loads(line)))
    return tuple(found)


# -- what they tell ------------------------------------------------------------------------------

Rated = Mapping[str, Mapping[str, tuple[float, float]]]


def rated(notes: Iterable[Note]) -> Rated:
    """(the default's seconds over those of settings, their seconds), by settings and work.

    Of notes of one key; medians of what is alike, and of several such the mean of the ratios.
    """
    taken: dict[tuple[str, str], dict[str, list[float]]] = {}
    for note in notes:
        place = taken.setdefault((note.work, note.alike), {})
        place.setdefault(note.settings, []).append(note.seconds)
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for (work, _), by_settings in taken.items():
        medians = {s: float(np.median(v)) for s, v in by_settings.items() if len(v) >= FEW}
        default = medians.get(text_of({}))
        for settings, seconds in medians.items():
            if default is not None:
                pairs = found.setdefault(settings, {}).setdefault(work, [])
                pairs.append((default / seconds, seconds))
    return {
        settings: {
            work: (mean(r for r, _ in pairs), float(np.median([s for _, s in pairs])))
            for work, pairs in works.items()
        }
        for settings, works in found.items()
    }


def mean(ratios: Iterable[float]) -> float:
    """The geometric mean."""
    logs = [math.log(max(ratio, 1e-9)) for ratio in ratios]
    return math.exp(math.fsum(logs) / len(logs))
