/** Elements of tensors as numbers, and back: what `pxvm.core.dialect1` gives for a region. */

import { PxvmError } from "../api.ts";
import { DTYPE, FORMAT } from "./table.ts";
import { type Descriptor, groupWords } from "./tensor.ts";

/** An element of a row, given the row's words. */
type Element = (row: Uint32Array, col: number, d: Descriptor) => number;

function byteAt(row: Uint32Array, index: number): number {
  return (row[index >> 2]! >>> (8 * (index & 3))) & 255;
}

function halfAt(row: Uint32Array, index: number): number {
  return (row[index >> 1]! << (16 * (1 - (index & 1)))) >> 16;
}

function scale(word: number): number {
  return (word & 0xffff) * 2 ** (word >> 16);
}

function last(row: Uint32Array): number {
  return scale(row[row.length - 1]! | 0);
}

const ELEMENTS: Record<number, Element> = {
  [DTYPE.I8]: (row, col) => byteAt(row, col) - 128,
  [DTYPE.I16]: (row, col, { frac }) => halfAt(row, col) * 2 ** -frac,
  [DTYPE.I32]: (row, col, { frac }) => (row[col]! | 0) * 2 ** -frac,
  [DTYPE.SCALE]: (row, col) => scale(row[col]! | 0),
  [DTYPE.ACT1]: (row, col) => (byteAt(row, col) - 128) * last(row),
  [DTYPE.ACT2]: (row, col, { cols }) =>
    (256 * (byteAt(row, cols + col) - 128) + byteAt(row, col) - 128) * last(row),
  [DTYPE.RGBA]: (row, col) => row[col]!,
  [DTYPE.I4]: (row, col, { cols }) => {
    const [codes, scales] = groupWords(cols);
    const group = Math.floor(col / FORMAT.group);
    const code = (row[col >> 3]! >>> (8 * (col & 3) + (col & 4))) & 15;
    return code * byteAt(row.subarray(codes), group) + halfAt(row.subarray(codes + scales), group);
  },
};

/** Real numbers of a tensor's words, row by row. */
export function decode(words: Uint32Array, d: Descriptor): Float64Array {
  const { rows, cols, rowWords } = d;
  const element = ELEMENTS[d.dtype]!;
  const found = new Float64Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    const own = words.subarray(row * rowWords, (row + 1) * rowWords);
    for (let col = 0; col < cols; col++) found[row * cols + col] = element(own, col, d);
  }
  return found;
}

/** Words of an I32 or RGBA tensor with these values. Throws for others, and for what does not fit. */
export function encode(values: ArrayLike<number>, d: Descriptor): Uint32Array {
  const where = `tensor ${d.index} (${d.called})`;
  if (d.dtype !== DTYPE.I32 && d.dtype !== DTYPE.RGBA) {
    throw new PxvmError(`${where}: expected I32 or RGBA to write to; found ${d.dtypeName}`);
  }
  if (values.length !== d.flat) {
    throw new PxvmError(`${where}: expected ${d.flat} values; found ${values.length}`);
  }
  const [low, high] = d.dtype === DTYPE.I32 ? [-(2 ** 31), 2 ** 31] : [0, 2 ** 32];
  const words = new Uint32Array(d.flat);
  for (let i = 0; i < d.flat; i++) {
    const value = d.dtype === DTYPE.I32 ? Math.round(values[i]! * 2 ** d.frac) : values[i]!;
    if (!(value >= low && value < high)) {
      throw new PxvmError(`${where}: value ${i} is ${values[i]}, which does not fit`);
    }
    words[i] = value;
  }
  return words;
}
