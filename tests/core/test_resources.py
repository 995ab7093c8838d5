"""Processors and memory that a process may have, from the files that the system writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pxvm.core import resources
from pxvm.core.errors import DeviceError, ProgramError

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files in the place of the system's."""
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    monkeypatch.setattr(resources, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(resources, "processors", resources.processors.__wrapped__)

    def files(**texts: str) -> None:
        for name, text in texts.items():
            (tmp_path / name.replace("_", ".")).write_text(text)

    return files


@pytest.mark.parametrize("text,most", [
    ("max 100000", None), ("100000 100000", 1), ("150000 100000", 2), ("1000 100000", 1),
    ("", None), ("what is this", None),
])  # fmt: skip
def test_processors_are_no_more_than_the_containers_share(
    text: str, most: int | None, write: Write
):
    write()
    everything = resources.processors()
    assert everything >= 1
    if hasattr(os, "sched_getaffinity"):
        assert everything == len(os.sched_getaffinity(0))
    write(cpu_max=text)
    assert resources.processors() == min(most or everything, everything)


@pytest.mark.parametrize("asked,used", [(1, 1), (2, 2), (3, 2), (10**9, 2), (None, 2)])
def test_threads_are_no_more_than_processors(
    asked: int | None, used: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(resources, "processors", lambda: 2)
    assert resources.threads_for(asked) == used


@pytest.mark.parametrize("asked", [0, -1])
def test_less_than_one_thread(asked: int):
    with pytest.raises(ProgramError, match=f"^threads is at least 1; found {asked}$"):
        resources.threads_for(asked)


MEMINFO = "MemTotal: 9000 kB\nMemAvailable:    2000 kB\nSwapFree:  500 kB\nHugePages_Total: 0\n"


@pytest.mark.parametrize("texts,free", [
    ({}, None),
    ({"meminfo": MEMINFO}, 2500 << 10),
    ({"meminfo": "MemAvailable: 2000 kB\n"}, 2000 << 10),
    ({"meminfo": MEMINFO, "memory_max": "max", "memory_current": "5"}, 2500 << 10),
    ({"meminfo": MEMINFO, "memory_max": "9000", "memory_current": "5000"}, 4000),
    ({"memory_max": "9000", "memory_current": "5000",
      "memory_stat": "anon 5\ninactive_file 300\n"}, 4300),
    ({"memory_max": "9000", "memory_current": "9500"}, 0),
])  # fmt: skip
def test_free_memory(texts: dict[str, str], free: int | None, write: Write):
    write(**texts)
    assert resources.free_memory() == free


def test_memory_is_required(write: Write):
    resources.require_memory(1 << 60, "nobody says how much there is, so it")
    write(meminfo=MEMINFO)
    resources.require_memory(2500 << 10, "this")
    with pytest.raises(DeviceError, match=r"^it needs 256 GB of memory; 2\.56 MB are free$"):
        resources.require_memory(256 * 10**9, "it")


@pytest.mark.parametrize("count,text", [
    (0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (1_500_000, "1.5 MB"),
    (275 * 10**9, "275 GB"), (10**21, "1e+06 PB"),
])  # fmt: skip
def test_sizes_as_people_write_them(count: int, text: str):
    assert resources.size_text(count) == text
