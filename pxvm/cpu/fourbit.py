"""Linear of four-bit weights, and their rows as integers.

A row's sum is that of scale times code times activation, which ``groups`` has, and that of each
group's minimum times the sum of its activations. Activations are arranged once for all rows: 16-bit
numbers in the order in which codes come out of their lanes, then the sum of every group in parts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.core.operand import LARGEST as LARGEST_OF
from pxvm.core.tensor import GROUP, DType
from pxvm.cpu.bounds import BATCH, EIGHT, FEW, LOW, PARTS, RUN, arranged
from pxvm.cpu.compiler import jit
from pxvm.cpu.dots import planes_of
from pxvm.cpu.finishing import finish_columns, narrow
from pxvm.cpu.groups import BLOCK, LARGEST, dot_few, dot_one
from pxvm.cpu.intrinsics import atomic_add, barrier
from pxvm.cpu.memory import (
    COLS,
    PER,
    ROW_WORDS,
    ROWS,
    THREADS,
    excess_of,
    last_word,
    load_signed,
    part,
    row_at,
    split,
    used_rows,
    wrapped,
)
from pxvm.cpu.products import COUNTER, chunk_of

WEIGHT, ONE, TWO = LARGEST_OF[DType.I4], 128, LARGEST_OF[DType.ACT2]
size_of = jit(arranged)


@jit
def load_groups(c: Any, d: int, row: int, out: Any) -> None:
    """An I4 row into an int64 buffer."""
    start, cols = row_at(c, d, row), c.tensors[d, COLS]
    scales = cols >> 3
    minima = scales + ((cols + 127) >> 7)
    for g in range(cols // GROUP):
        word = np.int64(c.words[wrapped(c, d, start, scales + (g >> 2))])
        scale = word >> 8 * (g & 3) & 255
        word = np.int64(c.words[wrapped(c, d, start, minima + (g >> 1))]) >> 16 * (g & 1)
        minimum = (word & 0xFFFF) - ((word & 0x8000) << 1)
        for i in range(4):
            word = np.int64(c.words[wrapped(c, d, start, 4 * g + i)])
            for n in range(8):
                code = word >> (8 * (n & 3) + 4 * (n >> 2)) & 15
                out[GROUP * g + 8 * i + n] = scale * code + minimum


@jit
def _value(planes: Any, padded: int, two: bool, at: int) -> int:
    """An activation of the planes that ``load_signed`` left."""
    v = np.int64(planes[at])
    return v + 256 * np.int64(planes[at + padded]) if two else v


@jit
def load_activations(c: Any, x: int, t: int, planes: Any, out: Any) -> None:
    """An activation row into an int64 buffer; ``planes`` has room for two planes."""
    k, two = c.tensors[x, COLS], planes_of(c, x) == 2
    for p in range(planes_of(c, x)):
        load_signed(c, x, t, p, planes, p * k)
    for i in range(k):
        out[i] = _value(planes, k, two, i)


@jit
def arrange(c: Any, x: int, t: int, planes: Any, values: Any, sums: Any) -> bool:
    """An activation row as the products take it; False where one is too large for 16-bit lanes.

    ``values`` gets 128 numbers a block, ``sums`` for each eight groups the three parts of their
    sums; where the last block or the last eight overlap those before, zeros. ``planes`` has room
    for two planes.
    """
    k, two = c.tensors[x, COLS], planes_of(c, x) == 2
    for p in range(planes_of(c, x)):
        load_signed(c, x, t, p, planes, p * k)
    groups, fits = k // GROUP, True
    for b in range((groups + BLOCK - 1) // BLOCK):
        first, block = min(BLOCK * b, groups - BLOCK), values[128 * b : 128 * b + 128]
        for g in range(BLOCK):
            fresh = first + g >= BLOCK * b
            for lane in range(8 * g, 8 * g + 8):
                at = GROUP * first + 8 * (lane >> 1) + 2 * (lane & 1)
                for n in range(4):
                    v = _value(planes, k, two, at + (n >> 1) + 4 * (n & 1))
                    fits &= -LARGEST <= v <= LARGEST
                    block[32 * n + lane] = np.int16(v if fresh else 0)
    for b in range((groups + EIGHT - 1) // EIGHT):
        first = min(EIGHT * b, groups - EIGHT)
        for i in range(EIGHT):
            total = np.int64(0)
            if first + i >= EIGHT * b:
                for n in range(GROUP):
                    total += _value(planes, k, two, GROUP * (first + i) + n)
            for p in range(PARTS):
                part = total >> LOW * p
                part = part & (1 << LOW) - 1 if p < PARTS - 1 else part
                sums[PARTS * EIGHT * b + EIGHT * p + i] = np.int16(part)
    return fits


@jit
def linear_groups(c: Any, tid: int, out: int, x: int, w: int, turn: int) -> None:
    """Linear of an I4 weight; ``turn`` picks the counter that hands out work."""
    rows, threads, n = used_rows(c, x), c.config[THREADS], c.tensors[w, ROWS]
    size = size_of(c.tensors[w, COLS])
    shared, held = rows >= BATCH, c.planes
    if shared:
        first, last = part(rows, tid, threads)
        for t in range(first, last):
            _arrange(c, tid, x, t, held[t * size : t * size + size])
        barrier(c.sync, threads, 0, 0)
    else:
        held = c.bits[tid][2 * c.tensors[w, COLS] : 2 * c.tensors[w, COLS] + size]
    counter, chunk = c.sync.ctypes.data + 8 * (COUNTER + turn), chunk_of(n, threads)
    row, others, loaded = tid * chunk, threads * chunk, np.int64(-1)
    while row < n:
        stop, done = min(row + chunk, n), np.int64(0)
        while done < rows:
            if not shared and done != loaded:
                _arrange(c, tid, x, done, held)
                loaded = done
            many = np.int64(FEW) if shared and done + FEW <= rows else np.int64(1)
            at = done * size if shared else np.int64(0)
            _chunk(c, tid, out, x, w, done, many, held[at : at + many * size], row, stop)
            done += many
        row = atomic_add(counter, chunk) + others


@jit
def _arrange(c: Any, tid: int, x: int, t: int, held: Any) -> None:
    """A row of activations into ``held``: numbers, parts of sums, and whether they fit."""
    groups, halves = c.tensors[x, COLS] // GROUP, held.view(np.int16)
    end = 128 * ((groups + BLOCK - 1) // BLOCK)
    halves[len(halves) - 1] = False
    if groups >= EIGHT:
        fits = arrange(c, x, t, c.bits[tid], halves[:end], halves[end:])
        halves[len(halves) - 1] = fits


@jit
def _chunk(
    c: Any, tid: int, out: int, x: int, w: int, t: int, many: int, held: Any, first: int, last: int
) -> None:
    """Result columns [first, last) of ``many`` rows from ``t`` on, whose numbers are in ``held``.

    Runs of up to RUN weight rows are summed and finished at once.
    """
    per, k = c.tensors[w, PER], c.tensors[w, COLS]
    groups, size, totals = k // GROUP, size_of(k), c.row0[tid]
    fits, halves = per > 0, held.view(np.int16)
    for i in range(many):
        fits &= halves[((i + 1) * size >> 1) - 1] != 0
    down = excess_of(k * WEIGHT * (TWO if planes_of(c, x) == 2 else ONE))
    done = np.int64(0)
    while first + done < last:
        row, step = first + done, np.int64(1)
        if fits:
            step = min(min(per - row % per, last - row), np.int64(RUN))
            _sums(c, w, row, step, groups, size, many, held, totals)
        else:
            for i in range(many):
                load_activations(c, x, t + i, c.bits[tid], c.row2[tid])
                totals[i * RUN] = _plain(c, w, row, k, c.row1[tid], c.row2[tid])
        for i in range(many):
            m, e = split(last_word(c, x, t + i))
            narrow(totals[i * RUN : i * RUN + step], np.int64(0), down, c.tile[tid, :step])
            finish_columns(c, tid, out, t + i, w, row, step, c.tile[tid], down, m, e)
        done += step


@jit
def _sums(
    c: Any, w: int, row: int, step: int, groups: int, size: int, many: int, held: Any, totals: Any
) -> None:
    """totals[i * RUN + r] = the exact sum of weight row ``row + r`` and activation row i."""
    base, apart = c.bytes.ctypes.data + 4 * row_at(c, w, row), 4 * c.tensors[w, ROW_WORDS]
    x, out = held.ctypes.data, totals.ctypes.data
    for r in range(step):
        if many == FEW:
            dot_few(base + r * apart, groups, x, size, out + 8 * r, 8 * RUN)
        else:
            dot_one(base + r * apart, groups, x, size, out + 8 * r, 8 * RUN)


@jit
def _plain(c: Any, w: int, row: int, k: int, weights: Any, values: Any) -> int:
    """The exact sum where rows wrap, are short, or activations are larger than ours ever are."""
    load_groups(c, w, row, weights)
    total = np.int64(0)
    for i in range(k):
        total += weights[i] * values[i]
    return total
