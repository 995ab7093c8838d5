"""Matrix products: exact int32 sums of int8 weights and int8 planes, then one rounding.

Weights are stored excess-128, which is what VNNI wants: sum((w + 128) x) = sum(w x) + 128 sum(x),
and the sum of the activations is known. One token streams the weights row by row; several tokens
take blocks of 16 weight rows, packed once and held against TILE activation rows at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.cpu.intrinsics import TILE, atomic_add, barrier, vnni_dot, vnni_tile
from pxvm.cpu.memory import (
    ACT1,
    ACT2,
    BIAS,
    COLS,
    DTYPE,
    FRAC,
    PER,
    ROWS,
    SATURATIONS,
    SCALE,
    THREADS,
    VNNI,
    jit,
    last_word,
    linked_word,
    load_signed,
    multiply_scales,
    part,
    rescale,
    row_at,
    split,
    used_rows,
    wrapped,
)

LANES = 16
BATCH = 4  # from so many tokens on, weights are packed into tiles
COUNTER = 16  # entry of ``sync`` that hands out blocks of work


@jit
def planes_of(c: Any, d: int) -> int:
    """Byte planes of an activation tensor."""
    return 2 if c.tensors[d, DTYPE] == ACT2 else 1


@jit
def plain_dot(weight: Any, at: int, x: Any, first: int, n: int) -> int:
    """sum((w + 128) x) over n bytes, int32, which LLVM vectorises."""
    total = np.int32(0)
    for i in range(n):
        total = np.int32(total + np.int32(weight[at + i]) * np.int32(x[first + i]))
    return np.int64(total)


@jit
def row_dot(c: Any, w: int, row: int, x: Any, low: int, high: int, scratch: Any) -> int:
    """sum((w + 128) (256 high + low)) of one weight row; high < 0 where there is one plane."""
    k, start = c.tensors[w, COLS], row_at(c, w, row)
    if c.tensors[w, PER] == 0:
        load_signed(c, w, row, 0, scratch, 0)
        total = np.int64(0)
        for i in range(k):
            u = np.int64(scratch[i]) + 128
            total += u * x[low + i]
            if high >= 0:
                total += 256 * u * x[high + i]
        return total
    if c.config[VNNI] and high >= 0:
        base = x.ctypes.data
        return vnni_dot(c.bytes.ctypes.data + 4 * start, base + low, base + high, k)
    total = plain_dot(c.bytes, 4 * start, x, low, k)
    if high >= 0:
        total += 256 * plain_dot(c.bytes, 4 * start, x, high, k)
    return total


@jit
def weight_scale(c: Any, w: int, row: int) -> tuple[int, int]:
    """The scale of a weight row, from the linked tensor or the activation row itself."""
    if c.tensors[w, DTYPE] >= ACT1:
        return split(last_word(c, w, row))
    link = c.tensors[w, SCALE]
    return split(linked_word(c, link, row)) if link >= 0 else (np.int64(0), np.int64(0))


@jit
def finish(c: Any, out: int, w: int, row: int, total: int, m: int, e: int) -> int:
    """The result's integer, not saturated: total times both scales plus bias."""
    wm, we = weight_scale(c, w, row)
    sm, se = multiply_scales(m, e, wm, we)
    y = rescale(total, sm, se + c.tensors[out, FRAC])
    bias = c.tensors[w, BIAS]
    return y + linked_word(c, bias, row) if bias >= 0 else y


@jit
def put(c: Any, at: int, y: int, tid: int) -> None:
    """Saturate and store one word."""
    kept = min(max(y, np.int64(-2147483648)), np.int64(2147483647))
    if kept != y:
        c.counters[tid, SATURATIONS] += 1
    c.words[at] = np.int32(kept)


@jit
def load_planes(c: Any, x: int, rows: int, padded: int, tid: int, threads: int) -> None:
    """Signed planes of all rows into ``c.planes`` and their sums into ``c.sums``, shared out."""
    planes, k = planes_of(c, x), c.tensors[x, COLS]
    first, last = part(rows, tid, threads)
    for t in range(first, last):
        total = np.int64(0)
        for p in range(planes):
            at = (t * planes + p) * padded
            total += load_signed(c, x, t, p, c.planes, at) << (8 * p)
            c.planes[at + k : at + padded] = 0
        c.sums[t] = total


