/** Shape rules of dialect 1: what each opcode demands of its operands, checked before it may run. */

import { ProgramError } from "./errors.ts";
import { DTYPE, LIMITS } from "./table.ts";
import { type Descriptor, shapeText } from "./tensor.ts";

/** Parameters by name: a tensor's descriptor, else the number. */
export type Named = Record<string, Descriptor | number>;
type Rule = (tensors: Descriptor[], named: Named) => void;

const INNER = LIMITS.inner;

/** Refuse with what was expected and the shapes found. */
export function need(condition: boolean, expected: string, ...found: Descriptor[]): void {
  if (condition) return;
  const shapes = found.map((d) => `${d.called} ${shapeText(d.extents)} frac ${d.frac}`).join(", ");
  throw new ProgramError(`expected ${expected}; found ${shapes}`);
}

function alike(ds: Descriptor[], key: (d: Descriptor) => unknown): boolean {
  return ds.every((d) => key(d) === key(ds[0] as Descriptor));
}

function sameRows(...ds: Descriptor[]): void {
  need(alike(ds, (d) => d.rows) && alike(ds, (d) => d.length), "as many rows and one length for all", ...ds);
}

function sameShape(...ds: Descriptor[]): void {
  sameRows(...ds);
  need(alike(ds, (d) => d.cols), "as many columns in all", ...ds);
}

function sameFrac(...ds: Descriptor[]): void {
  need(alike(ds, (d) => d.frac), "the same fraction bits in all", ...ds);
}

function broadcasts(out: Descriptor, b: Descriptor): void {
  const rows = (b.rows === out.rows && b.length === out.length) || (b.rows === 1 && b.length === null);
  need(rows && (b.cols === 1 || b.cols === out.cols), "b of the result's shape, one row of it, or one element", out, b);
}

function compute3(rule: (a: Descriptor, b: Descriptor, c: Descriptor, named: Named) => void): Rule {
  return (t, named) => rule(t[0] as Descriptor, t[1] as Descriptor, t[2] as Descriptor, named);
}

const linear = compute3((out, x, weight) => {
  sameRows(out, x);
  need(weight.length === null, "a weight without a length", weight);
  need(x.cols === weight.cols && out.cols === weight.rows, "out [t,n], x [t,k], weight [n,k]", out, x, weight);
  const scaled = weight.scale !== null || (weight.dtype !== DTYPE.I8 && weight.dtype !== DTYPE.I4);
  need(scaled, "a weight with a scale", weight);
  need(x.cols <= INNER && x.extents.length <= 2, `x [t,k], k of at most ${INNER}`, x);
});

const compare = compute3((out, a, b) => {
  sameShape(out, a);
  broadcasts(out, b);
  sameFrac(a, b);
});

const summedRows = compute3((out, x) => {
  sameShape(out, x);
  need(x.cols <= INNER, `at most ${INNER} columns`, x);
});

const table = compute3((out, x, entries) => {
  sameShape(out, x);
  need(out.index !== entries.index, "a result that is not the table", out);
  const steps = entries.flat - 1;
  const power = steps >= 64 && steps <= 1 << 20 && (steps & (steps - 1)) === 0;
  need(power && entries.extents.length === 1, "a table [n + 1] with n a power of two from 64 to 2^20", entries);
});

const norm = compute3((out, x, weight) => {
  sameShape(out, x);
  need(weight.flat === x.cols && x.cols <= INNER && weight.extents.length === 1, "a weight [d]", x, weight);
});

const normOfHeads = compute3((out, x, weight) => {
  sameShape(out, x);
  need(x.cols <= INNER, `at most ${INNER} columns`, x);
  need(
    weight.extents.length === 1 && x.cols % weight.flat === 0,
    "a weight [w], w a divisor of x's columns",
    x,
    weight,
  );
  need(out.dtype === DTYPE.I32 || weight.flat === x.cols, "one head of activations", out, weight);
});

function reduce(out: Descriptor, x: Descriptor): void {
  sameRows(out, x);
  sameFrac(out, x);
  need(out.cols === 1, "out [t,1]", out, x);
}

const sum = compute3((out, x) => {
  reduce(out, x);
  need(x.cols <= INNER, `at most ${INNER} columns`, x);
});

