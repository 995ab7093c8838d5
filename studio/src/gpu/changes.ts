/** Rectangles of pixels: those that a run changed, and those that somebody looks at. */

import { PxvmError, type Rect } from "../api.ts";
import type { Descriptor } from "../machine/tensor.ts";

/** Told of more pieces, what changed of a tensor is one rectangle around them. */
const MOST = 64;

/** Words side by side: of a tensor from `word` on, in the picture from (x, y) on. */
interface Span {
  x: number;
  y: number;
  word: number;
  count: number;
}

/** A tensor's part of an image row. */
function spanAt(d: Descriptor, width: number, y: number): Span {
  const line = y - Math.floor(d.start / width);
  const n = d.rowWords;
  if (d.per) {
    const count = Math.min(d.per, d.rows - line * d.per) * n;
    return { x: d.start % width, y, word: line * d.per * n, count };
  }
  const lines = Math.ceil(n / width);
  const done = (line % lines) * width;
  return { x: 0, y, word: Math.floor(line / lines) * n + done, count: Math.min(width, n - done) };
}

/** The parts of image rows [top, stop) that a tensor has. */
function* spans(d: Descriptor, width: number, top = 0, stop = Infinity): Generator<Span> {
  const first = Math.floor(d.start / width);
  const last = Math.min(first + d.imageRows(width), stop);
  for (let y = Math.max(first, top); y < last; y++) yield spanAt(d, width, y);
}

/** The pixels of a tensor whose words are no longer the same. */
export function changedRects(
  d: Descriptor,
  width: number,
  before: Uint32Array,
  after: Uint32Array,
): Rect[] {
  const found: Rect[] = [];
  for (const { x, y, word, count } of spans(d, width)) {
    let first = 0;
    while (first < count && before[word + first] === after[word + first]) first += 1;
    if (first === count) continue;
    let last = count - 1;
    while (before[word + last] === after[word + last]) last -= 1;
    const piece = { x: x + first, y, width: last - first + 1, height: 1 };
    const above = found.at(-1);
    if (above?.x === piece.x && above.width === piece.width && above.y + above.height === y) {
      above.height += 1;
    } else {
      found.push(piece);
    }
  }
  return found.length > MOST ? [around(found)] : found;
}

function around(rects: readonly Rect[]): Rect {
  let [left, top, right, bottom] = [Infinity, Infinity, 0, 0];
  for (const { x, y, width, height } of rects) {
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x + width);
    bottom = Math.max(bottom, y + height);
  }
  return { x: left, y: top, width: right - left, height: bottom - top };
}

export function meets(a: Rect, b: Rect): boolean {
  return (
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
  );
}

/** Copies the words of a tensor that stand in a rectangle to where they belong in it. */
export function overlay(
  rect: Rect,
  into: Uint32Array,
  d: Descriptor,
  width: number,
  values: Uint32Array,
): void {
  for (const { x, y, word, count } of spans(d, width, rect.y, rect.y + rect.height)) {
    const left = Math.max(x, rect.x);
    const right = Math.min(x + count, rect.x + rect.width);
    if (left >= right) continue;
    const part = values.subarray(word + left - x, word + right - x);
    into.set(part, (y - rect.y) * rect.width + left - rect.x);
  }
}

/** The rectangle's words of a picture. Throws where it leaves the picture. */
export function cut(words: Uint32Array, across: number, rect: Rect): Uint32Array {
  const { x, y, width, height } = rect;
  if (x < 0 || y < 0 || x + width > across || (y + height) * across > words.length) {
    throw new PxvmError(`pixels (${x}, ${y}) and ${width} x ${height} on are not inside the picture`);
  }
  const into = new Uint32Array(width * height);
  for (let row = 0; row < height; row++) {
    const at = (y + row) * across + x;
    into.set(words.subarray(at, at + width), row * width);
  }
  return into;
}
