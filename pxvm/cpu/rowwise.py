"""Opcodes that work row by row or element by element; each mirrors its lines in core's ``ops``."""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.core import ops
from pxvm.cpu.compiler import jit
from pxvm.cpu.finishing import put, weight_scale
from pxvm.cpu.fourbit import load_groups
from pxvm.cpu.intrinsics import two_words
from pxvm.cpu.memory import (
    ABOVE,
    ACT1,
    BELOW,
    BIAS,
    COLS,
    DTYPE,
    FRAC,
    I4,
    I32,
    PER,
    ROWS,
    SATURATIONS,
    SCALE,
    THREADS,
    bit_length,
    clamp,
    element,
    exp2_negative,
    inverse_root,
    linked_word,
    load,
    load_i16,
    load_part,
    load_signed,
    load_words,
    max_of,
    mean,
    multiply_scales,
    part,
    pieces_of,
    quantise_row,
    quantise_words,
    reciprocal,
    rescale,
    rescale_row,
    row_at,
    saturate,
    scalar,
    shift_round,
    split,
    store,
    store_activation,
    store_part,
    store_small,
    sum_of,
    used_rows,
)

LARGEST = (1 << 31) - 1
LOG2E, LOG2E_EXPONENT = (int(part) for part in ops.LOG2E)


@jit
def embed(c: Any, tid: int, out: int, ids: int, table: int) -> None:
    """Embed."""
    first, last = part(used_rows(c, out), tid, c.config[THREADS])
    y, mine = c.row0[tid], c.bits[tid]
    for t in range(first, last):
        index = np.int64(c.words[row_at(c, ids, t)])
        row = clamp(c, index, c.tensors[table, ROWS], tid, True)
        m, e = weight_scale(c, table, row)
        if c.tensors[table, DTYPE] == I4:
            load_groups(c, table, row, y)
        else:
            load_signed(c, table, row, 0, mine, 0)
            for i in range(c.tensors[out, COLS]):
                y[i] = mine[i]
        shift = e + c.tensors[out, FRAC]
        for i in range(c.tensors[out, COLS]):
            y[i] = rescale(y[i], m, shift)
        store(c, out, t, y, tid)


@jit
def binary(c: Any, tid: int, out: int, a: int, b: int, kind: int) -> None:
    """Add (0), Mul (1), Less (2), Equal (3); b may be one row or one element."""
    cols, rows, threads = c.tensors[out, COLS], used_rows(c, out), c.config[THREADS]
    x, y = c.row0[tid], c.row1[tid]
    pieces = pieces_of(rows, threads)
    first, last = part(rows * pieces, tid, threads)
    shift = c.tensors[a, FRAC] + c.tensors[b, FRAC] - c.tensors[out, FRAC]
    one_row, one = c.tensors[b, ROWS] == 1, c.tensors[b, COLS] == 1
    for item in range(first, last):
        t = item // pieces
        begin, stop = part(cols, item % pieces, pieces)
        n = stop - begin
        load_part(c, a, t, begin, n, x)
        if one:
            y[:n] = element(c, b, 0 if one_row else t)
        else:
            load_part(c, b, 0 if one_row else t, begin, n, y)
        if kind == 0:
            for i in range(n):
                x[i] += y[i]
        elif kind == 1:
            _multiply(x, y, n, shift)
        elif kind == 2:
            for i in range(n):
                x[i] = np.int64(x[i] < y[i])
        else:
            for i in range(n):
                x[i] = np.int64(x[i] == y[i])
        store_part(c, out, t, begin, n, x, tid)


@jit
def _multiply(x: Any, y: Any, n: int, shift: int) -> None:
    """x[:n] times y[:n], both of 32 bits: a processor has their product at once."""
    if 1 <= shift <= 62:
        half = np.int64(1) << (shift - 1)
        for i in range(n):
            v = (np.int64(np.int32(x[i])) * np.int64(np.int32(y[i])) + half) >> shift
            x[i] = max(min(v, np.int64(ABOVE)), np.int64(BELOW))
    else:
        for i in range(n):
            x[i] = shift_round(x[i] * y[i], shift)


