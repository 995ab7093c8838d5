"""Attention over the key and value caches, and what fills them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.cpu.intrinsics import vnni_dot
from pxvm.cpu.memory import (
    COLS,
    E0,
    E1,
    FRAC,
    PER,
    ROWS,
    THREADS,
    VNNI,
    clamp,
    exp2_negative,
    jit,
    last_word,
    load,
    multiply_scales,
    part,
    quantise_row,
    reciprocal,
    rescale,
    row_at,
    scalar,
    split,
    store_activation,
    used_rows,
    wrapped,
)
from pxvm.cpu.products import plain_dot, put
from pxvm.cpu.rowwise import element

BLOCK = 256  # tokens whose weighted values fit into int32: 2^14 * 2^7 * 2^8 < 2^31


@jit
def append(c: Any, tid: int, cache: int, x: int, position: int) -> None:
    """Append: each head is one item of work; of rows clamped to the same place the last stays."""
    heads, context, width = c.tensors[cache, E0], c.tensors[cache, E1], c.tensors[cache, COLS]
    start, rows, v = scalar(c, position), used_rows(c, x), c.rows[tid, 0]
    first, last = part(heads, tid, c.config[THREADS])
    for t in range(rows):
        if first < last:
            load(c, x, t, v)
            row = clamp(c, start + t, context, tid, first == 0)
        for head in range(first, last):
            m, e = quantise_row(v, head * width, width, 7, c.tensors[x, FRAC])
            store_activation(c, cache, head * context + row, v, head * width, m, e)


@jit
def _scores(c: Any, k: int, first: int, n: int, q: Any, at: int, m: int, e: int, s: Any) -> int:
    """Base-2 scores of one query against n keys into s, 16 fraction bits; their largest."""
    width = c.tensors[k, COLS]
    minus = np.int64(0)
    for i in range(width):
        minus += q[at + i]
    minus *= 128
    base, zeros = q.ctypes.data + at, q.ctypes.data + at + (width + 63) // 64 * 64
    wraps = c.tensors[k, PER] == 0
    for j in range(n):
        start = row_at(c, k, first + j)
        if wraps:
            total = np.int64(0)
            for i in range(width):
                byte = c.bytes[4 * wrapped(c, k, start, i >> 2) + (i & 3)]
                total += np.int64(byte) * np.int64(q[at + i])
        elif c.config[VNNI]:
            total = vnni_dot(c.bytes.ctypes.data + 4 * start, base, zeros, width)
        else:
            total = plain_dot(c.bytes, 4 * start, q, at, width)
        s[j] = total - minus
    for j in range(n):
        km, ke = split(last_word(c, k, first + j))
        sm, se = multiply_scales(m, e, km, ke)
        s[j] = min(max(rescale(s[j], sm, se + 16), np.int64(-2147483648)), np.int64(2147483647))
    return s[:n].max()


@jit
def _attend(
    c: Any, tid: int, out: int, v: int, first: int, n: int, top: int, at: int, row: int
) -> None:
    """Weights of n scores, their sum of values, divided, into the result's columns from ``at``."""
    width, s, u, total = c.tensors[v, COLS], c.rows[tid, 1], c.rows[tid, 2], c.rows[tid, 3]
    weight_sum, common = np.int64(0), np.int64(-40000)
    for j in range(n):
        s[j] = exp2_negative(c.exp2, top - s[j])
        weight_sum += s[j]
    for j in range(n):
        u[j] = last_word(c, v, first + j)
        common = max(common, u[j] >> 16)
    for j in range(n):
        # The product is below 2^33, so a shift beyond 40 gives 0 like any larger one.
        shift = min(common - (u[j] >> 16) + 18, np.int64(40))
        u[j] = (s[j] * (u[j] & 0xFFFF) + (np.int64(1) << (shift - 1))) >> shift
    total[:width] = 0
    partial = c.tile[tid]
    wraps = c.tensors[v, PER] == 0
    for begin in range(0, n, BLOCK):
        stop = min(np.int64(begin + BLOCK), n)
        for d0 in range(0, width, 1024):
            size = min(np.int64(1024), width - d0)
            partial[:size] = 0
            for j in range(begin, stop):
                if u[j] == 0:
                    continue
                start, factor = row_at(c, v, first + j), np.int32(u[j])
                if wraps:
                    for i in range(size):
                        word = wrapped(c, v, start, (d0 + i) >> 2)
                        partial[i] += factor * (np.int32(c.bytes[4 * word + (i & 3)]) - 128)
                else:
                    byte = 4 * start + d0
                    for i in range(size):
                        value = np.int32(np.int32(c.bytes[byte + i]) - np.int32(128))
                        partial[i] = np.int32(partial[i] + np.int32(factor * value))
            for i in range(size):
                total[d0 + i] += partial[i]
    m, e = reciprocal(weight_sum)
    start, frac = row_at(c, out, row), c.tensors[out, FRAC]
    for i in range(width):
        put(c, wrapped(c, out, start, at + i), rescale(total[i], m, e + common + 18 + frac), tid)


@jit
def attention(c: Any, tid: int, out: int, q: int, a: int, causal: bool) -> None:
    """AttentionCausal, and AttentionFull unless ``causal``; each row and head is one item."""
    p = c.params[a]
    k, v = p[0], p[1]
    kv_heads, context, width = c.tensors[k, E0], c.tensors[k, E1], c.tensors[k, COLS]
    heads = c.tensors[q, COLS] // width
    scale_m, scale_e = split(p[3] if causal else p[4])
    rows, x, mine = used_rows(c, q), c.rows[tid, 0], c.bits[tid]
    padded = (width + 63) // 64 * 64
    mine[: 2 * padded] = 0
    first, last = part(rows * heads, tid, c.config[THREADS])
    loaded, begin, stop = np.int64(-1), np.int64(0), np.int64(0)
    for item in range(first, last):
        t, head = item // heads, item % heads
        if t != loaded:
            load(c, q, t, x)
            loaded = t
            if causal:
                end = clamp(c, scalar(c, p[2]) + t, context, tid, False) + 1
                begin, stop = np.int64(0), end
            else:
                step = min(max(scalar(c, p[2]), np.int64(1)), context)
                count = c.tensors[p[3], ROWS] * c.tensors[p[3], COLS]
                length = element(c, p[3], min(t // step, count - 1))
                begin = min(t // step * step, context - 1)
                stop = min(begin + min(max(length, np.int64(1)), step), context)
        if causal and head == 0:
            clamp(c, scalar(c, p[2]) + t, context, tid, True)
        m, e = quantise_row(x, head * width, width, 7, c.tensors[q, FRAC])
        m, e = multiply_scales(m, e, scale_m, scale_e)
        for i in range(width):
            mine[i] = np.int8(x[head * width + i])
        row = head // (heads // kv_heads) * context + begin
        top = _scores(c, k, row, stop - begin, mine, 0, m, e, c.rows[tid, 1])
        _attend(c, tid, out, v, row, stop - begin, top, head * width, t)
