"""Office files and books to blocks."""

import pytest

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources import packages
from pxvm.learning.sources.blocks import Block
from pxvm.learning.sources.documents import read_content
from pxvm.learning.sources.epub import read_epub
from pxvm.learning.sources.office import read_docx, read_pptx
from pxvm.learning.sources.opendocument import read_odt
from pxvm.learning.sources.sheets import read_xlsx
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
    zipped,
)


def test_word():
    item = '<w:numPr><w:ilvl w:val="0"/></w:numPr>'
    inner = '<w:numPr><w:ilvl w:val="1"/></w:numPr>'
    read = read_docx(
        docx(
            paragraph("Boats", "H1")
            + "<w:p><w:r><w:t>A ke</w:t></w:r><w:r><w:t>el is</w:t><w:br/><w:t>long.</w:t></w:r>"
            "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
            + paragraph("Wood", "H2")
            + paragraph("oak", properties=item)
            + paragraph("white", properties=inner)
            + paragraph("pine", properties=item)
            + word_table(("wood", "price"), ("oak", "12"))
            + paragraph("Only a heading", "H1"),
            comments=paragraph("Really?"),
            header1=paragraph("A letterhead"),
        )
    )
    wood = ("Boats", "Wood")
    assert read.blocks == [
        Block("A keel is\nlong.", ("Boats",)),
        Block("- oak\n  - white\n- pine", wood),
        Block("wood | price\noak | 12", wood, whole=True),
        Block("Only a heading"),
        Block("Really?", ("comments",)),
        Block("A letterhead", ("header",)),
    ]
    assert +read.left == {"deleted text": 4}


def test_slides_are_read_as_they_are_shown():
    content = pptx(
        (
            shape("Sails", "title") + shape("White.\nLarge."),
            shape("Say more.") + shape("2", "sldNum"),
        ),
        (shape("Boats", "title") + "<p:pic/>", ""),
    )  # fmt: skip
    read = read_pptx(content)
    assert read.blocks == [
        Block("Boats", ("slide 1",)),
        Block("White.\nLarge.", ("slide 2", "Sails")),
        Block("Say more.", ("slide 2", "notes")),
    ]
    assert +read.left == {"slide numbers, dates and footers": 1} and read.things == {"picture": 1}


def test_sheets():
    rows = (
        '<row><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>1</v></c></row>'
        '<row><c r="A2" s="1"><v>45356</v></c><c r="C2"><f>6*2</f><v>12</v></c></row>'
        '<row><c r="A3" s="1"><v>45356.5</v></c><c r="B3" t="b"><v>1</v></c>'
        '<c r="C3"><v>0.1</v></c></row>'
    )
    read = read_xlsx(xlsx({"Wood": rows, "Empty": ""}, ["bought", "price"]))
    assert read.blocks == [
        Block(
            "2024-03-05 |  | 12\n2024-03-05 12:00:00 | TRUE | 0.1",
            ("Wood",),
            row=True,
            head="bought |  | price",
        ),
        Block("Empty"),
    ]
    assert +read.left == {"formulas, whose results are kept": 3}


def test_a_long_sheet_repeats_its_head():
    sheet = row("name", "wood") + "".join(row(f"boat {n}", "oak") for n in range(500))
    chunks = read_content(xlsx({"Fleet": sheet}, []), "fleet.xlsx", "fleet.xlsx").chunks
    assert len(chunks) > 5 and all(c.answer.startswith("name | wood\nboat ") for c in chunks)
    said = "\n".join(chunk.answer for chunk in chunks)
    assert all(said.count(f"boat {n} | oak") == 1 for n in range(500))


