import type { Memory } from "../../api.ts";

/** A knowledge picture's width in dots and in bytes. */
export const WIDTH = 1024;
const BYTES = WIDTH / 8;
/** Image rows that are fetched and kept together, and how many such parts are kept: 40 MiB. */
const PART = 256;
const KEPT = 40;

export interface Inks {
  /** RGBA words, R lowest. */
  paper: number;
  ink: number;
}

/** The colours of a knowledge picture, as the page's own: paper and ink. */
export function inks(element: Element): Inks {
  const style = getComputedStyle(element);
  return { paper: word(style.backgroundColor), ink: word(style.color) };
}

function word(color: string): number {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d")!;
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer)[0];
}

/** Rows of a knowledge picture on a canvas of their own. */
export function drawn(bits: Uint8Array, { paper, ink }: Inks): HTMLCanvasElement {
  const rows = Math.floor(bits.length / BYTES);
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = Math.max(1, rows);
  const context = canvas.getContext("2d")!;
  const data = context.createImageData(WIDTH, canvas.height);
  const words = new Uint32Array(data.data.buffer);
  for (let i = 0, at = 0; i < rows * BYTES; i++) {
    const byte = bits[i];
    for (let bit = 128; bit; bit >>= 1) words[at++] = byte & bit ? paper : ink;
  }
  context.putImageData(data, 0, 0);
  return canvas;
}

/** Parts of a knowledge picture, fetched when they are first seen, the ones seen last kept. */
export class Parts {
  private readonly kept = new Map<number, HTMLCanvasElement>();
  private readonly asked = new Set<number>();
  private closed = false;

  constructor(
    private readonly memory: Memory,
    private readonly inks: Inks,
    /** Told when a part that was missing is there, or why it is not. */
    private readonly told: (error?: unknown) => void,
  ) {}

  /** Draw the rows from `first` on (which may lie between two) at this scale. */
  draw(context: CanvasRenderingContext2D, first: number, scale: number): void {
    const { width, height } = context.canvas;
    const last = Math.min(this.memory.rows, first + height / scale);
    context.imageSmoothingEnabled = scale !== 1;
    context.imageSmoothingQuality = "medium";
    for (let part = Math.floor(first / PART); part * PART < last; part++) {
      const canvas = this.part(part);
      if (!canvas) continue;
      const upper = Math.round((part * PART - first) * scale);
      const lower = Math.round((part * PART + canvas.height - first) * scale);
      context.drawImage(canvas, 0, upper, width, lower - upper);
    }
  }

  /** What comes later is told to nobody. */
  close(): void {
    this.closed = true;
    for (const canvas of this.kept.values()) canvas.width = canvas.height = 0;
    this.kept.clear();
  }

  private part(part: number): HTMLCanvasElement | undefined {
    const known = this.kept.get(part);
    if (known) {
      this.kept.delete(part);
      this.kept.set(part, known);
    } else if (!this.asked.has(part)) void this.fetch(part);
    return known;
  }

  private async fetch(part: number): Promise<void> {
    this.asked.add(part);
    try {
      const first = part * PART;
      const bits = await this.memory.bits(first, Math.min(PART, this.memory.rows - first));
      if (this.closed) return;
      this.kept.set(part, drawn(bits, this.inks));
      if (this.kept.size > KEPT) {
        const [oldest, canvas] = this.kept.entries().next().value!;
        canvas.width = canvas.height = 0;
        this.kept.delete(oldest);
      }
      this.told();
    } catch (error) {
      if (!this.closed) this.told(error);
    } finally {
      this.asked.delete(part);
    }
  }
}
