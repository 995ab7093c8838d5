"""What a tokenizer's JSON may say, checked before the `tokenizers` library sees it.

The library trusts its files: some make it panic, abort the process, take memory without end or
search for hours. Refused here is what could; what only takes long is stopped by ``guard.timed``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from reprlib import repr as brief
from typing import Any

from pxvm.core.errors import FormatError
from pxvm.models.text.guard import guarded

MAX_PARTS = 64  # normalizers, pre-tokenizers, processors, decoders, each with those inside
MAX_GROWTH = 128  # characters for each of a text
MAX_PIECE = 4096  # characters of a token
MAX_ADDED = 1 << 14  # tokens beside the vocabulary, and
MAX_ADDED_TEXT = 1 << 20  # their characters
MAX_PATTERN = 4096
MAX_WORD = 1000  # characters that WordPiece looks at together, for which it takes their square
MAX_AFFIX = 64  # characters or tokens put around a text
MAX_RUN = 40  # bytes that stand for a character in a precompiled table
# How many characters each part makes of one; parts that are not named here are refused.
GROWTH = {
    "BertNormalizer": 2, "BertPreTokenizer": 1, "BPEDecoder": 1, "ByteFallback": 1, "ByteLevel": 2,
    "CTC": 1, "CharDelimiterSplit": 1, "Digits": 1, "Fuse": 1, "Lowercase": 1, "Metaspace": 3,
    "NFC": 1, "NFD": 1, "NFKC": 1, "NFKD": 1, "Nmt": 1, "Precompiled": 11, "Prepend": 1,
    "Punctuation": 1, "Replace": 1, "Split": 1, "Strip": 1, "StripAccents": 1, "UnicodeScripts": 1,
    "Whitespace": 1, "WhitespaceSplit": 1, "WordPiece": 1,
}  # fmt: skip


class Bounds:
    """Checks one tokenizer.

    Args:
        raw: its JSON.
        where: the file, for messages.
        vocab: rows of the model's embedding, or None where that is not known.

    Attributes:
        searching: the stages that look for a regular expression, which may take any time; known
            when they are checked.
    """

    def __init__(self, raw: Mapping[str, Any], where: str, vocab: int | None = None) -> None:
        self.raw, self.where = raw, where
        self.vocab = vocab or 1 << 31
        self.searching = set[str]()

    def error(self, what: str, expected: str, found: Any) -> FormatError:
        return FormatError(f"{self.where}: {what}: expected {expected}; found {brief(found)}")

    def check(self) -> None:
        """Raises FormatError naming the part that would do harm."""
        self._model()
        self._added()
        for stages in (("normalizer", "pre_tokenizer"), ("decoder",)):
            self.parts, growth = 0, 1
            for stage in stages:
                growth *= self._growth(stage, self.raw.get(stage))
            if growth > MAX_GROWTH:
                raise self.error(stages[0], f"at most {MAX_GROWTH} characters for one", growth)
        self.parts = 0
        self._processor(self.raw.get("post_processor"))

    def _object(self, what: str, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self.error(what, "a JSON object", value)
        return value

    def _text(self, what: str, value: Any, most: int = MAX_AFFIX) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise self.error(what, f"a text of at most {most} characters", value)
        return value

    def _number(self, what: str, value: Any) -> int:
        """The number of a token."""
        if type(value) is not int or not 0 <= value < self.vocab:
            expected = f"tokens below {self.vocab}, the rows of the embedding"
            raise self.error(what, expected, value)
        return value

    # Tokens

    def _model(self) -> None:
        model = self._object("model", self.raw.get("model"))
        vocabulary: Any = model.get("vocab")
        if model.get("type") == "Unigram":
            pieces: list[Any] = [
                entry[0] if isinstance(entry, list) and entry else None
                for entry in vocabulary or ()
            ]
            numbers: Any = range(len(pieces))
            unknown = model.get("unk_id")
            if unknown is not None and (type(unknown) is not int or not 0 <= unknown < len(pieces)):
                raise self.error("model: unk_id", "the number of a piece", unknown)
        else:
            pieces = list(self._object("model: vocab", vocabulary))
            numbers = vocabulary.values()
            unknown = model.get("unk_token")
            if unknown not in vocabulary and model.get("type") != "BPE":
                raise self.error("model: unk_token", "a token of the vocabulary", unknown)
        if set(map(type, pieces)) - {str} or max(map(len, pieces), default=0) > MAX_PIECE:
            for piece in pieces:
                self._text("model: vocab", piece, MAX_PIECE)
        if set(map(type, numbers)) - {int} or not _within(numbers, self.vocab):
            for number in numbers:
                self._number("model: vocab", number)
        if (model.get("max_input_chars_per_word") or 0) > MAX_WORD:
            raise self.error("model: max_input_chars_per_word", f"at most {MAX_WORD}", model)
        if model.get("dropout"):
            raise self.error("model: dropout", "none", model["dropout"])
        if prefix := model.get("continuing_subword_prefix"):
            self._prefixed(self._text("model: prefix", prefix), model.get("merges") or ())

    def _prefixed(self, prefix: str, merges: Sequence[Any]) -> None:
        """The library cuts the prefix off every right half, whether it is there or not."""
        for merge in merges:
            right = merge.partition(" ")[2] if isinstance(merge, str) else merge[-1:]
            if not "".join(map(str, right)).startswith(prefix):
                raise self.error("model: merges", f"right halves that begin with {prefix!r}", merge)

    def _added(self) -> None:
        added = self.raw.get("added_tokens") or []
        if not isinstance(added, list) or len(added) > MAX_ADDED:
            raise self.error("added_tokens", f"a list of at most {MAX_ADDED} tokens", added)
        total = 0
        for token in added:
            entry = self._object("added_tokens", token)
            total += len(self._text("added_tokens", entry.get("content"), MAX_PIECE))
            self._number("added_tokens", entry.get("id"))
        if total > MAX_ADDED_TEXT:
            raise self.error("added_tokens", f"at most {MAX_ADDED_TEXT} characters", total)

    # Parts

    def _growth(self, what: str, part: Any) -> int:
        """How many characters a part and those inside make of one."""
        if part is None:
            return 1
        part = self._object(what, part)
        kind = part.get("type")
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise self.error(what, f"at most {MAX_PARTS} parts", "more")
        if kind == "Sequence":
            growth = 1
            for inner in part.get(f"{what}s") or part.get("pretokenizers") or ():
                growth *= self._growth(what, inner)
            return growth
        if kind not in GROWTH:
            raise self.error(what, f"one of {', '.join(sorted(GROWTH))}", kind)
        for key in ("prepend", "prefix", "suffix", "content"):
            if isinstance(part.get(key), str):
                self._text(f"{what}: {key}", part[key])
        if "pattern" in part:
            return self._pattern(what, part["pattern"], str(part.get("content") or ""))
        if kind == "Precompiled":
            self._table(what, part.get("precompiled_charsmap"))
        return GROWTH[kind]

    def _pattern(self, what: str, pattern: Any, content: str) -> int:
        """What replacing a pattern makes of a character."""
        entry = self._object(f"{what}: pattern", pattern)
        if "String" in entry:
            text = self._text(f"{what}: pattern", entry["String"], MAX_PATTERN)
            if not text:
                raise self.error(f"{what}: pattern", "a text that is not empty", text)
            return -(-max(len(content), len(text)) // len(text))
        self.searching.add(what)
        text = self._text(f"{what}: pattern", entry.get("Regex"), MAX_PATTERN)
        if backtracks(text):
            raise self.error(
                f"{what}: pattern", "nothing that repeats what can match in many ways", text
            )
        return 1 + len(content)  # it may match between any two characters

    def _table(self, what: str, encoded: Any) -> None:
        """A table of SentencePiece's: the length of its tree, the tree, texts that end in zeros."""
        with guarded(f"{self.where}: {what}: precompiled_charsmap"):
            data = base64.b64decode(encoded, validate=True)
        length = int.from_bytes(data[:4], "little")
        if not 1024 <= length <= len(data) - 4 or length % 1024:
            raise self.error(f"{what}: precompiled_charsmap", "a tree of whole blocks", length)
        if max(map(len, data[4 + length :].split(b"\0"))) > MAX_RUN:
            raise self.error(what, f"texts of at most {MAX_RUN} bytes in its table", "longer ones")

    def _processor(self, part: Any) -> None:
        """What is put around a text: a few tokens of the vocabulary, and the text once."""
        what = "post_processor"
        if part is None:
            return
        part = self._object(what, part)
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise self.error(what, f"at most {MAX_PARTS} parts", "more")
        for inner in part.get("processors") or ():
            self._processor(inner)
        for key in ("sep", "cls"):
            if key in part:
                self._number(f"{what}: {key}", part[key][-1] if part[key] else None)
        if part.get("type") == "TemplateProcessing":
            self._surroundings(what, part)

    def _surroundings(self, what: str, part: Mapping[str, Any]) -> None:
        special = self._object(f"{what}: special_tokens", part.get("special_tokens"))
        texts, tokens = 0, 0
        for piece in part.get("single") or ():
            if "Sequence" in self._object(what, piece):
                texts += 1
                continue
            name: Any = self._object(what, piece.get("SpecialToken")).get("id")
            if name not in special:
                raise self.error(what, "tokens that special_tokens explains", name)
            ids = self._object(what, special[name]).get("ids") or ()
            tokens += len([self._number(what, number) for number in ids])
        if texts != 1 or tokens > MAX_AFFIX:
            raise self.error(what, f"the text once and at most {MAX_AFFIX} tokens", (texts, tokens))


