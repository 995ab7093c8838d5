/** Matrices and vectors of dialect 0, as they stand in the pixels; pxvm/core/matrix.py. */

import type { Picture, Rect } from "../api.ts";
import { ProgramError } from "./errors.ts";
import { MATRIX } from "./table.ts";
import { real, tuple } from "./text.ts";

export type Encoding = "headerless" | "plain" | "placeholder" | "quantised";

export interface Matrix {
  row: number;
  rows: number;
  cols: number;
  encoding: Encoding;
  data: Uint8Array;
  scale: number;
  offset: number;
}

/** The bytes of a picture, four a pixel. */
export class Pixels {
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;

  constructor(readonly picture: Picture) {
    const { width, height, words } = picture;
    [this.width, this.height] = [width, height];
    this.bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  }

  /** Where a pixel's R stands. */
  at(x: number, y: number): number {
    return 4 * (y * this.width + x);
  }

  get(x: number, y: number, channel = 0): number {
    return this.bytes[this.at(x, y) + channel] ?? 0;
  }

  word(x: number, y: number): number {
    return this.picture.words[y * this.width + x] ?? 0;
  }
}

export function firstColumn(encoding: Encoding): number {
  return MATRIX.firstColumn[encoding];
}

export function rowsNeeded(count: number, width: number, encoding: Encoding): number {
  const stride = width - firstColumn(encoding);
  return stride > 0 ? Math.max(1, Math.ceil(count / stride)) : 2 ** 32;
}

/** Pixels of a matrix, header included. */
export function matrixRects(row: number, count: number, width: number, encoding: Encoding): Rect[] {
  const first = firstColumn(encoding);
  const stride = width - first;
  return Array.from({ length: rowsNeeded(count, width, encoding) }, (_, y) => {
    const stop = first + Math.min(stride, Math.max(0, count - y * stride));
    const x = y ? first : 0;
    return { x, y: row + y, width: stop - x, height: 1 };
  }).filter((rect) => rect.width > 0);
}

export function checkRow(p: Pixels, row: number): void {
  if (row >= 1 && row < p.height) return;
  const what = row === 0 ? "row 0 holds the instructions" : `the image has ${p.height}`;
  throw new ProgramError(`row ${row} is no data row: ${what}; expected 1..${p.height - 1}`);
}

function isQuantised(p: Pixels, row: number): boolean {
  return p.width > 1 && p.word(1, row) >>> 8 !== 0;
}

function headerOf(p: Pixels, row: number): [number, number] {
  return [p.get(0, row, 2) | (p.get(0, row, 3) << 8), p.get(0, row, 0) | (p.get(0, row, 1) << 8)];
}

/** Rows and columns of the header at a row, or null where no valid one stands. */
function readHeader(p: Pixels, row: number): [number, number] | null {
  checkRow(p, row);
  const [rows, cols] = headerOf(p, row);
  const encoding = isQuantised(p, row) ? "quantised" : "plain";
  if (!rows || !cols || row + rowsNeeded(rows * cols, p.width, encoding) > p.height) return null;
  return [rows, cols];
}

function gather(p: Pixels, row: number, count: number, encoding: Encoding): Uint8Array {
  const first = firstColumn(encoding);
  const found = new Uint8Array(count);
  let [x, y] = [first, row];
  for (let i = 0; i < count; i++) {
    found[i] = p.get(x, y);
    if (++x === p.width) [x, y] = [first, y + 1];
  }
  return found;
}

