/** How many workgroups an instruction has work for, and how long their loops are. */

import { DeviceError } from "../api.ts";
import type { Program } from "../machine/program1.ts";
import type { Descriptor } from "../machine/tensor.ts";
import { INSTEAD } from "./device.ts";
import { type Operands, operandsOf } from "./program.ts";
import { DTYPE } from "../machine/table.ts";
import { BY_ROWS, NUMBERS as N } from "./shaders.ts";

function up(a: number, b: number): number {
  return Math.ceil(a / b);
}

/** Workgroups for so many elements, one a lane. */
export function spread(elements: number): number {
  return up(elements, N.LANES);
}

function attentionGroups(width: number): number {
  const each = width + Math.floor(width / 4);
  return Math.max(Math.min(Math.floor(N.SCRATCH / each), N.MOST_QUERIES), 1);
}

/** Workgroups of a product: of few rows a group takes columns, of many a tile. */
function linearGroups(rows: number, cols: number, x: number, weight: number): number {
  if (rows <= N.FEW) return Math.min(up(cols, N.FEW_COLUMNS), N.MOST_OF_FEW);
  if (weight === DTYPE.I4) return up(rows, N.LANES / 4) * up(cols, N.WIDE);
  return up(rows, x === DTYPE.ACT2 ? N.WIDE / 2 : N.WIDE) * up(cols, N.SPAN);
}

/** Workgroups of an instruction; 0 where none of its rows is in use. */
export function groupsOf(
  name: string,
  { tensors, linked }: Operands,
  rows: (d: Descriptor) => number,
): number {
  if (!tensors.every(rows)) return 0;
  const [first, second] = tensors as [Descriptor, Descriptor];
  if (BY_ROWS.has(name)) return rows(first);
  switch (name) {
    case "Sample":
      return 1;
    case "Append":
      return up(rows(second) * first.extents[0]!, N.TOGETHER);
    case "AttentionCausal":
    case "AttentionWindow":
    case "AttentionFull": {
      const width = linked.k!.cols;
      return Math.min(rows(first) * Math.floor(first.cols / width), attentionGroups(width));
    }
    case "Linear":
      return linearGroups(rows(first), first.cols, second.dtype, tensors[2]!.dtype);
    case "Copy":
    case "Transpose":
      return spread(second.rows * second.cols);
    case "Blit": {
      const font = tensors[2]!.extents;
      return spread(second.rows * second.cols * font[1]! * font[2]!);
    }
    case "Push":
    case "Concat":
      return spread(rows(second) * second.cols);
    default:
      return spread(rows(first) * first.cols);
  }
}

/** Words that instructions of a program work in. */
export function scratchWords(program: Program): number {
  let most = 64;
  for (const [index, base] of program.visits) {
    const instruction = program.instructions[index]!;
    const { name } = instruction.op;
    if (name !== "Sample" && !name.startsWith("Attention")) continue;
    const { tensors, linked } = operandsOf(program, instruction, base);
    if (name === "Sample") {
      most = Math.max(most, tensors[1]!.cols + 2 * N.CANDIDATES);
    } else {
      const width = linked.k!.cols;
      most = Math.max(most, attentionGroups(width) * (width + Math.floor(width / 4)));
    }
  }
  return most;
}

/** Elements of a result that a lane makes. */
function elements(out: Descriptor): number {
  return up(out.rows * out.cols, N.LANES * N.MOST_GROUPS);
}

function attentionRounds({ tensors, linked }: Operands): number {
  const out = tensors[0]!;
  const k = linked.k!;
  const quads = Math.floor(k.cols / 4);
  const across = Math.min(quads, N.BLOCK);
  const slices = Math.floor(N.BLOCK / across);
  const totals = up(4 * across, N.LANES) * (slices + 1);
  const alone =
    up(quads, 4) + up(quads, across) * (up(N.BLOCK, 4 * slices) + totals) + N.REDUCTION;
  const values = 4 * (4 + 1) + 4 * (1 + 2 * up(256, N.LANES));
  const together = quads + up(quads, 8) + 2 * 20 + N.REDUCTION + up(quads, 16) * values;
  const block = out.rows > N.FEW ? Math.max(alone, together) : alone;
  const queries = out.rows * Math.floor(out.cols / k.cols);
  const each = up(queries, Math.min(queries, attentionGroups(k.cols)));
  return each * up(k.extents[1]!, N.LANES) * block;
}

function poolRounds({ tensors, numbers }: Operands): number {
  return elements(tensors[0]!) * numbers.size! ** 2;
}

/** Rounds of its loops that a lane makes; opcodes that are not here make few. */
const ROUNDS: Record<string, (operands: Operands) => number> = {
  TopK: ({ tensors: [out, x] }) =>
    out!.cols * (up(x!.cols, N.LANES) + Math.floor(N.REDUCTION / 2)),
  AttentionCausal: attentionRounds,
  AttentionFull: attentionRounds,
  AttentionWindow: attentionRounds,
  RMSNorm: ({ tensors: [, x, weight] }) =>
    Math.floor(x!.cols / weight!.cols) * (3 * up(weight!.cols, N.LANES) + N.REDUCTION),
  Sample: ({ tensors }) =>
    12 * up(tensors[1]!.cols, N.LANES) +
    N.CANDIDATES * (Math.floor(N.CANDIDATES / N.LANES) + 4),
  MatMul: ({ tensors: [out, a] }) => elements(out!) * up(a!.cols, 4),
  Conv2D: ({ tensors: [out], linked, numbers }) =>
    elements(out!) * (linked.weight!.cols + numbers.size! * (numbers.size! + 1)),
  MaxPool: poolRounds,
  AvgPool: poolRounds,
  MeanPool: ({ tensors: [out, x] }) => elements(out!) * x!.rows,
};

/** Throws where an instruction makes more rounds than a device played by a processor does. */
export function checkRounds(program: Program, device: string): void {
  for (const [index, base] of program.visits) {
    const instruction = program.instructions[index]!;
    const { name } = instruction.op;
    const found = ROUNDS[name]?.(operandsOf(program, instruction, base)) ?? 0;
    if (found > N.MOST_ROUNDS) {
      throw new DeviceError(
        `GPU (${device}): instruction ${index} (${name}): expected at most` +
          ` ${N.MOST_ROUNDS.toLocaleString("en")} rounds of a loop, which is what a device played` +
          ` by a processor makes; found ${found.toLocaleString("en")}; ${INSTEAD}`,
      );
    }
  }
}