const rope = compute3((x, angles) => {
  need(
    angles.cols % 2 === 0 && x.cols % angles.cols === 0 && angles.extents.length === 2,
    "table [positions, w], w even and a divisor of x's columns",
    x,
    angles,
  );
});

function cache(c: Descriptor): void {
  const fits = c.extents.length === 3 && c.length === null && (c.extents[1] ?? 0) <= LIMITS.context;
  need(fits && c.cols <= INNER, "a cache [heads, context, w] without a length", c);
}

function attention(out: Descriptor, q: Descriptor, k: Descriptor, v: Descriptor): void {
  sameShape(out, q);
  cache(k);
  need(shapeText(k.extents) === shapeText(v.extents), "k and v of one shape", k, v);
  const group = (k.extents[0] ?? 0) * k.cols;
  need(q.cols % group === 0, "q [t, heads*w], heads a multiple of the cache's", q, k);
}

function picture(x: Descriptor, named: Named): [number, number, number] {
  const [height, width, size, stride] = ["height", "width", "size", "stride"].map((name) => Number(named[name])) as [
    number, number, number, number,
  ];
  const pad = Number(named.pad ?? 0);
  const within = (value: number, low: number, high: number) => value >= low && value <= high;
  const sane =
    within(height, 1, 65535) && within(width, 1, 65535) && within(size, 1, 255) && within(stride, 1, 255) &&
    within(pad, 0, 255);
  need(sane && x.cols % (height * width) === 0, "height x width x channels columns", x);
  const [rows, columns] = [height + 2 * pad - size, width + 2 * pad - size];
  need(rows >= 0 && columns >= 0, `a window of ${size} that fits into the picture`, x);
  return [Math.floor(rows / stride) + 1, Math.floor(columns / stride) + 1, x.cols / (height * width)];
}

const pool = compute3((out, x, _, named) => {
  sameRows(out, x);
  sameFrac(out, x);
  const [rows, columns, channels] = picture(x, named);
  need(out.cols === rows * columns * channels, `out [t, ${rows}*${columns}*${channels}]`, out, x);
});

