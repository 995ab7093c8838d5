"""What the turns of a conversation say, out of whatever fields an export keeps it in.

Words are kept: text, what was attached, what a tool was asked and gave. Ids, numbers and flags
around them are left out and counted, as are words that stand there twice.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from pxvm.learning.sources.blocks import weight
from pxvm.learning.sources.structured import leaves

FIELDS = "ids, numbers and flags of conversations"
TWICE = "words that stand there twice"
DATA = "data that is no text"
PICTURES = re.compile(r"image|picture|photo|audio|video")
LONG = 1_000  # characters without a space that are no words
#: Fields that hold what is said, the more usual first; and others that hold words.
CONTENT = ("content", "value", "text", "message", "parts", "body")
TEXTS = (*CONTENT, "thinking", "extracted_content", "input", "arguments", "output", "result",
         "summary", "title", "steps")  # fmt: skip
#: Fields of a turn that say nothing in words.
ABOUT = ("senderInfo", "user_profile", "annotations", "attachments", "files", "steps")
FILES = ("attachments", "files")
SENT = ("photo", "file")  # hold the path of what was sent
NAMES = ("file_name", "filename", "fileName", "fileIdentifier", "name", "title", "file", "url")
#: Fields whose words say how an answer was made, not what it says.
SETTINGS = {
    "metadata", "type", "content_type", "style", "genInfo", "debugInfo", "perChatPredictionConfig",
    "lastUsedModel", "prompt_json", "options_json", "response_json", "schema_json", "safe_urls",
    "params", "usage", "mime_type", "fileType", "finish_reason",
}  # fmt: skip
WORDS = re.compile(r"\S\s\S|[^\x00-\x7f]")  # more than an id or a flag
WORD = re.compile(rf"{WORDS.pattern}|^[^\W\d_][^\W\d_'-]+$")


class Saying:
    """Gathers words, and counts.

    Attributes:
        kept: characters of values that were kept.
        left: characters that were left out, by what they are.
        things: what has no characters, by its name.
    """

    def __init__(self, left: Counter[str], things: Counter[str]) -> None:
        self.kept, self.left, self.things = 0, left, things

    def keep(self, text: str) -> str:
        """Count a text as kept."""
        self.kept += weight(text)
        return text

    def leave(self, value: Any, reason: str) -> None:
        """Count a value as left out."""
        self.left[reason] += leaves(value)

    def unkeep(self, text: str, reason: str) -> None:
        """Count a text as left out that was counted as kept."""
        self.kept -= weight(text)
        self.left[reason] += weight(text)

    def turn(self, turn: dict[str, Any], known: set[str]) -> str:
        """The words of a turn, and of what is attached to it."""
        texts: list[str] = []
        for key in (*CONTENT, "steps"):
            self._add(self.of(turn.get(key) or ""), texts)
        about = turn.get("metadata")
        self._files(turn, texts)
        self._files(about if isinstance(about, dict) else {}, texts)
        for key in SENT:
            if isinstance(turn.get(key), str) and turn[key]:
                self._add(self.attachment({"name": turn[key]}), texts)
        gone = known.union(CONTENT, ABOUT, SENT) - {"title", "tags", "language"}
        rest = {k: v for k, v in turn.items() if k not in gone}
        self._add(self.of(rest, "\n".join(texts)), texts)
        return "\n\n".join(filter(None, texts))

    def about(self, item: dict[str, Any], used: set[str], said: str, words: bool = False) -> str:
        """What stands with a conversation, or with a question and its answer, and is not ``said``
        already: any words, files, and what was noted of it."""
        texts = [said]
        self._files(item, texts)
        rest = {k: v for k, v in item.items() if k not in used.union(FILES, ("metadata",))}
        for some in (rest, item.get("metadata")):
            if isinstance(some, dict):
                self._add(self.of(some, said, words), texts)
        return "\n\n".join(texts[1:])

    def _files(self, item: dict[str, Any], texts: list[str]) -> None:
        for key in FILES:
            for file in item[key] if isinstance(item.get(key), list) else ():
                self._add(self.attachment(file), texts)

    def _add(self, text: str, texts: list[str]) -> None:
        if text and any(text in other for other in texts):
            self.unkeep(text, TWICE)
        elif text:
            texts.append(text)

    def attachment(self, item: Any) -> str:
        """The name of something attached and its text, if the export has it."""
        if not isinstance(item, dict):
            return self.of(item)
        name, things = first(item, NAMES), self.things.total()
        said = self.of({k: v for k, v in item.items() if k not in ("id", "meta") and v != name})
        self.keep(name)
        if not said and self.things.total() == things:
            self.things["attachment"] += 1
        return "\n".join(filter(None, [f"[{name}]" if name else "", said]))

    def of(self, value: Any, said: str = "", words: bool = False) -> str:
        """The words of a value; those that are in ``said`` already are not taken again.

        Args:
            words: a single word counts, too, whatever its field is called.

        Raises:
            RecursionError: it is nested too deeply.
        """
        if isinstance(value, str):
            return self.keep(value.strip())
        if isinstance(value, list):
            spans = any(isinstance(item, str) for item in value) and any(
                isinstance(item, dict) and isinstance(item.get("text"), str) for item in value
            )
            parts = [self.keep(v) if isinstance(v, str) else self.of(v, said, words) for v in value]
            return ("" if spans else "\n\n").join(filter(None, parts)).strip()
        if not isinstance(value, dict):
            return ""
        kind = first(value, ("type", "content_type", "mime_type", "media_type"))
        if PICTURES.search(kind) and not isinstance(value.get("text"), str):
            self.things["picture" if "image" in kind else "recording"] += 1
        if kind == "file" and first(value, NAMES):
            return self.attachment({**value, "type": ""})
        lines = []
        for key, inner in value.items():
            if key in SETTINGS:
                continue
            if not isinstance(inner, str):
                lines.append(self.of(inner, said, words))
            elif inner.strip() and said and inner.strip() in said:
                self.leave(inner, TWICE)
            elif key in TEXTS:
                lines.append(self.of(inner))
            elif len(inner) > LONG and not re.search(r"\s|[^\x00-\x7f]", inner):
                self.leave(inner, DATA)
            elif (WORD if words else WORDS).search(inner.strip()):
                lines.append(f"{key}: {self.keep(inner.strip())}")
        return "\n".join(filter(None, lines))


def first(item: dict[str, Any], keys: tuple[str, ...]) -> str:
    """The first of these fields that holds a text, or a number as it stands."""
    found = (item[key] for key in keys if isinstance(item.get(key), (str, int, float)))
    return next((str(value) for value in found if value and value is not True), "")
