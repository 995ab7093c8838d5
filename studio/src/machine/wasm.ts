/** The WebAssembly part: its functions, and its memory, which is handed out from below upwards. */

import { PxvmError } from "../api.ts";
import { sizeText } from "./sizes.ts";

/** Functions of assembly/index.ts; addresses are unsigned, but come back signed. */
export interface Functions {
  memory: WebAssembly.Memory;
  heapBase(): number;
  crc32(crc: number, at: number, length: number): number;
  adler32(sum: number, at: number, length: number): number;
  inflate(from: number, length: number, to: number, room: number): number;
  inflatedFrom(): number;
  inflatedTo(): number;
  largestFilter(at: number, stride: number, rows: number): number;
  wholeRows(from: number, to: number, above: number, bytes: number, rows: number): void;
  plainRows(at: number, bytes: number, pixel: number, rows: number, first: number): void;
  expand(
    at: number, width: number, rows: number, rowBytes: number, depth: number, colour: number,
    table: number, key: number, to: number, step: number, rowStep: number,
  ): number;
  shaBegin(): void;
  shaUpdate(at: number, length: number): void;
  shaFinish(): number;
  bind(
    picture: number, width: number, descriptors: number, count: number, code: number, instructions: number,
    match: number, modes: number, state: number, scratch: number,
  ): void;
  run(most: number, until: number, checked: number): number;
  steps(): number;
  breakpoints(): number;
  written(): number;
  saved(): number;
}

/** What a run asks of the page while it is under way. */
export interface Host {
  /** Milliseconds. */
  now(): number;
  /** A tensor is about to be written for the first time since its mark was taken away. */
  saving(descriptor: number): void;
}

const PAGE = 1 << 16;
const MOST = 65536 * PAGE;

let compiled: Promise<WebAssembly.Module> | undefined;

/** The module's code, fetched once. */
export function code(): Promise<WebAssembly.Module> {
  compiled ??= fetch(new URL("./machine.wasm", import.meta.url))
    .then((answer) => answer.arrayBuffer())
    .then((bytes) => WebAssembly.compile(bytes));
  return compiled;
}

export class Wasm {
  readonly functions: Functions;
  private next: number;

  constructor(module: WebAssembly.Module, host?: Host) {
    const nothing = { now: () => 0, saving: () => undefined };
    const instance = new WebAssembly.Instance(module, { host: { ...(host ?? nothing) } });
    this.functions = instance.exports as unknown as Functions;
    this.next = this.functions.heapBase();
  }

  static async load(host?: Host): Promise<Wasm> {
    return new Wasm(await code(), host);
  }

  /** Address of so many bytes, at a multiple of 64; refused where there is not so much memory. */
  take(bytes: number, what: string): number {
    const at = Math.ceil(this.next / 64) * 64;
    const { memory } = this.functions;
    const missing = at + bytes + PAGE - memory.buffer.byteLength;
    if (at + bytes + PAGE > MOST) throw lacking(what, bytes);
    if (missing > 0) {
      try {
        memory.grow(Math.ceil(missing / PAGE));
      } catch {
        throw lacking(what, bytes);
      }
    }
    this.next = at + bytes;
    return at;
  }

  bytes(at: number, count: number): Uint8Array {
    return new Uint8Array(this.functions.memory.buffer, at >>> 0, count);
  }

  words(at: number, count: number): Uint32Array {
    return new Uint32Array(this.functions.memory.buffer, at >>> 0, count);
  }
}

function lacking(what: string, bytes: number): PxvmError {
  return new PxvmError(`${what} needs ${sizeText(bytes)} of memory; found less than that free`);
}
