"""From real numbers to the integers of a program: weights, norms, fixed point, tables.

A weight matrix becomes int8 with one step for each output row, ``w = q * step``; the step is held
as a scale word (16-bit mantissa, power-of-two exponent) and the integers are rounded against that
very value. (``fourbit`` has weights of four bits.) How large a step is, is a choice: ``largest``
keeps every weight in range, ``percentile`` and ``least_squares`` clip outliers. A builder takes any
``Choice``, which sees the tensor's name and may decide for each tensor by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import ProgramError
from pxvm.core.integer import Ints, ints, normalise
from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, Role, encode_scales

Floats = NDArray[np.float64]
Choice = Callable[[str, Floats], Floats]

TABLE_STEPS = 4096
TABLE_FRAC = 16
ROPE_FRAC = 14
POSITIONS = 1024  # of a rotary table that are computed at a time
HEADROOM = 8.0
BAND = 1 << 18  # elements of a weight that are real numbers at a time
LIMIT = 2.0**31


def largest(name: str, weight: Floats) -> Floats:
    """Steps [n] of weights [n, k] so that the largest magnitude of each row is 127."""
    return np.asarray(np.abs(weight).max(axis=1) / 127)


def percentile(percent: float) -> Choice:
    """A choice that clips each row at a percentile (0..100) of its magnitudes."""

    def choose(name: str, weight: Floats) -> Floats:
        return np.asarray(np.percentile(np.abs(weight), percent, axis=1) / 127)

    return choose


def least_squares(name: str, weight: Floats) -> Floats:
    """Steps with the least squared error among 0.70 to 1.00 of the largest magnitude."""
    full = largest(name, weight)
    best, steps = np.full(len(weight), np.inf), full.copy()
    for part in np.linspace(0.7, 1.0, 16):
        step = np.maximum(full * part, 1e-300)[:, None]
        error = ((np.clip(np.rint(weight / step), -127, 127) * step - weight) ** 2).sum(axis=1)
        better = error <= best
        best, steps = np.where(better, error, best), np.where(better, full * part, steps)
    return np.asarray(steps)


def scale_of(values: Any) -> tuple[Ints, Ints]:
    """Non-negative real numbers as (mantissas 32768..65535 or 0, exponents)."""
    fraction, exponent = np.frexp(np.asarray(values, np.float64))
    return normalise(ints(np.rint(fraction * 2.0**40)), ints(exponent) - 40)


def scale_value(scale: tuple[Ints, Ints]) -> Floats:
    """The real numbers that scales mean."""
    return np.ldexp(scale[0].astype(np.float64), scale[1].astype(np.int64))


def quantise_weight(
    name: str, weight: Any, choice: Choice = largest
) -> tuple[NDArray[np.int8], tuple[Ints, Ints]]:
    """Weights [n, k] to int8 -127..127 [n, k] and the scale of each row.

    Raises ProgramError when a weight is not finite.
    """
    with np.errstate(invalid="ignore"):
        real = np.asarray(weight, np.float64)
    if real.ndim != 2 or not np.isfinite(real).all():
        raise ProgramError(f"{name}: expected a matrix of finite weights; found {real.shape}")
    scale = scale_of(choice(name, real))
    step = scale_value(scale)[:, None]
    divided = np.divide(real, step, out=np.zeros_like(real), where=step > 0)
    return np.clip(np.rint(divided), -127, 127).astype(np.int8), scale


def best_frac(magnitude: float, headroom: float = HEADROOM, most: int = 24) -> int:
    """Fraction bits with which ``headroom`` times the magnitude still fits 32 bits."""
    if not np.isfinite(magnitude):
        raise ProgramError(f"expected a finite magnitude; found {magnitude}")
    return max(-32, min(most, math.floor(math.log2(LIMIT / max(magnitude * headroom, 1e-9)))))


def fixed(name: str, values: Any, frac: int, headroom: float = 1.0) -> Ints:
    """Real numbers as integers with ``frac`` fraction bits.

    Raises ProgramError when ``headroom`` times the largest does not fit 32 bits.
    """
    scaled = np.rint(np.ldexp(np.asarray(values, np.float64), frac))
    if not np.isfinite(scaled).all() or np.abs(scaled).max(initial=0) * headroom >= LIMIT:
        raise ProgramError(
            f"{name}: values up to {np.abs(np.asarray(values)).max():g} with {frac} fraction bits"
            f" and {headroom:g}x headroom need more than 32 bits; use fewer fraction bits"
        )
    return ints(scaled)


def norm_weight(name: str, weight: Any) -> tuple[Ints, int]:
    """A norm's weights [d] as 16-bit integers, with the most fraction bits that fit (up to 24)."""
    real = np.asarray(weight, np.float64).reshape(-1)
    peak = float(np.abs(real).max(initial=0))
    if not np.isfinite(peak):
        raise ProgramError(f"{name}: expected finite weights of a norm; found {peak}")
    frac = min(24, math.floor(math.log2(32767 / max(peak, 1e-9))))
    return np.clip(fixed(name, real, frac), -32767, 32767), frac


