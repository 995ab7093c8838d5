// The tensors of a program in its picture: descriptors as 32 words each, rows as addresses.

import {
  DTYPE_ACT1, DTYPE_ACT2, DTYPE_I16, DTYPE_I32, DTYPE_I4, DTYPE_SCALE, GROUP,
  LARGEST_ACT1, LARGEST_ACT2, LARGEST_I4,
} from "./constants";
import { clamp, HIGHEST, LOWEST } from "./number";

export let picture: usize = 0;
export let width: i32 = 0;
export let descriptors: usize = 0;
let scratch: usize = 0;
let scratchNext: usize = 0;
export let saturated: bool = false;
export let clamped: bool = false;

export function bindPicture(at: usize, columns: i32, table: usize, room: usize): void {
  picture = at;
  width = columns;
  descriptors = table;
  scratch = room;
}

export function clearMarks(): void {
  saturated = false;
  clamped = false;
}

/** Memory for the instruction under way; the page has seen to it that there is enough. */
export function room(bytes: usize): usize {
  const at = scratchNext;
  scratchNext += (bytes + 15) & ~15;
  const missing = <isize>(scratchNext + 65536) - <isize>(<usize>memory.size() << 16);
  if (missing > 0) memory.grow(<i32>((missing + 65535) >> 16));
  return at;
}

export function freeRoom(): void {
  scratchNext = scratch;
}

// @ts-ignore: decorator
@unmanaged
export class Tensor {
  dtype: i32;
  role: i32;
  frac: i32;
  cols: i32;
  rows: i32;
  start: i32;
  per: i32;
  words: i32;
  scale: i32;
  bias: i32;
  length: i32;
  extent0: i32;
  extent1: i32;
  extent2: i32;
  extent3: i32;
  /** Words from row to row where each takes whole image rows. */
  span: i32;
  rank: i32;

  /** Rows in use. */
  get used(): i32 {
    if (this.length < 0) return this.rows;
    return min(max(tensor(this.length).scalar, 0), this.rows);
  }

  /** Address of a row's words. */
  row(r: i32): usize {
    const word = this.per
      ? <u32>this.start + (<u32>r / <u32>this.per) * width + (<u32>r % <u32>this.per) * this.words
      : <u32>this.start + <u32>r * this.span;
    return picture + (<usize>word << 2);
  }

  get scalar(): i32 {
    return load<i32>(this.row(0));
  }

  /** Element i of all, I32. */
  flat(i: i32): i32 {
    return load<i32>(this.row(i / this.cols) + (<usize>(i % this.cols) << 2));
  }

  /** Bits that its activations have. */
  get bits(): i32 {
    return this.dtype == DTYPE_ACT2 ? 14 : 7;
  }

  /** The largest magnitude of an element that products take. */
  get largest(): i64 {
    if (this.dtype == DTYPE_ACT2) return LARGEST_ACT2;
    return this.dtype == DTYPE_I4 ? LARGEST_I4 : LARGEST_ACT1;
  }

  /** The scale word of an activation row. */
  rowScale(r: i32): u32 {
    return load<u32>(this.row(r) + (<usize>(this.words - 1) << 2));
  }

  /** The scale word of a weight's row; 0 without scales. */
  linkedScale(r: i32): u32 {
    if (this.dtype == DTYPE_ACT1 || this.dtype == DTYPE_ACT2) return this.rowScale(r);
    return this.scale < 0 ? 0 : load<u32>(tensor(this.scale).row(0) + (<usize>r << 2));
  }

  /** The bias of a weight's row or column. */
  linkedBias(i: i32): i64 {
    return this.bias < 0 ? 0 : <i64>load<i32>(tensor(this.bias).row(0) + (<usize>i << 2));
  }