@jit
def dot(c: Any, tid: int, out: int, a: int, b: int) -> None:
    """Dot."""
    n, rows = c.tensors[a, COLS], used_rows(c, out)
    x, y = c.row0[tid], c.row1[tid]
    first, last = part(rows, tid, c.config[THREADS])
    shift = c.tensors[a, FRAC] + c.tensors[b, FRAC] - c.tensors[out, FRAC]
    for t in range(first, last):
        load(c, a, t, x)
        load(c, b, t, y)
        _multiply(x, y, n, shift)
        saturate_all(c, x, n, tid)
        put(c, row_at(c, out, t), sum_of(x, n), tid)


@jit
def saturate_all(c: Any, v: Any, n: int, tid: int) -> None:
    """Saturate v[:n], counted."""
    over = np.int64(0)
    for i in range(n):
        kept = saturate(v[i])
        over += kept != v[i]
        v[i] = kept
    c.counters[tid, SATURATIONS] += over


@jit
def select(c: Any, tid: int, out: int, condition: int, x: int) -> None:
    """Select."""
    n = c.tensors[out, COLS]
    y, flag, new = c.row0[tid], c.row1[tid], c.row2[tid]
    first, last = part(used_rows(c, out), tid, c.config[THREADS])
    for t in range(first, last):
        load(c, out, t, y)
        load(c, condition, t, flag)
        load(c, x, t, new)
        for i in range(n):
            y[i] = new[i] if flag[i] != 0 else y[i]
        store(c, out, t, y, tid)


@jit
def relu(c: Any, tid: int, out: int, x: int) -> None:
    """ReLU."""
    y = c.row0[tid]
    first, last = part(used_rows(c, out), tid, c.config[THREADS])
    for t in range(first, last):
        load(c, x, t, y)
        for i in range(c.tensors[out, COLS]):
            y[i] = max(y[i], np.int64(0))
        store(c, out, t, y, tid)


@jit
def lookup(c: Any, tid: int, out: int, x: int, table: int, gated: bool) -> None:
    """Table, and Gate when ``gated``."""
    cols, steps, threads = c.tensors[out, COLS], c.tensors[table, COLS] - 1, c.config[THREADS]
    bits = np.int64(21)  # 32 << 16 is 2^21 and steps is a power of two
    while np.int64(1) << (21 - bits) < steps:
        bits -= 1
    half, x_frac, t_frac = (np.int64(1) << bits) >> 1, c.tensors[x, FRAC], c.tensors[table, FRAC]
    shift = t_frac - c.tensors[out, FRAC] + (x_frac if gated else 0)
    values, y, rows = c.row0[tid], c.row1[tid], used_rows(c, out)
    pieces, entries = pieces_of(rows, threads), c.row3[tid].view(np.int32)
    first, last = part(rows * pieces, tid, threads)
    at = c.words.ctypes.data + 4 * row_at(c, table, 0)
    if c.tensors[table, PER] == 0 and first < last:  # it wraps
        load(c, table, 0, entries)
        at = entries.ctypes.data
    for item in range(first, last):
        t = item // pieces
        begin, stop = part(cols, item % pieces, pieces)
        n = stop - begin
        load_part(c, x, t, begin, n, values)
        _interpolate(at, values, n, x_frac - 16, bits, half, steps, y, c.row2[tid])
        if gated:
            _multiply(y, values, n, shift)
        else:
            for i in range(n):
                y[i] = shift_round(y[i], shift)
        store_part(c, out, t, begin, n, y, tid)


@jit
def _interpolate(
    table: int, x: Any, n: int, shift: int, bits: int, half: int, steps: int, y: Any, pairs: Any
) -> None:
    """y[i] = the table, whose address is given, at x[i]; see integer.interpolate."""
    right, left = min(max(shift, np.int64(0)), np.int64(62)), min(max(-shift, np.int64(0)), 34)
    nudge, far = (np.int64(1) << right) >> 1, np.int64(1) << 25  # beyond the table's ends
    for i in range(n):
        v = min(max((x[i] + nudge) >> right, -far), far) << left
        y[i] = min(max(v + (16 << 16), np.int64(0)), np.int64(32 << 16))
    for i in range(n):  # two entries at once, and nothing else: looking up is no vector code
        pairs[i] = two_words(table, min(y[i] >> bits, steps - 1))
    for i in range(n):
        rest = np.int32(y[i] - (min(y[i] >> bits, steps - 1) << bits))
        low = np.int64(np.int32(pairs[i]))
        rise = np.int32(saturate((pairs[i] >> 32) - low))
        y[i] = low + ((np.int64(rise) * np.int64(rest) + half) >> bits)


