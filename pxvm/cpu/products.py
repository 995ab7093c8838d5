"""Matrix products: exact int32 sums of int8 weights and int8 planes, then one rounding.

One token streams the weights row by row (``dots``); several tokens meet some of them at a time
(``tiles``). What becomes of the sums stands in ``finishing``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.cpu.bounds import BATCH, PACK, RUN
from pxvm.cpu.compiler import jit
from pxvm.cpu.dots import halves_dots, join, planes_of, stream
from pxvm.cpu.finishing import finish_columns, narrow
from pxvm.cpu.intrinsics import atomic_add, barrier
from pxvm.cpu.memory import (
    AVX2,
    COLS,
    PER,
    ROW_WORDS,
    ROWS,
    THREADS,
    VNNI,
    excess,
    last_word,
    load_signed,
    part,
    row_at,
    split,
    up,
    used_rows,
    wrapped,
)
from pxvm.cpu.tiles import block_of, load_halves, load_planes, meeting

APART = 32  # from so many a thread on, threads share out tokens instead of weight rows
AHEAD = 1 << 17  # bytes of weights fetched while a thread waits
CHUNK = 512  # weight rows that a thread takes at a time
COUNTER, TURNS = 16, 32  # entries of ``sync`` that hand out work, by turns


@jit
def linear(c: Any, tid: int, out: int, x: int, w: int, turn: int) -> None:
    """Linear; ``turn`` picks the counter that hands out work."""
    rows, threads, k = used_rows(c, x), c.config[THREADS], c.tensors[w, COLS]
    padded, counter = up(k, 64), c.sync.ctypes.data + 8 * (COUNTER + turn)
    if rows < BATCH or c.tensors[w, PER] == 0 or not (c.config[VNNI] or c.config[AVX2]):
        _few(c, tid, out, x, w, rows, padded, counter)
        return
    first, last = part(rows, tid, threads)
    if c.config[AVX2]:
        load_halves(c, tid, x, first, last, padded)
    else:
        load_planes(c, x, first, last, padded)
    blocks = (c.tensors[w, ROWS] + PACK - 1) // PACK
    if c.config[VNNI] and rows >= APART * threads:  # each its rows, as in what stands around
        for block in range(blocks):
            block_of(c, tid, out, x, w, first, last, padded, block * PACK)
        return
    barrier(c.sync, threads, 0, 0)
    if c.config[AVX2] and not _all_fit(c, rows):
        _few(c, tid, out, x, w, rows, padded, counter)
        return
    block = atomic_add(counter, 1)
    while block < blocks:
        if c.config[AVX2]:
            meeting(c, tid, out, x, w, rows, padded, block * PACK)
        else:
            block_of(c, tid, out, x, w, 0, rows, padded, block * PACK)
        block = atomic_add(counter, 1)


@jit
def _all_fit(c: Any, rows: int) -> bool:
    """True where ``load_halves`` found every activation small enough."""
    sums, fits = c.sums, np.int64(1)
    for t in range(rows):
        fits &= sums[3 * t + 2]
    return fits != 0


@jit
def _few(c: Any, tid: int, out: int, x: int, w: int, rows: int, padded: int, counter: int) -> None:
    """Few tokens: the threads take chunks of weight rows and stream them once for each token."""
    planes, n = planes_of(c, x), c.tensors[w, ROWS]
    mine, whole = c.bits[tid], np.int64(0)
    mine[: 2 * padded] = 0
    chunk = chunk_of(n, c.config[THREADS])
    loaded, minus, m, e = np.int64(-1), np.int64(0), np.int64(0), np.int64(0)
    first, others = tid * chunk, c.config[THREADS] * chunk
    while first < n:
        stop = min(first + chunk, n)
        for t in range(rows):
            if t != loaded:
                loaded = np.int64(t)
                minus = load_signed(c, x, t, 0, mine, 0)
                if planes == 2:
                    minus += 256 * load_signed(c, x, t, 1, mine, padded)
                minus *= 128
                m, e = split(last_word(c, x, t))
                if c.config[AVX2]:
                    whole = join(mine, mine[2 * padded :].view(np.int16), padded)
            _chunk(
                c, tid, out, w, t, first, stop - first, padded if planes == 2 else -1, minus, m, e,
                2 * padded if whole else -1,
            )  # fmt: skip
        first = atomic_add(counter, chunk) + others


@jit
def chunk_of(n: int, threads: int) -> int:
    """How many of n weight rows a thread takes at a time; the first so many are its own."""
    return max(np.int64(16), min(np.int64(CHUNK), n // (2 * threads)))


@jit
def soon(c: Any, tid: int, w: int) -> tuple[int, int]:
    """Addresses between which the weight rows begin that this thread reads first."""
    chunk = chunk_of(c.tensors[w, ROWS], c.config[THREADS])
    row, limit = min(tid * chunk, c.tensors[w, ROWS] - 1), np.int64(AHEAD)
    at = c.bytes.ctypes.data + 4 * row_at(c, w, row)
    return at, at + min(chunk * c.tensors[w, ROW_WORDS] * 4, limit)


@jit
def _chunk(
    c: Any, tid: int, out: int, w: int, t: int, first: int, n: int, high: int, minus: int, m: int,
    e: int, whole: int,
) -> None:  # fmt: skip
    """Result columns [first, first + n) of one token, whose planes are in this thread's bytes.

    From byte ``whole`` on, where that is not below 0, both planes stand as 16-bit integers.

    Runs of up to RUN rows are summed and finished at once, so that finishing one overlaps with
    fetching the next.
    """
    totals, mine, vnni = c.row0[tid], c.bits[tid], c.config[VNNI]
    k, per, size = c.tensors[w, COLS], c.tensors[w, PER], c.tensors[w, ROW_WORDS]
    done, down = np.int64(0), excess(k, 3 if high >= 0 else 2)
    while done < n:
        row = first + done
        begin, step = row_at(c, w, row), np.int64(1)
        if per > 0:
            step = min(min(per - row % per, n - done), np.int64(RUN))
            if whole >= 0:
                halves = mine[whole:].view(np.int16)
                halves_dots(c.bytes, 4 * begin, 4 * size, step, halves, k, totals)
            else:
                stream(vnni, c.bytes, 4 * begin, 4 * size, step, mine, 0, high, k, totals, 0)
        else:
            totals[0] = _wrapped_dot(c, w, begin, k, mine, high)
        narrow(totals, minus, down, c.tile[tid, :step])
        finish_columns(c, tid, out, t, w, row, step, c.tile[tid], down, m, e)
        done += step


@jit
def _wrapped_dot(c: Any, w: int, start: int, k: int, x: Any, high: int) -> int:
    """sum((weight + 128) x) of a weight row that wraps."""
    total = np.int64(0)
    for i in range(k):
        byte = np.int64(c.bytes[4 * wrapped(c, w, start, i >> 2) + (i & 3)])
        total += byte * x[i]
        if high >= 0:
            total += 256 * byte * x[high + i]
    return total
