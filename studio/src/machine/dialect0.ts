/** Dialect 0: instructions on row 0, matrices named by their row; pxvm/core/dialect0.py. */

import type { Picture, Rect } from "../api.ts";
import { ProgramError } from "./errors.ts";
import { Instruction } from "./instruction.ts";
import { checkRow, type Encoding, matrixRects, Pixels, readMatrix, readVectors, rowsNeeded } from "./matrix.ts";
import { opcodesOf } from "./table.ts";
import { quoted } from "./text.ts";

const TABLE = opcodesOf(0);
const NEW_LINE = 10;

/** Pixels that a row's number names. */
export interface Region {
  row: number;
  role: "matrix" | "vector" | "scalar" | "font" | "canvas";
  encoding: Encoding | "16-bit" | "pixels" | "glyphs";
  rows: number;
  cols: number;
  rects: Rect[];
}

export interface Program0 {
  readonly dialect: 0;
  readonly instructions: readonly Instruction[];
  readonly regions: readonly Region[];
}

/** Instructions of row 0 up to the first Halt, and the regions that they name. */
export function parse0(picture: Picture): Program0 {
  const instructions: Instruction[] = [];
  for (let x = 0; x < picture.width; x++) {
    const word = picture.words[x] ?? 0;
    const code = word & 255;
    const op = TABLE.get(code);
    if (!op) throw new ProgramError(unknown(x, code));
    instructions.push(new Instruction(x, x, 0, code, op, [(word >> 8) & 255, (word >> 16) & 255, word >>> 24]));
    if (op.flow === "HALT") break;
  }
  const pixels = new Pixels(picture);
  for (const i of instructions) {
    i.op.operands.forEach((mode, n) => {
      const row = i.operands[n] ?? 0;
      if (mode.names !== "ROW" || (row >= 1 && row < picture.height)) return;
      try {
        checkRow(pixels, row);
      } catch (error) {
        throw new ProgramError(`${i.place}: ${(error as Error).message}`);
      }
    });
  }
  return { dialect: 0, instructions, regions: new Regions(pixels).walk(instructions) };
}

function unknown(x: number, code: number): string {
  const known = [...new Set([...TABLE.values()].map((op) => `${op.glyph} ${op.name}`))].join(", ");
  const letter = quoted(String.fromCharCode(code));
  const found = `instruction ${x} at x=${x}, y=0: unknown opcode ${code} (${letter})`;
  if (x) return `${found}; expected one of ${known}`;
  return `this picture is no pxVM program: ${found}; a program begins with one of ${known}`;
}

/** Follows shapes through a program: a result that is not computed yet has a place already. */
class Regions {
  private readonly found = new Map<number, Region>();
  private readonly awaited = new Set<number>();

  constructor(private readonly p: Pixels) {}

  walk(program: readonly Instruction[]): Region[] {
    // What is awaited may be told by a later instruction, and then tells what earlier ones read.
    for (const order of [program, [...program].reverse(), program]) {
      for (const i of order) this.visit(i);
      if (!this.awaited.size) break;
    }
    return [...this.found.values()].sort((a, b) => a.row - b.row);
  }

  private visit(i: Instruction): void {
    const [g, b, a] = i.operands;
    if (i.op.name === "MatMul") {
      const [left, right] = this.factors(g, b, a);
      if (left && right) this.result(a, left.rows, right.cols, left, right);
      else this.wait(a);
    } else if (i.op.name === "Add") {
      const [left, right] = this.vectors(g, b);
      if (left && right) this.result(a, left.rows, left.cols, left, right);
      else this.wait(a);
    } else if (i.op.name === "Dot") {
      this.vectors(g, b);
      this.keep({
        row: a, role: "scalar", encoding: "16-bit", rows: 1, cols: 1, rects: [{ x: 0, y: a, width: 1, height: 1 }],
      });
    } else if (i.op.name === "ReLU") this.vectors(g);
    else if (i.op.name === "Blit") this.blit(this.matrix(g), b, a);
  }

  private keep(region: Region): Region {
    const known = this.found.get(region.row);
    if (known) return known;
    this.found.set(region.row, region);
    return region;
  }

  private matrix(row: number): Region | null {
    const known = this.found.get(row);
    if (known) return known.role === "matrix" ? known : null;
    try {
      const m = readMatrix(this.p, row);
      return this.place(row, m.rows, m.cols, m.encoding === "placeholder" ? "plain" : m.encoding);
    } catch {
      return null;
    }
  }