@jit
def norm(c: Any, tid: int, out: int, x: int, w: int, centred: bool) -> None:
    """RMSNorm of each head, and LayerNorm of the row when ``centred``."""
    n, width, frac = c.tensors[x, COLS], c.tensors[w, COLS], c.tensors[x, FRAC]
    first, last = part(used_rows(c, x), tid, c.config[THREADS])
    v, weight, bias = c.row0[tid], c.row1[tid], c.row2[tid]
    em, ee, w_frac = np.int64(0), np.int64(0), c.tensors[w, FRAC]
    biased = c.tensors[w, BIAS] >= 0
    if c.tensors[w, SCALE] >= 0:
        em, ee = split(linked_word(c, c.tensors[w, SCALE], 0))
    if first < last:
        load_i16(c, w, 0, weight)
        if biased:
            load_words(c, c.tensors[w, BIAS], 0, width, bias)
    for t in range(first, last):
        load(c, x, t, v)
        if centred:
            middle = mean(sum_of(v, n), n)
            for i in range(n):
                v[i] = saturate(v[i] - middle)
        for at in range(0, n, width):
            head = v[at : at + width]
            m, e = _normalised(head, weight, em, ee, frac)
            if c.tensors[out, DTYPE] == I32:
                rescale_row(head, width, m, e + c.tensors[out, FRAC] - w_frac)
                if biased:
                    saturate_all(c, head, width, tid)
                    for i in range(width):
                        head[i] += bias[i]
            else:  # one head
                bits = 7 if c.tensors[out, DTYPE] == ACT1 else 14
                qm, qe = quantise_row(v, 0, n, bits, w_frac)
                qm, qe = multiply_scales(qm, qe, m, e)
                store_activation(c, out, t, v, 0, qm, qe)
        if c.tensors[out, DTYPE] == I32:
            store(c, out, t, v, tid)


@jit
def _normalised(v: Any, weight: Any, em: int, ee: int, frac: int) -> tuple[int, int]:
    """A head, shifted to 15 bits, times its weights; returns what one of it stands for."""
    n, largest, square = len(v), np.int64(0), np.int64(0)
    for i in range(n):
        largest = max(largest, abs(v[i]))
    shift = max(bit_length(largest) - 15, np.int64(0))
    half = (np.int64(1) << shift) >> 1
    for i in range(n):
        small = np.int64(np.int32((v[i] + half) >> shift))
        square += small * small
        v[i] = small * np.int64(np.int32(weight[i]))
    square += max(saturate(rescale(n, em, ee + 2 * (frac - shift))), np.int64(1))
    return inverse_root(n, square)


@jit
def l2_norm(c: Any, tid: int, out: int, x: int) -> None:
    """L2Norm."""
    n, v = c.tensors[x, COLS], c.row0[tid]
    first, last = part(used_rows(c, x), tid, c.config[THREADS])
    for t in range(first, last):
        load(c, x, t, v)
        largest = np.int64(0)
        for i in range(n):
            largest = max(largest, abs(v[i]))
        shift = max(bit_length(largest) - 15, np.int64(0))
        half = (np.int64(1) << shift) >> 1
        square = np.int64(0)
        for i in range(n):
            small = (v[i] + half) >> shift
            square += small * small
        m, e = inverse_root(1, max(square, np.int64(1)))
        rescale_row(v, n, m, e - shift + c.tensors[out, FRAC])
        store(c, out, t, v, tid)


