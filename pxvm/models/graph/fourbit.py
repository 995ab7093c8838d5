"""Weights of four bits: codes that a file has, or that are searched for, and their integers.

A group is 32 columns of a row. Its weights are ``step * code + minimum``; in pixels both are
integers times the row's scale, so that only they are rounded, and the codes stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pxvm.core.errors import ProgramError
from pxvm.core.integer import Ints, ints
from pxvm.core.tensor import GROUP, encode_groups
from pxvm.models.graph.quantise import Floats, scale_of, scale_value

Groups = tuple[Ints, Floats, Floats]
Record = Callable[[str, Floats, Floats], None]
RANGES = (1.0, 0.92, 0.84, 0.76)  # parts of a group's range that the search begins with


class FourBits:
    """A weight [n, k] that is to become an I4 tensor; else it is the weight that it holds.

    Args:
        weight: anything with a shape whose rows can be sliced; its codes are kept where its
            ``groups`` gives them (see ``files.stored``).
        record: called with a name, real weights and what became of them.
    """

    def __init__(self, weight: Any, record: Record | None = None) -> None:
        self.weight, self.record, self.shape = weight, record, weight.shape

    def __getitem__(self, rows: slice) -> Any:
        """Rows as real numbers."""
        return self.weight[rows]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.weight, dtype)

    def packed(self, name: str, rows: slice) -> tuple[Any, tuple[Ints, Ints]]:
        """Rows as words of an I4 tensor, and the scale of each row.

        Raises ProgramError when a weight is not finite.
        """
        codes, steps, minima = groups_of(name, self.weight, rows)
        scales, lows, scale = integers(codes, steps, minima)
        if self.record is not None:
            self.record(
                name, values(codes, steps, minima) if kept(self.weight)
                else np.asarray(self.weight[rows], np.float64),
                values(codes, scales, lows) * scale_value(scale)[:, None],
            )  # fmt: skip
        return encode_groups(codes, scales, lows), scale


def kept(weight: Any) -> bool:
    """True where a weight has codes of four bits in groups of 32."""
    return getattr(weight, "groups", None) is not None


def groups_of(name: str, weight: Any, rows: slice) -> Groups:
    """Codes [n, k], steps of at least 0 and minima [n, k / 32] of a weight's rows.

    Raises ProgramError when a weight is not finite.
    """
    if not kept(weight):
        real = np.asarray(weight[rows], np.float64)
        if not np.isfinite(real).all():
            raise ProgramError(f"{name}: expected a matrix of finite weights; found {real.shape}")
        return search(real)
    found, steps, minima = weight.groups(rows)
    steps, minima = steps.astype(np.float64), minima.astype(np.float64)
    if not (np.isfinite(steps).all() and np.isfinite(minima).all()):
        raise ProgramError(f"{name}: expected groups of finite weights; found {found.shape}")
    # A falling group counts from its other end.
    codes, falls = found.reshape(*steps.shape, GROUP), steps < 0
    codes = np.where(falls[..., None], 15 - codes, codes)
    return (
        ints(codes.reshape(found.shape)),
        np.abs(steps),
        np.where(falls, minima + 15 * steps, minima),
    )


def values(codes: Ints, steps: Any, minima: Any) -> Floats:
    """``step * code + minimum`` [n, k]."""
    each = codes.reshape(*steps.shape, GROUP) * steps[..., None] + minima[..., None]
    return np.asarray(each.reshape(codes.shape), np.float64)


def integers(codes: Ints, steps: Floats, minima: Floats) -> tuple[Ints, Ints, tuple[Ints, Ints]]:
    """Groups' scales 0..255 and minima of 16 bits, and each row's scale.

    A minimum makes up for what the rounding of its group's scale moves on average.
    """
    unit = np.maximum(steps.max(axis=1) / 255, np.abs(minima).max(axis=1) / 32767)
    scale = scale_of(unit)
    size = np.where(unit > 0, scale_value(scale), 1.0)[:, None]
    scales = np.clip(np.rint(steps / size), 0, 255)
    mean = codes.reshape(*steps.shape, GROUP).mean(axis=2)
    lows = np.clip(np.rint((minima + steps * mean) / size - scales * mean), -32768, 32767)
    return ints(scales), ints(lows), scale


def search(weight: Floats) -> Groups:
    """Codes, steps and minima of groups with little squared error, larger weights counting more.

    From several ranges, codes are rounded and the step and minimum that fit them best taken twice.
    """
    x = weight.reshape(len(weight), -1, GROUP)
    worth = np.abs(x) + np.sqrt((x * x).mean(axis=2, keepdims=True))
    low, high = x.min(axis=2), x.max(axis=2)
    best = np.full(low.shape, np.inf)
    codes, steps, minima = np.zeros(x.shape), np.zeros(low.shape), low.copy()
    for part in RANGES:
        step, start = (high - low) * part / 15, low + (high - low) * (1 - part) / 2
        for _ in range(2):
            step, start = _fit(x, worth, _rounded(x, step, start), step, start)
        found = _rounded(x, step, start)
        error = (worth * (found * step[..., None] + start[..., None] - x) ** 2).sum(axis=2)
        better = error < best
        best = np.where(better, error, best)
        codes = np.where(better[..., None], found, codes)
        steps, minima = np.where(better, step, steps), np.where(better, start, minima)
    return ints(codes.reshape(weight.shape)), steps, minima


def _rounded(x: Floats, step: Floats, start: Floats) -> Floats:
    """Codes 0..15 of groups; 0 where the step is."""
    inverse = np.divide(1.0, step, out=np.zeros_like(step), where=step > 0)
    return np.asarray(np.clip(np.rint((x - start[..., None]) * inverse[..., None]), 0, 15))


def _fit(
    x: Floats, worth: Floats, codes: Floats, step: Floats, start: Floats
) -> tuple[Floats, Floats]:
    """The step and minimum with the least error for given codes; those given where none is."""
    total, q, y = worth.sum(axis=2), (worth * codes).sum(axis=2), (worth * x).sum(axis=2)
    qq, qy = (worth * codes * codes).sum(axis=2), (worth * codes * x).sum(axis=2)
    divisor, rise = total * qq - q * q, total * qy - q * y
    fits = (divisor > 1e-12 * total * qq) & (rise > 0)
    safe = np.where(fits, divisor, 1.0)
    return np.where(fits, rise / safe, step), np.where(fits, (qq * y - q * qy) / safe, start)
