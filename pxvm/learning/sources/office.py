"""Word and PowerPoint files to blocks: all text that is shown, notes and comments included."""

from __future__ import annotations

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import Outline, Read
from pxvm.learning.sources.flow import Flow
from pxvm.learning.sources.packages import Handler, Package

DROPPED = {
    "del": "deleted text",
    "moveFrom": "text that was moved",
    "instrText": "field codes",
    "Fallback": "the same for older programs",
}
TEXT = {"t", "delText", "instrText", "v"}
#: Other parts of a Word file than its body, and what they are called.
AROUND = (
    (r"word/footnotes\.xml", "footnotes"),
    (r"word/endnotes\.xml", "endnotes"),
    (r"word/comments\.xml", "comments"),
    (r"word/header\d*\.xml", "header"),
    (r"word/footer\d*\.xml", "footer"),
    (r"word/diagrams/data\d*\.xml", "diagram"),
    (r"word/charts/chart\d*\.xml", "chart"),
)
BESIDE = (
    (r"ppt/comments/.*\.xml", "comments"),
    (r"ppt/diagrams/data\d*\.xml", "diagram"),
    (r"ppt/charts/chart\d*\.xml", "chart"),
)
FIELDS = {"sldNum", "dt", "ftr", "hdr"}


def read_docx(content: bytes) -> Read:
    """Blocks of a Word file under its headings."""
    package, read = Package(content), Read()
    body = package.matching(r"word/document\d*\.xml")
    if not body:
        raise UnreadableError("damaged: no document in it")
    styles = _Styles()
    package.parse("word/styles.xml", styles)
    for name in body:
        read.take(_read(package, name, styles.depths()))
    take_parts(package, AROUND, read)
    return read


def read_pptx(content: bytes) -> Read:
    """Blocks of a presentation: slide by slide, under their titles, with their notes."""
    package, read = Package(content), Read()
    order = _Slides()
    package.parse("ppt/presentation.xml", order)
    targets = package.relations("ppt/presentation.xml")
    slides = [targets[i] for i in order.ids if i in targets]
    if not slides:
        slides = package.matching(r"ppt/slides/slide\d+\.xml")
    if not slides and "ppt/presentation.xml" not in package.names:
        raise UnreadableError("damaged: no slides in it")
    for number, slide in enumerate(slides, 1):
        read.take(_read(package, slide, {}), (f"slide {number}",))
        for target in package.relations(slide).values():
            if target.startswith("ppt/notesSlides/"):
                read.take(_read(package, target, {}), (f"slide {number}", "notes"))
    take_parts(package, BESIDE, read)
    return read


def take_parts(package: Package, parts: tuple[tuple[str, str], ...], read: Read) -> None:
    """Read parts whose names match a pattern, each under its title."""
    for pattern, title in parts:
        for name in package.matching(pattern):
            read.take(_read(package, name, {}), (title,))


def _read(package: Package, name: str, depths: dict[str, int]) -> Read:
    handler = _Body(depths)
    package.parse(name, handler)
    return handler.finished()


class _Styles(Handler):
    """Styles of paragraphs that are headings."""

    def __init__(self) -> None:
        self.style = ""
        self.own: dict[str, int] = {}
        self.based: dict[str, str] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        value = attributes.get("val", "")
        if name == "style":
            self.style = attributes.get("styleId", "")
        elif name == "name" and value.lower().startswith("heading ") and value[8:].isdecimal():
            self.own.setdefault(self.style, int(value[8:10]))
        elif name == "name" and value.lower() == "title":
            self.own.setdefault(self.style, 0)
        elif name == "outlineLvl" and value.isdecimal() and int(value[:2]) < 9:
            self.own[self.style] = int(value) + 1
        elif name == "basedOn":
            self.based[self.style] = value

    def depths(self) -> dict[str, int]:
        """Ids of styles -> how deep their headings are."""
        found = dict(self.own)
        for style in self.based:
            base, seen = style, set()
            while base in self.based and base not in self.own and base not in seen:
                seen.add(base)
                base = self.based[base]
            if base in self.own:
                found[style] = self.own[base]
        return found


