"""The memory's command line, as a user meets it."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pxvm.cli import main
from pxvm.learning import Network
from pxvm.learning.append import render_text_to_rows
from pxvm.learning.search import pictures
from pxvm.learning.search.vectors import Vectors
from pxvm.learning.store.record import Draft, Vector

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty working folder, and no embedding model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("PXVM_NETWORK", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


# How far work is: said where it takes more than ten seconds, as on a busy machine.
PROGRESS = re.compile(r"^[a-z ]+: [\d,]+( of [\d,]+)?(, about .*)?\n", re.MULTILINE)


def pxvm(*arguments, status=0, input="", **options):
    """Run the command; fails unless it ends with this exit status. Returns what it printed.

    In this process, which is quicker, unless there are options for a new one.
    """
    words = list(map(str, arguments))
    if options:
        done = subprocess.run(
            [sys.executable, "-m", "pxvm.cli", *words],
            capture_output=True,
            input=input,
            encoding="utf-8",
            timeout=300,
            **options,
        )
        found, out, err = done.returncode, done.stdout, done.stderr
    else:
        found, out, err = called(words, input)
    assert found == status, f"{words}: {found}\n{out}{err}"
    assert "Traceback" not in err
    if status == 2:
        err = PROGRESS.sub("", err)
        assert err.count("\n") == 1 or err.startswith("Usage: "), err
        return err
    return out


def called(words, text):
    """(exit status, output, errors) of the command line's entry point."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["pxvm", *words])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
                status = 0
            except SystemExit as stop:
                status = stop.code or 0
    return status, out.getvalue(), err.getvalue()


def data(*arguments, status=0, **options):
    return json.loads(pxvm(*arguments, "--json", status=status, **options))


def lines(*arguments):
    return [json.loads(line) for line in pxvm(*arguments, "--json").splitlines()]


def add(*texts, path="knowledge.png", **fields):
    """Records made directly, which is quicker; returns their ids."""
    with Network.open(path) as network:
        return network.append_many([Draft("", text, kind="note", **fields) for text in texts])


def test_a_folder_of_documentation_is_learned_and_answers(home):
    events = lines("learn", DOCS)
    done = events[-1]["done"]
    assert done["documents"] == len(list(DOCS.glob("*.md"))) and done["known"] == 0
    assert [e["acknowledged"] for e in events if "acknowledged" in e][-1] == done["added"]
    assert data("network", "info")["records"] == done["added"]
    answer = data("recall", "what must hold before a program may run, the verifier", "-k", 3)
    assert any("verifier demands" in hit["query"] for hit in answer["hits"])
    assert answer["hits"][0]["source"].endswith("docs/FORMAT.md")
    again = lines("learn", DOCS)
    assert again[-1]["done"]["added"] == 0 and not any("acknowledged" in event for event in again)


def test_what_was_left_out_and_guessed_is_told(home):
    (home / "notes").mkdir()
    (home / "notes/hours.html").write_text("<nav>Home</nav><p>On Thursdays.<img src=a.png>")
    (home / "notes/spain.txt").write_bytes("El niño comió piña en España.".encode("cp1252"))
    (home / "notes/old.zip").write_bytes(b"PK\3\4\0")
    out = pxvm("learn", "notes")
    assert "\nleft out: 4 characters of navigation in 1 document, 1 picture\n" in out
    assert "\nread as Windows-1252: notes/spain.txt\n" in out
    told = [
        json.loads(line) for line in pxvm("learn", "--json", "-n", "b.png", "notes").splitlines()
    ]
    left = {line["left"]["path"]: line["left"] for line in told if "left" in line}
    assert left["notes/hours.html"]["characters"] == {"navigation": 4}
    assert left["notes/spain.txt"]["encoding"] == "Windows-1252"
    done = told[-1]["done"]
    assert done["left"] == {
        "characters": {"navigation": 4}, "things": {"picture": 1}, "guessed": {"Windows-1252": 1},
    }  # fmt: skip
    assert done["skipped"] == {"an archive: unpack it and learn its folder": 1}


