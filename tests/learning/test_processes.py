"""Several processes append to one network at once, and some are killed without warning."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from pxvm.learning import Network
from pxvm.learning.errors import NetworkError

#: Appends records named after this process and says each id once it is acknowledged.
WRITER = """
import sys
import numpy as np
from pxvm.learning import Draft, Network

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
draw = lambda record: np.full((3, 128), record.sequence % 256, np.uint8)
network = Network.open(path, page_rows=250, draw=draw)
for number in range(count):
    if number % 5 == 4:
        drafts = [Draft(f"{name} {number} {i}", "batch " * 30) for i in range(6)]
        print("\\n".join(network.append_many(drafts)), flush=True)
    else:
        print(network.append(f"{name} {number}", "single " * number), flush=True)
print("done", flush=True)
"""


def writers(path: Path, count: int, records: int) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), f"writer{number}", str(records)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]


def acknowledged(process: subprocess.Popen[str]) -> list[str]:
    """The whole lines that a writer printed: ids that were acknowledged."""
    output, _ = process.communicate(timeout=60)
    return [line for line in output.splitlines() if len(line) == 64]


@pytest.mark.parametrize("count", [2, 8])
def test_processes_take_turns(tmp_path, count):
    path = tmp_path / "k.png"
    processes = writers(path, count, 15)
    said = [acknowledged(process) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    with Network.open(path) as network:
        stored = [record.id for record in network.records()]
        assert sorted(stored) == sorted(i for ids in said for i in ids)
        for ids in said:
            assert [i for i in stored if i in set(ids)] == ids, "each writer's own order"
        assert network.verify().sound and len(network.pages) > 1


@pytest.mark.parametrize("count", [2, 8])
def test_killed_processes_lose_nothing_acknowledged(tmp_path, count):
    path = tmp_path / "k.png"
    chance = random.Random()
    certain: set[str] = set()
    with Network.open(path) as reader:
        for _ in range(3 if count == 2 else 1):
            before = len(reader)
            processes = writers(path, count, 400)
            while len(reader) < before + 2 * count:  # they write by now, however long it took
                assert all(process.poll() is None for process in processes)
                time.sleep(0.05)
            chance.shuffle(processes)
            for process in processes:
                time.sleep(chance.random() * 0.2)
                process.send_signal(signal.SIGKILL)
                seen = [record.id for record in reader.records()]
                assert len(seen) == len(set(seen)), "a reader never waits, and sees whole records"
            for process in processes:
                certain.update(acknowledged(process))
    assert certain, "nobody got to write before being killed"
    with Network.open(path) as network:
        stored = {record.id for record in network.records()}
        assert certain <= stored
        assert network.verify().sound
        for page in network.pages:
            with Image.open(page) as picture:
                picture.load()


def test_a_held_lock_is_an_error_that_says_so(tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path, timeout=0.2) as network, Network.open(path) as other:
        with (
            other._pages.writing(),
            pytest.raises(NetworkError, match=r"written by another process for 0\.2 s"),
        ):
            network.append("q", "a")
        assert network.append("q", "a")
        assert [r.query for r in other.records()] == ["q"]
        (tmp_path / "k.png.new").write_bytes(path.read_bytes()[:600])  # half of a page
        with other._pages.writing():
            assert len(Network.open(path)) == 1, "opening waits for nobody"
    assert not (Network.open(path) and (tmp_path / "k.png.new").exists())


def test_read_only(tmp_path):
    path = tmp_path / "k.png"
    with pytest.raises(NetworkError, match="no such file"):
        Network.open(path, read_only=True)
    with pytest.raises(NetworkError, match="no such directory"):
        Network.open(tmp_path / "none" / "k.png")
    Network.open(path).append("q", "a")
    before = sorted(p.name for p in tmp_path.iterdir())
    with Network.open(path, read_only=True) as network:
        assert len(network) == 1
        for change in (lambda: network.append("x", "y"), lambda: network.forget(1)):
            with pytest.raises(NetworkError, match="opened read-only"):
                change()
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_missing_page_is_named(tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path, page_rows=320) as network:
        network.append_many([])
        for number in range(12):
            network.append(f"q{number}", "words " * 300)
        pages = network.pages
        assert len(pages) >= 3
    pages[1].rename(tmp_path / "aside.png")
    (tmp_path / "k.png.index").unlink(missing_ok=True)
    with Network.open(path) as network, pytest.raises(NetworkError, match=r"k\.p2\.png is missing"):
        len(network)
    path.rename(tmp_path / "first.png")
    with pytest.raises(NetworkError, match="bring the first page back"):
        Network.open(path)
