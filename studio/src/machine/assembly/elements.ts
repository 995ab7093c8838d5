// Instructions that work element by element or row by row.

import { LOG2E_EXPONENT, LOG2E_MANTISSA, OP_ADD, OP_LESS, OP_MUL } from "./constants";
import {
  bitLength, clamp, exp2Negative, exponent, HIGHEST, interpolate, inverseRoot, LOWEST, mantissa, meanOf, multiplyScales,
  quantiseRow, reciprocal, rescale, shiftDown, shiftRound,
} from "./number";
import { clampIndex, element, exponentOf, mantissaOf, room, saturate, Tensor, write } from "./tensor";

export function embed(out: Tensor, ids: Tensor, table: Tensor): void {
  const values = room(<usize>table.cols << 3);
  for (let r = 0; r < out.used; r++) {
    const row = clampIndex(<i64>load<i32>(ids.row(r)), table.rows);
    const scale = table.linkedScale(row);
    table.read(row, values);
    const to = out.row(r);
    for (let i = 0; i < table.cols; i++) {
      write(to, i, rescale(load<i64>(values + (<usize>i << 3)), mantissaOf(scale), exponentOf(scale) + out.frac));
    }
  }
}

/** Add, Mul, Less and Equal: b may be one row, one column or one element. */
export function pairs(code: i32, out: Tensor, a: Tensor, b: Tensor): void {
  const shift = a.frac + b.frac - out.frac;
  const step = b.cols == 1 ? 0 : 1;
  const oneRow = b.rows == 1;
  for (let r = 0; r < out.used; r++) {
    const to = out.row(r);
    const left = a.row(r);
    const right = b.row(oneRow ? 0 : r);
    const single = element(right, 0);
    for (let i = 0; i < out.cols; i++) {
      const x = element(left, i);
      const y = step ? element(right, i) : single;
      let value: i64;
      if (code == OP_ADD) value = x + y;
      else if (code == OP_MUL) value = shiftRound(x * y, shift);
      else if (code == OP_LESS) value = <i64>(x < y);
      else value = <i64>(x == y);
      write(to, i, value);
    }
  }
}

export function dot(out: Tensor, a: Tensor, b: Tensor): void {
  const shift = a.frac + b.frac - out.frac;
  for (let r = 0; r < out.used; r++) {
    const left = a.row(r);
    const right = b.row(r);
    let sum: i64 = 0;
    for (let i = 0; i < a.cols; i++) sum += saturate(shiftRound(element(left, i) * element(right, i), shift));
    write(out.row(r), 0, sum);
  }
}

export function relu(out: Tensor, x: Tensor): void {
  for (let r = 0; r < out.used; r++) {
    const to = out.row(r);
    const from = x.row(r);
    for (let i = 0; i < out.cols; i++) write(to, i, max(element(from, i), 0));
  }
}

export function select(out: Tensor, condition: Tensor, x: Tensor): void {
  for (let r = 0; r < out.used; r++) {
    const to = out.row(r);
    const by = condition.row(r);
    const from = x.row(r);
    for (let i = 0; i < out.cols; i++) if (element(by, i)) write(to, i, element(from, i));
  }
}

/** Table, and Gate, which multiplies with x. */
export function lookup(out: Tensor, x: Tensor, table: Tensor, gate: bool): void {
  const entries = table.row(0);
  const steps = table.cols - 1;
  for (let r = 0; r < out.used; r++) {
    const to = out.row(r);
    const from = x.row(r);
    for (let i = 0; i < out.cols; i++) {
      const value = element(from, i);
      const y = interpolate(entries, steps, shiftRound(value, x.frac - 16));
      const result = gate
        ? shiftRound(value * y, x.frac + table.frac - out.frac)
        : shiftRound(y, table.frac - out.frac);
      write(to, i, result);
    }
  }
}

