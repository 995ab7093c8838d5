"""The choices there are for a weight, what each makes of it, and what is said of both in numbers.

``CHOICES`` is the one table. What needs no measuring is no choice: how a row's step is searched
for, and whether codes that a file has are kept, is decided by the error, which is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pxvm.core.integer import ints
from pxvm.core.tensor import GROUP, DType, Words, encode, encode_scales, row_words
from pxvm.models.graph.fourbit import FourBits, groups_of, integers, values
from pxvm.models.graph.quantise import (
    Choice,
    Floats,
    least_squares,
    quantise_weight,
    scale_value,
)


@dataclass(frozen=True)
class Kind:
    """One way to store a weight: its bits, and the steps of its rows where those are eight."""

    bits: str
    steps: Choice = least_squares

    @property
    def dtype(self) -> DType:
        """Of the tensor in the picture."""
        return DType.I4 if self.bits == "int4" else DType.I8


DEFAULT = "int8"
CHOICES: Mapping[str, Kind] = {
    DEFAULT: Kind("int8"),
    "int4": Kind("int4"),
}
ROLES = ("q", "k", "v", "o", "gate", "up", "down", "embedding", "output")
FEATURES = (*(f"is {role}" for role in ROLES), "depth", "first", "last", "rows", "columns",
            "spread", "tails", "peaks", "four bits")  # fmt: skip
SAMPLE = 128  # rows that features are taken from
BAND = 1 << 20  # elements at a time
LEAST = 1e-9


@dataclass(frozen=True)
class Weight:
    """A weight of a model, as trained.

    Attributes:
        name: in the checkpoint.
        tensor: its name in the picture.
        stored: a matrix whose rows can be sliced.
        depth: of its layer, 0 to 1; one half outside the layers.
        tied: whether it is an embedding that logits come of as well.
    """

    name: str
    tensor: str
    stored: Any
    depth: float
    tied: bool = False

    @property
    def role(self) -> str:
        """What it does in its layer."""
        return self.name.rpartition(".")[2]

    @property
    def choices(self) -> tuple[str, ...]:
        """Those that are possible; the default first."""
        four = self.stored.shape[1] % GROUP == 0
        return tuple(name for name, kind in CHOICES.items() if four or kind.bits != "int4")

    def bytes(self, choice: str) -> int:
        """Of its integers in the picture."""
        rows, columns = self.stored.shape
        return int(4 * rows * row_words(CHOICES[choice].dtype, columns))

    def words(self, choice: str) -> tuple[Words, Words]:
        """(rows as words, scale words) as the picture holds them."""
        rows, columns = self.stored.shape
        kind, found, scales = CHOICES[choice], [], []
        step = max(1, BAND // columns)
        for first in range(0, rows, step):
            band = slice(first, first + step)
            if kind.bits == "int4":
                words, scale = FourBits(self.stored).packed(self.tensor, band)
            else:
                q, scale = quantise_weight(self.tensor, self.stored[band], kind.steps)
                words = encode(ints(q), DType.I8)
            found.append(words)
            scales.append(encode_scales(*scale))
        return np.concatenate(found), np.concatenate(scales)

    @cached_property
    def _rows(self) -> tuple[slice, Floats]:
        """Some rows: enough to tell what the weight is like."""
        rows = slice(0, min(SAMPLE, self.stored.shape[0]))
        return rows, np.asarray(self.stored[rows], np.float64)

    def made(self, choice: str) -> Floats:
        """What the sampled rows become."""
        rows, real = self._rows
        if CHOICES[choice].bits == "int4":
            codes, steps, minima = groups_of(self.tensor, self.stored, rows)
            scales, lows, scale = integers(codes, steps, minima)
            return np.asarray(values(codes, scales, lows) * scale_value(scale)[:, None])
        q, scale = quantise_weight(self.tensor, real, CHOICES[choice].steps)
        return np.asarray(q * scale_value(scale)[:, None])

    @cached_property
    def _default(self) -> Floats:
        return self.made(DEFAULT)

    def change(self, choice: str) -> float:
        """How far a choice is from the default: root mean square, over that of the weight."""
        return self._distance(self.made(choice), self._default)

    def error(self, choice: str) -> float:
        """How far a choice is from the weight as trained, likewise."""
        return self.distance(self.made(choice))

    def distance(self, made: Floats) -> float:
        """How far rows, the first ones, are from the weight's, likewise."""
        return self._distance(made, self._rows[1])

    def _distance(self, one: Floats, other: Floats) -> float:
        power = math.sqrt(float((self._rows[1] ** 2).mean()))
        return max(math.sqrt(float(((one - other) ** 2).mean())) / max(power, LEAST), LEAST)

    def features(self, choice: str) -> tuple[float, ...]:
        """Numbers of about 1 in the order of ``FEATURES``."""
        real = self._rows[1]
        rows, columns = self.stored.shape
        size = np.sqrt((real**2).mean(axis=1)) + LEAST
        ratios = np.abs(real).max(axis=1) / size
        peaks = (real**4).mean() / max((real**2).mean() ** 2, LEAST**2)
        return (
            *(float(self.role == name or (self.tied and name == "output")) for name in ROLES),
            self.depth, float(self.depth == 0), float(self.depth == 1),
            math.log2(rows) / 10, math.log2(columns) / 10, float(np.log2(size).std()),
            float(np.log2(ratios).mean()) / 4, math.log2(max(peaks, 1.0)) / 4,
            float(CHOICES[choice].bits == "int4"),
        )  # fmt: skip