  private place(row: number, rows: number, cols: number, encoding: Encoding): Region | null {
    const { width, height } = this.p;
    if (row + rowsNeeded(rows * cols, width, encoding) > height) return null;
    const role = encoding === "headerless" ? "vector" : "matrix";
    const kept = this.keep({
      row, role, encoding, rows, cols, rects: matrixRects(row, rows * cols, width, encoding),
    });
    return kept.role === role ? kept : null;
  }

  private wait(row: number): void {
    if (!this.found.has(row) && this.blank(row)) this.awaited.add(row);
  }

  private blank(row: number): boolean {
    const start = row * this.p.width;
    return !this.p.picture.words.subarray(start, start + this.p.width).some(Boolean);
  }

  /** Both operands of a product; one that is blank has its shape from the other two. */
  private factors(g: number, b: number, a: number): [Region | null, Region | null] {
    let [left, right] = [this.matrix(g), this.matrix(b)];
    const result = this.awaited.has(a) ? this.found.get(a) : undefined;
    if (result && right && !left && this.blank(g)) {
      left = this.place(g, result.rows, right.rows, right.encoding as Encoding);
    } else if (result && left && !right && this.blank(b)) {
      right = this.place(b, left.cols, result.cols, left.encoding as Encoding);
    }
    return [left, right];
  }

  private vectors(...rows: number[]): (Region | null)[] {
    let known = rows.map((row) => this.found.get(row) ?? null);
    if (rows.some((row) => this.awaited.has(row) && !this.found.has(row))) {
      known = rows.map((row) => this.matrix(row));
      const alike = known.find(Boolean);
      // Operands of one shape: what is not computed yet will be like the other.
      if (alike) known = rows.map((row) => this.place(row, alike.rows, alike.cols, alike.encoding as Encoding));
      return known;
    }
    if (known.every((region) => region?.role === "matrix")) return known;
    let read;
    try {
      read = readVectors(this.p, ...rows);
    } catch {
      return rows.map(() => null);
    }
    if (read[0]?.encoding !== "headerless" || known.some((region) => region?.role === "matrix")) {
      return rows.map((row) => this.matrix(row));
    }
    return read.map((m) => this.place(m.row, m.rows, m.cols, "headerless"));
  }

  private result(row: number, rows: number, cols: number, ...inputs: Region[]): void {
    const encodings = inputs.map((region) => region.encoding);
    const kind = (["quantised", "headerless"] as const).find((e) => encodings.includes(e)) ?? "plain";
    const known = this.found.get(row);
    if (known && known.role !== "scalar") return;
    this.found.delete(row);
    this.place(row, rows, cols, kind);
  }

  private blit(text: Region | null, fontRow: number, canvasRow: number): void {
    const { width, height } = this.p;
    const [w, h, count] = [0, 1, 3].map((channel) => this.p.get(0, fontRow, channel)) as [number, number, number];
    const perBand = w ? Math.floor((width - 1) / w) : 0;
    if (!w || !h || perBand <= 0 || !text || text.encoding !== "plain") return;
    const bands = Math.ceil(count / perBand);
    if (fontRow + bands * h > height) return;
    const font = Array.from({ length: bands * h }, (_, y) => ({
      x: Math.min(y, 1), y: fontRow + y, width: 1 + w * perBand - Math.min(y, 1), height: 1,
    }));
    this.keep({ row: fontRow, role: "font", encoding: "glyphs", rows: bands * h, cols: width, rects: font });
    let codes: number[] = [];
    try {
      codes = [...readMatrix(this.p, text.row).data];
    } catch {
      codes = Array.from({ length: text.rows * text.cols }, () => 0);
    }
    const lines = Math.max(1, textLines(codes, Math.max(1, Math.floor(width / w))).length);
    const rows = Math.min(lines * h, height - canvasRow);
    this.keep({
      row: canvasRow, role: "canvas", encoding: "pixels", rows, cols: width,
      rects: [{ x: 0, y: canvasRow, width, height: rows }],
    });
  }
}

/** Character codes in lines of at most `perLine`, a new one after code 10. */
export function textLines(codes: Iterable<number>, perLine: number): number[][] {
  const lines: number[][] = [[]];
  for (const code of codes) {
    if (code === NEW_LINE) lines.push([]);
    else {
      if (lines[lines.length - 1]?.length === perLine) lines.push([]);
      lines[lines.length - 1]?.push(code);
    }
  }
  return lines;
}
