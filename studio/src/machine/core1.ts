/** A program of dialect 1 in WebAssembly's memory. */

import type { Picture, ProgramInfo, Rect } from "../api.ts";
import { decode, encode } from "./values.ts";
import type { Core, Ended, Place, Undo } from "./core.ts";
import { ProgramError } from "./errors.ts";
import { info1 } from "./info.ts";
import { operandsOf, type Program } from "./program1.ts";
import { digest } from "./sha.ts";
import { FORMAT, opcodesOf, STATUS } from "./table.ts";
import { Descriptor, tensorWords } from "./tensor.ts";
import { verify } from "./verifier1.ts";
import { code, Wasm } from "./wasm.ts";

/** As assembly/tensor.ts lays out a descriptor, and assembly/run.ts an opcode's modes. */
const DESCRIPTOR_BYTES = 128;
const PARAMETERS_AT = 20;
const MODE_BYTES = 16;
/** Bytes behind the picture, where rows of whole vectors may be read beyond their end. */
const SLACK = 128;

const ENDED: Ended[] = ["stopped", "time", "breakpoint"];

export class Core1 implements Core {
  readonly info: ProgramInfo;
  readonly width: number;
  readonly height: number;
  private readonly at: number;
  private readonly texts: Picture["texts"];
  private readonly wasm: Wasm;
  private undo: Saved | null = null;

  private constructor(module: WebAssembly.Module, picture: Picture, name: string, readonly program: Program) {
    this.info = info1(picture, program, name);
    [this.width, this.height, this.texts] = [picture.width, picture.height, picture.texts];
    this.wasm = new Wasm(module, {
      now: () => performance.now(),
      saving: (index) => this.undo?.save(index),
    });
    const { wasm } = this;
    const area = picture.words.length;
    this.at = wasm.take(4 * area + SLACK, "the program");
    wasm.words(this.at, area).set(picture.words);
    const { descriptors, instructions } = program;
    const table = wasm.take(DESCRIPTOR_BYTES * descriptors.length, "the program");
    for (const d of descriptors) {
      const { buffer, byteOffset } = wasm.words(table + DESCRIPTOR_BYTES * d.index, 32);
      fillDescriptor(new Int32Array(buffer, byteOffset, 32), d, picture.width);
    }
    const match = wasm.take(4 * instructions.length, "the program");
    const matches = wasm.words(match, instructions.length);
    for (const [loop, end] of program.match) matches[loop] = end;
    const modes = wasm.take(256 * MODE_BYTES, "the program");
    wasm.bytes(modes, 256 * MODE_BYTES).set(modeTable());
    const scratch = wasm.take(this.info.memory - 4 * area + 4096, "the program");
    const start = (word: number) => this.at + 4 * word;
    wasm.functions.bind(
      this.at, picture.width, table, descriptors.length, start(program.codeStart), instructions.length,
      match, modes, start(program.stateStart), scratch,
    );
    this.forget();
  }

  /** Refused where the verifier refuses. */
  static async make(picture: Picture, name: string): Promise<Core1> {
    return new Core1(await code(), picture, name, verify(picture));
  }

  words(): Uint32Array {
    return this.wasm.words(this.at, this.width * this.height);
  }

  picture(): Picture {
    return { width: this.width, height: this.height, words: this.words(), texts: this.texts };
  }

  place(): Place {
    const s = this.state();
    const [counter = 0, , status, steps = 0] = s;
    const names = { [STATUS.ready]: "ready", [STATUS.yielded]: "yielded", [STATUS.halted]: "halted" } as const;
    return { status: names[status ?? 0] ?? "ready", counter, steps };
  }

  state(): Int32Array {
    const words = this.words();
    return new Int32Array(words.buffer, words.byteOffset + 4 * this.program.stateStart, FORMAT.stateWords);
  }

  advance(limit: number | null, until: number, checked: boolean): { made: number; ended: Ended } {
    const { functions } = this.wasm;
    const ended = functions.run(Math.min(limit ?? -1, 2 ** 31 - 1), until, checked ? 1 : 0);
    return { made: functions.steps(), ended: ENDED[ended] ?? "stopped" };
  }

  setBreakpoints(instructions: Iterable<number>): void {
    const flags = this.flags(this.wasm.functions.breakpoints(), this.program.instructions.length);
    flags.fill(0);
    for (const index of instructions) if (index < flags.length) flags[index] = 1;
  }

  private flags(at: number, count: number): Uint8Array {
    return this.wasm.bytes(at, count);
  }

  keep(): Undo {
    this.flags(this.wasm.functions.saved(), this.program.descriptors.length).fill(0);
    this.undo = new Saved(this, this.state().slice());
    return this.undo;
  }

  forget(): void {
    this.flags(this.wasm.functions.saved(), this.program.descriptors.length).fill(1);
    this.undo = null;
  }

  private tensor(index: number): Descriptor {
    const d = this.program.descriptors[index];
    if (!d?.isTensor) throw new ProgramError(`expected the number of a tensor; found ${index}`);
    return d;
  }

  read(index: number): Float64Array {
    const d = this.tensor(index);
    return decode(tensorWords(this.picture(), d, 0, d.rows), d);
  }

  write(index: number, values: ArrayLike<number>): void {
    const d = this.tensor(index);
    const words = encode(values, d);
    if (d.roleName === "constant") throw new ProgramError(`${d.called}: expected a tensor that may change; found a constant`);
    this.undo?.save(index);
    this.put(d, words);
  }

