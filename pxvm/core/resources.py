"""What this machine lets a process have: processors and memory, container limits included."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from pxvm.core.errors import DeviceError, ProgramError

CGROUP = Path("/sys/fs/cgroup")
MEMORY = Path("/proc/meminfo")


@cache
def processors() -> int:
    """Processors that this process may use: its affinity, and the container's share."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota, _, period = _read(CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        count = min(count, -(-int(quota) // int(period)))
    return max(count, 1)


def threads_for(asked: int | None) -> int:
    """Worker threads: as many as asked for, never more than processors; None takes them all.

    Raises ProgramError below 1.
    """
    if asked is None:
        return processors()
    if asked < 1:
        raise ProgramError(f"threads is at least 1; found {asked}")
    return min(asked, processors())


def free_memory() -> int | None:
    """Bytes that this process can still take, swap included; None where nothing says so."""
    found = []
    fields = dict(line.split(":", 1) for line in _read(MEMORY).splitlines() if ":" in line)
    if "MemAvailable" in fields:
        names = ("MemAvailable", "SwapFree")
        found.append(sum(int(fields.get(name, "0 kB").split()[0]) << 10 for name in names))
    limit, used = _read(CGROUP / "memory.max").strip(), _read(CGROUP / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        statistics = dict(line.split() for line in _read(CGROUP / "memory.stat").splitlines())
        cached = int(statistics.get("inactive_file", 0))  # what the system drops when asked
        found.append(max(int(limit) - int(used) + cached, 0))
    return min(found, default=None)


def require_memory(needed: int, what: str) -> None:
    """Raise DeviceError where ``what`` needs more bytes than are free; nothing is taken before."""
    free = free_memory()
    if free is not None and needed > free:
        raise DeviceError(f"{what} needs {size_text(needed)} of memory; {size_text(free)} are free")


def size_text(count: int) -> str:
    """Bytes as people write them: 256 GB, 1.5 MB."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if unit != "bytes" else f"{count} bytes"


def _read(path: Path) -> str:
    """A small file of the system; nothing where there is none."""
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
