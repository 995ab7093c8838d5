"""Files of office programs, made by hand: the parts that a reader looks at, zipped."""

from __future__ import annotations

import zipfile
from io import BytesIO

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
X = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
SPACE = "urn:oasis:names:tc:opendocument:xmlns"
ODF = " ".join(f'xmlns:{n}="{SPACE}:{n}:1.0"' for n in ("office", "text", "table", "draw"))
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"


def zipped(parts: dict[str, str | bytes]) -> bytes:
    """A zip file of parts by name."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return out.getvalue()


def relations(targets: dict[str, str]) -> str:
    """What the ids in a part stand for."""
    found = "".join(f'<Relationship Id="{i}" Target="{t}"/>' for i, t in targets.items())
    return f'<Relationships xmlns="{RELATIONS}">{found}</Relationships>'


def paragraph(text: str, style: str = "", properties: str = "") -> str:
    """A paragraph of Word's."""
    style = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{style}{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def word_table(*rows: tuple[str, ...]) -> str:
    """A table of Word's."""
    cells = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in cells)}</w:tbl>"


def docx(body: str, **parts: str) -> bytes:
    """A Word file whose styles ``H1`` and ``H2`` are headings; other parts by name."""
    styles = "".join(
        f'<w:style w:styleId="H{depth}"><w:name w:val="heading {depth}"/></w:style>'
        for depth in (1, 2)
    )
    around = {
        f"word/{name}.xml": f"<w:{name} {W}>{content}</w:{name}>" for name, content in parts.items()
    }
    return zipped(
        {
            "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
            "word/styles.xml": f"<w:styles {W}>{styles}</w:styles>",
            **around,
        }
    )


def shape(text: str, kind: str = "") -> str:
    """A text box of a slide, for a title, a date, ..."""
    kind = f'<p:nvPr><p:ph type="{kind}"/></p:nvPr>' if kind else ""
    lines = "".join(f"<a:p><a:r><a:t>{line}</a:t></a:r></a:p>" for line in text.split("\n"))
    return f"<p:sp>{kind}<p:txBody>{lines}</p:txBody></p:sp>"


def pptx(*slides: tuple[str, str]) -> bytes:
    """A presentation; of each slide what stands on it and in its notes, shown last to first."""
    ids = "".join(f'<p:sldId r:id="s{n}"/>' for n in reversed(range(len(slides))))
    parts = {
        "ppt/presentation.xml": f"<p:presentation {P} {R}>{ids}</p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(
            {f"s{n}": f"slides/slide{n}.xml" for n in range(len(slides))}
        ),
    }
    for n, (slide, notes) in enumerate(slides):
        parts[f"ppt/slides/slide{n}.xml"] = f"<p:sld {P} {A}>{slide}</p:sld>"
        parts[f"ppt/notesSlides/notesSlide{n}.xml"] = f"<p:notes {P} {A}>{notes}</p:notes>"
        parts[f"ppt/slides/_rels/slide{n}.xml.rels"] = relations(
            {"n": f"../notesSlides/notesSlide{n}.xml"}
        )
    return zipped(parts)


def xlsx(sheets: dict[str, str], strings: list[str], **parts: str) -> bytes:
    """A workbook of sheets by name; style 1 is a date's."""
    names = "".join(f'<sheet name="{name}" r:id="r{n}"/>' for n, name in enumerate(sheets))
    return zipped(
        {
            "xl/workbook.xml": f"<workbook {X} {R}><sheets>{names}</sheets></workbook>",
            "xl/_rels/workbook.xml.rels": relations(
                {f"r{n}": f"worksheets/sheet{n}.xml" for n in range(len(sheets))}
            ),
            "xl/sharedStrings.xml": f"<sst {X}>"
            + "".join(f"<si><t>{text}</t></si>" for text in strings)
            + "</sst>",
            "xl/styles.xml": f'<styleSheet {X}><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/>'
            "</cellXfs></styleSheet>",
            **{
                f"xl/worksheets/sheet{n}.xml": f"<worksheet {X}><sheetData>{rows}</sheetData>"
                "</worksheet>"
                for n, rows in enumerate(sheets.values())
            },
            **{f"xl/{name}.xml": content for name, content in parts.items()},
        }
    )


def row(*cells: str) -> str:
    """A row of texts that stand in it."""
    inner = "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in cells)
    return f"<row>{inner}</row>"


def odf(body: str, styles: str = "") -> bytes:
    """A text, a presentation or sheets of LibreOffice."""
    return zipped(
        {
            "content.xml": f"<office:document-content {ODF}><office:body>{body}</office:body>"
            "</office:document-content>",
            "styles.xml": f"<office:document-styles {ODF}>{styles}</office:document-styles>",
        }
    )


def epub(title: str, *pages: str) -> bytes:
    """A book whose pages are read last to first."""
    items = "".join(
        f'<item id="p{n}" href="p%20{n}.xhtml" media-type="application/xhtml+xml"/>'
        for n in range(len(pages))
    )
    order = "".join(f'<itemref idref="p{n}"/>' for n in reversed(range(len(pages))))
    return zipped(
        {
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="in/book.opf"/>'
            "</rootfiles></container>",
            "in/book.opf": f"<package><metadata><title>{title}</title></metadata>"
            f"<manifest>{items}</manifest><spine>{order}</spine></package>",
            **{f"in/p {n}.xhtml": page for n, page in enumerate(pages)},
        }
    )
