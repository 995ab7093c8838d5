"""Electronic books to blocks: their pages in the order of reading."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import Read
from pxvm.learning.sources.encoding import decode
from pxvm.learning.sources.html import read_html
from pxvm.learning.sources.packages import Handler, Package


def read_epub(content: bytes) -> Read:
    """Blocks of a book, under its title and those of its pages."""
    package, read, found = Package(content), Read(), _Contents()
    package.parse("META-INF/container.xml", found)
    package.parse(found.place, found)
    folder = found.place.rpartition("/")[0]
    above = (" ".join("".join(found.title).split()),) if "".join(found.title).strip() else ()
    for number in found.order:
        page = posixpath.normpath(posixpath.join(folder, unquote(found.pages.get(number, ""))))
        if page in package.names:
            read.take(read_html(decode(package.bytes(page))), above)
    if not found.order:
        raise UnreadableError("damaged: no pages in it")
    read.things["unlinked page"] += len(found.pages.keys() - {*found.order})
    return read


class _Contents(Handler):
    """Where the pages stand, and in which order they are read."""

    def __init__(self) -> None:
        self.place = ""
        self.title: list[str] = []
        self.pages: dict[str, str] = {}
        self.order: list[str] = []
        self.inside = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.inside = name
        if name == "rootfile" and not self.place:
            self.place = attributes.get("full-path", "")
        elif name == "item" and "html" in attributes.get("media-type", ""):
            self.pages[attributes.get("id", "")] = attributes.get("href", "")
        elif name == "itemref":
            self.order.append(attributes.get("idref", ""))

    def end(self, name: str) -> None:
        self.inside = ""

    def text(self, text: str) -> None:
        if self.inside == "title" and not self.order:
            self.title.append(text)
