"""Damage anywhere is found, and costs no other record."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pxvm.core.errors import PxvmError
from pxvm.learning import Draft, Network
from tests.learning.crashing_disk import Disk
from tests.learning.test_crash import FRESH, PATH, contents, draw, opened

REPAIRED = Path("/disk/repaired.png")


def sound() -> Disk:
    """A network of several pages on a disk in memory."""
    disk = Disk()
    network = opened(disk)
    network.append_many(Draft(f"q{i}", "answer " * i, tags=["t"]) for i in range(14))
    network.forget(3)
    assert len(network.pages) > 1 and network.verify().sound
    return disk


def readable(image: dict[str, bytes]) -> list:
    """Every record that can be read of a damaged image."""
    return contents(opened(Disk(image), read_only=True))


def test_every_damaged_byte_is_found_and_costs_one_record_at_most():
    disk = sound()
    image, everything = disk.image(), contents(opened(disk))
    chance = random.Random(FRESH)
    places = [(name, at) for name, data in image.items() for at in range(len(data))]
    edges = [p for p in places if p[1] < 700 or p[1] >= len(image[p[0]]) - 30]
    for name, at in {*edges[::3], *chance.sample(places, 400)}:
        data = bytearray(image[name])
        data[at] ^= 1 << chance.randrange(8)
        damaged = image | {name: bytes(data)}
        network = opened(Disk(damaged), read_only=True)
        assert not network.verify().sound, (name, at)
        found = readable(damaged)
        assert len(found) >= len(everything) - 1, (name, at)
        assert found == [record for record in everything if record in found], (name, at)


@pytest.mark.parametrize("seed", [1, 594036886, FRESH])
def test_a_damaged_network_still_takes_records_and_can_be_repaired(seed):
    disk = sound()
    image, everything = disk.image(), contents(opened(disk))
    chance = random.Random(seed)
    for _ in range(60):
        name = chance.choice(list(image))
        data = bytearray(image[name])
        start = chance.randrange(len(data))
        stop = min(start + chance.choice((1, 40, 600)), len(data))
        data[start:stop] = chance.randbytes(stop - start)
        damaged = Disk(image | {name: bytes(data)})
        before = readable(damaged.image())
        network = opened(damaged)
        network.append("after", "the damage")
        after = ("interaction", "after", "the damage")
        assert readable(damaged.image())[-1] == after
        network.repair(REPAIRED)
        repaired = Network.open(REPAIRED, files=damaged, draw=draw)
        found = contents(repaired)
        assert repaired.verify().sound
        assert set(before) | {after} <= set(found) <= {*everything, after}


def test_every_cut_of_the_file_opens():
    disk = sound()
    image, everything = disk.image(), contents(opened(disk))
    name = str(PATH)
    whole = opened(disk)._catalogue.place(1)[1].offset
    chance = random.Random(FRESH)
    for size in {*range(0, whole, 17), *chance.sample(range(len(image[name])), 150)}:
        cut = Disk({name: image[name][:size]})
        try:
            found = contents(opened(cut))
        except PxvmError:
            assert size < whole, "the first record is whole from there on"
            continue
        assert found == everything[: len(found)]
        # Cut within its picture, the last record's exact text is kept all the same.
        assert {problem.record for problem in opened(cut).verify().problems} <= {len(found) - 1}


@pytest.mark.parametrize("seed", [2, FRESH])
def test_nonsense_is_refused_or_read_but_never_crashes(seed):
    """Garbage, and headers with right checksums around wild numbers."""
    from pxvm.learning.store import layout

    disk = sound()
    image = disk.image()
    chance = random.Random(seed)
    network = opened(Disk(image), read_only=True)
    places = [network._catalogue.place(p)[1] for p in range(5)]
    numbers = ("data_rows", "text_rows", "stored", "raw", "vectors", "row", "text_bytes")
    for _ in range(150):
        data = bytearray(image[str(PATH)])
        place = chance.choice(places)
        value = chance.choice((0, 1, 2**31 - 1, 2**32 - 1, chance.randrange(1 << 20)))
        wild = {chance.choice(numbers): value, "codec": chance.choice((0, 1, 1, 1, 255))}
        header = place.header._replace(**wild).pack()
        start = place.offset + layout.HEADER_AT
        data[start : start + 128] = header
        if chance.random() < 0.3:
            data[start + 128 : start + 400] = chance.randbytes(272)
        damaged = Disk(image | {str(PATH): bytes(data)})
        readable(damaged.image())
        opened(damaged, read_only=True).verify()
        opened(damaged).append("still", "goes")


def test_files_that_are_no_networks_are_refused(tmp_path):
    from PIL import Image

    for number, data in enumerate((b"", b"\x89PNG\r\n\x1a\n", b"text", random.randbytes(5000))):
        path = tmp_path / f"{number}.png"
        path.write_bytes(data)
        with pytest.raises(PxvmError, match=path.name):
            Network.open(path)
    for size in ((1024, 40), (30, 30)):
        Image.new("L", size).save(tmp_path / "picture.png")
        with pytest.raises(PxvmError, match=r"picture\.png"):
            Network.open(tmp_path / "picture.png", read_only=True)


def test_a_network_that_does_not_open_can_be_repaired(tmp_path):
    """Its first page is gone for good, and of another one the middle is missing altogether."""
    with Network.open(tmp_path / "k.png", page_rows=40, draw=draw) as network:
        network.append_many(Draft(f"q{i}", "answer " * i) for i in range(30))
        pages, everything = network.pages, contents(network)
    assert len(pages) >= 4
    pages[0].write_bytes(b"nothing")
    pages[2].unlink()
    with pytest.raises(PxvmError):
        Network.open(pages[0])
    outcome = Network.unopened(pages[0], draw=draw).repair(tmp_path / "r.png")
    with Network.open(tmp_path / "r.png") as repaired:
        found = contents(repaired)
        assert repaired.verify().sound
    assert found[0] == everything[0], "the explanation of the format is always there"
    assert found == [record for record in everything if record in found] and len(found) > 10
    assert outcome.records == len(found) and outcome.damaged > 5
