import { SvelteSet } from "svelte/reactivity";
import { DeviceError, type Opened, type Picture, type ProgramInfo, PxvmError, type Rect, type RunOptions, type Session, type Stop, type TensorInfo } from "../../api.ts";
import { t } from "../strings.ts";
import * as rooms from "./rooms.ts";

export type Executor = "wasm" | "gpu";
/** Steps a second; Infinity for as many as there are. */
export type Pace = number;

/** A slice of a run takes about so many milliseconds, so that it is seen computing. */
const SLICE = 80;
/** Pictures of so many words are hashed without being asked. */
const HASHED = 2 ** 22;

const READY: Stop = { status: "ready", counter: 0, steps: 0, changed: [] };

/** A program that is run from the page: its machine, where it stands, and what has changed in the picture. */
export class Run {
  session = $state.raw<Session | null>(null);
  /** The pixels as they stand now, and the program in them; a model's grows when it is talked to. */
  picture = $state.raw<Picture>()!;
  program = $state.raw<ProgramInfo>()!;
  stop = $state.raw<Stop>(READY);
  /** A run, a step or a load is under way. */
  busy = $state(false);
  /** Steps a second of the run that is under way or was the last. */
  speed = $state(0);
  sha = $state("");
  executor = $state<Executor>("wasm");
  pace = $state<Pace>(Infinity);
  /** Grows whenever the picture has other pixels; `changed` says which, null that it may be all. */
  version = $state(0);
  changed = $state.raw<Rect[] | null>([]);
  readonly breakpoints = new SvelteSet<number>();
  /** Numbers of tensors. */
  readonly watches = new SvelteSet<number>();
  private wanted = false;
  private walking = false;
  private ahead: number[] = [];
  private closed = false;
  private making: Promise<Session> | null = null;

  constructor(
    private readonly opened: Opened,
    private readonly told: (error: unknown) => void,
  ) {
    this.picture = opened.picture;
    this.program = opened.program!;
  }

  /** The machine, made when it is first needed. */
  machine(): Promise<Session> {
    this.making ??= this.made().catch((error: unknown) => {
      this.making = null;
      throw error;
    });
    return this.making;
  }

  /** Another executor goes on where this one stands: with the very same pixels. */
  async choose(executor: Executor): Promise<void> {
    await this.guarded(async (session) => {
      this.picture.words.set((await session.picture()).words);
      await this.leave();
      this.executor = executor;
      await this.machine();
    });
  }

  /** A machine that somebody else made of this one, such as a chat with room for its words. */
  async adopt(session: Session): Promise<void> {
    if (session === this.session) return;
    if (this.closed) return session.close();
    if (this.session) await this.session.close();
    this.session = session;
    this.making = Promise.resolve(session);
    this.executor = session.executor === "wasm" ? "wasm" : "gpu";
    this.program = session.program;
    this.picture = this.opened.picture = await session.picture();
    this.opened.program = session.program;
  }

  run(until?: number): Promise<void> {
    return this.guarded(async (session) => {
      this.wanted = true;
      let slice = this.pace === Infinity ? 512 : 1;
      const begun = performance.now();
      let done = 0;
      // A run that begins where it would stop makes one step first.
      let options: RunOptions = this.halts(this.stop, until) ? { maxSteps: 1 } : this.options(slice, until);
      while (this.wanted) {
        const before = performance.now();
        const stop = await session.run(options);
        const steps = (stop.steps - this.stop.steps) >>> 0;
        const took = performance.now() - before;
        done += steps;
        this.speed = (done * 1000) / Math.max(1, performance.now() - begun);
        await this.seen(session, stop);
        if (stop.status !== "paused" && stop.status !== "ready") break;
        if (steps < options.maxSteps! || this.halts(stop, until)) break;
        if (this.pace === Infinity) slice = next(slice, took);
        else await pause(1000 / this.pace - (performance.now() - before));
        options = this.options(slice, until);
      }
    });
  }

  step(count = 1): Promise<void> {
    return this.walk(count);
  }

  back(count = 1): Promise<void> {
    return this.walk(-count);
  }

  /** Steps that are asked for while others are made come after them. */
  private async walk(by: number): Promise<void> {
    if (this.walking) {
      this.ahead.push(by);
      return;
    }
    if (this.busy) return;
    this.walking = true;
    await this.guarded(async (session) => {
      for (let next: number | undefined = by; next !== undefined; next = this.ahead.shift()) {
        await this.seen(session, next > 0 ? await session.step(next) : await session.back(-next));
      }
    });
    this.walking = false;
    this.ahead = [];
  }