def test_recall_shows_hits_draws_them_and_says_no(home):
    add("The keel is made of oak.", "The sail is white.", "Nothing else matters.")
    shown = pxvm(
        "recall", "what", "is", "the", "keel", "made", "of", "--picture", "hit.png", "-k", 1
    )
    assert "The keel is made of oak." in shown and "sail" not in shown
    with Image.open("hit.png") as picture:
        assert picture.width > 1_000
    assert "words 1.00" in pxvm("recall", "keel", "--why")
    assert pxvm("recall", "zeppelin", status=1) == ""
    assert data("recall", "zeppelin", status=1) == {"query": "zeppelin", "hits": []}


def test_recall_filters(home):
    Path("north").mkdir()
    add("A boat in the north.", tags=("a",), source="north/1.md")
    add("A boat in the south.", tags=("b",), source="south.md")
    found = {
        option: [hit["answer"][14:19] for hit in data("recall", "boat", *option)["hits"]]
        for option in [
            ("--tag", "a"),
            ("--source", "north"),
            ("--kind", "note", "--source", "south.md"),
            ("--source", str(Path.cwd() / "north")),
            ("--source", f"../{Path.cwd().name}/north"),
            ("--since", "today"),
        ]
    }
    assert list(found.values())[:5] == [["north"], ["north"], ["south"], ["north"], ["north"]]
    assert sorted(found["--since", "today"]) == ["north", "south"]
    os.chdir("north")  # where a shell completes other paths
    Path("1.md").touch()
    for source in ("1.md", "./1.md", ".", "../north/", "north"):
        option = ["--network", "../knowledge.png", "--source", source]
        assert [hit["answer"] for hit in data("recall", "boat", *option)["hits"]] == [
            "A boat in the north."
        ]
    os.chdir("..")
    pxvm("recall", "boat", "--until", "2001-01-01", status=1)
    assert "expected a date such as" in pxvm("recall", "boat", "--since", "soonish", status=2)


def test_context_is_short_enough_and_cites(home):
    add(*(f"Boat number {n} has a keel of oak." for n in range(50)))
    text = pxvm("recall", "keel", "-k", "50", "--context", "120")
    assert "keel of oak" in text and len(text.split()) < 120
    assert data("recall", "keel", "--context", "120")["context"].strip() == text.strip()


def test_standard_input(home):
    pxvm("learn", "-", "--name", "boats.md", "--tag", "sea", input="# Boats\n\nThe keel is oak.")
    hit = data("recall", "keel")["hits"][0]
    assert (hit["query"], hit["tags"]) == ("boats.md > Boats", ["sea"])
    assert hit["source"] == "stdin: boats.md"
    pxvm("learn", "-", input="The sail is white.")
    pxvm("learn", "-", input="The mast is tall.")
    assert data("network", "info")["records"] == 3


def test_the_network_is_named_by_option_or_environment(home, monkeypatch):
    add("One.", path="one.png")
    add("Two.", path="two.png")
    monkeypatch.setenv("PXVM_NETWORK", "two.png")
    assert data("recall", "two one")["hits"][0]["answer"] == "Two."
    assert data("recall", "two one", "-n", "one.png")["hits"][0]["answer"] == "One."


def test_what_cannot_be_learned_is_said(home):
    Path("ok.md").write_text("Text.")
    Path("bad.pdf").write_bytes(b"%PDF-1.4 no")
    Path("picture.png").write_bytes(b"\x89PNG\0")
    events = lines("learn", ".")
    reasons = {e["skipped"]["path"]: e["skipped"]["reason"] for e in events if "skipped" in e}
    assert reasons["picture.png"] == "binary" and "damaged" in reasons["bad.pdf"]
    assert "bad.pdf: the PDF is damaged" in pxvm("learn", "bad.pdf", status=2)
    assert "nothing.md" in pxvm("learn", "nothing.md", status=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("recall", "x"),
        ("network", "info"),
        ("network", "verify"),
        ("network", "forget", "--text", "x"),
        ("network", "export", "a.jsonl"),
        ("network", "compact", "--yes"),
    ],
)
def test_without_a_network_one_line_says_so(home, arguments):
    assert pxvm(*arguments, status=2).startswith("pxvm: knowledge.png: no such file; `pxvm learn`")
    assert list(home.iterdir()) == []


