"""What every tensor opcode of dialect 1 computes: a few lines of int64 each, the specification.

An operand is a ``Tensor`` (see ``operand``): ``values`` are its rows in use as int64 (rows,
cols), ``scales`` their scales as (mantissas, exponents), ``frac`` its fraction bits;
``write(values)`` saturates to the element's range, marks the state where that changed anything, and
stores. Rows beyond those in use are neither read nor written. Parameters arrive as keywords.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pxvm.core import integer
from pxvm.core.integer import (
    HIGHEST,
    Ints,
    exp2_negative,
    ints,
    inverse_root,
    multiply_scales,
    normalise,
    quantise_rows,
    reciprocal,
    rescale,
    saturate,
    shift_down,
    shift_round,
)

if TYPE_CHECKING:
    from pxvm.core.operand import Tensor

LOG2E = ints(47274), ints(-15)  # log2(e) as a scale
BLOCK = 128  # tokens whose softmax weights are summed at a time
FAR = -(1 << 20)  # below every exponent
FUNCTIONS: dict[str, Callable[..., None]] = {}


def defines(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a function as the definition of the opcode called ``name``."""

    def mark(function: Callable[..., None]) -> Callable[..., None]:
        FUNCTIONS[name] = function
        return function

    return mark


def product(a: Ints, b: Ints) -> Ints:
    """a (m, k) times b (n, k) transposed; exact: every sum stays below 2^53."""
    return ints(np.asarray(a, np.float64) @ np.asarray(b, np.float64).T)


@defines("Embed")
def embed(out: Tensor, ids: Tensor, table: Tensor) -> None:
    rows = out.clamp_index(ids.values[:, 0], table.rows)
    mantissa, exponent = (s[rows, None] for s in table.scales)
    out.write(rescale(table.at(rows), mantissa, exponent + out.frac))


def excess(terms: int, *operands: Tensor) -> int:
    """Bits that a sum of so many products may have beyond 32: 0 with one plane each."""
    return max(math.prod((terms, *(x.largest for x in operands))).bit_length() - 31, 0)


@defines("Linear")
def linear(out: Tensor, x: Tensor, weight: Tensor) -> None:
    scale = multiply_scales(
        (x.scales[0][:, None], x.scales[1][:, None]), (weight.scales[0], weight.scales[1])
    )
    shift = excess(x.cols, x, weight)
    total = shift_down(product(x.values, weight.values), shift)
    out.write(out.saturate(rescale(total, scale[0], scale[1] + shift + out.frac)) + weight.bias)


@defines("MatMul")
def matmul(out: Tensor, a: Tensor, b: Tensor) -> None:
    linear(out, a, b)


@defines("Add")
def add(out: Tensor, a: Tensor, b: Tensor) -> None:
    out.write(a.values + b.values)


@defines("Mul")
def mul(out: Tensor, a: Tensor, b: Tensor) -> None:
    out.write(shift_round(a.values * b.values, a.frac + b.frac - out.frac))


@defines("Dot")
def dot(out: Tensor, a: Tensor, b: Tensor) -> None:
    terms = shift_round(a.values * b.values, a.frac + b.frac - out.frac)
    out.write(out.saturate(terms).sum(axis=1, keepdims=True))


def _mean(total: Ints, count: int) -> Ints:
    """The total of ``count`` numbers divided by it, rounded half up."""
    return (total + (count >> 1)) // count


def _normalise_rows(out: Tensor, x: Ints, frac: int, weight: Tensor) -> None:
    rows, cols = len(x), weight.cols
    x = x.reshape(-1, cols)
    largest = np.abs(x).max(axis=1)
    shift = np.maximum(integer.bit_length(largest) - 15, 0)
    small = shift_down(x, shift[:, None])
    mantissa, exponent = weight.scales
    epsilon = rescale(np.int64(cols), mantissa, exponent + 2 * (frac - shift))
    square = (small * small).sum(axis=1) + np.clip(epsilon, 1, HIGHEST)
    scale = inverse_root(np.full(len(x), cols), square)
    scaled = small * weight.values
    if out.is_activation:
        q, size = quantise_rows(scaled, out.bits, weight.frac)
        out.write(q, multiply_scales(size, scale))
    else:
        shifted = scale[1][:, None] + out.frac - weight.frac
        y = out.saturate(rescale(scaled, scale[0][:, None], shifted)) + weight.bias
        out.write(y.reshape(rows, -1))


