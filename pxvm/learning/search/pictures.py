"""The vectors of a search cache: pictures that score their rows, the newest as rows of its tables.

A picture is a file, so one is made only of many vectors; what comes one by one stays in the table
``loose`` until there are enough, and is a picture in memory while it is searched.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError
from pxvm.learning.search.vectors import Vectors, build_vectors, most_rows, save_vectors
from pxvm.learning.store.pages import CACHE_FILE
from pxvm.learning.store.record import BOOKKEEPING, Record

#: From so many loose vectors of a kind on, they become a picture.
LOOSE = 1024

SCHEMA = """
CREATE TABLE pictures (
    file TEXT, model TEXT, probe TEXT, dimension INTEGER, first INTEGER, count INTEGER
);
CREATE TABLE loose (
    model TEXT, probe TEXT, dimension INTEGER, sequence INTEGER, scale REAL, vector BLOB,
    PRIMARY KEY (model, probe, dimension, sequence)
) WITHOUT ROWID;
"""
_OF_KIND = "model = ? AND probe = ? AND dimension = ?"


class Embedding(NamedTuple):
    """Which vectors can be compared with each other."""

    model: str
    probe: str
    dimension: int


class _Rows(NamedTuple):
    """Vectors of one kind: whose [n], scales [n], values int8 [n, d]."""

    records: NDArray[np.int64]
    scales: NDArray[np.float64]
    values: NDArray[np.int8]

    @classmethod
    def of(cls, rows: Iterable[tuple[int, float, bytes]], dimension: int) -> _Rows:
        """Rows of the table. Raises FormatError for what no cache writes."""
        try:
            records, scales, values = zip(*rows, strict=True)
            joined = np.frombuffer(b"".join(values), np.int8).reshape(len(records), dimension)
            found = cls(np.array(records, np.int64), np.array(scales, np.float64), joined)
        except (ValueError, TypeError, OverflowError) as error:
            raise FormatError(f"loose vectors of a search cache: {error}") from None
        if not ((found.scales > 0) & np.isfinite(found.scales)).all():
            raise FormatError("loose vectors of a search cache: a scale that is not positive")
        return found


class Pictures:
    """The tables of ``SCHEMA`` in a database, and the pictures in its folder. Whoever writes holds
    a transaction."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._connection, self._folder = connection, folder
        self._open: dict[tuple[object, ...], Vectors] = {}
        for (file,) in connection.execute("SELECT file FROM pictures"):
            if not CACHE_FILE.fullmatch(file):
                raise FormatError(f"{folder}: {file!r:.80} is no picture of a cache")

    # -- taking in -------------------------------------------------------------------------------

    def take(self, batch: Iterable[Record]) -> None:
        """Take in the vectors of records that follow those taken before."""
        found: dict[Embedding, dict[int, tuple[float, bytes]]] = defaultdict(dict)
        for record in batch:
            for vector in record.vectors:
                if vector.scale > 0 and not record.flags & BOOKKEEPING:
                    key = Embedding(vector.model, vector.probe, len(vector.values))
                    row = vector.scale, vector.values.tobytes()
                    found[key].setdefault(record.sequence, row)
        for key, vectors in found.items():
            rows = [(sequence, *row) for sequence, row in vectors.items()]
            if len(rows) + self._count(key) < LOOSE:
                self._connection.executemany(
                    "INSERT INTO loose VALUES (?, ?, ?, ?, ?, ?)", [(*key, *row) for row in rows]
                )
            else:
                self._grow(key, _Rows.of([*self._loose(key), *rows], key.dimension))
                self._connection.execute(f"DELETE FROM loose WHERE {_OF_KIND}", key)

    def _count(self, key: Embedding) -> int:
        question = f"SELECT count(*) FROM loose WHERE {_OF_KIND}"
        return int(self._connection.execute(question, key).fetchone()[0])

    def _loose(self, key: Embedding) -> list[tuple[int, float, bytes]]:
        return self._connection.execute(
            f"SELECT sequence, scale, vector FROM loose WHERE {_OF_KIND} ORDER BY sequence", key
        ).fetchall()

    def _grow(self, key: Embedding, rows: _Rows) -> None:
        """Add rows as a picture of their own, joined with earlier ones that are no larger.

        So there are few pictures, and a vector is written again as often as the network doubles.
        """
        for file, first, count in reversed(self._files(key)):
            if count > len(rows.records) or count + len(rows.records) > most_rows(key.dimension):
                break
            before = Vectors.open(self._folder / file)
            scales, values = before.rows()
            rows = _Rows(
                np.concatenate([before.records, rows.records]),
                np.concatenate([scales, rows.scales]),
                np.concatenate([values[:, : key.dimension], rows.values]),
            )
            self._connection.execute(
                f"DELETE FROM pictures WHERE {_OF_KIND} AND first = ?", (*key, first)
            )
        begin, end = rows.records[[0, -1]].tolist()
        file = f"vectors-{crc32(repr(key).encode()):08x}-{begin}-{end}.pxi"
        save_vectors(build_vectors(*rows), self._folder / file)
        self._connection.execute(
            "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?)",
            (file, *key, begin, len(rows.records)),
        )

    def _files(self, key: Embedding) -> list[tuple[str, int, int]]:
        return self._connection.execute(
            f"SELECT file, first, count FROM pictures WHERE {_OF_KIND} ORDER BY first", key
        ).fetchall()

    def delete_unused(self) -> None:
        """Delete pictures that were joined into others."""
        used = {file for (file,) in self._connection.execute("SELECT file FROM pictures")}
        for path in self._folder.iterdir():
            if path.suffix == ".pxi" and CACHE_FILE.fullmatch(path.name) and path.name not in used:
                with suppress(OSError):  # still mapped, where that forbids it
                    path.unlink()

    # -- reading ---------------------------------------------------------------------------------

    def kinds(self) -> list[Embedding]:
        """The kinds of vectors there are."""
        rows = self._connection.execute(
            "SELECT model, probe, dimension FROM pictures UNION "
            "SELECT model, probe, dimension FROM loose"
        )
        return [Embedding(*row) for row in rows]

    def of(self, key: Embedding, device: str) -> list[Vectors]:
        """The pictures of one kind of vector by their records, ready to be scored."""
        there, self._open = self._open, {}

        def add(name: tuple[object, ...], made: Callable[[], Vectors]) -> None:
            self._open[name] = there.get(name) or made()

        for file, _, _ in self._files(key):
            add((file, device), partial(Vectors.open, self._folder / file, device))
        question = f"SELECT max(sequence), count(*) FROM loose WHERE {_OF_KIND}"
        last, count = self._connection.execute(question, key).fetchone()
        if count:
            add(
                (key, last, count, device),
                lambda: _of_loose(self._loose(key), key.dimension, device),
            )
        return list(self._open.values())


def _of_loose(rows: Iterable[tuple[int, float, bytes]], dimension: int, device: str) -> Vectors:
    """A picture of rows that the next append changes."""
    return Vectors(build_vectors(*_Rows.of(rows, dimension)), device, passing=True)
