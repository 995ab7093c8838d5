"""Knowledge pictures in the page: what it reads is what Python reads."""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
import zlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pxvm.learning import Draft, Network
from pxvm.learning.search import words
from pxvm.learning.store import layout
from pxvm.studio.networks import View, iso, moment_of
from tests.learning.networks import MOMENT, small, varied

OPEN = """async (pages) => {
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const picture = { width: 1024, height: 0, words: new Uint32Array(0), texts: new Map() };
    const opened = pages.map((file) => ({ bytes: bytes(file), picture }));
    window.memory?.close();
    window.memory = await rooms.memory.openMemory(...opened);
    const { count, standing, rows, problems } = window.memory;
    return { count, standing, rows, problems };
}"""
READ = "async (count) => JSON.stringify(await memory.records(0, count))"
BITS = """async ([first, count]) => {
    const bits = await memory.bits(first, count);
    return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bits)));
}"""
SAID = (
    ("en", "The bicycle key hangs behind the blue door."),
    ("de", "Der Fahrradschlüssel hängt hinter der blauen Tür, heißt es."),
    ("fr", "La clé du vélo est accrochée derrière la porte bleue."),
    ("el", "Το κλειδί του ποδηλάτου κρέμεται πίσω από την μπλε πόρτα."),
    ("ru", "Ключ от велосипеда висит за синей дверью, ещё й."),
    ("ar", "مفتاح الدراجة معلق خلف الباب الأزرق."),
    ("he", "המפתח של האופניים תלוי מאחורי הדלת הכחולה."),
    ("hi", "साइकिल की चाबी नीले दरवाज़े के पीछे टंगी है।"),
    ("th", "กุญแจจักรยานแขวนอยู่หลังประตูสีฟ้า"),
    ("zh", "自行车钥匙挂在蓝色的门后面。"),
    ("ja", "自転車の鍵は青いドアの後ろにかかっています。"),
    ("ko", "자전거 열쇠는 파란 문 뒤에 걸려 있습니다."),
    ("tr", "Bisiklet anahtarı mavi kapının arkasında asılı. İSTANBUL"),
    ("vi", "Chìa khóa xe đạp treo sau cánh cửa màu xanh."),
)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def open_in(page: Any, *files: bytes) -> dict[str, Any]:
    """Open a network's pages in the page; its numbers."""
    return page.evaluate(OPEN, [encoded(data) for data in files])


def read(page: Any, count: int) -> list[dict[str, Any]]:
    return json.loads(page.evaluate(READ, count))


def same(page: Any, network: Network, files: Sequence[Path] = ()) -> View:
    """Open a network in the page, and compare all that it reads with what Python reads."""
    view = View(network)
    found = open_in(page, *(path.read_bytes() for path in files or network.pages))
    count = len(view.entries)
    assert found == {"count": count, "standing": len(network), "rows": view.rows, "problems": []}
    assert read(page, count) == view.records(0, count)
    middle = view.rows // 2
    for first, rows in ((0, view.rows), (middle - 3, 50), (view.rows - 1, 9)):
        expected = hashlib.sha256(view.bits(first, rows).tobytes()).digest()
        assert bytes(page.evaluate(BITS, [first, rows])) == expected
    assert page.evaluate("() => memory.growth(7)") == list(view.growth(7))
    for number in view.entries["sequence"][:8].tolist():
        history = page.evaluate("(number) => memory.history(number)", number)
        assert history == view.history(number)
    return view


@pytest.mark.short
def test_all_sorts_of_records_on_many_pages(rooms, tmp_path):
    with varied(tmp_path / "k.png") as network:
        view = same(rooms, network)
        words = {record["standing"] for record in view.records(0, 1000)}
        assert words == {"standing", "forgotten", "corrected", "about", "format"}
        rooms.evaluate("() => memory.close()")


