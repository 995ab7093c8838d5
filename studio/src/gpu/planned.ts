/**
 * The planned way: the host decodes and follows the program's control flow, and every other
 * instruction becomes a dispatch of the shader that the opcode's name says, many in one submission.
 */

import type { Instruction } from "../machine/instruction.ts";
import { named as indexOf, type Program } from "../machine/program1.ts";
import { DTYPE, LIMITS, STATE, STATUS } from "../machine/table.ts";
import type { Descriptor } from "../machine/tensor.ts";
import type { Gpu } from "./device.ts";
import { groupsOf, scratchWords, spread } from "./groups.ts";
import type { Picture } from "./picture.ts";
import { type Operands, operandsOf } from "./program.ts";
import { moduleText, NUMBERS as N, operation } from "./shaders.ts";

const SHORT = 15; // milliseconds: a submission that is done sooner is followed by a larger one
const LONG = 45; // and one that takes longer by a smaller one, so that stopping is soon
const TURN = 12; // milliseconds of the host's own work before the page has its turn

/** What a run stops at besides its program's own end. */
export interface Ends {
  maxSteps: number;
  /** Whether to stop before the instruction that comes next. */
  before?: (counter: number) => boolean;
  /** Whether to stop after an instruction that has written these tensors. */
  after?: (written: ReadonlySet<number>) => Promise<boolean>;
  stopped: () => boolean;
}

function pageTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** A program that the host follows on a device. */
export class Planned {
  state = new Int32Array(N.STATE_WORDS);
  /** Tensors that the device has written since this was last emptied. */
  readonly wrote = new Set<number>();
  private readonly pipelines = new Map<string, GPUComputePipeline>();
  private readonly operands = new Map<number, Operands>();
  private readonly calls = new Uint32Array(N.ALIGNED * N.CALLS);
  private waiting: { pipeline: GPUComputePipeline; groups: number }[] = [];
  /** Dispatches of a submission, as many as take some 30 ms. */
  private most = 16;
  private flight: Promise<void> | undefined;
  private scratch!: GPUBuffer;
  private uniform!: GPUBuffer;
  private group!: GPUBindGroup;

  constructor(
    private readonly gpu: Gpu,
    private readonly program: Program,
    private readonly picture: Picture,
  ) {}

  /** Makes buffers and compiles what the program uses. */
  async prepare(told?: (done: number, whole: number) => void): Promise<void> {
    const { gpu, picture } = this;
    const layout = await gpu.told("its bindings", () => {
      this.scratch = gpu.buffer(scratchWords(this.program));
      this.uniform = gpu.buffer(N.ALIGNED * N.CALLS, GPUBufferUsage.UNIFORM);
      const made = gpu.device.createBindGroupLayout({ entries: bindings() });
      const buffers = [this.uniform, picture.tensors, picture.changing, this.scratch];
      this.group = gpu.device.createBindGroup({
        layout: made,
        entries: [...buffers, ...picture.images].map((buffer, binding) => ({
          binding,
          resource: binding ? { buffer } : { buffer, size: 16 },
        })),
      });
      return gpu.device.createPipelineLayout({ bindGroupLayouts: [made] });
    });
    const names = this.operations();
    let done = 0;
    told?.(done, names.length);
    await Promise.all(
      names.map(async (name) => {
        this.pipelines.set(name, await this.pipeline(name, layout));
        told?.(++done, names.length);
      }),
    );
  }

  /** Shaders that the program can come to. */
  private operations(): string[] {
    const names = new Set<string>();
    for (const [index] of this.program.visits) {
      const { op } = this.program.instructions[index]!;
      if (op.flow !== "NEXT") continue;
      names.add(operation(op.code));
      if (op.name === "Push") names.add("push_length");
    }
    if (this.picture.cleared.length) names.add("clear");
    return [...names];
  }

