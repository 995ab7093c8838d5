/** A dialect 1 program on a GPU. */

import type { Picture as Pixels, ProgramInfo, Progress, Rect, RunOptions, Stop } from "../api.ts";
import { ProgramError } from "../machine/errors.ts";
import type { Held } from "../machine/held.ts";
import { type Program, readState } from "../machine/program1.ts";
import { STATE, STATUS } from "../machine/table.ts";
import { type Descriptor, tensorWords } from "../machine/tensor.ts";
import { changedRects, cut, meets, overlay } from "./changes.ts";
import { Common, type Encode } from "./common.ts";
import type { Gpu } from "./device.ts";
import { checkRounds } from "./groups.ts";
import { History } from "./history.ts";
import { layoutOf, Picture, scatter } from "./picture.ts";
import { Planned } from "./planned.ts";
import { decode, encode } from "../machine/values.ts";

const COMPARED = 1 << 20; // words of large tensors that are fetched to see what a run changed
const NAMES = { [STATUS.yielded]: "yielded", [STATUS.halted]: "halted" } as const;

export class TensorSession extends Common implements Held {
  private readonly history: History;
  private made = 0;
  /** Something else than the program ended the run. */
  private paused = false;
  private recording = true;

  private constructor(
    gpu: Gpu,
    info: ProgramInfo,
    private readonly opened: Pixels,
    private readonly tensors: Picture,
    private readonly planned: Planned,
    encode: Encode,
  ) {
    super(info, gpu.name, encode);
    planned.state.set(readState(opened, this.verified.stateStart));
    this.history = new History(gpu, tensors);
  }

  get verified(): Program {
    return this.tensors.program;
  }

  take({ index }: Descriptor): Promise<Uint32Array> {
    return this.alone(async () => (await this.tensors.words([index])).get(index)!);
  }

  give({ index }: Descriptor, words: Uint32Array): Promise<void> {
    return this.alone(async () => this.replace(index, words));
  }

  registers(): Promise<Int32Array> {
    return this.alone(async () => this.planned.state.slice());
  }

  setRegisters(words: Int32Array): Promise<void> {
    return this.alone(async () => this.planned.state.set(words));
  }

  proceed(): Promise<Stop> {
    return this.run();
  }

  /** From here on nothing before it can be gone back to. */
  record(wanted: boolean): void {
    this.recording = wanted;
    this.history.clear();
  }

  static async start(
    gpu: Gpu,
    opened: Pixels,
    info: ProgramInfo,
    program: Program,
    encode: Encode,
    progress?: Progress,
  ): Promise<TensorSession> {
    if (gpu.isSoftware) checkRounds(program, gpu.name);
    const told = (what: string) =>
      progress && ((done: number, whole: number) => progress(done, whole, what));
    const tensors = new Picture(gpu, opened, program, layoutOf(program));
    const planned = new Planned(gpu, program, tensors);
    try {
      await tensors.upload(told("upload"));
      await planned.prepare(told("shaders"));
    } catch (error) {
      planned.close();
      tensors.close();
      throw error;
    }
    return new TensorSession(gpu, info, opened, tensors, planned, encode);
  }

  protected async execute(options: RunOptions): Promise<Stop> {
    const look = this.recording && this.looking();
    if (look) await this.history.keep(this.made, this.planned.state);
    await this.go(options.maxSteps ?? Infinity, options);
    return this.standing(look ? await look() : []);
  }

  protected standing(changed: Rect[] = []): Stop {
    const { state } = this.planned;
    const status = NAMES[state[STATE.STATUS]!] ?? (this.paused ? "paused" : "ready");
    return { status, counter: state[STATE.PC]!, steps: state[STATE.STEPS]!, changed };
  }

  /** Runs so many steps at most. */
  private async go(maxSteps: number, { breakpoints = [], until, watch = [] }: RunOptions): Promise<void> {
    const stops = new Set(until === undefined ? breakpoints : [...breakpoints, until]);
    const watched = watch.length ? await this.watcher(watch) : undefined;
    const end = (ended: boolean): boolean => (this.paused ||= ended);
    this.paused = false;
    this.made += await this.planned.run({
      maxSteps,
      stopped: () => end(this.stopping),
      before: (counter) => end(stops.has(counter)),
      after: watched && (async (written) => end(await watched(written))),
    });
  }

