"""Attention over the key and value caches, and what fills them.

One query at a time streams its keys and values; a prompt's queries are taken eight at a time
against keys and values packed once for each head, with the tiles of the matrix product. Softmax
weights have 14 bits and a sign, so that as two int8 planes they meet the values as activations
meet weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.cpu.bounds import BATCH, BLOCK, LANES, QUERIES, REACH, SPAN, TILE
from pxvm.cpu.compiler import jit
from pxvm.cpu.intrinsics import atomic_add
from pxvm.cpu.memory import (
    COLS,
    E0,
    E1,
    FALLS,
    FRAC,
    PER,
    ROW_WORDS,
    ROWS,
    THREADS,
    VNNI,
    clamp,
    element,
    load_part,
    multiply_scales,
    part,
    quantise_row,
    reciprocal,
    rescale,
    rescale_row,
    row_at,
    scalar,
    split,
    store_activation,
    store_part,
    up,
    used_rows,
    wrapped,
)
from pxvm.cpu.products import COUNTER, finish_run, multiply_tile, stream
from pxvm.cpu.vnni import vnni_weigh


@jit
def append(c: Any, tid: int, cache: int, x: int, position: int) -> None:
    """Append: each head is one item of work; of rows clamped to the same place the last stays."""
    heads, context, width = c.tensors[cache, E0], c.tensors[cache, E1], c.tensors[cache, COLS]
    start, rows, v = scalar(c, position), used_rows(c, x), c.row0[tid]
    first, last = part(heads, tid, c.config[THREADS])
    for t in range(rows):
        row = start + t
        if first < last:
            load_part(c, x, t, first * width, (last - first) * width, v)
            row = clamp(c, row, context, tid, first == 0)
        for head in range(first, last):
            at = (head - first) * width
            m, e = quantise_row(v, at, width, 7, c.tensors[x, FRAC])
            store_activation(c, cache, head * context + row, v, at, m, e)


@jit
def reach(c: Any, p: Any, causal: bool, t: int, context: int) -> tuple[int, int]:
    """The tokens [begin, stop) that the query of row t sees; ``p`` are the parameters."""
    if causal:
        return np.int64(0), clamp(c, scalar(c, p[2]) + t, context, 0, False) + 1
    step = span_of(c, p, context)
    count = c.tensors[p[3], ROWS] * c.tensors[p[3], COLS]
    length = element(c, p[3], min(t // step, count - 1))
    begin = min(t // step * step, context - 1)
    return begin, min(begin + min(max(length, np.int64(1)), step), context)


@jit
def span_of(c: Any, p: Any, context: int) -> int:
    """AttentionFull: rows of one group."""
    return min(max(scalar(c, p[2]), np.int64(1)), context)


@jit
def attention(c: Any, tid: int, out: int, q: int, a: int, causal: bool, turn: int) -> None:
    """AttentionCausal, and AttentionFull unless ``causal``."""
    p, rows = c.params[a], used_rows(c, q)
    context = c.tensors[p[0], E1]
    if causal and tid == 0:
        for t in range(rows):
            clamp(c, scalar(c, p[2]) + t, context, tid, True)
    if rows < BATCH or c.tensors[p[0], PER] == 0 or c.tensors[p[1], PER] == 0 or context > REACH:
        _few(c, tid, out, q, p, causal, rows)
    else:
        _many(c, tid, out, q, p, causal, rows, c.sync.ctypes.data + 8 * (COUNTER + turn))


@jit
def _query(c: Any, q: int, t: int, head: int, x: Any, out: Any, m: int, e: int) -> Any:
    """One query as int8 into ``out``; its sum and its scale times (m, e)."""
    width = len(x)
    load_part(c, q, t, head * width, width, x)
    qm, qe = quantise_row(x, 0, width, 7, c.tensors[q, FRAC])
    total = np.int64(0)
    for i in range(width):
        out[i] = np.int8(x[i])
        total += x[i]
    qm, qe = multiply_scales(qm, qe, m, e)
    return total, qm, qe


@jit
def _scores(totals: Any, minus: int, m: int, e: int, scales: Any, out: Any) -> int:
    """Base-2 scores, 16 fraction bits, saturated, of products with keys; the largest."""
    if finish_run(totals, minus, m, e + 16, scales, scales, False, out) < 0:
        for i in range(len(out)):
            sm, se = multiply_scales(m, e, np.int64(scales[i]) & 0xFFFF, np.int64(scales[i]) >> 16)
            s = rescale(np.int64(totals[i]) - minus, sm, se + 16)
            out[i] = np.int32(min(max(s, np.int64(-2147483648)), np.int64(2147483647)))
    top = out[0]
    for i in range(len(out)):
        top = max(top, out[i])
    return top


@jit
def _weights(scores: Any, top: int, scales: Any, low: Any, high: Any) -> Any:
    """Softmax weights times the values' scales as two planes, each sum in blocks of SPAN.

    Returns the weights' sum, the planes' sum, and the values' common exponent.
    """
    n, common = len(low), np.int32(-40000)
    for i in range(n):
        common = max(common, np.int32(scales[i] >> np.int32(16)))
    total, planes = np.int64(0), np.int64(0)
    for first in range(0, n, SPAN):
        stop = min(first + SPAN, n)
        weights, shifted = _weights_of(scores[first:stop], top, scales[first:stop], common,
                                       low[first:stop], high[first:stop])  # fmt: skip
        total += weights
        planes += shifted
    return total, planes, np.int64(common)


@jit
def _weights_of(scores: Any, top: int, scales: Any, common: int, low: Any, high: Any) -> Any:
    """Softmax weights of up to SPAN tokens: integer.exp2_negative and a shift; their two sums.

    All products stay below 2^32: a weight is at most 2^16 and a mantissa less.
    """
    total, planes, peak = np.uint32(0), np.int32(0), np.uint32(top)
    for i in range(len(low)):
        distance = np.uint32(peak - np.uint32(scores[i]))
        entry = np.uint32(FALLS[np.uint32(distance >> np.uint32(8)) & np.uint32(255)])
        fall = np.uint32(np.uint32(entry & np.uint32(255)) * np.uint32(distance & np.uint32(255)))
        value = np.uint32(
            np.uint32(entry >> np.uint32(8)) - np.uint32(np.uint32(fall + np.uint32(128)) >> 8)
        )
        whole = np.uint32(distance >> np.uint32(16))
        down = min(whole, np.uint32(17))
        half = np.uint32(np.uint32(np.uint32(1) << down) >> np.uint32(1))
        weight = np.uint32(np.uint32(value + half) >> down)
        weight = weight if whole <= np.uint32(17) else np.uint32(0)
        scale = np.uint32(scales[i])
        lost = min(np.uint32(common - np.int32(scales[i] >> np.int32(16))), np.uint32(30))
        coarse = np.uint32(
            np.uint32(weight * np.uint32(scale & np.uint32(0xFFFF))) >> np.uint32(17)
        )
        odd = np.uint32(np.uint32(coarse >> lost) & np.uint32(1))
        u = np.int32(np.uint32(np.uint32(coarse >> np.uint32(lost + np.uint32(1))) + odd))
        low[i] = np.int8(u)
        high[i] = np.int8(np.int32(u + np.int32(128)) >> np.int32(8))
        total = np.uint32(total + weight)
        planes = np.int32(planes + u)
    return np.int64(total), np.int64(planes)


@jit
def _store(
    c: Any, tid: int, out: int, t: int, head: int, x: Any, common: int, weight_sum: int
) -> None:
    """Divide weighted sums of values by the weights' sum and write a head's columns."""
    width = len(x)
    m, e = reciprocal(weight_sum)
    rescale_row(x, width, m, e + common + 18 + c.tensors[out, FRAC])
    store_part(c, out, t, head * width, width, x, tid)


@jit
def _few(c: Any, tid: int, out: int, q: int, p: Any, causal: bool, rows: int) -> None:
    """Each row and head is one item of work."""
    k, v = p[0], p[1]
    kv_heads, context, width = c.tensors[k, E0], c.tensors[k, E1], c.tensors[k, COLS]
    heads = c.tensors[q, COLS] // width
    scale_m, scale_e = split(p[3] if causal else p[4])
    x, mine, weights, pad = c.row1[tid, :width], c.bits[tid], c.weights[tid], up(context, LANES)
    key_scales, value_scales = c.key_scales[tid], c.value_scales[tid]
    mine[: up(width, 64)] = 0
    first, last = part(rows * heads, tid, c.config[THREADS])
    loaded = np.int64(-1)
    for item in range(first, last):
        t, head = item // heads, item % heads
        begin, stop = reach(c, p, causal, t, context)
        n, row = stop - begin, head // (heads // kv_heads) * context + begin
        minus, m, e = _query(c, q, t, head, x, mine, scale_m, scale_e)
        totals, scores = c.row0[tid, :n], c.scores[tid, :n]
        low, high = weights[:n], weights[pad : pad + n]
        if t * kv_heads + head // (heads // kv_heads) != loaded:
            loaded = np.int64(t * kv_heads + head // (heads // kv_heads))
            _scale_words(c, k, row, n, key_scales)
            _scale_words(c, v, row, n, value_scales)
        _stream_keys(c, k, row, n, mine, totals)
        top = _scores(totals, 128 * minus, m, e, key_scales, scores)
        weight_sum, total, common = _weights(scores, top, value_scales, low, high)
        _stream_values(c, tid, v, row, n, low, high, x)
        for i in range(width):
            x[i] -= 128 * total
        _store(c, tid, out, t, head, x, common, weight_sum)


@jit
def _scale_words(c: Any, d: int, row: int, n: int, out: Any) -> None:
    """The scale words of n rows of a cache."""
    size, per, words, done = c.tensors[d, ROW_WORDS], c.tensors[d, PER], c.words, np.int64(0)
    while done < n:
        start, step = row_at(c, d, row + done), np.int64(1)
        if per > 0:
            step = min(per - (row + done) % per, n - done)
        last, target = wrapped(c, d, start, size - 1), out[done : done + step]
        source = words[last : last + (step - 1) * size + 1]
        for j in range(step):
            target[j] = source[j * size]
        done += step


@jit
def _stream_keys(c: Any, k: int, row: int, n: int, query: Any, totals: Any) -> None:
    """totals[j] = sum((key j + 128) query) for n rows of a cache."""
    width, size, per = c.tensors[k, COLS], c.tensors[k, ROW_WORDS], c.tensors[k, PER]
    done = np.int64(0)
    while done < n:
        start, step = row_at(c, k, row + done), np.int64(1)
        if per > 0:
            step = min(per - (row + done) % per, n - done)
            stream(c.config[VNNI], c.bytes, 4 * start, 4 * size, step, query, 0, -1, width, totals,
                   done)  # fmt: skip
        else:
            total = np.int64(0)
            for i in range(width):
                byte = c.bytes[4 * wrapped(c, k, start, i >> 2) + (i & 3)]
                total += np.int64(byte) * np.int64(query[i])
            totals[done] = total
        done += step


@jit
def _stream_values(
    c: Any, tid: int, v: int, row: int, n: int, low: Any, high: Any, out: Any
) -> None:
    """out[i] = sum over n rows of a cache of (256 high + low) (value i + 128)."""
    width, size, per = c.tensors[v, COLS], c.tensors[v, ROW_WORDS], c.tensors[v, PER]
    out[:] = 0
    partial, done = c.tile[tid], np.int64(0)
    while done < n:
        start, step = row_at(c, v, row + done), np.int64(1)
        if per > 0:
            step = min(min(per - (row + done) % per, n - done), np.int64(BLOCK))
            quads = step // 4 if c.config[VNNI] and width <= 64 else np.int64(0)
            if quads:
                place, at = partial.ctypes.data, low.ctypes.data + done
                offset = high.ctypes.data - low.ctypes.data
                vnni_weigh(c.bytes.ctypes.data + 4 * start, 4 * size, quads, at, at + offset,
                           width, place)  # fmt: skip
                for i in range(width):
                    # Four values of 16 lanes each: see vnni_weigh.
                    lane = (i & 12) * 4 + (i >> 4) * 4 + (i & 3)
                    out[i] += np.int64(partial[lane]) + 256 * np.int64(partial[64 + lane])
            for j in range(4 * quads, step):
                factor = np.int64(low[done + j]) + 256 * np.int64(high[done + j])
                source = c.bytes[4 * (start + j * size) : 4 * (start + j * size) + width]
                for i in range(width):
                    out[i] += factor * np.int64(source[i])
        else:
            factor = np.int64(low[done]) + 256 * np.int64(high[done])
            for i in range(width):
                byte = c.bytes[4 * wrapped(c, v, start, i >> 2) + (i & 3)]
                out[i] += factor * np.int64(byte)
        done += step


@jit
def _many(
    c: Any, tid: int, out: int, q: int, p: Any, causal: bool, rows: int, counter: int
) -> None:
    """Items of work are up to QUERIES queries that share keys: of one head and one group.

    A group is what attends to the same tokens: all rows, or ``span`` of them.
    """
    k, v = p[0], p[1]
    kv_heads, context = c.tensors[k, E0], c.tensors[k, E1]
    shared = c.tensors[q, COLS] // c.tensors[k, COLS] // kv_heads
    span = min(rows if causal else span_of(c, p, context), np.int64(rows))
    pieces, groups = (span * shared + QUERIES - 1) // QUERIES, (rows + span - 1) // span
    loaded = np.int64(-1)
    item = atomic_add(counter, 1)
    while item < groups * kv_heads * pieces:
        pack, piece = item // pieces, item % pieces
        kv, group = pack % kv_heads, pack // kv_heads
        t, last = group * span, min((group + 1) * span, rows)
        if pack != loaded:
            begin, stop = reach(c, p, causal, last - 1, context)
            _pack_keys(c, tid, k, kv * context + begin, stop - begin)
            _pack_values(c, tid, v, kv * context + begin, stop - begin)
            loaded = pack
        stop = min((last - t) * shared, (piece + 1) * QUERIES)
        for first in range(piece * QUERIES, stop, TILE):
            _tile(c, tid, out, q, p, causal, t, kv * shared, shared, first, min(first + TILE, stop))
        item = atomic_add(counter, 1)


@jit
def _pack_keys(c: Any, tid: int, k: int, row: int, n: int) -> None:
    """n keys as [n / 16][width / 4][16 keys][4] bytes, and their scale words."""
    quads, words = c.tensors[k, COLS] >> 2, c.words
    packed = c.keys[tid].view(np.int32)
    for j in range(n):
        start = row_at(c, k, row + j)
        source, at = words[start : start + quads], (j >> 4) * quads * LANES + (j & 15)
        for i in range(quads):
            packed[at + i * LANES] = source[i]
    _scale_words(c, k, row, n, c.key_scales[tid])


@jit
def _pack_values(c: Any, tid: int, v: int, row: int, n: int) -> None:
    """n values as [width / 16][context / 4][16 elements][4 tokens] bytes, and their scale words."""
    width, quads = c.tensors[v, COLS], up(c.tensors[v, E1], LANES) >> 2
    packed, bits = c.values[tid].view(np.int32), c.bytes
    for j in range(0, n, 4):
        # A token beyond the last repeats it: its weight is zero.
        a = 4 * row_at(c, v, row + j)
        b = 4 * row_at(c, v, row + min(j + 1, n - 1))
        d = 4 * row_at(c, v, row + min(j + 2, n - 1))
        e = 4 * row_at(c, v, row + min(j + 3, n - 1))
        for first in range(0, width, LANES):
            lanes = min(np.int64(LANES), width - first)
            at = ((first >> 4) * quads + (j >> 2)) * LANES
            target = packed[at : at + lanes].view(np.uint32)
            _interleave(bits[a + first :], bits[b + first :], bits[d + first :], bits[e + first :],
                        target)  # fmt: skip
    _scale_words(c, v, row, n, c.value_scales[tid])


@jit
def _interleave(a: Any, b: Any, d: Any, e: Any, out: Any) -> None:
    for i in range(len(out)):
        low = np.uint32(a[i]) | np.uint32(np.uint32(b[i]) << np.uint32(8))
        high = np.uint32(np.uint32(d[i]) << np.uint32(16)) | np.uint32(
            np.uint32(e[i]) << np.uint32(24)
        )
        out[i] = np.uint32(low | high)


@jit
def _tile(
    c: Any, tid: int, out: int, q: int, p: Any, causal: bool, t: int, head: int, shared: int,
    first: int, last: int,
) -> None:  # fmt: skip
    """Queries [first, last) of a group that begins at row t, ``shared`` heads a row."""
    context, width = c.tensors[p[0], E1], c.tensors[p[0], COLS]
    scale_m, scale_e = split(p[3] if causal else p[4])
    pad, wide, vnni, x = up(context, LANES), up(width, 64), c.config[VNNI], c.row1[tid, :width]
    queries, planes, sums, facts = c.queries[tid], c.weights[tid], c.totals[tid], c.row2[tid]
    longest = np.int64(0)
    for r in range(TILE):
        if first + r < last:
            row, h = t + (first + r) // shared, head + (first + r) % shared
            at = facts[8 * r : 8 * r + 8]
            at[0], at[1], at[2] = _query(c, q, row, h, x, queries[r * wide :], scale_m, scale_e)
            begin, stop = reach(c, p, causal, row, context)
            at[3] = stop - begin
            longest = max(longest, at[3])
        else:
            queries[r * wide : r * wide + width] = 0
    quads = width // 4
    for group in range((longest + 15) // LANES):
        multiply_tile(vnni, c.keys[tid], group * LANES * width, queries, wide, quads,
                      sums[group * LANES :], pad)  # fmt: skip
    count = (longest + 3) // 4
    for half in range(0, last - first, TILE // 2):
        stop = min(np.int64(half + TILE // 2), last - first)
        for r in range(half, stop):
            minus, m, e, n = facts[8 * r], facts[8 * r + 1], facts[8 * r + 2], facts[8 * r + 3]
            at = (r - half) * 2 * pad
            low, high = planes[at : at + n], planes[at + pad : at + pad + n]
            scores, totals = c.scores[tid, :n], sums[r * pad : r * pad + n]
            top = _scores(totals, 128 * minus, m, e, c.key_scales[tid], scores)
            facts[8 * r + 4], facts[8 * r + 5], facts[8 * r + 6] = _weights(
                scores, top, c.value_scales[tid], low, high
            )
            planes[at + n : at + 4 * count] = 0
            planes[at + pad + n : at + pad + 4 * count] = 0
        _weigh(c, tid, out, width, pad, t, head, shared, first, half, stop, count)


@jit
def _weigh(
    c: Any, tid: int, out: int, width: int, pad: int, t: int, head: int, shared: int, first: int,
    half: int, stop: int, count: int,
) -> None:  # fmt: skip
    """Weighted values of up to four queries, whose weights are in the planes."""
    tile, y, facts, padded = c.tile[tid], c.row1[tid], c.row2[tid], up(width, LANES)
    for begin in range(0, width, LANES):
        multiply_tile(c.config[VNNI], c.values[tid], begin * pad, c.weights[tid], pad, count,
                      tile, LANES)  # fmt: skip
        for r in range(stop - half):
            low, high = tile[2 * r * LANES :], tile[(2 * r + 1) * LANES :]
            total, target = 128 * facts[8 * (half + r) + 5], y[r * padded + begin :]
            for i in range(LANES):
                target[i] = np.int64(low[i]) + 256 * np.int64(high[i]) - total
    for r in range(half, stop):
        row, h = t + (first + r) // shared, head + (first + r) % shared
        x = y[(r - half) * padded : (r - half) * padded + width]
        _store(c, tid, out, row, h, x, facts[8 * r + 6], facts[8 * r + 4])
