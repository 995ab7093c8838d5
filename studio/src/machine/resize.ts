/**
 * Capacity chosen when a model is opened: rows of KV caches and of tokens in one execution. The tensors that
 * grow stand behind all others; rows of zeros are appended and their descriptors rewritten; pxvm/models/graph/resize.py.
 */

import type { Picture } from "../api.ts";
import { ProgramError } from "./errors.ts";
import { type Program, readState } from "./program1.ts";
import { FORMAT, STATE } from "./table.ts";
import { Descriptor, tensorWords } from "./tensor.ts";

const CACHES = /[kv]_cache$/;

/** The picture with other capacities; what its tensors hold is kept. */
export function resize(picture: Picture, program: Program, context: number, prompt: number): Picture {
  const { width } = program;
  const wanted = growing(program, context, prompt);
  if (!wanted.length) {
    throw new ProgramError("expected a program with caches or with tensors of length n; found none");
  }
  const old = (d: Descriptor) => program.descriptors[d.index] as Descriptor;
  const first = Math.min(...wanted.map((d) => Math.floor(old(d).start / width)));
  const indexes = new Set(wanted.map((d) => d.index));
  const fixed = program.descriptors.filter((d) => !indexes.has(d.index) && d.rowWords);
  if (fixed.some((d) => d.start >= first * width)) {
    throw new ProgramError("expected the tensors that grow behind all others; found one before");
  }
  const shelves = new Shelves(width, first);
  const placed = wanted.map((d) => {
    const [start, per] = shelves.put(d.rows, d.rowWords);
    return moved(d, d.extents, start, per);
  });
  const begun = readState(picture, program.stateStart)[STATE.STEPS] !== 0;
  const kept = placed.map((d) => (begun || !d.name.includes("cache") ? keptRows(picture, old(d), d) : null));
  if (begun) checkFits(picture, program, { position: context, n: prompt });
  const words = new Uint32Array(width * shelves.height);
  words.set(picture.words.subarray(0, first * width));
  placed.forEach((d, number) => {
    const at = program.tableStart + d.index * FORMAT.descriptorWords;
    words.set([...d.extents, ...Array<number>(4 - d.extents.length).fill(1), d.start, d.per], at + 1);
    const heads = kept[number] ?? [];
    heads.forEach((rows, head) => {
      const n = d.rowWords;
      for (let row = 0; row * n < rows.length; row++) {
        const start = d.rowStart(head * (d.rows / heads.length) + row, width);
        words.set(rows.subarray(row * n, (row + 1) * n), start);
      }
    });
  });
  return { width, height: shelves.height, words, texts: picture.texts };
}

function moved(d: Descriptor, extents: readonly number[], start: number, per: number): Descriptor {
  return new Descriptor(
    d.index, d.name, d.dtype, d.role, d.frac, extents, start, per, d.scale, d.bias, d.length, d.parameters,
  );
}

/** The tensors that grow, with their new extents, in the order of their descriptors. */
function growing(program: Program, context: number, prompt: number): Descriptor[] {
  return program.descriptors.flatMap((d) => {
    const [heads = 0, , columns = 0] = d.extents;
    if (CACHES.test(d.name) && d.extents.length === 3) return [moved(d, [heads, context, columns], d.start, d.per)];
    if (d.length !== null && program.descriptors[d.length]?.name === "n") {
      return [moved(d, [prompt, ...d.extents.slice(1)], d.start, d.per)];
    }
    return [];
  });
}

/** Refuse a smaller capacity that would lose tokens in use. */
function checkFits(picture: Picture, program: Program, capacities: Record<string, number>): void {
  for (const d of program.descriptors) {
    const capacity = capacities[d.name];
    const used = (picture.words[d.start] ?? 0) | 0;
    if (capacity !== undefined && used > capacity) {
      throw new ProgramError(`${used} tokens are in use (${d.name}); a capacity of ${capacity} loses some`);
    }
  }
}

/** Of each head the rows that have a place in both capacities. */
function keptRows(picture: Picture, old: Descriptor, now: Descriptor): Uint32Array[] {
  const heads = old.extents.length === 3 ? (old.extents[0] ?? 1) : 1;
  const both = Math.min(old.rows, now.rows) / heads;
  const words = tensorWords(picture, old, 0, old.rows);
  const size = words.length / heads;
  return Array.from({ length: heads }, (_, head) => {
    const start = head * size;
    return words.slice(start, start + both * old.rowWords);
  });
}

/** Places tensors: those of less than an image row side by side, others on rows of their own. */
class Shelves {
  private shelf = -1;
  private column: number;

  constructor(
    private readonly width: number,
    public height: number,
  ) {
    this.column = width;
  }

  /** First word, and tensor rows in an image row. */
  put(rows: number, words: number): [number, number] {
    const { width } = this;
    const start = this.height * width;
    if (words > width) {
      this.height += rows * Math.ceil(words / width);
      return [start, 0];
    }
    const per = Math.floor(width / words);
    if (rows * words > Math.floor(width / 2) || rows > per) {
      this.height += Math.ceil(rows / per);
      return [start, Math.min(per, rows)];
    }
    if (this.column + rows * words > width) {
      [this.shelf, this.column] = [this.height, 0];
      this.height += 1;
    }
    const place = this.shelf * width + this.column;
    this.column += rows * words;
    return [place, rows];
  }
}
