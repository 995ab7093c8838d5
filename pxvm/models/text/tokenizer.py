"""Text to tokens and back: vocabulary, merges, special tokens and chat template in the picture.

A program that takes text carries two constant RGBA tensors, plain bytes four to a pixel:

    tokenizer   the `tokenizers` library's JSON, deflated (zlib)
    settings    JSON: {"bos", "add_bos", "stops", "template", "limit"}; see ``Settings``

Nothing else is needed to speak with a model. Both are checked for size before they are unpacked,
and the template runs in a sandbox (``template``).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from pxvm.core import installation
from pxvm.core.errors import FormatError, ProgramError
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role, tensor_words
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.fields import fields as named
from pxvm.models.text import building
from pxvm.models.text.bounds import Bounds
from pxvm.models.text.guard import LateError, guarded, reason, timed
from pxvm.models.text.template import render

ROW = 64  # words of a tensor row
MAX_JSON = 1 << 25  # bytes of a vocabulary once unpacked
MAX_LISTS = 1 << 21  # lists and objects in it: each takes 20 times its bytes
SECONDS, SPEED = 10, 50_000  # time that cutting a text may take: so much, and characters a second
MAX_SETTINGS = 1 << 20
CUT = "\ufffd"  # what is shown of a character that is cut short


@dataclass(frozen=True)
class Settings:
    """What a tokenizer's JSON does not say.

    Attributes:
        bos: the token that begins a text, if any.
        add_bos: whether a plain text gets it.
        stops: tokens that end an answer.
        template: Jinja source of the chat template.
        limit: tokens of a text at most, None where only the network limits them.
    """

    bos: int | None = None
    add_bos: bool = False
    stops: tuple[int, ...] = ()
    template: str | None = None
    limit: int | None = None


def library(name: str) -> Any:
    """A module that comes with the extra ``models``; see ``installation.library``."""
    return installation.library(name, "models")


def store_tokenizer(b: NetworkBuilder, text: str, settings: Settings) -> None:
    """Declare the two tensors.

    Args:
        text: JSON of the `tokenizers` library.
    """
    _store(b, "tokenizer", zlib.compress(text.encode(), 9))
    _store(b, "settings", json.dumps(asdict(settings), ensure_ascii=False).encode())


def _store(b: NetworkBuilder, name: str, data: bytes) -> None:
    rows = -(-len(data) // (4 * ROW))
    words = np.frombuffer(data.ljust(rows * 4 * ROW, b"\0"), "<u4").reshape(rows, ROW)
    b.tensor(name, DType.RGBA, (rows, ROW), Role.CONSTANT, data=words.astype(np.int64))


def _stored(f: Fields, name: str) -> bytes:
    d = f.descriptor(name)
    if d.dtype != DType.RGBA:
        raise ProgramError(f"{name}: expected bytes in an RGBA tensor; found {d.dtype.name}")
    return tensor_words(f.image, d, 0, d.rows).tobytes()


def load_tokenizer(image: Image | Fields, where: str = "the image") -> Tokenizer:
    """The tokenizer that a program carries.

    Args:
        where: the file, for messages.

    Raises ProgramError when it carries none, FormatError when it is damaged.
    """
    f = named(image)
    if "tokenizer" not in f:
        raise ProgramError(
            f"{where}: expected a tokenizer in the image; found none: it takes tokens only"
        )
    vocab = f.descriptor("embedding").rows if "embedding" in f else None
    unpack = zlib.decompressobj()
    try:
        text = unpack.decompress(_stored(f, "tokenizer"), MAX_JSON)
        if not unpack.eof:
            raise ValueError(f"more than {MAX_JSON} bytes, or cut short")
        raw = json.loads(_stored(f, "settings")[:MAX_SETTINGS].rstrip(b"\0"))
        settings = Settings(**raw)
        settings = Settings(**(raw | {"stops": tuple(settings.stops)}))
        _check(settings, vocab)
        return Tokenizer(text.decode(), settings, where, vocab)
    except (zlib.error, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{where}: the tokenizer is damaged: {reason(error)}") from None


def _check(settings: Settings, vocab: int | None) -> None:
    kinds = {"bos": (int, type(None)), "add_bos": (bool,), "stops": (tuple,),
             "template": (str, type(None)), "limit": (int, type(None))}  # fmt: skip
    for f in fields(settings):
        value = getattr(settings, f.name)
        if not isinstance(value, kinds[f.name]) or (f.name == "limit" and value == 0):
            raise ValueError(f"setting {f.name} is {value!r}")
    tokens = [*settings.stops, *([] if settings.bos is None else [settings.bos])]
    if not all(type(token) is int and 0 <= token < (vocab or 1 << 31) for token in tokens):
        raise ValueError(f"bos and stops are {tokens!r:.60}")


class Tokenizer:
    """Text to tokens and back, for one model.

    Args:
        text: JSON of the `tokenizers` library.
        where: the file, for messages.
        vocab: rows of the model's embedding, where they are known.

    Raises FormatError when the library cannot read it, DeviceError without the library.
    """

    def __init__(
        self, text: str, settings: Settings, where: str = "the image", vocab: int | None = None
    ) -> None:
        self.text, self.settings, self.where = text, settings, where
        self._late = False
        with guarded(f"{where}: the tokenizer is damaged"), building.uncollected():
            if text.count("[") + text.count("{") > MAX_LISTS:
                raise ValueError(f"more than {MAX_LISTS} lists")
            raw = json.loads(text)
            bounds = Bounds(raw, where, vocab)
            bounds.check()
            self._searching = bounds.searching
            self.inner = building.tokenizer(raw, text)
            self.inner.no_padding()
            self.inner.no_truncation()
            added = raw.get("added_tokens") or ()
            del raw, bounds
        self._check_added(added)

    def _check_added(self, wanted: Sequence[Mapping[str, Any]]) -> None:
        """The library counts added tokens by itself, whatever numbers they have."""
        found = self.inner.get_added_tokens_decoder()
        for token in wanted:
            number, text = token["id"], token["content"]
            if number not in found or found[number].content != text:
                raise FormatError(
                    f"{self.where}: added_tokens: expected {text[:40]!r} as token {number}; the"
                    f" library makes it {self.inner.token_to_id(text)}: number them from the end of"
                    " the vocabulary on, in order"
                )

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Tokens of a text; special tokens written in it are recognised.

        Args:
            special: also add what the model wants around a text, such as a first token.

        Raises FormatError when the tokenizer cannot cut the text, or takes far too long.
        """
        ids: list[int] = self._bounded(
            "cut this text",
            len(text),
            lambda: self.inner.encode_batch_fast([text], add_special_tokens=special)[0].ids,
        )
        bos = self.settings.bos
        if special and self.settings.add_bos and bos is not None and ids[:1] != [bos]:
            ids.insert(0, bos)
        return ids

    def encode_all(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """``encode`` of many texts; a long one loses tokens before its last until ``limit`` fit."""
        found: list[list[int]] = self._bounded(
            "cut this text",
            sum(map(len, texts)),
            lambda: [e.ids for e in self.inner.encode_batch_fast(list(texts))],
        )
        return [ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]] for ids in found]

    def _bounded(self, doing: str, length: int, call: Callable[[], Any]) -> Any:
        """What the library makes of a text, if it does so in a time that fits its length.

        What is called lets other threads run: a wait for what does not would never end.
        """
        what = f"{self.where}: the tokenizer cannot {doing}"
        if not self._searching:
            with guarded(what):
                return call()
        if self._late:
            raise LateError(f"{what}: it took too long once")
        try:
            return timed(SECONDS + length / SPEED, what, call)
        except LateError:
            self._late = True
            raise

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens; special ones are left out."""
        return str(
            self._bounded(
                "spell these tokens", len(ids), lambda: self.inner.decode_batch([list(ids)])[0]
            )
        )

    @property
    def searches_to_spell(self) -> bool:
        """Whether turning tokens into text may take any time, and is bounded by ``decode`` only."""
        return "decoder" in self._searching

    def stream(self) -> TextStream:
        """Turns tokens into text one by one."""
        return TextStream(self)

    def render(self, messages: Sequence[Mapping[str, Any]], **values: Any) -> str:
        """A conversation as the text that the model continues; see ``template.render``."""
        if self.settings.template is None:
            raise ProgramError(f"{self.where}: this model carries no chat template: use generate")
        return render(self.settings.template, messages, **self.special, **values)

    @cached_property
    def special(self) -> dict[str, str]:
        """Texts of special tokens, by the names that templates use."""
        settings, found = self.settings, {}
        for name, token in (("bos_token", settings.bos), ("eos_token", (*settings.stops, None)[0])):
            found[name] = "" if token is None else self.inner.id_to_token(token) or ""
        return found


class TextStream:
    """Text of tokens that arrive one by one: characters of several tokens come out whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._length = tokenizer, 0
        self._ids: list[int] = []
        self._steps = library("tokenizers.decoders").DecodeStream(skip_special_tokens=True)

    def put(self, token: int) -> str:
        """The text that is certain now, possibly none."""
        self._ids.append(token)
        if self._tokenizer.searches_to_spell:
            piece = self._tokenizer.decode(self._ids)[self._length :]
            piece = "" if piece.endswith(CUT) else piece
        else:
            with guarded(f"{self._tokenizer.where}: the tokenizer cannot spell token {token}"):
                piece = self._steps.step(self._tokenizer.inner, token) or ""
        self._length += len(piece)
        return str(piece)

    def finish(self) -> str:
        """What is left when no token follows: a character cut short shows as U+FFFD."""
        return self._tokenizer.decode(self._ids)[self._length :]
