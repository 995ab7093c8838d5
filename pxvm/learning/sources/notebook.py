"""Jupyter notebooks to blocks: cells and what they printed, as Markdown, without pictures."""

from __future__ import annotations

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
SHOWN = ("text/markdown", "text/plain", "text", "text/latex", "text/html")  # the better first


def read_notebook(text: str) -> Read:
    """Blocks of a notebook under the headings of its Markdown.

    Raises:
        UnreadableError: it is no notebook.
    """
    try:
        book = parse(text)
        language = book.get("metadata", {}).get("language_info", {}).get("name", "")
        cells = _Cells(str(language))
        for cell in book.get("cells") or [c for s in book["worksheets"] for c in s["cells"]]:
            cells.add(cell)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UnreadableError("damaged: no notebook in it") from None
    read = read_markdown("\n\n".join(cells.parts))
    cells.read.left[FIELDS] += max(0, leaves(book) - cells.kept - cells.read.left.total())
    read.take(cells.read)
    return read


class _Cells:
    """Gathers the Markdown of cells, and what is left out of them."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.parts: list[str] = []
        self.read = Read()
        self.kept = 0

    def add(self, cell: dict[str, Any]) -> None:
        """Take a cell."""
        source = self._said(cell.get("source", cell.get("input", "")))
        if cell["cell_type"] == "code":
            self._fence(source, self.language)
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
            self._fence(said, "")
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
            self._fence(ESCAPE.sub("", said), "")
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

    def _fence(self, text: str, language: str) -> None:
        """Add lines that stay as they are, between marks that do not come in them."""
        if text.strip():
            longest = max(map(len, re.findall("`{3,}", text)), default=2)
            marks = "`" * (longest + 1)
            self.parts.append(f"{marks}{language}\n{text.strip(chr(10))}\n{marks}")
