"""A tensor that stays in its file and is read a band of rows at a time."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.core.errors import FormatError
from pxvm.core.reading import open_binary
from pxvm.models.files.formats import Bytes, Format, FourBit, Singles, decode

Groups = tuple[Bytes, Singles, Singles]


@dataclass(frozen=True)
class Stored:
    """Real numbers in a file; ``tensor[a:b]`` reads rows, ``np.asarray(tensor)`` all of them.

    Attributes:
        shape: outermost first; the last extent is a whole number of the format's blocks.
        offset: byte where the first block stands.
    """

    path: Path
    name: str
    format: type[Format]
    shape: tuple[int, ...]
    offset: int

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes in the file."""
        return self.count // self.format.block * self.format.size

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Singles:
        """Rows ``a:b`` along the first extent, float32. Raises FormatError when cut short."""
        return decode(self.format, self._read(rows)).reshape(-1, *self.shape[1:])

    @property
    def groups(self) -> Callable[[slice], Groups] | None:
        """Gives rows ``a:b`` of a matrix as they are stored, in groups of 32: codes 0..15 [n, k],
        steps and minima [n, k / 32]; None where the format has no such groups.
        """
        return self._groups if issubclass(self.format, FourBit) and len(self.shape) == 2 else None

    def _groups(self, rows: slice) -> Groups:
        assert issubclass(self.format, FourBit)
        blocks = np.frombuffer(self._read(rows), np.uint8).reshape(-1, self.format.size)
        codes, steps, minima = self.format.groups(blocks)
        groups = self.shape[1] // 32
        return (
            codes.reshape(-1, self.shape[1]), steps.reshape(-1, groups), minima.reshape(-1, groups)
        )  # fmt: skip

    def _read(self, rows: slice) -> Any:
        """The bytes of rows."""
        first, stop, _ = rows.indices(len(self))
        row = self.bytes // len(self)
        wanted = max(0, stop - first) * row
        with open_binary(self.path) as stream:
            stream.seek(self.offset + first * row)
            data = stream.read(wanted)
        if len(data) != wanted:
            raise FormatError(
                f"{self.path}: tensor {self.name}: expected {wanted} bytes at byte"
                f" {self.offset + first * row}; found {len(data)}; fetch the file again"
            )
        return data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        with np.errstate(invalid="ignore"):  # NaN, which whoever quantises it refuses
            return self[:].astype(dtype or np.float32, copy=False)


def check_extents(where: str, kind: type[Format], shape: tuple[int, ...]) -> None:
    """Raise FormatError unless a tensor has elements and its rows are whole blocks."""
    if not shape or min(shape) < 1 or shape[-1] % kind.block:
        raise FormatError(
            f"{where}: expected extents of at least 1, the last a multiple of {kind.block} for"
            f" {kind.name}; found {list(shape)}"
        )


def check_apart(path: str | os.PathLike[str], tensors: list[Stored]) -> None:
    """Raise FormatError when two tensors share bytes: it would make more of a file than it is."""
    ordered = sorted(tensors, key=lambda t: t.offset)
    for before, after in itertools.pairwise(ordered):
        if before.offset + before.bytes > after.offset:
            raise FormatError(
                f"{path}: tensors {before.name} and {after.name}: expected bytes of their own;"
                f" found both at byte {after.offset}"
            )
