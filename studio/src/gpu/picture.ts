/**
 * A program's picture on a GPU: the words as they are, and beside them the tensors that may change.
 *
 * Those, and the small constants, lie row behind row in a buffer of their own; a tensor that is
 * written overlaps nothing else, so that this is no other program. What has changed is on the device,
 * and here as far as somebody has asked for it.
 */

import type { Picture as Pixels } from "../api.ts";
import { ProgramError } from "../machine/errors.ts";
import type { Program } from "../machine/program1.ts";
import { DTYPE, ROLE } from "../machine/table.ts";
import { type Descriptor, tensorWords } from "../machine/tensor.ts";
import type { Gpu } from "./device.ts";
import { FIELDS, NUMBERS as N, POWERS } from "./shaders.ts";

const CHUNK = 1 << 22; // words copied before the page has its turn

export interface Place {
  first: number;
  count: number;
}

/** Puts a tensor's words, row behind row, where they stand in a picture. */
export function scatter(words: Uint32Array, width: number, d: Descriptor, values: Uint32Array): void {
  const beside = d.per || 1; // rows that lie side by side, so that they are copied at once
  for (let row = 0; row < d.rows; row += beside) {
    const part = values.subarray(row * d.rowWords, Math.min(row + beside, d.rows) * d.rowWords);
    words.set(part, d.rowStart(row, width));
  }
}

/** What a program takes on a device, in words. */
export interface Layout {
  places: Map<number, Place>;
  /** Words of all tensors but weights, those in front included. */
  total: number;
  /** Where the constants begin among them. */
  constants: number;
  /** How far the small tensors that may change reach. */
  near: number;
}

function isPlaced(d: Descriptor): boolean {
  return d.dtype !== DTYPE.PARAMS && d.dtype !== DTYPE.I8 && d.dtype !== DTYPE.I4;
}

/** Small tensors that may change first: they are fetched all at once. */
export function layoutOf(program: Program): Layout {
  const places = new Map<number, Place>();
  const placed = program.descriptors.filter(isPlaced).map((d) => ({
    d,
    constant: d.role === ROLE.CONSTANT ? 1 : 0,
    count: d.rows * d.rowWords,
  }));
  placed.sort((a, b) => a.constant - b.constant || a.count - b.count || a.d.index - b.d.index);
  const layout: Layout = { places, total: N.FRONT, constants: N.FRONT, near: N.FRONT };
  for (const { d, constant, count } of placed) {
    places.set(d.index, { first: layout.total, count });
    layout.total += count;
    if (!constant) {
      layout.constants = layout.total;
      if (layout.total <= N.NEAR) layout.near = layout.total;
    }
  }
  return layout;
}

/** The records of all descriptors, as tensor.wgsl reads them, behind the powers of two. */
export function recordsOf(program: Program, { places }: Layout): Int32Array {
  const width = FIELDS.length;
  const table = new Int32Array(N.TABLE + width * program.descriptors.length);
  table.set(POWERS);
  const place = (link: number | null): number => (link === null ? -1 : places.get(link)!.first);
  for (const d of program.descriptors) {
    const at = N.TABLE + width * d.index;
    if (d.dtype === DTYPE.PARAMS) {
      table.set(d.parameters.map((word) => word | 0), at);
      table[at + FIELDS.indexOf("DTYPE")] = d.dtype; // no opcode has so many parameters
      continue;
    }
    const own = places.get(d.index);
    const values: Record<string, number> = {
      START: own ? own.first : d.start,
      ROW_WORDS: d.rowWords,
      ROWS: d.rows,
      COLS: d.cols,
      FRAC: d.frac,
      SCALE: place(d.scale),
      BIAS: place(d.bias),
      PER: own ? 1 : Math.max(d.per, 1),
      STRIDE: own
        ? d.rowWords
        : d.per
          ? program.width
          : Math.ceil(d.rowWords / program.width) * program.width,
      DTYPE: d.dtype,
      LENGTH: place(d.length),
    };
    [0, 1, 2, 3].forEach((axis) => (values[`E${axis}`] = d.extents[axis] ?? 1));
    FIELDS.forEach((field, number) => (table[at + number] = values[field]! | 0));
  }
  return table;
}

export class Picture {
  /** Tensors that may change. */
  readonly loose: Descriptor[];
  /** Scratch tensors. */
  readonly cleared: Descriptor[];
  tensors!: GPUBuffer;
  changing!: GPUBuffer;
  images: GPUBuffer[] = [];
  /** Bindings that the picture takes. */
  readonly windows: number;
  /** What is known here of tensors, where it is what the device has. */
  private readonly known = new Map<number, Uint32Array>();
  /** Tensors that are no longer as the picture that was opened has them. */
  private readonly changed = new Set<number>();

  constructor(
    private readonly gpu: Gpu,
    readonly opened: Pixels,
    readonly program: Program,
    readonly layout: Layout,
  ) {
    const words = opened.words.length;
    if (words > N.WINDOWS * gpu.window) {
      throw gpu.failure(`takes pictures of ${N.WINDOWS * gpu.window} pixels; found ${words}`);
    }
    this.windows = Math.max(Math.ceil(words / gpu.window), 1);
    this.loose = program.descriptors.filter((d) => isPlaced(d) && d.role !== ROLE.CONSTANT);
    this.cleared = program.descriptors.filter(
      (d) => d.role === ROLE.SCRATCH && d.dtype !== DTYPE.PARAMS,
    );
  }

