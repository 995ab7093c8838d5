"""An embedder for tests that needs no model: directions of hashed words, summed.

It answers as the real one does (unit vectors, the same text the same numbers), so that everything
around it is tested as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pxvm.learning.search.embedding import Embedder


class HashedWords(Embedder):
    """``seed`` makes another model of the same name."""

    def __init__(self, dimension: int = 32, seed: int = 0, name: str = "hashed") -> None:
        super().__init__(Path("none"), name)
        self.width, self.seed = dimension, seed
        self._model = SimpleNamespace(embed=self._embed, embedder=SimpleNamespace(width=dimension))

    def known(self, text: str) -> float:
        return 1.0

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = np.zeros((len(texts), self.width), np.float32)
        for row, text in zip(found, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()) or [""]:
                generator = np.random.default_rng(crc32(word.encode()) + self.seed)
                row += generator.normal(size=self.width).astype(np.float32)
            row /= max(float(np.linalg.norm(row)), 1e-9)
        return found