@jit
def linear(c: Any, tid: int, out: int, x: int, w: int) -> None:
    """Linear and MatMul."""
    rows = used_rows(c, x)
    threads = c.config[THREADS]
    k = c.tensors[w, COLS]
    padded = (k + 63) // 64 * 64
    if c.tensors[w, DTYPE] == ACT1 or c.tensors[w, DTYPE] == ACT2:
        _activations(c, tid, out, x, w, rows)
        return
    if rows < BATCH:
        _few(c, tid, out, x, w, rows, padded)
        return
    load_planes(c, x, rows, padded, tid, threads)
    if tid == 0:
        c.sync[COUNTER] = 0
    barrier(c.sync, threads)
    blocks = (c.tensors[w, ROWS] + LANES - 1) // LANES
    counter = c.sync.ctypes.data + 8 * COUNTER
    block = atomic_add(counter, 1)
    while block < blocks:
        _block(c, tid, out, x, w, rows, padded, block * LANES)
        block = atomic_add(counter, 1)


@jit
def _few(c: Any, tid: int, out: int, x: int, w: int, rows: int, padded: int) -> None:
    """One to three tokens: every thread quantises nothing, streams its share of the weights."""
    planes, n = planes_of(c, x), c.tensors[w, ROWS]
    mine, k = c.bits[tid], c.tensors[x, COLS]
    first, last = part(n, tid, c.config[THREADS])
    for t in range(rows):
        low = load_signed(c, x, t, 0, mine, 0)
        mine[k:padded] = 0
        high, high_at = np.int64(0), np.int64(-1)
        if planes == 2:
            high_at = padded
            high = load_signed(c, x, t, 1, mine, padded)
            mine[padded + k : 2 * padded] = 0
        total = 128 * (low + 256 * high)
        m, e = split(last_word(c, x, t))
        start = row_at(c, out, t)
        for row in range(first, last):
            s = row_dot(c, w, row, mine, 0, high_at, mine[2 * padded :]) - total
            put(c, wrapped(c, out, start, row), finish(c, out, w, row, s, m, e), tid)


