"""Matrix products: exact int32 sums of int8 weights and int8 planes, then one rounding.

Weights are stored excess-128, which is what VNNI wants: sum((w + 128) x) = sum(w x) + 128 sum(x),
and the sum of the activations is known. One token streams the weights row by row; several tokens
take blocks of 16 weight rows, packed once and held against some activation rows at a time. Without
VNNI, but with AVX2, both planes of an activation are one integer of 16 bits (see ``avx2``), and so
is a weight that several tokens meet, widened once and signed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.cpu.amx import amx_begin, amx_end, amx_tiles
from pxvm.cpu.avx2 import avx2_dots, avx2_meet, avx2_tile8
from pxvm.cpu.bounds import (
    BATCH,
    LANES,
    LONG,
    NEAR,
    PACK,
    QUAD,
    QUANTISED,
    RUN,
    SHARED,
    STRETCH,
    TILE,
    TILED,
)
from pxvm.cpu.compiler import jit
from pxvm.cpu.intrinsics import atomic_add, barrier, divided, float_of, prefetch
from pxvm.cpu.memory import (
    ACT1,
    ACT2,
    AMX,
    AVX2,
    BIAS,
    COLS,
    DTYPE,
    FRAC,
    PER,
    ROW_WORDS,
    ROWS,
    SATURATIONS,
    SCALE,
    STRIDE,
    THREADS,
    VNNI,
    WIDTH,
    excess,
    last_word,
    linked_word,
    load_signed,
    multiply_scales,
    part,
    rescale,
    row_at,
    saturate,
    shift_down,
    split,
    up,
    used_rows,
    wrapped,
)
from pxvm.cpu.vnni import transpose, vnni_rows, vnni_tile

APART = 32  # from so many a thread on, threads share out tokens instead of weight rows
AHEAD = 1 << 17  # bytes of weights fetched while a thread waits
CHUNK = 512  # weight rows that a thread takes at a time
COUNTER, TURNS = 16, 32  # entries of ``sync`` that hand out work, by turns


@jit
def planes_of(c: Any, d: int) -> int:
    """Byte planes of an activation tensor."""
    return 2 if c.tensors[d, DTYPE] == ACT2 else 1


@jit
def plain_dot(weight: Any, x: Any) -> int:
    """sum((w + 128) x) over bytes, int32, which LLVM vectorises."""
    total = np.int32(0)
    for i in range(len(weight)):
        total = np.int32(total + np.int32(weight[i]) * np.int32(x[i]))
    return np.int64(total)


@jit
def stream(
    vnni: int, weights: Any, at: int, step: int, n: int, x: Any, low: int, high: int, k: int,
    totals: Any, done: int,
) -> None:  # fmt: skip
    """totals[done:]: dot products of n weight rows, ``step`` bytes apart, with planes in ``x``.

    ``high`` is below 0 where there is one plane; planes are padded with zeros to 64 bytes.
    """
    base, first = x.ctypes.data, weights.ctypes.data
    if vnni:
        second = base + high if high >= 0 else 0
        place = totals.ctypes.data + 8 * done
        vnni_rows(first + at, step, n, base + low, second, k, place)
        return
    for row in range(n):
        weight = weights[at + row * step : at + row * step + k]
        total = plain_dot(weight, x[low : low + k])
        if high >= 0:
            total += 256 * plain_dot(weight, x[high : high + k])
        totals[done + row] = total


@jit
def weight_scale(c: Any, w: int, row: int) -> tuple[int, int]:
    """The scale of a weight row, from the linked tensor or the activation row itself."""
    if ACT1 <= c.tensors[w, DTYPE] <= ACT2:
        return split(last_word(c, w, row))
    link = c.tensors[w, SCALE]
    return split(linked_word(c, link, row)) if link >= 0 else (np.int64(0), np.int64(0))


@jit
def finish(
    c: Any, tid: int, out: int, w: int, row: int, total: int, down: int, m: int, e: int
) -> int:
    """The result's integer: total / 2^down times both scales, saturated, plus bias."""
    wm, we = weight_scale(c, w, row)
    sm, se = multiply_scales(m, e, wm, we)
    y = rescale(shift_down(total, down), sm, se + down + c.tensors[out, FRAC])
    bias = c.tensors[w, BIAS]
    if bias < 0:
        return y
    kept = saturate(y)
    if kept != y:
        c.counters[tid, SATURATIONS] += 1
    return kept + linked_word(c, bias, row)


