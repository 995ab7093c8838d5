"""Characters in, characters kept, characters named: for every kind of file that is read.

Each sample is made of words that come once. What a reader keeps of them and what it says it left
out are together all that there was; and it says what each lost word was.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path

import pytest

from pxvm.learning.sources.blocks import MARKS
from pxvm.learning.sources.documents import read_content
from pxvm.learning.sources.kinds import BYTES, JSON, LETTERS, TEXT
from tests.learning.office_files import (
    docx,
    epub,
    odf,
    paragraph,
    pptx,
    row,
    shape,
    word_table,
    xlsx,
)
from tests.learning.test_reading_pdf import pdf

LONG = 400  # words of a paragraph that takes several chunks


class Words:
    """Words of seven letters that come once: those that are shown, and those that are hidden."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.hidden: dict[str, list[str]] = {}
        letters = itertools.product("bdfgklmnprst", "aeiou", "bdfgklmnprst", "aeiou", "bdfgk")
        self._next: Iterator[str] = ("".join(found) + "ix" for found in letters)

    def __call__(self, count: int = 3) -> str:
        """So many words that a reader should keep."""
        found = list(itertools.islice(self._next, count))
        self.shown += found
        return " ".join(found)

    def hide(self, reason: str, count: int = 3) -> str:
        """So many words that a reader should leave out, and say so."""
        found = list(itertools.islice(self._next, count))
        self.hidden.setdefault(reason, []).extend(found)
        return " ".join(found)


def markdown(w: Words) -> str:
    rows = "".join(f"| {w(1)} | {w(2)} |\n" for _ in range(200))
    return (
        f"---\ntitle: {w()}\n---\n{w()}\n\n# {w()}\n\n## {w()}\n\n{w(LONG)}\n\n- {w()}\n"
        f"  - {w()}\n\n```sh\n{w()}\n\n{w()}\n```\n\n| {w(1)} | {w(1)} |\n|---|---|\n"
        f"{rows}\n> {w()}\n\n{w()}\n===\n\n[{w(1)}]: https://{w(1)}.example\n\n"
        f"<!-- {w()} -->\n\n<div>{w()}</div>\n\n### {w()}\n"
    )


def html(w: Words) -> str:
    rows = "".join(f"<tr><td>{w(2)}<td>{w(2)}" for _ in range(200))
    return (
        f"<!doctype html><title>{w()}</title><style>{w.hide('styles')}</style><body>"
        f"<nav>{w.hide('navigation')}</nav><!-- {w.hide('comments')} --><h1>{w()}</h1><p>{w(LONG)}"
        f"<h2>{w()}</h2><ul><li>{w()}<li>{w()}<ul><li>{w()}</ul></ul><pre>{w()}\n\n{w()}</pre>"
        f"<script>{w.hide('scripts')}</script><table><tr><th>{w(1)}<th>{w(1)}{rows}</table>"
        f"<article>{w()}</article><article><h3>{w()}</h3></article><form><p>{w()}<select><option>"
        f"{w(1)}<option>{w(1)}</select><textarea>{w()}</textarea></form>"
        f"<h4><button>{w()}</button></h4><dl><dt>{w()}<dd>{w()}</dl><details><summary>{w()}</summary>{w()}"
        f"</details><table><tr><td>{w()}<table><tr><td>{w()}</table>{w()}</table>"
        f"<img alt='{w()}' src=a.png><blockquote>{w()}</blockquote>"
        f"<template>{w.hide('templates')}</template>"
        f"<noscript>{w.hide('text for browsers without scripts')}</noscript><footer>{w()}</footer>"
    )


def plain(w: Words) -> str:
    return (
        f"{w()}\n====================\n\n{w(LONG)}\n\n{w()}\n--------------------\n\n{w()}\n\n{w()}"
    )


def log(w: Words) -> str:
    return "".join(f"2024-03-05 10:11:12 INFO {w(9)}\n" for _ in range(100))


def org(w: Words) -> str:
    rows = "".join(f"| {w(1)} | {w(1)} |\n" for _ in range(5))
    source = f"#+begin_src\n* {w()}\n#+end_src\n"
    return f"#+title: {w()}\n* {w()}\n{w(LONG)}\n** TODO {w()}\n{source}{rows}"


def asciidoc(w: Words) -> str:
    return (
        f"= {w()}\n\n{w(LONG)}\n\n== {w()} ==\n\n----\n= {w()}\n----\n\n|===\n|{w(1)} |{w(1)}\n|==="
    )