export function readMatrix(p: Pixels, row: number): Matrix {
  const shape = readHeader(p, row);
  if (!shape) {
    const found = [0, 1, 2, 3].map((channel) => p.get(0, row, channel));
    const [rows, cols] = headerOf(p, row);
    throw new ProgramError(
      `row ${row} has no valid matrix header: found ${tuple(found)}, that is ${rows} x ${cols};` +
        " expected (cols lo, cols hi, rows lo, rows hi) with elements that fit into the" +
        ` ${p.width} x ${p.height} image`,
    );
  }
  const [rows, cols] = shape;
  if (!isQuantised(p, row)) {
    const data = gather(p, row, rows * cols, "plain");
    const beyond = p.width > 2 ? p.word(2, row) : 0;
    const empty = !data.some(Boolean) && !p.word(1, row) && !beyond;
    return { row, rows, cols, encoding: empty ? "placeholder" : "plain", data, scale: 1, offset: 0 };
  }
  const floats = new Float32Array(new Uint32Array([p.word(1, row), p.width > 2 ? p.word(2, row) : 0]).buffer);
  const [scale = 0, offset = 0] = floats;
  const sane = scale >= MATRIX.smallestScale && scale <= MATRIX.largestFloat && Math.abs(offset) <= MATRIX.largestFloat;
  if (!sane) {
    throw new ProgramError(
      `row ${row} has scale ${real(scale)} and offset ${real(offset)}; expected a positive normal` +
        " float32 scale and a finite offset (plain elements have G, B and A zero)",
    );
  }
  return { row, rows, cols, encoding: "quantised", data: gather(p, row, rows * cols, "quantised"), scale, offset };
}

/** Operands that may be headerless: with headers where every row has a valid one. */
export function readVectors(p: Pixels, ...rows: number[]): Matrix[] {
  const headers = rows.map((row) => readHeader(p, row));
  if (!headers.includes(null)) return rows.map((row) => readMatrix(p, row));
  let count = 0;
  while (count < p.width && rows.some((row) => p.word(count, row))) count += 1;
  return rows.map((row) => ({
    row, rows: 1, cols: count, encoding: "headerless", data: gather(p, row, count, "headerless"), scale: 1, offset: 0,
  }));
}

/** What the bytes mean. */
export function valuesOf(m: Matrix): Float64Array {
  const found = new Float64Array(m.data.length);
  for (let i = 0; i < found.length; i++) found[i] = (m.data[i] ?? 0) / m.scale + m.offset;
  return found;
}

export function checkFits(p: Pixels, row: number, rows: number, cols: number, encoding: Encoding): void {
  checkRow(p, row);
  const height = rowsNeeded(rows * cols, p.width, encoding);
  if (row + height > p.height) {
    throw new ProgramError(
      `a ${encoding} ${rows} x ${cols} result at row ${row} needs ${height} rows of` +
        ` ${p.width} pixels; the image ends after row ${p.height - 1}`,
    );
  }
  if (Math.max(rows, cols) > 0xffff) {
    throw new ProgramError(`a result of ${rows} x ${cols} exceeds the header's 65535`);
  }
}

/** Write a matrix, header and all; nothing is written where it does not fit. */
export function writeMatrix(p: Pixels, m: Matrix): void {
  const { row, rows, cols, encoding } = m;
  checkFits(p, row, rows, cols, encoding);
  const words = p.picture.words;
  const start = row * p.width;
  if (encoding !== "headerless") words[start] = (cols | (rows << 16)) >>> 0;
  if (encoding === "quantised") {
    words.set(new Uint32Array(new Float32Array([m.scale, m.offset]).buffer), start + 1);
  } else if (encoding === "plain") words[start + 1] = p.get(1, row);
  const first = firstColumn(encoding);
  let [x, y] = [first, row];
  for (const byte of m.data) {
    p.bytes[p.at(x, y)] = byte;
    if (++x === p.width) [x, y] = [first, y + 1];
  }
}

/** Values quantised over their own range. */
export function quantise(values: Float64Array): { data: Uint8Array; scale: number; offset: number } {
  let [low, high] = values.length ? [Infinity, -Infinity] : [0, 0];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (!(Math.abs(low) <= MATRIX.largestFloat && Math.abs(high) <= MATRIX.largestFloat)) {
    throw new ProgramError(`values ${real(low)}..${real(high)} do not fit into float32`);
  }
  const offset = Math.fround(low) + 0;
  const data = new Uint8Array(values.length);
  if (high === low || 255 / (high - low) > MATRIX.largestFloat) return { data, scale: 1, offset };
  const scale = Math.fround(255 / (high - low));
  values.forEach((value, i) => {
    data[i] = Math.min(Math.max(Math.floor((value - offset) * scale + 0.5), 0), 255);
  });
  return { data, scale, offset };
}
