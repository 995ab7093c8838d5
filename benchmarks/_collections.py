"""How well a collection's judged documents are found for its questions (nDCG@10).

A collection is a folder in BEIR's format: ``corpus.jsonl`` (_id, title, text), ``queries.jsonl``
(_id, text), ``qrels/test.tsv`` (question, document, grade, under a line of headings). A document is
a record, its title the question; every question with a grade above zero is asked.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks._memory_peers import one_row
from pxvm.learning import Draft, Network
from pxvm.learning.search.embedding import Embedder
from pxvm.learning.search.search import search

#: Documents that are looked at.
CUT = 10
#: The names of documents that a question finds, best first.
Find = Callable[[str], list[str]]


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def judged(folder: Path) -> dict[str, dict[str, int]]:
    """The grades of the documents that were judged, by question."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        question, document, grade = line.split("\t")
        if int(grade) > 0:
            found[question][document] = int(grade)
    return dict(found)


def ndcg(grades: dict[str, int], found: list[str]) -> float:
    """Normalised discounted cumulative gain of the first documents, its gains the grades."""

    def gained(some: list[int]) -> float:
        return sum(grade / log2(place + 2) for place, grade in enumerate(some[:CUT]))

    best = gained(sorted(grades.values(), reverse=True))
    return gained([grades.get(name, 0) for name in found]) / best


def plain_words(texts: dict[str, str]) -> Find:
    """FTS5's BM25 as it comes."""
    names = list(texts)
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE text USING fts5 (words, tokenize='porter unicode61')")
    db.executemany("INSERT INTO text (rowid, words) VALUES (?, ?)", enumerate(texts.values()))

    def find(question: str) -> list[str]:
        terms = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", question.lower()))
        asked = "SELECT rowid FROM text WHERE text MATCH ? ORDER BY rank LIMIT ?"
        return [names[number] for (number,) in db.execute(asked, (terms, CUT))]

    return find


def plain_vectors(drafts: list[Draft], embedder: Embedder) -> Find:
    """Cosine, exactly."""
    drafts = [draft for draft in drafts if draft.vectors]  # an empty document has none
    values = np.stack([d.vectors[0].values * np.float32(d.vectors[0].scale) for d in drafts])

    def find(question: str) -> list[str]:
        order = np.argsort(-(values @ embedder.real([question])[0]), kind="stable")
        return [drafts[number].source for number in order[:CUT]]

    return find


def collection(folder: Path, place: Path) -> Table:
    """The table: each way of searching, its mean over the questions."""
    drafts = [
        Draft(row.get("title", ""), row["text"], kind="document", source=row["_id"])
        for row in _read(folder / "corpus.jsonl")
    ]
    questions = {row["_id"]: row["text"] for row in _read(folder / "queries.jsonl")}
    grades = judged(folder)
    embedder = Embedder.present()
    if embedder is not None:
        drafts = embedder.with_vectors(drafts)
    table = Table(title=f"{folder.name}: {len(drafts):,} documents, {len(grades):,} questions")
    for column in ("search", f"nDCG@{CUT}"):
        table.add_column(column, justify="right")
    with Network.open(place / f"{folder.name}.png", draw=one_row) as network:
        network.append_many(drafts)

        def ours(with_it: Embedder | None) -> Find:
            return lambda question: [
                hit.record.source for hit in search(network, question, CUT, embedder=with_it)
            ]

        ways = {
            "FTS5, BM25": plain_words({d.source: f"{d.query} {d.answer}" for d in drafts}),
            "pxVM, words": ours(None),
        }
        if embedder is not None:
            ways["cosine"] = plain_vectors(drafts, embedder)
            ways["pxVM, words and meaning"] = ours(embedder)
        for name, find in ways.items():
            scores = [ndcg(grades[q], find(questions[q])) for q in grades]
            table.add_row(name, f"{np.mean(scores):.4f}")
    return table