@defines("RMSNorm")
def rms_norm(out: Tensor, x: Tensor, weight: Tensor) -> None:
    _normalise_rows(out, x.values, x.frac, weight)


@defines("LayerNorm")
def layer_norm(out: Tensor, x: Tensor, weight: Tensor) -> None:
    mean = _mean(x.values.sum(axis=1, keepdims=True), x.cols)
    _normalise_rows(out, saturate(x.values - mean), x.frac, weight)


@defines("Quantise")
def quantise(out: Tensor, x: Tensor) -> None:
    q, scale = quantise_rows(x.values, out.bits, x.frac)
    out.write(q, scale)


def _rotate(x: Tensor, table: Tensor, position: Tensor, first: Any, second: Any) -> None:
    rows = x.clamp_index(position.scalar + np.arange(len(x.values)), table.rows)
    cosine, sine = table.at(rows)[:, None, 0::2], table.at(rows)[:, None, 1::2]
    heads = x.values.reshape(len(rows), -1, table.cols)
    a, b = heads[..., first], heads[..., second]
    turned = heads.copy()
    turned[..., first] = shift_down(a * cosine - b * sine, 14)
    turned[..., second] = shift_down(a * sine + b * cosine, 14)
    x.write(turned.reshape(x.values.shape))


@defines("RoPEPairs")
def rope_pairs(x: Tensor, table: Tensor, position: Tensor) -> None:
    _rotate(x, table, position, slice(0, None, 2), slice(1, None, 2))


@defines("RoPEHalves")
def rope_halves(x: Tensor, table: Tensor, position: Tensor) -> None:
    half = table.cols // 2
    _rotate(x, table, position, slice(0, half), slice(half, None))


@defines("Append")
def append(cache: Tensor, x: Tensor, position: Tensor) -> None:
    heads, context, width = cache.extents
    rows = x.clamp_index(position.scalar + np.arange(len(x.values)), context)
    q, scale = quantise_rows(x.values.reshape(-1, heads, width), 7, x.frac)
    for head in range(heads):
        for number, row in enumerate(rows.tolist()):
            cache.put(
                head * context + row,
                q[number, head],
                scale[0][number, head],
                scale[1][number, head],
            )


def _attend(q: Ints, scale: Any, k: Any, v: Any, frac: int) -> Ints:
    """One query of one head over n tokens: q (width), k and v (values (n, width), scales (n)).

    Blocks of BLOCK tokens, from the first token on, have a power of two each that their weights
    are relative to; their sums are joined one after the other.
    """
    n = len(k[0])
    fewer, lighter = max(n.bit_length() - 10, 0), max(n.bit_length() - 16, 0)
    total, weight = (np.zeros_like(q), ints(FAR)), (ints(0), ints(FAR))
    for first in range(0, n, BLOCK):
        block = slice(first, first + BLOCK)
        mantissa, exponent = multiply_scales(scale, (k[1][0][block], k[1][1][block]))
        scores = rescale(k[0][block] @ q, mantissa, exponent + 16)
        scores = np.clip(scores, -(1 << 30), 1 << 30)
        top = (scores.max() + 65535) >> 16
        weights = exp2_negative((top << 16) - scores)
        mantissa, exponent = v[1][0][block], v[1][1][block]
        common = exponent.max()
        scaled = shift_round(weights * mantissa, common - exponent + 18)
        total = _join(total, (shift_down(scaled @ v[0][block], fewer), top + common))
        weight = _join(weight, (shift_down(weights.sum(), lighter), top))
    inverse = reciprocal(weight[0])
    exponent = total[1] + fewer + 18 - weight[1] - lighter
    return rescale(total[0], inverse[0], inverse[1] + exponent + frac)


