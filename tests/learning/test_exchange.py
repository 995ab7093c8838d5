"""Records out to a file and back: every field, every character, every vector."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pxvm.core.errors import FormatError, PxvmError
from pxvm.learning import Network
from pxvm.learning.exchange.exchange import FORMATS, export, kept, read_records, write_records
from pxvm.learning.store.record import KINDS, RELATIONS, Draft, Link, Record, Vector

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
times = st.datetimes(timezones=st.just(timezone.utc))
ids = st.text("0123456789abcdef", min_size=64, max_size=64)
vectors = st.builds(
    lambda model, values, scale: Vector(model, "p" * 16, np.array(values, np.int8), scale),
    words,
    st.lists(st.integers(-128, 127), min_size=1, max_size=9),
    st.floats(allow_nan=False, allow_infinity=False, width=64),
)
records = st.builds(
    Record,
    query=texts,
    answer=texts,
    tags=st.lists(words, max_size=3).map(tuple),
    kind=st.sampled_from(KINDS),
    source=texts,
    model=texts,
    event_time=st.none() | times,
    links=st.lists(st.builds(Link, st.sampled_from(RELATIONS), ids), max_size=3).map(tuple),
    vectors=st.lists(vectors, max_size=2).map(tuple),
    sequence=st.integers(0, 2**40),
    record_time=times,
    stored_again=st.lists(times, max_size=2).map(lambda found: tuple(sorted(found))),
)

TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc)


def sample(count=3):
    return [
        Record(
            query=f"What is {n}?",
            answer=f"A number, {n}.\n\n```py\nx = {n}\n```",
            tags=("numbers",),
            source="book.md",
            event_time=TIME - timedelta(days=n),
            vectors=(Vector("minilm", "p" * 16, np.array([0, 1, n % 100, 3], np.int8), 0.5),),
            sequence=n,
            record_time=TIME,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(found=st.lists(records, max_size=4))
def test_round_trip(suffix, found, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / f"network{suffix}"
    assert write_records(found, path) == len(found)
    if not found and suffix == ".md":
        return  # an empty page says nothing
    assert list(read_records(path)) == found


@pytest.mark.parametrize(
    "trap", ["**\n\n", '<!-- pxvm {"id": 1} -->\n', "\r\n", "## note 3\n", "-->"]
)
def test_markdown_is_not_misled_by_what_a_text_holds(trap, tmp_path):
    path = tmp_path / "a.md"
    record = Record(query=trap, answer=trap * 2, sequence=0, record_time=TIME, source=trap)
    write_records([record, record], path)
    assert list(read_records(path)) == [record, record]


def test_markdown_is_for_people(tmp_path):
    path = tmp_path / "a.md"
    write_records(sample(1), path)
    lines = path.read_text().splitlines()
    assert lines[0] == "## interaction 0, 2026-01-02 03:04"
    assert "**What is 0?**" in lines and "A number, 0." in lines


def test_edited_markdown_is_noticed(tmp_path):
    path = tmp_path / "a.md"
    write_records(sample(2), path)
    path.write_text(path.read_text().replace("A number, 1", "A lumber, 1"))
    with pytest.raises(FormatError, match=r"a\.md, line \d+: the content hashes to .* edited"):
        list(read_records(path))


def test_duckdb_reads_parquet(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "a.parquet"
    write_records(sample(5_000), path)
    connection = duckdb.connect()
    query = (
        "select count(*), max(sequence), min(epoch_us(event_time)), sum(len(tags)), "
        "any_value(vectors[1].values[3]) filter (sequence = 7), count(distinct vectors[1].model) "
        "from '{}'"
    )
    count, last, first, tags, value, models = connection.execute(query.format(path)).fetchone()
    oldest = TIME - timedelta(days=4_999)
    assert (count, last, tags, value, models) == (5_000, 4_999, 5_000, 7, 1)
    assert datetime.fromtimestamp(0, timezone.utc) + timedelta(microseconds=first) == oldest


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_what_others_write_becomes_interactions(suffix, tmp_path):
    path = tmp_path / f"others{suffix}"
    rows = [
        {"question": "What is a keel?", "answer": "A spine.", "tags": ["boats"]},
        {"question": "And a sail?", "answer": "A wing.", "tags": []},
    ]
    if suffix == ".parquet":
        arrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
        parquet.write_table(arrow.Table.from_pylist(rows), path)
    elif suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    assert list(read_records(path)) == [
        Draft("What is a keel?", "A spine.", ("boats",)),
        Draft("And a sail?", "A wing."),
    ]


def test_messages(tmp_path):
    path = tmp_path / "chat.jsonl"
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    path.write_text(
        "\n".join(map(json.dumps, turns)) + "\n\n" + json.dumps({"messages": turns[:2]})
    )
    found = [(draft.query, draft.answer) for draft in read_records(path)]
    assert sorted(found) == [("a", "b"), ("a", "b"), ("c", "")]


@pytest.fixture
def network(tmp_path):
    with Network.open(tmp_path / "knowledge.png") as network:
        ids = network.append_many(sample(5))
        network.tag(ids[0], add=["small"])
        network.correct(ids[1], answer="The first odd number.")
        network.forget(ids[2])
        network.forget(ids[3])
        network.append_many([sample(5)[3].draft()])
        network.correct(ids[3], answer="Forgotten, said again, corrected.")
        yield network


def memory(network):
    """What counts, and the history of everything else, without the numbers."""
    return (
        {(r.id, r.tags) for r in network.records()},
        {replace(r, sequence=0) for r in kept(network)},
    )


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_network_comes_back_with_its_history(suffix, network, tmp_path):
    path = tmp_path / f"out{suffix}"
    assert export(network, path) == 9
    with Network.open(tmp_path / "again.png") as again:
        again.append_many(read_records(path))
        assert memory(again) == memory(network)
        again.append_many(read_records(path))
        assert memory(again) == memory(network)
    assert b"A number, 2" not in path.read_bytes() and path.stat().st_size


def test_the_current_state_has_neither_history_nor_bookkeeping(network, tmp_path):
    path = tmp_path / "out.jsonl"
    assert network.export(path, current=True) == 4
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {tag for row in rows for tag in row["tags"]} == {"numbers", "small"}
    assert [row["answer"].split(".")[0] for row in rows] == [
        "A number, 0",
        "A number, 4",
        "The first odd number",
        "Forgotten, said again, corrected",
    ]
    assert len(list(read_records(path))) == 4


def test_counts_tells_what_is_in_force(network, tmp_path):
    path = tmp_path / "out.jsonl"
    export(network, path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((row["kind"], row["counts"]) for row in rows) == [
        ("correction", False),
        ("correction", True),
        ("correction", True),
        ("interaction", False),
        ("interaction", False),
        ("interaction", True),
        ("interaction", True),
        ("tombstone", False),
        ("tombstone", False),
    ]


BAD = {
    "not JSON": '{"query": "a", "answer": "b"}\n{',
    "expected an object": "[1]",
    "expected an exported record": '{"colour": "red"}',
    "the content hashes to": json.dumps(
        {
            **dict.fromkeys(("query", "answer", "source", "model"), ""),
            **{name: [] for name in ("tags", "links", "vectors", "stored_again")},
            "id": "0" * 64,
            "kind": "note",
            "sequence": 0,
            "record_time": "2026-01-01T00:00:00+00:00",
        }
    ),
    "'query' is missing": '{"id": "a", "record_time": "", "kind": "note"}',
    "a time with its zone": json.dumps(
        {
            "id": "a", "kind": "note", "query": "q", "answer": "a", "tags": [], "source": "",
            "model": "", "sequence": 1, "record_time": "2026-01-01T00:00:00", "stored_again": [],
            "links": [], "vectors": [],
        }
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", BAD)
def test_bad_rows_are_refused_with_their_line(reason, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(BAD[reason])
    with pytest.raises(FormatError, match=rf"bad\.jsonl, line \d: .*{reason}"):
        list(read_records(path))


@pytest.mark.parametrize("suffix", [".jsonl", ".md"])
def test_what_is_no_text_is_refused_with_its_file(suffix, tmp_path):
    path = tmp_path / f"latin{suffix}"
    path.write_bytes(b'<!-- pxvm {"query": "\xff"} -->\n')
    with pytest.raises(FormatError, match=rf"latin\{suffix}: expected text in UTF-8"):
        list(read_records(path))


def test_a_long_line_of_comments_that_are_none_is_read_at_once(tmp_path):
    path = tmp_path / "long.md"
    path.write_text("<!-- pxvm {" * 500_000)
    with pytest.raises(FormatError, match="no exported record"):  # minutes, were it quadratic
        list(read_records(path))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_any_unit(unit, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    (record,) = read_back([Draft("q", "a")], tmp_path, ".parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    place = table.column_names.index("record_time")
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    finer = 999 if unit == "ns" else 0  # what a microsecond does not hold is cut
    times = pa.array([1_700_000_000 * per + finer], pa.timestamp(unit, "UTC"))
    table = table.set_column(place, "record_time", times)
    pyarrow.parquet.write_table(table, tmp_path / "other.parquet")
    (found,) = read_records(tmp_path / "other.parquet")
    assert found.record_time == datetime.fromtimestamp(1_700_000_000, timezone.utc)
    assert found.id == record.id


def read_back(drafts, folder, suffix):
    with Network.open(folder / "n.png") as network:
        network.append_many(drafts)
        export(network, folder / f"out{suffix}")
    return list(read_records(folder / f"out{suffix}"))


def test_a_time_out_of_range_is_refused(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    far = pa.array([2**62], pa.timestamp("ms"))
    pyarrow.parquet.write_table(
        pa.table({"query": ["q"], "answer": ["a"], "event_time": far}), tmp_path / "far.parquet"
    )
    with pytest.raises(FormatError, match="a time is out of range"):
        list(read_records(tmp_path / "far.parquet"))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_file_of_another_kind_is_refused(suffix, tmp_path):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(b"hello" * 100)
    with pytest.raises(FormatError, match="not the file that its name says"):
        list(read_records(path))


def test_unknown_ends_and_missing_libraries_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(PxvmError, match=r"expected a name that ends in \.jsonl"):
        write_records([], tmp_path / "a.doc")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(PxvmError, match=r"pyarrow is not installed .*: pip install pyarrow"):
        write_records([], tmp_path / "a.parquet")