def _table(function: Callable[[float], float]) -> Ints:
    points = (-16 + 32 * i / TABLE_STEPS for i in range(TABLE_STEPS + 1))
    return ints([math.floor(function(x) * 2**TABLE_FRAC + 0.5) for x in points])


def sigmoid_table() -> Ints:
    """1 / (1 + e^-x): with Gate it gives SiLU."""
    return _table(lambda x: 1 / (1 + math.exp(-x)))


def tanh_table() -> Ints:
    """tanh(x)."""
    return _table(math.tanh)


def normal_table() -> Ints:
    """The normal distribution function: with Gate it gives GELU (erf)."""
    return _table(lambda x: math.erfc(-x / math.sqrt(2)) / 2)


def normal_tanh_table() -> Ints:
    """The tanh approximation of the same: with Gate it gives GELU (tanh)."""
    root = math.sqrt(2 / math.pi)
    return _table(lambda x: (1 + math.tanh(root * (x + 0.044715 * x**3))) / 2)


TABLES: dict[str, Callable[[], Ints]] = {
    "sigmoid": sigmoid_table,
    "tanh": tanh_table,
    "normal": normal_table,
    "normal_tanh": normal_tanh_table,
}


def rope_table(
    positions: int, width: int, base: float, frequencies: Floats | None = None,
    amplitude: float = 1.0,
) -> Ints:  # fmt: skip
    """Rotary angles as 14-bit fixed point [positions, width]: cosine, sine, cosine, ...

    Pair i of a head turns by position * base^(-2 i / width) (Su et al., 2021); ``frequencies``
    [width / 2] replaces those rates. ``amplitude``, below 2, is a factor of what turns at all.
    """
    rates = base ** (-np.arange(0, width, 2) / width) if frequencies is None else frequencies
    rates = np.asarray(rates, np.float64)
    factor = np.where(rates == 0, 1.0, amplitude)[:, None]
    found = np.empty((positions, width), np.int64)
    for first in range(0, positions, POSITIONS):
        angles = np.arange(first, min(first + POSITIONS, positions))[:, None] * rates
        both = np.stack([np.cos(angles), np.sin(angles)], axis=2) * factor
        found[first : first + POSITIONS] = np.rint(both.reshape(-1, width) * 2**ROPE_FRAC)
    return found


def attention_scale(factor: float) -> tuple[int, int]:
    """A factor of scores, in base 2, as (mantissa, exponent): 1 / sqrt(width) is usual."""
    mantissa, exponent = scale_of(math.log2(math.e) * factor)
    return int(mantissa), int(exponent)