  /** Makes the buffers, all of them before anything is copied, and fills them. */
  async upload(told?: (done: number, whole: number) => void): Promise<void> {
    const { gpu, layout, opened } = this;
    const words = opened.words;
    const parts = Array.from({ length: N.WINDOWS }, (_, number) =>
      Math.min(Math.max(words.length - number * gpu.window, 0), gpu.window),
    );
    const table = recordsOf(this.program, layout);
    await gpu.told("the picture", () => {
      this.changing = gpu.buffer(layout.total);
      this.tensors = gpu.buffer(table.length);
      this.images = parts.map((part) => gpu.buffer(part));
    });
    gpu.write(this.tensors, 0, table);
    for (const [number, part] of parts.entries()) {
      const first = number * gpu.window;
      for (let begin = 0; begin < part; begin += CHUNK) {
        const stop = Math.min(begin + CHUNK, part);
        gpu.write(this.images[number]!, begin, words.subarray(first + begin, first + stop));
        await gpu.done();
        told?.(first + stop, words.length);
      }
    }
    for (const [index, { first }] of layout.places) gpu.write(this.changing, first, this.original(index));
    await gpu.done();
  }

  /** The words of a tensor that has not changed: whoever shows the picture may draw on it what has. */
  private original(index: number): Uint32Array {
    const d = this.program.descriptors[index]!;
    return tensorWords(this.opened, d, 0, d.rows);
  }

  /** The device writes this tensor. */
  written(index: number): void {
    this.changed.add(index);
    this.known.delete(index);
  }

  /** The device has copied a tensor: a scalar that was known stays so, and with it the rows in use. */
  copied(out: Descriptor, from: Descriptor): void {
    const value = this.scalar(from);
    const scalars = [out, from].every((d) => d.flat === 1 && d.length === null);
    if (scalars && value !== undefined) this.known.set(out.index, Uint32Array.of(value));
  }

  /** The device has something else: nothing of what has ever changed is known. */
  forget(): void {
    for (const index of this.changed) this.known.delete(index);
  }

  /** What is known of the tensors now, for a comparison later. */
  seen(): (index: number) => Uint32Array | undefined {
    const [known, changed] = [new Map(this.known), new Set(this.changed)];
    return (index) => known.get(index) ?? (changed.has(index) ? undefined : this.original(index));
  }

  get changedTensors(): ReadonlySet<number> {
    return this.changed;
  }

  /** The words of a tensor where they need not be fetched. */
  at(index: number): Uint32Array | undefined {
    const known = this.known.get(index);
    if (known || this.changed.has(index)) return known;
    const words = this.original(index);
    if (words.length <= N.NEAR) this.known.set(index, words);
    return words;
  }

  /** The first element of an I32 tensor where it is known. */
  scalar(d: Descriptor): number | undefined {
    const known = this.known.get(d.index);
    if (known) return known[0]! | 0;
    return this.changed.has(d.index) ? undefined : this.opened.words[d.start]! | 0;
  }

  /** The words of a tensor; of several, neighbours are fetched at once. */
  async words(indexes: Iterable<number>): Promise<Map<number, Uint32Array>> {
    const found = new Map<number, Uint32Array>();
    const missing: (Place & { index: number })[] = [];
    for (const index of indexes) {
      const known = this.at(index);
      if (known) found.set(index, known);
      else missing.push({ index, ...this.layout.places.get(index)! });
    }
    missing.sort((a, b) => a.first - b.first);
    while (missing.length) {
      const begin = missing[0]!.first;
      let end = begin;
      let several = 0;
      for (const { first, count } of missing) {
        if (several && first - end > N.GAP) break;
        several += 1;
        end = first + count;
      }
      const words = await this.gpu.read(this.changing, begin, end - begin);
      for (const { index, first, count } of missing.splice(0, several)) {
        const own = words.slice(first - begin, first - begin + count);
        this.known.set(index, own);
        found.set(index, own);
      }
    }
    return found;
  }

  /** Replaces a tensor that may change. */
  put(index: number, words: Uint32Array): void {
    const place = this.layout.places.get(index);
    const d = this.program.descriptors[index];
    if (!place || !d || d.role === ROLE.CONSTANT) {
      throw new ProgramError(`${d?.called ?? index}: expected a tensor that may change; found a constant`);
    }
    this.gpu.write(this.changing, place.first, words);
    this.changed.add(index);
    this.known.set(index, words);
  }

  /** Marks and small tensors, once the device is done: (words in front, nothing else fetched). */
  async catchUp(): Promise<Uint32Array> {
    const words = await this.gpu.read(this.changing, 0, this.layout.near);
    for (const index of this.changed) {
      const { first, count } = this.layout.places.get(index)!;
      if (first + count <= this.layout.near) {
        this.known.set(index, words.slice(first, first + count));
      }
    }
    return words.subarray(0, N.FRONT);
  }

  close(): void {
    for (const buffer of [this.tensors, this.changing, ...this.images]) buffer?.destroy();
    this.known.clear();
  }
}
