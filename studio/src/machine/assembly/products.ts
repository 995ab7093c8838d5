// Products with weights: exact sums of 16-bit rows and weights of eight or four bits.

import { DTYPE_ACT1, DTYPE_ACT2, DTYPE_I4, DTYPE_I8, GROUP } from "./constants";
import { exponent, mantissa, multiplyScales, rescale, shiftDown } from "./number";
import { exponentOf, mantissaOf, room, saturate, Tensor, write } from "./tensor";

/** Rows that share a pass over the weights. */
const TOGETHER: i32 = 32;
/** Columns whose products one word sums: 2^22 each, in two times four lanes. */
const SAFE: usize = 2048;

/** Columns of a row of 16-bit numbers, with the zeros behind it. */
export function padded(cols: i32): usize {
  return (<usize>cols + 31) & ~31;
}

// @ts-ignore: decorator
@inline
function lanes(v: v128): i64 {
  return (
    <i64>i32x4.extract_lane(v, 0) + <i64>i32x4.extract_lane(v, 1) +
    <i64>i32x4.extract_lane(v, 2) + <i64>i32x4.extract_lane(v, 3)
  );
}

/** Row of 16 bits times row of bytes, excess-128; `cols` is padded. */
export function dotBytes(x: usize, w: usize, cols: usize): i64 {
  const sign = i8x16.splat(-128);
  let total: i64 = 0;
  for (let first: usize = 0; first < cols; first += SAFE) {
    const stop = w + min(cols, first + SAFE);
    let one = i32x4.splat(0);
    let two = i32x4.splat(0);
    let at = x + (first << 1);
    for (let p = w + first; p < stop; p += 16) {
      const v = v128.xor(v128.load(p), sign);
      one = i32x4.add(one, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(v), v128.load(at)));
      two = i32x4.add(two, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(v), v128.load(at, 16)));
      at += 32;
    }
    total += lanes(one) + lanes(two);
  }
  return total;
}

/** `dotBytes` of four rows `stride` bytes apart. */
function dotBytes4(x: usize, stride: usize, w: usize, cols: usize, totals: usize): void {
  const sign = i8x16.splat(-128);
  memory.fill(totals, 0, 32);
  for (let first: usize = 0; first < cols; first += SAFE >> 1) {
    const stop = w + min(cols, first + (SAFE >> 1));
    let a = i32x4.splat(0);
    let b = i32x4.splat(0);
    let c = i32x4.splat(0);
    let d = i32x4.splat(0);
    let at = x + (first << 1);
    for (let p = w + first; p < stop; p += 16) {
      const v = v128.xor(v128.load(p), sign);
      const low = i16x8.extend_low_i8x16_s(v);
      const high = i16x8.extend_high_i8x16_s(v);
      a = i32x4.add(a, i32x4.dot_i16x8_s(low, v128.load(at)));
      a = i32x4.add(a, i32x4.dot_i16x8_s(high, v128.load(at, 16)));
      const second = at + stride;
      b = i32x4.add(b, i32x4.dot_i16x8_s(low, v128.load(second)));
      b = i32x4.add(b, i32x4.dot_i16x8_s(high, v128.load(second, 16)));
      const third = second + stride;
      c = i32x4.add(c, i32x4.dot_i16x8_s(low, v128.load(third)));
      c = i32x4.add(c, i32x4.dot_i16x8_s(high, v128.load(third, 16)));
      const fourth = third + stride;
      d = i32x4.add(d, i32x4.dot_i16x8_s(low, v128.load(fourth)));
      d = i32x4.add(d, i32x4.dot_i16x8_s(high, v128.load(fourth, 16)));
      at += 32;
    }
    store<i64>(totals, load<i64>(totals) + lanes(a));
    store<i64>(totals, load<i64>(totals, 8) + lanes(b), 8);
    store<i64>(totals, load<i64>(totals, 16) + lanes(c), 16);
    store<i64>(totals, load<i64>(totals, 24) + lanes(d), 24);
  }
}