def _join(one: tuple[Ints, Ints], other: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """The sum of two (integers, exponent), with the larger exponent."""
    exponent = np.maximum(one[1], other[1])
    parts = (shift_down(x, np.minimum(exponent - e, 32)) for x, e in (one, other))
    return sum(parts, ints(0)), exponent


@defines("AttentionCausal")
def attention_causal(
    out: Tensor, q: Tensor, *, k: Tensor, v: Tensor, position: Tensor, scale: tuple[Ints, Ints]
) -> None:
    context = k.extents[1]
    last = q.clamp_index(position.scalar + np.arange(len(q.values)), context)
    _attention(out, q, k, v, scale, [(0, int(n) + 1) for n in last])


@defines("AttentionWindow")
def attention_window(
    out: Tensor, q: Tensor, *, k: Tensor, v: Tensor, position: Tensor, scale: Any, window: int
) -> None:
    context = k.extents[1]
    last = q.clamp_index(position.scalar + np.arange(len(q.values)), context)
    _attention(out, q, k, v, scale, [(max(int(n) + 1 - window, 0), int(n) + 1) for n in last])


@defines("AttentionFull")
def attention_full(
    out: Tensor, q: Tensor, *, k: Tensor, v: Tensor, span: Tensor, lengths: Tensor, scale: Any
) -> None:
    context, step = k.extents[1], int(np.clip(span.scalar, 1, k.extents[1]))
    ranges = []
    for number in range(len(q.values)):
        group = number // step
        start = min(group * step, context - 1)
        used = int(lengths.flat[min(group, len(lengths.flat) - 1)])
        ranges.append((start, min(start + min(max(used, 1), step), context)))
    _attention(out, q, k, v, scale, ranges)


def _attention(
    out: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: Any, ranges: list[tuple[int, int]]
) -> None:
    kv_heads, context, width = k.extents
    heads = q.cols // width
    rows, sizes = quantise_rows(q.values.reshape(-1, heads, width), 7, q.frac)
    result = np.zeros((len(rows), heads, width), np.int64)
    for number, (start, stop) in enumerate(ranges):
        for head in range(heads):
            first = head // (heads // kv_heads) * context
            size = multiply_scales((sizes[0][number, head], sizes[1][number, head]), scale)
            keys, values = (t.slice(first + start, first + stop) for t in (k, v))
            result[number, head] = _attend(rows[number, head], size, keys, values, out.frac)
    out.write(result.reshape(len(rows), -1))


@defines("Softmax")
def softmax(out: Tensor, x: Tensor) -> None:
    distance = saturate(x.values.max(axis=1, keepdims=True) - x.values)
    weights = exp2_negative(rescale(distance, LOG2E[0], LOG2E[1] + 16 - x.frac))
    mantissa, exponent = reciprocal(weights.sum(axis=1, keepdims=True))
    out.write(rescale(weights, mantissa, exponent + out.frac))


@defines("ReLU")
def relu(out: Tensor, x: Tensor) -> None:
    out.write(np.maximum(x.values, 0))


@defines("Table")
def table_lookup(out: Tensor, x: Tensor, table: Tensor) -> None:
    y = integer.interpolate(table.flat, shift_round(x.values, x.frac - 16))
    out.write(shift_round(y, table.frac - out.frac))


@defines("Gate")
def gate(out: Tensor, x: Tensor, table: Tensor) -> None:
    y = integer.interpolate(table.flat, shift_round(x.values, x.frac - 16))
    out.write(shift_round(x.values * y, x.frac + table.frac - out.frac))


def _inside(first: int, extent: int, count: int, stride: int) -> tuple[slice, slice]:
    """Of windows that have a place at ``first`` and every ``stride`` from there: those for which it
    lies inside a picture of this extent, and where in the picture it then is.
    """
    start = max(-(first // stride), 0)
    stop = max(min((extent - 1 - first) // stride + 1, count), start)
    return slice(start, stop), slice(first + start * stride, first + stop * stride, stride)


def _places(
    images: Ints, counts: tuple[int, int], size: int, stride: int, pad: int = 0
) -> Iterator[tuple[Any, Any, Ints]]:
    """(place in the window, windows, their pixels there) for every place of a window."""
    height, width = images.shape[1:3]
    for ky, kx in np.ndindex(size, size):
        rows, from_rows = _inside(ky - pad, height, counts[0], stride)
        columns, from_columns = _inside(kx - pad, width, counts[1], stride)
        yield (ky, kx), (slice(None), rows, columns), images[:, from_rows, from_columns]


@defines("Conv2D")
def conv2d(
    out: Tensor,
    x: Tensor,
    *,
    weight: Tensor,
    height: int,
    width: int,
    size: int,
    stride: int,
    pad: int,
) -> None:
    images = x.values.reshape(len(x.values), height, width, -1)
    kernels = weight.values.reshape(weight.rows, size, size, -1)
    counts = ((height + 2 * pad - size) // stride + 1, (width + 2 * pad - size) // stride + 1)
    total = np.zeros((len(images), *counts, weight.rows), np.int64)
    for (ky, kx), windows, pixels in _places(images, counts, size, stride, pad):
        part = product(pixels.reshape(-1, pixels.shape[3]), kernels[:, ky, kx])
        total[windows] += part.reshape(*pixels.shape[:3], weight.rows)
    scale = multiply_scales((x.scales[0][:, None], x.scales[1][:, None]), weight.scales)
    shift = excess(weight.cols, x, weight)
    sums = shift_down(total.reshape(len(images), -1, weight.rows), shift)
    y = rescale(sums, scale[0][:, None], scale[1][:, None] + shift + out.frac)
    out.write((out.saturate(y) + weight.bias).reshape(len(images), -1))


def _pooled(x: Tensor, height: int, width: int, size: int, stride: int, join: Any) -> Ints:
    """All pixels of each window joined into one; of shape (rows, elements of the result)."""
    images = x.values.reshape(len(x.values), height, width, -1)
    counts = ((height - size) // stride + 1, (width - size) // stride + 1)
    places = (pixels for _, _, pixels in _places(images, counts, size, stride))
    result = next(places).copy()
    for pixels in places:
        join(result, pixels, out=result)
    return ints(result.reshape(len(images), -1))


@defines("MaxPool")
def max_pool(out: Tensor, x: Tensor, *, height: int, width: int, size: int, stride: int) -> None:
    out.write(_pooled(x, height, width, size, stride, np.maximum))


@defines("AvgPool")
def avg_pool(out: Tensor, x: Tensor, *, height: int, width: int, size: int, stride: int) -> None:
    out.write(_mean(_pooled(x, height, width, size, stride, np.add), size * size))


@defines("Copy")
def copy(out: Tensor, x: Tensor) -> None:
    out.write_all(x.all.reshape(-1))


@defines("Transpose")
def transpose(out: Tensor, x: Tensor, *, a: int, b: int, c: int, d: int) -> None:
    four = x.all.reshape(x.extents + (1,) * (4 - len(x.extents)))
    out.write_all(four.transpose(a, b, c, d).reshape(-1))


@defines("Slice")
def slice_(out: Tensor, x: Tensor, *, first: int, step: int) -> None:
    out.write(x.values[:, first : first + step * out.cols : step][:, : out.cols])


@defines("Concat")
def concat(out: Tensor, x: Tensor, *, first: int) -> None:
    merged = out.values.copy()
    merged[:, first : first + x.cols] = x.values
    out.write(merged)


@defines("Tail")
def tail(out: Tensor, x: Tensor) -> None:
    used = len(x.values)
    out.write(x.values[np.maximum(used - len(out.values) + np.arange(len(out.values)), 0)])


@defines("Push")
def push(out: Tensor, x: Tensor, length: Tensor) -> None:
    rows = out.clamp_index(length.scalar + np.arange(len(x.values)), out.rows)
    everything = out.all.copy()
    everything[rows] = x.values
    out.write_all(everything.reshape(-1))
    length.write_all(np.minimum(ints([length.scalar]) + len(x.values), out.rows))


@defines("Fill")
def fill(out: Tensor, value: Tensor) -> None:
    out.write(np.full(out.values.shape, value.scalar))


@defines("Sum")
def reduce_sum(out: Tensor, x: Tensor) -> None:
    out.write(x.values.sum(axis=1, keepdims=True))


@defines("Max")
def reduce_max(out: Tensor, x: Tensor) -> None:
    out.write(x.values.max(axis=1, keepdims=True))


@defines("Mean")
def reduce_mean(out: Tensor, x: Tensor) -> None:
    out.write(_mean(x.values.sum(axis=1, keepdims=True), x.cols))


@defines("MeanPool")
def mean_pool(out: Tensor, x: Tensor, *, span: Tensor, lengths: Tensor) -> None:
    step, everything = int(np.clip(span.scalar, 1, x.rows)), x.values
    rows = []
    for group in range(len(out.values)):
        used = int(np.clip(lengths.flat[min(group, len(lengths.flat) - 1)], 1, step))
        block = everything[group * step : group * step + used]
        rows.append(_mean(block.sum(axis=0), max(len(block), 1)))
    out.write(ints(rows).reshape(-1, x.cols))


@defines("L2Norm")
def l2_norm(out: Tensor, x: Tensor) -> None:
    shift = np.maximum(integer.bit_length(np.abs(x.values).max(axis=1)) - 15, 0)
    small = shift_down(x.values, shift[:, None])
    square = np.maximum((small * small).sum(axis=1), 1)
    mantissa, exponent = inverse_root(np.ones_like(square), square)
    out.write(rescale(x.values, mantissa[:, None], (exponent - shift + out.frac)[:, None]))


@defines("Argmax")
def argmax(out: Tensor, x: Tensor) -> None:
    out.write(np.argmax(x.values, axis=1)[:, None])


def _largest(row: Ints, count: int) -> Ints:
    return np.argsort(-row, kind="stable")[:count]


@defines("TopK")
def top_k(indices: Tensor, x: Tensor, values: Tensor) -> None:
    order = ints([_largest(row, indices.cols) for row in x.values]).reshape(-1, indices.cols)
    found = np.take_along_axis(x.values, order, axis=1)
    indices.write(order)
    values.write(found)


@defines("Sample")
def sample(
    token: Tensor,
    logits: Tensor,
    *,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    penalty: Tensor,
    history: Tensor,
    random: Tensor,
) -> None:
    row = logits.values[0].copy()
    seen = np.unique(history.clamp_index(history.values[:, 0], logits.cols))
    factor = normalise(np.maximum(penalty.scalar, 1), -16)
    inverse = reciprocal(np.maximum(penalty.scalar, 1))
    row[seen] = saturate(
        np.where(
            row[seen] > 0,
            rescale(row[seen], inverse[0], inverse[1] + 16),
            rescale(row[seen], *factor),
        )
    )
    limit = int(np.clip(top_k.scalar, 1, min(SAMPLE_CANDIDATES, logits.cols)))
    order = _largest(row, limit)
    warmth = int(temperature.scalar)
    if warmth <= 0:
        token.write(ints([[order[0]]]))
        return
    distance = saturate(row[order[0]] - row[order])
    cold = multiply_scales(reciprocal(warmth), LOG2E)
    weights = exp2_negative(rescale(distance, cold[0], cold[1] + 32 - logits.frac))
    total = np.cumsum(weights)
    enough = shift_round(total[-1] * np.clip(top_p.scalar, 0, 65536), 16)
    kept = int(np.searchsorted(total, max(int(enough), 1))) + 1
    target = (random.draw() * int(total[kept - 1])) >> 32
    token.write(ints([[order[np.searchsorted(total[:kept], target, side="right")]]]))


SAMPLE_CANDIDATES = 1024


@defines("Less")
def less(out: Tensor, a: Tensor, b: Tensor) -> None:
    out.write((a.values < b.values).astype(np.int64))


@defines("Equal")
def equal(out: Tensor, a: Tensor, b: Tensor) -> None:
    out.write((a.values == b.values).astype(np.int64))


@defines("Select")
def select(out: Tensor, condition: Tensor, x: Tensor) -> None:
    out.write(np.where(condition.values != 0, x.values, out.values))


@defines("Blit")
def blit(canvas: Tensor, text: Tensor, font: Tensor) -> None:
    glyphs, height, width = font.extents
    per_line = canvas.cols // width
    picture = canvas.all.copy()
    for number, code in enumerate(font.clamp_index(text.flat - 32, glyphs).tolist()):
        line, column = divmod(number, per_line)
        if (line + 1) * height <= canvas.rows:
            cell = font.at(np.arange(code * height, (code + 1) * height))
            x = column * width
            picture[line * height : (line + 1) * height, x : x + width] = cell
    canvas.write_all(picture.reshape(-1))