def latex(w: Words) -> str:
    return (
        f"\\title{{{w()}}} % {w()}\n\\section{{{w()} \\emph{{{w(1)}}}}} {w()}\n{w(LONG)}\n"
        f"\\subsection*{{{w()}}}\\label{{{w(1)}}}\n\\begin{{verbatim}}\n\\section{{{w()}}}\n"
        f"\\end{{verbatim}}\n\\begin{{tabular}}{{ll}}\n{w(1)} & {w(1)} \\\\\n\\end{{tabular}}"
    )


def table(w: Words) -> str:
    rows = "".join(f'{w(1)},"{w(2)}\n{w(2)}",{w(1)}\n' for _ in range(300))
    return f"{w(1)},{w(1)},{w(1)}\n{rows}"


def code(w: Words) -> str:
    name = w(3).split()
    return (
        f'"""{w()}"""\n\nimport {name[0]}\n\n\nclass {name[1]}:\n    """{w()}"""\n\n    # {w()}\n'
        f'    def {name[2]}(self):\n        return """{w(LONG)}"""\n\n\n{w(1)} = "{w(LONG)}"\n'
    )


def data(w: Words) -> str:
    records = [{w(1): w(2), "deep": {"er": [w(1), {w(1): w(1)}]}} for _ in range(100)]
    return json.dumps(
        {"about": w(), "records": records, "text": w(LONG), "none": None, "empty": {}}
    )


def lines(w: Words) -> str:
    return "".join(json.dumps({"note": w(2), "more": [w(1)]}) + "\n" for _ in range(50)) + w()


def chats(w: Words) -> str:
    """An export of ChatGPT's with a branch that is not shown, and what is no conversation."""
    fields = "answers and questions that others took the place of"

    def node(parent: str | None, role: str, said: str, **meta: str) -> dict:
        message = {"author": {"role": role}, "content": {"parts": [said]}, "metadata": meta}
        return {"parent": parent, "message": message}

    nodes = {
        "s": node(None, "system", w.hide("instructions to the assistant")),
        "u": node("s", "user", w()),
        "a": node("u", "assistant", w(LONG), model_slug="m"),
        "b": node("u", "assistant", w.hide(fields)),
    }
    return json.dumps([{"title": w(), "current_node": "a", "mapping": nodes}, {"note": w()}])


def notebook(w: Words) -> str:
    cells = [
        {"cell_type": "markdown", "source": [f"# {w()}\n", w()]},
        {
            "cell_type": "code",
            "source": f"{w()}\n```",
            "outputs": [
                {"output_type": "stream", "text": [w() + "\n", w()]},
                {
                    "output_type": "execute_result",
                    "data": {
                        "image/png": w.hide("pictures as text"),
                        "text/plain": w(LONG),
                        "text/html": w.hide("other versions of outputs"),
                    },
                },
                {"output_type": "error", "traceback": [f"\x1b[0;31m{w()}\x1b[0m"]},
            ],
        },
        {"cell_type": "raw", "source": w()},
    ]
    return json.dumps({"cells": cells, "metadata": {"author": w.hide("numbers and settings of "
                       "notebooks")}})  # fmt: skip


def letter(w: Words) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = f"{w(1)}@a.example", f"{w(2)} <b@c.example>", w()
    mail["Date"] = "Tue, 05 Mar 2024 10:11:12 +0100"
    mail["X-Mailer"] = w.hide("other headers of letters")
    mail.set_content(w(LONG) + " ä")
    mail.add_attachment(w(), filename=f"{w(1)}.txt")
    inner = EmailMessage()
    inner["Subject"] = w()
    inner.set_content(f"<h1>{w()}</h1>{w()}", subtype="html")
    mail.add_attachment(inner)
    return mail.as_bytes()


def mailbox(w: Words) -> bytes:
    begins = "From a@b.example Tue Mar  5 10:11:12 2024\n"
    letters = (f"{begins}Subject: {w()}\n\n{w()}\n\n>From {w()}\n\n" for _ in range(5))
    return "".join(letters).encode()


def word(w: Words) -> bytes:
    return docx(
        paragraph(w(), "H1")
        + paragraph(w(LONG))
        + paragraph(w(), "H2")
        + word_table(*((w(1), w(2)) for _ in range(200)))
        + paragraph(w(), properties='<w:numPr><w:ilvl w:val="1"/></w:numPr>')
        + f"<w:p><w:del><w:r><w:delText>{w.hide('deleted text')}</w:delText></w:r></w:del></w:p>"
        + f"<w:p><w:r><w:instrText>{w.hide('field codes')}</w:instrText></w:r></w:p>",
        footnotes=paragraph(w()),
        comments=paragraph(w()),
        footer1=paragraph(w()),
    )


def slides(w: Words) -> bytes:
    number = w.hide("slide numbers, dates and footers")
    return pptx(
        (shape(w(), "title") + shape(f"{w(LONG)}\n{w()}") + shape(number, "ftr"), shape(w())),
        (shape(w(), "ctrTitle"), ""),
    )


