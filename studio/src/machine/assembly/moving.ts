// Instructions that move elements, and those that choose among them.

import { LOG2E_EXPONENT, LOG2E_MANTISSA, SAMPLE_CANDIDATES } from "./constants";
import {
  clamp, exp2Negative, exponent, HIGHEST, LOWEST, mantissa, multiplyScales, normalise, reciprocal, rescale, shiftRound,
} from "./number";
import { clampIndex, element, freeRoom, room, Tensor, write } from "./tensor";

/** Elements of x, from the first on, to those of the result. */
export function copy(out: Tensor, x: Tensor): void {
  let row = 0;
  let column = 0;
  for (let r = 0; r < x.rows; r++) {
    let from = x.row(r);
    let left = x.cols;
    while (left) {
      const count = min(left, out.cols - column);
      memory.copy(out.row(row) + (<usize>column << 2), from, <usize>count << 2);
      from += <usize>count << 2;
      left -= count;
      column += count;
      if (column == out.cols) {
        column = 0;
        row++;
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function extent(d: Tensor, axis: i32): i32 {
  if (axis >= d.rank) return 1;
  return axis == 0 ? d.extent0 : axis == 1 ? d.extent1 : axis == 2 ? d.extent2 : d.extent3;
}

export function transpose(out: Tensor, x: Tensor, a: i32, b: i32, c: i32, d: i32): void {
  const steps = room(16);
  let step = 1;
  for (let axis = 3; axis >= 0; axis--) {
    store<i32>(steps + (<usize>axis << 2), step);
    step *= extent(x, axis);
  }
  const sa = load<i32>(steps + (<usize>a << 2));
  const sb = load<i32>(steps + (<usize>b << 2));
  const sc = load<i32>(steps + (<usize>c << 2));
  const sd = load<i32>(steps + (<usize>d << 2));
  let row = 0;
  let column = 0;
  let to = out.row(0);
  for (let i = 0; i < extent(x, a); i++) {
    for (let j = 0; j < extent(x, b); j++) {
      for (let k = 0; k < extent(x, c); k++) {
        for (let l = 0; l < extent(x, d); l++) {
          if (column == out.cols) {
            column = 0;
            to = out.row(++row);
          }
          store<i32>(to + (<usize>column << 2), x.flat(i * sa + j * sb + k * sc + l * sd));
          column++;
        }
      }
    }
  }
}

export function slice(out: Tensor, x: Tensor, first: i32, step: i32): void {
  for (let r = 0; r < out.used; r++) {
    const to = out.row(r);
    const from = x.row(r);
    for (let i = 0; i < out.cols; i++) write(to, i, element(from, first + i * step));
  }
}

export function concat(out: Tensor, x: Tensor, first: i32): void {
  for (let r = 0; r < out.used; r++) {
    memory.copy(out.row(r) + (<usize>first << 2), x.row(r), <usize>x.cols << 2);
  }
}

export function tail(out: Tensor, x: Tensor): void {
  const used = x.used;
  const wanted = out.used;
  for (let r = 0; r < wanted; r++) {
    memory.copy(out.row(r), x.row(max(used - wanted + r, 0)), <usize>x.cols << 2);
  }
}

export function push(out: Tensor, x: Tensor, length: Tensor): void {
  const first = <i64>length.scalar;
  const used = x.used;
  for (let r = 0; r < used; r++) {
    memory.copy(out.row(clampIndex(first + r, out.rows)), x.row(r), <usize>x.cols << 2);
  }
  write(length.row(0), 0, min<i64>(first + used, out.rows));
}

export function fill(out: Tensor, value: Tensor): void {
  const scalar = <i64>value.scalar;
  for (let r = 0; r < out.used; r++) {
    const to = out.row(r);
    for (let i = 0; i < out.cols; i++) write(to, i, scalar);
  }
}

export function blit(canvas: Tensor, text: Tensor, font: Tensor): void {
  const glyphs = font.extent0;
  const height = font.extent1;
  const columns = font.extent2;
  const perLine = canvas.cols / columns;
  const count = text.rows * text.cols;
  for (let number = 0; number < count; number++) {
    const glyph = clampIndex(<i64>text.flat(number) - 32, glyphs);
    const line = number / perLine;
    if (<i64>(line + 1) * height > canvas.rows) continue;
    const left = <usize>((number % perLine) * columns) << 2;
    for (let y = 0; y < height; y++) {
      memory.copy(canvas.row(line * height + y) + left, font.row(glyph * height + y), <usize>columns << 2);
    }
  }
}

/** Indices of the `count` largest of a row, in order, lower ones first among equals. */
function largest(row: usize, cols: i32, count: i32): usize {
  if (count > 64) return sorted(row, cols);
  const found = room(<usize>count << 2);
  let have = 0;
  for (let i = 0; i < cols; i++) {
    const value = element(row, i);
    if (have == count && value <= element(row, load<i32>(found + (<usize>(count - 1) << 2)))) continue;
    let place = have < count ? have++ : count - 1;
    while (place && element(row, load<i32>(found + (<usize>(place - 1) << 2))) < value) {
      store<i32>(found + (<usize>place << 2), load<i32>(found + (<usize>(place - 1) << 2)));
      place--;
    }
    store<i32>(found + (<usize>place << 2), i);
  }
  return found;
}

/** Indices of a whole row by falling value: a merge sort, which keeps the order of equals. */
function sorted(row: usize, cols: i32): usize {
  let from = room(<usize>cols << 2);
  let to = room(<usize>cols << 2);
  for (let i = 0; i < cols; i++) store<i32>(from + (<usize>i << 2), i);
  for (let size: i64 = 1; size < cols; size *= 2) {
    for (let first: i64 = 0; first < cols; first += 2 * size) {
      const middle = min<i64>(first + size, cols);
      const stop = min<i64>(first + 2 * size, cols);
      let a = first;
      let b = middle;
      for (let place = first; place < stop; place++) {
        const left =
          b >= stop ||
          (a < middle &&
            element(row, load<i32>(from + (<usize>a << 2))) >= element(row, load<i32>(from + (<usize>b << 2))));
        const next = left ? a : b;
        if (left) a++;
        else b++;
        store<i32>(to + (<usize>place << 2), load<i32>(from + (<usize>next << 2)));
      }
    }
    const other = from;
    from = to;
    to = other;
  }
  return from;
}

export function topK(indices: Tensor, x: Tensor, values: Tensor): void {
  for (let r = 0; r < x.used; r++) {
    freeRoom();
    const row = x.row(r);
    const order = largest(row, x.cols, indices.cols);
    for (let i = 0; i < indices.cols; i++) {
      const index = load<i32>(order + (<usize>i << 2));
      write(indices.row(r), i, index);
      write(values.row(r), i, element(row, index));
    }
  }
}

function draw(random: Tensor): u64 {
  const at = random.row(0);
  const state = load<u64>(at);
  store<u64>(at, state * 6364136223846793005 + 1442695040888963407);
  const word = <u32>(((state >> 18) ^ state) >> 27);
  return rotr<u32>(word, <u32>(state >> 59));
}

export function sample(
  token: Tensor, logits: Tensor, temperature: Tensor, topk: Tensor, topP: Tensor, penalty: Tensor, history: Tensor,
  random: Tensor,
): void {
  const cols = logits.cols;
  const row = room(<usize>cols << 2);
  const seen = room(cols);
  memory.copy(row, logits.row(0), <usize>cols << 2);
  memory.fill(seen, 0, cols);
  const strength = max<i64>(penalty.scalar, 1);
  normalise(strength, -16);
  const factor = mantissa;
  const factorExponent = exponent;
  reciprocal(strength);
  const inverse = mantissa;
  const inverseExponent = exponent + 16;
  for (let r = 0; r < history.used; r++) {
    const index = clampIndex(<i64>load<i32>(history.row(r)), cols);
    if (load<u8>(seen + index)) continue;
    store<u8>(seen + index, 1);
    const value = element(row, index);
    const less = value > 0 ? rescale(value, inverse, inverseExponent) : rescale(value, factor, factorExponent);
    store<i32>(row + (<usize>index << 2), <i32>clamp(less, LOWEST, HIGHEST));
  }
  const limit = min(max(topk.scalar, 1), min(SAMPLE_CANDIDATES, cols));
  const order = largest(row, cols, limit);
  const first = load<i32>(order);
  const warmth = <i64>temperature.scalar;
  if (warmth <= 0) {
    write(token.row(0), 0, first);
    return;
  }
  reciprocal(warmth);
  multiplyScales(mantissa, exponent, LOG2E_MANTISSA, LOG2E_EXPONENT);
  const cold = mantissa;
  const coldExponent = exponent + 32 - logits.frac;
  const totals = room(<usize>limit << 3);
  let total: i64 = 0;
  for (let i = 0; i < limit; i++) {
    const distance = min(element(row, first) - element(row, load<i32>(order + (<usize>i << 2))), HIGHEST);
    total += exp2Negative(rescale(distance, cold, coldExponent));
    store<i64>(totals + (<usize>i << 3), total);
  }
  const enough = max<i64>(shiftRound(total * clamp(topP.scalar, 0, 65536), 16), 1);
  let last = 0;
  while (last < limit - 1 && load<i64>(totals + (<usize>last << 3)) < enough) last++;
  const target = <i64>((draw(random) * <u64>load<i64>(totals + (<usize>last << 3))) >> 32);
  let chosen = 0;
  while (load<i64>(totals + (<usize>chosen << 3)) <= target) chosen++;
  write(token.row(0), 0, load<i32>(order + (<usize>chosen << 2)));
}
