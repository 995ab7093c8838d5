/** A machine that is driven: runs in slices, so that it can be stopped, and goes back. */

import { type Cost, type Picture, type ProgramInfo, PxvmError, type Rect, type RunOptions, type Stop } from "../api.ts";
import type { Core, Undo } from "./core.ts";
import { Core0 } from "./core0.ts";
import { Core1 } from "./core1.ts";
import { encodePng } from "./encode.ts";
import { FORMAT, PNG } from "./table.ts";
import { code, Wasm } from "./wasm.ts";

/** Milliseconds between two looks at what the page wants. */
const SLICE = 40;
/** Milliseconds of a run after which a new part of it begins, which is gone back to. */
const PART = 500;
/** Bytes that may be kept to go back. */
const MOST_KEPT = 1 << 28;

interface Part {
  undo: Undo;
  /** Steps made before it. */
  from: number;
  /** The page wrote a tensor; no step was made. */
  written: boolean;
}

export class Runner {
  private made = 0;
  private parts: Part[] = [];
  private recording = true;
  private wanted = true;
  private error: string | undefined;

  private constructor(
    readonly core: Core,
    private readonly texts: Picture["texts"],
  ) {}

  /** Refused where the verifier refuses. */
  static async make(picture: Picture, name: string): Promise<Runner> {
    const one = picture.words[0] === FORMAT.magic;
    const core = one ? await Core1.make(picture, name) : await Core0.make(picture, name);
    return new Runner(core, picture.texts);
  }

  get program(): ProgramInfo {
    return this.core.info;
  }

  async run(options: RunOptions = {}): Promise<Stop> {
    this.wanted = true;
    const { maxSteps = null, until, watch = [] } = options;
    this.core.setBreakpoints([...(options.breakpoints ?? []), ...(until === undefined ? [] : [until])]);
    const begun = this.part(false);
    let left = maxSteps;
    let paused = false;
    let [since, looked] = [performance.now(), performance.now()];
    const watched = watch.length ? watch.map((rect) => this.words(rect)) : null;
    this.error = undefined;
    for (let first = true; first || left === null || left > 0; first = false) {
      if (performance.now() - since > PART) {
        this.part(false);
        since = performance.now();
      }
      const most = watched ? Math.min(1, left ?? 1) : left;
      const { made, ended, error } = this.core.advance(most, performance.now() + SLICE, !first);
      this.made += made;
      if (left !== null) left -= made;
      this.error = error;
      if (ended === "breakpoint" || (watched && watch.some((rect, i) => differ(this.words(rect), watched[i])))) {
        paused = true;
        break;
      }
      if (ended === "stopped" && (!watched || !made || this.core.place().status !== "ready")) break;
      if (ended === "time" || performance.now() - looked > SLICE) {
        await tick();
        looked = performance.now();
      }
      if (!this.wanted) {
        paused = true;
        break;
      }
    }
    return this.stopped(begun, paused);
  }

  async step(count = 1): Promise<Stop> {
    if (count > 0) return this.run({ maxSteps: count });
    return this.stopped(null, false);
  }

  /** What each instruction takes; nothing is kept meanwhile, so it cannot be gone back. */
  async profile(maxSteps: number): Promise<Cost[]> {
    this.wanted = true;
    const costs = new Map<number, Cost>();
    this.record(false);
    let since = performance.now();
    for (let left = maxSteps; left > 0 && this.wanted; left--) {
      const { counter } = this.core.place();
      const before = performance.now();
      const { made } = this.core.advance(1, Infinity, false);
      const now = performance.now();
      if (!made) break;
      this.made += made;
      const cost = costs.get(counter) ?? { index: counter, steps: 0, milliseconds: 0 };
      costs.set(counter, { index: counter, steps: cost.steps + 1, milliseconds: cost.milliseconds + now - before });
      if (this.core.place().status !== "ready") break;
      if (now - since > SLICE) {
        await tick();
        since = performance.now();
      }
    }
    this.record(true);
    return [...costs.values()];
  }

  stop(): void {
    this.wanted = false;
  }

