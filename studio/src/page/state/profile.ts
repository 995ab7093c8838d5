import type { Cost, InstructionInfo, Session } from "../../api.ts";
import type { Profile } from "../../memory/server.ts";
import { extent } from "./fold.ts";
import type { Run } from "./run.svelte.ts";

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

/** Steps that are measured before it is looked whether to go on. */
const PART = 500;

/** Run one instruction at a time up to the next stop, and add up what each takes. */
export async function measure(run: Run, most: number, told: (steps: number) => boolean): Promise<Measured> {
  const session = await run.machine();
  const measured: Measured = { on: session.executor, steps: 0, milliseconds: 0, costs: new Map() };
  let { counter } = run.stop;
  for (let goes = true; goes && measured.steps < most; ) {
    const wanted = Math.min(PART, most - measured.steps);
    const costs = session.profile ? await session.profile(wanted) : [await stepped(session, counter)];
    const stop = await session.step(0);
    const before = measured.steps;
    for (const cost of costs) add(measured, cost);
    goes = measured.steps > before && (stop.status === "ready" || stop.status === "paused") && told(measured.steps);
    counter = stop.counter;
  }
  return measured;
}

/** Where the machine itself does not say: one step, and the way there and back. */
async function stepped(session: Session, index: number): Promise<Cost> {
  const begun = performance.now();
  await session.step(1);
  return { index, steps: 1, milliseconds: performance.now() - begun };
}

function add(measured: Measured, cost: Cost): void {
  const { steps, milliseconds } = measured.costs.get(cost.index) ?? { steps: 0, milliseconds: 0 };
  const sum = { index: cost.index, steps: steps + cost.steps, milliseconds: milliseconds + cost.milliseconds };
  measured.costs.set(cost.index, sum);
  measured.steps += cost.steps;
  measured.milliseconds += cost.milliseconds;
}

/** The same from `pxvm profile`. */
export function served({ device, steps, measured_ms, instructions }: Profile): Measured {
  const costs = new Map(instructions.map(({ index, count, ms }) => [index, { index, steps: count, milliseconds: ms }]));
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
