"""Compaction erases: a secret is in many places before, and nowhere after."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pxvm.learning import Draft, Network
from pxvm.learning.store import layout
from pxvm.learning.store.store import draw_record
from tests.learning.hashed_words import HashedWords

SECRET = "xylophone-4711"


def streams(data: bytes) -> bytes:
    """Everything in ``data`` that inflates, from every offset at which it might."""
    found = []
    for start in range(len(data) - 2):
        if data[start] == 0x78 and int.from_bytes(data[start : start + 2], "big") % 31 == 0:
            inflater = zlib.decompressobj()
            try:
                found.append(inflater.decompress(data[start:], 1 << 20))
            except zlib.error:
                continue
    return b"\n".join(found)


def pixel_rows(path: Path) -> np.ndarray:
    """The rows of a page as bytes, each at every place where it may begin."""
    with Image.open(path) as picture:
        return np.packbits(np.asarray(picture.convert("L")) > 127, axis=1)


def places(folder: Path, picture: np.ndarray, numbers: np.ndarray) -> set[str]:
    """In which ways the secret is still somewhere in the folder's files."""
    found = set()
    letters = [row for row in np.unique(picture, axis=0) if row.any() and not row.all()]
    for path in (path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if SECRET.encode() in data:
            found.add("plain bytes of " + path.suffix)
        if SECRET.encode() in streams(data):
            found.add("a deflated stream of " + path.suffix)
        if numbers.tobytes() in data:
            found.add("a vector in " + path.suffix)
        if path.suffix == ".png":
            rows = pixel_rows(path)
            flat = rows.tobytes()
            if SECRET.encode() in streams(flat) or SECRET.encode() in flat:
                found.add("exact pixels")
            if numbers.tobytes() in flat:
                found.add("a vector in pixels")
            if all((rows == row).all(axis=1).any() for row in letters):
                found.add("glyph pixels")
    return found


@pytest.mark.parametrize("page_rows", [65_000, 500])
def test_nothing_is_left_of_what_was_forgotten(tmp_path, page_rows):
    embedder = HashedWords(128)
    network = Network.open(tmp_path / "k.png", page_rows=page_rows)
    for number in range(12):
        text = f"plain words {number} " * 40
        network.append(f"question {number}", text, vectors=embedder.embed([text]))
    (secret,) = embedder.embed([f"it is {SECRET}"])
    name = network.append(
        "what is it?", f"it is {SECRET}", tags=[SECRET], source=SECRET, vectors=[secret]
    )
    network.correct(name, answer=f"it was {SECRET}", vectors=[secret])
    network.tag(name, add=[f"{SECRET}-too"])
    picture = draw_record(network.record(name))[10:]
    network.append_many(Draft(f"later {n}", "other words " * 40) for n in range(12))
    (hit,) = network.search(SECRET, k=1, embedder=embedder)
    assert hit.record.answer == f"it was {SECRET}"
    network.close()
    before = places(tmp_path, picture, secret.values)
    assert {"exact pixels", "a vector in pixels", "glyph pixels"} <= before
    assert {"plain bytes of .db", "plain bytes of .db-wal"} & before, "the search cache knows it"
    network.forget(name)
    assert len(network) == 24 and network.compact().left_out == 3
    assert places(tmp_path, picture, secret.values) == set()
    assert not [
        hit for hit in network.search(SECRET, k=3, embedder=embedder) if SECRET in hit.record.answer
    ]
    assert network.verify().sound and len(network) == 24
    network.close()
    assert places(tmp_path, picture, secret.values) == set()
    assert layout.read_head(network.path.read_bytes()[:512]) is not None
