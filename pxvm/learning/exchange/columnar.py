"""Rows as Parquet and Arrow files, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pxvm.core.errors import FormatError
from pxvm.core.installation import library
from pxvm.learning.store.record import to_microseconds

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, Any]

BATCH = 4_096  # rows written at once
TEXTS = ("id", "kind", "query", "answer", "source", "model")


def _arrow() -> Any:
    return library("pyarrow", "arrow")


def schema() -> pyarrow.Schema:
    """The columns of a columnar file."""
    pa = _arrow()
    time, text = pa.timestamp("us", "UTC"), pa.string()
    vector = [("model", text), ("probe", text), ("scale", pa.float64())]
    return pa.schema(
        [pa.field(name, text, nullable=False) for name in TEXTS]
        + [
            pa.field("sequence", pa.int64(), nullable=False),
            pa.field("counts", pa.bool_(), nullable=False),
            pa.field("tags", pa.list_(text), nullable=False),
            pa.field("record_time", time, nullable=False),
            pa.field("event_time", time),
            pa.field("stored_again", pa.list_(time), nullable=False),
            pa.field("links", pa.list_(pa.struct([("relation", text), ("id", text)]))),
            pa.field("vectors", pa.list_(pa.struct([*vector, ("values", pa.list_(pa.int8()))]))),
        ]
    )


def _batches(rows: Iterable[Row]) -> Iterator[Any]:
    pa, columns, rest = _arrow(), schema(), iter(rows)
    while batch := [_with_numbers(row) for row in islice(rest, BATCH)]:
        yield pa.RecordBatch.from_pylist(batch, schema=columns)


def _with_numbers(row: Row) -> Row:
    """Times as microseconds, which Arrow takes as they are."""
    event = row["event_time"]
    return {
        **row,
        "record_time": to_microseconds(row["record_time"]),
        "event_time": None if event is None else to_microseconds(event),
        "stored_again": list(map(to_microseconds, row["stored_again"])),
    }


def write_parquet(rows: Iterable[Row], stream: BinaryIO) -> None:
    """Write rows as Parquet, compressed with Zstandard."""
    _arrow()
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(stream, schema(), compression="zstd") as writer:
        for batch in _batches(rows):
            writer.write_batch(batch)


def write_arrow(rows: Iterable[Row], stream: BinaryIO) -> None:
    """Write rows as an Arrow file, also known as Feather."""
    pa = _arrow()
    with pa.ipc.new_file(stream, schema()) as writer:
        for batch in _batches(rows):
            writer.write_batch(batch)


def read_parquet(path: Path) -> Iterator[Row]:
    """The rows of a Parquet file, times as microseconds. Raises `FormatError`."""
    _arrow()
    import pyarrow.parquet

    with _readable(path, pyarrow.parquet.ParquetFile) as file:
        yield from _rows(file.iter_batches(BATCH))


def read_arrow(path: Path) -> Iterator[Row]:
    """The rows of an Arrow file, times as microseconds. Raises `FormatError`."""
    pa = _arrow()
    with _readable(path, pa.ipc.open_file) as file:
        yield from _rows(map(file.get_batch, range(file.num_record_batches)))


def _readable(path: Path, opener: Callable[[Any], Any]) -> Any:
    pa = _arrow()
    try:
        return opener(pa.memory_map(str(path)))
    except pa.ArrowInvalid as error:
        reason = str(error).split("\n")[0]
        raise FormatError(f"{path}: not the file that its name says ({reason})") from None


def _rows(batches: Iterable[Any]) -> Iterator[Row]:
    for batch in batches:
        yield from _with_microseconds(batch).to_pylist()


def _with_microseconds(batch: Any) -> Any:
    """Times as microseconds: exact, and no database of time zones is needed."""
    pa = _arrow()
    table = pa.Table.from_batches([batch])
    micro, number = pa.timestamp("us", "UTC"), pa.int64()
    for place, name in enumerate(table.column_names):
        kind = table.schema.types[place]
        if pa.types.is_timestamp(kind):
            column = _cast(table.column(name), micro, kind).cast(number)
            table = table.set_column(place, name, column)
        elif pa.types.is_list(kind) and pa.types.is_timestamp(kind.value_type):
            column = _cast(table.column(name), pa.list_(micro), kind.value_type)
            table = table.set_column(place, name, column.cast(pa.list_(number)))
    return table


def _cast(column: Any, micro: Any, timestamp: Any) -> Any:
    """Times as microseconds, finer ones cut; coarser ones may be too far away."""
    try:
        return column.cast(micro, safe=timestamp.unit != "ns")
    except _arrow().ArrowInvalid as error:
        raise FormatError(f"a time is out of range: {str(error).splitlines()[0]}") from None
