"""Records whose checksums are right and whose bytes are not: left out one by one, in bounded
memory, by everything that reads; and pictures that are bombs."""

import json
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from pxvm.core.errors import FormatError
from pxvm.learning import Draft, Network
from pxvm.learning.store import appending
from pxvm.learning.store.foreign import decode_rows
from pxvm.learning.store.record import DEFLATED, MAX_RAW, Payload, encode

GOOD = Draft("capital of France", "Paris")
EVIL = Draft("evil", "x")


def payload(text, vectors=b"", raw=None):
    packed = zlib.compress(text, 9)
    return Payload(DEFLATED, len(packed), raw or len(text), len(vectors), packed + vectors)


def fields(**more):
    return json.dumps({"query": "evil", "answer": "x", **more}).encode()


def bomb():
    packer = zlib.compressobj(9)
    data = packer.compress(b'{"query":"evil","answer":"x","pad":"')
    data += b"".join(packer.compress(b"a" * (1 << 20)) for _ in range(4))
    data += packer.flush()
    return Payload(DEFLATED, len(data), 1 << 31, 0, data)


CASES = {
    "deep": payload(
        b'{"query":"evil","answer":"x","tags":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    ),
    "bomb": bomb(),
    "model is a list": payload(fields(vectors=[[["m"], "p", 4, 1.0]]), bytes(4)),
    "model is a number": payload(fields(vectors=[[5, 6, 4, 1.0]]), bytes(4)),
    "dimension -1": payload(fields(vectors=[["m", "p", -1, 1.0]]), bytes(64)),
    "scale is text": payload(fields(vectors=[["m", "p", 4, "1"]]), bytes(4)),
    "scale is true": payload(fields(vectors=[["m", "p", 4, True]]), bytes(4)),
    "scale is endless": payload(
        b'{"query":"evil","answer":"x","vectors":[["m","p",4,' + b"9" * 400 + b"]]}", bytes(4)
    ),
    "times are no numbers": payload(b'{"query":"evil","answer":"x","stored_before":[NaN]}'),
    "links are numbers": payload(fields(links=[[1, 2]])),
    "no object": payload(b"[1,2]"),
    "codec 9": Payload(9, 2, 2, 0, b"{}"),
    "endless number": payload(b'{"query":"evil","answer":"x","event_time":' + b"9" * 5000 + b"}"),
    "time without end": payload(fields(event_time=10**30)),
}


@pytest.fixture(params=CASES)
def home(request, tmp_path, monkeypatch):
    """A good record, a hostile one, another good one."""
    path = tmp_path / "k.png"
    with monkeypatch.context() as patch:
        patch.setattr(
            appending, "encode", lambda d: CASES[request.param] if d.query == "evil" else encode(d)
        )
        with Network.open(path) as network:
            network.append_many([GOOD])
            network.append_many([EVIL])
            network.append_many([Draft("capital of Spain", "Madrid")])
    return path


def test_everything_else_is_served(home, tmp_path):
    tracemalloc.start()
    with Network.open(home) as network:
        assert [r.answer for r in network.records()] == ["Paris", "Madrid"]
        assert network.search("capital", embedder=None)
        assert len(network.verify().problems) == 1
        network.append("capital of Italy", "Rome")
        assert network.export(tmp_path / "all.jsonl", current=True) == 3
        outcome = network.repair(tmp_path / "mended.png")
        assert (outcome.records, outcome.damaged) == (4, 1)
        with Network.open(tmp_path / "mine.png") as mine:
            mine.append("my own", "text")
            assert Network.merge(network, mine, tmp_path / "both.png").damaged == 1
        network.reembed(lambda records: [()] * len(records), tmp_path / "other.png")
        network.compact()
        assert len(list(network.records())) == 3
    assert tracemalloc.get_traced_memory()[1] < 2 * MAX_RAW
    tracemalloc.stop()
    for name in ("mended.png", "both.png"):
        with Network.open(tmp_path / name) as network:
            assert network.verify().sound


def test_a_picture_that_is_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    Image.fromarray(np.zeros((1_000_000, 1024), np.uint8)).convert("1").save(path)
    assert path.stat().st_size < 1 << 18
    with pytest.raises(FormatError, match="no page of a knowledge network"):
        decode_rows(path)