@jit
def put(c: Any, at: int, y: int, tid: int) -> None:
    """Saturate and store one word."""
    kept = saturate(y)
    if kept != y:
        c.counters[tid, SATURATIONS] += 1
    c.words[at] = np.int32(kept)


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
            _block(c, tid, out, x, w, first, last, padded, block * PACK)
        return
    barrier(c.sync, threads, 0, 0)
    if c.config[AVX2] and not _all_fit(c, rows):
        _few(c, tid, out, x, w, rows, padded, counter)
        return
    block = atomic_add(counter, 1)
    while block < blocks:
        if c.config[AVX2]:
            _meeting(c, tid, out, x, w, rows, padded, block * PACK)
        else:
            _block(c, tid, out, x, w, 0, rows, padded, block * PACK)
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
def join(planes: Any, out: Any, n: int) -> int:
    """Both planes of a row, ``n`` bytes apart, as 16-bit integers; 1 where all are small enough.

    Those that a program quantises are; those that somebody wrote may not be.
    """
    most, low, high, out = np.int32(0), planes[:n], planes[n : 2 * n], out[:n]
    for i in range(n):
        v = np.int32(np.int32(low[i]) + np.int32(high[i]) * np.int32(256))
        most = max(most, abs(v))
        out[i] = np.int16(v)
    return np.int64(most <= QUANTISED)


@jit
def halves_dots(
    weights: Any, at: int, step: int, n: int, x: Any, k: int, totals: Any
) -> None:  # fmt: skip
    """totals[r]: dot products of n weight rows, ``step`` bytes apart, with 16-bit ``x``."""
    whole, done = k - k % 16, np.int64(0)
    for r in range(n):
        totals[r] = 0
        for i in range(whole, k):
            totals[r] += np.int64(weights[at + r * step + i]) * np.int64(x[i])
    first, source, place = weights.ctypes.data + at, x.ctypes.data, totals.ctypes.data
    while done < whole:
        size = min(np.int64(LONG), whole - done)
        avx2_dots(first + done, step, n, source + 2 * done, size, place)
        done += size


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
def place_of(c: Any, d: int, start: int, index: int) -> tuple[int, int]:
    """Word index of the index-th word of a row, and how many words follow without a gap."""
    if c.tensors[d, PER] > 0:
        return start + index, c.tensors[d, COLS] - index
    width = c.config[WIDTH]
    x = index % width
    return start + index // width * c.config[STRIDE] + x, width - x


@jit
def narrow(totals: Any, minus: int, down: int, out: Any) -> None:
    """out[i] = (totals[i] - minus) / 2^down, rounded half up, which 32 bits hold."""
    minus -= (np.int64(1) << down) >> 1
    for i in range(len(out)):
        out[i] = np.int32((totals[i] - minus) >> down)


