// Attention: blocks of tokens with a power of two of their own, joined one after the other.

import { BLOCK, FAR } from "./constants";
import {
  bitLength, clamp, exp2Negative, exponent, mantissa, multiplyScales, quantiseRow, reciprocal, rescale, shiftDown,
  shiftRound,
} from "./number";
import { dotBytes, narrow, padded } from "./products";
import { clampIndex, element, exponentOf, mantissaOf, room, Tensor, write } from "./tensor";

export function append(cache: Tensor, x: Tensor, position: Tensor): void {
  const heads = cache.extent0;
  const context = cache.extent1;
  const columns = cache.cols;
  const first = <i64>position.scalar;
  const values = room(<usize>columns << 3);
  for (let r = 0; r < x.used; r++) {
    const place = clampIndex(first + r, context);
    for (let head = 0; head < heads; head++) {
      readHead(x, r, head * columns, columns, values);
      quantiseRow(values, columns, 7, x.frac);
      cache.put(head * context + place, values, mantissa, exponent);
    }
  }
}

function readHead(x: Tensor, r: i32, first: i32, columns: i32, to: usize): void {
  const at = x.row(r);
  for (let i = 0; i < columns; i++) store<i64>(to + (<usize>i << 3), element(at, first + i));
}

export function causal(out: Tensor, q: Tensor, k: Tensor, v: Tensor, position: Tensor, scale: u32): void {
  prepare(k.cols);
  const first = <i64>position.scalar;
  for (let r = 0; r < q.used; r++) {
    const last = clampIndex(first + r, k.extent1);
    attendRow(out, q, k, v, scale, r, 0, last + 1);
  }
}

/** As causal, of the last `window` tokens. */
export function windowed(
  out: Tensor, q: Tensor, k: Tensor, v: Tensor, position: Tensor, scale: u32, window: i32,
): void {
  prepare(k.cols);
  const first = <i64>position.scalar;
  for (let r = 0; r < q.used; r++) {
    const last = clampIndex(first + r, k.extent1);
    attendRow(out, q, k, v, scale, r, max(last + 1 - window, 0), last + 1);
  }
}

export function full(out: Tensor, q: Tensor, k: Tensor, v: Tensor, span: Tensor, lengths: Tensor, scale: u32): void {
  prepare(k.cols);
  const context = k.extent1;
  const step = min(max(span.scalar, 1), context);
  const most = lengths.rows * lengths.cols - 1;
  for (let r = 0; r < q.used; r++) {
    const group = r / step;
    const start = <i32>min(<i64>group * step, <i64>context - 1);
    const used = min(max(lengths.flat(min(group, most)), 1), step);
    attendRow(out, q, k, v, scale, r, start, min(start + used, context));
  }
}

let query: usize = 0;
let query16: usize = 0;
let scores: usize = 0;
let sums: usize = 0;
let total: usize = 0;

function prepare(columns: i32): void {
  query = room(<usize>columns << 3);
  query16 = room(padded(columns) << 1);
  scores = room(<usize>BLOCK << 3);
  sums = room(padded(columns) << 2);
  total = room(<usize>columns << 3);
}

function attendRow(
  out: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: u32, r: i32, start: i32, stop: i32,
): void {
  const columns = k.cols;
  const heads = q.cols / columns;
  const shared = heads / k.extent0;
  for (let head = 0; head < heads; head++) {
    readHead(q, r, head * columns, columns, query);
    quantiseRow(query, columns, 7, q.frac);
    multiplyScales(mantissa, exponent, mantissaOf(scale), exponentOf(scale));
    narrow(query, columns, query16);
    const first = (head / shared) * k.extent1 + start;
    attend(mantissa, exponent, k, v, first, stop - start, out.frac, out.row(r), head * columns);
  }
}

function attend(
  m: i64, e: i32, k: Tensor, v: Tensor, first: i32, n: i32, frac: i32, out: usize, column: i32,
): void {
  const columns = k.cols;
  const wide = padded(columns);
  const fewer = max(bitLength(n) - 10, 0);
  const lighter = max(bitLength(n) - 16, 0);
  memory.fill(total, 0, <usize>columns << 3);
  let totalExponent = FAR;
  let weight: i64 = 0;
  let weightExponent = FAR;
  for (let block = 0; block < n; block += BLOCK) {
    const count = min(n - block, BLOCK);
    let largest: i64 = -(1 << 30);
    let common = -32768;
    for (let i = 0; i < count; i++) {
      const row = first + block + i;
      const word = k.rowScale(row);
      multiplyScales(m, e, mantissaOf(word), exponentOf(word));
      const score = rescale(dotBytes(query16, k.row(row), wide), mantissa, exponent + 16);
      const kept = clamp(score, -(1 << 30), 1 << 30);
      largest = max(largest, kept);
      store<i64>(scores + (<usize>i << 3), kept);
      common = max(common, exponentOf(v.rowScale(row)));
    }
    const top = (largest + 65535) >> 16;
    let weights: i64 = 0;
    memory.fill(sums, 0, wide << 2);
    for (let i = 0; i < count; i++) {
      const share = exp2Negative((top << 16) - load<i64>(scores + (<usize>i << 3)));
      weights += share;
      const row = first + block + i;
      const word = v.rowScale(row);
      const scaled = shiftRound(share * mantissaOf(word), common - exponentOf(word) + 18);
      if (scaled) addRow(<i16>scaled, v.row(row), wide);
    }
    const blockExponent = <i32>top + common;
    const joined = max(totalExponent, blockExponent);
    const mine = min(joined - totalExponent, 32);
    const its = min(joined - blockExponent, 32);
    for (let i = 0; i < columns; i++) {
      const at = total + (<usize>i << 3);
      const sum = shiftDown(<i64>load<i32>(sums + (<usize>i << 2)), fewer);
      store<i64>(at, shiftDown(load<i64>(at), mine) + shiftDown(sum, its));
    }
    totalExponent = joined;
    const both = max(weightExponent, <i32>top);
    weight =
      shiftDown(weight, min(both - weightExponent, 32)) +
      shiftDown(shiftDown(weights, lighter), min(both - <i32>top, 32));
    weightExponent = both;
  }
  reciprocal(weight);
  const by = mantissa;
  const final = exponent + totalExponent + fewer + 18 - weightExponent - lighter + frac;
  for (let i = 0; i < columns; i++) write(out, column + i, rescale(load<i64>(total + (<usize>i << 3)), by, final));
}

/** `factor` times a row of bytes, excess-128, onto the sums. */
function addRow(factor: i16, row: usize, wide: usize): void {
  const sign = i8x16.splat(-128);
  const by = i16x8.splat(factor);
  for (let i: usize = 0; i < wide; i += 16) {
    const bytes = v128.xor(v128.load(row + i), sign);
    const low = i16x8.extend_low_i8x16_s(bytes);
    const high = i16x8.extend_high_i8x16_s(bytes);
    const at = sums + (i << 2);
    v128.store(at, i32x4.add(v128.load(at), i32x4.extmul_low_i16x8_s(low, by)));
    v128.store(at, i32x4.add(v128.load(at, 16), i32x4.extmul_high_i16x8_s(low, by)), 16);
    v128.store(at, i32x4.add(v128.load(at, 32), i32x4.extmul_low_i16x8_s(high, by)), 32);
    v128.store(at, i32x4.add(v128.load(at, 48), i32x4.extmul_high_i16x8_s(high, by)), 48);
  }
}
