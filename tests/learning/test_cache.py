"""The cache: equal to one made anew whatever came before, deletable, shared, always checked."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxvm.core.container import check_file
from pxvm.learning import Draft, Network
from pxvm.learning.search import cache as cache_module
from pxvm.learning.search import pictures
from pxvm.learning.search.cache import Cache, ask, cache_folder
from pxvm.learning.search.vectors import Vectors
from tests.learning.hashed_words import HashedWords

WORDS = ["tulip", "garden", "north", "bed", "harbour", "ferry", "tariff", "compiler", "register",
         "pixel"]  # fmt: skip
EMBEDDER = HashedWords()


def blank(record: Any) -> Any:
    """A drawing of one white row: what stands in the picture does not matter here."""
    return np.full((1, 128), 255, np.uint8)


@contextmanager
def a_network() -> Iterator[Network]:
    folder = Path(tempfile.mkdtemp())
    try:
        with Network.open(folder / "k.png", draw=blank) as network:
            yield network
    finally:
        shutil.rmtree(folder)


def content(cache: Cache) -> dict[str, Any]:
    """All that a search can see of a cache."""
    db = cache.connection
    db.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.words USING fts5vocab(main, text, instance)"
    )
    tables = {
        name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
        for name in ("records", "tags", "conversations")
    }
    words = db.execute("SELECT doc, col, offset, term FROM words ORDER BY 1, 2, 3").fetchall()
    vectors = {}
    for key in sorted(cache.embeddings()):
        pictures = cache.vectors(key, "reference")
        rows = [picture.rows() for picture in pictures]
        vectors[key] = (
            np.concatenate([picture.records for picture in pictures]).tolist(),
            np.concatenate([scales for scales, _ in rows]).tolist(),
            np.concatenate([values for _, values in rows]).tolist(),
        )
    return {"words": words, "vectors": vectors, **tables}


def made_anew(network: Network) -> dict[str, Any]:
    cache = Cache(network.path.with_name("other.png"))
    cache.refresh(network)
    try:
        return content(cache)
    finally:
        cache.close()
        shutil.rmtree(cache.folder)


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
operations = st.one_of(
    st.tuples(st.just("append"), texts, st.sampled_from(["", "", "a.md", "b.md"]), st.booleans()),
    st.tuples(st.just("dated"), texts, st.integers(0, 5)),
    st.tuples(st.just("forget"), st.integers(0, 20)),
    st.tuples(st.just("correct"), st.integers(0, 20), texts),
    st.tuples(st.just("tag"), st.integers(0, 20), st.sampled_from(["x", "y"]), st.booleans()),
    st.tuples(st.just("look")),
    st.tuples(st.just("compact")),
)


def do(network: Network, operation: tuple[Any, ...]) -> None:
    name, *given = operation
    ids = [record.id for record in network.records()]
    if name == "append":
        text, source, embedded = given
        draft = Draft("", text, source=source)
        network.append_many(EMBEDDER.with_vectors([draft]) if embedded else [draft])
    elif name == "dated":
        moment = datetime(2024, 1, 1, tzinfo=timezone.utc) + timedelta(minutes=25 * given[1])
        network.append("", given[0], event_time=moment)
    elif name == "look":
        ask(network, lambda cache: None)
    elif name == "compact":
        network.compact()
    elif ids and name == "forget":
        network.forget(ids[given[0] % len(ids)])
    elif ids and name == "correct":
        network.correct(ids[given[0] % len(ids)], answer=given[1])
    elif ids and name == "tag":
        _, tag, add = given
        network.tag(ids[given[0] % len(ids)], *([[tag]] if add else [[], [tag]]))


@pytest.fixture(autouse=True)
def few_loose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LOOSE", 3)


@settings(max_examples=25, deadline=None)
@given(st.lists(operations, max_size=14))
def test_a_grown_cache_equals_one_made_anew(steps: list[tuple[Any, ...]]) -> None:
    with a_network() as network:
        for step in steps:
            do(network, step)
            if step[0] == "look":
                assert ask(network, content) == made_anew(network)
        assert ask(network, content) == made_anew(network)


def filled(network: Network, count: int = 12) -> None:
    drafts = [Draft("", f"{WORDS[i % 10]} {i}", source=f"s{i // 4}") for i in range(count)]
    network.append_many(EMBEDDER.with_vectors(drafts))


def test_it_may_be_deleted_at_any_moment() -> None:
    with a_network() as network:
        filled(network)
        before = ask(network, content)
        shutil.rmtree(cache_folder(network.path))
        assert ask(network, content) == before
        for path in cache_folder(network.path).iterdir():
            path.unlink()
            assert ask(network, content) == before


@pytest.mark.parametrize("pattern", ["text.db", "vectors-*.pxi"])
@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_damaged_files_are_made_anew(pattern: str, damage: str) -> None:
    with a_network() as network:
        filled(network)
        before = ask(network, content)
        cache_module._CACHES.pop(network).close()
        (path,) = cache_folder(network.path).glob(pattern)
        data = bytearray(path.read_bytes())
        if damage == "cut":
            data = data[: len(data) // 2]
        elif damage == "noise":
            data[:200] = bytes(range(200))
        else:
            data.clear()
        path.write_bytes(data)
        assert ask(network, content) == before


def test_another_network_at_the_same_path_is_noticed(tmp_path: Path) -> None:
    first, second = tmp_path / "k.png", tmp_path / "other" / "k.png"
    second.parent.mkdir()
    for path, words in ((first, "tulip"), (second, "ferry")):
        with Network.open(path, draw=blank) as network:
            network.append("", words)
            ask(network, content)
    shutil.copy(second, first)
    with Network.open(first, draw=blank) as network:
        terms = {term for *_, term in ask(network, content)["words"]}
        assert terms == {"ferri"}


def test_an_older_copy_is_noticed(tmp_path: Path) -> None:
    path, copy = tmp_path / "k.png", tmp_path / "copy.png"
    with Network.open(path, draw=blank) as network:
        network.append("", "tulip")
    shutil.copy(path, copy)
    with Network.open(path, draw=blank) as network:
        network.append("", "ferry")
        ask(network, content)
    shutil.copy(copy, path)
    with Network.open(path, draw=blank) as network:
        assert {term for *_, term in ask(network, content)["words"]} == {"tulip"}


def test_compacting_leaves_nothing_of_what_was_forgotten() -> None:
    with a_network() as network:
        filled(network)
        secret = network.append("", "xylophonesecret", source="s0")
        network.append("", "after it", source="s0")
        ask(network, content)
        folder = cache_folder(network.path)
        assert any(b"xylophonesecret" in path.read_bytes() for path in folder.iterdir())
        network.forget(secret)
        network.compact()
        ask(network, content)
        assert not any(b"xylophonesecret" in path.read_bytes() for path in folder.iterdir())


def test_pictures_are_whole_files_and_few() -> None:
    with a_network() as network:
        for number in range(40):
            network.append_many(EMBEDDER.with_vectors([Draft("", f"ferry {number}")]))
            ask(network, lambda cache: None)
        paths = list(cache_folder(network.path).glob("vectors-*.pxi"))
        assert 1 <= len(paths) <= 4  # 39 is 24 + 12 + 3 as joined by halves
        for path in paths:
            check_file(path)
            assert len(Vectors.open(path, "reference").records)


def test_an_append_leaves_alone_what_was_indexed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of many records is one part, and stays it; those of appends are merged."""
    monkeypatch.setattr(cache_module, "MANY", 200)
    monkeypatch.setattr(cache_module, "STEP", 16)
    monkeypatch.setattr(cache_module, "STEPS", 2)

    def parts(cache: Cache) -> dict[int, int]:
        rows = cache.connection.execute("SELECT segid, count(*) FROM text_idx GROUP BY 1")
        return dict(rows.fetchall())

    with a_network() as network:
        network.append_many(Draft("", " ".join(f"w{n * k}" for k in range(99))) for n in range(300))
        ((large, pages),) = ask(network, parts).items()
        for number in range(40):
            network.append("", f"ferry {number}")
            found = ask(network, parts)
        assert found.pop(large) == pages > 20
        assert len(found) < 32 and sum(found.values()) < 50
        assert ask(network, content) == made_anew(network)


def test_a_folder_that_cannot_be_written_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "k.png"
    with Network.open(path, draw=blank) as network:
        network.append("", "tulip")
    cache_folder(path).write_text("a file stands where the folder would")
    with Network.open(path, draw=blank) as network:
        assert {term for *_, term in ask(network, content)["words"]} == {"tulip"}
    assert cache_folder(path).is_file()


def _append_and_ask(path: Path, name: str, turns: int) -> None:
    with Network.open(path, draw=blank) as network:
        for turn in range(turns):
            draft = Draft("", f"{name} ferry {turn}", source=name)
            network.append_many(EMBEDDER.with_vectors([draft]))
            found = ask(network, lambda cache: len(content(cache)["records"]))
            assert found > turn


def test_processes_share_it(tmp_path: Path) -> None:
    path = tmp_path / "k.png"
    Network.open(path, draw=blank).close()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_and_ask, args=(path, n, 6)) for n in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    with Network.open(path, draw=blank) as network:
        found = ask(network, content)
        assert len(found["records"]) == 18
        assert found == made_anew(network)