class _Slides(Handler):
    """The ids of slides in the order in which they are shown."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sldId":
            self.ids.append(attributes.get("r:id", ""))


class _Body(Handler):
    """Paragraphs, tables and shapes, of Word's kind and of drawings."""

    def __init__(self, depths: dict[str, int]) -> None:
        self.depths = depths
        self.read = Read()
        self.outline = Outline()
        self.flow = Flow(self.read, self.outline)
        self.levels: list[int | None] = []  # of the paragraphs that are open, if headings
        self.begun = True  # what the open paragraph is has been told
        self.item: int | None = None  # how deep a paragraph stands in a list
        self.listed = 0  # lists that are open
        self.inside: list[str] = []
        self.shape = ""  # "" where paragraphs stand alone, else what the shape is for

    def finished(self) -> Read:
        """All that was read."""
        self._list(0)
        self.flow.close()
        self.read.blocks = self.outline.close()
        return self.read

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.begun and name != "pPr" and self.inside[-1] == "p":
            self._begin_paragraph()
        self.inside.append(name)
        value = attributes.get("val", "")
        if name in DROPPED:
            self.flow.drop(DROPPED[name])
        elif name == "p":
            self.levels.append(None)
            self.begun = False
            if self.shape == "body":
                self.flow.line_end()
            elif not self.shape:
                self.flow.block()
        elif name == "pStyle" and self.levels:
            self.levels[-1] = self.depths.get(value)
        elif name == "outlineLvl" and self.levels and value.isdecimal() and int(value[:2]) < 9:
            self.levels[-1] = int(value) + 1
        elif name == "ilvl" and value.isdecimal():
            self.item = min(int(value[:2]), 9)
        elif name == "sp":
            self.flow.block()
            self.shape = "body"
        elif name == "ph" and self.shape:
            self._placed(attributes.get("type", ""))
        elif name == "tbl":
            self._list(0)
            self.flow.table()
        elif name == "tr":
            self.flow.row()
        elif name == "tc":
            self.flow.cell()
        elif name in ("pic", "imagedata"):
            self.flow.thing("picture")
        elif name in ("docPr", "cNvPr") and attributes.get("descr"):
            self.flow.text(f"[{attributes['descr']}] ")
        elif name in ("br", "cr"):
            self.flow.line_end()
        elif name in ("tab", "ptab") and "tabs" not in self.inside[-2:]:
            self.flow.text("\t")
        elif name == "noBreakHyphen":
            self.flow.text("-")

    def end(self, name: str) -> None:
        self.inside.pop()
        if name in DROPPED:
            self.flow.undrop()
        elif name == "pPr" and not self.begun and self.inside[-1:] == ["p"]:
            self._begin_paragraph()
        elif name == "p":
            self.begun = True
            level = self.levels.pop()
            if level is not None:
                self.flow.end_heading()
            elif self.shape == "title":
                self.flow.text(" ")
            elif not self.shape:
                self.flow.block()
        elif name == "sp" and self.shape:
            self._end_shape()
        elif name == "tbl":
            self._list(0)
            self.flow.end_table()
        elif name == "tr":
            self.flow.end_row()
        elif name == "tc":
            self._list(0)
            self.flow.end_cell()
        elif name == "v":
            self.flow.text(" ")

    def text(self, text: str) -> None:
        if self.inside and self.inside[-1] in TEXT:
            self.flow.text(text)

    def _begin_paragraph(self) -> None:
        level, item, self.item, self.begun = self.levels[-1], self.item, None, True
        if level is not None:
            self._list(0)
            self.flow.heading(level)
        elif item is not None:
            self._list(item + 1)
            self.flow.item()
        elif not self.shape:
            self._list(0)

    def _list(self, depth: int) -> None:
        """Open or close lists until so many are open."""
        while self.listed < depth:
            self.flow.list()
            self.listed += 1
        while self.listed > depth:
            self.flow.end_list()
            self.listed -= 1

    def _placed(self, kind: str) -> None:
        if kind in ("title", "ctrTitle"):
            self.shape = "title"
            self.flow.heading(0)
        elif kind in FIELDS:
            self.shape = "field"
            self.flow.drop("slide numbers, dates and footers")

    def _end_shape(self) -> None:
        if self.shape == "title":
            self.flow.end_heading()
        elif self.shape == "field":
            self.flow.undrop()
        self.flow.block()
        self.shape = ""
