"""Sums of int8 weights and activations, by what the processor has.

Weights are stored excess-128, which is what VNNI wants: sum((w + 128) x) = sum(w x) + 128 sum(x),
and the sum of the activations is known. Without VNNI, but with AVX2, both planes of an activation
are one integer of 16 bits (see ``avx2``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.cpu.avx2 import avx2_dots, avx2_tile8
from pxvm.cpu.bounds import LANES, LONG, QUANTISED, TILE
from pxvm.cpu.compiler import jit
from pxvm.cpu.memory import ACT2, AVX2, DTYPE, VNNI
from pxvm.cpu.vnni import vnni_rows, vnni_tile


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
