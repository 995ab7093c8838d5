"""Opcodes that move elements, draw text, and sample; one thread does each of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.core.ops import SAMPLE_CANDIDATES
from pxvm.cpu.compiler import jit
from pxvm.cpu.finishing import put
from pxvm.cpu.memory import (
    COLS,
    E0,
    E1,
    FRAC,
    ROWS,
    clamp,
    element,
    exp2_negative,
    load,
    max_of,
    multiply_scales,
    normalise,
    reciprocal,
    rescale,
    row_at,
    saturate,
    scalar,
    shift_round,
    store,
    used_rows,
    wrapped,
)
from pxvm.cpu.rowwise import LOG2E, LOG2E_EXPONENT, largest

MULTIPLIER, INCREMENT = np.uint64(6364136223846793005), np.uint64(1442695040888963407)


@jit
def set_element(c: Any, d: int, index: int, value: int, tid: int) -> None:
    """Write an I32 element by its number in order."""
    cols = c.tensors[d, COLS]
    put(c, wrapped(c, d, row_at(c, d, index // cols), index % cols), value, tid)


@jit
def copy(c: Any, tid: int, out: int, x: int) -> None:
    """Copy."""
    for i in range(c.tensors[x, ROWS] * c.tensors[x, COLS]):
        set_element(c, out, i, element(c, x, i), tid)


@jit
def transpose(c: Any, tid: int, out: int, x: int, a: int) -> None:
    """Transpose."""
    axes = c.params[a]
    extents = c.tensors[x, E0 : E0 + 4]
    strides = c.row0[tid]
    strides[3] = 1
    for axis in range(2, -1, -1):
        strides[axis] = strides[axis + 1] * extents[axis + 1]
    number = np.int64(0)
    for i in range(extents[axes[0]]):
        for j in range(extents[axes[1]]):
            for k in range(extents[axes[2]]):
                for m in range(extents[axes[3]]):
                    at = i * strides[axes[0]] + j * strides[axes[1]] + k * strides[axes[2]]
                    set_element(c, out, number, element(c, x, at + m * strides[axes[3]]), tid)
                    number += 1


@jit
def push(c: Any, tid: int, out: int, x: int, length: int) -> None:
    """Push."""
    start, rows, v = scalar(c, length), used_rows(c, x), c.row0[tid]
    for t in range(rows):
        load(c, x, t, v)
        store(c, out, clamp(c, start + t, c.tensors[out, ROWS], tid, True), v, tid)
    set_element(c, length, 0, min(start + rows, c.tensors[out, ROWS]), tid)


@jit
def blit(c: Any, tid: int, canvas: int, text: int, font: int) -> None:
    """Blit."""
    glyphs, height, width = c.tensors[font, E0], c.tensors[font, E1], c.tensors[font, COLS]
    per_line = c.tensors[canvas, COLS] // width
    for number in range(c.tensors[text, ROWS] * c.tensors[text, COLS]):
        code = clamp(c, element(c, text, number) - 32, glyphs, tid, True)
        line, column = number // per_line, number % per_line
        if (line + 1) * height > c.tensors[canvas, ROWS]:
            continue
        for y in range(height):
            source = row_at(c, font, code * height + y)
            target = row_at(c, canvas, line * height + y)
            for x in range(width):
                word = c.words[wrapped(c, font, source, x)]
                c.words[wrapped(c, canvas, target, column * width + x)] = word


@jit
def _random(c: Any, d: int) -> int:
    """32 random bits of PCG32; its state, two words, moves on."""
    at = row_at(c, d, 0)
    second = wrapped(c, d, at, 1)
    state = np.uint64(np.uint32(c.words[at])) | np.uint64(np.uint32(c.words[second])) << np.uint64(
        32
    )
    word = np.uint32(((state >> np.uint64(18)) ^ state) >> np.uint64(27))
    turn = np.uint32(state >> np.uint64(59))
    left = np.uint32((np.uint32(32) - turn) & np.uint32(31))
    bits = np.uint32(np.uint32(word >> turn) | np.uint32(word << left))
    state = state * MULTIPLIER + INCREMENT
    c.words[at] = np.int32(np.uint32(state & np.uint64(0xFFFFFFFF)))
    c.words[second] = np.int32(np.uint32(state >> np.uint64(32)))
    return np.int64(bits)


@jit
def sample(c: Any, tid: int, token: int, logits: int, a: int) -> None:
    """Sample."""
    p, n = c.params[a], c.tensors[logits, COLS]
    temperature, penalty, history = scalar(c, p[0]), scalar(c, p[3]), p[4]
    v, order, weights = c.row0[tid], c.row1[tid], c.row2[tid]
    load(c, logits, 0, v)
    pm, pe = reciprocal(max(penalty, np.int64(1)))
    fm, fe = normalise(max(penalty, np.int64(1)), np.int64(-16))
    start = row_at(c, logits, 0)
    for t in range(used_rows(c, history)):
        index = clamp(c, np.int64(c.words[row_at(c, history, t)]), n, tid, True)
        logit = np.int64(c.words[wrapped(c, logits, start, index)])
        if logit > 0:
            v[index] = saturate(rescale(logit, pm, pe + 16))
        else:
            v[index] = saturate(rescale(logit, fm, fe))
    limit = min(max(scalar(c, p[1]), np.int64(1)), min(np.int64(SAMPLE_CANDIDATES), n))
    if temperature <= 0:
        top, best = max_of(v, n), np.int64(0)
        while v[best] != top:
            best += 1
        set_element(c, token, 0, best, tid)
        return
    largest(v, n, limit, order)
    m, e = reciprocal(temperature)
    m, e = multiply_scales(m, e, LOG2E, LOG2E_EXPONENT)
    total = np.int64(0)
    for i in range(limit):
        d = saturate(v[order[0]] - v[order[i]])
        total += exp2_negative(rescale(d, m, e + 32 - c.tensors[logits, FRAC]))
        weights[i] = total
    top_p = min(max(scalar(c, p[2]), np.int64(0)), np.int64(65536))
    enough = max(shift_round(total * top_p, 16), np.int64(1))
    kept = np.int64(0)
    while weights[kept] < enough:
        kept += 1
    target = (_random(c, p[5]) * weights[kept]) >> 32
    pick = np.int64(0)
    while weights[pick] <= target:
        pick += 1
    set_element(c, token, 0, order[pick], tid)
