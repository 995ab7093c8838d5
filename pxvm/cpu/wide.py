"""Products in 64-bit arithmetic, element by element: MatMul of two activations, and Conv2D."""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.cpu.compiler import jit
from pxvm.cpu.dots import planes_of
from pxvm.cpu.finishing import finish, put
from pxvm.cpu.memory import (
    COLS,
    ROWS,
    THREADS,
    excess,
    last_word,
    load_signed,
    part,
    row_at,
    split,
    used_rows,
    wrapped,
)


@jit
def _value(q: Any, at: int, planes: int, padded: int) -> int:
    v = np.int64(q[at])
    return v + 256 * np.int64(q[at + padded]) if planes == 2 else v


@jit
def matmul(c: Any, tid: int, out: int, x: int, w: int) -> None:
    """MatMul of two activations, in 64 bits."""
    rows = used_rows(c, x)
    k, pa, pb = c.tensors[x, COLS], planes_of(c, x), planes_of(c, w)
    mine, down = c.bits[tid], excess(k, pa + pb)
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
            y = finish(c, tid, out, w, row, total, down, m, e)
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
    image, window, weight = c.bits[tid], c.row0[tid], c.bits[tid][2 * cols :]
    rows, down = used_rows(c, x), excess(k, planes + 1)
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
                result = finish(c, tid, out, w, row, total, down, m, e)
                put(c, wrapped(c, out, start, (oy * wide + ox) * n + row), result, tid)
