"""Zip files of XML, as office programs and electronic books write them, in a bounded stream.

What such a file inflates to is counted while it inflates, whatever its directory says, and no
entities are declared in it: so a small file takes neither much memory nor much time.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from xml.parsers import expat

from pxvm.learning.errors import UnreadableError

MOST = 128 << 20  # bytes that all parts together may inflate to
STEP = 1 << 16
DEEPEST = 10_000  # elements inside each other


class Package:
    """The parts of a zip file, by name.

    Raises:
        UnreadableError: it is no zip file, or damaged; reading a part raises it, too.
    """

    def __init__(self, content: bytes) -> None:
        if content.startswith(b"\xd0\xcf\x11\xe0"):
            raise UnreadableError("it wants a password, or is of an old kind: save it anew")
        try:
            self._zip = zipfile.ZipFile(BytesIO(content))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise UnreadableError(f"damaged: {error}") from None
        self._left = MOST
        self.names = {info.filename: info for info in self._zip.infolist()}

    def matching(self, pattern: str) -> list[str]:
        """The names of parts that match wholly, numbers in them in order."""
        found = [name for name in self.names if re.fullmatch(pattern, name)]
        return sorted(found, key=lambda name: [int(n) for n in re.findall(r"\d{1,9}", name)])

    def steps(self, name: str) -> Iterator[bytes]:
        """The bytes of a part, a little at a time; none if there is no such part."""
        if name not in self.names:
            return
        try:
            with self._zip.open(name) as part:
                while step := part.read(STEP):
                    self._left -= len(step)
                    if self._left < 0:
                        raise UnreadableError(f"it inflates to more than {MOST >> 20} MiB")
                    yield step
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            raise UnreadableError(f"damaged: {error}") from None
        except (RuntimeError, NotImplementedError) as error:  # a password, an unknown compression
            raise UnreadableError(f"it cannot be opened: {error}") from None

    def bytes(self, name: str) -> bytes:
        """The bytes of a part."""
        return b"".join(self.steps(name))

    def parse(self, name: str, handler: Handler) -> None:
        """Tell a handler what is in a part of XML."""
        handler.parse(self.steps(name))

    def relations(self, name: str) -> dict[str, str]:
        """Ids in a part -> the parts they stand for."""
        folder, _, file = name.rpartition("/")
        found = Relations(folder)
        self.parse(f"{folder}/_rels/{file}.rels", found)
        return found.targets


class Handler:
    """Takes what begins and ends in XML, by names without their namespaces."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, text: str) -> None:
        """Characters between elements."""

    def parse(self, steps: Iterator[bytes]) -> None:
        """Read XML.

        Raises:
            UnreadableError: it is damaged, or declares entities.
        """
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        depth = 0

        def start(name: str, attributes: dict[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > DEEPEST:
                raise UnreadableError("nested too deeply")
            self.start(name.rpartition(" ")[2], {_plain(k): v for k, v in attributes.items()})

        def end(name: str) -> None:
            nonlocal depth
            depth -= 1
            self.end(name.rpartition(" ")[2])

        def refuse(*_: Any) -> None:
            raise UnreadableError("damaged: it declares entities")

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.CharacterDataHandler = self.text
        parser.EntityDeclHandler = refuse
        try:
            empty = True
            for step in steps:
                parser.Parse(step, False)
                empty = False
            if not empty:
                parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise UnreadableError(f"damaged: {error}") from None


def _plain(name: str) -> str:
    """A name without its namespace; the id of a relation is no other id."""
    space, _, local = name.rpartition(" ")
    return f"r:{local}" if space.endswith("relationships") else local


class Relations(Handler):
    """What the ids in a part of an office file stand for."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.targets: dict[str, str] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship" and attributes.get("TargetMode") != "External":
            target = posixpath.join("/", self.folder, attributes.get("Target", ""))
            self.targets[attributes.get("Id", "")] = posixpath.normpath(target).lstrip("/")