  /** Elements of a row as integers of 64 bits. */
  read(r: i32, to: usize): void {
    const at = this.row(r);
    const cols = this.cols;
    if (this.dtype == DTYPE_I32 || this.dtype == DTYPE_SCALE) {
      for (let i = 0; i < cols; i++) store<i64>(to + (<usize>i << 3), load<i32>(at + (<usize>i << 2)));
    } else if (this.dtype == DTYPE_I16) {
      for (let i = 0; i < cols; i++) store<i64>(to + (<usize>i << 3), load<i16>(at + (<usize>i << 1)));
    } else if (this.dtype == DTYPE_I4) {
      for (let i = 0; i < cols; i++) store<i64>(to + (<usize>i << 3), this.code(at, i));
    } else {
      const high = at + (<usize>((cols + 3) >> 2) << 2);
      const two = this.dtype == DTYPE_ACT2;
      for (let i = 0; i < cols; i++) {
        let value = <i64>load<u8>(at + i) - 128;
        if (two) value += (<i64>load<u8>(high + i) - 128) << 8;
        store<i64>(to + (<usize>i << 3), value);
      }
    }
  }

  /** Element i of a row of four bits at an address. */
  private code(at: usize, i: i32): i64 {
    const byte = <i32>load<u8>(at + (<usize>(i >> 3) << 2) + (i & 3));
    const code = i & 4 ? byte >> 4 : byte & 15;
    const scales = at + (<usize>((this.cols + 7) >> 3) << 2);
    const minima = scales + (<usize>((this.cols + 4 * GROUP - 1) / (4 * GROUP)) << 2);
    const group = <usize>(i / GROUP);
    return <i64>(<i32>load<u8>(scales + group) * code + <i32>load<i16>(minima + (group << 1)));
  }

  /** Store an activation row of integers of 64 bits with its scale. */
  put(r: i32, from: usize, m: i64, e: i32): void {
    const at = this.row(r);
    const cols = this.cols;
    const plane = <usize>((cols + 3) >> 2) << 2;
    const two = this.dtype == DTYPE_ACT2;
    for (let i = 0; i < cols; i++) {
      const value = <i32>load<i64>(from + (<usize>i << 3));
      store<u8>(at + i, <u8>(value + 128));
      if (two) store<u8>(at + plane + i, <u8>(((value + 128) >> 8) + 128));
    }
    store<u32>(at + (<usize>(this.words - 1) << 2), (<u32>m & 0xffff) | (<u32>e << 16));
  }
}

// @ts-ignore: decorator
@inline
export function tensor(index: i32): Tensor {
  return changetype<Tensor>(descriptors + (<usize>index << 7));
}

// @ts-ignore: decorator
@inline
export function parameter(d: Tensor, number: i32): i32 {
  return load<i32>(changetype<usize>(d) + 80 + (<usize>number << 2));
}

/** What 32 bits hold; the state is marked where that changed anything. */
// @ts-ignore: decorator
@inline
export function saturate(value: i64): i64 {
  const kept = clamp(value, LOWEST, HIGHEST);
  if (kept != value) saturated = true;
  return kept;
}

/** Store an element of an I32 tensor. */
// @ts-ignore: decorator
@inline
export function write(at: usize, i: i32, value: i64): void {
  store<i32>(at + (<usize>i << 2), <i32>saturate(value));
}

// @ts-ignore: decorator
@inline
export function element(at: usize, i: i32): i64 {
  return <i64>load<i32>(at + (<usize>i << 2));
}

/** An index clamped to 0..count - 1; the state is marked where that changed it. */
// @ts-ignore: decorator
@inline
export function clampIndex(index: i64, count: i32): i32 {
  const inside = clamp(index, 0, <i64>count - 1);
  if (inside != index) clamped = true;
  return <i32>inside;
}

// @ts-ignore: decorator
@inline
export function mantissaOf(word: u32): i64 {
  return word & 0xffff;
}

// @ts-ignore: decorator
@inline
export function exponentOf(word: u32): i32 {
  return <i32>word >> 16;
}
