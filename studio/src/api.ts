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
  /** The file as it was given. */
  bytes: Uint8Array<ArrayBuffer>;
  /**
   * A memory in pxVM's own layout (1,024 wide, chunk pxVM at byte 37) stands here without words: it may
   * have a billion dots, and `openMemory` reads them from `bytes` as they are needed.
   */
  picture: Picture;
  /** Where it is a program that the verifier admits. */
  program?: ProgramInfo;
  /** The verifier's sentence where it refuses. */
  refused?: string;
}

/** One clear sentence: where, expected, found, fix. */
export class PxvmError extends Error {}

/** A GPU lacks, refuses or has lost what a session needs; another executor goes on. */
export class DeviceError extends PxvmError {}

/** A message that a model has no room for; less of it may fit. */
export class RoomError extends PxvmError {}

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

export interface Cost {
  /** The instruction's number. */
  index: number;
  steps: number;
  milliseconds: number;
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
  /** Runs at most so many instructions, up to a stop, one at a time, and says what each took; cannot be gone back. */
  profile?(maxSteps: number): Promise<Cost[]>;
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
  /** What these tokens say, special ones included. */
  text(ids: number[]): string;
  answer(
    messages: ChatMessage[],
    sampling: Sampling,
    told: (token: Token) => void,
    signal: AbortSignal,
  ): Promise<{ text: string; tokens: number; cut: boolean; seconds: number }>;
}

/** A record of a knowledge picture. */
export interface MemoryRecord {
  /** Its number in the network, as `pxvm` prints it. */
  number: number;
  kind: string;
  /** When it happened, or else when it was stored: ISO 8601, UTC. */
  time: string;
  /** The question, or a passage's heading; may be empty. */
  title: string;
  text: string;
  source: string;
  /** As of now, later changes taken in. */
  tags: string[];
  standing: Standing;
  meta: {
    id: string;
    model: string;
    /** Every time at which it was stored, ascending. */
    stored: string[];
    event: string | null;
    links: { relation: string; id: string }[];
    /** Embedding models whose vectors it carries. */
    vectors: string[];
  };
  /** Rows of the picture that it takes, all pages under one another: data rows, then drawn text. */
  rows: { first: number; data: number; text: number };
}

/**
 * What a record counts for: "standing" counts; "corrected" and "replaced" gave way to a newer version;
 * "repeated" was stored again later; "about" only forgets or tags others; "format" explains the file; what
 * is "damaged" says why in its text.
 */
export type Standing =
  | "standing"
  | "forgotten"
  | "corrected"
  | "replaced"
  | "repeated"
  | "about"
  | "format"
  | "damaged";

export interface Hit {
  record: MemoryRecord;
  score: number;
  /** The part of its text that fits the question best. */
  snippet: string;
}

export interface Filters {
  kind?: string;
  tag?: string;
  /** This source, or one in this folder. */
  source?: string;
  /** From this day or time on, and up to but without: ISO 8601. */
  since?: string;
  until?: string;
}

export interface Growth {
  /** ISO 8601 of the last storing in this part of the history. */
  time: string;
  /** Records stored so far, and how many image rows they take. */
  records: number;
  rows: number;
}

/** A knowledge picture, read in the page or through the local server. */
export interface Memory {
  /** Records stored, whatever their standing. */
  readonly count: number;
  /** How many of them count. */
  readonly standing: number;
  readonly writable: boolean;
  /** Damaged records that were set aside, each as one sentence. */
  readonly problems: string[];
  /** Records in the order of storing, from place `first` (0 is the oldest) on. */
  records(first: number, count: number): Promise<MemoryRecord[]>;
  /** By number. */
  record(number: number): Promise<MemoryRecord>;
  /** All versions of a record, and what was said of them, by time. */
  history(number: number): Promise<MemoryRecord[]>;
  /** The best hits; without a query what fits the filters, the newest first. */
  search(query: string, limit?: number, filters?: Filters): Promise<Hit[]>;
  /** At most `parts` points, the last of them now. */
  growth(parts: number): Promise<Growth[]>;
  /** Image rows of all pages together, one page under the other; each is 1,024 dots wide. */
  readonly rows: number;
  /** `count` image rows from `first` on, 128 bytes each, as FORMAT says: leftmost dot highest, white 1. */
  bits(first: number, count: number): Promise<Uint8Array>;
  close(): void;
}