def test_a_file_that_is_no_network(home):
    Image.new("L", (10, 10)).save("knowledge.png")
    assert pxvm("network", "info", status=2).startswith("pxvm: ")
    Path("knowledge.png").write_text("hello")
    assert pxvm("learn", DOCS, status=2).startswith("pxvm: ")
    assert Path("knowledge.png").read_text() == "hello"


def test_folders_that_are_or_are_not_there(home):
    add("one")
    assert "a folder; name the file" in pxvm("network", "info", "-n", ".", status=2)
    said = pxvm("network", "export", "nowhere/a.jsonl", status=2)
    assert said == "pxvm: nowhere/a.jsonl: there is no folder nowhere\n"


def test_what_is_not_there_makes_no_network(home):
    assert "nothere.md: No such file" in pxvm("learn", "nothere.md", status=2)
    assert list(home.iterdir()) == []


def test_the_first_and_the_last_day(home):
    add("one")
    assert len(data("recall", "one", "--since", "0001-01-01", "--until", "9999-12-31")["hits"]) == 1
    pxvm("recall", "one", "--since", "9999-12-31", status=1)


@pytest.mark.parametrize("output", ["knowledge.png", "./link.png", "hard.png"])
def test_a_picture_never_goes_over_the_network(home, output):
    add("one")
    Path("link.png").symlink_to("knowledge.png")
    os.link("knowledge.png", "hard.png")
    before = Path("knowledge.png").read_bytes()
    for command in (
        ["recall", "one", "--picture", output],
        ["network", "view", "-o", output],
        ["network", "growth", "-o", output],
        ["network", "import", output],
    ):
        assert "the output is the same file as the input" in pxvm(*command, status=2)
    for command in MADE:
        found = pxvm(*command, output, status=2)
        assert "the output is the same file as the input" in found
    assert Path("knowledge.png").read_bytes() == before


MADE = [
    ["recall", "one", "--picture"],
    ["network", "view", "-o"],
    ["network", "growth", "-o"],
    ["network", "export"],
    ["network", "export", "--single"],
    ["network", "merge", "other.png", "knowledge.png", "-o"],
    ["network", "repair", "-o"],
    ["network", "compact", "-o"],
    ["network", "reembed", "-o"],
]


@pytest.mark.parametrize("command", MADE, ids=" ".join)
def test_nothing_goes_over_what_belongs_to_the_network(home, command):
    add("one")
    add("two", path="other.png")
    pxvm("recall", "one")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert Path("knowledge.png.index") in {path.relative_to(home) for path in before}
    for name in (".index", ".lock", ".cut", ".new", ".cache/text.db", ".cache/new.png"):
        found = pxvm(*command, f"../work/knowledge.png{name}", status=2)
        assert "the name of a file that belongs to knowledge.png" in found
    for name in ("knowledge.p2.png", "knowledge.g1.p3.png", "knowledge.p2.png.index"):
        assert "belongs to knowledge.png" in pxvm(*command, name, status=2)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize(
    "command",
    [
        ["learn", "pipe"],
        ["learn", "/dev/zero"],
        ["learn", "pipe.pdf"],
        ["recall", "one", "-n", "pipe"],
        ["network", "info", "-n", "pipe"],
        ["network", "merge", "pipe", "knowledge.png", "-o", "new.png"],
        ["network", "import", "pipe.jsonl"],
        ["network", "import", "pipe.md"],
        ["network", "import", "pipe.parquet"],
        ["network", "import", "pipe.png"],
        ["recall", "one", "-n", "index.png"],
        ["network", "info", "-n", "index.png"],
        ["recall", "one", "-n", "page.png"],
        ["learn", "-n", "lock.png", "-"],
    ],
    ids=" ".join,
)
def test_pipes_and_devices_are_waited_for_nowhere(home, command):
    for name in ("knowledge.png", "index.png", "lock.png", "page.png"):
        add("one", path=name)
    Path("index.png.index").unlink()
    Path("lock.png.lock").unlink(missing_ok=True)
    for name in ("pipe", "pipe.pdf", "pipe.jsonl", "pipe.md", "pipe.parquet", "pipe.png",
                 "index.png.index", "lock.png.lock", "page.p2.png"):  # fmt: skip
        os.mkfifo(name)
    found = pxvm(*command, status=2)
    assert "expected a regular file" in found and "search cache" not in found