class Checked(Mapping[str, Any]):
    """Weights by name whose shapes are checked when each is read.

    Raises ProgramError at once when one is missing, when read if it is misshapen.
    """

    def __init__(self, weights: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.weights, self.shapes = weights, shapes
        missing = sorted(set(shapes) - set(weights))
        if missing:
            raise ProgramError(f"expected the weights {', '.join(missing[:4])}; found none")

    def __getitem__(self, name: str) -> Any:
        array = self.weights[name]
        if array.shape != self.shapes[name]:
            raise ProgramError(f"weight {name}: expected {self.shapes[name]}; found {array.shape}")
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def add_weight(
    b: NetworkBuilder,
    name: str,
    weight: Any,
    choice: Choice = largest,
    *,
    bias: Any = None,
    bias_frac: int = 0,
    layer: int | None = None,
) -> str:
    """Declare a weight [n, k] with its scales and, where given, its bias [n].

    The weight is anything with a shape whose rows can be sliced, and becomes int8, or has a method
    ``packed`` (see ``fourbit``) that makes rows of an I4 tensor. It is read and quantised a band
    of rows at a time when the image is laid out: in memory there are never two copies of it.
    """
    full = name if layer is None else f"{layer}.{name}"
    count, cols = weight.shape
    words: list[Ints] = []
    four = hasattr(weight, "packed")

    def bands() -> Iterator[NDArray[Any]]:
        rows = max(1, BAND // cols)
        words.clear()
        for first in range(0, count, rows):
            band = slice(first, first + rows)
            if four:
                packed, scale = weight.packed(full, band)
            else:
                packed, scale = quantise_weight(full, weight[band], choice)
            words.append(_words(scale))
            yield packed

    link = None
    if bias is not None:
        data = fixed(f"{full}.bias", bias, bias_frac)
        link = b.tensor(f"{name}.bias", DType.I32, (count,), Role.CONSTANT, frac=bias_frac,
                        data=data, layer=layer)  # fmt: skip
    dtype = DType.I4 if four else DType.I8
    b.tensor(name, dtype, (count, cols), Role.CONSTANT, data=bands, scale=f"{name}.scale",
             bias=link, layer=layer)  # fmt: skip
    # Declared after the weight, so that it is laid out when the weight has been read.
    b.tensor(f"{name}.scale", DType.SCALE, (count,), Role.CONSTANT,
             data=lambda: np.concatenate(words), layer=layer)  # fmt: skip
    return name


def add_norm(
    b: NetworkBuilder,
    name: str,
    weight: Any,
    epsilon: float,
    *,
    bias: Any = None,
    bias_frac: int = 0,
    layer: int | None = None,
) -> str:
    """Declare a norm's weights [d], its epsilon and, where given, its bias [d]."""
    values, frac = norm_weight(name, weight)
    if len(values) % 2:
        raise ProgramError(f"{name}: expected an even number of columns; found {len(values)}")
    scale = _words(scale_of([epsilon]))
    b.tensor(f"{name}.eps", DType.SCALE, (1,), Role.CONSTANT, data=scale, layer=layer)
    link = None
    if bias is not None:
        data = fixed(f"{name}.bias", bias, bias_frac)
        link = b.tensor(f"{name}.bias", DType.I32, (len(values),), Role.CONSTANT, frac=bias_frac,
                        data=data, layer=layer)  # fmt: skip
    return b.tensor(name, DType.I16, (len(values),), Role.CONSTANT, frac=frac, data=values,
                    scale=f"{name}.eps", bias=link, layer=layer)  # fmt: skip


def add_table(b: NetworkBuilder, kind: str, name: str | None = None) -> str:
    """Declare one of ``TABLES``, under a name of its own where it gets one."""
    data = TABLES[kind]()
    return b.tensor(
        name or kind, DType.I32, (len(data),), Role.CONSTANT, frac=TABLE_FRAC, data=data
    )


def _words(scale: tuple[Ints, Ints]) -> Ints:
    return ints(encode_scales(*scale))
