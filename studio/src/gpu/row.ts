/**
 * Dialect 0 on a GPU: the picture lies there as it is, and its bytes are multiplied there.
 *
 * Headers, and steps in float64 of quantised results, are the host's, since no GPU has them everywhere.
 * After each instruction the rows that it wrote are fetched, so that the host's picture is right.
 */

import { type Opened, type Picture, type ProgramInfo, PxvmError, type Rect, type RunOptions, type Stop } from "../api.ts";
import type { Undo } from "../machine/core.ts";
import { Core0, MOST_STEPS } from "../machine/core0.ts";
import { ProgramError } from "../machine/errors.ts";
import type { Instruction } from "../machine/instruction.ts";
import { type Encoding, firstColumn, type Matrix, rowsNeeded, writeMatrix } from "../machine/matrix.ts";
import * as run0 from "../machine/run0.ts";
import { cut } from "./changes.ts";
import { Common, type Encode } from "./common.ts";
import type { Gpu } from "./device.ts";
import { NUMBERS as N, rowText } from "./shaders.ts";

const KERNELS = ["product", "margins", "add", "settle", "dot_product", "lift", "lay"] as const;
type Kernel = (typeof KERNELS)[number];
const JOB = 64; // words of the uniform
const KEPT = 1 << 28; // bytes of pictures to step back to

export class RowSession extends Common {
  private points: { steps: number; undo: Undo }[] = [];
  private totals: GPUBuffer | undefined;

  private constructor(
    private readonly gpu: Gpu,
    info: ProgramInfo,
    private readonly texts: Picture["texts"],
    private readonly core: Core0,
    private readonly buffer: GPUBuffer,
    private readonly job: GPUBuffer,
    private readonly pipelines: Map<string, GPUComputePipeline>,
    encode: Encode,
  ) {
    super(info, gpu.name, encode);
  }

  static async start(gpu: Gpu, { picture, name }: Opened, info: ProgramInfo, encode: Encode): Promise<RowSession> {
    const core = await Core0.make(picture, name);
    const [pixels, job] = await gpu.told("the picture", () => [
      gpu.buffer(picture.words.length),
      gpu.buffer(JOB, GPUBufferUsage.UNIFORM),
    ]);
    const code = await rowText(picture.width);
    const compiled = await gpu.told("the shaders of dialect 0", () => {
      const module = gpu.device.createShaderModule({ code });
      const layout = gpu.device.createPipelineLayout({ bindGroupLayouts: [bindings(gpu)] });
      return Promise.all(
        kernelsOf(core).map(async (kernel): Promise<[string, GPUComputePipeline]> => {
          const compute = { module, entryPoint: kernel };
          return [kernel, await gpu.device.createComputePipelineAsync({ layout, compute })];
        }),
      );
    });
    const session = new RowSession(gpu, info, picture.texts, core, pixels!, job!, new Map(compiled), encode);
    session.upload(0, core.height);
    return session;
  }

  protected async execute(options: RunOptions): Promise<Stop> {
    const undo = this.keep();
    const paused = await this.go(options.maxSteps ?? MOST_STEPS, options);
    return this.standing(undo.changed(), paused);
  }

  protected standing(changed: Rect[] = [], paused = false): Stop {
    const { error, ...place } = { error: this.core.error, ...this.core.place() };
    const status = paused && place.status === "ready" ? "paused" : place.status;
    return { ...place, status, changed, ...(error !== undefined && { error }) };
  }

  /** Runs so many steps at most; whether something else than the program ended it. */
  private async go(most: number, { breakpoints = [], until, watch = [] }: RunOptions): Promise<boolean> {
    const { core } = this;
    const stops = new Set(until === undefined ? breakpoints : [...breakpoints, until]);
    const look = () => watch.map((rect) => cut(core.words(), core.width, rect));
    const before = look();
    for (let made = 0; made < most && core.next && !core.error; made++) {
      if (this.stopping || (made && stops.has(core.place().counter))) return true;
      await this.perform(core.next);
      if (look().some((words, i) => words.some((word, n) => word !== before[i]![n]))) return true;
    }
    return false;
  }

