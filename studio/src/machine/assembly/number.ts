// Exact integer arithmetic of dialect 1: pxvm/core/integer.py in 64 bits. A result of two numbers,
// a scale, is left in `mantissa` and `exponent`.

import { EXP2 } from "./constants";

export const LOWEST: i64 = -2147483648;
export const HIGHEST: i64 = 2147483647;

export let mantissa: i64 = 0;
export let exponent: i32 = 0;

// @ts-ignore: decorator
@inline
export function clamp(value: i64, low: i64, high: i64): i64 {
  return min(max(value, low), high);
}

// @ts-ignore: decorator
@inline
export function bitLength(value: i64): i32 {
  return 64 - <i32>clz(value);
}

// @ts-ignore: decorator
@inline
export function shiftDown(value: i64, shift: i32): i64 {
  return (value + ((<i64>1 << shift) >> 1)) >> shift;
}

export function shiftRound(value: i64, shift: i32): i64 {
  if (shift > 0) {
    if (shift > 62) return 0;
    value = (value + (<i64>1 << (shift - 1))) >> shift;
  } else if (shift < 0) {
    value = clamp(value, LOWEST / 2 - 1, HIGHEST / 2 + 1) << min(-shift, 32);
  }
  return clamp(value, LOWEST - 1, HIGHEST + 1);
}

// @ts-ignore: decorator
@inline
export function rescale(value: i64, m: i64, e: i32): i64 {
  return shiftRound(value * m, -e);
}

export function normalise(value: i64, e: i32): void {
  const down = bitLength(value) - 16;
  let m = down > 0 ? shiftDown(value, down) : value << -down;
  const over = <i32>(m >> 16);
  m >>= over;
  mantissa = m;
  exponent = m == 0 ? 0 : min(max(e + down + over, -32768), 32767);
}

// @ts-ignore: decorator
@inline
export function multiplyScales(m: i64, e: i32, m2: i64, e2: i32): void {
  normalise(m * m2, e + e2);
}

function root(value: i64): i64 {
  const below = <i64>Math.floor(Math.sqrt(<f64>value));
  return below + <i64>(value - below * below > below);
}

export function inverseRoot(numerator: i64, denominator: i64): void {
  normalise(numerator, 0);
  const n = mantissa;
  const nExponent = exponent;
  normalise(denominator, 0);
  const quotient = ((n << 16) + (mantissa >> 1)) / mantissa;
  const e = nExponent - exponent - 16;
  let shift = 31 - bitLength(quotient);
  shift += (e - shift) & 1;
  mantissa = root(quotient << shift);
  exponent = (e - shift) >> 1;
}

export function reciprocal(value: i64): void {
  normalise(value, 0);
  const m = mantissa;
  normalise(((<i64>1 << 31) + (m >> 1)) / m, -31 - exponent);
}

/** 2^(-distance), 16 fraction bits in and out. */
export function exp2Negative(distance: i64): i64 {
  const whole = <i32>(distance >> 16);
  if (whole > 17) return 0;
  const at = EXP2 + <usize>((distance >> 8) & 255) * 4;
  const high = <i64>load<i32>(at);
  const value = high - (((high - <i64>load<i32>(at + 4)) * (distance & 255) + 128) >> 8);
  return shiftDown(value, whole);
}

/** a / b rounded down, b above 0. */
// @ts-ignore: decorator
@inline
export function floorDivide(a: i64, b: i64): i64 {
  const quotient = a / b;
  return quotient - <i64>(a < 0 && quotient * b != a);
}

/** The total of `count` numbers divided by it, rounded half up. */
// @ts-ignore: decorator
@inline
export function meanOf(total: i64, count: i64): i64 {
  return floorDivide(total + (count >> 1), count);
}

/** A table of `steps` + 1 entries over -16..16 at an argument with 16 fraction bits. */
export function interpolate(table: usize, steps: i32, position: i64): i64 {
  const bits = 22 - (32 - <i32>clz(steps));
  const offset = clamp(position, -16 << 16, 16 << 16) + (16 << 16);
  const index = min<i64>(offset >> bits, steps - 1);
  const at = table + <usize>index * 4;
  const first = <i64>load<i32>(at);
  const slope = clamp(<i64>load<i32>(at + 4) - first, LOWEST, HIGHEST);
  return first + shiftRound(slope * (offset - (index << bits)), bits);
}

/**
 * `count` integers of 64 bits to activations in place; their scale is left in `mantissa` and `exponent`.
 * 14 bits: shifted by a power of two; 7 bits: 127 x / m, rounded, m the largest of 22 bits.
 */
export function quantiseRow(at: usize, count: i32, bits: i32, frac: i32): void {
  const stop = at + (<usize>count << 3);
  let largest: i64 = 0;
  for (let p = at; p < stop; p += 8) largest = max(largest, abs(load<i64>(p)));
  if (bits == 14) {
    const shift = max(bitLength(largest) - 14, 0);
    for (let p = at; p < stop; p += 8) store<i64>(p, shiftDown(load<i64>(p), shift));
    normalise(1, shift - frac);
    return;
  }
  const shift = max(bitLength(largest) - 22, 0);
  let m: i64 = 1;
  for (let p = at; p < stop; p += 8) {
    const small = shiftDown(load<i64>(p), shift);
    store<i64>(p, small);
    m = max(m, abs(small));
  }
  // Below 2^31: 32 bits divide faster.
  for (let p = at; p < stop; p += 8) {
    const upper = <i32>(254 * load<i64>(p) + m);
    const lower = <i32>(2 * m);
    const quotient = upper / lower;
    store<i64>(p, <i64>(quotient - i32(upper < 0 && quotient * lower != upper)));
  }
  const up = 31 - bitLength(m);
  normalise((m << up) / 127, shift - frac - up);
}