  /** Go back so many steps, or as far as is known. */
  async back(count = 1): Promise<Stop> {
    const target = Math.max(this.made - count, 0);
    let changed: Rect[] = [];
    this.error = undefined;
    for (let last = this.parts[this.parts.length - 1]; last && this.made > target; last = this.parts[this.parts.length - 1]) {
      changed = [...changed, ...last.undo.changed()];
      last.undo.restore();
      this.parts.pop();
      const over = target - last.from;
      this.made = last.from;
      if (over > 0) {
        // What is as it was before the part may have been another in between.
        changed = [...changed, ...(await this.run({ maxSteps: over })).changed];
        break;
      }
    }
    this.keepAgain();
    return { ...this.stopped(null, false), changed };
  }

  /** What is written from now on belongs to a new part. */
  private keepAgain(): void {
    if (this.recording && this.parts.length) this.part(false);
  }

  /** A new part begins. */
  private part(written: boolean): Part | null {
    if (!this.recording) return null;
    const last = this.parts[this.parts.length - 1];
    // One in which nothing was done is not worth keeping.
    if (last && last.from === this.made && !last.written) this.parts.pop();
    const begun = { undo: this.core.keep(), from: this.made, written };
    this.parts.push(begun);
    let kept = this.parts.reduce((sum, part) => sum + part.undo.bytes, 0);
    while (kept > MOST_KEPT && this.parts.length > 1) kept -= this.parts.shift()?.undo.bytes ?? 0;
    return begun;
  }

  /** Nothing is kept to go back to any more, or it is again. */
  record(wanted: boolean): void {
    this.recording = wanted;
    this.parts = [];
    if (!wanted) this.core.forget();
  }

  /** Where it stands; what has changed since a part began. */
  private stopped(begun: Part | null, paused: boolean): Stop {
    const place = this.core.place();
    const since = begun ? this.parts.slice(Math.max(this.parts.indexOf(begun), 0)) : [];
    const changed = since.flatMap((part) => part.undo.changed());
    const status = this.error ? "failed" : paused && place.status === "ready" ? "paused" : place.status;
    return { ...place, status, changed, ...(this.error && { error: this.error }) };
  }

  async read(tensor: number): Promise<Float64Array> {
    return this.core.read(tensor);
  }

  async write(tensor: number, values: ArrayLike<number>): Promise<void> {
    this.part(true);
    this.core.write(tensor, values);
    this.part(false);
  }

  words(rect: Rect): Uint32Array {
    const { x, y, width, height } = rect;
    if (x < 0 || y < 0 || x + width > this.core.width || y + height > this.core.height) {
      throw new PxvmError(`pixels (${x}, ${y}) and ${width} x ${height} on are not inside the picture`);
    }
    const all = this.core.words();
    const found = new Uint32Array(width * height);
    for (let row = 0; row < height; row++) {
      const start = (y + row) * this.core.width + x;
      found.set(all.subarray(start, start + width), row * width);
    }
    return found;
  }

  async picture(): Promise<Picture> {
    const { width, height } = this.core;
    return { width, height, words: this.core.words().slice(), texts: this.texts };
  }

  /** A PNG as Python would save it; a large one as one that is mapped. */
  async save(): Promise<Uint8Array> {
    const picture = await this.picture();
    return encodePicture(picture);
  }

  async sha256(): Promise<string> {
    return this.core.sha256();
  }
}

/** A picture as a PNG: compressed, or mappable where its file is too large to be read whole. */
export async function encodePicture(picture: Picture): Promise<Uint8Array> {
  const { width, words } = picture;
  const large = words.byteLength > PNG.readWholeBytes && width <= PNG.maxMappableWidth;
  const parts = await encodePng(new Wasm(await code()), picture, large ? "mappable" : "compressed");
  const found = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let done = 0;
  for (const part of parts) {
    found.set(part, done);
    done += part.length;
  }
  return found;
}

function differ(a: Uint32Array, b: Uint32Array | undefined): boolean {
  return !b || a.some((word, i) => word !== b[i]);
}

/** Lets what the page sent come in. */
export function tick(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