  /** A point to step back to. */
  private keep(): Undo {
    const { steps } = this.core.place();
    const undo = this.core.keep();
    if (this.points.at(-1)?.steps === steps) this.points.pop();
    this.points.push({ steps, undo });
    while (this.points.length > 1 && this.points.length * undo.bytes > KEPT) this.points.shift();
    return undo;
  }

  protected async goBack(count: number): Promise<Stop> {
    const target = Math.max(this.core.place().steps - count, this.points[0]?.steps ?? 0);
    const now = this.core.keep();
    while (this.points.length > 1 && this.points.at(-1)!.steps > target) this.points.pop();
    this.points.at(-1)?.undo.restore();
    this.upload(0, this.core.height);
    await this.go(target - this.core.place().steps, {});
    return this.standing(now.changed());
  }

  protected async values(row: number): Promise<Float64Array> {
    return this.core.read(row);
  }

  protected async put(row: number, values: ArrayLike<number>): Promise<void> {
    this.core.write(row, values);
    this.upload(0, this.core.height);
    this.keep();
  }

  protected async part(rect: Rect): Promise<Uint32Array> {
    return cut(this.core.words(), this.core.width, rect);
  }

  protected async pixels(): Promise<Picture> {
    const { width, height } = this.core;
    return { width, height, words: this.core.words().slice(), texts: this.texts };
  }

  protected release(): void {
    for (const buffer of [this.buffer, this.job, this.totals]) buffer?.destroy();
  }

  private async perform(instruction: Instruction): Promise<void> {
    try {
      await this.compute(instruction);
      this.core.performed();
    } catch (error) {
      if (!(error instanceof PxvmError) || this.gpu.lost) throw error;
      const where = error instanceof ProgramError ? `${instruction.place}: ` : "";
      this.core.performed(`${where}${error.message}`);
    }
  }

  private async compute(instruction: Instruction): Promise<void> {
    const p = this.core.pixels;
    const [g, b, a] = instruction.operands;
    switch (instruction.op.name) {
      case "MatMul":
        return this.matmul(...run0.matmulOperands(p, g, b, a), a);
      case "Dot": {
        const [left, right] = run0.dotOperands(p, g, b, a);
        this.begin(left, right, result(a, 1, 1, "headerless"), 1, left.rows * left.cols);
        this.dispatch("dot_product", 1);
        return this.fetch(a, a + 1);
      }
      case "Add":
        return this.add(...run0.addOperands(p, g, b), a);
      case "Blit":
        return this.blit(run0.glyphsOf(p, g, b, a));
      default:
        for (const _ of run0.execute(p, instruction)) this.gpu.check();
        this.upload(0, this.core.height);
    }
  }

  private async matmul(left: Matrix, right: Matrix, row: number): Promise<void> {
    const encoding = run0.encodingOf(left, right);
    const out = result(row, left.rows, right.cols, encoding);
    if (encoding !== "quantised") return this.stored("product", left, right, out);
    const count = out.rows * out.cols;
    const margins = out.rows + out.cols;
    this.begin(left, right, out, count + margins);
    this.dispatch("product", count);
    this.dispatch("margins", margins);
    const found = await this.gpu.read(this.totals!, 0, count + margins);
    const rows = found.subarray(count, count + out.rows);
    const total = Float64Array.from(found.subarray(0, count));
    const values = run0.productOfSums(left, right, total, rows, found.subarray(count + out.rows));
    run0.store(this.core.pixels, row, out.rows, out.cols, values, left, right);
    this.upload(...this.rowsOf(out));
  }

  private async add(left: Matrix, right: Matrix, row: number): Promise<void> {
    const encoding = run0.encodingOf(left, right);
    const out = result(row, left.rows, left.cols, encoding);
    if (encoding !== "quantised") return this.stored("add", left, right, out);
    run0.store(this.core.pixels, row, out.rows, out.cols, run0.sums(left, right), left, right);
    this.upload(...this.rowsOf(out));
  }

