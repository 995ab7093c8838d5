"""From text to vectors: the sentence embedder that is present on this machine, or none.

Vectors of two models must never be compared, even where both have one name. So a vector carries the
model's name and a *probe*: a hash of the exact integers that the model answers to a fixed sentence.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import PxvmError
from pxvm.learning.store.record import Draft, Vector
from pxvm.terminal import echo, progress

NAME = "minilm"
PROBE = "The quick brown fox jumps over the lazy dog."
#: Words of a long text that get a vector of their own, about what the model was made for, and so
#: many vectors at most go into the text's.
WORDS, WINDOWS = 160, 8

#: What tokenizers write for what they do not know.
UNKNOWN = frozenset({"[UNK]", "<unk>"})


class EmbeddingError(PxvmError, ValueError):
    """Vectors that cannot be compared."""


class Embedder:
    """A model that turns sentences into vectors of length 1.

    Attributes:
        name: of the model, as its vectors carry it.
    """

    def __init__(self, path: Path, name: str = NAME, device: str = "auto") -> None:
        self.path, self.name, self.device = path, name, device
        self._turn = threading.RLock()

    @staticmethod
    def present(device: str = "auto") -> Embedder | None:
        """The embedder whose file is on this machine, or None; none is downloaded.

        One that an older pxvm made is made anew; where that fails, a line says so, and it is None.
        None as well where the packages that it needs (the extra ``models``) are missing.
        """
        if importlib.util.find_spec("tokenizers") is None:
            return None
        from pxvm.models.download import DownloadError, cached, get

        path = cached(NAME)
        try:
            there = _as_it_is(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if there not in _USABLE:
            try:
                with progress(f"making {NAME} anew") as update:
                    get(NAME, lambda what, done, total: update(done, total, what))
            except DownloadError as error:
                echo(
                    f"note: {NAME} is of an older format, and searches go without it: {error}",
                    err=True,
                )
                return None
            _USABLE.add(_as_it_is(path))
        return _opened(path, device)

    @cached_property
    def probe(self) -> str:
        """16 hexadecimal digits that differ when the model does."""
        with self._turn:
            exact = self._model.embed([PROBE])
        return hashlib.sha256(np.ascontiguousarray(exact, "<f4").tobytes()).hexdigest()[:16]

    @property
    def dimension(self) -> int:
        """Elements of a vector."""
        return int(self._model.embedder.width)

    @cached_property
    def _model(self):  # type: ignore[no-untyped-def]
        from pxvm.models.model import Model

        return Model.open(self.path, device=self.device)

    def real(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors [n, d] of length 1; a long text's is the direction of the mean of its parts'."""
        windows = [_windows(text) for text in texts]
        with self._turn:
            found = self._model.embed([part for parts in windows for part in parts])
        starts = np.cumsum([0, *(len(parts) for parts in windows)])[:-1]
        sums = np.add.reduceat(found, starts, axis=0) if len(found) else found
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        many = np.array([len(parts) > 1 for parts in windows], bool)[:, None]
        mean: NDArray[np.float32] = np.where(many, sums / np.maximum(length, 1e-30), sums)
        return mean.astype(np.float32)

    def known(self, text: str) -> float:
        """How much of a text the model has read: 0..1, the tokens that its vocabulary has."""
        tokenizer = self._model.tokenizer
        names = [tokenizer.inner.id_to_token(i) for i in tokenizer.encode(text, special=False)]
        return 1 - sum(name in UNKNOWN for name in names) / max(len(names), 1)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text: int8 values and the scale that makes them real."""
        return [
            Vector(self.name, self.probe, values, scale)
            for values, scale in map(_quantised, self.real(texts))
        ]

    def vectors(self, drafts: Sequence[Draft]) -> list[tuple[Vector, ...]]:
        """The vectors of drafts or records, one each; none for those that have no text."""
        texts = [embedded_text(draft) for draft in drafts]
        found = iter(self.embed([text for text in texts if text]))
        return [(next(found),) if text else () for text in texts]

    def with_vectors(self, drafts: Sequence[Draft]) -> list[Draft]:
        """The drafts with their vectors; one that has vectors of this model already is kept."""
        bare = [d for d in drafts if all(v.probe != self.probe for v in d.vectors)]
        made = dict(zip(map(id, bare), self.vectors(bare), strict=True))
        return [
            replace(draft, vectors=(*draft.vectors, *made[id(draft)]))
            if id(draft) in made
            else draft
            for draft in drafts
        ]


#: Files that were looked into once: every question asks for the embedder.
_USABLE: set[tuple[Path, int, int, int]] = set()


def _as_it_is(path: Path) -> tuple[Path, int, int, int]:
    stat = path.stat()
    return path, stat.st_ino, stat.st_size, stat.st_mtime_ns


@cache
def _opened(path: Path, device: str) -> Embedder:
    """One object for all searches: a model is not opened for each question."""
    return Embedder(path, NAME, device)


def embedded_text(draft: Draft) -> str:
    """What of a draft is embedded: its tags, which say what or who it is about, and its text."""
    said = "\n".join(part for part in (draft.query.strip(), draft.answer.strip()) if part)
    return f"{', '.join(draft.tags)}: {said}" if draft.tags and said else said


def _windows(text: str) -> list[str]:
    """The text, or parts of equal length where it is long."""
    words = text.split()
    count = min(-(-len(words) // WORDS), WINDOWS)
    if count <= 1:
        return [text]
    size = -(-min(len(words), count * WORDS) // count)
    return [" ".join(words[i * size : (i + 1) * size]) for i in range(count)]


def _quantised(vector: NDArray[np.float32]) -> tuple[NDArray[np.int8], float]:
    largest = float(np.abs(vector).max())
    scale = largest / 127 if largest else 1.0
    return np.rint(vector / scale).astype(np.int8), scale
