"""The memory beside its peers: storing, opening, exact search, hybrid search, size, recall.

Run: ``python -m benchmarks.memory [PART]... [--large] [--locomo FILE] [--collection DIR]``. A part
is one of ``sizes``, ``storing``, ``scanning``, ``sqlite``, ``hybrid``, ``languages``,
``documents``, ``again``; each says how long it took. ``--large`` adds a million records (some
gigabytes in a temporary folder, ten minutes). ``--locomo`` adds the part of that name, the recall
of evidence in the conversations of that file; ``--collection`` (as often as wanted) the part
``collections``, the judged documents found in a folder in BEIR's format, such as SciFact. Peers
come with the extra ``bench``. Searches take turns, A B C.
"""

from __future__ import annotations

import bz2
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks._collections import collection
from benchmarks._locomo import locomo
from benchmarks._memory_peers import (
    BEST,
    SEARCHES,
    THREADS,
    Jsonl,
    Lance,
    Memvid,
    Sqlite,
    Text,
    missing,
    one_row,
)
from benchmarks._memory_questions import again, documents, languages
from benchmarks._parts import parser, told
from benchmarks.container_open import shown
from pxvm.learning import Draft, Network, Vector
from pxvm.learning.search.cache import ask, cache_folder
from pxvm.learning.search.embedding import Embedder
from pxvm.learning.search.search import _largest, search
from pxvm.learning.search.vectors import Vectors, build_vectors, most_rows

NOVEL = Path(__file__).parents[1] / "pxvm" / "examples" / "data" / "austen.txt.bz2"
DIMENSION = 384
SIZES = (1_000, 100_000)
LARGE = 1_000_000
REPEATS = 30


def texts(count: int) -> Iterator[Text]:
    """Interactions of about 1 kB out of novels, all different."""
    words = bz2.decompress(NOVEL.read_bytes()).decode().split()
    for number in range(count):
        first = number * 37 % (len(words) - 200)
        query = f"{number}. " + " ".join(words[first : first + 20])
        yield Text(query, " ".join(words[first + 20 : first + 180])[:890])