/** RMSNorm of each head, and LayerNorm of the row, which takes the mean away first. */
export function norm(out: Tensor, x: Tensor, weight: Tensor, layer: bool): void {
  const cols = x.cols;
  const width = weight.cols;
  const row = room(<usize>cols << 3);
  const by = room(<usize>width << 3);
  weight.read(0, by);
  const own = weight.linkedScale(0);
  const active = out.dtype != x.dtype;
  for (let r = 0; r < out.used; r++) {
    x.read(r, row);
    if (layer) {
      let sum: i64 = 0;
      for (let i = 0; i < cols; i++) sum += load<i64>(row + (<usize>i << 3));
      const mean = meanOf(sum, cols);
      for (let i = 0; i < cols; i++) {
        const at = row + (<usize>i << 3);
        store<i64>(at, clamp(load<i64>(at) - mean, LOWEST, HIGHEST));
      }
    }
    for (let first = 0; first < cols; first += width) {
      const head = row + (<usize>first << 3);
      weigh(head, width, by, own, x.frac);
      const m = mantissa;
      const e = exponent;
      if (active) {
        quantiseRow(head, width, out.bits, weight.frac);
        multiplyScales(mantissa, exponent, m, e);
        out.put(r, head, mantissa, exponent);
        continue;
      }
      const to = out.row(r);
      const scaled = e + out.frac - weight.frac;
      for (let i = 0; i < width; i++) {
        const value = saturate(rescale(load<i64>(head + (<usize>i << 3)), m, scaled));
        write(to, first + i, value + weight.linkedBias(i));
      }
    }
  }
}

/** A head, shifted to 15 bits, times its weights; mantissa and exponent say what one of it stands for. */
function weigh(head: usize, width: i32, by: usize, own: u32, frac: i32): void {
  let largest: i64 = 0;
  for (let i = 0; i < width; i++) largest = max(largest, abs(load<i64>(head + (<usize>i << 3))));
  const shift = max(bitLength(largest) - 15, 0);
  const epsilon = rescale(width, mantissaOf(own), exponentOf(own) + 2 * (frac - shift));
  let square = clamp(epsilon, 1, HIGHEST);
  for (let i = 0; i < width; i++) {
    const at = head + (<usize>i << 3);
    const value = shiftDown(load<i64>(at), shift);
    square += value * value;
    store<i64>(at, value * load<i64>(by + (<usize>i << 3)));
  }
  inverseRoot(width, square);
}

export function l2Norm(out: Tensor, x: Tensor): void {
  for (let r = 0; r < out.used; r++) {
    const from = x.row(r);
    const to = out.row(r);
    let largest: i64 = 0;
    for (let i = 0; i < x.cols; i++) largest = max(largest, abs(element(from, i)));
    const shift = max(bitLength(largest) - 15, 0);
    let square: i64 = 0;
    for (let i = 0; i < x.cols; i++) {
      const small = shiftDown(element(from, i), shift);
      square += small * small;
    }
    inverseRoot(1, max(square, 1));
    const e = exponent - shift + out.frac;
    for (let i = 0; i < x.cols; i++) write(to, i, rescale(element(from, i), mantissa, e));
  }
}

export function softmax(out: Tensor, x: Tensor): void {
  const weights = room(<usize>x.cols << 2);
  for (let r = 0; r < out.used; r++) {
    const from = x.row(r);
    const to = out.row(r);
    let largest = LOWEST;
    for (let i = 0; i < x.cols; i++) largest = max(largest, element(from, i));
    let sum: i64 = 0;
    for (let i = 0; i < x.cols; i++) {
      const distance = clamp(largest - element(from, i), LOWEST, HIGHEST);
      const weight = exp2Negative(rescale(distance, LOG2E_MANTISSA, LOG2E_EXPONENT + 16 - x.frac));
      store<i32>(weights + (<usize>i << 2), <i32>weight);
      sum += weight;
    }
    reciprocal(sum);
    const e = exponent + out.frac;
    for (let i = 0; i < x.cols; i++) write(to, i, rescale(element(weights, i), mantissa, e));
  }
}