  /** The tensor that holds what the last run has made, as far as it can be told: the last one written that is kept. */
  get result(): TensorInfo | undefined {
    const { changed } = this.stop;
    const kept = this.program.tensors.filter(({ role }) => role !== "constant" && role !== "scratch");
    return kept.findLast((tensor) => tensor.rects.some((rect) => changed.some((each) => meet(rect, each))));
  }

  /** As it was when it was opened. */
  async reset(open: () => Promise<Opened>): Promise<void> {
    await this.guarded(async () => {
      const again = await open();
      // The file may be another one by now: what is open stays then as it is.
      if (!again.program) throw new PxvmError(again.refused ?? t.run.another(again.name, again.kind));
      await this.leave();
      this.picture = this.opened.picture = again.picture;
      this.program = this.opened.program = again.program;
      this.stop = READY;
      this.sha = "";
      this.changed = null;
      this.version++;
      await this.machine();
    });
  }

  halt(): void {
    this.wanted = false;
    this.ahead = [];
    if (this.busy) this.session?.stop();
  }

  async write(tensor: number, values: number[]): Promise<void> {
    await this.guarded(async (session) => {
      await session.write(tensor, values);
      const rects = this.program.tensors.find((each) => each.index === tensor)?.rects ?? [];
      await this.seen(session, { ...this.stop, changed: rects });
    });
  }

  async hash(): Promise<void> {
    await this.guarded(async (session) => {
      this.sha = await session.sha256();
    });
  }

  /** Look again at what a run may have written: somebody else moved the machine, such as a chat. */
  async refresh(): Promise<void> {
    await this.guarded(async (session) => {
      const tensors = this.program.tensors;
      const changed = tensors.filter((each) => each.role !== "constant").flatMap((each) => each.rects);
      await this.seen(session, { ...(await session.step(0)), changed });
    });
  }

  async close(): Promise<void> {
    this.wanted = false;
    this.closed = true;
    await this.leave();
  }

  private async made(): Promise<Session> {
    const gpu = this.executor === "gpu" ? await this.onGpu() : null;
    const session = gpu ?? (await (await rooms.machine()).start(this.opened));
    // What was closed meanwhile has nobody who would close this.
    if (this.closed) await session.close();
    else this.session = session;
    return session;
  }

  private async onGpu(): Promise<Session | null> {
    try {
      return await (await rooms.gpu()).startGpu(this.opened);
    } catch (error) {
      this.executor = "wasm";
      this.told(error);
      return null;
    }
  }

  private async leave(): Promise<void> {
    const { session } = this;
    this.session = null;
    this.making = null;
    await session?.close();
  }

  /** A GPU has failed: what is shown is where the last run ended, and WebAssembly goes on from there. */
  async retreat(error: DeviceError): Promise<void> {
    await this.leave();
    this.executor = "wasm";
    this.told(error);
  }

  private options(maxSteps: number, until?: number): RunOptions {
    const watch = this.watched();
    return {
      maxSteps,
      ...(this.breakpoints.size && { breakpoints: [...this.breakpoints] }),
      ...(until !== undefined && { until }),
      ...(watch.length && { watch }),
    };
  }

  private watched(): Rect[] {
    const tensors = this.program.tensors;
    return tensors.filter((each) => this.watches.has(each.index)).flatMap((each) => each.rects);
  }

  /** Is this a place to stop at? */
  private halts(stop: Stop, until?: number): boolean {
    if (stop.counter === until || this.breakpoints.has(stop.counter)) return true;
    const watch = this.watched();
    return stop.changed.some((rect) => watch.some((each) => meet(rect, each)));
  }

  private async seen(session: Session, stop: Stop): Promise<void> {
    const { picture } = this;
    for (const rect of stop.changed) {
      const words = await session.words(rect);
      for (let y = 0; y < rect.height; y++) {
        const from = y * rect.width;
        picture.words.set(words.subarray(from, from + rect.width), (rect.y + y) * picture.width + rect.x);
      }
    }
    this.stop = stop;
    this.changed = stop.changed;
    this.version++;
    this.sha = "";
    if (stop.error) this.told(new Error(stop.error));
  }

  private async guarded(work: (session: Session) => Promise<void>): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    try {
      await work(await this.machine());
      const { width, height } = this.picture;
      if (!this.sha && this.session && width * height <= HASHED) this.sha = await this.session.sha256();
    } catch (error) {
      // What was under way when the file was closed ends so.
      if (this.closed) return;
      if (error instanceof DeviceError) await this.retreat(error);
      else this.told(error);
    } finally {
      this.busy = false;
      this.wanted = false;
    }
  }
}

function meet(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/** The next slice's steps, so that it takes about the time that it should. */
function next(slice: number, took: number): number {
  const better = slice * Math.min(8, Math.max(0.125, SLICE / Math.max(1, took)));
  return Math.max(1, Math.min(2 ** 30, Math.round(better)));
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));
}
