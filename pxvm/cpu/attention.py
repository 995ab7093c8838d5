"""Attention over the key and value caches, and what fills them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.cpu.memory import (
    COLS,
    E0,
    E1,
    FRAC,
    PER,
    ROW_WORDS,
    ROWS,
    THREADS,
    VNNI,
    clamp,
    exp2_negative,
    jit,
    last_word,
    load,
    max_of,
    multiply_scales,
    part,
    quantise_row,
    reciprocal,
    rescale,
    row_at,
    scalar,
    split,
    store_activation,
    store_part,
    used_rows,
    wrapped,
)
from pxvm.cpu.products import rescale_many, stream
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
def _scores(
    c: Any, tid: int, k: int, first: int, n: int, q: Any, at: int, m: int, e: int, s: Any
) -> int:
    """Base-2 scores of one query against n keys into s, 16 fraction bits; their largest."""
    width, size, per = c.tensors[k, COLS], c.tensors[k, ROW_WORDS], c.tensors[k, PER]
    minus = np.int64(0)
    for i in range(width):
        minus += q[at + i]
    totals, scales = c.rows[tid, 2], c.rows[tid, 3]
    words, vnni, done = c.words, c.config[VNNI], np.int64(0)
    while done < n:
        start, step = row_at(c, k, first + done), np.int64(1)
        if per > 0:
            step = min(per - (first + done) % per, n - done)
            stream(vnni, c.bytes, 4 * start, 4 * size, step, q, at, -1, width, totals, done)
            for j in range(step):
                scales[done + j] = words[start + j * size + size - 1]
        else:
            total = np.int64(0)
            for i in range(width):
                byte = c.bytes[4 * wrapped(c, k, start, i >> 2) + (i & 3)]
                total += np.int64(byte) * np.int64(q[at + i])
            totals[done] = total
            scales[done] = last_word(c, k, first + done)
        done += step
    rescale_many(totals, 128 * minus, m, e, scales, 16, n, s)
    for j in range(n):
        s[j] = min(max(s[j], np.int64(-2147483648)), np.int64(2147483647))
    return max_of(s, n)


@jit
def _attend(
    c: Any, tid: int, out: int, v: int, first: int, n: int, top: int, at: int, row: int
) -> None:
    """Weights of n scores, their sum of values, divided, into the result's columns from ``at``."""
    width, s, u, total = c.tensors[v, COLS], c.rows[tid, 1], c.rows[tid, 2], c.rows[tid, 3]
    size, per, words, byte = c.tensors[v, ROW_WORDS], c.tensors[v, PER], c.words, c.bytes
    weight_sum, common, done = np.int64(0), np.int64(-40000), np.int64(0)
    for j in range(n):
        s[j] = exp2_negative(c.exp2, top - s[j])
        weight_sum += s[j]
    while done < n:
        start, step = row_at(c, v, first + done), np.int64(1)
        if per > 0:
            step = min(per - (first + done) % per, n - done)
            for j in range(step):
                u[done + j] = words[start + j * size + size - 1]
        else:
            u[done] = last_word(c, v, first + done)
        done += step
    for j in range(n):
        common = max(common, u[j] >> 16)
    for j in range(n):
        # The product is below 2^33, so a shift beyond 40 gives 0 like any larger one.
        shift = min(common - (u[j] >> 16) + 18, np.int64(40))
        u[j] = (s[j] * (u[j] & 0xFFFF) + (np.int64(1) << (shift - 1))) >> shift
    total[:width] = 0
    partial = c.tile[tid]
    for begin in range(0, n, BLOCK):
        stop = min(np.int64(begin + BLOCK), n)
        for d0 in range(0, width, 1024):
            part_size = min(np.int64(1024), width - d0)
            partial[:part_size] = 0
            done = np.int64(begin)
            while done < stop:
                start, step = row_at(c, v, first + done), np.int64(1)
                if per > 0:
                    step = min(per - (first + done) % per, stop - done)
                    _weigh(byte, 4 * start + d0, 4 * size, step, part_size, u[done:], partial)
                else:
                    for i in range(part_size):
                        word = wrapped(c, v, start, (d0 + i) >> 2)
                        value = np.int32(np.int32(byte[4 * word + (i & 3)]) - np.int32(128))
                        partial[i] += np.int32(np.int32(u[done]) * value)
                done += step
            for i in range(part_size):
                total[d0 + i] += partial[i]
    m, e = reciprocal(weight_sum)
    shift = e + common + 18 + c.tensors[out, FRAC]
    for i in range(width):
        total[i] = rescale(total[i], m, shift)
    store_part(c, out, row, at, width, total, tid)


@jit
def _weigh(values: Any, at: int, stride: int, n: int, width: int, u: Any, out: Any) -> None:
    """out[i] += sum over n rows of u[j] * (values[row j, i] - 128), int32."""
    for j in range(n):
        factor = np.int32(u[j])
        if factor != 0:
            for i in range(width):
                value = np.int32(np.int32(values[at + j * stride + i]) - np.int32(128))
                out[i] = np.int32(out[i] + np.int32(factor * value))


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
        top = _scores(c, tid, k, row, stop - begin, mine, 0, m, e, c.rows[tid, 1])
        _attend(c, tid, out, v, row, stop - begin, top, head * width, t)
