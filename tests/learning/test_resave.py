"""Other programs may save a page again: the records are in its pixels, and appending goes on."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pxvm.core.errors import FormatError
from pxvm.learning import Network
from tests.learning import plain_reader
from tests.learning.networks import FRESH, drafts


def pillow(change: Callable[[Image.Image], Image.Image], **options) -> Callable[[Path], None]:
    """Saves the page with Pillow after ``change``."""

    def save(path: Path) -> None:
        with Image.open(path) as picture:
            picture.load()
        change(picture).save(path, **options)

    return save


def through(codec: str, quality: int) -> Callable[[Path], None]:
    """Sends the page through a lossy format and back."""

    def save(path: Path) -> None:
        lossy = io.BytesIO()
        with Image.open(path) as picture:
            picture.convert("RGB").save(lossy, codec, quality=quality)
        with Image.open(lossy) as picture:
            picture.save(path)

    return save


def tool(*command: str) -> Callable[[Path], None]:
    """Runs a program on the page; PATH and OUT stand for the files."""

    def save(path: Path) -> None:
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        out = path.with_suffix(".out.png")
        words = [{"PATH": str(path), "OUT": str(out)}.get(word, word) for word in command]
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        out.replace(path)

    return save


def oxipng(path: Path) -> None:
    module = pytest.importorskip("oxipng")
    module.optimize(path, level=2, strip=module.StripChunks.safe(), optimize_alpha=True)


def interlaced(path: Path) -> None:
    """Adam7, by optipng: rows no longer stand one after another in the file."""
    tool("optipng", "-quiet", "-i1", "-o1", "-out", "OUT", "PATH")(path)


SAVERS = {
    "pillow": pillow(lambda p: p),
    "optimize": pillow(lambda p: p, optimize=True),
    "uncompressed": pillow(lambda p: p, compress_level=0),
    "grey": pillow(lambda p: p.convert("L")),
    "grey 16 bit": pillow(lambda p: p.convert("L").convert("I;16").point(lambda v: v * 257)),
    "rgb": pillow(lambda p: p.convert("RGB")),
    "rgba": pillow(lambda p: p.convert("RGBA")),
    "grey alpha": pillow(lambda p: p.convert("LA")),
    "palette": pillow(lambda p: p.convert("P")),
    "adaptive palette": pillow(lambda p: p.convert("RGB").quantize(2)),
    "jpeg 90": through("JPEG", 90),
    "webp 90": through("WEBP", 90),
    "optipng": tool("optipng", "-quiet", "-o2", "-out", "OUT", "PATH"),
    "interlaced": interlaced,
    "pngcrush": tool("pngcrush", "-q", "PATH", "OUT"),
    "imagemagick": tool("magick", "PATH", "OUT"),
    "oxipng": oxipng,
}


@pytest.mark.parametrize("saver", SAVERS.values(), ids=SAVERS)
def test_every_record_survives(saver, tmp_path):
    with Network.open(tmp_path / "k.png") as network:
        network.append_many(drafts()[:6])
        network.append("a question", "words of an answer, " * 40)
        network.forget(3)
        before = list(network.records(all=True))
    saver(network.path)
    with Network.open(network.path, read_only=True) as read:
        assert list(read.records(all=True)) == before
        assert read.verify().sound and len(read) == len(before) - 3
    plain = list(plain_reader.read(network.path, as_picture=True))
    assert [r["answer"] for r in plain] == [r.answer for r in before]
    with Network.open(network.path) as again:
        again.append("after", "saving")
        assert [*before, again.record_at(len(before))] == list(again.records(all=True))
        report = again.verify()
        assert report.sound and not report.notes, "the append lays the page out anew"


def test_a_page_in_the_middle_stays_as_it_was_saved(tmp_path):
    with Network.open(tmp_path / "k.png", page_rows=400) as network:
        network.append_many(drafts()[:6] * 2)
        network.append_many(drafts()[6:])
        before = list(network.records(all=True))
        pages = network.pages
        assert len(pages) > 2
        SAVERS["rgba"](pages[1])
        network.close()
        assert (tmp_path / "k.png.index").exists()
        assert network.append("while it is open", "in another program")
        assert list(network.records(all=True))[:-1] == before
    with Image.open(pages[1]) as picture:
        assert picture.mode == "RGBA"
    assert Network.open(network.path).verify().sound


@pytest.mark.parametrize("seed", [1, FRESH])
def test_a_damaged_saved_page_is_refused_or_read_in_part(seed, tmp_path):
    with Network.open(tmp_path / "k.png") as network:
        network.append_many(drafts()[:5])
        before = [r.id for r in network.records(all=True)]
    SAVERS["rgb"](network.path)
    saved = network.path.read_bytes()
    chance = random.Random(seed)
    for _ in range(40):
        data = bytearray(saved)
        for _ in range(chance.choice((1, 1, 5))):
            data[chance.randrange(chance.choice((100, len(data))))] = chance.randrange(256)
        network.path.write_bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
        try:
            with Network.open(network.path, read_only=True) as damaged:
                found = [r.id for r in damaged.records(all=True)]
        except FormatError:
            continue
        assert found == [identity for identity in before if identity in found]


def test_a_scaled_or_cut_picture_says_what_is_wrong(tmp_path):
    network = Network.open(tmp_path / "k.png")
    network.append("q", "a")
    pillow(lambda p: p.resize((512, p.height // 2)))(network.path)
    with pytest.raises(FormatError, match="width is 1024"):
        Network.open(network.path)


def test_lost_rows_of_a_saved_page_are_kept_apart(tmp_path):
    """A picture in which somebody has painted: the rest is served, nothing is written over it."""
    with Network.open(tmp_path / "k.png") as network:
        network.append_many(drafts()[:5])
        before = list(network.records(all=True))
        _, row, data_rows, _ = network.locate(2)
    with Image.open(network.path) as picture:
        picture.load()
    picture.paste(1, (300, row, 600, row + data_rows))
    picture.save(network.path)
    saved = network.path.read_bytes()
    with Network.open(network.path) as again:
        assert not again.verify().sound
        again.append("after", "the painting")
        expected = [r.id for r in before if r.sequence != 2]
        assert [r.id for r in again.records(all=True)][:-1] == expected
        assert len(again.pages) == 2 and network.path.read_bytes() == saved
        again.repair(tmp_path / "r.png")
    assert Network.open(tmp_path / "r.png").verify().sound