  /** Runs a kernel whose sums become bytes; the header before them is the host's. */
  private async stored(kernel: Kernel, left: Matrix, right: Matrix, out: Matrix): Promise<void> {
    const count = out.rows * out.cols;
    writeMatrix(this.core.pixels, { ...out, data: new Uint8Array(count) });
    this.begin(left, right, out, count);
    this.dispatch(kernel, count);
    if (out.encoding !== "headerless") {
      const at = out.row * this.core.width;
      const header = this.core.words().slice(at, at + Math.min(2, this.core.width));
      this.gpu.write(this.buffer, at, header);
    }
    this.dispatch("settle", count);
    await this.fetch(...this.rowsOf(out));
  }

  private async blit({ width, height, places }: run0.Glyphs): Promise<void> {
    if (!places.length) return;
    const count = places.length;
    const size = width * height;
    const none = result(0, count, height, "headerless");
    this.begin(none, none, none, count * (2 + size), width);
    this.gpu.write(this.totals!, 0, Uint32Array.from(places.flat()));
    this.dispatch("lift", count * size);
    this.dispatch("lay", count * size);
    const rows = places.map(([, to]) => Math.floor(to / this.core.width));
    await this.fetch(rows[0]!, rows.at(-1)! + height);
  }

  /** The image rows of a matrix. */
  private rowsOf({ row, rows, cols, encoding }: Matrix): [number, number] {
    return [row, row + rowsNeeded(rows * cols, this.core.width, encoding)];
  }

  /** Says what the next dispatches work on; `words` of sums. */
  private begin(left: Matrix, right: Matrix, out: Matrix, words = 1, inner = left.cols): void {
    this.totals?.destroy();
    this.totals = this.gpu.buffer(words);
    const places = [left, right, out].flatMap((m) => [m.row, firstColumn(m.encoding)]);
    this.gpu.write(this.job, 0, Uint32Array.from([...places, out.rows, inner, out.cols]));
  }

  private dispatch(kernel: Kernel, invocations: number): void {
    const { device } = this.gpu;
    const group = device.createBindGroup({
      layout: bindings(this.gpu),
      entries: [this.job, this.buffer, this.totals!].map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    const groups = Math.ceil(invocations / N.ROW_LANES);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.pipelines.get(kernel)!);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(Math.min(groups, N.ROW_GROUPS), Math.ceil(groups / N.ROW_GROUPS));
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  private upload(first: number, stop: number): void {
    const { width } = this.core;
    this.gpu.write(this.buffer, first * width, this.core.words().subarray(first * width, stop * width));
  }

  /** Image rows as the device has them. */
  private async fetch(first: number, stop: number): Promise<void> {
    const { width } = this.core;
    const words = await this.gpu.read(this.buffer, first * width, (stop - first) * width);
    this.core.words().set(words, first * width);
  }
}

/** A matrix that is not there yet. */
function result(row: number, rows: number, cols: number, encoding: Encoding): Matrix {
  return { row, rows, cols, encoding, data: new Uint8Array(0), scale: 1, offset: 0 };
}

/** Kernels that a program can come to. */
function kernelsOf(core: Core0): Kernel[] {
  const needed: Record<string, Kernel[]> = {
    MatMul: ["product", "margins", "settle"],
    Add: ["add", "settle"],
    Dot: ["dot_product"],
    Blit: ["lift", "lay"],
  };
  const names = new Set(core.info.instructions.flatMap(({ name }) => needed[name] ?? []));
  return KERNELS.filter((kernel) => names.has(kernel));
}

function bindings({ device }: Gpu): GPUBindGroupLayout {
  const kinds: GPUBufferBindingType[] = ["uniform", "storage", "storage"];
  return device.createBindGroupLayout({
    entries: kinds.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } })),
  });
}
