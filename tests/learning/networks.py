"""Small networks of every sort of record, for the tests of the file format."""

from __future__ import annotations

import os
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from pxvm.learning import Draft, Network, Record, Vector

# A seed that is new in every run, and the same in every process of a run that has several.
FRESH = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID")).randrange(1 << 30)
MOMENT = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=timezone.utc)
TEXTS = (
    "",
    "plain words",
    "NUL \0 and other controls \x01\x7f\x85\u2028",
    "עברית وعربي right to left",
    "漢字かな, e\u0301 combining, 👩\u200d🚀 emoji, \U0010ffff the last",
    '{"json": "\\u0041"}\r\n\ttabs',
    "x" * 90_000,
)


def small(record: Record) -> np.ndarray:
    """A picture of a few rows, where its look does not matter."""
    return np.random.default_rng(record.sequence).integers(0, 256, (4, 128), np.uint8)


def vector(seed: int, dimension: int = 384, probe: str = "p0") -> Vector:
    values = np.random.default_rng(abs(seed)).integers(-128, 128, dimension).astype(np.int8)
    return Vector("minilm", probe, values, 1 / 127)


def drafts() -> list[Draft]:
    """Every kind, every sort of text, links, vectors, times before and after 1970."""
    found = [
        Draft(
            query=f"question {number}",
            answer=text,
            tags=("b", "a", "ä" * number) if number else (),
            kind=("interaction", "note", "document", "program", "measurement")[number % 5],
            source="a/file.md#3" * (number % 2),
            model="model" * (number % 3),
            event_time=MOMENT - timedelta(days=20_000 * number) if number % 2 else None,
            vectors=(vector(number),) * (number % 2) + (vector(-number, 7),) * (number % 3 == 0),
        )
        for number, text in enumerate(TEXTS)
    ]
    first = found[0].id
    return [*found, Draft("linked", "to the first", links=[("next", first), ("recalled", first)])]


def varied(path: Path, draw=small, page_rows: int = 200) -> Network:
    """A network of several pages with records of every sort, some forgotten, corrected, tagged."""
    network = Network.open(path, draw=draw, page_rows=page_rows)
    ids = network.append_many(drafts())
    network.append_many(Draft(f"more {i}", "words " * i) for i in range(60))
    network.correct(ids[1], answer="better words")
    network.tag(ids[2], add=["new"], remove=["a"])
    network.forget(ids[3], ids[4])
    assert len(network.pages) > 2
    return network
