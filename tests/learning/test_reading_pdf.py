"""PDF to blocks."""

import pytest

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.documents import read_content, read_document


def pdf(*pages: str) -> bytes:
    """A PDF that shows one line a page."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    bodies = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for n, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET"
        bodies.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * n} 0 R >>"
        )
        bodies.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    start = len(out)
    out += f"xref\n0 {len(bodies) + 1}\n0000000000 65535 f \n{table}".encode()
    return out + (
        f"trailer\n<< /Size {len(bodies) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    )


def test_pdf_has_its_pages_as_headings(tmp_path):
    file = tmp_path / "boats.pdf"
    file.write_bytes(pdf("The keel is oak.", "The sail is white."))
    found = [(chunk.query, chunk.answer) for chunk in read_document(file, "boats.pdf").chunks]
    assert found == [
        ("boats.pdf > page 1", "The keel is oak."),
        ("boats.pdf > page 2", "The sail is white."),
    ]


def test_a_pdf_outline_gives_headings(tmp_path):
    import pypdf

    writer = pypdf.PdfWriter()
    (tmp_path / "plain.pdf").write_bytes(pdf("one", "two", "three"))
    writer.append(tmp_path / "plain.pdf")
    boats = writer.add_outline_item(title="Boats", page_number=0)
    writer.add_outline_item(title="Sails", page_number=1, parent=boats)
    writer.write(tmp_path / "boats.pdf")
    chunks = read_document(tmp_path / "boats.pdf", "boats.pdf").chunks
    assert [chunk.query for chunk in chunks] == [
        "boats.pdf > Boats > page 1",
        "boats.pdf > Boats > Sails > page 2",
        "boats.pdf > Boats > Sails > page 3",
    ]


def test_ligatures_and_divided_words_are_letters_and_words(monkeypatch):
    import pypdf

    said = "The \ufb01rst o\ufb03ce is dif-\nferent, the Anglo-\nSaxon one is \ufb02at. co\u00adop"
    monkeypatch.setattr(pypdf.PageObject, "extract_text", lambda page: said)
    (chunk,) = read_content(pdf("a"), "a.pdf", "a.pdf").chunks
    assert chunk.answer == "The first office is different, the Anglo-\nSaxon one is flat. coop"


@pytest.mark.parametrize("content", [pdf("boats")[:300], b"%PDF-1.4\nnothing", b"", pdf("")])
def test_a_pdf_that_cannot_be_read_is_refused_in_one_line(tmp_path, content):
    file = tmp_path / "bad.pdf"
    file.write_bytes(content)
    with pytest.raises(UnreadableError, match=r"PDF (is damaged|holds no text)") as caught:
        read_document(file, "bad.pdf")
    assert "\n" not in str(caught.value)
