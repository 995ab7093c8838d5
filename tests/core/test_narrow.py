"""The steps of docs/ARITHMETIC.md: no intermediate leaves 32 bits, and the results are core's."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pxvm.core import integer, ops
from pxvm.core.integer import HIGHEST, LOWEST
from pxvm.core.operand import LARGEST
from pxvm.core.tensor import DType
from tests.core.test_integer import INT32, both, mantissas, sized

words = both(sized(31)) | INT32 | st.sampled_from([LOWEST, HIGHEST])


def i32(value: int) -> int:
    assert LOWEST <= value <= HIGHEST
    return value


def u32(value: int) -> int:
    assert 0 <= value < 2**32
    return value


def nearest(sign: int) -> int:
    return LOWEST if sign < 0 else HIGHEST


def shifted(value: int, left: int) -> int | None:
    """value << left in 32 bits, or None where bits are lost."""
    fits = left < 32 and LOWEST <= value << left <= HIGHEST
    return i32(value << left) if fits else 0 if value == 0 else None


def rescale(value: int, mantissa: int, exponent: int) -> int:
    """Saturated, in words."""
    s = -exponent
    a, b = i32((value >> 16) * mantissa), u32((value & 65535) * mantissa)
    h, low = i32(a + (b >> 16)), b & 65535
    if s > 16:
        return 0 if s > 48 else i32(i32((h >> (s - 17)) + 1) >> 1)
    if s > 0:
        high, more = shifted(h, 16 - s), u32(low + (1 << (s - 1))) >> s
        fits = high is not None and high + more <= HIGHEST
        return i32(high + more) if fits and high is not None else nearest(h)
    whole = shifted(h, 16)
    y = None if whole is None else shifted(whole | low, -s)
    return nearest(h) if y is None else y


@given(words, mantissas, st.integers(-70, 70))
@example(LOWEST, 65535, -17)
@example(HIGHEST, 65535, -16)
@example(HIGHEST, 65535, -48)
@example(LOWEST, 65535, -49)
@example(-1, 1, -17)
@example(1, 32768, -16)
@example(65535, 32768, 0)
@example(-65536, 32768, 0)
@example(-65536, 32768, 1)
@example(HIGHEST, 65535, -15)
def test_rescale_takes_words_only(value: int, mantissa: int, exponent: int) -> None:
    expected = integer.saturate(integer.rescale(value, mantissa, exponent))
    assert rescale(value, mantissa, exponent) == int(expected)


@given(words, st.integers(1, 32))
@example(HIGHEST, 1)
@example(HIGHEST, 31)
@example(HIGHEST, 32)
@example(LOWEST, 32)
def test_a_rounding_shift_needs_no_room(value: int, shift: int) -> None:
    found = 0 if shift > 31 else i32((value >> shift) + (value >> (shift - 1) & 1))
    assert found == int(integer.shift_down(value, shift))


@pytest.mark.parametrize("term", [LOWEST, HIGHEST, -1, 65535, None])
@pytest.mark.parametrize("count", [1, 3, 65535, 65536])
def test_halves_of_a_sum_fit_and_a_mean_is_two_divisions(term: int | None, count: int) -> None:
    dice = np.random.default_rng(count)
    terms = np.full(count, term) if term is not None else dice.integers(LOWEST, HIGHEST, count)
    high, low = i32(int((terms >> 16).sum())), u32(int((terms & 65535).sum()))
    total = 65536 * high + low
    assert total == int(terms.sum())
    # Halves up, of a number that is made positive by a multiple of the count.
    digits = total + (count >> 1) + 2**32 * count
    first, rest = divmod(digits >> 16, count)
    second = u32(rest << 16 | digits & 65535) // count
    assert (first << 16) + second - 2**32 == int(ops._mean(np.int64(total), count))


@pytest.mark.parametrize("columns", [4, 508, 512, 576, 1536, 65536])
def test_planes_are_joined_in_words(columns: int) -> None:
    most, dice = columns << 14, Random(columns)
    shift = max((257 * columns << 14).bit_length() - 31, 0)
    for high in (most, -most, 0, 1, -1, dice.randint(-most, most)):
        for low in (most, -most, 0, 1, -1, dice.randint(-most, most)):
            joined = (high << (8 - shift)) + (i32(low + (1 << shift >> 1)) >> shift)
            exact = integer.shift_down(256 * high + low, shift)
            assert joined == int(exact)
            assert abs(joined) <= 2**31


@pytest.mark.parametrize("columns", [32, 576, 4096, 65536])
@pytest.mark.parametrize("ends", [True, False])
def test_groups_of_four_bits_are_summed_in_words(columns: int, ends: bool) -> None:
    """A word for each group and plane; halves of those over a row; one pair in the end."""
    dice, groups = np.random.default_rng(columns), columns // 32
    pick = (lambda *of, n: np.full(n, of[-1])) if ends else (lambda *of, n: dice.choice(of, n))
    codes = pick(0, 1, 9, 15, n=columns).astype(np.int64)
    scales, minima = pick(0, 1, 100, 255, n=groups), pick(-32768, -9, 0, 32767, n=groups)
    planes = [pick(127, 0, -77, -128, n=columns).astype(np.int64) for _ in range(2)]
    joined = []
    for plane in planes:
        dots = (codes * plane).reshape(groups, 32).sum(axis=1)
        terms = scales * dots + minima * plane.reshape(groups, 32).sum(axis=1)
        assert np.abs(terms).max() < 2**28
        halves = i32(int((terms >> 16).sum())), u32(int((terms & 65535).sum()))
        joined.append(65536 * halves[0] + halves[1])
    weight = np.repeat(scales, 32) * codes + np.repeat(minima, 32)
    exact = int((weight * (planes[0] + 256 * planes[1])).sum())
    total = joined[0] + 256 * joined[1]
    assert total == exact and abs(total) < 2**47
    most = columns * LARGEST[DType.I4] * LARGEST[DType.ACT2]
    assert abs(int(integer.shift_down(total, max(most.bit_length() - 31, 0)))) <= 2**31


@given(st.integers(1, 65535), st.integers(32768, 65535))
def test_quotients_of_mantissas_are_words(numerator: int, denominator: int) -> None:
    n, _ = integer.normalise(numerator, 0)
    assert 2**15 <= u32((int(n) << 16) + (denominator >> 1)) // denominator < 2**17
    assert u32(2**31 + (denominator >> 1)) // denominator <= 65536
