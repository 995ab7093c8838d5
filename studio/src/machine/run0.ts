/**
 * Instructions of dialect 0: each reads its operands, checks them and only then writes. A product of large
 * matrices lets others run in between, and has written nothing before it is done.
 */

import { textLines } from "./dialect0.ts";
import { ExecutionError, ProgramError } from "./errors.ts";
import type { Instruction } from "./instruction.ts";
import {
  checkFits, checkRow, type Encoding, type Matrix, type Pixels, quantise, readMatrix, readVectors, valuesOf, writeMatrix,
} from "./matrix.ts";

/** Multiplications between two pauses. */
const WORK = 1 << 24;

/** Execute one instruction; yields where it takes long. */
export function* execute(p: Pixels, i: Instruction): Generator<void> {
  const [g, b, a] = i.operands;
  try {
    if (i.op.name === "Dot") dot(p, g, b, a);
    else if (i.op.name === "Add") add(p, g, b, a);
    else if (i.op.name === "ReLU") relu(p, g);
    else if (i.op.name === "MatMul") yield* matmul(p, g, b, a);
    else if (i.op.name === "Blit") blit(p, g, b, a);
  } catch (error) {
    if (error instanceof ProgramError) throw new ExecutionError(`${i.place}: ${error.message}`);
    throw error;
  }
}

export function encodingOf(...inputs: Matrix[]): Encoding {
  const encodings = inputs.map((m) => m.encoding);
  if (encodings.includes("quantised")) return "quantised";
  return encodings.includes("headerless") ? "headerless" : "plain";
}

/** Write a result in the encoding that its inputs call for. */
export function store(p: Pixels, row: number, rows: number, cols: number, values: Float64Array, ...inputs: Matrix[]): void {
  const encoding = encodingOf(...inputs);
  if (encoding === "quantised") {
    checkFits(p, row, rows, cols, encoding);
    writeMatrix(p, { row, rows, cols, encoding, ...quantise(values) });
    return;
  }
  const data = Uint8Array.from(values, (value) => Math.trunc(Math.min(Math.max(value, 0), 255)));
  writeMatrix(p, { row, rows, cols, encoding, data, scale: 1, offset: 0 });
}

function shape(m: Matrix): string {
  return `${m.rows} x ${m.cols} at row ${m.row}`;
}

/** What Dot reads, checked. */
export function dotOperands(p: Pixels, g: number, b: number, a: number): [Matrix, Matrix] {
  const [left, right] = readVectors(p, g, b) as [Matrix, Matrix];
  checkRow(p, a);
  if (left.data.length !== right.data.length) {
    throw new ProgramError(
      `Dot needs as many elements left as right; found ${shape(left)} and ${shape(right)}`,
    );
  }
  for (const m of [left, right]) {
    if (m.encoding === "quantised") {
      throw new ProgramError(`Dot takes plain vectors; row ${m.row} is quantised: use MatMul`);
    }
  }
  return [left, right];
}

function dot(p: Pixels, g: number, b: number, a: number): void {
  const [left, right] = dotOperands(p, g, b, a);
  let total = 0;
  left.data.forEach((value, i) => {
    total += value * (right.data[i] ?? 0);
  });
  const at = p.at(0, a);
  p.bytes[at] = total % 256;
  p.bytes[at + 1] = Math.floor(total / 256) % 256;
}

/** What Add reads, checked. */
export function addOperands(p: Pixels, g: number, b: number): [Matrix, Matrix] {
  const [left, right] = readVectors(p, g, b) as [Matrix, Matrix];
  if (left.rows !== right.rows || left.cols !== right.cols) {
    throw new ProgramError(`Add needs two operands of one shape; found ${shape(left)} and ${shape(right)}`);
  }
  return [left, right];
}

/** Sums of two operands' values. */
export function sums(left: Matrix, right: Matrix): Float64Array {
  const [sum, other] = [valuesOf(left), valuesOf(right)];
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (other[i] ?? 0);
  return sum;
}

function add(p: Pixels, g: number, b: number, a: number): void {
  const [left, right] = addOperands(p, g, b);
  store(p, a, left.rows, left.cols, sums(left, right), left, right);
}

function relu(p: Pixels, g: number): void {
  const [m] = readVectors(p, g) as [Matrix];
  if (m.encoding !== "quantised") return;
  store(p, g, m.rows, m.cols, valuesOf(m).map((value) => Math.max(value, 0)), m);
}

/** What MatMul reads, checked, and that its result fits. */
export function matmulOperands(p: Pixels, g: number, b: number, a: number): [Matrix, Matrix] {
  const [left, right] = [readMatrix(p, g), readMatrix(p, b)];
  if (left.cols !== right.rows) {
    throw new ProgramError(
      `MatMul needs as many columns left as rows right; found ${shape(left)} and ${shape(right)}`,
    );
  }
  // Before the product is computed: two thin operands can call for one of gigabytes.
  checkFits(p, a, left.rows, right.cols, encodingOf(left, right));
  return [left, right];
}

