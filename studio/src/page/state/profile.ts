import type { InstructionInfo } from "../../api.ts";
import type { Profile } from "../../memory/server.ts";
import { extent } from "./fold.ts";
import type { Run } from "./run.svelte.ts";

/** What was measured of one instruction. */
export interface Cost {
  steps: number;
  milliseconds: number;
}

export interface Measured {
  on: string;
  steps: number;
  milliseconds: number;
  /** By the instruction's number. */
  costs: Map<number, Cost>;
}

/** A part of the flame: an instruction, a loop with what is in it, or the whole program. */
export interface Frame {
  index: number;
  letter: string;
  name: string;
  steps: number;
  milliseconds: number;
  children: Frame[];
}

/** Run one instruction at a time up to the next stop, and add up what each takes. */
export async function measure(run: Run, most: number, told: (steps: number) => boolean): Promise<Measured> {
  const session = await run.machine();
  const measured: Measured = { on: session.executor, steps: 0, milliseconds: 0, costs: new Map() };
  let { counter } = run.stop;
  while (measured.steps < most) {
    const begun = performance.now();
    const stop = await session.step(1);
    const took = performance.now() - begun;
    const cost = measured.costs.get(counter) ?? { steps: 0, milliseconds: 0 };
    cost.steps++;
    cost.milliseconds += took;
    measured.costs.set(counter, cost);
    measured.steps++;
    measured.milliseconds += took;
    counter = stop.counter;
    if (stop.status !== "paused" && stop.status !== "ready") break;
    if (!told(measured.steps)) break;
  }
  return measured;
}

/** The same from `pxvm profile`. */
export function served({ device, steps, measured_ms, instructions }: Profile): Measured {
  const costs = new Map(instructions.map(({ index, count, ms }) => [index, { steps: count, milliseconds: ms }]));
  return { on: device, steps, milliseconds: measured_ms, costs };
}

/** The program's instructions as they nest in loops, with what each took. */
export function flame(instructions: readonly InstructionInfo[], measured: Measured, name: string): Frame {
  const children = frames(instructions, 0, instructions.length, measured);
  return { index: -1, letter: "", name, steps: measured.steps, milliseconds: total(children), children };
}

function frames(instructions: readonly InstructionInfo[], from: number, to: number, measured: Measured): Frame[] {
  const found: Frame[] = [];
  for (let index = from; index < to; index++) {
    const { letter, name } = instructions[index];
    const { steps, milliseconds } = measured.costs.get(index) ?? { steps: 0, milliseconds: 0 };
    const inside = extent(instructions, index);
    const children = inside ? frames(instructions, index + 1, index + inside + 1, measured) : [];
    const whole = milliseconds + total(children);
    if (steps || whole) found.push({ index, letter, name, steps, milliseconds: whole, children });
    index += inside;
  }
  return found;
}

function total(frames: readonly Frame[]): number {
  return frames.reduce((sum, frame) => sum + frame.milliseconds, 0);
}
