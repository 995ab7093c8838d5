/** The generation loop: tokens into a model's program, tokens out; pxvm/models/generation.py. */

import { type ChatMessage, type Picture, PxvmError, RoomError, type Sampling, type Token } from "../api.ts";
import type { TensorSession as GpuRunner } from "../gpu/session.ts";
import { ProgramError } from "./errors.ts";
import { type Held, InWasm } from "./held.ts";
import { isModel } from "./opening.ts";
import type { Program } from "./program1.ts";
import { resize } from "./resize.ts";
import { Runner, tick } from "./runner.ts";
import { STATE } from "./table.ts";
import { type Descriptor, shapeText } from "./tensor.ts";
import { verify } from "./verifier1.ts";
import { code, Wasm } from "./wasm.ts";
import { Words } from "./words.ts";

/** Tokens in one execution; those that a conversation holds at most. */
const PROMPT = 512;
const CONTEXT = 2048;
const LIKELY = 8;
/** Multiplications of one instruction at most, so that a prompt can be stopped. */
const WORK = 2 ** 30;

/** As `pxvm.models.generation.Sampling` has them. */
const DEFAULTS = { temperature: 0, topP: 1, topK: 40, penalty: 1, seed: 0, maxTokens: 512 };

export interface Said {
  text: string;
  tokens: number;
  cut: boolean;
  seconds: number;
}

export class Talker {
  private wanted = true;
  /** Tokens that are taken in at a time. */
  private readonly part: number;

  private constructor(
    /** What the page drives between two answers. */
    readonly runner: Runner | GpuRunner,
    private readonly held: Held,
    readonly words: Words,
    readonly context: number,
  ) {
    const vocabulary = this.field("logits").cols; // its weight is for one token only, the last
    const weights = held.verified.descriptors.filter((d) => d.scale !== null && d.rows !== vocabulary);
    const most = Math.max(1, ...weights.map((d) => d.flat));
    this.part = Math.min(this.field("ids").rows, Math.max(1, Math.floor(WORK / most)));
  }

  /** A model with room for a conversation, in WebAssembly or on the GPU. */
  static async make(picture: Picture, name: string, onGpu: boolean): Promise<Talker> {
    const program = verify(picture);
    if (!isModel(program)) {
      throw new PxvmError("expected a language model; found another program: use its run");
    }
    const words = Words.load(new Wasm(await code()), picture, program, name);
    const limit = (program.descriptors.find((d) => d.name === "rope") as Descriptor).rows;
    const grown = resize(picture, program, Math.min(CONTEXT, limit), Math.min(PROMPT, limit));
    const [runner, held] = onGpu ? await gpuOf(grown, name) : await wasmOf(grown, name);
    const cache = held.verified.descriptors.find((d) => d.name.endsWith("k_cache"));
    return new Talker(runner, held, words, Math.min(cache?.extents[1] ?? limit, limit));
  }

  private get program(): Program {
    return this.held.verified;
  }

  private field(name: string): Descriptor {
    const found = this.program.descriptors.find((d) => d.name === name);
    if (!found) throw new ProgramError(`expected a tensor called '${name}' in the image; found none`);
    return found;
  }

  private async get(name: string): Promise<number> {
    return ((await this.held.take(this.field(name)))[0] ?? 0) | 0;
  }

  /** Write the first rows of a tensor of one column, or of one row. */
  private async set(name: string, ...values: number[]): Promise<void> {
    const d = this.field(name);
    const words = (await this.held.take(d)).slice();
    if (values.length > words.length) {
      throw new ProgramError(`${name}: expected room for ${values.length} values; found ${shapeText(d.extents)}`);
    }
    words.set(values);
    await this.held.give(d, words);
  }

  private async rows(name: string, count: number): Promise<number[]> {
    const d = this.field(name);
    return [...(await this.held.take(d)).subarray(0, count * d.rowWords)];
  }

  stop(): void {
    this.wanted = false;
    this.held.stop();
  }

  /** What a model answers to a conversation; `told` hears each token. */
  async answer(messages: ChatMessage[], sampling: Sampling, told: (token: Token | null) => void): Promise<Said> {
    this.wanted = true;
    const begun = performance.now();
    const settings = { ...DEFAULTS, ...sampling };
    const ids = this.fitting(messages, settings.maxTokens);
    told(null); // the text is cut: from here on nothing takes long that cannot be stopped
    this.held.record(false);
    try {
      return { ...(await this.tokens(ids, settings, told)), seconds: (performance.now() - begun) / 1000 };
    } finally {
      this.held.record(true);
    }
  }

