"""Files to chunks: whatever is in a file is in its chunks, cut where its author would cut."""

import itertools
import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxvm.learning.errors import RecordError, UnreadableError
from pxvm.learning.exchange.exchange import write_records
from pxvm.learning.sources.blocks import OVERLAP, SLACK, TARGET, WHOLE, Block, pack, size
from pxvm.learning.sources.code import read_code
from pxvm.learning.sources.documents import (
    Document,
    read_content,
    read_document,
    read_documents,
    source_of,
)
from pxvm.learning.sources.folders import LARGEST, Skipped, find_files
from pxvm.learning.sources.markdown import read_markdown
from pxvm.learning.sources.text import read_text
from pxvm.learning.store.record import Record

ROOT = Path(__file__).resolve().parents[2]

PAGE = """\
---
title: Boats
---
Before any heading.

# Boats

## Keels

A keel is long.
It is heavy.

```sh
# not a heading
make keel

make boat
```

| wood | price |
|------|-------|
| oak  | 12    |

Setext
------

- one
- two

  still two
"""


def text_of(blocks):
    return [block.text for block in blocks]


def test_markdown_keeps_headings_code_and_tables():
    blocks = read_markdown(PAGE + "- a\n  b\n  c\n\n  ```\n  d\n  e\n  ```\n\nf  \ng\nh\n").blocks
    assert blocks[0] == Block("title: Boats", (), True)
    assert blocks[1] == Block("Before any heading.")
    assert blocks[2] == Block("A keel is long. It is heavy.", ("Boats", "Keels"))
    code = Block(
        "```sh\n# not a heading\nmake keel\n\nmake boat\n```", ("Boats", "Keels"), whole=True
    )
    assert blocks[3] == code
    assert blocks[4].whole and blocks[4].text.startswith("| wood | price |")
    assert [block.text for block in blocks[5:]] == [
        "- one\n- two\n\n  still two\n- a\n  b\n  c\n\n  ```\n  d\n  e\n  ```",
        "f\ng h",
    ]
    assert blocks[5].path == ("Boats", "Setext")


def test_restructured_headings_nest_in_the_order_of_their_marks():
    text = "=====\nBoats\n=====\n\nWood.\n\nKeels\n-----\n\nHeavy."
    text += "\n\nOak\n~~~\nHard.\n\nSails\n-----\nWhite"
    found = [(block.path, block.text) for block in read_text(text).blocks]
    assert found == [
        (("Boats",), "Wood."),
        (("Boats", "Keels"), "Heavy."),
        (("Boats", "Keels", "Oak"), "Hard."),
        (("Boats", "Sails"), "White"),
    ]


PYTHON = '''\
"""Boats."""

import os
import sys


class Boat:
    """A boat."""

    name = "Molly"

    # The keel first.
    @property
    def keel(self):
        if self.name:
            return {keel}

        return None

    def sail(self):
        return {sail}


def small():
    return 1
'''


def test_code_is_cut_at_definitions_with_the_class_above_its_methods():
    text = PYTHON.format(keel=repr("k" * 700), sail=repr("s" * 700))
    blocks = read_code(text, ".py").blocks
    paths = [block.path for block in blocks]
    assert paths == [
        (),
        (),
        ("class Boat",),
        ("class Boat",),
        ("class Boat", "def keel(self)"),
        ("class Boat", "def sail(self)"),
        (),
    ]
    assert blocks[4].text.lstrip().startswith("# The keel first.\n    @property\n    def keel")
    assert blocks[4].text.endswith("return None")


C = """\
#include <stdio.h>

/* The sum. */
static int sum(int a,
               int b)
{
    int total = a + b;

    return total; /* PADDING */
}

struct boat {
    int keel;
};
"""
JAVASCRIPT = """\
import x from "y";

export class Boat {
  constructor(name) {
    this.name = name; // PADDING
  }

  sail() {
    return 1; // PADDING
  }
}
export const row = (boat) => {
  return boat; // PADDING
};
"""


