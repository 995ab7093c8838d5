"""Text that flows through tags, to blocks: what HTML and the files of office programs share.

A reader walks its tree and says what begins and ends; nothing here calls itself, so that no depth
is too deep, and nothing is copied more than once, so that a text never grows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pxvm.learning.sources.blocks import MARKS, Outline, Read, weight

TITLES = "titles that stand there twice"
LONG_CELL = 2_000  # characters of a cell: such a table lays out a page


@dataclass
class _Table:
    """Rows so far; ``laid`` if it lays out a page, so that its cells are text like any other."""

    rows: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    cell: list[str] | None = None
    heads: int = 0
    is_head: bool = True
    laid: bool = False


@dataclass
class _List:
    """Lines so far, how deep the list is, and whether an item has just begun."""

    lines: list[str] = field(default_factory=list)
    depth: int = 0
    fresh: bool = False


class Flow:
    """Gathers blocks from what begins, is said and ends.

    Attributes:
        read: gets what is left out.
        outline: gets the blocks.
    """

    def __init__(self, read: Read, outline: Outline) -> None:
        self.read, self.outline = read, outline
        self._open: list[str] = []  # the paragraph that is open
        self._inside: list[_Table | _List] = []
        self._dropped: list[str] = []  # why what is inside is left out
        self._title: int | None = None  # the depth of the heading that is open
        self._code = 0
        self._notes = 0

    def drop(self, reason: str) -> None:
        """Leave out what follows, up to ``undrop``."""
        self._dropped.append(reason)

    def undrop(self) -> None:
        """End what is left out."""
        self._dropped.pop()

    def thing(self, name: str) -> None:
        """Count what has no characters."""
        if not self._dropped:
            self.read.things[name] += 1

    def text(self, text: str) -> None:
        """Words, or the white space between them."""
        if self._dropped:
            self.read.left[self._dropped[0]] += weight(text)
        else:
            self._open.append(text if self._code else text.replace("\n", " "))

    def line_end(self) -> None:
        """Begin a new line in the paragraph."""
        if not self._dropped:
            self._open.append("\n")

    def block(self) -> None:
        """A paragraph ends, and perhaps another begins."""
        if self._dropped or self._code:
            return
        if self._notes or (self._title is not None and not "".join(self._open).strip()):
            self._open.append(" ")
            return
        if self._title is not None:
            self.end_heading()
        self._flush()

    def heading(self, depth: int) -> None:
        """A heading begins."""
        if not self._dropped:
            self._big()
            self._title = depth

    def end_heading(self) -> None:
        """A heading ends, unless a paragraph inside it has ended it."""
        if self._dropped or self._title is None:
            return
        said, depth, self._title = "".join(self._open), self._title, None
        self._open.clear()
        title = " ".join(said.split()).rstrip("¶ ")  # the mark of a permanent link
        self.read.left[MARKS] += weight(said) - weight(title)
        if title and title in self.outline.path:
            self.outline.close(max(depth, 1))
            self.read.left[TITLES] += weight(title)
        else:
            self.outline.heading(depth, title)

    def code(self) -> None:
        """Lines begin that stay as they are."""
        if not self._dropped:
            if not self._code:
                self._big()
            self._code += 1

    def end_code(self) -> None:
        """Such lines end."""
        if not self._dropped:
            self._code -= 1
            if not self._code:
                self.outline.add("".join(self._open), whole=True)
                self._open.clear()

    def table(self) -> None:
        """A table begins; one inside a cell makes that a page that is laid out."""
        if not self._dropped and not self._code:
            if any(isinstance(outer, _Table) for outer in self._inside):
                self._big()
            else:
                self.block()
                self._emit_lists()
            self._inside.append(_Table())

    def end_table(self) -> None:
        """A table ends."""
        if not self._dropped and not self._code:
            self.end_row()
            table = self._inside.pop()
            assert isinstance(table, _Table)
            self.outline.table(table.rows, max(table.heads, 1))

    def row(self) -> None:
        """A row begins."""
        self.end_row()

    def end_row(self) -> None:
        """A row ends."""
        self.end_cell()
        table = self._table()
        if table and table.cells:
            row = " | ".join(table.cells).strip()
            if row.strip(" |"):
                table.rows.append(row)
                table.heads += table.is_head and table.heads == len(table.rows) - 1
            table.cells, table.is_head = [], True

    def cell(self, is_head: bool = False) -> None:
        """A cell begins."""
        self.end_cell()
        table = self._table()
        if table and not table.laid:
            table.cell = []
            table.is_head = table.is_head and is_head

    def end_cell(self) -> None:
        """A cell ends."""
        self.block()
        table = self._table()
        if table and table.cell is not None:
            table.cells.append(" ".join(table.cell))
            table.cell = None

    def list(self) -> None:
        """A list begins, or one inside an item."""
        self.block()
        if self._dropped or self._code or self._table_cell():
            return
        if self._inside and isinstance(inner := self._inside[-1], _List):
            inner.depth += 1
        else:
            self._inside.append(_List())

    def end_list(self) -> None:
        """A list ends."""
        self.block()
        if self._dropped or self._code or not self._inside:
            return
        inner = self._inside[-1]
        if isinstance(inner, _List):
            inner.depth -= 1
            if inner.depth < 0:
                self._emit_lists()
                self._inside.pop()

    def item(self) -> None:
        """An item of a list begins."""
        self.block()
        if not self._dropped and self._inside and isinstance(inner := self._inside[-1], _List):
            inner.fresh = True

    def note(self) -> None:
        """A note begins inside a paragraph, of which it becomes part."""
        if not self._dropped:
            self.text(" [")
            self._notes += 1

    def end_note(self) -> None:
        """Such a note ends."""
        if not self._dropped:
            self._notes -= 1
            self.text("] ")

    def close(self) -> None:
        """End everything that is open."""
        self._flush()

    def _table(self) -> _Table | None:
        inner = self._inside[-1] if self._inside else None
        return inner if isinstance(inner, _Table) and not self._dropped else None

    def _table_cell(self) -> bool:
        table = self._table()
        return table is not None and not table.laid

    def _flush(self) -> None:
        text = _lines("".join(self._open))
        self._open.clear()
        if not text.strip():
            return
        inner = next(
            (i for i in reversed(self._inside) if isinstance(i, _List) or not i.laid), None
        )
        if isinstance(inner, _Table) and inner.cell is not None:
            inner.cell.append(" ".join(text.split()))
            if len(text) > LONG_CELL:
                self._lay()
        elif isinstance(inner, _List):
            first, *more = text.split("\n")
            mark = "- " if inner.fresh else "  " if inner.lines else ""
            indent = "  " * (inner.depth if inner.fresh or inner.lines else 0)
            inner.lines.append(f"{indent}{mark}{first}")
            inner.lines += [f"{indent}  {line}" for line in more]
            inner.fresh = False
        else:
            self.outline.add(text)

    def _big(self) -> None:
        """Something comes that is no part of a list's item or a table's cell."""
        self.block()
        self._flush()
        self._emit_lists()
        self._lay()

    def _emit_lists(self) -> None:
        for inner in self._inside:
            if isinstance(inner, _List):
                self.outline.add("\n".join(inner.lines))
                inner.lines = []

    def _lay(self) -> None:
        """The tables that are open lay out a page: what they hold so far becomes text."""
        for table in self._inside:
            if isinstance(table, _Table) and not table.laid:
                self.outline.table(table.rows, max(table.heads, 1))
                self.outline.add(" | ".join(filter(str.strip, table.cells)))
                self.outline.add(" ".join(table.cell or []))
                table.rows, table.cells, table.cell, table.laid = [], [], None, True


def _lines(text: str) -> str:
    """Inline text with single spaces; line breaks stay."""
    return "\n".join(" ".join(line.split()) for line in text.split("\n")).strip("\n")
