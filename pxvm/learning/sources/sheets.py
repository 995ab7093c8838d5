"""Excel files to blocks: each row whole, under its sheet's name and the names of the columns."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import TARGET, Outline, Read, size, weight
from pxvm.learning.sources.office import take_parts
from pxvm.learning.sources.packages import Handler, Package

WIDEST = 100  # columns up to which cells that are empty keep their place
DATES = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}  # built-in formats
CODE = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')  # parts of a format that are no letters of a date
BESIDE = (
    (r"xl/comments.*\.xml", "comments"),
    (r"xl/threadedComments/.*\.xml", "comments"),
    (r"xl/drawings/drawing\d*\.xml", "drawing"),
    (r"xl/charts/chart\d*\.xml", "chart"),
    (r"xl/diagrams/data\d*\.xml", "diagram"),
)
FORMULAS = "formulas, whose results are kept"


def read_xlsx(content: bytes) -> Read:
    """Blocks of a workbook, sheet by sheet; dates as ISO 8601."""
    package, read, outline = Package(content), Read(), Outline()
    book, styles, strings = _Book(), _Formats(), _Strings()
    package.parse("xl/workbook.xml", book)
    package.parse("xl/styles.xml", styles)
    package.parse("xl/sharedStrings.xml", strings)
    targets = package.relations("xl/workbook.xml")
    if not book.sheets:
        raise UnreadableError("damaged: no sheets in it")
    for name, number in book.sheets:
        sheet = _Sheet(strings.found, styles.dates(), book.epoch)
        package.parse(targets.get(number, ""), sheet)
        outline.heading(0, name)
        named = bool(sheet.rows) and bool(re.search(r"[^\W\d_]", sheet.rows[0]))
        if named and len(sheet.rows) > 1 and size(sheet.rows[0]) < TARGET // 2:
            outline.rows(sheet.rows[1:], sheet.rows[0])
        else:
            outline.rows(sheet.rows)
        read.left[FORMULAS] += sheet.formulas
    read.blocks = outline.close()
    take_parts(package, BESIDE, read)
    read.things["picture"] += len(package.matching(r"xl/media/.*"))
    return read


class _Book(Handler):
    """The sheets in their order, and the day from which dates are counted."""

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str]] = []
        self.epoch = datetime(1899, 12, 30)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet":
            self.sheets.append((attributes.get("name", ""), attributes.get("r:id", "")))
        elif name == "workbookPr" and attributes.get("date1904") in ("1", "true"):
            self.epoch = datetime(1904, 1, 1)


class _Formats(Handler):
    """Which formats of cells are those of dates."""

    def __init__(self) -> None:
        self.codes: dict[str, str] = {}
        self.used: list[str] = []
        self.inside = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        number = attributes.get("numFmtId", "0")
        if name == "numFmt":
            self.codes[number] = attributes.get("formatCode", "")
        elif name == "cellXfs":
            self.inside = True
        elif name == "xf" and self.inside:
            self.used.append(number)

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self.inside = False

    def dates(self) -> set[str]:
        """Numbers of styles, as cells name them, that show a date or a time."""
        kinds = {str(number) for number in DATES} - self.codes.keys()
        for number, code in self.codes.items():
            if re.search(r"[dmyhs]", CODE.sub("", code), re.IGNORECASE):
                kinds.add(number)
        return {str(place) for place, number in enumerate(self.used) if number in kinds}


class _Strings(Handler):
    """Texts that cells name by their number."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.parts: list[str] = []
        self.inside: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.inside.append(name)

    def end(self, name: str) -> None:
        self.inside.pop()
        if name == "si":
            self.found.append("".join(self.parts))
            self.parts.clear()

    def text(self, text: str) -> None:
        if self.inside[-1] == "t" and "rPh" not in self.inside:  # how Japanese is pronounced
            self.parts.append(text)


class _Sheet(Handler):
    """The rows of a sheet."""

    def __init__(self, strings: list[str], dates: set[str], epoch: datetime) -> None:
        self.strings, self.dates, self.epoch = strings, dates, epoch
        self.rows: list[str] = []
        self.formulas = 0
        self.cells: list[str] = []
        self.cell: dict[str, str] = {}
        self.parts: dict[str, list[str]] = {"v": [], "t": [], "f": []}
        self.inside: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.inside.append(name)
        if name == "c":
            self.cell = attributes
            for part in self.parts.values():
                part.clear()

    def end(self, name: str) -> None:
        self.inside.pop()
        if name == "c":
            place = _column(self.cell.get("r", ""))
            if len(self.cells) < place <= WIDEST:
                self.cells += [""] * (place - len(self.cells))
            self.cells.append(" ".join(self._value().split()))
        elif name == "row":
            row = " | ".join(self.cells).rstrip(" |")
            if row:
                self.rows.append(row)
            self.cells = []

    def text(self, text: str) -> None:
        if self.inside[-1] in self.parts and "rPh" not in self.inside:
            self.parts[self.inside[-1]].append(text)

    def _value(self) -> str:
        value, text, formula = ("".join(self.parts[part]) for part in ("v", "t", "f"))
        kind = self.cell.get("t", "n")
        if formula and not value and not text:
            return f"={formula}"
        self.formulas += weight(formula)
        if kind == "s":
            known = value.strip().isdecimal() and int(value) < len(self.strings)
            return self.strings[int(value)] if known else ""
        if kind == "b":
            return "TRUE" if value == "1" else "FALSE"
        if kind == "n" and value:
            return self._number(value)
        return text or value

    def _number(self, value: str) -> str:
        try:
            number = float(value)
            if self.cell.get("s") in self.dates:
                moment = self.epoch + timedelta(seconds=round(number * 86_400))
                if number < 1:
                    return moment.strftime("%H:%M:%S")
                return moment.isoformat(" ").removesuffix(" 00:00:00")
            return f"{number:.15g}"
        except (ValueError, OverflowError):
            return value


def _column(place: str) -> int:
    """Columns before the cell that is named so: "C7" has two."""
    column = 0
    for letter in place[:3]:
        if not "A" <= letter <= "Z":
            break
        column = column * 26 + ord(letter) - 64
    return max(column - 1, 0)