@jit
def finish_run(
    sums: Any, m: int, e: int, scales: Any, bias: Any, biased: bool, out: Any
) -> int:  # fmt: skip
    """out[i] = sums[i], int32, times (m, e) times the scale word i, saturated, plus bias[i],
    saturated.

    Returns how many were saturated, or -1 where a scale is not normalised or a shift leaves
    1..61, which no real program has: then nothing that was written counts.

    What each sum is multiplied by stands in ``out`` first, a float32: all of it is vector code.
    """
    odd, factor, exponent = m < 32768, np.uint32(m), np.int32(e)
    for i in range(len(out)):
        scale = scales[i]
        mantissa = np.uint32(scale) & np.uint32(0xFFFF)
        product = np.uint32(factor * mantissa)
        down = np.uint32(np.uint32(15) + np.uint32(product >> np.uint32(31)))
        half = np.uint32(np.uint32(product >> np.uint32(down - np.uint32(1))) & np.uint32(1))
        both = np.uint32(np.uint32(product >> down) + half)
        shift = np.int32(-(exponent + np.int32(scale >> np.int32(16)) + np.int32(down)))
        odd |= (mantissa < np.uint32(32768)) | (shift < 1) | (shift > 61)
        out[i] = divided(np.int32(both), np.int32(shift & np.int32(63)))
    over, least, most = np.int64(0), np.float64(-2147483648), np.float64(2147483647)
    for i in range(len(out)):
        # Exact: a product has 49 bits, and where its half is beyond the 53rd, 0 comes out anyway.
        y = np.floor(np.float64(sums[i]) * float_of(out[i]) + 0.5)
        kept = min(max(y, least), most)
        over += kept != y
        if biased:
            y = kept + np.float64(bias[i])
            kept = min(max(y, least), most)
            over += kept != y
        out[i] = np.int32(kept)
    return np.int64(-1) if odd else over


@jit
def finish_columns(
    c: Any, tid: int, out: int, t: int, w: int, first: int, n: int, sums: Any, down: int, m: int,
    e: int,
) -> None:  # fmt: skip
    """Result columns [first, first + n) of row t from int32 sums divided by 2^down, of (m, e)."""
    scale, bias, words = c.tensors[w, SCALE], c.tensors[w, BIAS], c.words
    start, exponent = row_at(c, out, t), e + down + c.tensors[out, FRAC]
    scale_start = row_at(c, scale, 0) if scale >= 0 else np.int64(0)
    bias_start = row_at(c, bias, 0) if bias >= 0 else np.int64(0)
    done, over = np.int64(0), np.int64(0)
    while done < n:
        column = first + done
        at, step = place_of(c, out, start, column)
        step, scale_at, bias_at = min(step, n - done), np.int64(0), np.int64(0)
        if scale >= 0:
            scale_at, more = place_of(c, scale, scale_start, column)
            step = min(step, more)
        if bias >= 0:
            bias_at, more = place_of(c, bias, bias_start, column)
            step = min(step, more)
        found, some = np.int64(-1), sums[done : done + step]
        if scale >= 0:
            scales, biases = words[scale_at : scale_at + step], words[bias_at : bias_at + step]
            result = words[at : at + step]
            found = finish_run(some, m, exponent, scales, biases, bias >= 0, result)
        if found >= 0:
            over += found
        else:
            for i in range(step):
                y = finish(c, tid, out, w, column + i, np.int64(some[i]) << down, down, m, e)
                put(c, at + i, y, tid)
        done += step
    c.counters[tid, SATURATIONS] += over


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


