"""Tensors in the image's memory, and the integer primitives, compiled.

A ``Context`` (see ``context``) holds everything that the kernels share. Words are addressed by
their index into ``words``, the image's memory as int32 with padded rows included; rows of a tensor
are loaded into and stored from int64 buffers, which hides whether they wrap. The arithmetic
mirrors ``pxvm.core.integer`` line by line.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.core.integer import EXP2, HIGHEST, LOWEST
from pxvm.cpu import bounds
from pxvm.cpu.compiler import jit
from pxvm.cpu.context import AMX as AMX
from pxvm.cpu.context import AVX2 as AVX2
from pxvm.cpu.context import STRIDE as STRIDE
from pxvm.cpu.context import THREADS as THREADS
from pxvm.cpu.context import VNNI as VNNI
from pxvm.cpu.context import WIDTH as WIDTH

# Columns of ``Context.tensors``.
DTYPE, ROWS, COLS, ROW_WORDS, X, Y, PER, FRAC, SCALE, BIAS, LENGTH, ROLE, SPAN, E0, E1 = range(15)
COLUMNS = 17  # E0 to E3 are the extents
# Columns of ``Context.counters``, one row for each thread; more than 0 marks the state.
SATURATIONS, CLAMPS = range(2)
BELOW, ABOVE = LOWEST - 1, HIGHEST + 1  # what shows that a value does not fit 32 bits
# 256 times an entry of EXP2, plus how far the next one is below. Constant for the compiler, which
# then knows that no store changes it and turns loops that look up in it into vector code.
FALLS = (EXP2[:-1] << 8 | EXP2[:-1] - EXP2[1:]).astype(np.int32)
ROUNDED = 2.0**-26  # more than a quotient of quantise_row may be too small
I8, I16, I32, SCALES, ACT1, ACT2, RGBA, PARAMS, I4 = range(1, 10)
up = jit(bounds.up)


@jit
def row_at(c: Any, d: int, row: int) -> int:
    """Word index of a tensor row's start."""
    t = c.tensors[d]
    stride = c.config[STRIDE]
    if t[PER] > 0:
        return (t[Y] + row // t[PER]) * stride + t[X] + row % t[PER] * t[ROW_WORDS]
    return (t[Y] + row * t[SPAN]) * stride


@jit
def wrapped(c: Any, d: int, start: int, index: int) -> int:
    """Word index of the index-th word of a row that starts at ``start``."""
    if c.tensors[d, PER] > 0:
        return start + index
    width = c.config[WIDTH]
    return start + index // width * c.config[STRIDE] + index % width


@jit
def scalar(c: Any, d: int) -> int:
    """The first element of an I32 tensor."""
    return np.int64(c.words[row_at(c, d, 0)])


@jit
def used_rows(c: Any, d: int) -> int:
    """Rows in use."""
    rows, length = c.tensors[d, ROWS], c.tensors[d, LENGTH]
    if length < 0:
        return rows
    return max(np.int64(0), min(rows, scalar(c, length)))


@jit
def load(c: Any, d: int, row: int, out: Any) -> None:
    """An I32 (or RGBA) tensor row into an int64 buffer."""
    load_part(c, d, row, 0, c.tensors[d, COLS], out)


@jit
def load_part(c: Any, d: int, row: int, first: int, n: int, out: Any) -> None:
    """Words [first, first + n) of a tensor row into out[:n], int64."""
    start, words = row_at(c, d, row), c.words
    if c.tensors[d, PER] > 0:
        source = words[start + first : start + first + n]
        for i in range(n):
            out[i] = source[i]
        return
    width, stride = c.config[WIDTH], c.config[STRIDE]
    done = 0
    while done < n:
        x = (first + done) % width
        at = start + (first + done) // width * stride + x
        step = min(width - x, n - done)
        source, target = words[at : at + step], out[done : done + step]
        for i in range(step):
            target[i] = source[i]
        done += step


@jit
def store(c: Any, d: int, row: int, values: Any, tid: int) -> None:
    """An int64 buffer into an I32 tensor row, saturated and counted."""
    store_part(c, d, row, 0, c.tensors[d, COLS], values, tid)


@jit
def load_i16(c: Any, d: int, row: int, out: Any) -> None:
    """An I16 tensor row into an int64 buffer."""
    start, words = row_at(c, d, row), c.words
    n = c.tensors[d, COLS] >> 1
    if c.tensors[d, PER] > 0:
        _halves(words[start : start + n], out)
        return
    for i in range(n):
        at = wrapped(c, d, start, i)
        _halves(words[at : at + 1], out[2 * i : 2 * i + 2])


@jit
def _halves(words: Any, out: Any) -> None:
    """Two signed 16-bit numbers out of each word."""
    for i in range(len(words)):
        word = np.int64(words[i])
        out[2 * i] = (word & 0xFFFF) - ((word & 0x8000) << 1)
        out[2 * i + 1] = word >> 16


@jit
def load_words(c: Any, d: int, first: int, n: int, out: Any) -> None:
    """Words [first, first + n) of a one-dimensional tensor into an int64 buffer."""
    load_part(c, d, 0, first, n, out)


@jit
def store_part(c: Any, d: int, row: int, first: int, n: int, values: Any, tid: int) -> None:
    """values[:n] into columns [first, first + n) of an I32 row, saturated and counted."""
    start, words = row_at(c, d, row), c.words
    width, stride = c.config[WIDTH], c.config[STRIDE]
    wraps = c.tensors[d, PER] == 0
    done, over = 0, 0
    while done < n:
        at, step = start + first + done, n - done
        if wraps:
            x = (first + done) % width
            at = start + (first + done) // width * stride + x
            step = min(width - x, n - done)
        over += saturate_into(words[at : at + step], values[done : done + step])
        done += step
    c.counters[tid, SATURATIONS] += over


@jit
def saturate_into(words: Any, values: Any) -> int:
    """values into words, saturated to int32; how many were.

    Kernels get slices where they can: a slice's index starts at 0, and a loop over one that may
    be negative does not become vector code.
    """
    over = np.int64(0)
    for i in range(len(words)):
        v = values[i]
        kept = min(max(v, np.int64(-2147483648)), np.int64(2147483647))
        over += kept != v
        words[i] = np.int32(kept)
    return over


@jit
def signed_bytes(source: Any, out: Any) -> int:
    """Excess-128 bytes as signed ones; returns their sum, right for up to MAX_INNER of them."""
    total = np.int32(0)
    for i in range(len(source)):
        v = np.int8(source[i] ^ np.uint8(0x80))
        out[i] = v
        total = np.int32(total + np.int32(v))
    return np.int64(total)


@jit
def load_signed(c: Any, d: int, row: int, plane: int, out: Any, first: int) -> int:
    """One plane of an I8 or ACT row as signed bytes into out[first:]; returns their sum."""
    cols, start = c.tensors[d, COLS], row_at(c, d, row)
    quads = cols >> 2
    total = np.int64(0)
    if c.tensors[d, PER] > 0:
        at = (start + plane * quads) * 4
        return signed_bytes(c.bytes[at : at + cols], out[first : first + cols])
    for q in range(quads):
        at = wrapped(c, d, start, plane * quads + q) * 4
        for i in range(4):
            v = np.int8(c.bytes[at + i] ^ 0x80)
            out[first + 4 * q + i] = v
            total += v
    return total


@jit
def last_word(c: Any, d: int, row: int) -> int:
    """The scale word of an activation row."""
    start = row_at(c, d, row)
    return np.int64(c.words[wrapped(c, d, start, c.tensors[d, ROW_WORDS] - 1)])


@jit
def linked_word(c: Any, d: int, index: int) -> int:
    """Word ``index`` of a one-dimensional tensor."""
    return np.int64(c.words[wrapped(c, d, row_at(c, d, 0), index)])


@jit
def store_activation(c: Any, d: int, row: int, q: Any, first: int, m: int, e: int) -> None:
    """Write q[first:] as an ACT1 or ACT2 row with its scale."""
    cols, start = c.tensors[d, COLS], row_at(c, d, row)
    two = c.tensors[d, DTYPE] == ACT2
    at = wrapped(c, d, start, c.tensors[d, ROW_WORDS] - 1)
    c.words[at] = np.int32((m & 0xFFFF) | (e & 0xFFFF) << 16)
    if c.tensors[d, PER] > 0:
        byte, source = 4 * start, q[first : first + cols]
        low = c.bytes[byte : byte + cols]
        for i in range(cols):
            low[i] = np.uint8((source[i] + 128) & 255)
        if two:
            high = c.bytes[byte + cols : byte + 2 * cols]
            for i in range(cols):
                high[i] = np.uint8((((source[i] + 128) >> 8) + 128) & 255)
        return
    for i in range(cols):
        v = q[first + i] + 128
        c.bytes[4 * wrapped(c, d, start, i >> 2) + (i & 3)] = np.uint8(v & 255)
        if two:
            word = wrapped(c, d, start, (cols + i) >> 2)
            c.bytes[4 * word + (i & 3)] = np.uint8(((v >> 8) + 128) & 255)


@jit
def store_small(c: Any, d: int, row: int, q: Any, m: int, e: int) -> None:
    """``store_activation`` of an int32 buffer, as an ACT1 row that does not wrap."""
    start, n = row_at(c, d, row), c.tensors[d, COLS]
    c.words[start + (n >> 2)] = np.int32((m & 0xFFFF) | (e & 0xFFFF) << 16)
    low = c.bytes[4 * start : 4 * start + n]
    for i in range(n):
        low[i] = np.uint8(q[i] + np.int32(128))


@jit
def sum_of(v: Any, n: int) -> int:
    """Sum of v[:n]."""
    total = np.int64(0)
    for i in range(n):
        total += v[i]
    return total


@jit
def max_of(v: Any, n: int) -> int:
    """Largest of v[:n], n at least 1."""
    top = v[0]
    for i in range(n):
        top = max(top, v[i])
    return top


@jit
def clamp(c: Any, index: int, count: int, tid: int, counts: bool) -> int:
    """An index clamped to 0..count - 1, counted where asked."""
    kept = max(np.int64(0), min(index, count - 1))
    if counts and kept != index:
        c.counters[tid, CLAMPS] += 1
    return kept


@jit
def bit_length(v: int) -> int:
    """Bits of a non-negative integer."""
    n = np.int64(0)
    if v >= 1 << 32:
        n, v = n + 32, v >> 32
    if v >= 1 << 16:
        n, v = n + 16, v >> 16
    if v >= 1 << 8:
        n, v = n + 8, v >> 8
    if v >= 1 << 4:
        n, v = n + 4, v >> 4
    if v >= 1 << 2:
        n, v = n + 2, v >> 2
    if v >= 2:
        return n + 2
    return n + v


@jit
def shift_down(v: int, s: int) -> int:
    """See integer.shift_down."""
    return (v + ((np.int64(1) << s) >> 1)) >> s


@jit
def shift_round(v: int, s: int) -> int:
    """See integer.shift_round."""
    if s > 62:
        return np.int64(0)
    if s > 0:
        v = (v + (np.int64(1) << (s - 1))) >> s
    elif s < 0:
        v = max(np.int64(LOWEST // 2 - 1), min(np.int64(HIGHEST // 2 + 1), v)) << min(-s, 32)
    return max(np.int64(BELOW), min(np.int64(ABOVE), v))


@jit
def rescale(v: int, m: int, e: int) -> int:
    """See integer.rescale."""
    return shift_round(v * m, -e)


@jit
def rescale_row(v: Any, n: int, m: int, e: int) -> None:
    """See integer.rescale, n values in place."""
    if 1 <= -e <= 62:
        shift = -e
        half = np.int64(1) << (shift - 1)
        for i in range(n):
            y = (v[i] * m + half) >> shift
            v[i] = max(min(y, np.int64(ABOVE)), np.int64(BELOW))
        return
    for i in range(n):
        v[i] = rescale(v[i], m, e)


@jit
def normalise(v: int, e: int) -> tuple[int, int]:
    """See integer.normalise."""
    down = bit_length(v) - 16
    m = shift_down(v, down) if down > 0 else v << -down
    over = m >> 16
    m, e = m >> over, e + down + over
    if m == 0:
        return np.int64(0), np.int64(0)
    return m, max(np.int64(-32768), min(np.int64(32767), e))


@jit
def split(word: int) -> tuple[int, int]:
    """A scale word's mantissa and exponent."""
    return word & 0xFFFF, word >> 16


@jit
def multiply_scales(m1: int, e1: int, m2: int, e2: int) -> tuple[int, int]:
    """See integer.multiply_scales."""
    return normalise(m1 * m2, e1 + e2)


@jit
def saturate(v: int) -> int:
    """See integer.saturate."""
    return max(np.int64(LOWEST), min(np.int64(HIGHEST), v))


@jit
def excess(terms: int, planes: int) -> int:
    """See ops.excess; ``planes`` of both operands together."""
    most = np.int64(terms) << 14
    for _ in range(planes - 2):
        most *= 257
    return excess_of(most)


@jit
def excess_of(most: int) -> int:
    """Bits that a sum of at most so much may have beyond 32."""
    return max(bit_length(most) - 31, np.int64(0))


@jit
def mean(total: int, count: int) -> int:
    """The total of ``count`` numbers divided by it, rounded half up."""
    return (total + (count >> 1)) // count


@jit
def root(v: int) -> int:
    """See integer.root."""
    below = np.int64(np.floor(np.sqrt(np.float64(v))))
    return below + np.int64(v - below * below > below)


@jit
def inverse_root(numerator: int, denominator: int) -> tuple[int, int]:
    """See integer.inverse_root."""
    n, e = normalise(numerator, np.int64(0))
    m, m_exponent = normalise(denominator, np.int64(0))
    quotient, e = ((n << 16) + (m >> 1)) // m, e - m_exponent - 16
    shift = 31 - bit_length(quotient)
    shift += (e - shift) & 1
    return root(quotient << shift), (e - shift) >> 1


@jit
def reciprocal(v: int) -> tuple[int, int]:
    """See integer.reciprocal."""
    m, e = normalise(v, np.int64(0))
    return normalise(((np.int64(1) << 31) + (m >> 1)) // m, -31 - e)


@jit
def exp2_negative(d: int) -> int:
    """See integer.exp2_negative."""
    whole = d >> 16
    entry = np.int64(FALLS[(d >> 8) & 255])
    value = (entry >> 8) - (((entry & 255) * (d & 255) + 128) >> 8)
    s = min(whole, np.int64(17))
    return np.int64(0) if whole > 17 else shift_down(value, s)


@jit
def quantise_row(v: Any, first: int, n: int, bits: int, frac: int) -> tuple[int, int]:
    """See integer.quantise_rows, one row in place: v[first:first + n]; returns the scale."""
    v, largest = v[first : first + n], np.int64(0)
    for i in range(n):
        largest = max(largest, abs(v[i]))
    if bits == 14:
        shift = max(bit_length(largest) - 14, np.int64(0))
        half = (np.int64(1) << shift) >> 1
        for i in range(n):
            v[i] = (v[i] + half) >> shift
        return normalise(np.int64(1), shift - frac)
    shift = max(bit_length(largest) - 22, np.int64(0))
    half = (np.int64(1) << shift) >> 1
    most = np.int32(1)
    for i in range(n):
        small = np.int32((v[i] + half) >> shift)
        v[i] = small
        most = max(most, abs(small))
    # 254 |x| + m and 2 m are below 2^31 and 2^24: a quotient that is not whole lacks more than
    # 2^-24 to the next whole number, and what a whole one may lack by rounding is added.
    m, part = np.int64(most), np.float64(1) / np.float64(2 * most)
    for i in range(n):
        x = np.int32(np.int32(254) * np.int32(v[i]) + most)
        v[i] = np.int64(np.int32(np.floor(np.float64(x) * part + ROUNDED)))
    left = 31 - bit_length(m)
    return normalise((m << left) // 127, shift - frac - left)


@jit
def quantise_words(x: Any, out: Any, frac: int) -> tuple[int, int]:
    """See integer.quantise_rows, of a row of words to 7 bits in ``out``, int32; the scale.

    The same as ``quantise_row``, in half the bytes.
    """
    most, least = np.int32(0), np.int32(0)
    for i in range(len(x)):
        most, least = max(most, x[i]), min(least, x[i])
    shift = max(bit_length(max(np.int64(most), -np.int64(least))) - 22, np.int64(0))
    down, one = np.int32(shift), np.int32(shift > 0)
    before, largest = np.int32(down - one), np.int32(1)
    for i in range(len(x)):
        half = np.int32(np.int32(x[i] >> before) & one)  # rounds half up, without a carry to lose
        small = np.int32(np.int32(x[i] >> down) + half)
        out[i] = small
        largest = max(largest, abs(small))
    part = np.float64(1) / np.float64(np.int64(2) * np.int64(largest))
    for i in range(len(x)):
        numerator = np.int32(np.int32(254) * out[i] + largest)
        out[i] = np.int32(np.floor(np.float64(numerator) * part + ROUNDED))
    m = np.int64(largest)
    left = 31 - bit_length(m)
    return normalise((m << left) // 127, shift - frac - left)


@jit
def pieces_of(rows: int, threads: int) -> int:
    """Into how many runs of columns a row is cut, so that every thread has work."""
    return 1 if rows >= threads else threads


@jit
def element(c: Any, d: int, index: int) -> int:
    """An element of a tensor by its number in order."""
    cols = c.tensors[d, COLS]
    return np.int64(c.words[wrapped(c, d, row_at(c, d, index // cols), index % cols)])


@jit
def part(n: int, tid: int, threads: int) -> tuple[int, int]:
    """The share [start, stop) of n items that a thread takes."""
    return n * tid // threads, n * (tid + 1) // threads