def test_many_languages_forgotten_corrected_merged_and_compacted(rooms, tmp_path):
    with Network.open(tmp_path / "a.png", draw=small) as first:
        ids = first.append_many(
            Draft(f"key {code}", text, tags=(code, "key"), source=f"langs/{code}.md",
                  event_time=MOMENT + timedelta(days=n))
            for n, (code, text) in enumerate(SAID)
        )  # fmt: skip
        first.correct(ids[2], answer="La clé est dans le tiroir.")
        first.forget(ids[3])
        first.append_many([Draft("key el", SAID[3][1], tags=("el", "key"), source="langs/el.md",
                                 event_time=MOMENT + timedelta(days=3))])  # fmt: skip
        first.forget(ids[5])
        first.tag(ids[0], add=["𝔘", "\uffee", "english"], remove=["key"])
        same(rooms, first)
        with Network.open(tmp_path / "b.png", draw=small) as second:
            second.append_many([Draft("", "Only here.", kind="note"), Draft("key de", SAID[1][1])])
            second.forget(second.append("", "gone there too", kind="note"))
            Network.merge(first, second, tmp_path / "merged.png")
        first.compact(tmp_path / "compact.png")
        first.compact(tmp_path / "history.png", history=True)
    for name in ("merged", "compact", "history"):
        with Network.open(tmp_path / f"{name}.png", read_only=True) as network:
            same(rooms, network)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_a_picture_that_another_program_saved(mode, rooms, tmp_path):
    with varied(tmp_path / "k.png") as network:
        network.export_single(tmp_path / "single.png")
    picture = Image.open(tmp_path / "single.png").convert(mode)
    picture.save(tmp_path / "foreign.png")
    pixels = np.asarray(picture.convert("RGBA")).copy().view("<u4")
    with Network.open(tmp_path / "foreign.png", read_only=True) as network:
        view = View(network)
        packed = encoded(zlib.compress(pixels.tobytes()))
        page = {"words": packed, "width": 1024, "height": picture.height}
        rooms.evaluate(
            """async (page) => {
                const packed = Uint8Array.from(atob(page.words), (c) => c.charCodeAt(0));
                const inflater = new DecompressionStream("deflate");
                const stream = new Blob([packed]).stream().pipeThrough(inflater);
                const words = new Uint32Array(await new Response(stream).arrayBuffer());
                const opened = { bytes: new Uint8Array(0), picture: { ...page, words } };
                window.memory = await rooms.memory.openMemory(opened);
            }""",
            page,
        )
        assert read(rooms, 1000) == view.records(0, 1000)


def test_words_are_folded_and_cut_alike(rooms):
    rng = np.random.default_rng(8)
    texts = [text for _, text in SAID]
    alphabets = [(0x20, 0x250), (0x370, 0x600), (0x600, 0x780), (0x900, 0xE80), (0x1E00, 0x2000),
                 (0x3040, 0x3100), (0x4E00, 0x4F00), (0xAC00, 0xAD00), (0xFB00, 0xFB50),
                 (0xFF00, 0xFFEF), (0x13A0, 0x1400), (0xAB70, 0xABC0)]  # fmt: skip
    for low, high in alphabets * 4:
        letters = [
            code
            for code in rng.integers(low, high, 120).tolist()
            if unicodedata.category(chr(code)) != "Cn"
        ]  # newer browsers know more
        spaced = [" " if i % 9 == 8 else chr(code) for i, code in enumerate(letters)]
        texts.append("".join(spaced))
    found = rooms.evaluate("(texts) => texts.map(rooms.memory.cut)", texts)
    for text, (folded, asked, ends) in zip(texts, found, strict=True):
        assert folded == words.folded(text)
        assert asked == words.asked(text)
        assert ends == list(dict.fromkeys(words.ends(text).split(" "))) or not ends


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("Where is the bicycle key?", "en"), ("Schlüssel", "de"), ("fahrradschlussel", "de"),
        ("VELO", "fr"), ("ποδηλατου", "el"), ("велосипед", "ru"), ("دراجة", "ar"),
        ("מפתח", "he"), ("साइकिल", "hi"), ("จักรยาน", "th"), ("蓝色的门", "zh"), ("青い", "ja"),
        ("자전거", "ko"), ("istanbul", "tr"), ("khoa xe dap", "vi"),
    ],
)  # fmt: skip
def test_search_finds_what_is_asked_in_every_language(question, code, languages):
    (hit, *_) = languages.evaluate("(question) => memory.search(question, 3)", question)
    assert hit["record"]["title"] == f"key {code}"
    assert hit["snippet"] == dict(SAID)[code]


