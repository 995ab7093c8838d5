"""Forgotten means forgotten: old versions too, by exact days, and never more than was asked for."""

from datetime import datetime, timezone

import pytest
from click.testing import CliRunner

from pxvm.cli import cli
from pxvm.learning import Network
from pxvm.learning.errors import RecordError
from pxvm.learning.search.times import whole_time

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "k.png"


def stored(home):
    with Network.open(home, read_only=True) as network:
        return [record.answer for record in network.records(all=True)][1:]


def live(home):
    with Network.open(home, read_only=True) as network:
        return [record.answer for record in network.records()]


def forget(home, *arguments, **options):
    return CliRunner().invoke(cli, ["network", "forget", "-n", str(home), *arguments], **options)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024-03", "2024-03-01", "2024-04-01"),
        ("03/2024", "2024-03-01", "2024-04-01"),
        ("15.03.2024", "2024-03-15", "2024-03-16"),
        ("2024-03-15", "2024-03-15", "2024-03-16"),
        ("2024", "2024-01-01", "2025-01-01"),
        ("März 2024", "2024-03-01", "2024-04-01"),
        ("last week", "2026-11-16", "2026-11-23"),
        ("2026年3月", "2026-03-01", "2026-04-01"),
    ],
)
def test_a_time_is_understood_as_a_whole(text, start, end):
    found = whole_time(text, NOW)
    assert (f"{found.start:%Y-%m-%d}", f"{found.end:%Y-%m-%d}") == (start, end)


@pytest.mark.parametrize(
    "text", ["3/15/2024", "2024-13", "2024-02-30", "march 2024 or so", "2024-W54", "soon", "", "in"]
)
def test_or_refused(text):
    assert whole_time(text, NOW) is None


def test_the_last_day_there_is_does_not_overflow(home):
    assert whole_time("9999-12-31", NOW).start.year == 9999
    with Network.open(home) as network:
        network.append("", "a note")
    done = CliRunner().invoke(cli, ["recall", "note", "-n", str(home), "--until", "9999-12-31"])
    assert done.exit_code == 0, done.output


def test_a_month_is_forgotten_and_not_its_year(home):
    with Network.open(home) as network:
        for month in range(1, 13):
            moment = datetime(2024, month, 15, tzinfo=timezone.utc)
            network.append("", f"Note of month {month}.", event_time=moment)
    done = forget(home, "--since", "2024-03", "--until", "2024-03", "--yes")
    assert done.exit_code == 0 and "1 record forgotten" in done.output
    assert len(live(home)) == 11 and "Note of month 3." not in live(home)
    assert forget(home, "--since", "3/15/2024", "--yes").exit_code == 2


def test_what_is_about_to_go_is_shown_by_count_and_span_and_a_large_part_asked_about_twice(home):
    with Network.open(home) as network:
        for day in range(1, 31):
            moment = datetime(2024, 4, day, 12, tzinfo=timezone.utc)
            network.append("", f"day {day}", event_time=moment, tags=["a"])
    asked = forget(home, "--tag", "a", input="y\nn\n")
    assert "30 records, 2024-04-01 to 2024-04-30?" in asked.output
    assert "30 of the 30 records" in asked.output and len(live(home)) == 30
    refused = forget(home, "--tag", "a", "--yes")
    assert refused.exception is not None and "--yes --yes" in str(refused.exception)
    assert len(live(home)) == 30
    assert forget(home, "--tag", "a", "--yes", "--yes").exit_code == 0 and live(home) == []


def test_the_record_that_explains_the_format_cannot_be_forgotten(home):
    with Network.open(home) as network, pytest.raises(RecordError, match="explains the format"):
        network.forget(0)


def test_what_the_network_says_of_itself_cannot_be_changed(home):
    with Network.open(home) as network:
        network.append("", "a secret")
        network.tag(1, add=["odd"])
        network.forget(1)
        stored = network.state.sequence
        for number in range(stored + 1):
            with pytest.raises(RecordError, match="cannot be changed"):
                network.correct(number, answer="another")
            with pytest.raises(RecordError, match="cannot be changed"):
                network.tag(number, add=["new"])
        assert network.state.sequence == stored


@pytest.mark.parametrize("how", ["corrected", "superseded"])
def test_a_secret_in_an_old_version_is_found_forgotten_alone_and_erased(home, tmp_path, how):
    with Network.open(home) as network:
        if how == "corrected":
            old = network.append("what is it?", "The word is ZEBRAQUUX.")
            network.correct(old, answer="It was taken out.")
        else:
            page = tmp_path / "s.md"
            for text in ("The word is ZEBRAQUUX.", "It was taken out."):
                page.write_text(f"# Notes\n\n{text}\n")
                done = CliRunner().invoke(cli, ["learn", str(page), "-n", str(home)])
                assert done.exit_code == 0, done.output
    done = forget(home, "--text", "zebraquux", "--yes")
    assert done.exit_code == 0 and "an old version" in done.output
    assert live(home) == ["It was taken out."]
    assert forget(home, "--text", "zebraquux", "--yes").exit_code == 1  # there is no more of it
    with Network.open(home) as network:
        network.export(tmp_path / "out.jsonl")
        network.compact()
    assert "ZEBRAQUUX" not in (tmp_path / "out.jsonl").read_text()
    assert not any("ZEBRAQUUX" in answer for answer in stored(home))