@jit
def _pack(c: Any, w: int, first: int, lanes: int, k: int, packed: Any) -> None:
    """16 weight rows as [k / 4][16][4] bytes; missing rows are zero."""
    words = packed.view(np.int32)
    if lanes < LANES:
        words[: k // 4 * LANES] = 0
    for lane in range(lanes):
        start = row_at(c, w, first + lane)
        if c.tensors[w, PER] > 0:
            for q in range(k // 4):
                words[q * LANES + lane] = c.words[start + q]
        else:
            for q in range(k // 4):
                words[q * LANES + lane] = c.words[wrapped(c, w, start, q)]


@jit
def _plain_tile(packed: Any, x: Any, at: int, stride: int, quads: int, out: Any) -> None:
    """What ``vnni_tile`` computes, in plain loops."""
    for r in range(TILE):
        for lane in range(LANES):
            out[r * LANES + lane] = 0
        for q in range(quads):
            for lane in range(LANES):
                total = np.int32(0)
                for i in range(4):
                    weight = np.int32(np.uint8(packed[(q * LANES + lane) * 4 + i]))
                    total += weight * np.int32(x[at + r * stride + 4 * q + i])
                out[r * LANES + lane] += total


@jit
def _block(c: Any, tid: int, out: int, x: int, w: int, rows: int, padded: int, first: int) -> None:
    """16 result columns of every token."""
    k, planes = c.tensors[w, COLS], planes_of(c, x)
    lanes = min(np.int64(LANES), c.tensors[w, ROWS] - first)
    packed = c.bits[tid]
    _pack(c, w, first, lanes, k, packed)
    tile = c.tile[tid]
    step = TILE // planes
    base = c.planes.ctypes.data
    scale_m, scale_e = c.rows[tid, 0], c.rows[tid, 1]
    bias, bias_link = c.rows[tid, 2], c.tensors[w, BIAS]
    for lane in range(LANES):
        scale_m[lane], scale_e[lane], bias[lane] = 0, 0, 0
        if lane < lanes:
            scale_m[lane], scale_e[lane] = weight_scale(c, w, first + lane)
            bias[lane] = linked_word(c, bias_link, first + lane) if bias_link >= 0 else 0
    for t in range(0, rows, step):
        at = t * planes * padded
        if c.config[VNNI]:
            vnni_tile(packed.ctypes.data, base + at, padded, k // 4, tile.ctypes.data)
        else:
            _plain_tile(packed, c.planes, at, padded, k // 4, tile)
        for r in range(min(np.int64(step), rows - t)):
            _finish_lanes(c, tid, out, x, t + r, first, lanes, tile, r * planes * LANES, planes)


@jit
def _finish_lanes(
    c: Any, tid: int, out: int, x: int, t: int, first: int, lanes: int, tile: Any, at: int,
    planes: int,
) -> None:  # fmt: skip
    """The rounding of 16 sums of one token. Normalised scales take a loop without branches."""
    m, e = split(last_word(c, x, t))
    frac = c.tensors[out, FRAC]
    scale_m, scale_e, bias, y = c.rows[tid, 0], c.rows[tid, 1], c.rows[tid, 2], c.rows[tid, 3]
    minus = 128 * c.sums[t]
    low, high = np.int64(63), np.int64(0)
    for lane in range(LANES):
        total = np.int64(tile[at + lane])
        if planes == 2:
            total += 256 * np.int64(tile[at + LANES + lane])
        p = m * scale_m[lane]
        down = 15 + (p >> 31)
        sm = (p + (np.int64(1) << (down - 1))) >> down
        over = sm >> 16
        shift = -(e + scale_e[lane] + down + over + frac)
        low, high = min(low, shift), max(high, shift)
        y[lane] = (total - minus) * (sm >> over)
        y[LANES + lane] = shift
    usual = low >= 1 and high <= 62 and m >= 32768
    for lane in range(lanes):
        usual = usual and scale_m[lane] >= 32768
    if usual:
        for lane in range(LANES):
            s = y[LANES + lane]
            v = (y[lane] + (np.int64(1) << (s - 1))) >> s
            y[lane] = max(min(v, np.int64(1) << 33), -(np.int64(1) << 33)) + bias[lane]
    else:
        for lane in range(lanes):
            total = np.int64(tile[at + lane])
            if planes == 2:
                total += 256 * np.int64(tile[at + LANES + lane])
            sm, se = multiply_scales(m, e, scale_m[lane], scale_e[lane])
            y[lane] = rescale(total - minus, sm, se + frac) + bias[lane]
    start = row_at(c, out, t)
    if c.tensors[out, PER] > 0:
        over_count = np.int64(0)
        for lane in range(lanes):
            kept = min(max(y[lane], np.int64(-2147483648)), np.int64(2147483647))
            over_count += kept != y[lane]
            c.words[start + first + lane] = np.int32(kept)
        c.counters[tid, SATURATIONS] += over_count
    else:
        for lane in range(lanes):
            put(c, wrapped(c, out, start, first + lane), y[lane], tid)


@jit
def _value(q: Any, at: int, planes: int, padded: int) -> int:
    v = np.int64(q[at])
    return v + 256 * np.int64(q[at + padded]) if planes == 2 else v


@jit
def _activations(c: Any, tid: int, out: int, x: int, w: int, rows: int) -> None:
    """MatMul of two activations, in 64 bits."""
    k, pa, pb = c.tensors[x, COLS], planes_of(c, x), planes_of(c, w)
    mine = c.bits[tid]
    first, last = part(c.tensors[w, ROWS], tid, c.config[THREADS])
    for row in range(first, last):
        for p in range(pb):
            load_signed(c, w, row, p, mine, p * k)
        for t in range(rows):
            for p in range(pa):
                load_signed(c, x, t, p, mine, (2 + p) * k)
            total = np.int64(0)
            for i in range(k):
                total += _value(mine, i, pb, k) * _value(mine, 2 * k + i, pa, k)
            m, e = split(last_word(c, x, t))
            y = finish(c, out, w, row, total, m, e)
            put(c, wrapped(c, out, row_at(c, out, t), row), y, tid)


@jit
def conv2d(c: Any, tid: int, out: int, x: int, a: int) -> None:
    """Conv2D: each result row of pixels is one item of work."""
    p = c.params[a]
    w, height, width, size, stride, pad = p[0], p[1], p[2], p[3], p[4], p[5]
    planes, channels = planes_of(c, x), c.tensors[x, COLS] // (height * width)
    high, wide = (height + 2 * pad - size) // stride + 1, (width + 2 * pad - size) // stride + 1
    n, k = c.tensors[w, ROWS], c.tensors[w, COLS]
    cols = c.tensors[x, COLS]
    image, window, weight = c.bits[tid], c.rows[tid, 0], c.bits[tid][2 * cols :]
    rows = used_rows(c, x)
    first, last = part(rows * high, tid, c.config[THREADS])
    loaded = np.int64(-1)
    for item in range(first, last):
        t, oy = item // high, item % high
        if t != loaded:
            for plane in range(planes):
                load_signed(c, x, t, plane, image, plane * cols)
            loaded = t
        m, e = split(last_word(c, x, t))
        start = row_at(c, out, t)
        for ox in range(wide):
            for ky in range(size):
                for kx in range(size):
                    y, xx = oy * stride + ky - pad, ox * stride + kx - pad
                    at = (ky * size + kx) * channels
                    inside = 0 <= y < height and 0 <= xx < width
                    for ch in range(channels):
                        source = (y * width + xx) * channels + ch
                        window[at + ch] = _value(image, source, planes, cols) if inside else 0
            for row in range(n):
                load_signed(c, w, row, 0, weight, 0)
                total = np.int64(0)
                for i in range(k):
                    total += np.int64(weight[i]) * window[i]
                result = finish(c, out, w, row, total, m, e)
                put(c, wrapped(c, out, start, (oy * wide + ox) * n + row), result, tid)
