"""The memory's peers: what stores records and vectors elsewhere, each behind the same few calls.

All come with the extra ``bench``. A peer that is not installed is named and left out.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Search = Callable[[Vectors], object]

THREADS = 2
BEST = 10


class Text(NamedTuple):
    """What is stored: about 1 kB in all."""

    query: str
    answer: str


def missing(*modules: str) -> list[str]:
    """Those of the modules that are not installed."""
    return [name for name in modules if find_spec(name) is None]


def one_row(record: object) -> NDArray[np.uint8]:
    """No picture to speak of, so that large networks are made fast."""
    return np.full((1, 128), 255, np.uint8)


# -- records -------------------------------------------------------------------------------------


class Sqlite:
    """A table, a full-text index over it, and the int8 vector as a blob; committed and synced."""

    name = "SQLite, FTS5"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "records.db"
        self.db = sqlite3.connect(self.path)
        self.db.executescript(
            "PRAGMA synchronous = FULL;"
            "CREATE TABLE records (id INTEGER PRIMARY KEY, query TEXT, answer TEXT, vector BLOB);"
            "CREATE VIRTUAL TABLE text USING fts5 (query, answer, content=records,"
            " content_rowid=id, tokenize='porter');"
        )

    def add(self, texts: Sequence[Text], vectors: NDArray[np.int8]) -> None:
        """One transaction."""
        for text, vector in zip(texts, vectors, strict=True):
            made = self.db.execute(
                "INSERT INTO records (query, answer, vector) VALUES (?, ?, ?)",
                (*text, vector.tobytes()),
            )
            self.db.execute("INSERT INTO text (rowid, query, answer) VALUES (?, ?, ?)",
                            (made.lastrowid, *text))  # fmt: skip
        self.db.commit()

    def size(self) -> int:
        """Bytes on the disk."""
        return self.path.stat().st_size


class Jsonl:
    """A line for each record, the vector as a list of integers; synced."""

    name = "JSONL"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "records.jsonl"

    def add(self, texts: Sequence[Text], vectors: NDArray[np.int8]) -> None:
        """Append and sync."""
        with self.path.open("a", encoding="utf-8") as file:
            for text, vector in zip(texts, vectors, strict=True):
                file.write(json.dumps({**text._asdict(), "vector": vector.tolist()}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def size(self) -> int:
        """Bytes on the disk."""
        return self.path.stat().st_size


class Lance:
    """LanceDB: a table of text and float vectors, no index."""

    name = "LanceDB"

    def __init__(self, folder: Path) -> None:
        import lancedb

        self.folder = folder / "lance"
        self.db = lancedb.connect(self.folder)
        self.table: Any = None

    def add(self, texts: Sequence[Text], vectors: NDArray[np.int8]) -> None:
        """One version of the table."""
        import pyarrow

        real = pyarrow.FixedSizeListArray.from_arrays(
            pyarrow.array((vectors / 127).astype(np.float32).ravel()), vectors.shape[1]
        )
        rows = pyarrow.table(
            {"query": [t.query for t in texts], "answer": [t.answer for t in texts], "vector": real}
        )
        if self.table is None:
            self.table = self.db.create_table("records", rows)
        else:
            self.table.add(rows)

    def size(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


class Memvid:
    """memvid-sdk: one .mv2 file; its clock and size at few records, since it slows down early."""

    name = "memvid-sdk"

    def __init__(self, folder: Path) -> None:
        os.environ["MEMVID_TELEMETRY"] = "0"
        import memvid_sdk

        self.path = folder / "records.mv2"
        self.file = memvid_sdk.create(str(self.path), enable_vec=True, enable_lex=True)

    def add(self, texts: Sequence[Text], vectors: NDArray[np.int8]) -> None:
        """One batch, without what it would extract from the text."""
        rows = [{"title": t.query[:40], "label": "x", "text": f"{t.query}\n{t.answer}"}
                for t in texts]  # fmt: skip
        self.file.put_many(rows, embeddings=(vectors / 127).tolist())
        self.file.commit()

    def size(self) -> int:
        """Bytes on the disk."""
        return self.path.stat().st_size


# -- exact vector search -------------------------------------------------------------------------


def numpy_search(vectors: Vectors, folder: Path) -> Search:
    """NumPy in float32 through BLAS."""

    def search(query: Vectors) -> object:
        scores = vectors @ query
        best = np.argpartition(scores, -BEST)[-BEST:]
        return best[np.argsort(-scores[best])]

    return search


def usearch_search(vectors: Vectors, folder: Path) -> Search:
    """usearch, exact, float32."""
    from usearch.index import MetricKind, search

    return lambda query: search(
        vectors, query[None], BEST, MetricKind.IP, exact=True, threads=THREADS
    )


def usearch_int8_search(vectors: Vectors, folder: Path) -> Search:
    """usearch, exact, int8."""
    from usearch.index import MetricKind, search

    small = np.rint(vectors * 127).astype(np.int8)

    def run(query: Vectors) -> object:
        asked = np.rint(query * 127).astype(np.int8)
        return search(small, asked[None], BEST, MetricKind.IP, exact=True, threads=THREADS)

    return run


def lance_search(vectors: Vectors, folder: Path) -> Search:
    """LanceDB without an index: it reads every vector."""
    import lancedb
    import pyarrow

    flat = pyarrow.array(vectors.ravel())
    rows = {
        "id": np.arange(len(vectors)),
        "vector": pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    }
    table = lancedb.connect(folder / "vectors.lance").create_table("v", pyarrow.table(rows))
    return lambda query: table.search(query).distance_type("dot").limit(BEST).to_arrow()


def sqlite_vec_search(vectors: Vectors, folder: Path) -> Search:
    """sqlite-vec, int8: its vec0 tables compare with every row."""
    import apsw  # Python's own sqlite3 is often built without extensions
    import sqlite_vec

    db = apsw.Connection(str(folder / "vectors.db"))
    db.enable_load_extension(True)
    sqlite_vec.load(db)
    db.execute(f"CREATE VIRTUAL TABLE v USING vec0 (embedding int8[{vectors.shape[1]}])")
    small = np.rint(vectors * 127).astype(np.int8)
    with db:
        db.executemany(
            "INSERT INTO v (rowid, embedding) VALUES (?, vec_int8(?))",
            ((i, row.tobytes()) for i, row in enumerate(small)),
        )
    question = (
        "SELECT rowid, distance FROM v WHERE embedding MATCH vec_int8(?) ORDER BY distance LIMIT ?"
    )

    def search(query: Vectors) -> object:
        asked = np.rint(query * 127).astype(np.int8).tobytes()
        return db.execute(question, (asked, BEST)).fetchall()

    return search


SEARCHES: dict[str, tuple[str, Callable[[Vectors, Path], Search]]] = {
    "NumPy float32": ("numpy", numpy_search),
    "usearch float32": ("usearch", usearch_search),
    "usearch int8": ("usearch", usearch_int8_search),
    "LanceDB": ("lancedb", lance_search),
    "sqlite-vec int8": ("sqlite_vec", sqlite_vec_search),
}
