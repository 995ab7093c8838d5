import type { Picture, ProgramInfo, Rect } from "../../api.ts";
import { Camera } from "./camera.ts";
import { meet, overlay, type Marks } from "./overlay.ts";
import { heat, pixels, range, type Mode, type Range } from "./paints.ts";
import { Pyramid } from "./pyramid.ts";
import { Tiles } from "./tiles.ts";

/** How long a changed pixel glows, in milliseconds. */
const GLOW = 1200;

/** A picture on a canvas: moved, zoomed, outlined, glowing. Draws only when something has changed. */
export class Viewer {
  readonly camera: Camera;
  marks: Marks = { outlines: true, glow: [], frames: [] };
  /** Told whenever the camera has moved. */
  moved: (() => void) | null = null;
  /** The range of each tensor's heat scale, by its number. */
  private readonly ranges = new Map<number, Range>();
  private tiles: Tiles;
  private mode: Mode = "pixels";
  private readonly context: CanvasRenderingContext2D;
  private readonly still: MediaQueryList;
  private asked = 0;
  private before = 0;
  private fitted = false;
  private glowing = -Infinity;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly picture: Picture,
    private readonly program?: ProgramInfo,
  ) {
    this.context = canvas.getContext("2d", { alpha: false })!;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.camera = new Camera(picture.width, picture.height);
    this.tiles = this.tiled();
  }

  get smooth(): boolean {
    return !this.still.matches;
  }

  resize(width: number, height: number): void {
    const density = devicePixelRatio;
    this.canvas.width = Math.max(1, Math.round(width * density));
    this.canvas.height = Math.max(1, Math.round(height * density));
    this.camera.resize(this.canvas.width, this.canvas.height);
    if (!this.fitted && width > 1) {
      this.fitted = true;
      this.camera.fit(false);
    }
    this.redraw();
  }

  paint(mode: Mode): void {
    if (mode === this.mode) return;
    this.mode = mode;
    this.tiles.clear();
    this.tiles = this.tiled();
    this.redraw();
  }

  /** Pixels of these rectangles are others now; they glow. */
  changed(rects: readonly Rect[]): void {
    for (const rect of [...rects, ...this.rescaled(rects)]) this.tiles.changed(rect);
    this.marks.glow = [...rects];
    this.glowing = performance.now();
    this.redraw();
  }

  /** Everything may have changed. */
  replaced(): void {
    this.tiles.clear();
    this.ranges.clear();
    this.tiles = this.tiled();
    this.marks.glow = [];
    this.redraw();
  }

  redraw(): void {
    this.asked ||= requestAnimationFrame((now) => this.frame(now));
  }

  close(): void {
    cancelAnimationFrame(this.asked);
    this.asked = -1;
    this.tiles.clear();
    this.canvas.width = this.canvas.height = 0;
  }

  /** The word under a dot of the page, relative to the canvas. */
  wordAt(x: number, y: number): { x: number; y: number } | null {
    const density = devicePixelRatio;
    const column = Math.floor(this.camera.x + (x * density) / this.camera.scale);
    const row = Math.floor(this.camera.y + (y * density) / this.camera.scale);
    const within = column >= 0 && row >= 0 && column < this.picture.width && row < this.picture.height;
    return within ? { x: column, y: row } : null;
  }

  /** What tensors take whose heat scale is another one now. */
  private rescaled(rects: readonly Rect[]): Rect[] {
    const others = (this.program?.tensors ?? []).filter((tensor) => {
      const known = this.ranges.get(tensor.index);
      if (!known || !tensor.rects.some((rect) => rects.some((each) => meet(rect, each)))) return false;
      const { low, high } = known;
      Object.assign(known, range(this.picture, tensor));
      return known.low !== low || known.high !== high;
    });
    return others.flatMap((tensor) => tensor.rects);
  }

  private tiled(): Tiles {
    const { picture, program } = this;
    let paint = pixels(picture);
    if (this.mode === "heat" && program) {
      if (this.ranges.size === 0) {
        for (const tensor of program.tensors) this.ranges.set(tensor.index, range(picture, tensor));
      }
      paint = heat(picture, program, this.ranges);
    }
    return new Tiles(new Pyramid(picture.width, picture.height, paint));
  }

  private frame(now: number): void {
    this.asked = 0;
    const { context, camera, canvas } = this;
    const elapsed = this.before ? Math.min(50, now - this.before) : 16;
    if (camera.moving) camera.tick(elapsed);
    context.fillStyle = getComputedStyle(canvas).backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    const more = this.tiles.draw(context, camera, canvas.width, canvas.height);
    const age = (performance.now() - this.glowing) / GLOW;
    const glow = this.smooth ? Math.max(0, 1 - age) : 1;
    overlay(context, camera, this.picture, this.program, this.marks, Math.max(0.35, glow));
    this.moved?.();
    const again = more || camera.moving || (this.smooth && age < 1);
    this.before = again ? now : 0;
    if (again) this.redraw();
  }
}
