import type { InstructionInfo } from "../../api.ts";

export interface Line {
  instruction: InstructionInfo;
  /** It begins a loop; instructions inside of it, its end included. */
  inside: number;
}

/** The instructions that are seen when some loops are folded. */
export function folded(instructions: readonly InstructionInfo[], closed: ReadonlySet<number>): Line[] {
  const lines: Line[] = [];
  for (let index = 0; index < instructions.length; index++) {
    const instruction = instructions[index];
    const inside = extent(instructions, index);
    lines.push({ instruction, inside });
    if (inside && closed.has(index)) index += inside;
  }
  return lines;
}

/** Instructions behind a loop's beginning that belong to it. */
export function extent(instructions: readonly InstructionInfo[], index: number): number {
  const start = instructions[index];
  if (start.name !== "Loop") return 0;
  let end = index + 1;
  for (let open = 1; end < instructions.length; end++) {
    if (instructions[end].name === "Loop") open++;
    if (instructions[end].name === "EndLoop" && --open === 0) break;
  }
  return Math.min(end, instructions.length - 1) - index;
}
