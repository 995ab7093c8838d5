import type { Rect } from "../../api.ts";

/** Colours of `count` words of row `y` from column `x` on, each `stride` further; opaque RGBA, R lowest. */
export type Paint = (x: number, y: number, count: number, stride: number, out: Uint32Array, at: number) => void;

export const TILE = 256;

/** Levels below this one are computed from the words for each tile; this one and those above are kept. */
const KEPT = 2;

interface Level {
  width: number;
  height: number;
  pixels: Uint32Array;
}

/**
 * A picture at full size, halves, quarters and so on.
 *
 * The kept levels take a twelfth of the picture's memory and are filled in slices, so that a picture of
 * any size shows at once: until its averages are there, every n-th word stands for its neighbours.
 */
export class Pyramid {
  readonly top: number;
  private readonly kept: Level[] = [];
  private built = 0;
  private readonly lines: Uint32Array;

  constructor(
    readonly width: number,
    readonly height: number,
    private readonly paint: Paint,
  ) {
    const longest = Math.max(width, height);
    this.top = Math.max(0, Math.ceil(Math.log2(longest / TILE)));
    for (let level = KEPT; level <= this.top; level++) {
      const size = { width: shrunk(width, level), height: shrunk(height, level) };
      this.kept.push({ ...size, pixels: new Uint32Array(size.width * size.height) });
    }
    this.lines = new Uint32Array(width * 4);
  }

  get finished(): boolean {
    return this.kept.length === 0 || this.built >= this.kept[0].height;
  }

  /** Averages more rows for so many milliseconds; true when they are all there. */
  build(milliseconds: number): boolean {
    const until = performance.now() + milliseconds;
    while (!this.finished && performance.now() < until) {
      for (let line = 0; line < 4 && !this.finished; line++) this.average(this.built++, 0, this.kept[0].width);
    }
    if (this.finished) return true;
    return false;
  }

  /** Pixels of this rectangle have changed. */
  changed(rect: Rect): void {
    if (this.kept.length === 0) return;
    const first = this.kept[0];
    const left = rect.x >> KEPT;
    const right = Math.min(first.width, ((rect.x + rect.width - 1) >> KEPT) + 1);
    const bottom = Math.min(this.built, ((rect.y + rect.height - 1) >> KEPT) + 1);
    for (let y = rect.y >> KEPT; y < bottom; y++) this.average(y, left, right);
  }

  /** Fill `out`, TILE x TILE, with a tile; returns its width and height within the picture. */
  tile(level: number, column: number, row: number, out: Uint32Array): { width: number; height: number } {
    const left = column * TILE;
    const upper = row * TILE;
    const width = Math.min(TILE, shrunk(this.width, level) - left);
    const height = Math.min(TILE, shrunk(this.height, level) - upper);
    const kept = level >= KEPT ? this.kept[level - KEPT] : undefined;
    for (let y = 0; y < height; y++) {
      const at = y * TILE;
      if (kept && this.ready(level, upper + y)) {
        const from = (upper + y) * kept.width + left;
        out.set(kept.pixels.subarray(from, from + width), at);
      } else if (level === 1) {
        this.half(left, upper + y, width, out, at);
      } else {
        this.paint(left << level, (upper + y) << level, width, 1 << level, out, at);
      }
    }
    return { width, height };
  }

  private ready(level: number, y: number): boolean {
    return this.finished || ((y + 1) << (level - KEPT)) <= this.built;
  }

  private half(left: number, y: number, width: number, out: Uint32Array, at: number): void {
    const words = Math.min(this.width - left * 2, width * 2);
    const lower = Math.min(this.height - 1, y * 2 + 1);
    this.paint(left * 2, y * 2, words, 1, this.lines, 0);
    this.paint(left * 2, lower, words, 1, this.lines, this.width);
    for (let x = 0; x < width; x++) {
      const here = x * 2;
      const next = Math.min(words - 1, here + 1);
      out[at + x] = mean(
        this.lines[here],
        this.lines[next],
        this.lines[this.width + here],
        this.lines[this.width + next],
      );
    }
  }

  /** Average 4 x 4 words for a row of the first kept level, and what this completes above it. */
  private average(y: number, left: number, right: number): void {
    const first = this.kept[0];
    const from = left << KEPT;
    const words = Math.min(this.width, right << KEPT) - from;
    const rows = Math.min(4, this.height - (y << KEPT));
    for (let line = 0; line < rows; line++) this.paint(from, (y << KEPT) + line, words, 1, this.lines, line * words);
    for (let x = left; x < right; x++) {
      const start = (x - left) << KEPT;
      const count = Math.min(4, words - start);
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let line = 0; line < rows; line++) {
        for (let i = 0, at = line * words + start; i < count; i++, at++) {
          const color = this.lines[at];
          red += color & 255;
          green += (color >>> 8) & 255;
          blue += (color >>> 16) & 255;
        }
      }
      const all = rows * count;
      const whole = opaque(red / all, green / all, blue / all);
      first.pixels[y * first.width + x] = middle(whole, this.lines[start]);
    }
    this.above(1, y, left, right);
  }

  private above(index: number, y: number, left: number, right: number): void {
    const level = this.kept[index];
    const below = this.kept[index - 1];
    if (!level || (y % 2 === 0 && y + 1 < below.height)) return;
    const row = y >> 1;
    const upper = row * 2 * below.width;
    const lower = Math.min(below.height - 1, row * 2 + 1) * below.width;
    const last = Math.min(level.width, ((right - 1) >> 1) + 1);
    for (let x = left >> 1; x < last; x++) {
      const next = Math.min(below.width - 1, x * 2 + 1);
      const p = below.pixels;
      const whole = mean(p[upper + x * 2], p[upper + next], p[lower + x * 2], p[lower + next]);
      level.pixels[row * level.width + x] = middle(whole, p[upper + x * 2]);
    }
    this.above(index + 1, row, left >> 1, last);
  }
}

function shrunk(size: number, level: number): number {
  return Math.max(1, Math.ceil(size / 2 ** level));
}

function opaque(red: number, green: number, blue: number): number {
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Halfway between a mean and one of those that it is of: means alone would be grey and without grain. */
function middle(a: number, b: number): number {
  return (0xff000000 | ((((a ^ b) & 0xfefefe) >>> 1) + (a & b & 0xffffff))) >>> 0;
}

function mean(a: number, b: number, c: number, d: number): number {
  // Two channels at a time: each has ten bits of room for a sum of four bytes.
  const outer = (a & 0xff00ff) + (b & 0xff00ff) + (c & 0xff00ff) + (d & 0xff00ff);
  const inner = (a & 0xff00) + (b & 0xff00) + (c & 0xff00) + (d & 0xff00);
  return (0xff000000 | ((outer >>> 2) & 0xff00ff) | ((inner >>> 2) & 0xff00)) >>> 0;
}
