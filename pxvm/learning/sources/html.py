"""HTML to blocks: headings, paragraphs, lists, tables and code; what only decorates is left out."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from pxvm.learning.sources.blocks import Block

if TYPE_CHECKING:
    from bs4 import Tag

DROPPED = ("script", "style", "noscript", "template", "svg", "nav", "iframe", "form", "button")
HEADINGS = {f"h{depth}": depth for depth in range(1, 7)}
INLINE = re.compile(
    "a|abbr|b|bdi|bdo|cite|code|data|del|dfn|em|font|i|img|ins|kbd|label|mark|q|s|samp|small|span"
    "|strong|sub|sup|time|tt|u|var|wbr"
)


def read_html(text: str) -> list[Block]:
    """Blocks under their headings, as plain text; the page's title stands above all."""
    import bs4

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # XHTML is read as HTML; the parser says so each time
        soup = bs4.BeautifulSoup(text, "html.parser")
    page = " ".join(soup.title.get_text().split()) if soup.title else ""
    for tag in soup.find_all(DROPPED):
        tag.decompose()
    root = soup.find("main") or soup.find("article") or soup.body or soup
    walk = _Walk(page)
    walk.children(root)
    walk.close()
    return walk.blocks


class _Walk:
    """The headings above, and the inline text of the paragraph that is open."""

    def __init__(self, page: str) -> None:
        self.blocks: list[Block] = []
        self.path: list[tuple[int, str]] = [(0, page)] if page else []
        self.open: list[str] = []

    def close(self, whole: bool = False) -> None:
        """End the open paragraph."""
        text = "".join(self.open)
        text = text.strip("\n").rstrip() if whole else _lines(text)
        self.open.clear()
        if text.strip():
            self.blocks.append(Block(text, tuple(title for _, title in self.path), whole))

    def children(self, tag: Tag) -> None:
        """Everything inside a container, in order."""
        from bs4.element import NavigableString, PreformattedString, Tag

        for child in tag.children:
            if isinstance(child, Tag):
                self.tag(child)
            elif isinstance(child, NavigableString) and not isinstance(child, PreformattedString):
                self.open.append(child.replace("\n", " "))  # no comments, no declarations

    def tag(self, tag: Tag) -> None:
        name = tag.name
        if name == "br":
            self.open.append("\n")
        elif INLINE.fullmatch(name):
            self.children(tag)
        elif name in HEADINGS:
            self.close()
            title = " ".join(tag.get_text().split()).rstrip("¶ ")  # the mark of a permanent link
            self.path = [(depth, t) for depth, t in self.path if depth < HEADINGS[name]]
            if title and title not in (t for _, t in self.path):
                self.path.append((HEADINGS[name], title))
        elif name in ("pre", "table") or (name in ("ul", "ol") and not tag.find(("pre", "table"))):
            self.close()
            reader = {"pre": _code, "table": _table}.get(name, _list)
            self.open.append(reader(tag))
            self.close(whole=name in ("pre", "table"))
        else:
            self.close()
            self.children(tag)
            self.close()


def _lines(text: str) -> str:
    """Inline text with single spaces; line breaks and the indentation of lists stay."""
    kept = []
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" ")) if line.lstrip(" ").startswith("- ") else 0
        kept.append(" " * indent + " ".join(line.split()))
    return "\n".join(kept).strip("\n")


def _code(tag: Tag) -> str:
    return tag.get_text()


def _table(tag: Tag) -> str:
    rows = [
        " | ".join(" ".join(cell.get_text(" ").split()) for cell in row.find_all(["th", "td"]))
        for row in tag.find_all("tr")
    ]
    return "\n".join(row for row in rows if row.strip(" |"))


def _list(tag: Tag, depth: int = 0) -> str:
    """A list as lines that begin with a dash, inner lists indented."""
    lines = []
    for item in tag.find_all("li", recursive=False):
        below = [sub for sub in item.find_all(["ul", "ol"]) if sub.find_parent("li") is item]
        inner = [_list(sub, depth + 1) for sub in below]
        for sub in below:
            sub.extract()
        lines.append("  " * depth + "- " + " ".join(item.get_text(" ").split()))
        lines += [text for text in inner if text]
    return "\n".join(lines)
