"""The integer arithmetic of dialect 1 in plain Python: unbounded integers, nothing can overflow.

Written from the text of the rules: round half up; a scale is (mantissa, exponent); results are
clamped to one beyond 32 bits where the text says so.
"""

from __future__ import annotations

import math

Scale = tuple[int, int]
LOWEST, HIGHEST = -(2**31), 2**31 - 1
LOG2E = (47274, -15)


def half_up(value: int, shift: int) -> int:
    """value / 2**shift rounded half up; a negative shift multiplies."""
    return value << -shift if shift <= 0 else (value + (1 << (shift - 1))) >> shift


def clamp(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def shift_round(value: int, shift: int) -> int:
    """Rounded and clamped to one beyond 32 bits; a shift of more than 62 gives 0."""
    return 0 if shift > 62 else clamp(half_up(value, shift), LOWEST - 1, HIGHEST + 1)


def saturate(value: int) -> int:
    return clamp(value, LOWEST, HIGHEST)


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


def inverse_root(numerator: int, denominator: int) -> Scale:
    """sqrt(numerator / denominator), of a quotient rounded to 16 or 17 bits."""
    (n, n_exponent), (m, m_exponent) = normalise(numerator, 0), normalise(denominator, 0)
    quotient, exponent = (2 * (n << 16) + m) // (2 * m), n_exponent - m_exponent - 16
    while quotient < 2**30 or exponent % 2:
        quotient, exponent = 2 * quotient, exponent - 1
    root = math.isqrt(4 * quotient)  # twice the root
    return (root + 1) // 2, exponent // 2


def reciprocal(value: int) -> Scale:
    mantissa, exponent = normalise(value, 0)
    return normalise((2**32 + mantissa) // (2 * mantissa), -31 - exponent)


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
    slope = saturate(table[index + 1] - table[index])
    return table[index] + (slope * rest + width // 2) // width


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
    while m < 2**30:
        m, shift = 2 * m, shift - 1
    return q, normalise(m // 127, shift - frac)


def mean(values: list[int]) -> int:
    """Rounded half up."""
    return (2 * sum(values) + len(values)) // (2 * len(values))


def next_random(state: int) -> tuple[int, int]:
    """PCG32: (new state, 32 bits)."""
    word, turn = (((state >> 18) ^ state) >> 27) % 2**32, state >> 59
    out = ((word >> turn) | (word << (32 - turn))) % 2**32
    return (state * 6364136223846793005 + 1442695040888963407) % 2**64, out