@jit
def _pack(c: Any, w: int, first: int, lanes: int, k: int, packed: Any) -> None:
    """16 weight rows as [k / 4][16][4] bytes; missing rows are zero."""
    words, source, n, done = packed.view(np.int32), c.words, k // 4, np.int64(0)
    if lanes < LANES:
        words[: n * LANES] = 0
    elif first % c.tensors[w, PER] + LANES <= c.tensors[w, PER]:
        at, step = c.bytes.ctypes.data + 4 * row_at(c, w, first), 4 * c.tensors[w, ROW_WORDS]
        done = n // LANES * LANES
        transpose(at, step, n // LANES, packed.ctypes.data)
    for lane in range(lanes):
        start = row_at(c, w, first + lane)
        for q in range(done, n):
            words[q * LANES + lane] = source[start + q]


@jit
def multiply_tile(
    c: Any, packed: Any, first: int, x: Any, stride: int, quads: int, out: Any, step: int
) -> None:
    """out[r, lane] = sum over k of packed[k / 4][lane][k % 4] * x[r, k], int32, for TILE rows.

    ``packed`` holds unsigned bytes from ``first`` on, ``x`` signed rows ``stride`` bytes apart;
    rows of ``out`` stand ``step`` words apart.
    """
    at = packed.ctypes.data + first
    if c.config[VNNI]:
        vnni_tile(at, x.ctypes.data, stride, quads, out.ctypes.data, 4 * step)
        return
    if c.config[AVX2]:
        avx2_tile8(at, x.ctypes.data, stride, quads, out.ctypes.data, 4 * step)
        return
    for r in range(TILE):
        row = out[r * step : r * step + LANES]
        for lane in range(LANES):
            row[lane] = 0
        for q in range(quads):
            for lane in range(LANES):
                total = np.int32(0)
                for i in range(4):
                    weight = np.int32(np.uint8(packed[first + (q * LANES + lane) * 4 + i]))
                    total += weight * np.int32(x[r * stride + 4 * q + i])
                row[lane] += total


@jit
def _planes_tile(
    c: Any, tid: int, packed: Any, groups: int, t: int, k: int, padded: int, planes: int
) -> None:
    """``row0``[r]: sums of packed weights with token t + r, of as many tokens as a tile has."""
    tile, wide, size, many = c.tile[tid], groups * LANES, LANES * k, np.int64(TILE)
    x, out, weights = (
        c.planes.ctypes.data + t * planes * padded,
        tile.ctypes.data,
        packed.ctypes.data,
    )
    if c.config[AMX]:
        many = np.int64(TILED)
        amx_tiles(weights, size, groups, x, padded, k, out, 4 * wide)
    else:
        for group in range(groups):
            at = out + 4 * group * LANES
            vnni_tile(weights + group * size, x, padded, k // 4, at, 4 * wide)
    for r in range(many // planes):
        low, totals = tile[r * planes * wide :], c.row0[tid, r * wide : (r + 1) * wide]
        if planes == 2:
            high = tile[(2 * r + 1) * wide :]
            for i in range(wide):
                totals[i] = np.int64(low[i]) + 256 * np.int64(high[i])
        else:
            for i in range(wide):
                totals[i] = low[i]


@jit
def _block(
    c: Any, tid: int, out: int, x: int, w: int, start: int, stop: int, padded: int, first: int
) -> None:
    """PACK result columns of tokens [start, stop) with VNNI."""
    k, planes = c.tensors[w, COLS], planes_of(c, x)
    lanes = min(np.int64(PACK), c.tensors[w, ROWS] - first)
    packed, sums, groups, size = c.bits[tid], c.sums, (lanes + LANES - 1) // LANES, LANES * k
    for group in range(groups):
        begin = group * LANES
        mine = packed[group * size : (group + 1) * size]
        _pack(c, w, first + begin, min(np.int64(LANES), lanes - begin), k, mine)
    down, wide, some = excess(k, planes + 1), groups * LANES, c.tile[tid, :lanes]
    step = np.int64(TILED if c.config[AMX] else TILE) // planes
    if c.config[AMX]:
        amx_begin()
    for t in range(start, stop, step):
        _planes_tile(c, tid, packed, groups, t, k, padded, planes)
        for r in range(min(step, stop - t)):
            narrow(c.row0[tid, r * wide : r * wide + lanes], 128 * sums[3 * (t + r)], down, some)
            m, e = split(sums[3 * (t + r) + 1])
            finish_columns(c, tid, out, t + r, w, first, lanes, some, down, m, e)
    if c.config[AMX]:
        amx_end()


@jit
def _meeting(
    c: Any, tid: int, out: int, x: int, w: int, rows: int, padded: int, first: int
) -> None:
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
