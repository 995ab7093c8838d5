/** A GPU that is open: buffers in, buffers out, and one clear sentence for what fails. */

import { DeviceError } from "../api.ts";
import { sizeText } from "../machine/sizes.ts";
import { LIMITS } from "./shaders.ts";

/** WebGPU's names of what `pxvm.gpu.devices.LIMITS` lists. */
function camel(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

export const INSTEAD = "WebAssembly goes on";

/** A driver's text as one line without control characters. */
function plain(text: string): string {
  return text.replace(/[\p{C}\s]+/gu, " ").trim();
}

async function adapter(): Promise<GPUAdapter> {
  if (!globalThis.navigator?.gpu) {
    throw new DeviceError(
      `this page has no WebGPU: expected a browser that has it, at https or localhost; ${INSTEAD}`,
    );
  }
  const options: GPURequestAdapterOptions = { powerPreference: "high-performance" };
  const found = await navigator.gpu.requestAdapter(options).catch(() => null);
  if (!found) throw new DeviceError(`no GPU here: the browser offers none; ${INSTEAD}`);
  for (const [name, least] of Object.entries(LIMITS)) {
    const has = found.limits[camel(name) as keyof GPUSupportedLimits] as number;
    if (has < least) {
      throw new DeviceError(`the GPU has ${name} ${has}; expected at least ${least}; ${INSTEAD}`);
    }
  }
  return found;
}

/** The GPU's name where one can be used here; why none can, `startGpu` says. */
export async function gpuAvailable(): Promise<string | undefined> {
  return adapter().then(nameOf, () => undefined);
}

function nameOf({ info }: GPUAdapter): string {
  const { vendor, architecture, device, description } = info;
  return plain(description || [vendor, architecture, device].filter(Boolean).join(" ")) || "GPU";
}

export class Gpu {
  readonly name: string;
  /** True for a processor that plays a GPU. */
  readonly isSoftware: boolean;
  /** Words that one storage binding may hold. */
  readonly window: number;
  readonly pipelines = new Map<string, Promise<GPUComputePipeline>>();
  /** Why the device can do nothing more. */
  lost: DeviceError | undefined;
  private readonly most: number;

  private constructor(
    adapter: GPUAdapter,
    readonly device: GPUDevice,
  ) {
    this.name = nameOf(adapter);
    this.isSoftware =
      adapter.info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|warp/i.test(this.name);
    this.most = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
    this.window = Math.floor(this.most / 256) * 64;
    device.lost.then((info) => this.end("was lost: its driver reset it, or it went away", info));
    device.addEventListener("uncapturederror", ({ error }) => this.end("refuses the program", error));
  }

  private itself: Promise<Gpu> | undefined;

  static async open(): Promise<Gpu> {
    const from = await adapter();
    const limits: Record<string, number> = {};
    for (const name of Object.keys(LIMITS)) {
      const key = camel(name);
      limits[key] = from.limits[key as keyof GPUSupportedLimits] as number;
    }
    try {
      return new Gpu(from, await from.requestDevice({ requiredLimits: limits }));
    } catch (error) {
      throw new DeviceError(`the GPU does not open: ${plain((error as Error).message)}; ${INSTEAD}`);
    }
  }

  /** The device that all sessions share; one that was lost is opened anew. */
  static shared(): Promise<Gpu> {
    if (!opened) {
      const opening = Gpu.open();
      opened = opening;
      opening.then(
        (gpu) => (gpu.itself = opening),
        () => (opened = undefined),
      );
    }
    return opened;
  }

  private end(what: string, { message }: { message: string }): void {
    this.lost ??= this.failure(what, message);
    if (opened === this.itself) opened = undefined;
  }

  failure(what: string, reason = ""): DeviceError {
    const why = plain(reason);
    return new DeviceError(`GPU (${this.name}) ${what}${why ? `: ${why}` : ""}; ${INSTEAD}`);
  }

  /** Throws where the device is gone. */
  check(): void {
    if (this.lost) throw this.lost;
  }

  /** What WebGPU says of `action`, as an error of ours; `what` is named where there is no room. */
  async told<T>(what: string, action: () => T | Promise<T>): Promise<T> {
    this.check();
    const { device } = this;
    const filters = ["validation", "out-of-memory", "internal"] as const;
    for (const filter of filters) device.pushErrorScope(filter);
    let result: T | undefined;
    let thrown: unknown;
    try {
      result = await action();
    } catch (error) {
      thrown = error;
    }
    const found: (GPUError | null)[] = [];
    for (let scope = 0; scope < filters.length; scope++) {
      found.push(await device.popErrorScope().catch(() => null));
    }
    this.check();
    const [internal, memory, validation] = found;
    if (memory) throw this.failure(`has no room for ${what}`);
    const error = validation ?? internal;
    if (error) throw this.failure(`refuses ${what}`, error.message);
    if (thrown instanceof DeviceError) throw thrown;
    if (thrown) throw this.failure(`refuses ${what}`, (thrown as Error).message);
    return result as T;
  }

  /** Bytes of a buffer of so many words. Throws where one binding cannot hold them. */
  bytes(words: number): number {
    const size = Math.max(4 * words, 256);
    if (size > this.most) {
      throw this.failure(
        `takes ${sizeText(this.most)} in one piece; the program needs ${sizeText(size)}`,
      );
    }
    return size;
  }

  /** A buffer of so many words, all zero; inside `told`. */
  buffer(words: number, kind: GPUBufferUsageFlags = GPUBufferUsage.STORAGE): GPUBuffer {
    const usage = kind | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    return this.device.createBuffer({ size: this.bytes(words), usage });
  }

  write(buffer: GPUBuffer, first: number, words: Uint32Array | Int32Array): void {
    const data = words as Uint32Array<ArrayBuffer>;
    this.device.queue.writeBuffer(buffer, 4 * first, data);
  }

  /** Words of a buffer, once the device has done all that was submitted. */
  async read(buffer: GPUBuffer, first: number, count: number): Promise<Uint32Array> {
    if (!count) return new Uint32Array(0);
    return this.told(`a copy of ${sizeText(4 * count)}`, async () => {
      const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
      const staging = this.device.createBuffer({ size: 4 * count, usage });
      try {
        const encoder = this.device.createCommandEncoder();
        encoder.copyBufferToBuffer(buffer, 4 * first, staging, 0, 4 * count);
        this.device.queue.submit([encoder.finish()]);
        await staging.mapAsync(GPUMapMode.READ);
        return new Uint32Array(staging.getMappedRange().slice(0));
      } finally {
        staging.destroy();
      }
    });
  }

  /** The device has done all that was submitted. */
  async done(): Promise<void> {
    await this.device.queue.onSubmittedWorkDone();
    this.check();
  }
}

let opened: Promise<Gpu> | undefined;
