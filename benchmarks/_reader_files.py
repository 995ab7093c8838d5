"""Real files of many kinds, each with the words that are in it, counted without pxvm's readers.

Text, tables, JSON, pages, letters and code are taken from where Python and its packages are
installed, and from folders that are named. Office files, books, notebooks, PDF and RTF stand there
seldom: such are written from the same real texts, by the libraries with which people write them.
"""

from __future__ import annotations

import email.policy
import io
import itertools
import json
import re
import sysconfig
import zipfile
from collections.abc import Callable, Iterable, Iterator
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

SMALLEST, LARGEST = 1_500, 300_000  # bytes of a file
PARAGRAPHS = 120  # of a text from which another file is written
LONGEST = 60  # letters of a word there, so that no line must break inside it


class File(NamedTuple):
    """A file: how it ends, where it is from, its bytes, and the text that is in it."""

    suffix: str
    origin: str
    content: bytes
    text: str


def found(suffix: str, folders: Iterable[Path], most: int) -> Iterator[File]:
    """Files of a kind that stand in folders; of each folder a few, so that many have a say."""
    said = SAID.get(suffix, plain)
    taken = 0
    for folder in folders:
        beside: dict[Path, int] = {}
        for path in sorted(folder.rglob(f"*{FOUND_AS.get(suffix, suffix)}")):
            if taken >= most:
                return
            if beside.get(path.parent, 0) >= 5 or not path.is_file() or path.is_symlink():
                continue
            if not SMALLEST <= path.stat().st_size <= LARGEST:
                continue
            content = path.read_bytes()
            try:
                text = said(content)
            except Exception:  # made to be damaged, as those in tests of parsers are
                continue
            if len(text.split()) >= 20:
                beside[path.parent] = beside.get(path.parent, 0) + 1
                taken += 1
                yield File(suffix, str(path), content, text)


def installed() -> list[Path]:
    """Where Python and its packages are, and the documents of this project."""
    paths = sysconfig.get_paths()
    ours = Path(__file__).resolve().parents[1] / "docs"
    return [ours, *dict.fromkeys(Path(paths[name]) for name in ("purelib", "stdlib"))]


def made(suffix: str, texts: Iterable[File], most: int) -> Iterator[File]:
    """Files of a kind, written from real texts.

    Raises:
        ImportError: the library that writes them is not installed.
    """
    write = WRITERS[suffix]
    for file in itertools.islice(texts, most):
        parts = [" ".join(part.split()) for part in re.split(r"\n\s*\n", file.text)]
        parts = [part for part in parts if part and max(map(len, part.split())) <= LONGEST]
        parts = ["".join(filter(_fits_xml, part)) for part in parts[:PARAGRAPHS]]
        if len(parts) > 2:
            content, text = write(parts)
            yield File(suffix, f"from {file.origin}", content, text)


def _fits_xml(character: str) -> bool:
    return character.isprintable() or character == " "


def plain(content: bytes) -> str:
    """The text of a file that is all text."""
    return content.decode()


def notes(content: bytes) -> str:
    """The text of a letter: what its parts say, of two versions the plain one."""
    letter = email.message_from_bytes(content, policy=email.policy.default)
    texts = [str(letter[name] or "") for name in ("From", "To", "Subject")]
    skipped: set[int] = set()
    for part in letter.walk():
        if part.get_content_type() == "multipart/alternative":
            kinds = {inner.get_content_type(): inner for inner in part.iter_parts()}
            if "text/plain" in kinds:
                skipped |= {id(i) for kind, i in kinds.items() if kind != "text/plain"}
        if id(part) not in skipped and part.get_content_maintype() == "text":
            said = part.get_content()
            texts.append(pages(said.encode()) if part.get_content_type() == "text/html" else said)
    return "\n".join(texts)