@pytest.mark.parametrize(
    ("suffix", "text", "expected"),
    [
        (".c", C, [("static int sum(int a,",)]),
        (".js", JAVASCRIPT, [("export class Boat",), ("export const row = (boat) =>",)]),
    ],
)
def test_other_languages_are_cut_at_their_definitions(suffix, text, expected):
    padded = text.replace("PADDING", "p" * 600)
    paths = {block.path for block in read_code(padded, suffix).blocks}
    assert set(expected) <= {path[:1] for path in paths}
    if suffix == ".js":
        assert ("export class Boat", "sail()") in paths


@pytest.mark.parametrize(
    "name", ["pxvm/cli.py", "pxvm/core/ops.py", "Makefile", "pyproject.toml", "docs/FORMAT.md"]
)
def test_every_line_of_real_files_is_kept(name):
    text = (ROOT / name).read_text()
    chunks = read_document(ROOT / name, name).chunks
    together = " ".join(f"{chunk.answer} {chunk.query}" for chunk in chunks)
    together = " ".join(together.split())
    for line in text.splitlines():
        words = line.lstrip("#") if name.endswith(".md") else line
        assert " ".join(words.split()) in together, line


def test_chunks_of_a_long_section_repeat_the_last_sentences():
    sentences = [f"This is sentence number {n} about boats." for n in range(100)]
    chunks = list(pack([Block(" ".join(sentences), ("Boats",))]))
    assert all(c.path == ("Boats",) and size(c.text) <= TARGET + SLACK for c in chunks)
    for before, after in itertools.pairwise(c.text for c in chunks):
        repeated = after.split("\n\n")[0]
        assert before.endswith(repeated) and 0 < size(repeated) <= OVERLAP
    assert all(any(sentence in c.text for c in chunks) for sentence in sentences)


def test_code_stays_whole_and_is_torn_at_lines_only_when_it_is_huge():
    code = "\n".join(f"line_{n}()" for n in range(400))
    assert [chunk.text for chunk in pack([Block(code, whole=True)])] == [code]
    huge = "\n".join(f"line_{n}()" for n in range(3_000))
    parts = [chunk.text for chunk in pack([Block(huge, whole=True)])]
    assert "\n".join(parts) == huge and all(size(part) <= WHOLE for part in parts)


def test_a_short_introduction_stays_with_what_follows():
    introduction, long = "A program runs only if:", " ".join(f"Rule {n} holds." for n in range(200))
    chunks = [chunk.text for chunk in pack([Block(introduction), Block(long)])]
    assert chunks[0].startswith(f"{introduction}\n\nRule 0 holds.")
    code = "\n".join(f"line_{n}()" for n in range(300))
    assert [chunk.text for chunk in pack([Block(introduction), Block(code, whole=True)])] == [
        f"{introduction}\n\n{code}"
    ]


def test_a_section_is_never_mixed_with_the_next():
    chunks = list(pack([Block("one", ("a",)), Block("two", ("b",)), Block("three", ("b",))]))
    assert chunks == [Block("one", ("a",)), Block("two\n\nthree", ("b",))]


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=6_000), st.booleans())
def test_nothing_but_white_space_is_lost_when_a_block_is_torn(text, whole):
    # With no overlap counted twice: each character of the block, in order, is in the chunks.
    texts = [chunk.text for chunk in pack([Block(text, whole=whole)])]
    limit = WHOLE if whole else TARGET + SLACK
    assert all(size(chunk) <= limit + OVERLAP + 2 for chunk in texts)
    stream = iter("".join("".join(chunk.split()) for chunk in texts))
    assert all(character in stream for character in "".join(text.split()))


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.characters(exclude_characters="\0"), max_size=300),
    st.sampled_from([".md", ".txt", ".py", ".c", ".js", ".html", ".json"]),
)
def test_readers_take_any_text(text, suffix):
    document = read_content(text.encode("utf-8", "replace"), f"a{suffix}", "a")
    for chunk in document.chunks:
        assert chunk.query and chunk.answer.strip()