  /** Says whether tensors just written have changed inside the rectangles. */
  private async watcher(
    rects: readonly Rect[],
  ): Promise<(written: ReadonlySet<number>) => Promise<boolean>> {
    const { width } = this.verified;
    const inside = this.tensors.loose.filter((d) => touches(d, width, rects));
    const fetched = () => this.tensors.words(inside.map((d) => d.index));
    let last = await fetched();
    return async (written) => {
      const touched = inside.filter((d) => written.has(d.index));
      if (!touched.length) return false;
      await this.planned.flush();
      const now = await fetched();
      const changed = touched.flatMap(({ index }) =>
        changedRects(this.verified.descriptors[index]!, width, last.get(index)!, now.get(index)!),
      );
      last = now;
      return changed.some((one) => rects.some((rect) => meets(one, rect)));
    };
  }

  /** Gives what says, after a run, which pixels it changed; of what is too much to compare, all. */
  private looking(): () => Promise<Rect[]> {
    const { planned, tensors } = this;
    const { width, stateStart, descriptors } = this.verified;
    const [then, registers] = [tensors.seen(), planned.state.slice()];
    planned.wrote.clear();
    return async () => {
      const wrote = [...planned.wrote].map((index) => descriptors[index]!);
      const missing = wrote.filter((d) => tensors.at(d.index) === undefined);
      const words = missing.reduce((sum, d) => sum + d.rows * d.rowWords, 0);
      if (words <= COMPARED) await tensors.words(missing.map((d) => d.index));
      const found = wrote.flatMap((d) => {
        const [before, now] = [then(d.index), tensors.at(d.index)];
        return before && now ? changedRects(d, width, before, now) : d.rects(width);
      });
      planned.state.forEach((word, number) => {
        if (word === registers[number]) return;
        const at = stateStart + number;
        found.push({ x: at % width, y: Math.floor(at / width), width: 1, height: 1 });
      });
      return found;
    };
  }

  protected async goBack(count: number): Promise<Stop> {
    const target = Math.max(this.made - count, 0);
    const look = this.looking();
    for (const index of this.tensors.changedTensors) this.planned.wrote.add(index);
    this.paused = false;
    this.made = this.history.restore(target, this.planned.state);
    for (const { steps, tensor, words } of this.history.since(this.made)) {
      await this.replay(steps);
      if (this.made === steps) this.tensors.put(tensor, words);
    }
    await this.replay(target);
    return this.standing(await look());
  }

  /** Goes on up to so many steps, past Yields, unless it is stopped. */
  private async replay(steps: number): Promise<void> {
    while (this.made < steps && !this.stopping) await this.go(steps - this.made, {});
  }

  protected async values(index: number): Promise<Float64Array> {
    const d = this.tensor(index);
    if (!this.tensors.layout.places.has(index)) return decode(tensorWords(this.opened, d, 0, d.rows), d);
    return decode((await this.tensors.words([index])).get(index)!, d);
  }

  protected async put(index: number, values: ArrayLike<number>): Promise<void> {
    this.replace(index, encode(values, this.tensor(index)));
  }

  private replace(index: number, words: Uint32Array): void {
    this.tensors.put(index, words);
    if (this.recording) this.history.note(this.made, index, words);
  }

  /** Throws for what is no tensor of the program. */
  private tensor(index: number): Descriptor {
    const found = this.verified.descriptors[index];
    if (!found?.isTensor) throw new ProgramError(`expected the number of a tensor; found ${index}`);
    return found;
  }

  protected async part(rect: Rect): Promise<Uint32Array> {
    const { width, descriptors, stateStart } = this.verified;
    const into = cut(this.opened.words, width, rect);
    const inside = [...this.tensors.changedTensors].filter((index) =>
      touches(descriptors[index]!, width, [rect]),
    );
    for (const [index, words] of await this.tensors.words(inside)) {
      overlay(rect, into, descriptors[index]!, width, words);
    }
    this.planned.state.forEach((word, number) => {
      const at = stateStart + number;
      const [x, y] = [(at % width) - rect.x, Math.floor(at / width) - rect.y];
      if (x >= 0 && x < rect.width && y >= 0 && y < rect.height) into[y * rect.width + x] = word;
    });
    return into;
  }

  protected async pixels(): Promise<Pixels> {
    const { width, descriptors, stateStart } = this.verified;
    const words = this.opened.words.slice();
    for (const [index, values] of await this.tensors.words(this.tensors.changedTensors)) {
      scatter(words, width, descriptors[index]!, values);
    }
    words.set(new Uint32Array(this.planned.state.buffer), stateStart);
    return { ...this.opened, words };
  }

  protected release(): void {
    this.history.close();
    this.planned.close();
    this.tensors.close();
  }
}

function touches(d: Descriptor, width: number, rects: readonly Rect[]): boolean {
  return d.rects(width).some((own) => rects.some((rect) => meets(own, rect)));
}