class _Page(HTMLParser):
    """Text of a page, without what browsers never show."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.hidden += tag in ("script", "style")
        self.texts += ["" if tag in INLINE else "\n"]

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style") and self.hidden > 0
        self.texts += ["" if tag in INLINE else "\n"]

    def handle_data(self, data: str) -> None:
        self.texts += [] if self.hidden else [data]


INLINE = {"a", "b", "i", "em", "strong", "code", "span", "tt", "cite", "kbd", "var", "sup", "sub",
          "small", "font", "abbr", "q", "u", "s", "samp", "dfn", "mark", "wbr"}  # fmt: skip


def pages(content: bytes) -> str:
    """The text of HTML."""
    page = _Page()
    page.feed(content.decode())
    page.close()
    return "".join(page.texts)


def values(content: bytes) -> str:
    """Keys and values of JSON."""
    texts: list[str] = []
    open_ = [json.loads(content, parse_int=str, parse_float=str)]
    while open_:
        value = open_.pop()
        if isinstance(value, dict):
            texts += value
            open_ += value.values()
        elif isinstance(value, list):
            open_ += value
        else:
            texts.append(value if isinstance(value, str) else json.dumps(value))
    return "\n".join(texts)


def runs(pattern: str, tag: str) -> Callable[[bytes], str]:
    """The text of an office file: its runs, in the parts whose names match."""

    def said(content: bytes) -> str:
        texts = []
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            for name in package.namelist():
                if re.fullmatch(pattern, name):
                    for element in ElementTree.fromstring(package.read(name)).iter():
                        kind = element.tag.rpartition("}")[2]
                        texts.append((element.text or "") if kind == tag else "")
                        texts.append("\n" if kind in ("p", "br", "cr", "tab") else "")
        return "".join(texts)

    return said


def elements(content: bytes) -> str:
    """The text of a LibreOffice file."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        root = ElementTree.fromstring(package.read("content.xml"))
    texts = []
    for element in root.iter():
        apart = element.tag.rpartition("}")[2] not in ("span", "a")
        texts += ["\n" if apart else "", element.text or "", element.tail or ""]
    return "".join(texts)