/** Row of 16 bits times a row of four bits; `sums` holds the row's sum of each group. */
function dotCodes(x: usize, sums: usize, w: usize, cols: i32): i64 {
  const low4 = i8x16.splat(15);
  const groups = <usize>(cols / GROUP);
  const scales = w + (<usize>(cols >> 3) << 2);
  const minima = scales + (((groups + 3) >> 2) << 2);
  let total: i64 = 0;
  let wide = i64x2.splat(0);
  for (let g: usize = 0; g < groups; g++) {
    const v = v128.load(w + (g << 4));
    const even = v128.and(v, low4);
    const odd = v128.and(i16x8.shr_u(v, 4), low4);
    const first = i8x16.shuffle(even, odd, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const second = i8x16.shuffle(even, odd, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    const at = x + (g << 6);
    let sum = i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(first), v128.load(at));
    sum = i32x4.add(sum, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(first), v128.load(at, 16)));
    sum = i32x4.add(sum, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(second), v128.load(at, 32)));
    sum = i32x4.add(sum, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(second), v128.load(at, 48)));
    const scale = i32x4.splat(load<u8>(scales + g));
    wide = i64x2.add(wide, i64x2.extmul_low_i32x4_s(sum, scale));
    wide = i64x2.add(wide, i64x2.extmul_high_i32x4_s(sum, scale));
    total += <i64>load<i16>(minima + (g << 1)) * <i64>load<i32>(sums + (g << 2));
  }
  return total + i64x2.extract_lane(wide, 0) + i64x2.extract_lane(wide, 1);
}

/** Rows of 16 bits; `cols` is padded. */
function dotHalves(x: usize, y: usize, cols: usize): i64 {
  let sum = i64x2.splat(0);
  for (let i: usize = 0; i < cols << 1; i += 16) {
    const a = v128.load(x + i);
    const b = v128.load(y + i);
    const low = i32x4.extmul_low_i16x8_s(a, b);
    const high = i32x4.extmul_high_i16x8_s(a, b);
    sum = i64x2.add(sum, i64x2.add(i64x2.extend_low_i32x4_s(low), i64x2.extend_high_i32x4_s(low)));
    sum = i64x2.add(sum, i64x2.add(i64x2.extend_low_i32x4_s(high), i64x2.extend_high_i32x4_s(high)));
  }
  return i64x2.extract_lane(sum, 0) + i64x2.extract_lane(sum, 1);
}

/** Integers of 64 bits to 16, zeros behind them; whether one does not fit. */
export function narrow(from: usize, cols: i32, to: usize): bool {
  let wide = false;
  for (let i = 0; i < cols; i++) {
    const value = load<i64>(from + (<usize>i << 3));
    if (value != <i64>(<i16>value)) wide = true;
    store<i16>(to + (<usize>i << 1), <i16>value);
  }
  memory.fill(to + (<usize>cols << 1), 0, (padded(cols) - cols) << 1);
  return wide;
}

// Rows that a pass works on: 16 bits each, their sums by groups, which of them do not fit.
let rowsAt: usize = 0;
let rowsStride: usize = 0;
let rowsCols: i32 = 0;
let sumsAt: usize = 0;
let sumsStride: usize = 0;
let wideAt: usize = 0;
let longAt: usize = 0;
let weightAt: usize = 0;
let totalsAt: usize = 0;

/** Room for `TOGETHER` rows of so many columns. */
export function prepareRows(cols: i32): void {
  rowsCols = cols;
  rowsStride = padded(cols) << 1;
  rowsAt = room(rowsStride * TOGETHER);
  sumsStride = <usize>(cols / GROUP + 1) << 2;
  sumsAt = room(sumsStride * TOGETHER);
  wideAt = room(TOGETHER);
  totalsAt = room(TOGETHER << 3);
  weightAt = room(rowsStride + (<usize>cols << 3));
  longAt = room((<usize>cols << 3) * TOGETHER);
}

/** Where row i stands as integers of 64 bits, to be filled before `takeRow`. */
export function longRow(i: i32): usize {
  return longAt + <usize>i * (<usize>rowsCols << 3);
}

export function takeRow(i: i32): void {
  const at = rowsAt + <usize>i * rowsStride;
  store<u8>(wideAt + i, narrow(longRow(i), rowsCols, at));
  const sums = sumsAt + <usize>i * sumsStride;
  for (let g = 0; g < rowsCols / GROUP; g++) {
    let sum: i32 = 0;
    for (let c = 0; c < GROUP; c++) sum += <i32>load<i64>(longRow(i) + (<usize>(g * GROUP + c) << 3));
    store<i32>(sums + (<usize>g << 2), sum);
  }
}

export function totalOf(i: i32): i64 {
  return load<i64>(totalsAt + (<usize>i << 3));
}

