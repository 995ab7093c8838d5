"""The integer arithmetic of dialect 1 in plain Python: unbounded integers, nothing can overflow.

Written from the text of the rules: round half up; a scale is (mantissa, exponent); results are
clamped to +-2^33 where the text says so.
"""

from __future__ import annotations

import math

Scale = tuple[int, int]
WIDE = 1 << 33
LOG2E = 94548


def half_up(value: int, shift: int) -> int:
    """value / 2**shift rounded half up; a negative shift multiplies."""
    return value << -shift if shift <= 0 else (value + (1 << (shift - 1))) >> shift


def clamp(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def shift_round(value: int, shift: int) -> int:
    """Rounded and clamped to +-WIDE; a shift of more than 62 gives 0."""
    return 0 if shift > 62 else clamp(half_up(value, shift), -WIDE, WIDE)


def rescale(value: int, scale: Scale, frac: int) -> int:
    """value times the scale, to ``frac`` fraction bits."""
    return shift_round(value * scale[0], -(scale[1] + frac))


def normalise(value: int, exponent: int) -> Scale:
    """16 bits of mantissa, rounded; the exponent clamped to 16 bits."""
    if value == 0:
        return 0, 0
    down = value.bit_length() - 16
    mantissa, exponent = half_up(value, down), exponent + down
    if mantissa == 65536:
        mantissa, exponent = 32768, exponent + 1
    return mantissa, clamp(exponent, -32768, 32767)


def multiply(a: Scale, b: Scale) -> Scale:
    return normalise(a[0] * b[0], a[1] + b[1])


def _even(value: int) -> Scale:
    shift = value.bit_length() - 32
    shift += shift % 2
    return (value >> shift if shift > 0 else value << -shift), shift


def inverse_root(numerator: int, denominator: int) -> Scale:
    """sqrt(numerator / denominator)."""
    (n, n_shift), (m, m_shift) = _even(numerator), _even(denominator)
    root = math.isqrt(((n << 30) // m) << 30)
    return normalise(root, (n_shift - m_shift) // 2 - 30)


def reciprocal(value: int) -> Scale:
    shift = value.bit_length()
    return normalise((1 << (shift + 16)) // value, -(shift + 16))


EXP2 = [math.floor(2.0 ** (-i / 256) * 65536 + 0.5) for i in range(257)]


def exp2_negative(distance: int) -> int:
    """2^-distance with 16 fraction bits."""
    whole, index, rest = distance >> 16, (distance >> 8) % 256, distance % 256
    if whole > 17:
        return 0
    value = EXP2[index] - half_up((EXP2[index] - EXP2[index + 1]) * rest, 8)
    return half_up(value, whole)


def interpolate(table: list[int], position: int) -> int:
    """A table over -16..16 at an argument with 16 fraction bits."""
    steps = len(table) - 1
    width = (32 << 16) // steps
    offset = clamp(position + (16 << 16), 0, 32 << 16)
    index = min(offset // width, steps - 1)
    rest = offset - index * width
    return table[index] + ((table[index + 1] - table[index]) * rest + width // 2) // width


def quantise(row: list[int], bits: int, frac: int) -> tuple[list[int], Scale]:
    """A row as activations with one scale."""
    largest = max(map(abs, row))
    if bits == 14:
        shift = max(largest.bit_length() - 14, 0)
        return [half_up(x, shift) for x in row], normalise(1, shift - frac)
    shift = max(largest.bit_length() - 22, 0)
    small = [half_up(x, shift) for x in row]
    m = max(1, *map(abs, small))
    q = [(254 * x + m) // (2 * m) for x in small]
    return q, normalise((m << 32) // 127, shift - frac - 32)


def mean(values: list[int]) -> int:
    """Rounded half up."""
    return (2 * sum(values) + len(values)) // (2 * len(values))


def next_random(state: int) -> tuple[int, int]:
    """PCG32: (new state, 32 bits)."""
    word, turn = (((state >> 18) ^ state) >> 27) % 2**32, state >> 59
    out = ((word >> turn) | (word << (32 - turn))) % 2**32
    return (state * 6364136223846793005 + 1442695040888963407) % 2**64, out