def word(parts: list[str]) -> tuple[bytes, str]:
    """A Word file: headings, paragraphs, a table."""
    import docx

    file, out = docx.Document(), io.BytesIO()
    for number, part in enumerate(parts):
        if number % 10 == 0:
            file.add_heading(part[:80], level=1 + number % 20 // 10)
            part = part[80:]
        file.add_paragraph(part, style="List Bullet" if number % 7 == 3 else None)
    table = file.add_table(rows=0, cols=2)
    for left, right in itertools.pairwise(parts[:20]):
        cells = table.add_row().cells
        cells[0].text, cells[1].text = left, right
    file.save(out)
    return out.getvalue(), runs(r"word/document\.xml", "t")(out.getvalue())


def slides(parts: list[str]) -> tuple[bytes, str]:
    """A presentation with titles, text and notes."""
    import pptx

    file, out = pptx.Presentation(), io.BytesIO()
    for title, body, note in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        slide = file.slides.add_slide(file.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, body
        slide.notes_slide.notes_text_frame.text = note
    file.save(out)
    used = parts[: len(parts) // 3 * 3]
    return out.getvalue(), "\n".join(used)


def workbook(parts: list[str]) -> tuple[bytes, str]:
    """Two sheets of texts and numbers."""
    import openpyxl

    file, out = openpyxl.Workbook(), io.BytesIO()
    rows = [["text", "words"], *([part, len(part.split())] for part in parts)]
    rows = [[f" {cell}" if str(cell)[:1] == "=" else cell for cell in row] for row in rows]
    for sheet in (file.active, file.create_sheet("again")):
        for row in rows:
            sheet.append(row)
    file.save(out)
    return out.getvalue(), "\n".join(str(cell) for row in rows for cell in row * 2) + "\nagain"


def opendocument(parts: list[str]) -> tuple[bytes, str]:
    """A text of LibreOffice's."""
    from odf import text
    from odf.opendocument import OpenDocumentText

    file, out = OpenDocumentText(), io.BytesIO()
    for number, part in enumerate(parts):
        kind = text.H(outlinelevel=1) if number % 10 == 0 else text.P()
        kind.addText(part)
        file.text.addElement(kind)
    file.save(out)
    return out.getvalue(), "\n".join(parts)


def book(parts: list[str]) -> tuple[bytes, str]:
    """A book of chapters."""
    from html import escape

    from ebooklib import epub

    file, out = epub.EpubBook(), io.BytesIO()
    file.set_identifier("a")
    file.set_title(parts[0][:60])
    chapters = []
    for number in range(0, len(parts), 10):
        chapter = epub.EpubHtml(title=f"part {number}", file_name=f"part{number}.xhtml")
        chapter.content = "".join(f"<p>{escape(part)}</p>" for part in parts[number : number + 10])
        file.add_item(chapter)
        chapters.append(chapter)
    file.spine = chapters
    file.add_item(epub.EpubNcx())
    epub.write_epub(out, file)
    return out.getvalue(), "\n".join(parts)


def printed(parts: list[str]) -> tuple[bytes, str]:
    """A PDF."""
    import fpdf

    file = fpdf.FPDF()
    file.add_page()
    file.set_font("Helvetica", size=9)
    parts = [part.encode("latin-1", "ignore").decode("latin-1") for part in parts]
    for part in parts:
        file.multi_cell(0, 5, part, new_x="LMARGIN", new_y="NEXT")
        file.ln(3)
    return bytes(file.output()), "\n".join(parts)


def rich(parts: list[str]) -> tuple[bytes, str]:
    """RTF, as its specification has it."""

    def escaped(text: str) -> str:
        units = re.findall(r"..", text.encode("utf-16-be").hex(), re.DOTALL)
        codes = (int(a + b, 16) for a, b in zip(units[::2], units[1::2], strict=True))
        return "".join(
            f"\\{chr(c)}"
            if chr(c) in "\\{}"
            else chr(c)
            if c < 128
            else f"\\u{c - 65536 * (c > 32767)}?"
            for c in codes
        )

    body = "".join(f"{escaped(part)}\\par\n" for part in parts)
    return f"{{\\rtf1\\ansi\\uc1 {body}}}".encode(), "\n".join(parts)


def notebook(parts: list[str]) -> tuple[bytes, str]:
    """A notebook of Markdown, code and what that printed."""
    cells: list[dict[str, Any]] = []
    for number, part in enumerate(parts):
        if number % 3:
            cells.append({"cell_type": "markdown", "metadata": {}, "source": [part]})
        else:
            printed = {"output_type": "stream", "name": "stdout", "text": [part, "\n"]}
            cells.append({"cell_type": "code", "source": "print(part)", "outputs": [printed]})
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    texts = [part if n % 3 else f"{part} print(part)" for n, part in enumerate(parts)]
    return json.dumps(book).encode(), "\n".join(texts)


def letter(parts: list[str]) -> tuple[bytes, str]:
    """A letter in two versions, with another text attached, in an old encoding where it fits."""
    from html import escape

    mail = EmailMessage()
    mail["From"], mail["Subject"] = "Ann <ann@a.example>", parts[0][:70]
    half = len(parts) // 2
    mail.set_content("\n\n".join(parts[:half]))
    mail.add_alternative("".join(f"<p>{escape(part)}</p>" for part in parts[:half]), subtype="html")
    mail.add_attachment("\n\n".join(parts[half:]), filename="rest.txt")
    return mail.as_bytes(), "\n".join(["Ann <ann@a.example>", parts[0][:70], *parts])


def page(parts: list[str]) -> tuple[bytes, str]:
    """A page of which tags that may be left out are left out."""
    from html import escape

    rows = "".join(f"<tr><td>{n}<td>{escape(part)}\n" for n, part in enumerate(parts[:20]))
    items = "".join(f"<li>{escape(part)}\n" for part in parts[20:40])
    rest = "".join(f"<p>{escape(part)}\n" for part in parts[40:])
    content = f"<!doctype html><title>Page</title><table>{rows}</table><ul>{items}</ul>{rest}"
    numbers = " ".join(map(str, range(len(parts[:20]))))
    return content.encode(), "\n".join(["Page", numbers, *parts])


SAID: dict[str, Callable[[bytes], str]] = {
    ".html": pages,
    ".json": values,
    ".eml": notes,
    ".docx": runs(r"word/(document|footnotes|endnotes|comments|header\d*|footer\d*)\.xml", "t"),
    ".pptx": runs(r"ppt/(slides/slide|notesSlides/notesSlide)\d+\.xml", "t"),
    ".odt": elements,
}
FOUND_AS = {".eml": "test_email/data/msg_*.txt"}
WRITERS: dict[str, Callable[[list[str]], tuple[bytes, str]]] = {
    ".docx": word, ".pptx": slides, ".xlsx": workbook, ".odt": opendocument, ".epub": book,
    ".pdf": printed, ".rtf": rich, ".ipynb": notebook, ".eml": letter, ".html": page,
}  # fmt: skip
#: Kinds that are not written; all others are.
TEXTS = (".md", ".rst", ".txt", ".csv", ".json", ".py", ".c")
