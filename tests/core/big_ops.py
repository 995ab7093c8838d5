"""Every tensor opcode of dialect 1 on ``big_model.Tensor``: lists of unbounded integers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from tests.core.big_integer import (
    HIGHEST,
    LOG2E,
    Scale,
    clamp,
    exp2_negative,
    half_up,
    interpolate,
    inverse_root,
    mean,
    multiply,
    normalise,
    quantise,
    reciprocal,
    rescale,
    saturate,
    shift_round,
)
from tests.core.big_model import ACT1, ACT2, Tensor

OPS: dict[str, Callable[..., None]] = {}
Rows = list[list[int]]


def op(*names: str) -> Callable[[Any], Any]:
    """Register an opcode, or several that are told apart by their name as first argument."""

    def mark(function: Any) -> Any:
        for name in names:
            OPS[name] = (
                function if len(names) == 1 else lambda *a, n=name, **k: function(n, *a, **k)
            )
        return function

    return mark


def dot(a: list[int], b: list[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


@op("Embed")
def _embed(out: Tensor, ids: Tensor, table: Tensor) -> None:
    rows = [table.inside(i, table.rows) for (i,) in ids.values]
    out.write([[rescale(x, table.scale_of(r), out.frac) for x in table.row(r)] for r in rows])


def finished(total: int, most: int, scale: Scale, out: Tensor) -> int:
    """An exact sum, which is ``most`` at most, brought to 32 bits and times a scale, saturated."""
    shift = 0
    while most >= 2 ** (31 + shift):
        shift += 1
    return out.saturate(rescale(half_up(total, shift), scale, shift + out.frac))


@op("Linear", "MatMul")
def _linear(name: str, out: Tensor, x: Tensor, weight: Tensor) -> None:
    rows = []
    for t, row in enumerate(x.values):
        rows.append([])
        for n in range(weight.rows):
            scale = multiply(x.scale_of(t), weight.scale_of(n))
            most = x.cols * x.largest * weight.largest
            total = finished(dot(row, weight.row(n)), most, scale, out)
            rows[-1].append(total + (weight.bias_of(n) if name == "Linear" else 0))
    out.write(rows)


@op("Conv2D")
def _conv(out: Tensor, x: Tensor, *, weight: Tensor, height: int, width: int, size: int,
          stride: int, pad: int) -> None:  # fmt: skip
    channels, rows = x.cols // (height * width), []
    kernels = [weight.row(n) for n in range(weight.rows)]
    for t, picture in enumerate(x.values):
        scales = [multiply(x.scale_of(t), weight.scale_of(n)) for n in range(weight.rows)]
        result = []
        for y0 in range(-pad, height + pad - size + 1, stride):
            for x0 in range(-pad, width + pad - size + 1, stride):
                patch = []
                for i, j, c in product(range(size), range(size), range(channels)):
                    here = 0 <= y0 + i < height and 0 <= x0 + j < width
                    at = ((y0 + i) * width + x0 + j) * channels + c
                    patch.append(picture[at] if here else 0)
                for n, kernel in enumerate(kernels):
                    total = dot(patch, kernel)
                    y = finished(total, len(patch) * x.largest * 128, scales[n], out)
                    result.append(y + weight.bias_of(n))
        rows.append(result)
    out.write(rows)


def _pair(a: Tensor, b: Tensor) -> list[list[tuple[int, int]]]:
    """Elements of a, each with the one of b that belongs to it."""
    left, right = a.values, b.values
    if len(right) == 1:
        right = right * len(left)
    return [
        [(x, other[i if len(other) > 1 else 0]) for i, x in enumerate(row)]
        for row, other in zip(left, right, strict=True)
    ]


@op("Add", "Mul", "Less", "Equal")
def _binary(name: str, out: Tensor, a: Tensor, b: Tensor) -> None:
    shift = a.frac + b.frac - out.frac
    compute = {
        "Add": lambda x, y: x + y,
        "Mul": lambda x, y: shift_round(x * y, shift),
        "Less": lambda x, y: int(x < y),
        "Equal": lambda x, y: int(x == y),
    }[name]
    out.write([[compute(x, y) for x, y in row] for row in _pair(a, b)])


@op("Dot")
def _dot(out: Tensor, a: Tensor, b: Tensor) -> None:
    shift = a.frac + b.frac - out.frac
    rows = zip(a.values, b.values, strict=True)
    terms = [
        [out.saturate(shift_round(x * y, shift)) for x, y in zip(*r, strict=True)] for r in rows
    ]
    out.write([[sum(row)] for row in terms])


@op("ReLU")
def _relu(out: Tensor, x: Tensor) -> None:
    out.write([[max(v, 0) for v in row] for row in x.values])


@op("Table", "Gate")
def _table(name: str, out: Tensor, x: Tensor, table: Tensor) -> None:
    entries, gated = table.flat, name == "Gate"

    def one(v: int) -> int:
        y = interpolate(entries, shift_round(v, x.frac - 16))
        if gated:
            return shift_round(v * y, x.frac + table.frac - out.frac)
        return shift_round(y, table.frac - out.frac)

    out.write([[one(v) for v in row] for row in x.values])


@op("Select")
def _select(out: Tensor, condition: Tensor, x: Tensor) -> None:
    rows = zip(condition.values, x.values, out.values, strict=True)
    out.write([[v if c else o for c, v, o in zip(*row, strict=True)] for row in rows])


@op("RMSNorm", "LayerNorm")
def _norm(name: str, out: Tensor, x: Tensor, weight: Tensor) -> None:
    weights, rows = weight.flat, []
    for t, row in enumerate(x.values):
        middle = mean(row) if name == "LayerNorm" else 0
        whole = [saturate(v - middle) for v in row]
        if out.dtype in (ACT1, ACT2):
            scaled, scale = _normed(whole, x.frac, weight)
            q, size = quantise(scaled, out.bits, weight.frac)
            out.put(t, q, multiply(size, scale))
            continue
        rows.append([])
        for first in range(0, len(whole), len(weights)):
            scaled, scale = _normed(whole[first : first + len(weights)], x.frac, weight)
            y = [out.saturate(rescale(v, scale, out.frac - weight.frac)) for v in scaled]
            rows[-1] += [v + weight.bias_of(i) for i, v in enumerate(y)]
    if rows:
        out.write(rows)


def _normed(head: list[int], frac: int, weight: Tensor) -> tuple[list[int], Scale]:
    shift = max(max(map(abs, head)).bit_length() - 15, 0)
    small = [half_up(v, shift) for v in head]
    epsilon = rescale(len(head), weight.scale_of(0), 2 * (frac - shift))
    scale = inverse_root(len(head), sum(v * v for v in small) + clamp(epsilon, 1, HIGHEST))
    return [v * w for v, w in zip(small, weight.flat, strict=True)], scale


@op("L2Norm")
def _l2(out: Tensor, x: Tensor) -> None:
    rows = []
    for row in x.values:
        shift = max(max(map(abs, row)).bit_length() - 15, 0)
        small = [half_up(v, shift) for v in row]
        scale = inverse_root(1, max(sum(v * v for v in small), 1))
        rows.append([rescale(v, scale, out.frac - shift) for v in row])
    out.write(rows)


@op("Softmax")
def _softmax(out: Tensor, x: Tensor) -> None:
    rows = []
    for row in x.values:
        steps = [rescale(saturate(max(row) - v), LOG2E, 16 - x.frac) for v in row]
        weights = [exp2_negative(step) for step in steps]
        rows.append([rescale(w, reciprocal(sum(weights)), out.frac) for w in weights])
    out.write(rows)


@op("Quantise")
def _quantise(out: Tensor, x: Tensor) -> None:
    for t, row in enumerate(x.values):
        out.put(t, *quantise(row, out.bits, x.frac))


@op("Sum", "Max", "Mean", "Argmax")
def _reduce(name: str, out: Tensor, x: Tensor) -> None:
    compute = {"Sum": sum, "Max": max, "Mean": mean, "Argmax": lambda row: row.index(max(row))}
    out.write([[compute[name](row)] for row in x.values])


def _order(row: list[int]) -> list[int]:
    """Indices, the largest element first, lower indices first among equals."""
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


@op("TopK")
def _top_k(indices: Tensor, x: Tensor, values: Tensor) -> None:
    rows = x.values
    orders = [_order(row)[: indices.cols] for row in rows]
    indices.write(orders)
    values.write([[row[i] for i in order] for row, order in zip(rows, orders, strict=True)])


@op("RoPEPairs", "RoPEHalves")
def _rope(name: str, x: Tensor, table: Tensor, position: Tensor) -> None:
    start, half, rows = position.scalar, table.cols // 2, []
    for t, row in enumerate(x.values):
        angles, turned = table.row(x.inside(start + t, table.rows)), list(row)
        for head in range(0, x.cols, table.cols):
            for i in range(half):
                first, second = (2 * i, 2 * i + 1) if name == "RoPEPairs" else (i, i + half)
                a, b = row[head + first], row[head + second]
                cosine, sine = angles[2 * i : 2 * i + 2]
                turned[head + first] = half_up(a * cosine - b * sine, 14)
                turned[head + second] = half_up(a * sine + b * cosine, 14)
        rows.append(turned)
    x.write(rows)


@op("Append")
def _append(cache: Tensor, x: Tensor, position: Tensor) -> None:
    heads, context, width = cache.extents
    start = position.scalar
    for t, row in enumerate(x.values):
        place = x.inside(start + t, context)
        for head in range(heads):
            part = row[head * width : (head + 1) * width]
            cache.put(head * context + place, *quantise(part, 7, x.frac))


@op("AttentionCausal")
def _causal(
    out: Tensor, q: Tensor, *, k: Tensor, v: Tensor, position: Tensor, scale: Scale
) -> None:
    start, context = position.scalar, k.extents[1]
    ranges = [(0, q.inside(start + t, context) + 1) for t in range(q.used)]
    _attention(out, q, k, v, scale, ranges)


@op("AttentionWindow")
def _windowed(out: Tensor, q: Tensor, *, k: Tensor, v: Tensor, position: Tensor, scale: Scale,
              window: int) -> None:  # fmt: skip
    start, context, ranges = position.scalar, k.extents[1], []
    for t in range(q.used):
        last = q.inside(start + t, context)
        ranges.append((max(0, last - window + 1), last + 1))
    _attention(out, q, k, v, scale, ranges)


@op("AttentionFull")
def _full(out: Tensor, q: Tensor, *, k: Tensor, v: Tensor, span: Tensor, lengths: Tensor,
          scale: Scale) -> None:  # fmt: skip
    context, counts = k.extents[1], lengths.flat
    step, ranges = clamp(span.scalar, 1, context), []
    for t in range(q.used):
        group = t // step
        start = min(group * step, context - 1)
        used = clamp(counts[min(group, len(counts) - 1)], 1, step)
        ranges.append((start, min(start + used, context)))
    _attention(out, q, k, v, scale, ranges)


def _attention(out: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: Scale,
               ranges: list[tuple[int, int]]) -> None:  # fmt: skip
    kv_heads, context, width = k.extents
    heads, rows = q.cols // width, []
    for row, (start, stop) in zip(q.values, ranges, strict=True):
        rows.append([])
        for head in range(heads):
            query, size = quantise(row[head * width : (head + 1) * width], 7, q.frac)
            first = head // (heads // kv_heads) * context
            tokens = range(first + start, first + stop)
            rows[-1] += _attend(query, multiply(size, scale), k, v, tokens, out.frac)
    out.write(rows)


def _attend(
    query: list[int], size: Scale, k: Tensor, v: Tensor, tokens: range, frac: int
) -> list[int]:
    """Blocks of 128 tokens; each sum as (integers, exponent)."""
    fewer, lighter = (max(len(tokens).bit_length() - bits, 0) for bits in (10, 16))
    sums, weight = ([0] * k.cols, -(10**6)), ([0], -(10**6))
    for first in range(0, len(tokens), 128):
        block = tokens[first : first + 128]
        scores = []
        for token in block:
            score = rescale(dot(query, k.row(token)), multiply(size, k.scale_of(token)), 16)
            scores.append(clamp(score, -(2**30), 2**30))
        top = -(-max(scores) // 65536)
        weights = [exp2_negative(top * 65536 - score) for score in scores]
        scales = [v.scale_of(token) for token in block]
        common = max(exponent for _, exponent in scales)
        scaled = [
            shift_round(w * mantissa, common - exponent + 18)
            for w, (mantissa, exponent) in zip(weights, scales, strict=True)
        ]
        columns = zip(*(v.row(token) for token in block), strict=True)
        values = [half_up(dot(scaled, list(c)), fewer) for c in columns]
        sums = _joined(sums, (values, top + common))
        weight = _joined(weight, ([half_up(sum(weights), lighter)], top))
    inverse = reciprocal(weight[0][0])
    exponent = sums[1] + fewer + 18 - weight[1] - lighter
    return [rescale(x, inverse, exponent + frac) for x in sums[0]]


def _joined(one: tuple[list[int], int], other: tuple[list[int], int]) -> tuple[list[int], int]:
    exponent = max(one[1], other[1])
    left, right = ([half_up(x, min(exponent - e, 99)) for x in row] for row, e in (one, other))
    return [x + y for x, y in zip(left, right, strict=True)], exponent


@op("MeanPool")
def _mean_pool(out: Tensor, x: Tensor, *, span: Tensor, lengths: Tensor) -> None:
    rows, counts, step, result = x.values, lengths.flat, clamp(span.scalar, 1, x.rows), []
    for group in range(out.used):
        used = clamp(counts[min(group, len(counts) - 1)], 1, step)
        block = rows[group * step : group * step + used]
        result.append([mean(list(c)) for c in zip(*block, strict=True)] if block else [0] * x.cols)
    out.write(result)


@op("MaxPool", "AvgPool")
def _pool(name: str, out: Tensor, x: Tensor, *, height: int, width: int, size: int,
          stride: int) -> None:  # fmt: skip
    channels, rows = x.cols // (height * width), []
    compute = max if name == "MaxPool" else mean
    for picture in x.values:
        rows.append([])
        for y0 in range(0, height - size + 1, stride):
            for x0, c in product(range(0, width - size + 1, stride), range(channels)):
                places = product(range(size), range(size))
                window = [picture[((y0 + i) * width + x0 + j) * channels + c] for i, j in places]
                rows[-1].append(compute(window))
    out.write(rows)


@op("Blit")
def _blit(canvas: Tensor, text: Tensor, font: Tensor) -> None:
    glyphs, height, width = font.extents
    picture = [canvas.row(y) for y in range(canvas.rows)]
    for number, code in enumerate(text.flat):
        glyph = font.inside(code - 32, glyphs)
        line, column = divmod(number, canvas.cols // width)
        if (line + 1) * height <= canvas.rows:
            for y in range(height):
                at = column * width
                picture[line * height + y][at : at + width] = font.row(glyph * height + y)
    canvas.write(picture)


@op("Copy")
def _copy(out: Tensor, x: Tensor) -> None:
    out.write_flat(x.flat)


@op("Transpose")
def _transpose(out: Tensor, x: Tensor, **axes: int) -> None:
    extents, flat, result = [*x.extents, 1, 1, 1][:4], x.flat, []
    order = [axes[name] for name in "abcd"]
    for place in product(*(range(extents[axis]) for axis in order)):
        at = dict(zip(order, place, strict=True))
        index = 0
        for axis in range(4):
            index = index * extents[axis] + at[axis]
        result.append(flat[index])
    out.write_flat(result)


@op("Slice")
def _slice(out: Tensor, x: Tensor, *, first: int, step: int) -> None:
    out.write([[row[first + i * step] for i in range(out.cols)] for row in x.values])


@op("Concat")
def _concat(out: Tensor, x: Tensor, *, first: int) -> None:
    rows = zip(out.values, x.values, strict=True)
    out.write([[*old[:first], *new, *old[first + len(new) :]] for old, new in rows])


@op("Tail")
def _tail(out: Tensor, x: Tensor) -> None:
    rows, count = x.values, out.used
    out.write([rows[max(len(rows) - count + i, 0)] for i in range(count)])


@op("Push")
def _push(out: Tensor, x: Tensor, length: Tensor) -> None:
    start, rows = length.scalar, x.values
    for number, row in enumerate(rows):
        out.put(out.inside(start + number, out.rows), row)
    length.put(0, [min(start + len(rows), out.rows)])


@op("Fill")
def _fill(out: Tensor, value: Tensor) -> None:
    out.write([[value.scalar] * out.cols] * out.used)


@op("Sample")
def _sample(token: Tensor, logits: Tensor, *, temperature: Tensor, top_k: Tensor, top_p: Tensor,
            penalty: Tensor, history: Tensor, random: Tensor) -> None:  # fmt: skip
    row, factor, warmth = logits.row(0), penalty.scalar, temperature.scalar
    for i in {history.inside(i, logits.cols) for (i,) in history.values}:
        if row[i] > 0:
            row[i] = rescale(row[i], reciprocal(max(factor, 1)), 16)
        else:
            row[i] = rescale(row[i], normalise(max(factor, 1), -16), 0)
        row[i] = saturate(row[i])
    order = _order(row)[: clamp(top_k.scalar, 1, 1024)]
    if warmth <= 0:
        token.put(0, [order[0]])
        return
    cold = multiply(reciprocal(warmth), LOG2E)
    steps = [rescale(saturate(row[order[0]] - row[i]), cold, 32 - logits.frac) for i in order]
    weights = [exp2_negative(step) for step in steps]
    enough = max(shift_round(sum(weights) * clamp(top_p.scalar, 0, 65536), 16), 1)
    kept = 1
    while sum(weights[:kept]) < enough:
        kept += 1
    target, chosen = random.draw() * sum(weights[:kept]) >> 32, 0
    while sum(weights[: chosen + 1]) <= target:
        chosen += 1
    token.put(0, [order[chosen]])