/** The exact sums of `count` prepared rows with a weight's row. */
export function multiplyRow(weight: Tensor, r: i32, count: i32): void {
  const cols = padded(rowsCols);
  const dtype = weight.dtype;
  const at = weight.row(r);
  const long = weightAt + rowsStride;
  let read = false;
  if (dtype == DTYPE_ACT1 || dtype == DTYPE_ACT2) {
    weight.read(r, long);
    read = true;
  }
  const wideWeight = read && narrow(long, rowsCols, weightAt);
  let i = 0;
  while (i < count) {
    const x = rowsAt + <usize>i * rowsStride;
    const to = totalsAt + (<usize>i << 3);
    if (dtype == DTYPE_I8 && i + 4 <= count && !load<u32>(wideAt + i)) {
      dotBytes4(x, rowsStride, at, cols, to);
      i += 4;
      continue;
    }
    if (load<u8>(wideAt + i) || wideWeight) {
      if (!read) weight.read(r, long);
      read = true;
      let sum: i64 = 0;
      const y = longRow(i);
      for (let c = 0; c < rowsCols; c++) sum += load<i64>(y + (<usize>c << 3)) * load<i64>(long + (<usize>c << 3));
      store<i64>(to, sum);
    } else if (dtype == DTYPE_I8) store<i64>(to, dotBytes(x, at, cols));
    else if (dtype == DTYPE_I4) store<i64>(to, dotCodes(x, sumsAt + <usize>i * sumsStride, at, rowsCols));
    else store<i64>(to, dotHalves(x, weightAt, cols));
    i++;
  }
}

/** Bits that a sum of so many products may have beyond 32. */
export function excess(terms: i32, a: Tensor, b: Tensor): i32 {
  const most = <i64>terms * a.largest * b.largest;
  return max(64 - <i32>clz(most) - 31, 0);
}

/** A sum times both scales, plus the bias; before it is saturated for the result. */
export function scaledSum(total: i64, shift: i32, x: u32, w: u32, frac: i32, bias: i64): i64 {
  multiplyScales(mantissaOf(x), exponentOf(x), mantissaOf(w), exponentOf(w));
  return saturate(rescale(shiftDown(total, shift), mantissa, exponent + shift + frac)) + bias;
}

export function linear(out: Tensor, x: Tensor, weight: Tensor): void {
  const shift = excess(x.cols, x, weight);
  prepareRows(x.cols);
  const places = room(TOGETHER << 2);
  const scales = room(TOGETHER << 2);
  const rows = x.used;
  for (let first = 0; first < rows; first += TOGETHER) {
    const count = min(rows - first, TOGETHER);
    for (let i = 0; i < count; i++) {
      x.read(first + i, longRow(i));
      takeRow(i);
      store<u32>(places + (<usize>i << 2), <u32>out.row(first + i));
      store<u32>(scales + (<usize>i << 2), x.rowScale(first + i));
    }
    for (let n = 0; n < weight.rows; n++) {
      multiplyRow(weight, n, count);
      const scale = weight.linkedScale(n);
      const bias = weight.linkedBias(n);
      for (let i = 0; i < count; i++) {
        const value = scaledSum(totalOf(i), shift, load<u32>(scales + (<usize>i << 2)), scale, out.frac, bias);
        write(load<u32>(places + (<usize>i << 2)), n, value);
      }
    }
  }
}

export function conv2d(
  out: Tensor, x: Tensor, weight: Tensor, height: i32, width: i32, size: i32, stride: i32, pad: i32,
): void {
  const channels = x.cols / (height * width);
  const down = (height + 2 * pad - size) / stride + 1;
  const across = (width + 2 * pad - size) / stride + 1;
  const shift = excess(weight.cols, x, weight);
  const pixels = room(<usize>x.cols << 3);
  prepareRows(weight.cols);
  const line = <usize>channels << 3;
  for (let r = 0; r < x.used; r++) {
    x.read(r, pixels);
    const scale = x.rowScale(r);
    const to = out.row(r);
    for (let window = 0; window < down * across; window += TOGETHER) {
      const count = min(down * across - window, TOGETHER);
      for (let i = 0; i < count; i++) {
        const top = ((window + i) / across) * stride - pad;
        const left = ((window + i) % across) * stride - pad;
        let place = longRow(i);
        memory.fill(place, 0, <usize>weight.cols << 3);
        for (let ky = 0; ky < size; ky++) {
          for (let kx = 0; kx < size; kx++) {
            const y = top + ky;
            const col = left + kx;
            if (y >= 0 && y < height && col >= 0 && col < width) {
              memory.copy(place, pixels + <usize>(y * width + col) * line, line);
            }
            place += line;
          }
        }
        takeRow(i);
      }
      for (let n = 0; n < weight.rows; n++) {
        multiplyRow(weight, n, count);
        const own = weight.linkedScale(n);
        const bias = weight.linkedBias(n);
        for (let i = 0; i < count; i++) {
          const value = scaledSum(totalOf(i), shift, scale, own, out.frac, bias);
          write(to, (window + i) * weight.rows + n, value);
        }
      }
    }
  }
}
