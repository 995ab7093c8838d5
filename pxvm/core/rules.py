"""Shape rules of dialect 1: what each opcode demands of its operands, checked before it may run.

A rule gets the descriptors of its operands and the parameters by name, and calls ``need``.
"""

from __future__ import annotations

from collections.abc import Callable

from pxvm.core.errors import ProgramError
from pxvm.core.tensor import Descriptor, DType, shape_text

MAX_INNER = 1 << 16  # elements of an exact sum
MAX_CONTEXT = 1 << 20
RULES: dict[str, Callable[..., None]] = {}


def need(condition: bool, expected: str, *found: Descriptor) -> None:
    """Raise ProgramError with what was expected and the shapes found."""
    if not condition:
        shapes = ", ".join(
            f"{d.name or d.index} {shape_text(d.extents)} frac {d.frac}" for d in found
        )
        raise ProgramError(f"expected {expected}; found {shapes}")


def rule(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a function as the rule of opcodes."""

    def mark(function: Callable[..., None]) -> Callable[..., None]:
        RULES.update(dict.fromkeys(names, function))
        return function

    return mark


def flat(d: Descriptor) -> int:
    """Elements in all."""
    return d.rows * d.cols


def same_rows(*ds: Descriptor) -> None:
    need(len({(d.rows, d.length) for d in ds}) == 1, "as many rows and one length for all", *ds)


def same_shape(*ds: Descriptor) -> None:
    same_rows(*ds)
    need(len({d.cols for d in ds}) == 1, "as many columns in all", *ds)


def same_frac(*ds: Descriptor) -> None:
    need(len({d.frac for d in ds}) == 1, "the same fraction bits in all", *ds)


def broadcasts(out: Descriptor, b: Descriptor) -> None:
    rows = (b.rows, b.length) == (out.rows, out.length) or (b.rows == 1 and b.length is None)
    need(
        rows and b.cols in (1, out.cols),
        "b of the result's shape, one row of it, or one element",
        out,
        b,
    )


@rule("Embed")
def _embed(out: Descriptor, ids: Descriptor, table: Descriptor) -> None:
    same_rows(out, ids)
    need(
        ids.cols == 1 and out.cols == table.cols,
        "ids [t,1] and as many columns as the table",
        out,
        ids,
        table,
    )
    need(table.scale is not None, "a table with a scale", table)


@rule("Linear", "MatMul")
def _linear(out: Descriptor, x: Descriptor, weight: Descriptor) -> None:
    same_rows(out, x)
    need(weight.length is None, "a weight without a length", weight)
    need(
        x.cols == weight.cols and out.cols == weight.rows,
        "out [t,n], x [t,k], weight [n,k]",
        out,
        x,
        weight,
    )
    scaled = weight.scale is not None or weight.dtype not in (DType.I8, DType.I4)
    need(scaled, "a weight with a scale", weight)
    need(x.cols <= MAX_INNER and len(x.extents) <= 2, f"x [t,k], k of at most {MAX_INNER}", x)


@rule("Add")
def _add(out: Descriptor, a: Descriptor, b: Descriptor) -> None:
    same_shape(out, a)
    broadcasts(out, b)
    same_frac(out, a, b)


@rule("Mul")
def _mul(out: Descriptor, a: Descriptor, b: Descriptor) -> None:
    same_shape(out, a)
    broadcasts(out, b)


@rule("Less", "Equal")
def _compare(out: Descriptor, a: Descriptor, b: Descriptor) -> None:
    same_shape(out, a)
    broadcasts(out, b)
    same_frac(a, b)


@rule("Dot")
def _dot(out: Descriptor, a: Descriptor, b: Descriptor) -> None:
    same_shape(a, b)
    same_rows(out, a)
    need(out.cols == 1 and a.cols <= MAX_INNER, f"out [t,1] and d of at most {MAX_INNER}", out, a)


@rule("Select")
def _select(out: Descriptor, condition: Descriptor, x: Descriptor) -> None:
    same_shape(out, condition, x)
    same_frac(out, x)


@rule("ReLU")
def _same(out: Descriptor, x: Descriptor) -> None:
    same_shape(out, x)
    same_frac(out, x)


@rule("Quantise")
def _rows(out: Descriptor, x: Descriptor) -> None:
    same_shape(out, x)


@rule("L2Norm", "Softmax")
def _summed_rows(out: Descriptor, x: Descriptor) -> None:
    same_shape(out, x)
    need(x.cols <= MAX_INNER, f"at most {MAX_INNER} columns", x)


@rule("Table", "Gate")
def _table(out: Descriptor, x: Descriptor, table: Descriptor) -> None:
    same_shape(out, x)
    # An element of the result needs two entries of the table.
    need(out.index != table.index, "a result that is not the table", out)
    steps = flat(table) - 1
    power = 64 <= steps <= 1 << 20 and steps & (steps - 1) == 0
    need(
        power and len(table.extents) == 1,
        "a table [n + 1] with n a power of two from 64 to 2^20",
        table,
    )


@rule("LayerNorm")
def _norm(out: Descriptor, x: Descriptor, weight: Descriptor) -> None:
    same_shape(out, x)
    need(
        flat(weight) == x.cols <= MAX_INNER and len(weight.extents) == 1, "a weight [d]", x, weight
    )


@rule("RMSNorm")
def _norm_of_heads(out: Descriptor, x: Descriptor, weight: Descriptor) -> None:
    same_shape(out, x)
    need(x.cols <= MAX_INNER, f"at most {MAX_INNER} columns", x)
    need(len(weight.extents) == 1 and x.cols % flat(weight) == 0,
         "a weight [w], w a divisor of x's columns", x, weight)  # fmt: skip
    need(out.dtype == DType.I32 or flat(weight) == x.cols, "one head of activations", out, weight)


@rule("Max")
def _reduce(out: Descriptor, x: Descriptor) -> None:
    same_rows(out, x)
    same_frac(out, x)
    need(out.cols == 1, "out [t,1]", out, x)


@rule("Sum", "Mean")
def _sum(out: Descriptor, x: Descriptor) -> None:
    _reduce(out, x)
    need(x.cols <= MAX_INNER, f"at most {MAX_INNER} columns", x)


@rule("Argmax")
def _argmax(out: Descriptor, x: Descriptor) -> None:
    same_rows(out, x)
    need(out.cols == 1, "out [t,1]", out, x)


@rule("TopK")
def _top_k(indices: Descriptor, x: Descriptor, values: Descriptor) -> None:
    same_shape(indices, values)
    same_rows(indices, x)
    same_frac(x, values)
    need(indices.cols <= x.cols, "k of at most d", indices, x)


@rule("RoPEPairs", "RoPEHalves")
def _rope(x: Descriptor, table: Descriptor, position: Descriptor) -> None:
    need(table.cols % 2 == 0 and x.cols % table.cols == 0 and len(table.extents) == 2,
         "table [positions, w], w even and a divisor of x's columns", x, table)  # fmt: skip


def _cache(cache: Descriptor) -> None:
    fits = len(cache.extents) == 3 and cache.length is None and cache.extents[1] <= MAX_CONTEXT
    need(fits and cache.cols <= MAX_INNER, "a cache [heads, context, w] without a length", cache)


@rule("Append")
def _append(cache: Descriptor, x: Descriptor, position: Descriptor) -> None:
    _cache(cache)
    need(x.cols == cache.extents[0] * cache.cols, "x [t, heads*w]", x, cache)


def _attention(out: Descriptor, q: Descriptor, k: Descriptor, v: Descriptor) -> None:
    same_shape(out, q)
    _cache(k)
    need(k.extents == v.extents, "k and v of one shape", k, v)
    group = k.extents[0] * k.cols
    need(q.cols % group == 0, "q [t, heads*w], heads a multiple of the cache's", q, k)


@rule("AttentionCausal")
def _causal(
    out: Descriptor,
    q: Descriptor,
    *,
    k: Descriptor,
    v: Descriptor,
    position: Descriptor,
    scale: int,
) -> None:
    _attention(out, q, k, v)


@rule("AttentionWindow")
def _window(
    out: Descriptor, q: Descriptor, *, k: Descriptor, v: Descriptor, position: Descriptor,
    scale: int, window: int,
) -> None:  # fmt: skip
    _attention(out, q, k, v)
    need(1 <= window <= MAX_CONTEXT, f"a window of 1 to {MAX_CONTEXT} tokens", k)


@rule("AttentionFull")
def _full(
    out: Descriptor, q: Descriptor, *, k: Descriptor, v: Descriptor, span: Descriptor,
    lengths: Descriptor, scale: int,
) -> None:  # fmt: skip
    _attention(out, q, k, v)
    need(lengths.cols == 1 or lengths.rows == 1, "lengths in one row or column", lengths)


@rule("MeanPool")
def _mean_pool(out: Descriptor, x: Descriptor, *, span: Descriptor, lengths: Descriptor) -> None:
    same_frac(out, x)
    need(out.cols == x.cols, "as many columns in both", out, x)
    need(x.rows <= MAX_INNER, f"at most {MAX_INNER} rows", x)


def _picture(
    x: Descriptor, height: int, width: int, size: int, stride: int, pad: int = 0
) -> tuple[int, int, int]:
    sane = 1 <= height <= 65535 and 1 <= width <= 65535 and 1 <= size <= 255
    sane = sane and 1 <= stride <= 255 and 0 <= pad <= 255
    need(sane and x.cols % (height * width) == 0, "height x width x channels columns", x)
    rows, columns = height + 2 * pad - size, width + 2 * pad - size
    need(rows >= 0 and columns >= 0, f"a window of {size} that fits into the picture", x)
    return rows // stride + 1, columns // stride + 1, x.cols // (height * width)


@rule("Conv2D")
def _conv(
    out: Descriptor, x: Descriptor, *, weight: Descriptor, height: int, width: int, size: int,
    stride: int, pad: int,
) -> None:  # fmt: skip
    same_rows(out, x)
    need(pad < size, f"padding of less than the window's {size}", x)
    rows, columns, channels = _picture(x, height, width, size, stride, pad)
    need(weight.scale is not None, "a weight with a scale", weight)
    need(weight.cols == size * size * channels <= MAX_INNER and weight.length is None,
         "weight [c, size*size*channels]", weight, x)  # fmt: skip
    need(out.cols == rows * columns * weight.rows, f"out [t, {rows}*{columns}*c]", out, weight)


@rule("MaxPool", "AvgPool")
def _pool(
    out: Descriptor, x: Descriptor, *, height: int, width: int, size: int, stride: int
) -> None:
    same_rows(out, x)
    same_frac(out, x)
    rows, columns, channels = _picture(x, height, width, size, stride)
    need(out.cols == rows * columns * channels, f"out [t, {rows}*{columns}*{channels}]", out, x)


@rule("Blit")
def _blit(canvas: Descriptor, text: Descriptor, font: Descriptor) -> None:
    need(len(canvas.extents) == 2 and canvas.length is None, "a canvas [h,w]", canvas)
    need(
        len(font.extents) == 3 and font.cols <= canvas.cols,
        "a font [glyphs, gh, gw] not wider than the canvas",
        font,
        canvas,
    )


@rule("Copy")
def _copy(out: Descriptor, x: Descriptor) -> None:
    same_frac(out, x)
    need(flat(x) <= flat(out), "no more elements in x than in the result", out, x)


@rule("Transpose")
def _transpose(out: Descriptor, x: Descriptor, *, a: int, b: int, c: int, d: int) -> None:
    same_frac(out, x)
    need(sorted((a, b, c, d)) == [0, 1, 2, 3], "axes 0, 1, 2 and 3 once each", x)
    extents = x.extents + (1,) * (4 - len(x.extents))
    turned = tuple(extents[axis] for axis in (a, b, c, d))
    need(
        tuple(e for e in turned if e > 1) == tuple(e for e in out.extents if e > 1),
        f"a result of {shape_text(turned)}",
        out,
        x,
    )


@rule("Slice")
def _slice(out: Descriptor, x: Descriptor, *, first: int, step: int) -> None:
    same_rows(out, x)
    same_frac(out, x)
    need(
        step >= 1 and first + step * (out.cols - 1) < x.cols,
        f"columns {first}, {first} + {step}, ... inside x",
        out,
        x,
    )


@rule("Concat")
def _concat(out: Descriptor, x: Descriptor, *, first: int) -> None:
    same_rows(out, x)
    same_frac(out, x)
    need(first + x.cols <= out.cols, f"x inside the result from column {first} on", out, x)


@rule("Tail")
def _tail(out: Descriptor, x: Descriptor) -> None:
    same_frac(out, x)
    need(out.cols == x.cols, "as many columns in both", out, x)


@rule("Push")
def _push(out: Descriptor, x: Descriptor, length: Descriptor) -> None:
    same_frac(out, x)
    need(
        out.cols == x.cols and flat(length) == 1,
        "as many columns in both and a scalar length",
        out,
        x,
        length,
    )


@rule("Fill")
def _fill(out: Descriptor, value: Descriptor) -> None:
    same_frac(out, value)


@rule("Sample")
def _sample(
    token: Descriptor, logits: Descriptor, *, temperature: Descriptor, top_k: Descriptor,
    top_p: Descriptor, penalty: Descriptor, history: Descriptor, random: Descriptor,
) -> None:  # fmt: skip
    need(
        flat(token) == 1 and logits.rows == 1 and logits.length is None,
        "token [1,1] and logits [1,v]",
        token,
        logits,
    )
    need(history.cols == 1, "history [n,1]", history)
    need(flat(random) == 2 and len(random.extents) == 1, "random [2]", random)