def workbook(w: Words) -> bytes:
    named = row(w(1), w(1)) + "".join(row(w(1), w(2)) for _ in range(200))
    formula = (
        f'<row><c t="str"><f>{w.hide("formulas, whose results are kept", 1)}</f><v>{w()}</v></c>'
    )
    shared = '<c t="s"><v>0</v></c></row>'
    return xlsx({w(1): named, w(1): formula + shared}, [w()])


def libreoffice(w: Words) -> bytes:
    cells = "".join(f"<table:table-cell><text:p>{w(2)}</text:p></table:table-cell>" for _ in "ab")
    return odf(
        f"<text:tracked-changes><text:p>{w.hide('deleted text')}</text:p></text:tracked-changes>"
        f"<text:h>{w()}</text:h><text:p>{w(LONG)}"
        f"<text:note><text:p>{w()}</text:p></text:note></text:p>"
        f"<text:list><text:list-item><text:p>{w()}</text:p></text:list-item></text:list>"
        f"<table:table><table:table-row>{cells}</table:table-row></table:table>",
        f"<text:p>{w()}</text:p>",
    )


def book(w: Words) -> bytes:
    return epub(w(), f"<h1>{w()}</h1><p>{w(LONG)}</p>", f"<h2>{w()}</h2>")


def rich(w: Words) -> bytes:
    return f"{{\\rtf1\\ansi {w()}\\par {{\\b {w()}}}\\par {w(LONG)}\\par}}".encode()


def pages(w: Words) -> bytes:
    return pdf(*(w(9) for _ in range(20)))


def database(w: Words) -> bytes:
    script = f"""
        CREATE TABLE conversations (id TEXT, name TEXT);
        CREATE TABLE responses (id TEXT, prompt TEXT, response TEXT, system TEXT,
            conversation_id TEXT);
        INSERT INTO conversations VALUES ('c', '{w()}');
        INSERT INTO responses VALUES
            ('1', '{w()}', '{w(LONG)}', '{w.hide("instructions to the assistant")}', 'c');
    """
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        target = Path("llm.db")
        with closing(sqlite3.connect(target)) as file:
            connection.backup(file)
    return target.read_bytes()


SAMPLES: dict[str, Callable[[Words], str | bytes]] = {
    ".md": markdown, ".html": html, ".txt": plain, ".rst": plain, ".log": log, ".org": org,
    ".adoc": asciidoc, ".tex": latex, ".csv": table, ".py": code, ".json": data, ".jsonl": lines,
    ".chat.json": chats, ".ipynb": notebook, ".eml": letter, ".mbox": mailbox, ".docx": word,
    ".pptx": slides, ".xlsx": workbook, ".odt": libreoffice, ".epub": book, ".rtf": rich,
    ".pdf": pages, ".db": database,
}  # fmt: skip


def said(document) -> Counter[str]:
    """The words of a document's chunks, and of the names of its conversations."""
    texts = (f"{c.query}\n{c.answer}\n{c.source.partition(': ')[2]}" for c in document.chunks)
    return Counter(re.findall(r"[a-z]+ix\b", "\n".join(texts)))


@pytest.mark.parametrize("suffix", SAMPLES)
def test_what_is_kept_and_what_is_named_are_all_that_there_was(suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    w = Words()
    sample = SAMPLES[suffix](w)
    content = sample if isinstance(sample, bytes) else sample.encode()
    document = read_content(content, f"a{suffix}", f"a{suffix}")
    found = said(document)
    assert [word for word in w.shown if word not in found] == []
    assert [word for words in w.hidden.values() for word in words if word in found] == []
    for reason, words in w.hidden.items():
        assert document.left[reason] >= sum(map(len, words)), reason
    everything = sum(map(len, w.shown)) + sum(len(x) for words in w.hidden.values() for x in words)
    kept = sum(map(len, set(found)))
    lost = everything - kept
    assert lost <= document.left.total() - document.left[MARKS]
    # Only headings, heads of tables and the last words of the chunk before are told again.
    answers = sum(len(chunk.answer) for chunk in document.chunks)
    assert answers <= 1.4 * everything + 3_000


def test_every_reader_has_its_sample():
    readers = {**TEXT, **BYTES, **LETTERS}
    sampled = {readers.get(suffix) for suffix in SAMPLES}
    parts = {getattr(reader, "func", reader) for reader in sampled}
    for suffix, reader in readers.items():
        assert getattr(reader, "func", reader) in parts, suffix
    assert {".json", ".jsonl"} <= JSON.keys() & SAMPLES.keys()