/** By opcode's name. */
export const RULES: Record<string, Rule> = {
  Embed: compute3((out, ids, entries) => {
    sameRows(out, ids);
    need(ids.cols === 1 && out.cols === entries.cols, "ids [t,1] and as many columns as the table", out, ids, entries);
    need(entries.scale !== null, "a table with a scale", entries);
  }),
  Linear: linear,
  MatMul: linear,
  Add: compute3((out, a, b) => {
    sameShape(out, a);
    broadcasts(out, b);
    sameFrac(out, a, b);
  }),
  Mul: compute3((out, a, b) => {
    sameShape(out, a);
    broadcasts(out, b);
  }),
  Less: compare,
  Equal: compare,
  Dot: compute3((out, a, b) => {
    sameShape(a, b);
    sameRows(out, a);
    need(out.cols === 1 && a.cols <= INNER, `out [t,1] and d of at most ${INNER}`, out, a);
  }),
  Select: compute3((out, condition, x) => {
    sameShape(out, condition, x);
    sameFrac(out, x);
  }),
  ReLU: compute3((out, x) => {
    sameShape(out, x);
    sameFrac(out, x);
  }),
  Quantise: compute3((out, x) => sameShape(out, x)),
  L2Norm: summedRows,
  Softmax: summedRows,
  Table: table,
  Gate: table,
  RMSNorm: normOfHeads,
  LayerNorm: norm,
  Max: compute3(reduce),
  Sum: sum,
  Mean: sum,
  Argmax: compute3((out, x) => {
    sameRows(out, x);
    need(out.cols === 1, "out [t,1]", out, x);
  }),
  TopK: compute3((indices, x, values) => {
    sameShape(indices, values);
    sameRows(indices, x);
    sameFrac(x, values);
    need(indices.cols <= x.cols, "k of at most d", indices, x);
  }),
  RoPEPairs: rope,
  RoPEHalves: rope,
  Append: compute3((c, x) => {
    cache(c);
    need(x.cols === (c.extents[0] ?? 0) * c.cols, "x [t, heads*w]", x, c);
  }),
  AttentionCausal: compute3((out, q, _, named) => attention(out, q, named.k as Descriptor, named.v as Descriptor)),
  AttentionWindow: compute3((out, q, _, named) => {
    const k = named.k as Descriptor;
    attention(out, q, k, named.v as Descriptor);
    need(Number(named.window) >= 1 && Number(named.window) <= LIMITS.context, `a window of 1 to ${LIMITS.context} tokens`, k);
  }),
  AttentionFull: compute3((out, q, _, named) => {
    attention(out, q, named.k as Descriptor, named.v as Descriptor);
    const lengths = named.lengths as Descriptor;
    need(lengths.cols === 1 || lengths.rows === 1, "lengths in one row or column", lengths);
  }),
  MeanPool: compute3((out, x) => {
    sameFrac(out, x);
    need(out.cols === x.cols, "as many columns in both", out, x);
    need(x.rows <= INNER, `at most ${INNER} rows`, x);
  }),
  Conv2D: compute3((out, x, _, named) => {
    const weight = named.weight as Descriptor;
    sameRows(out, x);
    need(Number(named.pad) < Number(named.size), `padding of less than the window's ${named.size}`, x);
    const [rows, columns, channels] = picture(x, named);
    need(weight.scale !== null, "a weight with a scale", weight);
    const window = Number(named.size) ** 2 * channels;
    need(
      weight.cols === window && window <= INNER && weight.length === null,
      "weight [c, size*size*channels]",
      weight,
      x,
    );
    need(out.cols === rows * columns * weight.rows, `out [t, ${rows}*${columns}*c]`, out, weight);
  }),
  MaxPool: pool,
  AvgPool: pool,
  Blit: compute3((canvas, _, font) => {
    need(canvas.extents.length === 2 && canvas.length === null, "a canvas [h,w]", canvas);
    need(
      font.extents.length === 3 && font.cols <= canvas.cols,
      "a font [glyphs, gh, gw] not wider than the canvas",
      font,
      canvas,
    );
  }),
  Copy: compute3((out, x) => {
    sameFrac(out, x);
    need(x.flat <= out.flat, "no more elements in x than in the result", out, x);
  }),
  Transpose: compute3((out, x, _, named) => {
    sameFrac(out, x);
    const axes = ["a", "b", "c", "d"].map((name) => Number(named[name]));
    need([...axes].sort((a, b) => a - b).join() === "0,1,2,3", "axes 0, 1, 2 and 3 once each", x);
    const turned = axes.map((axis) => x.extents[axis] ?? 1);
    const long = (extents: readonly number[]) => extents.filter((e) => e > 1).join();
    need(long(turned) === long(out.extents), `a result of ${shapeText(turned)}`, out, x);
  }),
  Slice: compute3((out, x, _, named) => {
    sameRows(out, x);
    sameFrac(out, x);
    const [first, step] = [Number(named.first), Number(named.step)];
    need(
      step >= 1 && first + step * (out.cols - 1) < x.cols,
      `columns ${first}, ${first} + ${step}, ... inside x`,
      out,
      x,
    );
  }),
  Concat: compute3((out, x, _, named) => {
    sameRows(out, x);
    sameFrac(out, x);
    const first = Number(named.first);
    need(first + x.cols <= out.cols, `x inside the result from column ${first} on`, out, x);
  }),
  Tail: compute3((out, x) => {
    sameFrac(out, x);
    need(out.cols === x.cols, "as many columns in both", out, x);
  }),
  Push: compute3((out, x, length) => {
    sameFrac(out, x);
    need(out.cols === x.cols && length.flat === 1, "as many columns in both and a scalar length", out, x, length);
  }),
  Fill: compute3((out, value) => sameFrac(out, value)),
  Sample: compute3((token, logits, _, named) => {
    const [history, random] = [named.history as Descriptor, named.random as Descriptor];
    need(
      token.flat === 1 && logits.rows === 1 && logits.length === null,
      "token [1,1] and logits [1,v]",
      token,
      logits,
    );
    need(history.cols === 1, "history [n,1]", history);
    need(random.flat === 2 && random.extents.length === 1, "random [2]", random);
  }),
};
