/** What the page shows of a program. */

import type { InstructionInfo, Picture, ProgramInfo, Rect } from "../api.ts";
import type { Program0 } from "./dialect0.ts";
import type { Instruction } from "./instruction.ts";
import type { Program } from "./program1.ts";
import type { Descriptor } from "./tensor.ts";
import { workBytes } from "./core1.ts";

export function info0(picture: Picture, program: Program0, title: string): ProgramInfo {
  return {
    dialect: 0,
    title,
    tensors: program.regions.map((region) => ({
      index: region.row,
      name: `@${region.row}`,
      dtype: region.encoding,
      role: region.role,
      rows: region.rows,
      cols: region.cols,
      rects: joined(region.rects),
    })),
    instructions: instructions(program.instructions),
    memory: 2 * picture.words.byteLength,
  };
}

export function info1(picture: Picture, program: Program, title: string): ProgramInfo {
  const names = tensorNames(program.descriptors);
  return {
    dialect: 1,
    title,
    tensors: program.descriptors.filter((d) => d.isTensor).map((d) => ({
      index: d.index,
      name: names[d.index] ?? "",
      dtype: d.dtypeName,
      role: d.roleName,
      rows: d.rows,
      cols: d.cols,
      rects: d.rects(program.width),
    })),
    instructions: instructions(program.instructions),
    memory: picture.words.byteLength + workBytes(program),
  };
}

/** How tools call tensors: by name; by number where there is none or another has it. */
function tensorNames(descriptors: readonly Descriptor[]): string[] {
  const taken = new Set(["code", "state"]);
  return descriptors.map((d) => {
    const name = d.name && !taken.has(d.name) ? d.name : `${d.name}@${d.index}`;
    taken.add(name);
    return name;
  });
}

function instructions(code: readonly Instruction[]): InstructionInfo[] {
  let depth = 0;
  return code.map((i) => {
    if (i.op.flow === "END_LOOP") depth -= 1;
    const found = { index: i.index, x: i.x, y: i.y, letter: i.op.glyph, name: i.op.name, text: String(i), depth };
    if (i.op.flow === "LOOP") depth += 1;
    return found;
  });
}

/** Runs below each other that are alike, as one rectangle. */
function joined(rects: readonly Rect[]): Rect[] {
  const found: Rect[] = [];
  for (const rect of rects) {
    const last = found[found.length - 1];
    if (last && last.x === rect.x && last.width === rect.width && last.y + last.height === rect.y) {
      last.height += rect.height;
    } else found.push({ ...rect });
  }
  return found;
}
