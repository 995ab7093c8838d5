"""Damage anywhere is found, and costs no other record."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pxvm.core.errors import FormatError, PxvmError
from pxvm.learning import Draft, Network
from pxvm.learning.store import layout
from pxvm.learning.store.record import LATEST
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


def liar(claims, which=2):
    """A network of one page whose record ``which`` makes a claim of its size that is wrong, under a
    right checksum; and the headers of all its records."""
    disk = Disk()
    network = opened(disk, page_rows=10_000)
    network.append_many(Draft(f"q{i}", f"answer {i} " * 9, tags=["t"]) for i in range(6))
    places = list(network._pages.places(1))
    offset, header = places[which]
    data = bytearray(disk.image()[str(PATH)])
    start = offset + layout.HEADER_AT
    data[start : start + layout.ROW] = header._replace(**claims(places)).pack()
    return {str(PATH): bytes(data)}, [place.header for place in places]


def until(number):
    """The bytes of a picture that would end before another record."""

    def claims(places):
        (offset, header), (other, _) = places[2], places[number]
        size = layout.extent(offset, header)
        return {"text_bytes": other - layout.SLOT - size.data_end - 12}

    return claims


def rows_until(number):
    """The same, with the rows that this record says stand before it."""

    def claims(places):
        header, rows = places[2].header, places[number].header.row
        return {**until(number)(places), "text_rows": rows - header.row - header.data_rows}

    return claims


@pytest.mark.parametrize("as_it_was_left", ["whole", "its head lost", "its end lost"])
@pytest.mark.parametrize(
    "claims",
    [
        lambda places: {"text_bytes": 0},
        lambda places: {"text_bytes": 2**32 - 1},
        lambda places: {"text_bytes": places[2].header.text_bytes + 40},
        lambda places: {"text_rows": 10**6},
        lambda places: {"data_rows": 1001, "stored": 128_000, "vectors": 0},
        *map(until, (4, 5)),
        *map(rows_until, (4, 5, 6)),
    ],
)
def test_no_wrong_size_hides_another_record(claims, as_it_was_left):
    image, headers = liar(claims)
    data = image[str(PATH)]
    if as_it_was_left == "its head lost":
        data = bytes(512) + data[512:]
    elif as_it_was_left == "its end lost":
        data = data[:-9]
    network = opened(Disk({str(PATH): data}), read_only=True)
    entries = network.entries()
    # What it claims of its data costs itself, of its picture nothing.
    assert set(entries["sequence"]) >= {0, 1, 3, 4, 5, 6}
    assert {r.query for r in network.records(all=True)} >= {f"q{i}" for i in (0, 2, 3, 4, 5)}
    problems = network.verify().problems
    assert {p.record for p in problems} & {headers[2].sequence, headers[3].sequence, None}
    writable = opened(Disk({str(PATH): data}))
    writable.append("behind", "it")
    found = [r.query for r in writable.records()]
    assert found == [*(q for q in (f"q{i}" for i in range(6)) if q in found), "behind"]
    assert len(found) >= 6
    writable.repair(REPAIRED)
    repaired = Network.open(REPAIRED, files=writable._pages.files, draw=draw)
    assert [r.query for r in repaired.records()] == found and repaired.verify().sound


def test_a_picture_that_never_ends_is_not_written_behind():
    image, _ = liar(lambda places: {"text_bytes": 2**32 - 1}, which=6)
    disk = Disk(image)
    network = opened(disk, read_only=True)
    assert [r.query for r in network.records()] == [f"q{i}" for i in range(6)]
    with pytest.raises(FormatError, match="record 6 says that its picture takes 4,294,967,295"):
        opened(disk)
    assert disk.image() == image
    network.repair(REPAIRED)
    repaired = Network.open(REPAIRED, files=disk, draw=draw)
    assert [r.query for r in repaired.records()] == [f"q{i}" for i in range(6)]


def test_no_wrong_size_hides_another_record_of_a_page_saved_again(tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path, draw=draw) as network:
        network.append_many(Draft(f"q{i}", f"answer {i}") for i in range(6))
        place = list(network._pages.places(1))[2]
    with Image.open(path) as picture:
        rows = np.packbits(np.asarray(picture), axis=1)
    for text_rows in (0, place.header.text_rows + 1, 10, 60, 10**6):
        wrong = place.header._replace(text_rows=text_rows)
        rows[wrong.row] = np.frombuffer(wrong.pack(), np.uint8)
        Image.fromarray(np.unpackbits(rows, axis=1) * 255).convert("1").save(path)
        with Network.open(path, read_only=True) as network:
            assert [r.query for r in network.records()] == [f"q{i}" for i in range(6)]
            assert not network.verify().sound


@pytest.mark.parametrize("which", [3, 6])
@pytest.mark.parametrize(
    "claims",
    [{"sequence": number} for number in (0, 2, 5, 1000, 2**53, 2**63 + 5, 2**64 - 1)]
    + [{"time": time} for time in (-(2**63), 2**62, LATEST)],
)
def test_no_wrong_number_or_time_hides_another_record(claims, which, tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path, draw=draw) as network:
        network.append_many(Draft(f"q{i}", f"the zebra {i}") for i in range(6))
        offset, header = list(network._pages.places(1))[which]
    data, start = bytearray(path.read_bytes()), offset + layout.HEADER_AT
    data[start : start + layout.ROW] = header._replace(**claims).pack()
    path.write_bytes(data)
    (tmp_path / "k.png.index").unlink()
    others = {f"q{i}" for i in range(6)} - {f"q{which - 1}"}
    with Network.open(path, draw=draw) as network:
        assert {r.query for r in network.records()} >= others
        assert {hit.record.query for hit in network.search("zebra", 20, embedder=None)} >= others
        assert not network.verify().sound
        numbers = [r.sequence for r in network.records()]
        assert numbers == sorted(set(numbers))
        assert [network.record_at(n).sequence for n in numbers] == numbers
        network.append("new", "the zebra of today")
        found = {hit.record.query for hit in network.search("zebra", 20, embedder=None)}
        assert found >= {*others, "new"}
        network.repair(tmp_path / "mended.png")
        network.compact()
        assert {r.query for r in network.records()} >= {*others, "new"}
    with Network.open(tmp_path / "mended.png") as network:
        assert {r.query for r in network.records()} >= {*others, "new"}


def test_files_that_are_no_networks_are_refused(tmp_path):
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
