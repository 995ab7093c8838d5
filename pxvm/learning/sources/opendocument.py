"""Files of LibreOffice to blocks: text, presentations and sheets, which are one kind of XML."""

from __future__ import annotations

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import Outline, Read
from pxvm.learning.sources.flow import Flow
from pxvm.learning.sources.packages import Handler, Package

REPEATED = 50  # times that a cell which stands for several is taken
DROPPED = {"tracked-changes": "deleted text"}


def read_odt(content: bytes) -> Read:
    """Blocks of a text, a presentation or a workbook."""
    package, read = Package(content), Read()
    if "content.xml" not in package.names:
        raise UnreadableError("damaged: no content in it")
    for name, above in (("content.xml", ()), ("styles.xml", ("header and footer",))):
        handler = _Content()
        package.parse(name, handler)
        read.take(handler.finished(), above)
    return read


class _Content(Handler):
    """Paragraphs, lists, tables and notes."""

    def __init__(self) -> None:
        self.read, self.outline = Read(), Outline()
        self.flow = Flow(self.read, self.outline)
        self.slides = self.depth = 0
        self.sheets = False
        self.repeated, self.said = 1, ""  # the cell that is open

    def finished(self) -> Read:
        """All that was read."""
        self.flow.close()
        self.read.blocks = self.outline.close()
        return self.read

    def start(self, name: str, attributes: dict[str, str]) -> None:
        flow = self.flow
        if name in DROPPED:
            flow.drop(DROPPED[name])
        elif name in ("p", "h"):
            self.depth += 1
            flow.block()
            if name == "h":
                flow.heading(_number(attributes.get("outline-level", "1"), 10))
        elif name in ("note", "annotation"):
            flow.note()
        elif name == "list":
            flow.list()
        elif name == "list-item":
            flow.item()
        elif name == "table":
            if self.sheets:
                flow.block()
                self.outline.heading(0, attributes.get("name", ""))
            flow.table()
        elif name == "table-row":
            flow.row()
        elif name in ("table-cell", "covered-table-cell"):
            self.repeated = _number(attributes.get("number-columns-repeated", "1"), REPEATED)
            self.said = ""
            flow.cell()
        elif name == "spreadsheet":
            self.sheets = True
        elif name == "page":
            flow.block()
            self.slides += 1
            self.outline.heading(0, f"slide {self.slides}")
        elif name == "image":
            flow.thing("picture")
        elif name == "s":
            flow.text(" " * _number(attributes.get("c", "1"), 80))
        elif name == "tab":
            flow.text("\t")
        elif name == "line-break":
            flow.line_end()

    def end(self, name: str) -> None:
        flow = self.flow
        if name in DROPPED:
            flow.undrop()
        elif name in ("p", "h"):
            self.depth -= 1
            if name == "h":
                flow.end_heading()
            flow.block()
        elif name in ("note", "annotation"):
            flow.end_note()
        elif name == "list":
            flow.end_list()
        elif name == "table":
            flow.end_table()
        elif name == "table-row":
            flow.end_row()
        elif name in ("table-cell", "covered-table-cell"):
            for _ in range(self.repeated - 1):
                flow.cell()
                flow.text(self.said)
            flow.end_cell()

    def text(self, text: str) -> None:
        if self.depth or text.strip():
            self.flow.text(text)
            self.said += text if len(self.said) < 1_000 and self.repeated > 1 else ""


def _number(text: str, most: int) -> int:
    return min(int(text[:9]), most) if text[:9].isdecimal() else 1
