"""Jupyter notebooks to blocks: cells and what they printed, as Markdown, without pictures."""

from __future__ import annotations

import json
import re
from typing import Any

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import Read, weight
from pxvm.learning.sources.html import read_html
from pxvm.learning.sources.markdown import read_markdown
from pxvm.learning.sources.structured import leaves, parse

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # colours of a terminal
PICTURES = "pictures as text"
VERSIONS = "other versions of outputs"
FIELDS = "numbers and settings of notebooks"
FAULTS = (ValueError, KeyError, TypeError, AttributeError)  # of what is not made as it should be
SHOWN = ("text/markdown", "text/plain", "text", "text/latex", "text/html")  # the better first


def read_notebook(text: str) -> Read:
    """Blocks of a notebook under the headings of its Markdown.

    Raises:
        UnreadableError: it is no notebook.
    """
    try:
        book = parse(text)
        found = book.get("cells") or [c for s in book["worksheets"] for c in s["cells"]]
        cells = _Cells(_language(book))
        for cell in found:
            cells.take(cell)
    except FAULTS:
        raise UnreadableError("damaged: no notebook in it") from None
    read = read_markdown("\n\n".join(cells.parts))
    cells.read.left[FIELDS] += max(0, leaves(book) - cells.kept - cells.read.left.total())
    read.take(cells.read)
    return read


def _language(book: dict[str, Any]) -> str:
    """Of the code in a notebook; "" where it does not say so."""
    try:
        return str(book["metadata"]["language_info"]["name"])
    except FAULTS:
        return ""


class _Cells:
    """Gathers the Markdown of cells, and what is left out of them."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.parts: list[str] = []
        self.read = Read()
        self.kept = 0

    def take(self, cell: Any) -> None:
        """Take a cell; one that is damaged stays as it stands in the file."""
        one = _Cells(self.language)
        try:
            one.add(cell)
        except FAULTS:
            one = _Cells(self.language)
            one.kept = leaves(cell)
            one.fence(json.dumps(cell, ensure_ascii=False) if cell else "", "json")
        self.parts += one.parts
        self.kept += one.kept
        self.read.take(one.read)

    def add(self, cell: dict[str, Any]) -> None:
        """Take a cell that is whole."""
        source = self._said(cell.get("source", cell.get("input", "")))
        if cell["cell_type"] == "code":
            self.fence(source, self.language)
        elif cell["cell_type"] == "heading":
            self.parts.append(f"{'#' * int(cell.get('level', 1))} {source}")
        else:
            self.parts.append(source)
        for data in (cell.get("attachments") or {}).values():
            self._pictures(data)
        for output in cell.get("outputs") or ():
            self._output(output)

    def _output(self, output: dict[str, Any]) -> None:
        if output.get("output_type") in ("error", "pyerr"):
            lines = output.get("traceback") or [output.get("ename", ""), output.get("evalue", "")]
            raw = "\n".join(map(str, lines))
            said = ESCAPE.sub("", raw)
            self.kept += weight(said)
            self.fence(said, "")
            return
        data = output.get("data") or output
        shown = next((kind for kind in SHOWN if data.get(kind)), "")
        said = self._said(data.get(shown, ""))
        if shown == "text/html":
            page = read_html(said)
            self.read.take(Read(left=page.left, things=page.things))
            said = "\n\n".join(block.text for block in page.blocks)
        if shown == "text/markdown":
            self.parts.append(said)
        else:
            self.fence(ESCAPE.sub("", said), "")
        for kind in SHOWN:
            if kind != shown:
                self.read.left[VERSIONS] += leaves(data.get(kind, ""))
        self._pictures(data)

    def _pictures(self, data: dict[str, Any]) -> None:
        for kind, value in data.items():
            if kind.startswith("image/") or kind in ("png", "jpeg", "svg"):
                self.read.left[PICTURES] += leaves(value)
                self.read.things["picture"] += 1

    def _said(self, source: Any) -> str:
        text = source if isinstance(source, str) else "".join(source)
        self.kept += weight(text)
        return text

    def fence(self, text: str, language: str) -> None:
        """Add lines that stay as they are, between marks that do not come in them."""
        if text.strip():
            longest = max(map(len, re.findall("`{3,}", text)), default=2)
            marks = "`" * (longest + 1)
            self.parts.append(f"{marks}{language}\n{text.strip(chr(10))}\n{marks}")
