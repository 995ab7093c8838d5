"""Weights that are a file's tensors seen otherwise: some rows, in another order, scaled, moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pxvm.models.files.formats import Singles
from pxvm.models.files.stored import Groups, Stored


def rows_of(tensor: Stored, first: int, count: int) -> Stored:
    """So many rows of a tensor, from the first on."""
    offset = tensor.offset + tensor.bytes // len(tensor) * first
    return replace(tensor, shape=(count, *tensor.shape[1:]), offset=offset)


class View:
    """A weight made of another when it is read; its codes of four bits stay where it has some.

    Args:
        weight: a ``Stored`` or another view.
        order: which of its rows each row is.
        factor: of each row, as it then stands.
        plus: what is added to every number; then there are no codes.
    """

    def __init__(
        self, weight: Stored | View, *, order: Any = None, factor: Any = None, plus: float = 0.0
    ) -> None:
        count: int = weight.shape[0]
        self.weight: Stored | View = weight
        self.plus = np.float32(plus)
        self.order = np.arange(count) if order is None else np.asarray(order)
        self.factor = np.ones(count, np.float32) if factor is None else np.asarray(factor)
        self.shape: tuple[int, ...] = weight.shape
        self.count: int = weight.count
        self.bytes: int = weight.bytes

    def __len__(self) -> int:
        return self.shape[0]

    def _span(self, rows: slice) -> tuple[slice, Any, Any]:
        """Rows of the weight that hold those asked for; where they are there; their factors."""
        wanted = self.order[rows]
        first, stop = (wanted.min(), wanted.max() + 1) if len(wanted) else (0, 0)
        return slice(int(first), int(stop)), wanted - first, self.factor[rows]

    def __getitem__(self, rows: slice) -> Singles:
        """Rows ``a:b`` along the first extent, float32."""
        span, places, factor = self._span(rows)
        found = self.weight[span][places]
        factor = factor.reshape(-1, *[1] * (found.ndim - 1)).astype(np.float32)
        return np.asarray(found * factor + self.plus, np.float32)

    @property
    def groups(self) -> Callable[[slice], Groups] | None:
        """As ``Stored.groups``."""
        return self._groups if self.weight.groups is not None and not self.plus else None

    def _groups(self, rows: slice) -> Groups:
        span, places, factor = self._span(rows)
        assert self.weight.groups is not None
        codes, steps, minima = self.weight.groups(span)
        factor = factor[:, None].astype(np.float32)
        return codes[places], steps[places] * factor, minima[places] * factor

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        with np.errstate(invalid="ignore"):  # NaN, which whoever quantises it refuses
            return self[:].astype(dtype or np.float32, copy=False)