export function quantise(out: Tensor, x: Tensor): void {
  const values = room(<usize>x.cols << 3);
  for (let r = 0; r < out.used; r++) {
    x.read(r, values);
    quantiseRow(values, x.cols, out.bits, x.frac);
    out.put(r, values, mantissa, exponent);
  }
}

/** Sum, and Mean. */
export function sum(out: Tensor, x: Tensor, mean: bool): void {
  for (let r = 0; r < out.used; r++) {
    const from = x.row(r);
    let total: i64 = 0;
    for (let i = 0; i < x.cols; i++) total += element(from, i);
    write(out.row(r), 0, mean ? meanOf(total, x.cols) : total);
  }
}

/** Max, and Argmax. */
export function most(out: Tensor, x: Tensor, index: bool): void {
  for (let r = 0; r < out.used; r++) {
    const from = x.row(r);
    let best = 0;
    for (let i = 1; i < x.cols; i++) if (element(from, i) > element(from, best)) best = i;
    write(out.row(r), 0, index ? best : element(from, best));
  }
}

export function meanPool(out: Tensor, x: Tensor, span: Tensor, lengths: Tensor): void {
  const step = min(max(span.scalar, 1), x.rows);
  const rows = x.used;
  const last = lengths.rows * lengths.cols - 1;
  const sums = room(<usize>x.cols << 3);
  for (let group = 0; group < out.used; group++) {
    const used = min(max(lengths.flat(min(group, last)), 1), step);
    const first = <i32>min(<i64>group * step, <i64>rows);
    const stop = min(first + used, rows);
    memory.fill(sums, 0, <usize>x.cols << 3);
    for (let r = first; r < stop; r++) {
      const from = x.row(r);
      for (let i = 0; i < x.cols; i++) {
        const at = sums + (<usize>i << 3);
        store<i64>(at, load<i64>(at) + element(from, i));
      }
    }
    const to = out.row(group);
    for (let i = 0; i < x.cols; i++) write(to, i, meanOf(load<i64>(sums + (<usize>i << 3)), max(stop - first, 1)));
  }
}

/** MaxPool, and AvgPool. */
export function pool(
  out: Tensor, x: Tensor, height: i32, width: i32, size: i32, stride: i32, average: bool,
): void {
  const channels = x.cols / (height * width);
  const down = (height - size) / stride + 1;
  const across = (width - size) / stride + 1;
  for (let r = 0; r < out.used; r++) {
    const from = x.row(r);
    const to = out.row(r);
    for (let window = 0; window < down * across; window++) {
      const corner = ((window / across) * stride * width + (window % across) * stride) * channels;
      for (let c = 0; c < channels; c++) {
        let total: i64 = average ? 0 : LOWEST;
        for (let ky = 0; ky < size; ky++) {
          for (let kx = 0; kx < size; kx++) {
            const value = element(from, corner + (ky * width + kx) * channels + c);
            total = average ? total + value : max(total, value);
          }
        }
        write(to, window * channels + c, average ? meanOf(total, size * size) : total);
      }
    }
  }
}

/** `half`: elements i and i + w/2 turn together, else 2i and 2i + 1. */
export function rotate(x: Tensor, table: Tensor, position: Tensor, half: bool): void {
  const columns = table.cols;
  const first = <i64>position.scalar;
  const apart = half ? columns / 2 : 1;
  const step = half ? 1 : 2;
  for (let r = 0; r < x.used; r++) {
    const angles = table.row(clampIndex(first + r, table.rows));
    const at = x.row(r);
    for (let head = 0; head < x.cols; head += columns) {
      for (let i = 0; i < columns / 2; i++) {
        const cosine = <i64>load<i16>(angles + (<usize>i << 2));
        const sine = <i64>load<i16>(angles + (<usize>i << 2), 2);
        const one = head + i * step;
        const a = element(at, one);
        const b = element(at, one + apart);
        write(at, one, shiftDown(a * cosine - b * sine, 14));
        write(at, one + apart, shiftDown(a * sine + b * cosine, 14));
      }
    }
  }
}