def test_libreoffice():
    text = odf(
        "<office:text><text:h text:outline-level='1'>Boats</text:h>"
        "<text:p>A <text:span>keel</text:span><text:s/>is long<text:note><text:note-body>"
        "<text:p>or short</text:p></text:note-body></text:note>.</text:p>"
        "<text:list><text:list-item><text:p>oak</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>"
        "<table:table-cell table:number-columns-repeated='2'><text:p>b</text:p></table:table-cell>"
        "</table:table-row></table:table></office:text>",
        "<text:p>A letterhead</text:p>",
    )
    assert read_odt(text).blocks == [
        Block("A keel is long [ or short ] .", ("Boats",)),
        Block("- oak", ("Boats",)),
        Block("a | b | b", ("Boats",), whole=True),
        Block("A letterhead", ("header and footer",)),
    ]
    sheets = odf(
        "<office:spreadsheet><table:table table:name='Wood'><table:table-row><table:table-cell>"
        "<text:p>oak</text:p></table:table-cell></table:table-row></table:table>"
        "</office:spreadsheet>"
    )
    assert read_odt(sheets).blocks == [Block("oak", ("Wood",), whole=True)]
    slides = odf("<office:presentation><draw:page><text:p>Sails</text:p></draw:page>"
                 "</office:presentation>")  # fmt: skip
    assert read_odt(slides).blocks == [Block("Sails", ("slide 1",))]


def test_books_are_read_in_their_order():
    read = read_epub(epub("Of boats", "<h1>Two</h1><p>Sails.</p>", "<h1>One</h1><p>Keels.</p>"))
    assert read.blocks == [
        Block("Keels.", ("Of boats", "One")),
        Block("Sails.", ("Of boats", "Two")),
    ]


def test_rtf():
    content = rb"{\rtf1\ansi{\fonttbl{\f0 Arial;}}A {\b keel}\par Gr\'fc\u223 \'dfe\par}"
    said = [chunk.answer for chunk in read_content(content, "a.rtf", "a.rtf").chunks]
    assert said[0].startswith("A keel\n\nGrüß")


def test_notes_in_rtf_are_kept():
    content = (
        rb"{\rtf1\ansi{\header Top}One{\footnote\pard Two\par}{\*\annotation Three} four.\par}"
    )
    said = " ".join(c.answer for c in read_content(content, "a.rtf", "a.rtf").chunks)
    assert all(word in said for word in ("Top", "One", "Two", "Three", "four."))


LAUGHS = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>'


@pytest.mark.parametrize("suffix", [".docx", ".pptx", ".xlsx", ".odt", ".epub", ".rtf"])
@pytest.mark.parametrize(
    "content",
    [b"", b"nothing", zipped({"a": "b"}), zipped({"a": "b"})[:40], b"\xd0\xcf\x11\xe0\xa1\xb1"],
    ids=["empty", "words", "zip", "half a zip", "old"],
)
def test_what_is_damaged_is_refused_in_one_line(suffix, content):
    with pytest.raises(UnreadableError) as caught:
        read_content(content, f"a{suffix}", "a")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (zipped({"word/document.xml": "<a>" + "a" * (3 << 20)}), "inflates to more than 2 MiB"),
        (zipped({"word/document.xml": LAUGHS}), "entities"),
        (zipped({"word/document.xml": "<a>" * 20_000}), "too deeply"),
        (zipped({"word/document.xml": "<a><b></a>"}), "damaged"),
    ],
)
def test_hostile_files_are_bounded(content, reason, monkeypatch):
    monkeypatch.setattr(packages, "MOST", 2 << 20)
    with pytest.raises(UnreadableError, match=reason):
        read_content(content, "a.docx", "a")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.doc", b"\xd0\xcf\x11\xe0\0", "save it as .docx"),
        ("a.xls", b"\xd0\xcf\x11\xe0\0", "save it as .xlsx"),
        ("a.pages", b"PK\3\4\0", "export it as Word"),
        ("a.zip", b"PK\3\4\0", "unpack it"),
    ],
)
def test_what_is_not_read_is_refused_by_name_with_the_way_out(name, content, reason):
    with pytest.raises(UnreadableError, match=reason):
        read_content(content, name, name)


def test_how_a_file_begins_says_more_than_an_old_name():
    said = {
        "a.doc": rb"{\rtf1 A keel.\par}",
        "a.xls": b"<html><table><tr><td>A keel.</table>",
        "letter": b"Return-Path: <a@b.example>\nSubject: Boats\n\nA keel.",
        "mailbox": b"From a@b.example Tue Mar  5 10:11:12 2024\nSubject: Boats\n\nA keel.",
    }
    for name, content in said.items():
        assert read_content(content, name, name).chunks[-1].answer.endswith("A keel."), name