  /** Put the words of all rows of a tensor. */
  put(d: Descriptor, words: Uint32Array): void {
    const mine = this.words();
    const n = d.rowWords;
    for (let row = 0; row < d.rows; row++) {
      mine.set(words.subarray(row * n, (row + 1) * n), d.rowStart(row, this.width));
    }
  }

  putState(state: Int32Array): void {
    this.state().set(state);
  }

  stateRects(): Rect[] {
    const { stateStart } = this.program;
    const length = FORMAT.stateWords;
    const found: Rect[] = [];
    for (let done = 0; done < length; ) {
      const x = (stateStart + done) % this.width;
      const count = Math.min(this.width - x, length - done);
      found.push({ x, y: Math.floor((stateStart + done) / this.width), width: count, height: 1 });
      done += count;
    }
    return found;
  }

  sha256(): string {
    return digest(this.wasm, this.at, this.width, this.height);
  }
}

/** What stood in tensors before they were first written, and in the registers. */
class Saved implements Undo {
  bytes = 4 * FORMAT.stateWords;
  private readonly before = new Map<number, Uint32Array>();

  constructor(
    private readonly core: Core1,
    private readonly state: Int32Array,
  ) {}

  save(index: number): void {
    if (this.before.has(index)) return;
    const d = this.core.program.descriptors[index] as Descriptor;
    const words = tensorWords(this.core.picture(), d, 0, d.rows);
    this.before.set(index, words);
    this.bytes += words.byteLength;
  }

  restore(): void {
    for (const [index, words] of this.before) this.core.put(this.core.program.descriptors[index] as Descriptor, words);
    this.core.putState(this.state);
  }

  changed(): Rect[] {
    const found = this.core.stateRects();
    for (const [index, before] of this.before) {
      const d = this.core.program.descriptors[index] as Descriptor;
      const now = tensorWords(this.core.picture(), d, 0, d.rows);
      const n = d.rowWords;
      const differs = (row: number) => {
        for (let i = row * n; i < (row + 1) * n; i++) if (before[i] !== now[i]) return true;
        return false;
      };
      let first = 0;
      while (first < d.rows && !differs(first)) first++;
      let last = d.rows - 1;
      while (last > first && !differs(last)) last--;
      if (first < d.rows) found.push(...rowRects(d, first, last, this.core.width));
    }
    return found;
  }
}

/** Rectangles of tensor rows from one to another; whole image rows of them where there are several. */
function rowRects(d: Descriptor, first: number, last: number, width: number): Rect[] {
  const n = d.rowWords;
  if (!d.per) {
    const part = new Descriptor(
      d.index, d.name, d.dtype, d.role, d.frac, [last - first + 1, d.cols], d.rowStart(first, width), 0, null, null, null, [],
    );
    return part.rects(width);
  }
  const [x, y] = [d.start % width, Math.floor(d.start / width)];
  const [top, bottom] = [Math.floor(first / d.per), Math.floor(last / d.per)];
  const left = top === bottom ? first % d.per : 0;
  const right = top === bottom ? (last % d.per) + 1 : Math.min(d.per, d.rows);
  return [{ x: x + left * n, y: y + top, width: (right - left) * n, height: bottom - top + 1 }];
}

function fillDescriptor(words: Int32Array, d: Descriptor, width: number): void {
  const link = (index: number | null) => index ?? -1;
  words.set([
    d.dtype, d.role, d.frac, d.cols, d.rows, d.start, d.per, d.rowWords, link(d.scale), link(d.bias), link(d.length),
    ...[0, 1, 2, 3].map((axis) => d.extents[axis] ?? 1), Math.ceil(d.rowWords / width) * width, d.extents.length,
  ]);
  words.set(d.parameters, PARAMETERS_AT);
}

/** For each opcode what G, B, A and the parameters name: 1 a tensor read, 2 one written, 3 a block. */
function modeTable(): Uint8Array {
  const found = new Uint8Array(256 * MODE_BYTES);
  for (const [byte, op] of opcodesOf(1)) {
    const modes = [...op.operands, ...op.parameters.map((parameter) => parameter.mode)];
    modes.forEach((mode, n) => {
      const value = mode.names === "BLOCK" ? 3 : mode.names !== "TENSOR" ? 0 : mode.writes ? 2 : 1;
      found[byte * MODE_BYTES + n] = value;
    });
  }
  return found;
}

/** Bytes that the largest instruction works in, besides the picture. */
export function workBytes(program: Program): number {
  let most = 0;
  for (const [index, base] of program.visits) {
    const i = program.instructions[index];
    if (!i || i.op.flow !== "NEXT") continue;
    const { tensors, named } = operandsOf(program, i, base);
    const all = [...tensors, ...Object.values(named).filter((value) => value instanceof Descriptor)];
    // Products hold 32 rows in 64 bits and in 16; the others a few rows.
    const products = ["Linear", "MatMul", "Conv2D"].includes(i.op.name);
    const cols = Math.max(0, ...all.map((d) => d.cols));
    most = Math.max(most, cols * (products ? 400 : 40));
  }
  return most + (1 << 16) + program.descriptors.length * (DESCRIPTOR_BYTES + 2) + 8 * program.instructions.length;
}