  /** The compiled shader of an operation, kept with the device. */
  private pipeline(name: string, layout: GPUPipelineLayout): Promise<GPUComputePipeline> {
    const { gpu, picture } = this;
    const grouped = this.program.descriptors.some((d) => d.dtype === DTYPE.I4);
    const key = `${name} ${picture.windows} ${grouped}`;
    let found = gpu.pipelines.get(key);
    if (!found) {
      found = moduleText(gpu.window, picture.windows, grouped, [name]).then((code) =>
        gpu.told(`the shader of ${name}`, () =>
          gpu.device.createComputePipelineAsync({
            layout,
            compute: { module: gpu.device.createShaderModule({ code }), entryPoint: `run_${name}` },
          }),
        ),
      );
      found.catch(() => gpu.pipelines.delete(key));
      gpu.pipelines.set(key, found);
    }
    return found;
  }

  /** Executes until Halt, Yield or one of the ends; returns the steps made. */
  async run(ends: Ends): Promise<number> {
    const s = this.state;
    if (s[STATE.STATUS] === STATUS.yielded) s[STATE.STATUS] = STATUS.ready;
    this.gpu.write(this.picture.changing, 0, new Uint32Array(N.STATE_WORDS));
    let made = 0;
    let turn = performance.now();
    while (s[STATE.STATUS] === STATUS.ready && made < ends.maxSteps && !ends.stopped()) {
      if (made && ends.before?.(s[STATE.PC]!)) break;
      const instruction = this.program.instructions[s[STATE.PC]!]!;
      s[STATE.STEPS] = (s[STATE.STEPS]! + 1) & 0x7fffffff;
      s[STATE.PC]! += 1;
      let written: ReadonlySet<number> = NOTHING;
      if (instruction.op.flow === "NEXT") written = this.compute(instruction);
      else await this.control(instruction);
      made += 1;
      if (this.waiting.length >= this.most) await this.flush();
      if (ends.after && written.size && (await ends.after(written))) break;
      if (performance.now() - turn > TURN) {
        await pageTurn();
        this.gpu.check();
        turn = performance.now();
      }
    }
    await this.flush();
    const marks = await this.picture.catchUp();
    for (const word of [STATE.SATURATED, STATE.CLAMPED]) if (marks[word]) s[word] = 1;
    return made;
  }

  private compute(instruction: Instruction): ReadonlySet<number> {
    const operands = this.operandsOf(instruction);
    const { named, written } = operands;
    const g = named[0]!;
    const given: [number, number, number] = [g, named[1] ?? g, named[2] ?? g];
    const groups = groupsOf(instruction.op.name, operands, (d) => this.rows(d));
    this.dispatch(operation(instruction.op.code), given, groups);
    for (const index of written) this.mark(index);
    if (instruction.op.name === "Copy") this.picture.copied(operands.tensors[0]!, operands.tensors[1]!);
    if (instruction.op.name === "Push") this.dispatch("push_length", given, 1);
    return written;
  }

  private operandsOf(instruction: Instruction): Operands {
    const base = this.state[STATE.BASE]!;
    const key = instruction.index * 65536 + base;
    let found = this.operands.get(key);
    if (!found) {
      found = operandsOf(this.program, instruction, base);
      this.operands.set(key, found);
    }
    return found;
  }

  private mark(index: number): void {
    this.picture.written(index);
    this.wrote.add(index);
  }

  /** Rows in use, as far as the host knows. */
  private rows(d: Descriptor): number {
    if (d.length === null) return d.rows;
    const used = this.picture.scalar(this.program.descriptors[d.length]!);
    return used === undefined ? d.rows : Math.min(Math.max(used, 0), d.rows);
  }

  /** The first element of the I32 tensor that an operand names, at this point of the run. */
  private async value(operand: number): Promise<number> {
    const d = this.program.descriptors[indexOf(operand, this.state[STATE.BASE]!)]!;
    const known = this.picture.scalar(d);
    if (known !== undefined) return known;
    await this.flush();
    const words = await this.picture.words([d.index]);
    return words.get(d.index)![0]! | 0;
  }

