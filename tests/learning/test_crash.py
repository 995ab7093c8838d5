"""Whatever a crash leaves: every acknowledged record is back, byte for byte, and nothing else.

A scenario is run on a disk in memory that remembers its operations. Then the disk crashes after
every operation, within every write at every byte, and at random with sectors out of order. Each
crashed disk is opened, compared with what was acknowledged by then, shown to Pillow, appended to,
and crashed again while it is being mended.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pxvm.learning import Draft, Network, Record
from tests.learning.crashing_disk import Disk
from tests.learning.networks import FRESH

PATH = Path("/disk/k.png")
REPAIRED = Path("/disk/repaired.png")


def draw(record: Record) -> np.ndarray:
    """A small picture that depends on the record."""
    rows = 3 + len(record.answer) // 400
    return np.random.default_rng(record.sequence).integers(0, 256, (rows, 128), np.uint8)


def opened(disk: Disk, **options) -> Network:
    return Network.open(PATH, files=disk, draw=draw, **{"page_rows": 40, **options})


def contents(network: Network) -> list[tuple[str, str, str]]:
    return [(r.kind, r.query, r.answer) for r in network.records(all=True)]


class Scenario:
    """A network on a disk, with a list of (operations done, records that were acknowledged)."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.network = opened(disk)
        self.acknowledged: list[tuple[int, list]] = []
        self.acknowledge()
        self.start = len(disk.operations)

    def acknowledge(self) -> None:
        self.acknowledged.append((len(self.disk.operations), contents(self.network)))

    def at(self, count: int) -> list:
        """What was acknowledged after ``count`` operations."""
        return max((a for a in self.acknowledged if a[0] <= count), key=lambda a: a[0])[1]

    @property
    def everything(self) -> list:
        return self.acknowledged[-1][1]


def singles(disk: Disk) -> Scenario:
    """Appends one by one, small and larger, over a roll of the page."""
    scenario = Scenario(disk)
    for size in (1, 30, 150, 3):
        scenario.network.append(f"question {size}", random.Random(size).randbytes(size).hex())
        scenario.acknowledge()
    assert len(scenario.network.pages) == 2
    return scenario


def batches(disk: Disk) -> Scenario:
    """Batches over several pages, a correction and a forgetting."""
    scenario = Scenario(disk)
    for number in range(3):
        scenario.network.append_many(
            Draft(f"{number} {i}", random.Random(i).randbytes(60 * i).hex()) for i in range(7)
        )
        scenario.acknowledge()
    scenario.network.correct(3, answer="corrected")
    scenario.acknowledge()
    scenario.network.forget(5)
    scenario.acknowledge()
    return scenario


def visible(image: dict[str, bytes]) -> int:
    """Rows that Pillow shows of all pages; raises when one cannot be shown."""
    rows = 0
    for name, data in image.items():
        if name.endswith(".png"):
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
                assert picture.width == 1024
                rows += picture.height
    return rows


def check(
    image: dict[str, bytes],
    certain: list,
    submitted: list,
    *,
    torn_inside: bool = False,
    spoilt: bool = False,
) -> Disk:
    """Opens a crashed disk and holds it against what was acknowledged; gives the mended disk.

    A write of the head or a slot that is ``torn_inside`` a sector, or a ``spoilt`` sector, may hide
    the picture until it is mended. A spoilt sector may also take a record out of a batch that was
    not acknowledged yet.
    """
    if not torn_inside and not spoilt:
        visible(image)
    reader = opened(Disk(image), read_only=True)
    before = contents(reader)
    assert before[: len(certain)] == certain
    disk = Disk(image)
    network = opened(disk)
    found = contents(network)
    assert found[: len(certain)] == certain
    if spoilt:
        assert found == [record for record in submitted if record in found]
    else:
        assert found == submitted[: len(found)], "a record that nobody stored, or a gap"
    assert found == before, "reading only and reading to write differ"
    if not spoilt:
        visible(disk.image())
    return disk


def goes_on(disk: Disk) -> None:
    """The mended network takes another record and is sound in every byte."""
    network = opened(disk)
    before = contents(network)
    network.append("after", "the crash")
    again = opened(Disk(disk.image()))
    assert contents(again) == [*before, ("interaction", "after", "the crash")]
    problems = [str(problem) for problem in again.verify().problems]
    assert not problems


@pytest.mark.parametrize("scenario", [singles, batches])
def test_killed_after_every_operation(scenario):
    done = scenario(Disk())
    for count in range(done.start, len(done.disk.operations) + 1):
        goes_on(check(done.disk.killed(count), done.at(count), done.everything))


def test_killed_at_every_byte():
    done = singles(Disk())
    operations = done.disk.operations
    for count in range(done.start, len(operations)):
        if operations[count].what != "write":
            continue
        inside = operations[count].position < 512 or len(operations[count].data) == 30
        for cut in range(len(operations[count].data)):
            image = done.disk.killed(count, cut)
            mended = check(image, done.at(count), done.everything, torn_inside=inside)
            if cut % 97 == 0:
                goes_on(mended)


def random_crashes(seed: int, count: int) -> Iterator[tuple[random.Random, Scenario, int]]:
    """(chance, scenario, operations done) for crashes at random places."""
    done = {scenario: scenario(Disk()) for scenario in (singles, batches)}
    for number in range(count):
        chance = random.Random(seed * 1_000_003 + number)
        scenario = done[chance.choice((singles, batches))]
        yield chance, scenario, chance.randrange(scenario.start, len(scenario.disk.operations) + 1)


@pytest.mark.parametrize("seed", [1, FRESH])
def test_lost_power(seed):
    for chance, done, count in random_crashes(seed, 250):
        image = done.disk.lost_power(count, chance)
        mended = check(image, done.at(count), done.everything)
        for _ in range(2):
            mending = chance.randrange(len(mended.operations) + 1)
            crashed = mended.lost_power(mending, chance)
            mended = check(crashed, done.at(count), done.everything)
        goes_on(mended)


@pytest.mark.parametrize("seed", [3, FRESH])
def test_lost_power_on_a_disk_that_spoils_sectors(seed):
    """Even a spoilt sector around the old end, or over the head, takes no record with it."""
    for chance, done, count in random_crashes(seed, 200):
        image = done.disk.lost_power(count, chance, harsh=True)
        disk = check(image, done.at(count), done.everything, spoilt=True)
        network = opened(disk)
        network.append("after", "the crash")
        network.repair(REPAIRED)
        repaired = Network.open(REPAIRED, files=disk, draw=draw)
        found = contents(repaired)
        after = ("interaction", "after", "the crash")
        assert set(contents(network)) <= set(found) <= {*done.everything, after}
        assert repaired.verify().sound
        visible({name: data for name, data in disk.image().items() if "repaired" in name})