def test_rules_of_what_to_ignore_that_are_a_pipe_are_none(home):
    Path("notes").mkdir()
    Path("notes/a.md").write_text("Text.")
    os.mkfifo("notes/.gitignore")
    pxvm("learn", "notes")
    assert len(data("recall", "Text")["hits"]) == 1


def test_more_hits_than_there_are_numbers(home):
    add("one")
    assert len(data("recall", "one", "-k", 10**20)["hits"]) == 1
    assert len(data("recall", "one", "--context", 10**20)["hits"]) == 1
    assert len(data("network", "forget", "--query", "one", "-k", 10**20)["records"]) == 1


def test_a_picture_is_a_png_whatever_it_is_called(home):
    add("one")
    pxvm("recall", "one", "--picture", "hits.unknown")
    pxvm("network", "view", "-o", "view.jpg")
    for name in ("hits.unknown", "view.jpg"):
        assert Path(name).read_bytes().startswith(b"\x89PNG")


def test_forget_shows_what_it_will_forget_and_asks(home):
    add("The password is swordfish.", "The keel is oak.", tags=("boats",))
    shown = pxvm("network", "forget", "--text", "SWORDFISH", status=1, input="n\n")
    assert "The password is swordfish." in shown and "keel" not in shown
    assert len(data("recall", "password")["hits"]) == 1
    pxvm("network", "forget", "--text", "SWORDFISH", input="y\n")
    pxvm("recall", "password", status=1)
    pxvm("network", "forget", "--text", "SWORDFISH", status=1)


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        (["1"], {"one"}),
        (["1", "2"], {"one", "two"}),
        (["--tag", "b"], {"two", "three"}),
        (["--tag", "b", "--text", "thr"], {"three"}),
        (["--source", "folder"], {"three"}),
        (["--query", "what about two", "-k", "1"], {"two"}),
        (["--since", "today"], {"one", "two", "three"}),
    ],
)
def test_forget_by(home, arguments, gone):
    add("one", tags=("a",))
    add("two", tags=("a", "b"))
    add("three", tags=("b",), source="folder/file.md")
    preview = data("network", "forget", *arguments)
    assert {record["answer"] for record in preview["records"]} == gone
    assert not preview["forgotten"] and data("network", "info")["records"] == 3
    assert data("network", "forget", *arguments, "--yes")["forgotten"]
    assert data("network", "info")["records"] == 3 - len(gone)
    assert data("network", "verify")["sound"]


def test_forgetting_many_and_learning_without_many(home):
    add(*(f"note {n}" for n in range(600)), tags=("a",))
    pxvm("network", "forget", "--tag", "a", "--yes", "--yes")
    Path("many.md").write_text("".join(f"# {n}\n\ntext {n}\n\n" for n in range(600)))
    pxvm("learn", "many.md")
    Path("many.md").write_text("# 0\n\ntext 0")
    assert lines("learn", "many.md")[-1]["done"]["replaced"] == 599
    found = data("network", "info")
    assert found["records"] == 1 and found["stored"] == 1 + 600 + 3 + 600 + 3
    assert "add --yes" in pxvm("network", "compact", "--json", status=2)
    assert data("network", "compact", "--yes")["left_out"] == 1_199


def test_forget_refuses_what_is_not_there(home):
    add("one")
    assert "give an id" in pxvm("network", "forget", status=2)
    assert "99" in pxvm("network", "forget", "99", status=2)
    assert "no record" in pxvm("network", "history", "abcdef", status=2)


def test_correct_tag_and_history(home):
    (first,) = add("The keel is oak.")
    new = data("network", "correct", first[:12], "--answer", "The keel is steel.")
    assert pxvm("network", "tag", new["sequence"], "metal", "boats") == "2: boats, metal\n"
    assert data("network", "tag", new["new"], "--remove", "boats")["tags"] == ["metal"]
    versions = data("network", "history", first)
    assert [(v["answer"], v["counts"]) for v in versions if not v["answer"].startswith("Tags")] == [
        ("The keel is oak.", False),
        ("The keel is steel.", True),
    ]
    shown = pxvm("network", "history", "1")
    assert "(does not count)" in shown and "The keel is steel." in shown
    hit = data("recall", "keel")["hits"][0]
    assert hit["answer"] == "The keel is steel." and hit["tags"] == ["metal"]
    pxvm("network", "correct", first, "--answer", "-", input="The keel is pine.\n")
    assert data("recall", "keel")["hits"][0]["answer"].strip() == "The keel is pine."
    assert "give --answer or --query" in pxvm("network", "correct", first, status=2)