def test_what_is_forgotten_is_not_brought_back_by_a_change(home):
    with Network.open(home) as network:
        network.append("Where is the key?", "Under the mat.")
    assert forget(home, "1", "--yes").exit_code == 0
    for change in (["correct", "1", "--query", "Where is it?"], ["tag", "1", "keys"]):
        result = CliRunner().invoke(cli, ["network", *change, "-n", str(home)])
        assert isinstance(result.exception, RecordError)
        assert "record 1 is forgotten" in str(result.exception)
    assert live(home) == []


def test_compact_drops_what_was_replaced_unless_history_is_kept(home):
    with Network.open(home) as network:
        network.correct(network.append("who?", "Anna"), answer="Berta")
        network.compact(history=True)
    assert stored(home) == ["Anna", "Berta"]
    with Network.open(home) as network:
        network.compact()
    assert stored(home) == ["Berta"] and live(home) == ["Berta"]


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_corrections_that_a_merge_brings_together_the_newer_counts(tmp_path, turned):
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    with Network.open(one) as network:
        name = network.append("who leads?", "Anna")
    two.write_bytes(one.read_bytes())
    for path, answer in ((one, "Berta"), (two, "Clara")):
        with Network.open(path) as network:
            network.correct(name, answer=answer)
    pair = (two, one) if turned else (one, two)
    with Network.open(pair[0]) as a, Network.open(pair[1]) as b:
        Network.merge(a, b, tmp_path / "both.png")
    assert live(tmp_path / "both.png") == ["Clara"]
    with Network.open(tmp_path / "both.png") as network:
        hits = network.search("who leads", embedder=None)
        assert [hit.record.answer for hit in hits] == ["Clara"]


def test_who_forgets_a_passage_is_told_of_its_copy(tmp_path):
    (tmp_path / "notes").mkdir()
    for name in ("a.md", "b.md"):
        (tmp_path / "notes" / name).write_text(
            "# Locker\n\nThe zebra's code is 4711, in the hall.\n"
        )
    home = tmp_path / "n.png"
    run = CliRunner().invoke(cli, ["learn", str(tmp_path / "notes"), "-n", str(home)])
    assert run.exit_code == 0, run.output
    first = forget(home, "1", "--yes")
    assert "b.md" in first.output and "says the same, and still counts" in first.output
    assert "says the same" not in forget(home, "2", "--yes").output


def bring(home, other, how, folder):
    """What of a network is the other's, by one of the ways there are."""
    if how == "merged":
        with Network.open(home) as a, Network.open(other) as b:
            Network.merge(a, b, folder / "both.png")
        return folder / "both.png"
    file = other
    if how != ".png":
        file = folder / f"old{how}"
        with Network.open(other) as network:
            network.export(file)
    done = CliRunner().invoke(cli, ["network", "import", str(file), "-n", str(home)])
    assert done.exit_code == 0 and "1 forgotten or corrected before" in done.output
    return home


@pytest.mark.parametrize("how", ["merged", ".png", ".jsonl", ".md"])
def test_what_was_erased_does_not_come_back_into_the_file_with_an_older_copy(home, tmp_path, how):
    older = tmp_path / "older.png"
    with Network.open(home) as network:
        network.append("where is the key?", "Under the ZEBRA.")
        network.append("and the boat?", "At the pier.")
    older.write_bytes(home.read_bytes())
    assert forget(home, "--text", "zebra", "--yes").exit_code == 0
    with Network.open(home) as network:
        network.compact()
    now = bring(home, older, how, tmp_path)
    assert live(now) == ["At the pier."]
    assert not any("ZEBRA" in answer for answer in stored(now))
    with Network.open(older) as network:  # said once more after that: the newest word wins
        again = next(iter(network.records()))
        network.forget(again.id)
        network.append(again.query, again.answer)
    with Network.open(now) as a, Network.open(older) as b:
        Network.merge(a, b, tmp_path / "again.png")
    assert "Under the ZEBRA." in live(tmp_path / "again.png")


def test_rows_of_another_program_that_were_forgotten_stay_so(home, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        '{"question": "the key?", "answer": "Under the ZEBRA."}\n{"question": "b", "answer": "c"}'
    )
    for command in (["network", "import"], ["network", "import"], ["learn"]):
        done = CliRunner().invoke(cli, [*command, str(rows), "-n", str(home)])
        assert done.exit_code == 0
        forget(home, "--text", "zebra", "--yes")
        assert ("forgotten or corrected" in done.output) == ("2 of them new" not in done.output)
        assert set(live(home)) == {"c"}
