import type { InstructionInfo, ProgramInfo, Session } from "../../api.ts";
import { opcode } from "../opcodes.ts";
import type { Run } from "./run.svelte.ts";

/** What the newest row of an attention's query looks at. */
export interface Attended {
  index: number;
  /** Value of the base register: which layer it is. */
  base: number;
  /** For each head the share of each place, oldest first; a head's shares add up to 1. */
  heads: Float64Array[];
  /** Ids of the tokens at these places, where the program keeps them. */
  ids: number[];
}

/** Words of a descriptor, and where the header names descriptors and state. */
const DESCRIPTOR = 16;
const DESCRIPTORS = 4;
const STATE = 6;
/** The base register's place in the state. */
const BASE = 1;

/** Opcodes whose shares can be shown. */
const SHOWN = new Set(["AttentionCausal", "AttentionWindow"]);

export function isAttention({ name }: InstructionInfo): boolean {
  return SHOWN.has(name);
}

/** The attention instruction that the program stands at, if it does. */
export function attention(run: Run): InstructionInfo | undefined {
  const next = run.program.instructions[run.stop.counter];
  return run.session && next && isAttention(next) ? next : undefined;
}

/** Compute, in floating point and for the eye only, the shares that the instruction is about to use. */
export async function attended(run: Run, instruction: InstructionInfo): Promise<Attended> {
  const session = await run.machine();
  const { program, picture } = run;
  const base = await register(session, picture.width, picture.words[STATE] + BASE);
  const [, q, block] = instruction.text.split("@").slice(1).map((each) => resolved(Number(each), base));
  const words = picture.words.subarray(picture.words[DESCRIPTORS] + DESCRIPTOR * block + 1);
  const names = opcode(1, instruction.name)!.parameters;
  const parameter = (name: string): number => words[names.indexOf(name)];
  const scale = (parameter("scale") & 0xffff) * 2 ** ((parameter("scale") | 0) >> 16);
  const keys = program.tensors.find((each) => each.index === parameter("k"))!;
  const query = await lastRow(session, program, q);
  const known = await session.read(keys.index);
  const position = (await session.read(parameter("position")))[0];
  const width = keys.cols;
  const heads = query.length / width;
  const groups = keys.rects.length && (await extents(run, keys.index))[0];
  const context = keys.rows / groups;
  const places = Math.min(position + 1, context);
  const first = names.includes("window") ? Math.max(places - parameter("window"), 0) : 0;
  const shares = Array.from({ length: heads }, (_, head) => {
    const group = Math.floor((head * groups) / heads);
    const own = query.subarray(head * width, (head + 1) * width);
    const found = new Float64Array(places);
    found.set(softmax(own, known, group * context + first, places - first, scale), first);
    return found;
  });
  return { index: instruction.index, base, heads: shares, ids: await tokens(session, program, places) };
}

function resolved(operand: number, base: number): number {
  return operand < 128 ? operand : base + operand - 128;
}

async function register(session: Session, width: number, word: number): Promise<number> {
  const [value] = await session.words({ x: word % width, y: Math.floor(word / width), width: 1, height: 1 });
  return value;
}

async function extents(run: Run, tensor: number): Promise<number[]> {
  const { words } = run.picture;
  const at = words[DESCRIPTORS] + DESCRIPTOR * tensor;
  return [...words.subarray(at + 1, at + 5)];
}

async function lastRow(session: Session, program: ProgramInfo, index: number): Promise<Float64Array> {
  const tensor = program.tensors.find((each) => each.index === index)!;
  return (await session.read(index)).subarray((tensor.rows - 1) * tensor.cols);
}

function softmax(query: Float64Array, keys: Float64Array, row: number, places: number, scale: number): Float64Array {
  const width = query.length;
  const scores = Float64Array.from({ length: places }, (_, place) => {
    const from = (row + place) * width;
    let sum = 0;
    for (let i = 0; i < width; i++) sum += query[i] * keys[from + i];
    return sum * scale;
  });
  const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = scores.map((score) => Math.exp(score - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** The ids of the tokens so far: models keep them in a list of this name. */
async function tokens(session: Session, program: ProgramInfo, places: number): Promise<number[]> {
  const history = program.tensors.find((each) => each.name === "history");
  return history ? [...(await session.read(history.index)).subarray(0, places)] : [];
}