@pytest.fixture(scope="module")
def languages(rooms, tmp_path_factory):
    path = tmp_path_factory.mktemp("languages") / "k.png"
    with Network.open(path, draw=small) as network:
        network.append_many(
            Draft(f"key {code}", text, tags=(code,), source=f"langs/{code}.md",
                  event_time=MOMENT + timedelta(days=n))
            for n, (code, text) in enumerate(SAID)
        )  # fmt: skip
        network.forget(network.append("", "the bicycle key was lost", kind="note"))
    open_in(rooms, path.read_bytes())
    return rooms


@pytest.mark.parametrize(
    ("filters", "codes"),
    [
        ({"tag": "de"}, ["de"]),
        ({"kind": "note"}, []),
        ({"source": "langs"}, ["en", "tr"]),
        ({"source": "langs/en.md"}, ["en"]),
        ({"source": "lang"}, []),
        ({"since": "2024-03-10"}, ["tr"]),
        ({"until": "2024-03-01"}, ["en"]),
    ],
)
def test_search_keeps_to_its_filters(filters, codes, languages):
    hits = languages.evaluate(
        "(filters) => memory.search('bicycle fahrradschlüssel istanbul', 20, filters)", filters
    )
    found = {hit["record"]["tags"][0] for hit in hits}
    assert found == set(codes) | ({"de"} & found)


@pytest.mark.parametrize(
    ("filters", "codes"),
    [
        ({"tag": "de"}, ["de"]),
        ({"kind": "note"}, []),
        ({"until": "2024-03-03"}, [code for code, _ in SAID[2::-1]]),
        ({}, [code for code, _ in SAID[::-1]]),
    ],
)
def test_filters_alone_find_what_fits_the_newest_first(filters, codes, languages):
    hits = languages.evaluate("(filters) => memory.search('', 200, filters)", filters)
    assert [hit["record"]["tags"][0] for hit in hits] == codes


def test_damaged_and_hostile_records_are_set_aside_one_by_one(rooms, tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path, draw=small) as network:
        network.append_many(Draft(f"q{n}", f"answer {n} " * 20) for n in range(12))
        offsets = network.entries()["offset"].tolist()
    data = bytearray(path.read_bytes())
    data[offsets[3] + layout.HEADER_AT + 200] ^= 1  # its payload
    data[offsets[5] + layout.HEADER_AT + 30] ^= 1  # its header
    path.write_bytes(data)
    found = open_in(rooms, bytes(data))
    records = read(rooms, found["count"])
    with Network.open(path, read_only=True) as network:
        whole = [r.sequence for r in network.records(all=True)]
    assert [r["number"] for r in records if r["standing"] != "damaged"] == whole
    assert [r["number"] for r in records if r["standing"] == "damaged"] == [3]
    (said,) = [r["text"] for r in records if r["standing"] == "damaged"]
    assert "record 3" in said and "damaged" in said
    hits = rooms.evaluate("() => memory.search('answer', 50)")
    assert len(hits) == 11 - 1


def headed(row: bytes, **fields: int) -> bytes:
    """A header row with other fields, and the checksum that they want."""
    places = {"data_rows": 16, "text_rows": 20, "number": 24, "stored": 40, "vectors": 48,
              "payload_crc": 52, "row": 60, "text_bytes": 76}  # fmt: skip
    found = bytearray(row)
    for name, value in fields.items():
        size = 8 if name == "number" else 4
        found[places[name] : places[name] + size] = value.to_bytes(size, "big")
    found[8:12] = zlib.crc32(found[12:]).to_bytes(4, "big")
    return bytes(found)