def test_the_commands_say_what_they_count(home):
    """One number of records in all of them, and of which sort these are."""
    Path("a.md").write_text("# A\n\nfirst text\n\n# B\n\nsecond text\n")
    pxvm("learn", "a.md")
    stored = "3 records stored in"
    assert f"{stored} " in pxvm("network", "info")
    assert ": 2 in force, 1 on the format\n" in pxvm("network", "info")
    pxvm("network", "tag", 1, "wood")
    pxvm("network", "tag", 1, "--remove", "wood")
    pxvm("network", "correct", 2, "--answer", "a better text")
    sorts = ": 2 in force, 1 on the format, 2 that tag or forget others, 1 replaced, forgotten or"
    assert sorts in pxvm("network", "info")
    before = Path("knowledge.png").stat().st_size
    assert "wrote a.jsonl: 5 records stored, less what is" in pxvm("network", "export", "a.jsonl")
    assert ": 2 records in force\n" in pxvm("network", "export", "b.jsonl", "--current")
    said = pxvm("network", "compact", "--yes")
    after = Path("knowledge.png").stat().st_size
    assert said == (
        f"wrote knowledge.png: 5 records stored, 1 left out, {after:,} bytes ({before:,} before)\n"
    )
    assert "5 records stored in" in pxvm("network", "info")
    assert pxvm("recall", "first", "--context", 8) == "", "said on standard error, no empty line"


def test_merge_export_and_import(home):
    add("one", "both", path="a.png")
    add("two", "both", path="b.png")
    data("network", "merge", "a.png", "b.png", "-o", "c.png")
    data("network", "merge", "b.png", "a.png", "-o", "d.png")
    for path in ("c.png", "d.png"):
        assert sorted(r["answer"] for r in rows(path)) == ["both", "one", "two"]
    assert "exists" in pxvm("network", "merge", "a.png", "b.png", "-o", "c.png", status=2)
    out = data("network", "export", "c.parquet", "-n", "c.png")
    assert data("network", "import", "c.parquet", "-n", "e.png")["added"] == out["records"]
    assert data("network", "import", "c.parquet", "-n", "e.png")["added"] == 0
    assert data("network", "import", "a.png", "-n", "f.png")["added"] == 2
    assert rows("e.png") == rows("c.png")


def rows(path):
    """What a network exports, without the numbers."""
    pxvm("network", "export", "rows.jsonl", "-n", path)
    found = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    for row in found:
        del row["sequence"]
    return sorted(found, key=lambda row: row["id"])


def test_many_pages_become_one_file(home):
    with Network.open("knowledge.png", page_rows=300) as network:
        network.append_many([Draft("", f"Boat {n} " * 40, kind="note") for n in range(40)])
        pages = len(network.pages)
    assert pages > 3 and data("network", "info")["pages"] == pages
    before = rows("knowledge.png")
    pxvm("network", "export", "one.png", "--single")
    assert data("network", "info", "-n", "one.png")["pages"] == 1 and rows("one.png") == before
    with Image.open("one.png") as picture:
        picture.load()


def test_pictures(home):
    ids = add("The keel is oak.", "The sail is white.")
    for name, arguments in {
        "knowledge.view.png": ("view", "--record", ids[0]),
        "knowledge.growth.png": ("growth",),
    }.items():
        found = data("network", *arguments)
        with Image.open(home / name) as picture:
            assert picture.size == (found["width"], found["height"])


def test_verify_finds_a_changed_byte_and_repair_saves_the_rest(home):
    add(*(f"Boat {n} has a keel." for n in range(20)))
    assert "sound" in pxvm("network", "verify")
    with Network.open("knowledge.png", read_only=True) as network:
        entry = network.entries()[10]
    content = bytearray(Path("knowledge.png").read_bytes())
    content[int(entry["offset"]) + 200] ^= 1
    Path("knowledge.png").write_bytes(content)
    report = data("network", "verify", status=1)
    assert not report["sound"] and report["problems"]
    pxvm("network", "repair", "-o", "whole.png")
    assert data("network", "verify", "-n", "whole.png")["sound"]
    assert data("network", "info", "-n", "whole.png")["records"] >= 19