@jit
def softmax(c: Any, tid: int, out: int, x: int) -> None:
    """Softmax."""
    n, v = c.tensors[x, COLS], c.row0[tid]
    first, last = part(used_rows(c, x), tid, c.config[THREADS])
    for t in range(first, last):
        load(c, x, t, v)
        top = max_of(v, n)
        total = np.int64(0)
        for i in range(n):
            d = rescale(saturate(top - v[i]), LOG2E, LOG2E_EXPONENT + 16 - c.tensors[x, FRAC])
            v[i] = exp2_negative(d)
            total += v[i]
        m, e = reciprocal(total)
        rescale_row(v, n, m, e + c.tensors[out, FRAC])
        store(c, out, t, v, tid)


@jit
def quantise(c: Any, tid: int, out: int, x: int) -> None:
    """Quantise."""
    v, bits = c.row0[tid], 7 if c.tensors[out, DTYPE] == ACT1 else 14
    first, last = part(used_rows(c, x), tid, c.config[THREADS])
    n, frac = c.tensors[x, COLS], c.tensors[x, FRAC]
    plain = bits == 7 and c.tensors[x, PER] > 0 and c.tensors[out, PER] > 0
    small = v.view(np.int32)[:n]
    for t in range(first, last):
        if plain:
            at = row_at(c, x, t)
            m, e = quantise_words(c.words[at : at + n], small, frac)
            store_small(c, out, t, small, m, e)
        else:
            load(c, x, t, v)
            m, e = quantise_row(v, 0, n, bits, frac)
            store_activation(c, out, t, v, 0, m, e)


@jit
def reduce(c: Any, tid: int, out: int, x: int, kind: int) -> None:
    """Sum (0), Max (1), Mean (2), Argmax (3)."""
    n, v = c.tensors[x, COLS], c.row0[tid]
    first, last = part(used_rows(c, x), tid, c.config[THREADS])
    for t in range(first, last):
        load(c, x, t, v)
        if kind == 0:
            y = sum_of(v, n)
        elif kind == 1:
            y = max_of(v, n)
        elif kind == 2:
            y = mean(sum_of(v, n), n)
        else:
            y = np.int64(0)
            for i in range(n):
                if v[i] > v[y]:
                    y = np.int64(i)
        put(c, row_at(c, out, t), y, tid)