def int8_vectors(count: int) -> NDArray[np.int8]:
    """Random directions, quantised with one step for all."""
    random = np.random.default_rng(0)
    found = np.empty((count, DIMENSION), np.int8)
    for first in range(0, count, 65_536):
        part = random.standard_normal((min(65_536, count - first), DIMENSION), np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        found[first : first + len(part)] = np.clip(np.rint(part * 600), -127, 127)
    return found


def drafts(count: int, vectors: NDArray[np.int8]) -> Iterator[Draft]:
    """The texts with vectors."""
    for text, values in zip(texts(count), cycle(vectors), strict=False):
        yield Draft(*text, vectors=(Vector("random", "0" * 16, values, 1 / 600),))


def timed(action: Callable[[], object], repeats: int) -> float:
    """Seconds of the median run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def storing(folder: Path, sizes: tuple[int, ...], vectors: NDArray[np.int8]) -> Table:
    """One record at a time into networks of growing size; a whole-file rewrite beside it."""
    table = Table(title="Storing an interaction of 1 kB, durable when the call returns")
    for column in ("already stored", "append", "append_many (4,096)", "search after an append"):
        table.add_column(column, justify="right")
    for size in sizes:
        path = folder / f"store{size}.png"
        with Network.open(path, draw=one_row) as network:
            start = time.perf_counter()
            network.append_many(islice(drafts(size, vectors), size))
            bulk = size / (time.perf_counter() - start)
        with Network.open(path) as network:
            more = (Draft(f"again {i}", t.answer) for i, t in enumerate(texts(REPEATS)))
            single = timed(lambda more=more, n=network: n.append_many([next(more)]), REPEATS)
            ask(network, lambda cache: None)
            fresh = (
                replace(draft, query=f"once more {i}")
                for i, draft in enumerate(drafts(REPEATS, vectors))
            )

            def both(fresh: Any = fresh, network: Network = network) -> None:
                network.append_many([next(fresh)])
                search(network, "what did she say", embedder=None)

            after = timed(both, REPEATS)
        table.add_row(f"{size:,}", shown(single), f"{bulk:,.0f}/s, no picture", shown(after))
    table.add_section()
    for peer in (Sqlite, Jsonl, Lance):
        if peer is Lance and missing("lancedb"):
            continue
        store = peer(folder)
        rows = list(texts(4096 + REPEATS))
        start = time.perf_counter()
        store.add(rows[:4096], vectors[:4096])
        bulk = 4096 / (time.perf_counter() - start)
        one = iter(rows[4096:])
        single = timed(lambda s=store, one=one: s.add([next(one)], vectors[:1]), REPEATS)
        table.add_row(f"{peer.name}, 4,096", shown(single), f"{bulk:,.0f}/s", "")
    table.add_row("whole PNG again, 100,000 rows", shown(rewriting(folder)), "", "")
    return table


def beside_sqlite(folder: Path, vectors: NDArray[np.int8]) -> Table:
    """One durable record after another, here and in SQLite by turns, drawn and with its vector."""
    place = folder / "by turns"
    place.mkdir()
    table = Table(title="A durable append of 1 kB, by turns")
    for column in ("", "median", "beside SQLite", "wanted"):
        table.add_column(column, justify="right")
    peer, times = Sqlite(place), ([], [])  # type: tuple[Any, tuple[list[float], list[float]]]
    with Network.open(place / "k.png") as network:
        for text, draft in zip(texts(3 * REPEATS), drafts(3 * REPEATS, vectors), strict=False):
            actions: tuple[Callable[[], object], ...] = (
                lambda draft=draft: network.append_many([draft]),
                lambda text=text: peer.add([text], vectors[:1]),
            )
            for found, action in zip(times, actions, strict=True):
                found.append(timed(action, 1))
    ours, theirs = (statistics.median(found[3:]) for found in times)
    table.add_row("pxVM", shown(ours), f"{ours / theirs:.2f}x", "1.2x")
    table.add_row(Sqlite.name, shown(theirs), "", "")
    return table


def rewriting(folder: Path) -> float:
    """Seconds to load, extend and save a picture of 100,000 rows of RGBA, as one big file wants."""
    path = folder / "whole.png"
    random = np.random.default_rng(0)
    rows = (random.random((100_000, 256, 4)) < 0.1).astype(np.uint8) * 255
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        Image.fromarray(rows).save(path)

        def again() -> None:
            old = np.asarray(Image.open(path))
            Image.fromarray(np.concatenate([old, rows[:12]])).save(path)

        return timed(again, 1)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def opening(path: Path) -> Table:
    """A network of SIZES[-1] records: with its cache, and without."""
    table = Table(title=f"Opening {SIZES[-1]:,} records until the first search can begin")
    for column in ("beside the network", "time", "wanted"):
        table.add_column(column, justify="right")

    def opened() -> None:
        with Network.open(path) as network:
            ask(network, lambda cache: None)

    opened()
    table.add_row("index and search cache", shown(timed(opened, 5)), "50 ms")
    index = path.with_name(path.name + ".index")

    def without_index() -> None:
        index.unlink(missing_ok=True)
        with Network.open(path) as network:
            assert len(network)

    table.add_row("no index; the network alone", shown(timed(without_index, 1)), "5 s")
    shutil.rmtree(cache_folder(path))
    table.add_row("no search cache", shown(timed(opened, 1)), "")
    return table


def scanning(folder: Path, count: int, values: NDArray[np.int8]) -> Table:
    """The 10 nearest of ``count`` vectors, exactly."""
    table = Table(title=f"Exact search in {count:,} vectors of {DIMENSION}, {THREADS} threads")
    for column in ("", "median", "beside the pixel program"):
        table.add_column(column, justify="right")
    step = most_rows(DIMENSION)
    pictures = []
    for first in range(0, count, step):
        part = values[first : first + step]
        records = np.arange(first, first + len(part))
        image = build_vectors(records, np.full(len(part), 1 / 600), part)
        pictures.append(Vectors(image, "cpu"))

    def ours(query: NDArray[np.float32]) -> object:
        found = []
        for picture in pictures:
            scores = picture.scores(query)
            places = _largest(scores, BEST)
            found += zip(scores[places].tolist(), picture.records[places].tolist(), strict=True)
        return sorted(found, reverse=True)[:BEST]

    real = values.astype(np.float32) / 600
    searches: dict[str, Callable[[NDArray[np.float32]], object]] = {"pixel program, int8": ours}
    for name, (module, make) in SEARCHES.items():
        if missing(module):
            continue
        place = folder / f"{module}{count}{len(searches)}"
        place.mkdir()
        searches[name] = make(real, place)
    random = np.random.default_rng(1)
    times: dict[str, list[float]] = {name: [] for name in searches}
    repeats = REPEATS if count <= SIZES[-1] else 7
    for _ in range(repeats):
        query = random.standard_normal(DIMENSION, np.float32)
        query /= np.linalg.norm(query)
        for name, run in searches.items():
            start = time.perf_counter()
            run(query)
            times[name].append(time.perf_counter() - start)
    mine = statistics.median(times["pixel program, int8"])
    for name, found in times.items():
        middle = statistics.median(found)
        table.add_row(name, shown(middle), f"{middle / mine:.1f}x")
    return table


def hybrid(folder: Path) -> Table:
    """Questions to 10,000 records from text to hits, the embedding of the question included."""
    table = Table(title="Questions to 10,000 records of 1 kB, end to end")
    for column in ("", "median", "95 of 100 within", "wanted"):
        table.add_column(column, justify="right")
    embedder = Embedder.present()
    count = 10_000
    values = int8_vectors(count)
    made = drafts(count, values)
    if embedder is not None:
        # Vectors of real text would take minutes; random ones cost the same to search.
        made = (
            Draft(d.query, d.answer,
                  vectors=(Vector(embedder.name, embedder.probe, d.vectors[0].values, 1 / 600),))
            for d in made
        )  # fmt: skip
    with Network.open(folder / "hybrid.png", draw=one_row) as network:
        network.append_many(made)
        questions = [" ".join(text.query.split()[1:11]) for text in islice(texts(300), 0, None, 5)]
        kinds: list[tuple[str, Embedder | None]] = [("by words", None)]
        if embedder is not None:
            kinds.append(("by words and meaning", embedder))
        for name, with_it in kinds:
            search(network, "first of all", embedder=with_it)
            times = [
                timed(lambda q=q, e=with_it: search(network, q, embedder=e), 1) for q in questions
            ]
            late = float(np.percentile(times, 95))
            table.add_row(name, shown(statistics.median(times)), shown(late), "40 ms")
    return table


def sizes(folder: Path, vectors: NDArray[np.int8]) -> Table:
    """Bytes an interaction of 1 kB takes, its vector of 384 int8 included."""
    table = Table(title="Bytes for an interaction of 1 kB with its vector")
    for column in ("", "bytes", "wanted"):
        table.add_column(column, justify="right")
    count = 1000
    rows = list(texts(count))
    for name, draw, goal in (("with its picture", None, "5,000"), ("exact part", one_row, "")):
        path = folder / f"size{goal}.png"
        with Network.open(path, **({"draw": draw} if draw else {})) as network:
            before = sum(page.stat().st_size for page in network.pages)
            network.append_many(drafts(count, vectors))
            size = sum(page.stat().st_size for page in network.pages) - before
        table.add_row(f"pxVM, {name}", f"{size / count:,.0f}", goal)
    for peer in (Sqlite, Jsonl, Lance):
        place = folder / f"size {peer.name}"
        place.mkdir()
        if peer is Lance and missing("lancedb"):
            continue
        store = peer(place)
        store.add(rows, vectors[:count])
        table.add_row(peer.name, f"{store.size() / count:,.0f}", "")
    if not missing("memvid_sdk"):
        store = Memvid(folder)
        start = time.perf_counter()
        store.add(rows[:100], vectors[:100])
        each = (time.perf_counter() - start) / 100
        name = f"{Memvid.name}, 100 records at {each * 1e3:.0f} ms each"
        table.add_row(name, f"{store.size() / 100:,.0f}", "")
    return table


def parts(
    folder: Path,
    counts: tuple[int, ...],
    locomo_file: Path | None = None,
    collections: Sequence[Path] = (),
) -> dict[str, Callable[[], Iterator[Table]]]:
    """What is measured, by name; each yields its tables."""

    @cache
    def vectors() -> NDArray[np.int8]:
        return int8_vectors(max(counts))

    def stored() -> Iterator[Table]:
        yield storing(folder, counts, vectors())
        yield opening(folder / f"store{SIZES[-1]}.png")

    known: dict[str, Callable[[], Iterator[Table]]] = {
        "sizes": lambda: iter([sizes(folder, vectors())]),
        "storing": stored,
        "scanning": lambda: (scanning(folder, count, vectors()[:count]) for count in counts[1:]),
        "sqlite": lambda: iter([beside_sqlite(folder, vectors())]),
        "hybrid": lambda: iter([hybrid(folder)]),
        "languages": lambda: iter([languages(folder)]),
        "documents": lambda: iter([documents(folder)]),
        "again": lambda: iter([again(folder)]),
    }
    if locomo_file is not None:
        known["locomo"] = lambda: iter([locomo(locomo_file, folder)])
    if collections:
        known["collections"] = lambda: (collection(each, folder) for each in collections)
    return known


def main(words: Sequence[str] = ()) -> None:
    """Print the tables of the parts that are named, of all where none is."""
    reads = parser(__doc__)
    reads.add_argument("--large", action="store_true", help="a million records as well")
    reads.add_argument("--locomo", type=Path, metavar="FILE", help="LoCoMo's conversations")
    reads.add_argument("--collection", type=Path, metavar="DIR", action="append", default=[],
                       help="a collection in BEIR's format")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = told(words, [*parts(folder, SIZES), "locomo", "collections"], reads)
        counts = (*SIZES, LARGE) if given.large else SIZES
        known = parts(folder, counts, given.locomo, given.collection)
        given.parts = [part for part in given.parts if part in known]  # these two have data or none
        console = Console()
        if absent := missing("lancedb", "sqlite_vec", "usearch", "memvid_sdk"):
            console.print(f"not installed, so left out: {', '.join(absent)} (extra: bench)")
        for part in given.parts:
            start = time.perf_counter()
            for table in known[part]():
                console.print(table)
            console.print(f"({part}: {time.perf_counter() - start:,.0f} s)")


if __name__ == "__main__":
    main(sys.argv[1:])