  private async control({ op, operands, index }: Instruction): Promise<void> {
    const s = this.state;
    const [g, b, a] = operands;
    switch (op.flow) {
      case "HALT":
        s[STATE.PC]! -= 1;
        s[STATE.STATUS] = STATUS.halted;
        this.clear();
        break;
      case "YIELD":
        s[STATE.STATUS] = STATUS.yielded;
        this.clear();
        break;
      case "LOOP": {
        const count = Math.min(Math.max(await this.value(g), 0), LIMITS.count);
        if (!count) {
          s[STATE.PC] = this.program.match.get(index)! + 1;
          break;
        }
        const at = STATE.LOOP_STACK + 4 * s[STATE.LOOPS]!;
        s.set([s[STATE.PC]!, count, a, s[STATE.BASE]!], at);
        s[STATE.LOOPS]! += 1;
        break;
      }
      case "END_LOOP": {
        const at = STATE.LOOP_STACK + 4 * (s[STATE.LOOPS]! - 1);
        s[at + 1]! -= 1;
        if (s[at + 1]) {
          s[STATE.PC] = s[at]!;
          s[STATE.BASE]! += s[at + 2]!;
          break;
        }
        s[STATE.BASE] = s[at + 3]!;
        s.fill(0, at, at + 4);
        s[STATE.LOOPS]! -= 1;
        break;
      }
      case "CALL": {
        const at = STATE.CALL_STACK + 2 * s[STATE.CALLS]!;
        s.set([s[STATE.PC]!, s[STATE.BASE]!], at);
        s[STATE.CALLS]! += 1;
        s[STATE.PC] = g | (b << 8);
        s[STATE.BASE]! += a;
        break;
      }
      case "RETURN": {
        const at = STATE.CALL_STACK + 2 * (s[STATE.CALLS]! - 1);
        s[STATE.PC] = s[at]!;
        s[STATE.BASE] = s[at + 1]!;
        s.fill(0, at, at + 2);
        s[STATE.CALLS]! -= 1;
        break;
      }
      case "SKIP":
        if ((await this.value(g)) === 0) s[STATE.PC]! += a;
    }
  }

  private clear(): void {
    for (const d of this.picture.cleared) {
      const { index } = d;
      this.dispatch("clear", [index, index, index], spread(this.rows(d) * d.rowWords));
      this.mark(index);
    }
  }

  private dispatch(name: string, operands: [number, number, number], groups: number): void {
    if (groups < 1) return;
    if (this.waiting.length === N.CALLS) this.submit();
    this.calls.set(operands, N.ALIGNED * this.waiting.length);
    const pipeline = this.pipelines.get(name)!;
    this.waiting.push({ pipeline, groups: Math.min(groups, N.MOST_GROUPS) });
  }

  /** Gives the device what waits, once it has done what it was given before. */
  async flush(): Promise<void> {
    await this.flight;
    this.gpu.check();
    const begin = performance.now();
    this.submit();
    const done = (): void => {
      const took = performance.now() - begin;
      if (took < SHORT) this.most = Math.min(2 * this.most, N.CALLS);
      else if (took > LONG) this.most = Math.max(this.most >> 1, 1);
    };
    this.flight = this.gpu.device.queue.onSubmittedWorkDone().then(done, () => undefined);
  }

  private submit(): void {
    if (!this.waiting.length) return;
    const { device } = this.gpu;
    const count = this.waiting.length;
    this.gpu.write(this.uniform, 0, this.calls.subarray(0, N.ALIGNED * count));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    this.waiting.forEach(({ pipeline, groups }, number) => {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, this.group, [4 * N.ALIGNED * number]);
      pass.dispatchWorkgroups(groups);
    });
    pass.end();
    device.queue.submit([encoder.finish()]);
    this.waiting = [];
  }

  close(): void {
    this.scratch?.destroy();
    this.uniform?.destroy();
  }
}

const NOTHING: ReadonlySet<number> = new Set();

/** The bindings of every shader, as in planned.wgsl. */
function bindings(): GPUBindGroupLayoutEntry[] {
  const read: GPUBufferBindingType = "read-only-storage";
  const images = Array<GPUBufferBindingType>(N.WINDOWS).fill(read);
  const kinds: GPUBufferBindingType[] = ["uniform", read, "storage", "storage", ...images];
  return kinds.map((type, binding) => ({
    binding,
    visibility: GPUShaderStage.COMPUTE,
    buffer: { type, hasDynamicOffset: type === "uniform" },
  }));
}