  private async tokens(
    ids: number[], settings: typeof DEFAULTS, told: (token: Token) => void,
  ): Promise<Omit<Said, "seconds">> {
    await this.rewind(ids);
    await this.setSampler(settings);
    const stream = this.words.stream();
    let tokens = 0;
    let cut = true;
    let drawing = await this.feed(ids.slice(await this.get("position")));
    while (drawing) {
      const id = await this.get("token");
      tokens += 1;
      const ended = this.words.stops.has(id);
      told({ id, text: ended ? "" : stream.put(id), likely: await this.likely() });
      if (ended) cut = false;
      if (ended || tokens >= settings.maxTokens || (await this.get("position")) >= this.context) break;
      drawing = await this.proceed();
    }
    stream.finish();
    return { text: stream.text, tokens, cut: cut && this.wanted };
  }

  /** Tokens of a conversation that fits with room for an answer, oldest turns left out. */
  private fitting(messages: ChatMessage[], maxTokens: number): number[] {
    const room = this.context - Math.min(maxTokens, Math.floor(this.context / 4));
    const kept = [...messages];
    if (!kept.length) throw new PxvmError("expected at least one message; found none");
    for (;;) {
      const ids = this.words.conversation(kept);
      if (ids.length <= room) return ids;
      const first = kept.findIndex((message) => message.role !== "system");
      const turn = first < 0 ? -1 : kept.findIndex((message, i) => i > first && message.role === "user");
      if (turn < 0) {
        throw new RoomError(
          `the last message takes ${ids.length} tokens; expected at most ${room} in a` +
            ` context of ${this.context}: shorten it, or open the model with more`,
        );
      }
      kept.splice(first, turn - first);
    }
  }

  /** Keep what the caches and `ids` have in common, except the last of them. */
  private async rewind(ids: readonly number[]): Promise<void> {
    const taken = await this.rows("history", await this.get("position"));
    let common = 0;
    while (common < ids.length - 1 && taken[common] === ids[common]) common += 1;
    for (const name of ["position", "history_length", "seen"]) await this.set(name, common);
    for (const name of ["count", "output_length", "masked"]) await this.set(name, 0);
    const state = await this.held.registers();
    const base = state[state[STATE.LOOPS] ? STATE.LOOP_STACK + 3 : STATE.BASE] ?? 0;
    state.fill(0);
    state[STATE.BASE] = base;
    await this.held.setRegisters(state);
  }

  private async setSampler(settings: typeof DEFAULTS): Promise<void> {
    const fixed = { temperature: settings.temperature, top_p: settings.topP, penalty: settings.penalty };
    for (const [name, value] of Object.entries(fixed)) {
      await this.set(name, roundHalfEven(value * 2 ** this.field(name).frac));
    }
    const registers = await this.held.registers();
    registers.fill(0, STATE.SATURATED, STATE.CLAMPED + 1);
    await this.held.setRegisters(registers);
    await this.set("top_k", settings.topK);
    const state = nextRandom(nextRandom(0n) + BigInt(Math.trunc(settings.seed)));
    await this.set("random", Number(state & 0xffffffffn), Number(state >> 32n));
  }

  /** Take tokens in, in parts, and draw the next one; false where it was stopped. */
  private async feed(ids: readonly number[]): Promise<boolean> {
    const { part } = this;
    for (let first = 0; first < ids.length; first += part) {
      const some = ids.slice(first, first + part);
      await this.set("ids", ...some);
      await this.set("count", some.length);
      await this.set("answer", first + some.length === ids.length ? 1 : 0);
      if (!(await this.proceed())) return false;
    }
    return true;
  }

  /** Run to the next Yield; false where it was stopped. */
  private async proceed(): Promise<boolean> {
    await tick(); // a small model's tokens come without a pause in which a stop would be heard
    if (!this.wanted) return false;
    return (await this.held.proceed()).status !== "paused";
  }

  /** The likeliest tokens at the logits as they are. */
  private async likely(): Promise<Token["likely"]> {
    const d = this.field("logits");
    const logits = new Int32Array((await this.held.take(d)).slice().buffer);
    let best: number[] = [];
    let least = -Infinity;
    logits.forEach((value, id) => {
      if (best.length === LIKELY && value <= least) return;
      best = [...best, id].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0)).slice(0, LIKELY);
      if (best.length === LIKELY) least = logits[best[LIKELY - 1] ?? 0] ?? 0;
    });
    const unit = 2 ** -d.frac;
    const top = logits[best[0] ?? 0] ?? 0;
    const sum = logits.reduce((total, value) => total + Math.exp((value - top) * unit), 0);
    return best.map((id) => ({
      id,
      text: this.words.decode([id], true),
      probability: Math.exp(((logits[id] ?? 0) - top) * unit) / sum,
    }));
  }
}

async function wasmOf(picture: Picture, name: string): Promise<[Runner, Held]> {
  const runner = await Runner.make(picture, name);
  return [runner, new InWasm(runner)];
}

async function gpuOf(picture: Picture, name: string): Promise<[GpuRunner, Held]> {
  const { startHere } = await import("../gpu/here.ts");
  const runner = await startHere(picture, name);
  return [runner, runner];
}

/** Like NumPy's `rint`. */
function roundHalfEven(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

/** The state of PCG32 behind this one. */
function nextRandom(state: bigint): bigint {
  return BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
}