@jit
def largest(v: Any, n: int, count: int, order: Any) -> None:
    """Indexes of the ``count`` largest of v[:n] in order, the lower index first among equals.

    A heap holds the best so far with the worst of them on top; taken apart, it is in order.
    """
    for i in range(count):
        order[i] = i
    for start in range(count // 2 - 1, -1, -1):
        _sink(v, order, start, count)
    for i in range(count, n):
        if v[i] > v[order[0]]:
            order[0] = i
            _sink(v, order, 0, count)
    for last in range(count - 1, 0, -1):
        order[0], order[last] = order[last], order[0]
        _sink(v, order, 0, last)


@jit
def _sink(v: Any, order: Any, at: int, size: int) -> None:
    """Move the index at ``at`` down the heap of ``size`` until no worse one is below it."""
    index = order[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _worse(v, order[child + 1], order[child]):
            child += 1
        if not _worse(v, order[child], index):
            break
        order[at] = order[child]
        at = child
    order[at] = index


@jit
def _worse(v: Any, i: int, j: int) -> bool:
    return v[i] < v[j] or (v[i] == v[j] and i > j)


@jit
def top_k(c: Any, tid: int, indices: int, x: int, values: int) -> None:
    """TopK."""
    n, k = c.tensors[x, COLS], c.tensors[indices, COLS]
    v, order, found = c.row0[tid], c.row1[tid], c.row2[tid]
    first, last = part(used_rows(c, x), tid, c.config[THREADS])
    for t in range(first, last):
        load(c, x, t, v)
        largest(v, n, k, order)
        for i in range(k):
            found[i] = v[order[i]]
        store(c, indices, t, order, tid)
        store(c, values, t, found, tid)


@jit
def rope(c: Any, tid: int, x: int, table: int, position: int, pairs: bool) -> None:
    """RoPEPairs, and RoPEHalves unless ``pairs``."""
    n, width = c.tensors[x, COLS], c.tensors[table, COLS]
    half = width // 2
    v, angles = c.row0[tid], c.row1[tid]
    start = scalar(c, position)
    first, last = part(used_rows(c, x), tid, c.config[THREADS])
    for t in range(first, last):
        load(c, x, t, v)
        load_i16(c, table, clamp(c, start + t, c.tensors[table, ROWS], tid, True), angles)
        for head in range(0, n, width):
            for i in range(half):
                one = head + (2 * i if pairs else i)
                two = one + (1 if pairs else half)
                a, b, cosine, sine = v[one], v[two], angles[2 * i], angles[2 * i + 1]
                v[one] = (a * cosine - b * sine + 8192) >> 14
                v[two] = (a * sine + b * cosine + 8192) >> 14
        store(c, x, t, v, tid)


@jit
def pool(c: Any, tid: int, out: int, x: int, a: int, averages: bool) -> None:
    """AvgPool when ``averages``, else MaxPool."""
    p = c.params[a]
    height, width, size, stride = p[0], p[1], p[2], p[3]
    channels = c.tensors[x, COLS] // (height * width)
    high, wide = (height - size) // stride + 1, (width - size) // stride + 1
    v, y, area = c.row0[tid], c.row1[tid], size * size
    first, last = part(used_rows(c, x), tid, c.config[THREADS])
    for t in range(first, last):
        load(c, x, t, v)
        for oy in range(high):
            for ox in range(wide):
                for ch in range(channels):
                    total, top = np.int64(0), np.int64(-LARGEST - 1)
                    for ky in range(size):
                        for kx in range(size):
                            at = ((oy * stride + ky) * width + ox * stride + kx) * channels + ch
                            total += v[at]
                            top = max(top, v[at])
                    result = mean(total, area) if averages else top
                    y[(oy * wide + ox) * channels + ch] = result
        store(c, out, t, y, tid)


@jit
def columns(c: Any, tid: int, out: int, x: int, a: int, into: bool) -> None:
    """Concat when ``into`` (x into columns of the result), else Slice."""
    p, v, y = c.params[a], c.row0[tid], c.row1[tid]
    begin, step = p[0], p[1]
    first, last = part(used_rows(c, x), tid, c.config[THREADS])
    for t in range(first, last):
        load(c, x, t, v)
        if into:
            load(c, out, t, y)
            for i in range(c.tensors[x, COLS]):
                y[begin + i] = v[i]
        else:
            for i in range(c.tensors[out, COLS]):
                y[i] = v[begin + i * step]
        store(c, out, t, y, tid)


@jit
def fill(c: Any, tid: int, out: int, value: int) -> None:
    """Fill."""
    v, y = scalar(c, value), c.row0[tid]
    y[: c.tensors[out, COLS]] = v
    first, last = part(used_rows(c, out), tid, c.config[THREADS])
    for t in range(first, last):
        store(c, out, t, y, tid)


@jit
def tail(c: Any, tid: int, out: int, x: int) -> None:
    """Tail."""
    used, rows, v = used_rows(c, x), used_rows(c, out), c.row0[tid]
    first, last = part(rows, tid, c.config[THREADS])
    for t in range(first, last):
        load(c, x, max(used - rows + t, np.int64(0)), v)
        store(c, out, t, v, tid)


@jit
def mean_pool(c: Any, tid: int, out: int, x: int, a: int) -> None:
    """MeanPool."""
    p, n = c.params[a], c.tensors[x, COLS]
    span, lengths = p[0], p[1]
    step = min(max(scalar(c, span), np.int64(1)), c.tensors[x, ROWS])
    count = c.tensors[lengths, ROWS] * c.tensors[lengths, COLS]
    used, v, total = used_rows(c, x), c.row0[tid], c.row1[tid]
    first, last = part(used_rows(c, out), tid, c.config[THREADS])
    for group in range(first, last):
        length = element(c, lengths, min(np.int64(group), count - 1))
        begin = group * step
        stop = min(begin + min(max(length, np.int64(1)), step), used)
        total[:n] = 0
        for t in range(begin, stop):
            load(c, x, t, v)
            for i in range(n):
                total[i] += v[i]
        size = stop - begin
        for i in range(n if size > 1 else 0):
            total[i] = mean(total[i], size)
        store(c, out, group, total, tid)
