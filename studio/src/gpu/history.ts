/** Points of a run to come back to, and what the host wrote since: enough to step back anywhere. */

import { PxvmError } from "../api.ts";
import type { Gpu } from "./device.ts";
import type { Picture } from "./picture.ts";
import { NUMBERS as N } from "./shaders.ts";

const MOST = 8; // points kept on the device
const BYTES = 256 << 20; // that they may take together
const APART = 256; // steps between two of them at least

interface Point {
  steps: number;
  state: Int32Array;
  tensors: GPUBuffer;
}

interface Written {
  steps: number;
  tensor: number;
  words: Uint32Array;
}

export class History {
  private points: Point[] = [];
  private written: Written[] = [];
  private readonly words: number;

  constructor(
    private readonly gpu: Gpu,
    private readonly picture: Picture,
  ) {
    this.words = picture.layout.constants - N.FRONT;
  }

  /** A point where a run begins, unless one is near or the device lacks the room. */
  async keep(steps: number, state: Int32Array): Promise<void> {
    const last = this.points.at(-1);
    if (last && steps - last.steps < APART) return;
    while (this.points.length > 1 && this.points.length >= Math.min(MOST, BYTES / (4 * this.words + 1))) {
      this.thin();
    }
    const room = this.gpu.told("a point to step back to", () => this.gpu.buffer(this.words));
    const tensors = await room.catch(() => undefined);
    if (!tensors) return;
    this.copy(this.picture.changing, N.FRONT, tensors, 0);
    this.points.push({ steps, state: state.slice(), tensors });
  }

  /** The host writes a tensor at this point. */
  note(steps: number, tensor: number, words: Uint32Array): void {
    this.written.push({ steps, tensor, words });
  }

  /** Puts everything as it was at the last point that is not behind `steps`; its steps. */
  restore(steps: number, state: Int32Array): number {
    if (!this.points.some((point) => point.steps <= steps)) {
      throw new PxvmError("expected room on the GPU for a point to step back to; found none");
    }
    while (this.points.at(-1)!.steps > steps) this.points.pop()!.tensors.destroy();
    this.written = this.written.filter((one) => one.steps <= steps);
    const point = this.points.at(-1)!;
    state.set(point.state);
    this.copy(point.tensors, 0, this.picture.changing, N.FRONT);
    this.picture.forget();
    return point.steps;
  }

  /** What the host wrote from a point on, in order. */
  since(steps: number): readonly Written[] {
    return this.written.filter((one) => one.steps >= steps);
  }

  /** Nothing is known any more of what was. */
  clear(): void {
    this.close();
    this.points = [];
    this.written = [];
  }

  private copy(from: GPUBuffer, first: number, to: GPUBuffer, second: number): void {
    if (!this.words) return;
    const encoder = this.gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(from, 4 * first, to, 4 * second, 4 * this.words);
    this.gpu.device.queue.submit([encoder.finish()]);
  }

  /** Leaves out the point whose neighbours are nearest to each other. */
  private thin(): void {
    let [place, least] = [1, Infinity];
    for (let i = 1; i < this.points.length; i++) {
      const next = this.points[i + 1]?.steps ?? Infinity;
      const gap = next - this.points[i - 1]!.steps;
      if (gap < least) [place, least] = [i, gap];
    }
    this.points.splice(place, 1)[0]!.tensors.destroy();
  }

  close(): void {
    for (const point of this.points) point.tensors.destroy();
  }
}
