import type { Picture, ProgramInfo, Rect } from "../../api.ts";
import { inside } from "../picture/values.ts";

export interface Difference {
  /** Words that differ. */
  count: number;
  first: { x: number; y: number };
  /** Runs of words that differ, in the order of the picture; the first MOST of them. */
  runs: Rect[];
}

const MOST = 4096;

/** Where two pictures of one size differ; null where they do not. */
export function difference(left: Picture, right: Picture): Difference | null {
  const { width } = left;
  const found: Difference = { count: 0, first: { x: 0, y: 0 }, runs: [] };
  let run: Rect | null = null;
  for (let i = 0; i < left.words.length; i++) {
    if (left.words[i] === right.words[i]) {
      run = null;
      continue;
    }
    const x = i % width;
    if (found.count++ === 0) found.first = { x, y: (i - x) / width };
    if (run && x > 0) run.width++;
    else if (found.runs.length < MOST) found.runs.push((run = { x, y: (i - x) / width, width: 1, height: 1 }));
  }
  return found.count ? found : null;
}

/** The tensor at a word, by its name. */
export function owner(program: ProgramInfo | undefined, { x, y }: { x: number; y: number }): string | null {
  const tensor = program?.tensors.find((each) => each.rects.some((rect) => inside(rect, x, y)));
  return tensor ? tensor.name || `#${tensor.index}` : null;
}