def _within(numbers: Collection[int], stop: int) -> bool:
    return not numbers or (min(numbers) >= 0 and max(numbers) < stop)


QUANTIFIER = re.compile(r"[*+?]|\{\d*,?\d*\}")
OPENING = re.compile(r"\(\?(?:[imx-]*[:)]|[=!>]|<[=!]|#[^)]*\)|<\w+>|'\w+')?|\(")
CLASS = re.compile(r"\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]", re.DOTALL)


def backtracks(pattern: str) -> bool:
    """Whether a pattern repeats a group that can match one text in several ways.

    Such a search may take a time exponential in the text's length. Also True for back references
    and for what is not understood.
    """
    outer, loose, at = list[bool](), False, 0  # loose: what is in this group matches in many ways
    while at < len(pattern):
        mark, inside = pattern[at], False
        at += 1
        if mark == "\\":
            if pattern[at : at + 1] in ("k", "g", *"123456789"):
                return True
            at += 1
        elif mark in "[(":
            found = (CLASS if mark == "[" else OPENING).match(pattern, at - 1)
            if found is None or found.group() == "(?":
                return True
            at = found.end()
            if mark == "(" and not found.group().endswith(")"):
                outer.append(loose)
                loose = False
        elif mark == ")":
            if not outer:
                return True
            inside = loose
            loose |= outer.pop()
        elif mark == "|":
            loose = True
        before = ""
        while mark not in "(|" and (found := QUANTIFIER.match(pattern, at)):
            text, at = found.group(), found.end()
            if before and not (text in "+?" and before in "*+?"):  # greedy or not is no repetition
                return True
            if inside and text != "?":
                return True
            loose |= not text.strip("{}").isdigit()
            before = text
    return bool(outer)
