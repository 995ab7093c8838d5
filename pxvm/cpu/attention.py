"""Attention over the key and value caches, and what fills them.

One query at a time streams its keys and values; a prompt's queries are taken eight at a time
against keys and values packed once for each head, with the tiles of the matrix product. Both go
from block to block of BLOCK tokens and join their sums (``_join``). Softmax weights have 14 bits
and a sign, so that as two int8 planes they meet the values as activations meet weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.core.ops import BLOCK, FAR
from pxvm.cpu.avx2 import avx2_weigh
from pxvm.cpu.bounds import BATCH, FACTS, LANES, QUERIES, TILE
from pxvm.cpu.compiler import jit
from pxvm.cpu.dots import halves_dots, multiply_tile, stream
from pxvm.cpu.finishing import finish_run, narrow
from pxvm.cpu.intrinsics import atomic_add
from pxvm.cpu.memory import (
    AVX2,
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
    bit_length,
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
    shift_down,
    split,
    store_activation,
    store_part,
    up,
    used_rows,
    wrapped,
)
from pxvm.cpu.products import COUNTER
from pxvm.cpu.vnni import vnni_weigh

# What is known of a query, by the words of its row in a buffer: the sum of its elements and its
# scale; where its tokens begin and how many there are; then its sums up to now: the weights' and
# its exponent, the exponent of the weighted values'; of its block: the weights' sum as planes.
MINUS, MANTISSA, EXPONENT, BEGIN, COUNT, WEIGHT, TOP, PLACE, PLANES = range(9)
FULL, CAUSAL, WINDOW = range(3)


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
def reach(c: Any, p: Any, kind: int, t: int, context: int) -> tuple[int, int]:
    """The tokens [begin, stop) that the query of row t sees; ``p`` are the parameters."""
    if kind != FULL:
        stop = clamp(c, scalar(c, p[2]) + t, context, 0, False) + 1
        return max(stop - p[4], np.int64(0)) if kind == WINDOW else np.int64(0), stop
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
def attention(c: Any, tid: int, out: int, q: int, a: int, kind: int, turn: int) -> None:
    """AttentionFull, AttentionCausal and AttentionWindow by ``kind``."""
    p, rows = c.params[a], used_rows(c, q)
    context = c.tensors[p[0], E1]
    if kind != FULL and tid == 0:
        for t in range(rows):
            clamp(c, scalar(c, p[2]) + t, context, tid, True)
    few = rows < BATCH or c.tensors[p[0], PER] == 0 or c.tensors[p[1], PER] == 0
    if kind == WINDOW:  # queries that begin at different tokens share no blocks
        few |= reach(c, p, kind, rows - 1, context)[0] > 0
    if few:
        _few(c, tid, out, q, p, kind, rows)
    else:
        _many(c, tid, out, q, p, kind, rows, c.sync.ctypes.data + 8 * (COUNTER + turn))


@jit
def _query(
    c: Any, q: int, p: Any, kind: int, t: int, head: int, begin: int, stop: int, x: Any, out: Any,
    facts: Any,
) -> None:  # fmt: skip
    """One query as int8 into ``out``, and the facts that it begins with; see ``reach``."""
    width, total = len(x), np.int64(0)
    m, e = split(p[4] if kind == FULL else p[3])
    load_part(c, q, t, head * width, width, x)
    qm, qe = quantise_row(x, 0, width, 7, c.tensors[q, FRAC])
    for i in range(width):
        out[i] = np.int8(x[i])
        total += x[i]
    qm, qe = multiply_scales(qm, qe, m, e)
    facts[MINUS], facts[MANTISSA], facts[EXPONENT] = total, qm, qe
    facts[BEGIN], facts[COUNT] = begin, stop - begin
    facts[WEIGHT], facts[TOP], facts[PLACE] = 0, FAR, FAR


@jit
def _scores(sums: Any, m: int, e: int, scales: Any, out: Any) -> int:
    """Base-2 scores, 16 fraction bits, of products with keys; the largest rounded up, whole."""
    if finish_run(sums, m, e + 16, scales, scales, False, out) < 0:
        for i in range(len(out)):
            sm, se = multiply_scales(m, e, np.int64(scales[i]) & 0xFFFF, np.int64(scales[i]) >> 16)
            s = rescale(np.int64(sums[i]), sm, se + 16)
            out[i] = np.int32(min(max(s, np.int64(-(1 << 30))), np.int64(1 << 30)))
    top = np.int32(-(1 << 30))
    for i in range(len(out)):
        score = min(max(out[i], np.int32(-(1 << 30))), np.int32(1 << 30))
        out[i] = score
        top = max(top, score)
    return (np.int64(top) + 65535) >> 16


@jit
def _weights(scores: Any, top: int, scales: Any, low: Any, high: Any) -> Any:
    """Softmax weights of a block, times the values' scales as two planes; ``top`` is whole.

    Returns the weights' sum, the planes' sum, and the values' common exponent. All products stay
    below 2^32: a weight is at most 2^16 and a mantissa less.
    """
    common = np.int32(-40000)
    for i in range(len(low)):
        common = max(common, np.int32(scales[i] >> np.int32(16)))
    total, planes, peak = np.uint32(0), np.int32(0), np.uint32(top << 16)
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
    return np.int64(total), np.int64(planes), np.int64(common)


@jit
def _weigh_block(
    sums: Any, facts: Any, key_scales: Any, value_scales: Any, scores: Any, low: Any, high: Any
) -> int:
    """Weights of a block from a query's int32 products with its keys, joined to the weights' sum.

    Returns the exponent of the block's weighted values.
    """
    m, e, n = facts[MANTISSA], facts[EXPONENT], facts[COUNT]
    top = _scores(sums, m, e, key_scales, scores)
    weight, facts[PLANES], common = _weights(scores, top, value_scales, low, high)
    weight = shift_down(weight, max(bit_length(n) - 16, np.int64(0)))
    above = max(facts[TOP], top)
    facts[WEIGHT] = shift_down(facts[WEIGHT], min(above - facts[TOP], np.int64(32))) + shift_down(
        weight, min(above - top, np.int64(32))
    )
    facts[TOP] = above
    return top + common


@jit
def _join(sums: Any, facts: Any, block: Any, place: int) -> None:
    """Join a block's weighted values, whose exponent is ``place``, to a query's sums."""
    above = max(facts[PLACE], place)
    down, other = min(above - facts[PLACE], np.int64(32)), min(above - place, np.int64(32))
    facts[PLACE] = above
    fewer, one = max(bit_length(facts[COUNT]) - 10, np.int64(0)), np.int64(1)
    old, first, new = (one << down) >> 1, (one << fewer) >> 1, (one << other) >> 1
    for i in range(len(sums)):
        sums[i] = ((sums[i] + old) >> down) + ((((block[i] + first) >> fewer) + new) >> other)


@jit
def _store(c: Any, tid: int, out: int, t: int, head: int, sums: Any, facts: Any) -> None:
    """Divide weighted sums of values by the weights' sum and write a head's columns."""
    width, bits = len(sums), bit_length(facts[COUNT])
    m, e = reciprocal(facts[WEIGHT])
    e += facts[PLACE] - facts[TOP] + 18 + c.tensors[out, FRAC]
    e += max(bits - 10, np.int64(0)) - max(bits - 16, np.int64(0))
    rescale_row(sums, width, m, e)
    store_part(c, out, t, head * width, width, sums, tid)


@jit
def _few(c: Any, tid: int, out: int, q: int, p: Any, kind: int, rows: int) -> None:
    """Each row and head is one item of work."""
    k, v = p[0], p[1]
    kv_heads, context, width = c.tensors[k, E0], c.tensors[k, E1], c.tensors[k, COLS]
    heads = c.tensors[q, COLS] // width
    x, block, mine = c.row1[tid, :width], c.row2[tid, :width], c.bits[tid]
    weights, facts, products, sums = c.weights[tid], c.facts[tid], c.row0[tid], c.totals[tid]
    halves = mine[up(width, 64) :].view(np.int16)[:width]  # the query, for AVX2
    scores, key_scales, value_scales = c.scores[tid], c.key_scales[tid], c.value_scales[tid]
    mine[: up(width, 64)] = 0
    first, last = part(rows * heads, tid, c.config[THREADS])
    for item in range(first, last):
        t, head = item // heads, item % heads
        begin, stop = reach(c, p, kind, t, context)
        _query(c, q, p, kind, t, head, begin, stop, x, mine, facts)
        for i in range(width):
            halves[i] = mine[i]
        row, count = head // (heads // kv_heads) * context + facts[BEGIN], facts[COUNT]
        x[:] = 0
        for done in range(0, count, BLOCK):
            n, at = min(np.int64(BLOCK), count - done), row + done
            low, high = weights[:n], weights[BLOCK : BLOCK + n]
            _scale_words(c, k, at, n, key_scales)
            _scale_words(c, v, at, n, value_scales)
            _stream_keys(c, k, at, n, mine, halves, products)
            narrow(products, 128 * facts[MINUS], np.int64(0), sums[:n])
            place = _weigh_block(sums[:n], facts, key_scales, value_scales, scores[:n], low, high)
            _stream_values(c, tid, v, at, n, low, high, block)
            minus = 128 * facts[PLANES]
            for i in range(width):
                block[i] -= minus
            _join(x, facts, block, place)
        _store(c, tid, out, t, head, x, facts)


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
def _stream_keys(
    c: Any, k: int, row: int, n: int, query: Any, halves: Any, totals: Any
) -> None:  # fmt: skip
    """totals[j] = sum((key j + 128) query) for n rows of a cache; ``halves`` is the query too."""
    width, size, per = c.tensors[k, COLS], c.tensors[k, ROW_WORDS], c.tensors[k, PER]
    done = np.int64(0)
    while done < n:
        start, step = row_at(c, k, row + done), np.int64(1)
        if per > 0:
            step = min(per - (row + done) % per, n - done)
            if c.config[AVX2]:
                halves_dots(c.bytes, 4 * start, 4 * size, step, halves, width, totals[done:])
                done += step
                continue
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
            step = min(per - (row + done) % per, n - done)
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
            begin = 4 * quads
            if c.config[AVX2]:
                begin = step // 2 * 2
                _weigh_pairs(c, tid, start, size, begin, low[done:], high[done:], width, out)
            for j in range(begin, step):
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
def _weigh_pairs(
    c: Any, tid: int, start: int, size: int, n: int, low: Any, high: Any, width: int, out: Any
) -> None:
    """The same of an even number of rows that follow each other, two at a time with AVX2."""
    halves, whole = c.scores[tid].view(np.int16), width // 16 * 16
    for j in range(n):
        halves[j] = np.int16(low[j]) + np.int16(256) * np.int16(high[j])
    values = c.bytes.ctypes.data + 4 * start
    avx2_weigh(values, 4 * size, n // 2, halves.ctypes.data, whole // 16, out.ctypes.data)
    for j in range(n if whole < width else 0):
        factor, source = np.int64(halves[j]), c.bytes[4 * (start + j * size) :]
        for i in range(whole, width):
            out[i] += factor * np.int64(source[i])


@jit
def _many(c: Any, tid: int, out: int, q: int, p: Any, kind: int, rows: int, counter: int) -> None:
    """Items of work are up to QUERIES queries that share keys: of one head and one group.

    A group is what attends to the same tokens: all rows, or ``span`` of them.
    """
    k, v = p[0], p[1]
    kv_heads, context = c.tensors[k, E0], c.tensors[k, E1]
    shared = c.tensors[q, COLS] // c.tensors[k, COLS] // kv_heads
    span = min(span_of(c, p, context) if kind == FULL else rows, np.int64(rows))
    pieces, groups = (span * shared + QUERIES - 1) // QUERIES, (rows + span - 1) // span
    loaded = np.int64(-1)
    item = atomic_add(counter, 1)
    while item < groups * kv_heads * pieces:
        pack, piece = item // pieces, item % pieces
        kv, group = pack % kv_heads, pack // kv_heads
        t, last = group * span, min((group + 1) * span, rows)
        if pack != loaded:
            begin, stop = reach(c, p, kind, last - 1, context)
            _pack_keys(c, tid, k, kv * context + begin, stop - begin)
            _pack_values(c, tid, v, kv * context + begin, stop - begin)
            loaded = pack
        stop = min((last - t) * shared, (piece + 1) * QUERIES)
        for first in range(piece * QUERIES, stop, TILE):
            _tile(c, tid, out, q, p, kind, t, kv * shared, shared, first, min(first + TILE, stop))
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
    c: Any, tid: int, out: int, q: int, p: Any, kind: int, t: int, head: int, shared: int,
    first: int, last: int,
) -> None:  # fmt: skip
    """Queries [first, last) of a group that begins at row t, ``shared`` heads a row."""
    width = c.tensors[p[0], COLS]
    wide, padded, queries, facts = up(width, 64), up(width, LANES), c.queries[tid], c.facts[tid]
    longest, sums, x = np.int64(0), c.row1[tid], c.row2[tid, :width]
    begin, stop = reach(c, p, kind, t, c.tensors[p[0], E1])
    for r in range(TILE):
        if first + r < last:
            row, h = t + (first + r) // shared, head + (first + r) % shared
            known = facts[FACTS * r : FACTS * (r + 1)]
            if kind != FULL:  # there it is the same for the whole group
                begin, stop = reach(c, p, kind, row, c.tensors[p[0], E1])
            _query(c, q, p, kind, row, h, begin, stop, x, queries[r * wide :], known)
            longest = max(longest, known[COUNT])
        else:
            queries[r * wide : r * wide + width] = 0
    sums[: TILE * padded] = 0
    for done in range(0, longest, BLOCK):
        size = min(np.int64(BLOCK), longest - done)
        _tile_block(c, tid, p[1], width, last - first, done, size)
    for r in range(last - first):
        row, h = t + (first + r) // shared, head + (first + r) % shared
        known = facts[FACTS * r : FACTS * (r + 1)]
        _store(c, tid, out, row, h, sums[r * padded : r * padded + width], known)


@jit
def _tile_block(c: Any, tid: int, v: int, width: int, queries: int, done: int, size: int) -> None:
    """A tile of queries against the ``size`` packed keys and values from ``done`` on."""
    products, planes, facts = c.totals[tid], c.weights[tid], c.facts[tid]
    key_scales, value_scales, scores = c.key_scales[tid], c.value_scales[tid], c.scores[tid]
    places, quads, wide = c.row3[tid], width // 4, up(width, 64)
    for group in range(0, size, LANES):
        multiply_tile(c, c.keys[tid], (done + group) * width, c.queries[tid], wide, quads,
                      products[group:], BLOCK)  # fmt: skip
    for half in range(0, queries, TILE // 2):
        stop = min(np.int64(half + TILE // 2), np.int64(queries))
        for r in range(half, stop):
            known = facts[FACTS * r : FACTS * (r + 1)]
            at, n = 2 * (r - half) * BLOCK, max(min(known[COUNT] - done, size), np.int64(0))
            low, high = planes[at : at + n], planes[at + BLOCK : at + BLOCK + n]
            if n > 0:
                sums, minus = products[r * BLOCK : r * BLOCK + n], np.int32(128 * known[MINUS])
                for j in range(n):
                    sums[j] = np.int32(sums[j] - minus)
                places[r] = _weigh_block(
                    sums, known, key_scales[done : done + n], value_scales[done : done + n],
                    scores[:n], low, high,
                )  # fmt: skip
            planes[at + n : at + up(size, 4)] = 0
            planes[at + BLOCK + n : at + BLOCK + up(size, 4)] = 0
        _tile_values(c, tid, v, width, half, stop, done, size)


@jit
def _tile_values(
    c: Any, tid: int, v: int, width: int, half: int, stop: int, done: int, size: int
) -> None:
    """Weighted values of a block for up to four queries, whose weights are in the planes."""
    tile, sums, facts, places = c.tile[tid], c.row1[tid], c.facts[tid], c.row3[tid]
    block, padded, count = c.row0[tid], up(width, LANES), (size + 3) // 4
    quads = up(c.tensors[v, E1], LANES) >> 2
    for begin in range(0, width, LANES):
        at = ((begin >> 4) * quads + (done >> 2)) * LANES * 4
        multiply_tile(c, c.values[tid], at, c.weights[tid], BLOCK, count, tile, LANES)
        for r in range(half, stop):
            known, row = facts[FACTS * r : FACTS * (r + 1)], 2 * (r - half)
            if known[COUNT] <= done:
                continue
            low, high = tile[row * LANES :], tile[(row + 1) * LANES :]
            minus, target = 128 * known[PLANES], block[(r - half) * padded + begin :]
            for i in range(LANES):
                target[i] = np.int64(low[i]) + 256 * np.int64(high[i]) - minus
    for r in range(half, stop):
        known = facts[FACTS * r : FACTS * (r + 1)]
        if known[COUNT] > done:
            at = (r - half) * padded
            _join(sums[r * padded : (r + 1) * padded], known, block[at : at + padded], places[r])
