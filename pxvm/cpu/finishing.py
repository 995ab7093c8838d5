"""From a product's sums to its results: times both scales, rounded once, plus the bias."""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.cpu.compiler import jit
from pxvm.cpu.intrinsics import divided, float_of
from pxvm.cpu.memory import (
    ACT1,
    ACT2,
    BIAS,
    COLS,
    DTYPE,
    FRAC,
    PER,
    SATURATIONS,
    SCALE,
    STRIDE,
    WIDTH,
    last_word,
    linked_word,
    multiply_scales,
    rescale,
    row_at,
    saturate,
    shift_down,
    split,
)


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
def narrow(totals: Any, minus: int, down: int, out: Any) -> None:
    """out[i] = (totals[i] - minus) / 2^down, rounded half up, which 32 bits hold."""
    minus -= (np.int64(1) << down) >> 1
    for i in range(len(out)):
        out[i] = np.int32((totals[i] - minus) >> down)


@jit
def place_of(c: Any, d: int, start: int, index: int) -> tuple[int, int]:
    """Word index of the index-th word of a row, and how many words follow without a gap."""
    if c.tensors[d, PER] > 0:
        return start + index, c.tensors[d, COLS] - index
    width = c.config[WIDTH]
    x = index % width
    return start + index // width * c.config[STRIDE] + x, width - x


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
def both(low: Any, high: Any, planes: int, minus: int, down: int, out: Any) -> None:
    """out[i] = (256 high[i] + low[i] - minus) / 2^down, rounded half up, which 32 bits hold.

    ``high`` counts with two planes. Where nothing is shifted, 32 bits are enough on the way as
    well: what goes over them comes back.
    """
    if down > 0:
        minus -= (np.int64(1) << down) >> 1
        for i in range(len(out)):
            upper = 256 * np.int64(high[i]) if planes == 2 else np.int64(0)
            out[i] = np.int32((np.int64(low[i]) + upper - minus) >> down)
        return
    less = np.int32(minus)
    if planes == 2:
        for i in range(len(out)):
            out[i] = np.int32(np.int32(low[i] + np.int32(high[i] << np.int32(8))) - less)
    else:
        for i in range(len(out)):
            out[i] = np.int32(low[i] - less)


@jit
def finish_tile(
    c: Any, tid: int, out: int, w: int, first: int, n: int, t: int, rows: int, planes: int,
    wide: int, down: int,
) -> None:  # fmt: skip
    """Result columns [first, first + n) of rows [t, t + rows) from sums of planes in the tile.

    Each plane of each row has ``wide`` sums there; ``c.sums`` knows the activations' sums and
    scales.
    """
    scale, bias, words, tile = c.tensors[w, SCALE], c.tensors[w, BIAS], c.words, c.tile[tid]
    sums = c.row0[tid].view(np.int32)[:n]
    plain = c.tensors[out, PER] > 0 and scale >= 0 and c.tensors[scale, PER] > 0
    scales, biases, over, fraction = words[:0], words[:0], np.int64(0), c.tensors[out, FRAC]
    if plain:
        at = row_at(c, scale, 0) + first
        scales = words[at : at + n]
        if bias >= 0:
            plain = c.tensors[bias, PER] > 0
            at = row_at(c, bias, 0) + first
            biases = words[at : at + n]
    for r in range(rows):
        at = r * planes * wide
        low, high = tile[at : at + n], tile[at + (planes - 1) * wide :]
        both(low, high, planes, 128 * c.sums[3 * (t + r)], down, sums)
        m, e = split(c.sums[3 * (t + r) + 1])
        found = np.int64(-1)
        if plain:
            at = row_at(c, out, t + r) + first
            result = words[at : at + n]
            found = finish_run(sums, m, e + down + fraction, scales, biases, bias >= 0, result)
        if found >= 0:
            over += found
        else:
            finish_columns(c, tid, out, t + r, w, first, n, sums, down, m, e)
    c.counters[tid, SATURATIONS] += over