def test_an_export_is_imported_not_learned(tmp_path):
    record = Record(query="a", answer="b", sequence=0, record_time=datetime.now(timezone.utc))
    for suffix in (".json", ".jsonl"):
        path = tmp_path / f"export{suffix}"
        write_records([record], path)
        with pytest.raises(UnreadableError, match="pxvm network import"):
            read_document(path, path.name)


def test_a_missing_parser_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "selectolax.lexbor", None)
    with pytest.raises(UnreadableError, match=r"selectolax is not installed .*: pip install pypdf"):
        read_content(b"<p>a", "a.html", "a")


def test_a_passage_that_stands_there_twice_is_stored_once_and_counted():
    document = read_content(b"# A\n\none\n\n# B\n\ntwo\n\n# A\n\none\n", "a.md", "a")
    assert [chunk.answer for chunk in document.chunks] == ["one", "two"]
    assert document.left["passages that stand there again, under the same headings"] == 3


@pytest.fixture
def folder(tmp_path):
    files = {
        "b.md": "# B\n\ntext",
        "a.txt": "text",
        "empty.txt": "",
        "deep/c.py": "x = 1",
        "deep/.gitignore": "local.txt\n!kept.log\n",
        "deep/local.txt": "no",
        "deep/kept.log": "yes",
        "top.log": "no",
        ".gitignore": "*.log\nbuilt/\n",
        "built/d.md": "no",
        ".hidden/e.md": "no",
        "node_modules/f.js": "no",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    return tmp_path


def names(found, folder):
    return [Path(path).relative_to(folder).as_posix() for path in found]


def test_a_folder_is_walked_in_order_without_what_is_hidden_or_ignored(folder):
    found = list(find_files([folder]))
    files = names((path for path in found if isinstance(path, Path)), folder)
    assert files == ["a.txt", "b.md", "deep/c.py", "deep/kept.log", "empty.txt", "picture.png"]
    skipped = {Path(s.path).name: s.reason for s in found if isinstance(s, Skipped)}
    assert skipped["local.txt"] == skipped["top.log"] == skipped["built"] == "ignored"
    assert skipped[".hidden"] == "hidden" and skipped["node_modules"] == "ignored"


def test_the_rules_above_hold_inside_a_repository(folder):
    (folder / ".git").mkdir()
    (folder / "deep/more.log").write_text("no")
    found = [path for path in find_files([folder / "deep"]) if isinstance(path, Path)]
    assert names(found, folder) == ["deep/c.py", "deep/kept.log"]


def test_huge_files_and_links_to_folders_are_skipped(tmp_path):
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(LARGEST + 1)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    reasons = {Path(s.path).name: s.reason for s in find_files([tmp_path])}
    assert reasons == {
        "huge.txt": "over 32 MiB; name it to learn it",
        "loop": "link; name it to learn it",
        "gone": "link; name it to learn it",
        "pipe": "not a file",
    }


def test_found_files_that_cannot_be_read_are_skipped_and_named_ones_are_errors(folder):
    read = list(read_documents([folder], folder / "knowledge.png", ["x"]))
    documents = [d for d in read if isinstance(d, Document)]
    assert [d.source for d in documents] == [
        "a.txt",
        "b.md",
        "deep/c.py",
        "deep/kept.log",
        "empty.txt",
    ]
    assert documents[1].chunks[0].query == "b.md > B" and documents[1].chunks[0].tags == ("x",)
    assert Skipped(str(folder / "picture.png"), "binary") in read
    with pytest.raises(UnreadableError, match=r"picture\.png: binary"):
        list(read_documents([folder / "picture.png"], folder / "knowledge.png"))
    with pytest.raises(FileNotFoundError):
        list(read_documents([folder / "nothing"], folder / "knowledge.png"))


def test_an_endless_line_is_torn_in_no_time():
    start = monotonic()
    line = "word " * 2_000_000
    chunks = [chunk.text for chunk in pack([Block(line, whole=True)])]
    assert sum(text.count("word") for text in chunks) == 2_000_000
    assert monotonic() - start < 10


def test_what_no_record_can_hold_is_skipped_and_a_bad_tag_refused(tmp_path):
    turns = [{"question": "a", "answer": "b" * (17 << 20)}]
    (tmp_path / "chat.json").write_text(json.dumps(turns))
    (skipped,) = read_documents([tmp_path], tmp_path / "knowledge.png")
    assert "over the limit" in skipped.reason
    with pytest.raises(RecordError, match="tag"):
        list(read_documents([tmp_path], tmp_path / "knowledge.png", [" "]))


@pytest.mark.parametrize(
    ("suffix", "text", "innermost"),
    [
        (".html", "<div>" * 5_000 + "a", "a"),
        (".py", "".join(f"{' ' * n}if {n}:\n\n" for n in range(1_500)), "if 1499:"),
        (".md", "> " * 5_000 + "a", "a"),
        (".json", "[" * 200_000, "["),
    ],
)
def test_deep_nesting_is_read_to_its_end(suffix, text, innermost):
    chunks = read_content(text.encode(), f"deep{suffix}", "deep").chunks
    assert chunks[-1].answer.endswith(innermost)


def test_sources_do_not_depend_on_where_one_stands(folder, monkeypatch):
    monkeypatch.chdir(folder / "deep")
    assert source_of(Path("c.py"), folder) == "deep/c.py"
    assert source_of(folder / "b.md", Path()) == "../b.md"


def test_a_damaged_cell_of_a_notebook_costs_no_other():
    whole = {"cell_type": "markdown", "source": ["The heron ", "nests here."]}
    damaged = [
        None,
        "bare text",
        {"source": "no kind"},
        {"cell_type": "code", "source": None, "outputs": [{"output_type": "stream", "text": "a"}]},
        {"cell_type": "code", "source": "x = 1", "outputs": [None]},
        {"cell_type": "markdown", "source": [1, None, "half"]},
        {"cell_type": "code", "source": "y = 2", "outputs": [{"data": ["text"]}]},
    ]
    for cell in damaged:
        book = {"metadata": None, "cells": [whole, cell, whole | {"source": "The owl, too."}]}
        (chunk,) = read_content(json.dumps(book).encode(), "a.ipynb", "a.ipynb").chunks
        assert "The heron nests here." in chunk.answer and "The owl, too." in chunk.answer
        for said in ("bare text", "no kind", "x = 1", "half", "y = 2"):
            assert (said in chunk.answer) is (said in json.dumps(cell))


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("begins", ["#id", "# id"])
def test_names_of_columns_that_begin_like_a_remark_are_the_head(begins, sign):
    names = sign.join([begins, "name"])
    text = "\n".join([names, *(f"{n}{sign}name {n} and so on" for n in range(90))])
    found = read_content(text.encode(), "a.csv", "a.csv").chunks
    assert len(found) > 1
    assert all(f"{names}\n" in chunk.answer for chunk in found)


@pytest.mark.parametrize("above", ["sep=;", "# of 2024\n# by Anna"])
def test_what_stands_above_the_names_of_columns_does_not_take_their_place(above):
    rows = [f"{number};name {number} and so on" for number in range(90)]
    text = "\n".join([above, "id;name", *rows])
    found = read_content(text.encode(), "a.csv", "a.csv").chunks
    assert len(found) > 1 and found[0].answer.startswith(f"{above}")
    assert all("id;name\n" in chunk.answer for chunk in found)
    assert [line for c in found for line in c.answer.split("\n") if line[:1].isdigit()] == rows