function* matmul(p: Pixels, g: number, b: number, a: number): Generator<void> {
  const [left, right] = matmulOperands(p, g, b, a);
  store(p, a, left.rows, right.cols, yield* product(left, right), left, right);
}

function* product(left: Matrix, right: Matrix): Generator<void, Float64Array> {
  const [m, k, n] = [left.rows, left.cols, right.cols];
  const [rows, columns] = [new Float64Array(m), new Float64Array(n)];
  right.data.forEach((value, i) => {
    columns[i % n] = (columns[i % n] ?? 0) + value;
  });
  const result = new Float64Array(m * n);
  let work = 0;
  for (let i = 0; i < m; i++) {
    const row = result.subarray(i * n, (i + 1) * n);
    let sum = 0;
    for (let t = 0; t < k; t++) {
      const factor = left.data[i * k + t] ?? 0;
      sum += factor;
      if (factor) for (let j = 0; j < n; j++) row[j] = (row[j] ?? 0) + factor * (right.data[t * n + j] ?? 0);
      work += n;
      if (work > WORK) {
        work = 0;
        yield;
      }
    }
    rows[i] = sum;
  }
  return productOfSums(left, right, result, rows, columns);
}

/**
 * With values `q / s + o` the product is sum(qa qb) / (sa sb) + ob sum(qa) / sa + oa sum(qb) / sb + k oa ob,
 * written over the first of these sums. All three are exact; the operations on them round in this order.
 */
export function productOfSums(
  left: Matrix, right: Matrix, total: Float64Array, rows: ArrayLike<number>, columns: ArrayLike<number>,
): Float64Array {
  const [m, k, n] = [left.rows, left.cols, right.cols];
  const { scale: sa, offset: oa } = left;
  const { scale: sb, offset: ob } = right;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let value = (total[i * n + j] ?? 0) / (sa * sb);
      value = value + (ob * (rows[i] ?? 0)) / sa;
      value = value + (oa * (columns[j] ?? 0)) / sb;
      total[i * n + j] = value + k * (oa * ob);
    }
  }
  return total;
}

/** What Blit copies: glyphs of `width` x `height` pixels, each from a word to a word. */
export interface Glyphs {
  width: number;
  height: number;
  places: [from: number, to: number][];
}

/** What Blit copies, checked. */
export function glyphsOf(p: Pixels, g: number, b: number, a: number): Glyphs {
  const text = readMatrix(p, g);
  if (text.encoding === "quantised") {
    throw new ProgramError(`Blit takes a plain matrix of character codes; row ${g} is quantised`);
  }
  checkRow(p, b);
  checkRow(p, a);
  const [w, h, first, count] = [0, 1, 2, 3].map((channel) => p.get(0, b, channel)) as [number, number, number, number];
  const perBand = w ? Math.floor((p.width - 1) / w) : 0;
  if (!w || !h || !count || !perBand || b + Math.ceil(count / perBand) * h > p.height) {
    throw new ProgramError(
      `row ${b} has no valid font header: found (${w}, ${h}, ${first}, ${count}); expected (glyph` +
        " width, glyph height, first code, glyphs) with all glyphs inside the image",
    );
  }
  const lines = textLines(text.data, Math.max(1, Math.floor(p.width / w)));
  if (a + lines.length * h > p.height) {
    throw new ProgramError(
      `${lines.length} lines of ${h}-pixel glyphs from row ${a} on end below the image's last row ${p.height - 1}`,
    );
  }
  for (const code of lines.flat()) {
    if (code < first || code - first >= count) {
      throw new ProgramError(
        `the font at row ${b} has codes ${first}..${first + count - 1}; the text holds ${code}`,
      );
    }
  }
  const places: Glyphs["places"] = [];
  lines.forEach((line, number) => {
    line.forEach((code, column) => {
      const [band, place] = [Math.floor((code - first) / perBand), (code - first) % perBand];
      places.push([(b + band * h) * p.width + 1 + place * w, (a + number * h) * p.width + column * w]);
    });
  });
  return { width: w, height: h, places };
}

function blit(p: Pixels, g: number, b: number, a: number): void {
  const { width, height, places } = glyphsOf(p, g, b, a);
  const before = p.picture.words.slice();
  for (const [from, to] of places) {
    for (let y = 0; y < height; y++) {
      const start = from + y * p.width;
      p.picture.words.set(before.subarray(start, start + width), to + y * p.width);
    }
  }
}
