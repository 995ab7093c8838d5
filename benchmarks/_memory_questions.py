"""Questions to the memory: in eight languages, on real documentation, nonsense, by the hundred.

``texts/questions/<language>.tsv`` holds 40 facts and a question to each, ``documents.txt``
questions on this project's documents with words that the right passage has, ``nonsense.txt``
questions of nothing. They were written before any of them was asked, and nothing is fitted to them
but the floors under which a question is taken for nonsense.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from benchmarks._memory_peers import one_row
from benchmarks.container_open import shown
from pxvm.learning import Draft, Network
from pxvm.learning.search.cache import ask
from pxvm.learning.search.embedding import Embedder
from pxvm.learning.search.search import search
from pxvm.learning.sources.documents import SETTLED, read_documents
from pxvm.learning.sources.known import Known
from pxvm.learning.sources.learn import Learned, learn

QUESTIONS = Path(__file__).parent / "texts" / "questions"
PROJECT = Path(__file__).parents[1]
LANGUAGES = ("zh", "en", "de", "fr", "ja", "th", "hi", "ar")
SHOWN = 5
FILES, CHANGED = 20_000, 200


def _lines(name: str) -> list[list[str]]:
    text = (QUESTIONS / name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()]


def _ways() -> list[tuple[str, Embedder | None]]:
    embedder = Embedder.present()
    return [("words", None), *([("words and meaning", embedder)] if embedder else [])]


def languages(folder: Path) -> Table:
    """Facts found among the first three by their questions."""
    table = Table(title="Facts of 40 that are among the first three for their question")
    ways = _ways()
    for column in ("", *(name for name, _ in ways), "wanted"):
        table.add_column(column, justify="right")
    for language in LANGUAGES:
        rows = _lines(f"{language}.tsv")
        drafts = [Draft("", fact) for fact, _ in rows]
        with Network.open(folder / f"{language}.png") as network:
            embedder = ways[-1][1]
            network.append_many(embedder.with_vectors(drafts) if embedder else drafts)
            counts = [
                sum(fact in _answers(network, question, 3, way) for fact, question in rows)
                for _, way in ways
            ]
        wanted = "38" if language in ("zh", "en") else "36"
        table.add_row(language, *map(str, counts), wanted)
    return table


def _answers(network: Network, question: str, k: int, embedder: Embedder | None) -> list[str]:
    return [hit.record.answer for hit in search(network, question, k, embedder=embedder)]


def documents(folder: Path) -> Table:
    """Questions on the project's documents, nonsense asked of them, and a hundred in a row."""
    path = folder / "documents.png"
    asked, nonsense = _lines("documents.txt"), [line[0] for line in _lines("nonsense.txt")]
    batch = [question for question, _ in asked]
    batch += [question for _, question in _lines("en.tsv")]
    batch = [*batch, *nonsense][:100]
    ways = _ways()
    with Network.open(path) as network:
        paths = [PROJECT / "docs", *sorted(PROJECT.glob("*.md"))]
        for _ in learn(network, read_documents(paths, path), embedder=ways[-1][1]):
            pass
        table = Table(title=f"Questions on {len(network):,} passages of documentation")
    for column in ("", f"right in the first {SHOWN}", "nonsense that finds nothing",
                   "100 questions, opening included"):  # fmt: skip
        table.add_column(column, justify="right")
    for name, way in ways:
        with Network.open(path, read_only=True) as network:
            right = sum(_is_answered(network, *each, way) for each in asked)
            none = sum(not _answers(network, question, 1, way) for question in nonsense)
        start = time.perf_counter()
        with Network.open(path, read_only=True) as network:
            for question in batch:
                search(network, question, SHOWN, embedder=way)
        took = time.perf_counter() - start
        table.add_row(name, f"{right} of {len(asked)}", f"{none} of {len(nonsense)}", shown(took))
    return table


def _is_answered(network: Network, question: str, key: str, embedder: Embedder | None) -> bool:
    found = _answers(network, question, SHOWN, embedder)
    return any(" ".join(key.split()) in " ".join(answer.split()) for answer in found)


def again(folder: Path) -> Table:
    """A repository learned again, of which 1% has changed; no embedding."""
    home = folder / "repository"
    files = list(_files(home))
    path = folder / "repository.png"
    table = Table(title=f"Learning {FILES:,} files")
    for column in ("", "time", "passages stored", "wanted"):
        table.add_column(column, justify="right")
    for name, wanted in (("at first", ""), (f"again, {CHANGED} changed", "5 s")):
        time.sleep(SETTLED + 0.5)
        start = time.perf_counter()
        with Network.open(path, draw=one_row) as network:
            found = read_documents([home], path, (), Known(network).stamped)
            stored = sum(
                event.added
                for event in learn(network, found, folders=["repository"])
                if isinstance(event, Learned)
            )
            ask(network, lambda cache: None)
        table.add_row(name, shown(time.perf_counter() - start), f"{stored:,}", wanted)
        for file in random.Random(0).sample(files, CHANGED):
            file.write_text(f"Changed.\n\n{file.read_text()}")
    return table


def _files(home: Path) -> Iterator[Path]:
    for number in range(FILES):
        file = home / f"part{number // 400}" / f"room{number // 20 % 20}" / f"note{number}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# Note {number}\n\nThis is what is said of number {number} here.\n" * 2)
        yield file
