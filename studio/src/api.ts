/** What the rooms of the studio know of each other: the machine, the GPU, the memory and the page. */

/** What a file turned out to be; `model` is a program that carries a tokenizer. */
export type Kind = "program" | "model" | "memory" | "picture";

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Pixels as they stand in the file: one word each, R in the lowest byte, then G, B, A. */
export interface Picture {
  width: number;
  height: number;
  words: Uint32Array;
  /** tEXt, zTXt and iTXt chunks by keyword. */
  texts: Map<string, string>;
}

export interface TensorInfo {
  /** The descriptor's number, in dialect 0 the image row. */
  index: number;
  name: string;
  dtype: string;
  role: string;
  rows: number;
  cols: number;
  /** Pixels that it covers. */
  rects: Rect[];
}

export interface InstructionInfo {
  index: number;
  x: number;
  y: number;
  /** Opcode's letter, its name, and the whole instruction in font-code. */
  letter: string;
  name: string;
  text: string;
  /** Loops that it stands in. */
  depth: number;
}

export interface ProgramInfo {
  dialect: 0 | 1;
  title: string;
  tensors: TensorInfo[];
  instructions: InstructionInfo[];
  /** Bytes that running it takes, picture included; known before they are taken. */
  memory: number;
}

/** What the page knows of a file before anything of it runs. */
export interface Opened {
  kind: Kind;
  name: string;
  picture: Picture;
  /** Where it is a program that the verifier admits. */
  program?: ProgramInfo;
  /** The verifier's sentence where it refuses. */
  refused?: string;
}

/** One clear sentence: where, expected, found, fix. */
export class PxvmError extends Error {}

export type Progress = (done: number, whole: number, what: string) => void;

export interface Stop {
  status: "ready" | "yielded" | "halted" | "paused" | "failed";
  /** Instruction that comes next. */
  counter: number;
  steps: number;
  /** Pixels that the last run or step changed. */
  changed: Rect[];
  error?: string;
}

export interface RunOptions {
  maxSteps?: number;
  breakpoints?: number[];
  /** Runs to this instruction. */
  until?: number;
  /** Stops when pixels of this rectangle change. */
  watch?: Rect[];
}

/** A program that runs, in a worker or on a GPU; every executor gives the same words. */
export interface Session {
  readonly program: ProgramInfo;
  /** "wasm" or the GPU's name. */
  readonly executor: string;
  run(options?: RunOptions): Promise<Stop>;
  step(count?: number): Promise<Stop>;
  back(count?: number): Promise<Stop>;
  /** Ends a run that is under way; it resolves with "paused". */
  stop(): void;
  /** A tensor's values, row by row. */
  read(tensor: number): Promise<Float64Array>;
  write(tensor: number, values: ArrayLike<number>): Promise<void>;
  words(rect: Rect): Promise<Uint32Array>;
  /** The whole picture as it is now. */
  picture(): Promise<Picture>;
  /** The file as Python would save it: a PNG. */
  save(): Promise<Uint8Array>;
  /** SHA-256 of the picture's words, as `pxvm` prints it. */
  sha256(): Promise<string>;
  close(): Promise<void>;
}

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

export interface Sampling {
  temperature?: number;
  topP?: number;
  seed?: number;
  maxTokens?: number;
}

export interface Token {
  id: number;
  text: string;
  /** The likeliest next tokens with their probability where the page asked for them. */
  likely?: { id: number; text: string; probability: number }[];
}

/** Opens whatever the user dropped. Rejects with a PxvmError where it is no PNG that pxVM reads. */
export type Open = (name: string, bytes: Uint8Array<ArrayBuffer>, progress?: Progress) => Promise<Opened>;

/** Makes a machine for an opened program, on WebAssembly or on a GPU. */
export type Start = (opened: Opened, progress?: Progress) => Promise<Session>;

/** A language model that answers from its picture. */
export interface Chat {
  readonly session: Session;
  readonly context: number;
  answer(
    messages: ChatMessage[],
    sampling: Sampling,
    told: (token: Token) => void,
    signal: AbortSignal,
  ): Promise<{ text: string; tokens: number; cut: boolean; seconds: number }>;
}

/** A record of a knowledge picture. */
export interface MemoryRecord {
  number: number;
  kind: string;
  time: string;
  title: string;
  text: string;
  source: string;
  tags: string[];
  /** "standing", "forgotten", "corrected", "replaced" ...: as `pxvm` says it. */
  standing: string;
  meta: Record<string, unknown>;
  /** Rows of the picture that it takes. */
  rows: { first: number; count: number };
}

export interface Hit {
  record: number;
  score: number;
  snippet: string;
}

/** A knowledge picture, read in the page or through the local server. */
export interface Memory {
  readonly count: number;
  readonly writable: boolean;
  records(first: number, count: number): Promise<MemoryRecord[]>;
  search(query: string, limit?: number, filters?: Record<string, string>): Promise<Hit[]>;
  /** Image rows of all pages together, one page under the other; each is 1,024 dots wide. */
  readonly rows: number;
  /** `count` image rows from `first` on, 128 bytes each, as FORMAT says: leftmost dot highest, white 1. */
  bits(first: number, count: number): Promise<Uint8Array>;
}
