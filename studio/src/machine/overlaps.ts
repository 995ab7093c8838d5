/** What may be written, header, code, descriptors and state overlap nothing; places are rectangles of pixels. */

import { ProgramError } from "./errors.ts";
import type { parse } from "./program1.ts";
import { ROLE } from "./table.ts";

type Parsed = ReturnType<typeof parse>;

interface Box {
  name: string;
  y0: number;
  y1: number;
  x0: number;
  x1: number;
  alone: boolean;
}

function boxesOf(program: Parsed): Box[] {
  const { width } = program;
  const boxes: Box[] = [];
  for (const d of program.descriptors) {
    if (!d.isTensor) continue;
    const [x, y] = [d.start % width, Math.floor(d.start / width)];
    const used = d.per ? Math.min(d.per, d.rows) * d.rowWords : width;
    const name = d.name || `descriptor ${d.index}`;
    boxes.push({ name, y0: y, y1: y + d.imageRows(width), x0: x, x1: x + used, alone: d.role !== ROLE.CONSTANT });
  }
  for (const { name, start, count } of program.reserved) {
    // A partial first row, whole rows and a partial last row.
    const stop = start + count;
    const [first, last] = [Math.ceil(start / width), Math.floor(stop / width)];
    const pieces = [
      [start, Math.min(first * width, stop)],
      [first * width, last * width],
      [Math.max(last, first) * width, stop],
    ] as const;
    for (const [begin, end] of pieces) {
      if (begin >= end) continue;
      const [x, y] = [begin % width, Math.floor(begin / width)];
      const rows = Math.max(Math.floor((end - begin) / width), 1);
      boxes.push({ name, y0: y, y1: y + rows, x0: x, x1: x + Math.min(end - begin, width), alone: true });
    }
  }
  return boxes;
}

function meet(a: Box, b: Box): boolean {
  return a.y0 < b.y1 && a.y1 > b.y0 && a.x0 < b.x1 && a.x1 > b.x0;
}

/** Refuse a program in which something that must stand alone overlaps with another. */
export function checkOverlaps(program: Parsed): void {
  const boxes = boxesOf(program);
  if (!crowded(boxes)) return;
  for (const a of boxes) {
    const b = a.alone ? boxes.find((other) => other !== a && meet(a, other)) : undefined;
    if (b) {
      throw new ProgramError(
        `${a.name} and ${b.name} overlap at x=${Math.max(a.x0, b.x0)}, y=${Math.max(a.y0, b.y0)};` +
          " what is written must stand alone",
      );
    }
  }
}

/** Whether something that must stand alone overlaps: boxes from above downwards, beside those still open. */
function crowded(boxes: Box[]): boolean {
  let open: Box[] = [];
  for (const box of [...boxes].sort((a, b) => a.y0 - b.y0)) {
    open = open.filter((other) => other.y1 > box.y0);
    if (open.some((other) => (other.alone || box.alone) && meet(other, box))) return true;
    open.push(box);
  }
  return false;
}