def test_an_old_picture_is_read_where_it_is_certain(home):
    from PIL import ImageDraw, ImageFont

    picture = Image.new("RGBA", (400, 90), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default_imagefont()
    draw.text((4, 4), "The keel is made of oak,\nwhich is heavy.", "black", font)
    draw.text((4, 52), "The sail is white\nas snow.", "black", font)
    draw.rectangle((30, 55, 33, 58), "black")
    picture.save("old.png")
    found = data("network", "import", "old.png")
    assert found["added"] == 1 and len(found["notes"]) == 1 and "left out" in found["notes"][0]
    hit = data("recall", "keel")["hits"][0]
    assert (hit["answer"], hit["tags"]) == ("The keel is made of oak,\nwhich is heavy.", [])
    assert data("network", "import", "old.png", "--uncertain")["added"] == 1
    hit = data("recall", "snow")["hits"][0]
    assert hit["tags"] == ["uncertain"] and hit["source"] == "old.png"


def test_a_kill_in_the_middle_of_learning_loses_nothing_acknowledged(home):
    for n in range(40):
        parts = (f"# Part {n}.{m}\n\nBoat {n * 100 + m} is here.\n\n" for m in range(100))
        Path(f"{n:02}.md").write_text("".join(parts))
    total = 0
    for _ in range(3):
        command = [sys.executable, "-m", "pxvm.cli", "learn", ".", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            safe = [event["acknowledged"] for event in told(process) if "acknowledged" in event]
        assert process.returncode == -signal.SIGKILL and len(safe) == 2
        before, total = total, data("network", "info")["records"]
        assert total >= before + safe[-1] > before
    pxvm("learn", ".")
    with Network.open("knowledge.png", read_only=True) as network:
        answers = [record.answer for record in network.records()]
    assert sorted(answers) == sorted(f"Boat {n} is here." for n in range(4_000))
    assert data("network", "verify")["sound"]


def told(process):
    """What a command prints, until it has acknowledged something twice; then it is killed."""
    count = 0
    for line in process.stdout:
        event = json.loads(line)
        yield event
        count += "acknowledged" in event
        if count == 2:
            os.kill(process.pid, signal.SIGKILL)
            return


def test_two_learn_at_once(home):
    for name in ("a", "b"):
        parts = (f"# Part {n}\n\nBoat {name} {n} is here.\n\n" for n in range(700))
        Path(f"{name}.md").write_text("".join(parts))
    command = [sys.executable, "-m", "pxvm.cli", "learn"]
    both = [subprocess.Popen([*command, f"{name}.md"], stdout=subprocess.PIPE) for name in "ab"]
    assert [process.communicate()[0] and process.returncode for process in both] == [0, 0]
    assert data("network", "info")["records"] == 1_400 and data("network", "verify")["sound"]


def test_a_full_disk_is_said_in_one_line_and_hurts_nothing(home):
    resource = pytest.importorskip("resource")
    parts = (f"# Part {n}\n\nBoat {n} is here.\n\n" for n in range(2_000))
    Path("boats.md").write_text("".join(parts))
    add("The first.")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    said = pxvm("learn", "boats.md", status=2, preexec_fn=limit)
    assert "nothing acknowledged was lost" in said
    assert data("recall", "first")["hits"][0]["answer"] == "The first."
    pxvm("learn", "boats.md")
    assert data("network", "info")["records"] == 2_001 and data("network", "verify")["sound"]


SECRET = "swordfish-7261"


@pytest.mark.parametrize("is_picture", [True, False])
def test_compacting_erases_the_secret_wherever_it_was(home, monkeypatch, is_picture):
    monkeypatch.setattr(pictures, "LOOSE", 1 if is_picture else 2)  # of one vector
    values = np.random.default_rng(1).integers(-127, 128, 96).astype(np.int8)
    vector = Vector("minilm", "0123456789abcdef", values, 0.01)
    add(*(f"Boat {n} has a keel." for n in range(30)))
    add(f"The password is {SECRET}.", tags=(f"tag-{SECRET}",), vectors=(vector,))
    add(*(f"Boat {n} has a sail." for n in range(30)))
    assert data("recall", SECRET)["hits"]
    data("network", "forget", "--text", SECRET, "--yes")
    pxvm("recall", SECRET, status=1)
    cached = "vector picture" if is_picture else "loose vector"
    assert traces(home, values) == {"text", "glyphs", "vector", "database", cached}
    pxvm("network", "compact", "--yes")
    assert traces(home, values) == set()
    assert data("network", "info")["records"] == 60 and data("network", "verify")["sound"]
    pxvm("recall", SECRET, status=1)
    assert traces(home, values) == set()


def traces(folder, values):
    """Where the secret can be found in all files of a folder."""
    found = set()
    glyphs = drawn(f"The password is {SECRET}.")
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        streams = [content, *inflated(content)]
        if path.suffix == ".png":
            with Image.open(path) as picture:
                rows = np.asarray(picture.convert("L")) > 127
            pixels = np.packbits(rows, axis=1).tobytes()
            streams += [pixels, *inflated(pixels)]
            if contains(rows, glyphs):
                found.add("glyphs")
        if any(SECRET.encode() in stream for stream in streams):
            found.add("database" if ".db" in path.name else "text")
        if path.suffix == ".pxi" and (Vectors.open(path).rows()[1] == values).all(axis=1).any():
            found.add("vector picture")
        if any(values.tobytes() in stream for stream in streams):
            found.add("loose vector" if ".db" in path.name else "vector")
    return found


def inflated(content):
    """Every deflate stream with a zlib header that begins anywhere in some bytes."""
    for start in range(len(content) - 1):
        if content[start] == 0x78 and content[start + 1] in (0x01, 0x5E, 0x9C, 0xDA):
            inflater = zlib.decompressobj()
            try:
                yield inflater.decompress(content[start:])
            except zlib.error:
                continue


def drawn(text):
    """The pixels of a text as a network draws it, cut to the ink: bool (rows, columns)."""
    ink = render_text_to_rows(text, 1_024)[:, :, 0] == 0
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ~ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def contains(rows, part):
    """Is ``part`` anywhere in ``rows``?"""
    height, width = part.shape
    packed = "".join(map(str, part[0].astype(int)))
    for y in range(len(rows) - height + 1):
        line = "".join(map(str, rows[y].astype(int)))
        x = line.find(packed)
        while x >= 0:
            if (rows[y : y + height, x : x + width] == part).all():
                return True
            x = line.find(packed, x + 1)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there alone")
def test_names_that_are_no_text_are_learned_and_found_again(home):
    (home / "notes").mkdir()
    for byte in (0xE8, 0xE9):
        name = b"notes/caf" + bytes([byte]) + b".md"
        Path(os.fsdecode(name)).write_text(f"The tea of shelf {byte} is green.\n")
    for added in (2, 0):
        lines = pxvm("learn", "notes", "--prune", "--json").splitlines()
        done = json.loads(lines[-1])["done"]
        assert (done["added"], done["gone"]) == (added, 0)
    hits = json.loads(pxvm("recall", "tea of shelf", "--json"))["hits"]
    assert {hit["source"] for hit in hits} == {"notes/caf\\xe8.md", "notes/caf\\xe9.md"}


def test_json_is_utf_8_whatever_is_asked(home):
    Path("a.md").write_text("The tea is green.\n")
    pxvm("learn", "a.md")
    command = [sys.executable, "-m", "pxvm.cli", "recall", "--json", b"tea caf\xe9"]
    done = subprocess.run(command, capture_output=True, timeout=300)
    found = json.loads(done.stdout.decode("utf-8"))
    assert done.returncode == 0 and len(found["hits"]) == 1


def test_nonsense_finds_nothing_and_says_so(home):
    Path("a.md").write_text("The tea is green. The pot of tea stands on the shelf.\n")
    pxvm("learn", "a.md")
    assert pxvm("recall", "zorplenut of brandywhistle", status=1) == ""
    assert json.loads(pxvm("recall", "xyzzy plugh", "--json", status=1))["hits"] == []