@pytest.mark.parametrize("beyond", [2**32 - 1, 2**31, 100_000])
def test_a_header_that_claims_more_than_there_is_takes_no_memory(beyond, rooms, tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path, draw=small) as network:
        network.append_many(Draft(f"q{n}", f"answer {n}") for n in range(5))
        offset = int(network.entries()["offset"][3]) + layout.HEADER_AT
    data = bytearray(path.read_bytes())
    stored = min(beyond, 2**32 - 1)
    claims = {"data_rows": 1 + -(-stored // 128), "stored": stored, "vectors": 0, "payload_crc": 0}
    more = {"text_rows": 1_000_000, "text_bytes": 2**32 - 1}
    data[offset : offset + 128] = headed(data[offset : offset + 128], **claims, **more)
    found = open_in(rooms, bytes(data))
    records = read(rooms, found["count"])
    assert [r["number"] for r in records if r["standing"] != "damaged"] == [0, 1, 2]
    for first in (0, found["rows"] - 50):
        bits = "async (first) => (await memory.bits(first, 50)).length"
        assert rooms.evaluate(bits, max(first, 0)) <= 50 * 128


@pytest.mark.parametrize(
    "claims",
    [
        {"text_bytes": 0},
        {"text_bytes": 2**32 - 1},
        {"text_bytes": 3000},
        {"text_rows": 10**6},
        {"text_rows": 20},
        {"number": 0},
        {"number": 2**64 - 1},
    ],
)
@pytest.mark.parametrize("as_picture", [False, True])
def test_no_wrong_claim_of_a_header_hides_another_record(claims, as_picture, rooms, tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path, draw=small) as network:
        network.append_many(Draft(f"q{n}", f"answer {n}") for n in range(6))
        entry = network.entries()[3]
    offset, row = int(entry["offset"]) + layout.HEADER_AT, int(entry["row"])
    with Image.open(path) as picture:
        rows = np.packbits(np.asarray(picture), axis=1)
    data = bytearray(path.read_bytes())
    data[offset : offset + 128] = headed(data[offset : offset + 128], **claims)
    rows[row] = np.frombuffer(data[offset : offset + 128], np.uint8)
    path.write_bytes(data)
    with Network.open(path, read_only=True) as network:
        expected = [(r.sequence, r.query) for r in network.records(all=True)]
    found = open_in(rooms, bytes(data))
    if as_picture:
        Image.fromarray(np.unpackbits(rows, axis=1) * 255).convert("1").save(path)
        opened = """async (file) => {
            const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
            window.memory?.close();
            window.memory = await rooms.memory.openMemory(await rooms.machine.open("k.png", bytes));
            return window.memory.count;
        }"""
        found = {"count": rooms.evaluate(opened, encoded(path.read_bytes()))}
    assert [query for _, query in expected][1:] == [f"q{n}" for n in range(6)]
    assert [(r["number"], r["title"]) for r in read(rooms, found["count"])] == expected


@pytest.mark.parametrize("as_picture", [False, True])
def test_headers_made_to_be_summed_up_again_and_again_take_no_hours(as_picture, rooms, tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path, draw=small) as network:
        network.append("q", "a")
        offset = int(network.entries()["offset"][0]) + layout.HEADER_AT
    data = path.read_bytes()
    count = 20_000
    claims = {"data_rows": count - 10, "stored": 128 * (count - 11), "vectors": 0}
    row = headed(data[offset : offset + 128], **claims, payload_crc=1)
    if not as_picture:
        with pytest.raises(Exception, match="no record in the picture"):
            open_in(rooms, data[: offset - layout.HEADER_AT] + row * count)
        return
    bits = np.unpackbits(np.frombuffer(row * count, np.uint8)).reshape(count, 1024) * 255
    Image.fromarray(bits.astype(np.uint8)).save(path)
    said = rooms.evaluate(
        """async (file) => {
            const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
            const opened = await rooms.machine.open("k.png", bytes);
            return rooms.memory.openMemory(opened).then(() => "", (error) => error.message);
        }""",
        encoded(path.read_bytes()),
    )
    assert "no record in the picture" in said


@pytest.mark.parametrize("size", [0, 100, 511, 600, 5000])
def test_what_is_no_memory_is_refused_with_a_sentence(size, rooms):
    with pytest.raises(Exception, match="no record in the picture"):
        open_in(rooms, b"\x89PNG\r\n\x1a\n".ljust(size, b"\xff"))


def test_a_copy_from_the_middle_of_an_append_is_read_as_python_reads_it(rooms, tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path, draw=small) as network:
        network.append("one", "stays")
        before = path.stat().st_size
        network.append("two", "is committed")
    whole = path.read_bytes()
    torn = path.with_name("torn.png")
    for size in (len(whole), len(whole) - 1, len(whole) - 700, before + 200, before - 31):
        torn.write_bytes(whole[:size])
        found = open_in(rooms, whole[:size])
        with Network.open(torn, read_only=True) as network:
            titles = [record.query for record in network.records()]
            assert [r["title"] for r in read(rooms, found["count"])][1:] == titles, size


def test_times_are_written_as_the_page_writes_them():
    assert iso(moment_of("2024-02-29")) == "2024-02-29T00:00:00Z"
    assert iso(MOMENT) == "2024-02-29T12:30:15.123456Z"
    assert moment_of(iso(MOMENT)) == MOMENT
