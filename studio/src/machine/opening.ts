/** What a file is: told from its header and its pixels, before anything of it runs. */

import type { Opened, Picture, ProgramInfo, Progress } from "../api.ts";
import { PxvmError } from "../api.ts";
import { parse0 } from "./dialect0.ts";
import { info0, info1 } from "./info.ts";
import { readPng } from "./png.ts";
import type { Program } from "./program1.ts";
import { FORMAT } from "./table.ts";
import { verify } from "./verifier1.ts";
import { code, Wasm } from "./wasm.ts";

/** Of a knowledge picture: its width, and how its first record begins, a bit a pixel. */
const MEMORY_WIDTH = 1024;
const MEMORY_MAGIC = [0x89, 0x70, 0x78, 0x52, 0x45, 0x43, 0x0d, 0x0a];
/** Where its own layout says so: a chunk of this name behind IHDR, in 1-bit grey. */
const MARK = [0x70, 0x78, 0x56, 0x4d];
const MARK_AT = 37;

/** All but the file itself, which whoever asks has. */
export type Found = Omit<Opened, "bytes">;

export async function openBytes(name: string, bytes: Uint8Array, progress?: Progress): Promise<Found> {
  if (isMarkedMemory(bytes)) {
    const height = new DataView(bytes.buffer, bytes.byteOffset).getUint32(20);
    const picture = { width: MEMORY_WIDTH, height, words: new Uint32Array(0), texts: new Map<string, string>() };
    return { kind: "memory", name, picture };
  }
  const picture = readPng(new Wasm(await code()), bytes, name, progress);
  return { ...judge(picture, name), name, picture };
}

function isMarkedMemory(bytes: Uint8Array): boolean {
  if (bytes.length < 64 || !MARK.every((byte, i) => bytes[MARK_AT + i] === byte)) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getUint32(16) === MEMORY_WIDTH && bytes[24] === 1 && bytes[25] === 0;
}

function isMemory(picture: Picture): boolean {
  if (picture.width !== MEMORY_WIDTH) return false;
  return MEMORY_MAGIC.every((byte, i) => {
    let found = 0;
    for (let bit = 0; bit < 8; bit++) found = (found << 1) | (((picture.words[8 * i + bit] ?? 0) >> 7) & 1);
    return found === byte;
  });
}

/** Kind and program of a picture; where it is no program, it is a picture that may say why. */
function judge(picture: Picture, name: string): { kind: Opened["kind"]; program?: ProgramInfo; refused?: string } {
  if (isMemory(picture)) return { kind: "memory" };
  const one = picture.words[0] === FORMAT.magic;
  try {
    if (!one) return { kind: "program", program: info0(picture, parse0(picture), name) };
    const program = verify(picture);
    return { kind: isModel(program) ? "model" : "program", program: info1(picture, program, name) };
  } catch (error) {
    if (!(error instanceof PxvmError)) throw error;
    const plain = !one && /^this picture is no pxVM program/.test(error.message);
    return { kind: plain ? "picture" : "program", refused: error.message };
  }
}

/** Whether it writes text: the tensors that a language model is known by, and a tokenizer. */
export function isModel(program: Program): boolean {
  const names = new Set(program.descriptors.map((d) => d.name));
  return ["token", "rope", "sampler", "tokenizer", "settings"].every((name) => names.has(name));
}
