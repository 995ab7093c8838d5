/** A model's program as the one who talks holds it: in WebAssembly, or on a GPU. */

import type { Stop } from "../api.ts";
import type { Core1 } from "./core1.ts";
import type { Program } from "./program1.ts";
import type { Runner } from "./runner.ts";
import { type Descriptor, tensorWords } from "./tensor.ts";

export interface Held {
  readonly verified: Program;
  /** All words of a tensor, row by row. */
  take(d: Descriptor): Promise<Uint32Array>;
  give(d: Descriptor, words: Uint32Array): Promise<void>;
  registers(): Promise<Int32Array>;
  setRegisters(words: Int32Array): Promise<void>;
  /** Goes on to the next Yield. */
  proceed(): Promise<Stop>;
  stop(): void;
  /** Whether what is done is kept to be gone back. */
  record(wanted: boolean): void;
}

export class InWasm implements Held {
  private readonly core: Core1;

  constructor(private readonly runner: Runner) {
    this.core = runner.core as Core1;
  }

  get verified(): Program {
    return this.core.program;
  }

  async take(d: Descriptor): Promise<Uint32Array> {
    return tensorWords(this.core.picture(), d, 0, d.rows);
  }

  async give(d: Descriptor, words: Uint32Array): Promise<void> {
    this.core.put(d, words);
  }

  async registers(): Promise<Int32Array> {
    return this.core.state().slice();
  }

  async setRegisters(words: Int32Array): Promise<void> {
    this.core.putState(words);
  }

  proceed(): Promise<Stop> {
    return this.runner.run();
  }

  stop(): void {
    this.runner.stop();
  }

  record(wanted: boolean): void {
    this.runner.record(wanted);
  }
}
