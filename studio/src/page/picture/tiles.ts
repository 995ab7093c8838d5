import type { Rect } from "../../api.ts";
import type { Camera } from "./camera.ts";
import { Pyramid, TILE } from "./pyramid.ts";

/** Canvases kept at most: 40 MiB of them. */
const KEPT = 160;
/** Milliseconds of one frame that go into new tiles, and into averages. */
const TILES = 4;
const AVERAGES = 5;

/** Draws a pyramid's tiles onto a canvas, those that are missing from the next coarser ones. */
export class Tiles {
  private readonly cache = new Map<string, HTMLCanvasElement>();
  private readonly words = new Uint32Array(TILE * TILE);
  private readonly data = new ImageData(new Uint8ClampedArray(this.words.buffer), TILE, TILE);
  private averaged: boolean;

  constructor(private readonly pyramid: Pyramid) {
    this.averaged = pyramid.finished;
  }

  /** Draw what the camera sees; true when there is more to come. */
  draw(context: CanvasRenderingContext2D, camera: Camera, width: number, height: number): boolean {
    const until = performance.now() + TILES;
    let more = this.average();
    const wanted = Math.round(Math.log2(1 / camera.scale));
    const level = Math.min(this.pyramid.top, Math.max(0, wanted));
    const side = TILE << level;
    const left = Math.max(0, Math.floor(camera.x / side));
    const upper = Math.max(0, Math.floor(camera.y / side));
    const right = Math.min(this.pyramid.width, camera.x + width / camera.scale);
    const lower = Math.min(this.pyramid.height, camera.y + height / camera.scale);
    context.imageSmoothingEnabled = camera.scale < 1;
    for (let row = upper; row * side < lower; row++) {
      for (let column = left; column * side < right; column++) {
        const late = performance.now() > until;
        const canvas = late ? this.cache.get(key(level, column, row)) : this.tile(level, column, row);
        if (canvas) this.put(context, camera, canvas, level, column, row, 0, 0, TILE, TILE);
        else if (late) {
          this.coarser(context, camera, level, column, row);
          more = true;
        }
      }
    }
    return more;
  }

  /** Pixels of a rectangle have changed. */
  changed(rect: Rect): void {
    this.pyramid.changed(rect);
    for (const name of [...this.cache.keys()]) {
      const [level, column, row] = name.split(" ").map(Number);
      const side = TILE << level;
      const apart =
        rect.x >= (column + 1) * side || rect.x + rect.width <= column * side ||
        rect.y >= (row + 1) * side || rect.y + rect.height <= row * side;
      if (!apart) this.cache.delete(name);
    }
  }

  /** Give the canvases' memory back. */
  clear(): void {
    for (const canvas of this.cache.values()) canvas.width = canvas.height = 0;
    this.cache.clear();
  }

  private average(): boolean {
    if (this.averaged) return false;
    this.averaged = this.pyramid.build(AVERAGES);
    if (this.averaged) this.clear();
    return true;
  }

  private tile(level: number, column: number, row: number): HTMLCanvasElement {
    const name = key(level, column, row);
    const known = this.cache.get(name);
    this.cache.delete(name);
    const canvas = known ?? this.made(level, column, row);
    this.cache.set(name, canvas);
    if (this.cache.size > KEPT) {
      const [oldest, old] = this.cache.entries().next().value!;
      old.width = old.height = 0;
      this.cache.delete(oldest);
    }
    return canvas;
  }

  private made(level: number, column: number, row: number): HTMLCanvasElement {
    const { width, height } = this.pyramid.tile(level, column, row, this.words);
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d")!.putImageData(this.data, 0, 0);
    return canvas;
  }

  private coarser(context: CanvasRenderingContext2D, camera: Camera, level: number, column: number, row: number): void {
    for (let up = 1; level + up <= this.pyramid.top; up++) {
      const canvas = this.cache.get(key(level + up, column >> up, row >> up));
      if (!canvas) continue;
      const part = TILE >> up;
      const x = (column & ((1 << up) - 1)) * part;
      const y = (row & ((1 << up) - 1)) * part;
      this.put(context, camera, canvas, level + up, column >> up, row >> up, x, y, part, part);
      return;
    }
  }

  private put(
    context: CanvasRenderingContext2D, camera: Camera, canvas: HTMLCanvasElement, level: number,
    column: number, row: number, x: number, y: number, width: number, height: number,
  ): void {
    const across = Math.min(width, canvas.width - x);
    const down = Math.min(height, canvas.height - y);
    if (across <= 0 || down <= 0) return;
    const dots = camera.scale * 2 ** level;
    // Whole dots, so that neighbours meet without a seam.
    const left = Math.round(((column * TILE + x) * 2 ** level - camera.x) * camera.scale);
    const upper = Math.round(((row * TILE + y) * 2 ** level - camera.y) * camera.scale);
    const right = Math.round(((column * TILE + x) * 2 ** level - camera.x) * camera.scale + across * dots);
    const lower = Math.round(((row * TILE + y) * 2 ** level - camera.y) * camera.scale + down * dots);
    context.drawImage(canvas, x, y, across, down, left, upper, Math.max(1, right - left), Math.max(1, lower - upper));
  }
}

function key(level: number, column: number, row: number): string {
  return `${level} ${column} ${row}`;
}
