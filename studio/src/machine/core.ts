/** What the two dialects' machines have in common, as the worker drives them. */

import type { ProgramInfo, Rect, Stop } from "../api.ts";

/** Why a machine let go: a Halt, a Yield or the steps wanted; its time; a breakpoint. */
export type Ended = "stopped" | "time" | "breakpoint";

export interface Place {
  status: Stop["status"];
  counter: number;
  steps: number;
}

/** What undoes a part of a run. */
export interface Undo {
  readonly bytes: number;
  /** Put the words back that were written since. */
  restore(): void;
  /** Pixels that differ now. */
  changed(): Rect[];
}

export interface Core {
  readonly info: ProgramInfo;
  readonly width: number;
  readonly height: number;
  /** The words as they are; not to be kept, since memory may move. */
  words(): Uint32Array;
  place(): Place;
  /**
   * Go on for so many steps, null for any number, until a time in milliseconds. `checked` false: a
   * breakpoint before the first instruction counts for nothing. `error`: the next one cannot be executed.
   */
  advance(limit: number | null, until: number, checked: boolean): { made: number; ended: Ended; error?: string };
  setBreakpoints(instructions: Iterable<number>): void;
  /** Keep from now on what undoes; the one before keeps what it has. */
  keep(): Undo;
  /** Keep nothing any more. */
  forget(): void;
  read(tensor: number): Float64Array;
  write(tensor: number, values: ArrayLike<number>): void;
  sha256(): string;
}
