/** A program of dialect 0; its words stand in an array of their own. */

import { type Picture, type ProgramInfo, PxvmError, type Rect } from "../api.ts";
import type { Core, Ended, Place, Undo } from "./core.ts";
import { parse0, type Program0 } from "./dialect0.ts";
import { ExecutionError, ProgramError } from "./errors.ts";
import type { Instruction } from "./instruction.ts";
import { info0 } from "./info.ts";
import { firstColumn, Pixels, readMatrix, readVectors, valuesOf } from "./matrix.ts";
import { execute } from "./run0.ts";
import { digestOf } from "./sha.ts";
import { code, Wasm } from "./wasm.ts";

/** Steps that a run makes where nobody says how many. */
export const MOST_STEPS = 1024;

export class Core0 implements Core {
  readonly info: ProgramInfo;
  private readonly program: Program0;
  readonly pixels: Pixels;
  private readonly breaks = new Set<number>();
  /** The instruction under way, where it takes long. */
  private going: Generator<void> | null = null;
  private steps = 0;
  private failed: string | undefined;

  private constructor(
    private readonly module: WebAssembly.Module,
    picture: Picture,
    name: string,
  ) {
    this.program = parse0(picture);
    this.info = info0(picture, this.program, name);
    this.pixels = new Pixels({ ...picture, words: picture.words.slice() });
  }

  static async make(picture: Picture, name: string): Promise<Core0> {
    return new Core0(await code(), picture, name);
  }

  get width(): number {
    return this.pixels.width;
  }

  get height(): number {
    return this.pixels.height;
  }

  words(): Uint32Array {
    return this.pixels.picture.words;
  }

  /** The instruction that comes next, unless the program has ended. */
  get next(): Instruction | undefined {
    const next = this.program.instructions[this.steps];
    return next && next.op.flow !== "HALT" ? next : undefined;
  }

  /** Why the last instruction could not be executed. */
  get error(): string | undefined {
    return this.failed;
  }

  /** Somebody else has executed the next instruction, or could not. */
  performed(error?: string): void {
    if (error === undefined) this.steps += 1;
    else this.failed = error;
  }

  place(): Place {
    const status = this.failed ? "failed" : this.next ? "ready" : "halted";
    return { status, counter: Math.min(this.steps, this.program.instructions.length - 1), steps: this.steps };
  }

  advance(limit: number | null, until: number, checked: boolean): { made: number; ended: Ended; error?: string } {
    let made = 0;
    const most = limit ?? MOST_STEPS;
    for (let next = this.next; next && made < most; next = this.next) {
      if ((made || checked) && !this.going && this.breaks.has(this.steps)) return { made, ended: "breakpoint" };
      this.going ??= execute(this.pixels, next);
      try {
        while (!this.going.next().done) if (performance.now() > until) return { made, ended: "time" };
      } catch (error) {
        this.going = null;
        if (!(error instanceof ExecutionError)) throw error;
        this.failed = error.message;
        return { made, ended: "stopped", error: error.message };
      }
      this.going = null;
      this.steps += 1;
      made += 1;
      if (performance.now() > until) return { made, ended: "time" };
    }
    return { made, ended: "stopped" };
  }

  setBreakpoints(instructions: Iterable<number>): void {
    this.breaks.clear();
    for (const index of instructions) this.breaks.add(index);
  }

  keep(): Undo {
    const before = this.words().slice();
    const steps = this.steps;
    return {
      bytes: before.byteLength,
      restore: () => {
        this.words().set(before);
        [this.steps, this.going, this.failed] = [steps, null, undefined];
      },
      changed: () => difference(before, this.words(), this.width),
    };
  }

  forget(): void {
    this.going = null;
  }

  private region(row: number) {
    const found = this.program.regions.find((region) => region.row === row);
    if (!found) throw new ProgramError(`expected the row of a matrix; found ${row}`);
    return found;
  }

  read(row: number): Float64Array {
    const { role, rows, cols } = this.region(row);
    const p = this.pixels;
    if (role === "scalar") return new Float64Array([p.get(0, row) | (p.get(0, row, 1) << 8)]);
    if (role === "vector") return Float64Array.from({ length: cols }, (_, x) => p.get(x, row));
    if (role === "matrix") {
      try {
        const m = readMatrix(p, row);
        if (m.rows === rows && m.cols === cols) return valuesOf(m);
      } catch {
        // What is not computed yet reads as zeros.
      }
      return new Float64Array(rows * cols);
    }
    return Float64Array.from({ length: rows * p.width }, (_, n) => {
      const at = 4 * (row * p.width + n);
      return (p.bytes[at] ?? 0) + (p.bytes[at + 1] ?? 0) + (p.bytes[at + 2] ?? 0);
    });
  }

  write(row: number, values: ArrayLike<number>): void {
    const { role } = this.region(row);
    if (role !== "matrix" && role !== "vector") throw new PxvmError(`row ${row}: expected a matrix to write to; found a ${role}`);
    const m = role === "matrix" ? readMatrix(this.pixels, row) : readVectors(this.pixels, row)[0];
    if (!m || values.length !== m.data.length) {
      throw new PxvmError(`row ${row}: expected ${m?.data.length ?? 0} values; found ${values.length}`);
    }
    const bytes = Array.from(values, (value) => Math.round((value - m.offset) * m.scale));
    const wrong = bytes.findIndex((byte) => !(byte >= 0 && byte <= 255));
    if (wrong >= 0) throw new PxvmError(`row ${row}: value ${wrong} is ${values[wrong]}, which does not fit`);
    const first = firstColumn(m.encoding);
    let [x, y] = [first, row];
    for (const byte of bytes) {
      this.pixels.bytes[this.pixels.at(x, y)] = byte;
      if (++x === this.width) [x, y] = [first, y + 1];
    }
  }

  sha256(): string {
    return digestOf(new Wasm(this.module), this.words(), this.width, this.height);
  }
}

/** Runs of changed pixels, one a row. */
function difference(before: Uint32Array, now: Uint32Array, width: number): Rect[] {
  const found: Rect[] = [];
  for (let y = 0; y * width < now.length; y++) {
    const start = y * width;
    let first = 0;
    while (first < width && before[start + first] === now[start + first]) first++;
    if (first === width) continue;
    let last = width - 1;
    while (before[start + last] === now[start + last]) last--;
    found.push({ x: first, y, width: last - first + 1, height: 1 });
  }
  return found;
}
