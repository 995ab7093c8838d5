"""Crashes while a whole network is written anew: compaction, merge, a resaved page, a full disk."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from PIL import Image

from pxvm.learning import Draft, Network
from pxvm.learning.errors import NetworkError
from tests.learning.crashing_disk import Disk
from tests.learning.networks import FRESH
from tests.learning.test_crash import PATH, contents, draw, goes_on, opened, visible

SECRET = "the-secret-4711"


def filled() -> Disk:
    """Several pages with a forgotten secret, and an index beside them."""
    disk = Disk()
    with opened(disk) as network:
        network.append_many(Draft(f"q{i}", "a" * (i * 40)) for i in range(12))
        identity = network.append("what?", SECRET, tags=["hidden"])
        network.append_many(Draft(f"r{i}", "b" * (i * 40)) for i in range(12))
        network.tag(identity, [SECRET])
        network.forget(identity)
    assert len([name for name in disk.names_ if name.endswith(".png")]) > 2
    assert "/disk/k.png.index" in disk.names_
    return Disk(disk.image())


def without_secret(records: list) -> list:
    return [r for r in records if SECRET not in r[2]]


@pytest.mark.parametrize("seed", [None, 5, FRESH])
def test_compaction_is_all_or_nothing(seed):
    disk = filled()
    network = opened(disk)
    before = contents(network)
    start = len(disk.operations)
    network.compact()
    after = contents(opened(Disk(disk.image())))
    assert after == without_secret(before) and len(after) == len(before) - 2
    total = len(disk.operations)
    for number in range(start, total + 1) if seed is None else range(150):
        if seed is None:
            count, image = number, disk.killed(number)
        else:
            chance = random.Random(seed * 1_000_003 + number)
            count = chance.randrange(start, total + 1)
            image = disk.lost_power(count, chance)
        visible({name: data for name, data in image.items() if name == str(PATH)})
        assert contents(opened(Disk(image), read_only=True)) in (before, after)
        mended = Disk(image)
        found = contents(opened(mended))
        assert found in (before, after)
        assert found == after or count < total
        goes_on(mended)
        if number % 8 == 0:
            opened(mended).compact()
            names = {Path(name).name for name in mended.names_}
            assert names == {path.name for path in opened(mended).pages}


def test_compaction_erases():
    disk = filled()
    assert any(SECRET in r[2] for r in contents(opened(disk)))
    opened(disk).compact()
    network = opened(disk)
    assert not any(SECRET in field for r in contents(network) for field in r)
    assert {Path(name).name for name in disk.names_} == {p.name for p in network.pages}
    assert network.state.generation == 1
    network.append_many(Draft(f"s{i}", "c" * 900) for i in range(20))
    network.compact()
    assert opened(disk).state.generation == 2 and opened(disk).verify().sound


def test_what_compaction_did_not_make_it_leaves_alone():
    disk = filled()
    disk.names_["/disk/k.png.bak"] = disk.names_["/disk/k.png"]
    disk.names_["/disk/k.p2.png.txt"] = disk.names_["/disk/k.p2.png"]
    opened(disk).compact()
    assert {"/disk/k.png.bak", "/disk/k.p2.png.txt"} <= set(disk.names_)


def test_an_older_first_page_does_not_cost_the_newer_others():
    """As a slow synchronisation might bring them: the first page comes last."""
    disk = filled()
    before = disk.image()
    opened(disk).compact()
    after = disk.image()
    mixed = Disk({**after, str(PATH): before[str(PATH)]})
    network = opened(mixed)
    assert network.state.generation == 0
    network.append("meanwhile", "said here")
    put_right = Disk({**mixed.image(), str(PATH): after[str(PATH)]})
    assert contents(opened(put_right)) == contents(opened(Disk(after)))
    assert opened(put_right).verify().sound


def test_an_error_after_the_exchange_does_not_undo_it(monkeypatch):
    disk = filled()
    expected = without_secret(contents(opened(disk)))

    def fail(path: Path) -> None:
        if path.name == "k.p2.png":
            raise OSError(5, "Input/output error")
        Disk.remove(disk, path)

    monkeypatch.setattr(disk, "remove", fail)
    with pytest.raises(NetworkError, match="Input/output error"):
        opened(disk).compact()
    monkeypatch.undo()
    assert contents(opened(disk)) == expected and opened(disk).verify().sound
    assert "/disk/k.p2.png" not in disk.names_, "the next opening finishes the work"


def test_numbers_survive_compaction():
    disk = filled()
    before = {r.id: r.sequence for r in opened(disk).records(all=True)}
    opened(disk).compact()
    after = {r.id: r.sequence for r in opened(disk).records(all=True)}
    assert after.items() < before.items()
    identity, number = next(iter(after.items()))
    assert opened(disk).record_at(number).id == identity


@pytest.mark.parametrize("seed", [6, FRESH])
def test_merge_leaves_the_target_whole_or_absent(seed):
    target = Path("/disk/merged.png")
    disk = filled()
    other = Network.open(Path("/disk/other.png"), files=disk, draw=draw, page_rows=60)
    other.append_many(Draft(f"o{i}", "c" * (i * 40)) for i in range(12))
    first = opened(disk)
    start = len(disk.operations)
    Network.merge(first, other, target)
    merged = contents(Network.open(target, files=disk, draw=draw))
    for number in range(120):
        chance = random.Random(seed * 1_000_003 + number)
        count = chance.randrange(start, len(disk.operations) + 1)
        image = disk.lost_power(count, chance)
        if str(target) in image:
            visible({name: data for name, data in image.items() if "merged" in name})
            crashed = Network.open(target, files=Disk(image), draw=draw, read_only=True)
            assert contents(crashed) == merged and crashed.verify().sound
        assert contents(opened(Disk(image))) == contents(first)


@pytest.mark.parametrize("page", [1, 3])
def test_writing_a_resaved_page_anew(page, tmp_path, monkeypatch):
    """Pillow reads real files, so the crashed disk's pages are put where it finds them."""
    pages = [PATH, *(PATH.with_name(f"k.p{number}.png") for number in range(2, page + 1))]
    filled_image = filled().image()
    before = contents(opened(Disk(filled_image)))
    image = {str(path): filled_image[str(path)] for path in pages}
    picture = io.BytesIO()
    Image.open(io.BytesIO(image[str(pages[-1])])).convert("RGB").save(picture, "PNG")
    image[str(pages[-1])] = picture.getvalue()
    current = dict(image)

    def decode(path: Path):
        (tmp_path / "page.png").write_bytes(current[str(path)])
        return real(tmp_path / "page.png")

    from pxvm.learning.store import foreign

    real = foreign.decode_rows
    monkeypatch.setattr(foreign, "decode_rows", decode)
    disk = Disk(image)
    network = opened(disk)
    known = contents(network)
    assert known == before[: len(known)]
    network.append("new", "record")
    for number in range(100):
        chance = random.Random(number)
        count = chance.randrange(len(disk.operations) + 1)
        crashed = disk.lost_power(count, chance)
        current = dict(crashed)
        found = contents(opened(Disk(crashed)))
        assert found[: len(known)] == known and len(found) <= len(known) + 1
        visible(crashed)
    assert opened(Disk(disk.image())).verify().sound


def test_a_full_disk_loses_nothing():
    done = filled()
    network = opened(done)
    before = contents(network)
    for room in (0, 10, 500, 3000):
        done.fail_after = room
        with pytest.raises(NetworkError, match="No space left"):
            network.append("too", "large" * 3000)
        with pytest.raises(NetworkError, match="No space left"):
            network.append_many(Draft(f"t{i}", "d" * 2000) for i in range(30))
        done.fail_after = None
        assert contents(network) == before
        assert contents(opened(Disk(done.image()))) == before
    network.append("now", "there is room")
    goes_on(Disk(done.image()))
