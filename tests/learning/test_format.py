"""The file is as docs/KNOWLEDGE_FORMAT.md says: a reader written from that page alone agrees."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from PIL import Image

from pxvm.core.errors import FormatError
from pxvm.learning import Draft, Network, Record
from pxvm.learning.store import layout
from pxvm.learning.store.record import to_microseconds
from tests.learning import plain_reader
from tests.learning.networks import drafts, small, varied

PAGE = Path(__file__).parents[2] / "docs/KNOWLEDGE_FORMAT.md"


def plainly(record: Record) -> dict:
    """A record in the words of the plain reader."""
    return {
        "query": record.query,
        "answer": record.answer,
        "tags": list(record.tags),
        "kind": record.kind,
        "source": record.source,
        "model": record.model,
        "event_time": record.event_time and to_microseconds(record.event_time),
        "links": [list(link) for link in record.links],
        "vectors": [(v.model, v.probe, v.scale, tuple(v.values.tolist())) for v in record.vectors],
        "id": record.id,
        "number": record.sequence,
        "time": to_microseconds(record.times[-1]),
        "flags": record.flags,
    }


@pytest.mark.parametrize("as_picture", [False, True])
def test_a_reader_written_from_the_page_alone_agrees(tmp_path, as_picture):
    network = varied(tmp_path / "k.png")
    for _ in range(2):
        found = list(plain_reader.read(network.path, as_picture=as_picture))
        assert found == [plainly(record) for record in network.records(all=True)]
        assert found[0]["answer"].startswith("# How to read this picture")
        live = [record["id"] for record in plain_reader.counting(found)]
        assert live == [record.id for record in network.records()]
        network.compact()
    assert network.state.generation == 2


def test_the_plain_reader_is_independent():
    source = Path(plain_reader.__file__).read_text()
    assert len(source.splitlines()) <= 160
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert names == {"__future__", "hashlib", "json", "struct", "zlib", "pathlib", "PIL"}


def test_with_the_real_pictures(tmp_path):
    network = Network.open(tmp_path / "k.png")
    network.append_many(drafts())
    found = list(plain_reader.read(network.path))
    assert found == [plainly(record) for record in network.records(all=True)]
    with Image.open(network.path) as picture:
        picture.load()
        assert picture.mode == "1" and picture.height == network.stats()["rows"]
    assert network.verify().sound


def test_the_head_is_as_the_page_says():
    text = PAGE.read_text()
    words = re.search(r"in one line:\s+```text\n(.*?)```", text, re.DOTALL)
    assert words is not None
    head = layout.head(layout.Info(1, 2, 3, 4, 5))
    described = head[81 + 8 : 494].split(b"\0")
    assert described[0] == b"Description" and len(head) == 512
    assert described[1].rstrip().decode() == " ".join(words[1].split())
    assert head[498:].endswith(b"\x78\x01" + head[-4:]) and head[502:506] == b"IDAT"


def test_a_newer_version_is_said_to_be_one(tmp_path):
    network = Network.open(tmp_path / "k.png", draw=small)
    network.close()
    data = network.path.read_bytes()
    info = layout.read_head(data[:512])._replace(version=2)
    network.path.write_bytes(layout.head(info) + data[512:])
    with pytest.raises(FormatError, match="version 2 of the format, this program knows version 1"):
        Network.open(network.path)


def test_a_record_larger_than_a_page_has_one_to_itself(tmp_path):
    network = varied(tmp_path / "k.png")
    noise = Draft("noise", "".join(map(chr, range(0x4E00, 0x9000))) * 8)
    (name,) = network.append_many([noise])
    page, row, data_rows, _ = network.locate(name)
    assert (page, row) == (len(network.pages), 0)
    assert data_rows > 508, "the record is to span several stored blocks"
    assert network.record(name).answer == noise.answer and network.verify().sound
    assert list(plain_reader.read(network.path))[-1]["answer"] == noise.answer
    network.append("after", "it")
    assert len(network.pages) == page + 1
