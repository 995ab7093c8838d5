"""What readers left out of documents, told in a line or two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pxvm.terminal import counted, echo_json

if TYPE_CHECKING:
    from pxvm.learning.sources.documents import Document, Skipped

SHOWN = 8  # kinds of what was left out, and files whose encoding was guessed


class LeftOut:
    """Adds up what was left out of the documents that pass by."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.characters: Counter[str] = Counter()
        self.documents: Counter[str] = Counter()
        self.things: Counter[str] = Counter()
        self.guessed: dict[str, list[str]] = {}

    def noted(self, documents: Iterable[Document | Skipped]) -> Iterator[Document | Skipped]:
        """The same documents; with JSON, each that misses something is told."""
        from pxvm.learning.sources.documents import Document

        for document in documents:
            if isinstance(document, Document) and (
                document.left or document.things or document.encoding
            ):
                self._add(document)
            yield document

    def _add(self, document: Document) -> None:
        self.characters += document.left
        self.documents.update(document.left.keys())
        self.things += document.things
        if document.encoding:
            self.guessed.setdefault(document.encoding, []).append(document.source)
        if self.as_json:
            data = {"characters": dict(document.left), "things": dict(document.things)}
            encoding = {"encoding": document.encoding} if document.encoding else {}
            echo_json({"left": {"path": document.path, **data, **encoding}}, indent=None)

    def as_data(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "characters": dict(self.characters),
            "things": dict(self.things),
            "guessed": {encoding: len(files) for encoding, files in self.guessed.items()},
        }

    def lines(self) -> Iterator[str]:
        """All of it, for people: marks of headings are no loss to them."""
        from pxvm.learning.sources.blocks import MARKS

        kinds = [(kind, n) for kind, n in self.characters.most_common() if kind != MARKS]
        parts = []
        for number, (kind, count) in enumerate(kinds[:SHOWN]):
            unit = " characters" if not number else ""
            where = counted(self.documents[kind], "document")
            parts.append(f"{count:,}{unit} of {kind} in {where}")
        if len(kinds) > SHOWN:
            parts.append(f"{sum(n for _, n in kinds[SHOWN:]):,} of {len(kinds) - SHOWN} more kinds")
        parts += [counted(count, kind) for kind, count in self.things.most_common(SHOWN)]
        if parts:
            yield f"left out: {', '.join(parts)}"
        for encoding, files in sorted(self.guessed.items()):
            more = f" and {len(files) - SHOWN:,} more" if len(files) > SHOWN else ""
            yield f"read as {encoding}: {', '.join(files[:SHOWN])}{more}"
