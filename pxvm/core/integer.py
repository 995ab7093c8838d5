"""Exact integer arithmetic of dialect 1: rounding, scales, roots, powers of two.

Written in int64 (or uint64 where stated) with one rounding rule, round half up: add half, then
shift right arithmetically. A *scale* is a pair (mantissa 0..65535, exponent) and means
``mantissa * 2**exponent``. Every function is total: hostile values give a defined result, never an
overflow. docs/ARITHMETIC.md says how an executor computes the same with 32-bit integers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

LOWEST, HIGHEST = -(1 << 31), (1 << 31) - 1
LARGEST_SHIFT = 62


def ints(values: ArrayLike) -> Ints:
    """``values`` as an int64 array."""
    return np.asarray(values, np.int64)


def saturate(values: ArrayLike) -> Ints:
    """The nearest that 32 bits hold."""
    return np.clip(ints(values), LOWEST, HIGHEST)


def bit_length(values: ArrayLike) -> Ints:
    """Bits of each non-negative integer below 2^63: 0 for 0, 1 for 1, 2 for 2 and 3."""
    rest = ints(values).copy()
    bits = np.zeros_like(rest)
    for step in (32, 16, 8, 4, 2, 1):
        high = rest >> step
        bits += np.where(high > 0, step, 0)
        rest = np.where(high > 0, high, rest)
    return ints(bits + (rest > 0))


def shift_round(values: ArrayLike, shift: ArrayLike) -> Ints:
    """``values / 2**shift`` rounded half up, and clamped to one beyond what 32 bits hold.

    |values| is at most 2^62. A shift of more than 62 gives 0; a negative one multiplies.
    """
    v, s = np.broadcast_arrays(ints(values), ints(shift))
    right = np.clip(s, 1, LARGEST_SHIFT)
    down = np.where(s > LARGEST_SHIFT, 0, (v + (np.int64(1) << (right - 1))) >> right)
    left = np.clip(-s, 0, 32)
    up = np.clip(v, LOWEST // 2 - 1, HIGHEST // 2 + 1) << left
    up = np.where(left > 0, up, v)
    return np.clip(np.where(s > 0, down, up), LOWEST - 1, HIGHEST + 1)


def rescale(values: ArrayLike, mantissa: ArrayLike, exponent: ArrayLike) -> Ints:
    """``values * mantissa * 2**exponent`` rounded half up, clamped as by ``shift_round``.

    The values have 32 bits, or 17 where they are weights, and the mantissa is at most 2^16.
    """
    return shift_round(ints(values) * ints(mantissa), -ints(exponent))


def normalise(values: ArrayLike, exponent: ArrayLike) -> tuple[Ints, Ints]:
    """The scale of ``values * 2**exponent``: mantissa in 32768..65535, or 0 for 0.

    0 <= values < 2^62. The exponent is clamped to 16 bits.
    """
    v, e = np.broadcast_arrays(ints(values), ints(exponent))
    down = bit_length(v) - 16
    m = np.where(down > 0, shift_down(v, np.maximum(down, 0)), v << np.maximum(-down, 0))
    over = m >> 16
    m, e = m >> over, e + down + over
    return m, np.where(m == 0, 0, np.clip(e, -32768, 32767))


def shift_down(values: ArrayLike, shift: ArrayLike) -> Ints:
    """``values >> shift`` rounded half up, 0 <= shift <= 62, not clamped."""
    v, s = ints(values), ints(shift)
    return ints((v + ((np.int64(1) << s) >> 1)) >> s)


def multiply_scales(first: tuple[Ints, Ints], second: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """The product of two scales, rounded to a 16-bit mantissa."""
    return normalise(first[0] * second[0], first[1] + second[1])


def root(values: ArrayLike) -> Ints:
    """The integer nearest to the square root of each integer 0..2^32 - 1."""
    v = ints(values)
    below = ints(np.floor(np.sqrt(v.astype(np.float64))))
    return below + (v - below * below > below)


def inverse_root(numerator: ArrayLike, denominator: ArrayLike) -> tuple[Ints, Ints]:
    """sqrt(numerator / denominator) as a scale; both are at least 1 and below 2^62.

    The quotient of their mantissas, which has 16 or 17 bits, is shifted to 31 or 32 bits, so that
    its exponent is even.
    """
    n, n_exponent = normalise(numerator, 0)
    m, m_exponent = normalise(denominator, 0)
    quotient, exponent = ((n << 16) + (m >> 1)) // m, n_exponent - m_exponent - 16
    shift = 31 - bit_length(quotient)
    shift += (exponent - shift) & 1
    return root(quotient << shift), (exponent - shift) >> 1


def reciprocal(values: ArrayLike) -> tuple[Ints, Ints]:
    """1 / values as a scale; 1 <= values < 2^62."""
    m, exponent = normalise(values, 0)
    return normalise(((1 << 31) + (m >> 1)) // m, -31 - exponent)


def exp2_table() -> Ints:
    """257 entries: 2^(-i / 256) with 16 fraction bits, rounded once."""
    return ints([math.floor(2.0 ** (-i / 256) * 65536 + 0.5) for i in range(257)])


EXP2 = exp2_table()


def exp2_negative(distance: ArrayLike) -> Ints:
    """2^(-distance), 16 fraction bits in and out; 0 <= distance < 2^32.

    Linear interpolation in a table of 256 steps, then a rounding shift by the whole part.
    """
    d = ints(distance)
    whole, index, rest = d >> 16, (d >> 8) & 255, d & 255
    high = EXP2[index]
    value = high - (((high - EXP2[index + 1]) * rest + 128) >> 8)
    return np.where(whole > 17, 0, shift_down(value, np.minimum(whole, 17)))


def interpolate(table: Ints, position: ArrayLike) -> Ints:
    """An activation table at ``position``, the argument with 16 fraction bits.

    ``table`` holds N + 1 entries over [-16, 16], N a power of two from 64 to 2^20; arguments
    outside are clamped to its ends. The difference of two entries is saturated.
    """
    steps = len(table) - 1
    bits = (32 << 16).bit_length() - steps.bit_length()
    offset = np.clip(ints(position), -16 << 16, 16 << 16) + (16 << 16)
    index = np.minimum(offset >> bits, steps - 1)
    slope = saturate(table[index + 1] - table[index])
    return ints(table[index] + rescale(slope, offset - (index << bits), -bits))


def quantise_rows(rows: Ints, bits: int, frac: int) -> tuple[Ints, tuple[Ints, Ints]]:
    """Rows of fixed-point integers to activations: (integers, one scale for each row).

    bits 14: shifted right by a power of two so that every |q| <= 2^14.
    bits 7: the row is shifted down to 22 bits, then q = floor((254 x + m) / (2 m)) with m the
    largest magnitude, an exact rounding of 127 x / m.
    """
    x = ints(rows)
    largest = np.abs(x).max(axis=-1, initial=0)
    if bits == 14:
        shift = np.maximum(bit_length(largest) - 14, 0)
        scale = normalise(np.ones_like(shift), shift - frac)
        return shift_down(x, shift[..., None]), scale
    shift = np.maximum(bit_length(largest) - 22, 0)
    small = shift_down(x, shift[..., None])
    m = np.maximum(np.abs(small).max(axis=-1, initial=0), 1)
    q = (254 * small + m[..., None]) // (2 * m[..., None])
    up = 31 - bit_length(m)
    return q, normalise((m << up) // 127, shift - frac - up)


def next_random(state: int) -> tuple[int, int]:
    """One step of PCG32 (XSH RR 64/32, O'Neill 2014): (new 64-bit state, 32 random bits)."""
    word = (((state >> 18) ^ state) >> 27) & 0xFFFFFFFF
    turn = state >> 59
    out = ((word >> turn) | (word << (-turn & 31))) & 0xFFFFFFFF
    return (state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1), out
