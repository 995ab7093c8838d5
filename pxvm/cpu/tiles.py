"""Products of several tokens: some weights at a time, held against some activation rows.

With VNNI, blocks of 16 weight rows are packed once. With AVX2, a weight is widened once to a signed
integer of 16 bits, as both planes of an activation are one (see ``dots``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.cpu.amx import amx_begin, amx_end, amx_tiles
from pxvm.cpu.avx2 import avx2_meet
from pxvm.cpu.bounds import LANES, NEAR, PACK, QUAD, SHARED, STRETCH, TILE, TILED
from pxvm.cpu.compiler import jit
from pxvm.cpu.dots import join, planes_of
from pxvm.cpu.finishing import finish_columns, finish_tile, narrow
from pxvm.cpu.intrinsics import prefetch
from pxvm.cpu.memory import (
    AMX,
    COLS,
    ROWS,
    excess,
    last_word,
    load_signed,
    part,
    row_at,
    shift_down,
    split,
    up,
)
from pxvm.cpu.vnni import transpose, vnni_tile


@jit
def load_planes(c: Any, x: int, first: int, last: int, padded: int) -> None:
    """Signed planes of rows [first, last) into ``c.planes`` and their sums into ``c.sums``."""
    planes, k = planes_of(c, x), c.tensors[x, COLS]
    for t in range(first, last):
        total = np.int64(0)
        for p in range(planes):
            at = (t * planes + p) * padded
            total += load_signed(c, x, t, p, c.planes, at) << (8 * p)
            c.planes[at + k : at + padded] = 0
        c.sums[3 * t], c.sums[3 * t + 1] = total, last_word(c, x, t)


@jit
def block_of(
    c: Any, tid: int, out: int, x: int, w: int, start: int, stop: int, padded: int, first: int
) -> None:
    """PACK result columns of tokens [start, stop) with VNNI."""
    k, planes = c.tensors[w, COLS], planes_of(c, x)
    lanes = min(np.int64(PACK), c.tensors[w, ROWS] - first)
    packed, groups, size = c.bits[tid], (lanes + LANES - 1) // LANES, LANES * k
    for group in range(groups):
        begin = group * LANES
        mine = packed[group * size : (group + 1) * size]
        _pack(c, tid, w, first + begin, min(np.int64(LANES), lanes - begin), k, mine)
    down, wide = excess(k, planes + 1), groups * LANES
    step = np.int64(TILED if c.config[AMX] else TILE) // planes
    if c.config[AMX]:
        amx_begin()
    for t in range(start, stop, step):
        _planes_tile(c, tid, packed, groups, t, k, padded, planes)
        finish_tile(c, tid, out, w, first, lanes, t, min(step, stop - t), planes, wide, down)
    if c.config[AMX]:
        amx_end()


@jit
def _pack(c: Any, tid: int, w: int, first: int, lanes: int, k: int, packed: Any) -> None:
    """16 weight rows as [k / 4][16][4] bytes; missing rows are zero."""
    words, source, n, done = packed.view(np.int32), c.words, k // 4, np.int64(0)
    if lanes < LANES:
        words[: n * LANES] = 0
    else:
        places, base, done = c.row0[tid], c.bytes.ctypes.data, n // LANES * LANES
        for lane in range(LANES):
            places[lane] = base + 4 * row_at(c, w, first + lane)
        soon = base + 4 * row_at(c, w, min(first + LANES, c.tensors[w, ROWS] - 1)) - places[0]
        transpose(places.ctypes.data, n // LANES, soon, packed.ctypes.data)
    for lane in range(lanes):
        start = row_at(c, w, first + lane)
        for q in range(done, n):
            words[q * LANES + lane] = source[start + q]


@jit
def _planes_tile(
    c: Any, tid: int, packed: Any, groups: int, t: int, k: int, padded: int, planes: int
) -> None:
    """Sums of packed weights with token t and those behind, as many as the tile has room for."""
    tile, wide, size = c.tile[tid], groups * LANES, LANES * k
    x, out, weights = (
        c.planes.ctypes.data + t * planes * padded,
        tile.ctypes.data,
        packed.ctypes.data,
    )
    if c.config[AMX]:
        amx_tiles(weights, size, groups, x, padded, k, out, 4 * wide)
        return
    for group in range(groups):
        at = out + 4 * group * LANES
        vnni_tile(weights + group * size, x, padded, k // 4, at, 4 * wide)


@jit
def load_halves(c: Any, tid: int, x: int, first: int, last: int, padded: int) -> None:
    """Rows [first, last) into ``c.planes`` as 16-bit integers.

    Into ``c.sums`` go the scale word, and 1 where all integers fit, behind a word for each row.
    """
    mine, out = c.bits[tid], c.planes.view(np.int16)
    mine[: 2 * padded] = 0
    for t in range(first, last):
        for p in range(planes_of(c, x)):
            load_signed(c, x, t, p, mine, p * padded)
        c.sums[3 * t + 1] = last_word(c, x, t)
        c.sums[3 * t + 2] = join(mine, out[t * padded :], padded)


@jit
def meeting(c: Any, tid: int, out: int, x: int, w: int, rows: int, padded: int, first: int) -> None:
    """PACK result columns of all tokens with AVX2."""
    k, planes = c.tensors[w, COLS], planes_of(c, x)
    lanes, down = min(np.int64(PACK), c.tensors[w, ROWS] - first), excess(k, planes + 1)
    deep, pieces, tile = up(k, LANES), (rows + SHARED - 1) // SHARED, c.tile[tid]
    stretch = deep if planes == 1 else min(deep, np.int64(STRETCH))
    many = max(np.int64(QUAD), min(np.int64(PACK), NEAR // deep // QUAD * QUAD))
    for piece in range(pieces):
        start, stop = part(rows, piece, pieces)
        for begin in range(0, lanes, many):
            n = min(many, lanes - begin)
            _widen(c, w, first + begin, n, k, deep, c.bits[tid].view(np.int16))
            soon = min(first + begin + n, c.tensors[w, ROWS] - 1)
            _meet(c, tid, start, stop, begin, n, deep, stretch, padded, 4 * row_at(c, w, soon))
        for t in range(start, stop):
            at = (t - start) * PACK
            some = tile[at : at + lanes]
            if stretch < deep:
                narrow(c.row0[tid, at : at + lanes], np.int64(0), down, some)
            elif down > 0:
                for i in range(lanes):
                    some[i] = np.int32(shift_down(np.int64(some[i]), down))
            m, e = split(c.sums[3 * t + 1])
            finish_columns(c, tid, out, t, w, first, lanes, some, down, m, e)


@jit
def _widen(c: Any, w: int, first: int, n: int, k: int, deep: int, out: Any) -> None:
    """n weight rows, signed, as rows of ``deep`` 16-bit integers, whose last count for nothing."""
    for r in range(n):
        at = 4 * row_at(c, w, first + r)
        source, target = c.bytes[at : at + k], out[r * deep : r * deep + k]
        for i in range(k):
            target[i] = np.int16(source[i]) - np.int16(128)


@jit
def _meet(
    c: Any, tid: int, start: int, stop: int, begin: int, n: int, deep: int, stretch: int,
    padded: int, soon: int,
) -> None:  # fmt: skip
    """Sums of n widened weight rows with tokens [start, stop), two at a time, at least two.

    Where one is left, it comes with the one before once more. Sums go to columns from ``begin`` on
    of rows of PACK: of the tile, and where a row is longer than a stretch also of ``row0``.
    Meanwhile as many weights are fetched from byte ``soon`` on.
    """
    tile, wide, weights, x = c.tile[tid], up(n, QUAD), c.bits[tid].ctypes.data, c.planes.ctypes.data
    apart = up(2 * n * deep // (stop - start), 64)
    soon, end = c.bytes.ctypes.data + soon, c.bytes.ctypes.data + min(soon + n * deep, len(c.bytes))
    for first in range(start, stop, 2):
        near = soon + (first - start) // 2 * apart
        for line in range(near, min(near + apart, end), 64):
            prefetch(line)
        t = min(np.int64(first), stop - 2)
        at = (t - start) * PACK + begin
        for done in range(0, deep, stretch):
            size, out = min(stretch, deep - done), tile.ctypes.data + 4 * at
            avx2_meet(weights + 2 * done, 2 * deep, wide, x + 2 * (t * padded + done), 2 * padded,
                      size, out, 4 * PACK)  # fmt: skip
            for r in range(at, at + 2 * PACK if stretch < deep else at, PACK):
                sums, some = c.row0[tid, r : r + n], tile[r : r + n]
                if done == 0:
                    sums[:] = 0
                for i in range(n):
                    sums[i] += some[i]
