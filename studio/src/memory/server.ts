/** What `pxvm studio` offers to the page beside its files: memories that can be written, chat, experiments. */

import {
  PxvmError,
  type ChatMessage,
  type Filters,
  type Growth,
  type Hit,
  type Memory,
  type MemoryRecord,
  type Sampling,
} from "../api.ts";
import { snippet } from "./words.ts";

/** What the command line opened. */
export interface ServerSession {
  version: string;
  files: { number: number; name: string }[];
  networks: ServerNetwork[];
  /** Who answers; null without a model. `context` in tokens. */
  model: { name: string; backend: string; context: number } | null;
}

export interface ServerNetwork {
  /** As `?network=` and the chat name it: the file's name without its ending. */
  name: string;
  file: string;
  /** Records stored, those that count, image rows of all pages. */
  count: number;
  standing: number;
  rows: number;
  bytes: number;
  pages: number;
}

/** Which records are meant: all conditions hold at once; `query` finds the best `limit` by meaning. */
export interface Chosen extends Filters {
  numbers?: number[];
  text?: string;
  query?: string;
  limit?: number;
}

export interface Forgotten {
  /** All that fit; `records` shows the first of them. */
  count: number;
  records: MemoryRecord[];
  /** Numbers to give to `restore`, which undoes it; empty for a preview. */
  undo: number[];
  /** Numbers of other records that say the same and still count; empty for a preview. */
  same: number[];
}

/** What taking in another network does, or did. `samples` are the first new records. */
export interface Merged {
  read: number;
  added: number;
  known: number;
  samples: { kind: string; time: string; title: string; text: string }[];
}

export interface Learned {
  name: string;
  /** Passages stored, known before, replaced by these, left out because they were forgotten or corrected. */
  added: number;
  known: number;
  replaced: number;
  settled: number;
  /** Why it was not read; then nothing was stored. */
  skipped: string;
}

export interface Answer {
  text: string;
  /** Records that the answer was given as evidence, and the record that it was stored as. */
  evidence: number[];
  stored: string | null;
  tokens: number;
  /** "stop", "length" ... */
  finish: string;
}

export interface CoachAttempt {
  record: number;
  task: string;
  outcome: "solved" | "wrong" | "unsolved";
  by: string;
  spent: Record<string, number>;
  candidates: number;
  /** Why it is not believed, or empty. */
  doubt: string;
  /** The program as an expression, and whether its picture can be fetched. */
  program: string;
  picture: boolean;
}

export interface CoachLog {
  attempts: CoachAttempt[];
  pieces: Record<string, string>;
}

/** A profile's line as `pxvm profile --json` prints it. */
export interface ProfileLine {
  name: string;
  count: number;
  ms: number;
  share: number;
  operations: number;
  bytes: number;
}

export interface Profile {
  device: string;
  steps: number;
  measured_ms: number;
  opcodes: ProfileLine[];
  /** In the order of the program; `index` is the instruction's. */
  instructions: (ProfileLine & { index: number })[];
}

/** Is the page served by `pxvm studio`? Else it stands alone, and nothing of this file works. */
export function served(): boolean {
  return document.querySelector('meta[name="pxvm-server"]') !== null;
}

/** The key of the address's fragment, which is no part of any request; kept for this tab. */
function key(): string {
  const given = /^#key=(.+)$/.exec(location.hash);
  if (given?.[1]) {
    sessionStorage.setItem("pxvm-key", decodeURIComponent(given[1]));
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem("pxvm-key") ?? "";
}

type Body = Uint8Array<ArrayBuffer> | object;

async function request(path: string, body?: Body, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = {};
  const known = key();
  if (known) headers["Authorization"] = `Bearer ${known}`;
  const init: RequestInit = { headers, signal: signal ?? null, cache: "no-store" };
  if (body) {
    const octets = body instanceof Uint8Array;
    headers["Content-Type"] = octets ? "application/octet-stream" : "application/json";
    Object.assign(init, { method: "POST", body: octets ? body : JSON.stringify(body) });
  }
  let response: Response;
  try {
    response = await fetch(new URL(path, document.baseURI), init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new PxvmError("pxvm studio does not answer: is it still running in its terminal?");
  }
  if (!response.ok) {
    const said = await response.json().catch(() => null);
    throw new PxvmError(said?.error?.message ?? `the server answered with ${response.status}`);
  }
  return response;
}

/** What an answer holds, of which the beginning alone may come. */
function whole<T>(answer: Promise<T>): Promise<T> {
  return answer.catch(() => {
    throw new PxvmError("the answer of pxvm studio ended too early: was its file changed meanwhile? try again");
  });
}

async function json<T>(path: string, body?: Body): Promise<T> {
  return whole((await request(path, body)).json() as Promise<T>);
}

async function octets(path: string, body?: Body): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await whole((await request(path, body)).arrayBuffer()));
}

function query(parameters: object): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "");
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
}

export const session = (): Promise<ServerSession> => json("api/session");

/** A file that the command line named. */
export const file = (number: number): Promise<Uint8Array<ArrayBuffer>> =>
  octets(`api/files/${number}`);

/** One of the memories that the command line named; writing it is durable when the promise resolves. */
export class ServerMemory implements Memory {
  readonly writable = true;
  readonly problems: string[] = [];

  constructor(private network: ServerNetwork) {}

  get name(): string {
    return this.network.name;
  }
  get count(): number {
    return this.network.count;
  }
  get standing(): number {
    return this.network.standing;
  }
  get rows(): number {
    return this.network.rows;
  }

  private path(what: string, parameters: object = {}): string {
    return `api/networks/${encodeURIComponent(this.name)}/${what}?${query(parameters)}`;
  }

  /** Looks again how many there are: the chat stores records, other programs may. */
  async refresh(): Promise<void> {
    this.network = await json<ServerNetwork>(this.path("about"));
  }

  records(first: number, count: number): Promise<MemoryRecord[]> {
    return json(this.path("records", { first, count }));
  }

  record(number: number): Promise<MemoryRecord> {
    return json(this.path("record", { number }));
  }

  history(number: number): Promise<MemoryRecord[]> {
    return json(this.path("history", { number }));
  }

  /** By words and by meaning, where there is a model for that. */
  async search(question: string, limit = 10, filters: Filters = {}): Promise<Hit[]> {
    const path = this.path("search", { query: question, limit, ...filters });
    const found = await json<Omit<Hit, "snippet">[]>(path);
    return found.map((hit) => ({ ...hit, snippet: snippet(hit.record.text, question) }));
  }

  /** Nothing is held open here. */
  close(): void {}

  growth(parts: number): Promise<Growth[]> {
    return json(this.path("growth", { parts }));
  }

  bits(first: number, count: number): Promise<Uint8Array> {
    return octets(this.path("bits", { first, count }));
  }

  private async change<T>(what: string, body: Body, parameters: object = {}): Promise<T> {
    const told = await json<T>(this.path(what, parameters), body);
    await this.refresh();
    return told;
  }

  /** Stores a note, or an answer to a question. */
  teach(text: string, question = "", tags: string[] = []): Promise<MemoryRecord> {
    return this.change("teach", { text, question, tags });
  }

  /** The new version; correcting that back undoes it. */
  correct(number: number, answer: string): Promise<MemoryRecord> {
    return this.change("correct", { number, answer });
  }

  tag(number: number, add: string[], remove: string[]): Promise<MemoryRecord> {
    return this.change("tag", { number, add, remove });
  }

  /** What `forget` would forget. */
  wouldForget(chosen: Chosen): Promise<Forgotten> {
    return json(this.path("forget", { preview: 1 }), chosen);
  }

  forget(chosen: Chosen): Promise<Forgotten> {
    return this.change("forget", chosen);
  }

  /** Undoes `forget`: stores the records again. */
  restore(numbers: number[]): Promise<MemoryRecord[]> {
    return this.change("restore", { numbers });
  }

  /** What taking in another network's PNG would add. */
  wouldMerge(bytes: Uint8Array<ArrayBuffer>): Promise<Merged> {
    return json(this.path("merge", { preview: 1 }), bytes);
  }

  merge(bytes: Uint8Array<ArrayBuffer>): Promise<Merged> {
    return this.change("merge", bytes);
  }

  /** Learns a dropped document. */
  learn(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<Learned> {
    return this.change("learn", bytes, { name });
  }

  coach(): Promise<CoachLog> {
    return json(this.path("coach"));
  }

  /** The program of an attempt as a picture, with the first example's inputs in it. */
  coachProgram(number: number): Promise<Uint8Array<ArrayBuffer>> {
    return octets(this.path("program", { number }));
  }
}

/** Runs a program on this machine and says where its time goes. */
export const profile = (bytes: Uint8Array<ArrayBuffer>): Promise<Profile> =>
  json("api/profile", bytes);

/**
 * Asks the model behind the server, with what a memory knows of the question; "" for none.
 *
 * `told` gets the answer piece by piece.
 */
export async function answer(
  messages: ChatMessage[],
  sampling: Sampling,
  network: string,
  told: (text: string) => void,
  signal: AbortSignal,
): Promise<Answer> {
  const body = {
    messages,
    stream: true,
    stream_options: { include_usage: true },
    network: network || "no-memory",
    ...(sampling.temperature !== undefined && { temperature: sampling.temperature }),
    ...(sampling.topP !== undefined && { top_p: sampling.topP }),
    ...(sampling.seed !== undefined && { seed: sampling.seed }),
    ...(sampling.maxTokens !== undefined && { max_tokens: sampling.maxTokens }),
  };
  const response = await request("v1/chat/completions", body, signal);
  const found: Answer = { text: "", evidence: [], stored: null, tokens: 0, finish: "" };
  for await (const event of events(response)) {
    if (event.error) throw new PxvmError(event.error.message);
    const choice = event.choices?.[0];
    if (choice?.delta?.content) {
      found.text += choice.delta.content;
      told(choice.delta.content);
    }
    found.finish = choice?.finish_reason ?? found.finish;
    found.tokens = event.usage?.completion_tokens ?? found.tokens;
    if (event.pxvm) {
      found.evidence = event.pxvm.records;
      found.stored = event.pxvm.stored;
    }
  }
  return found;
}

interface Event {
  error?: { message: string };
  choices?: { delta?: { content?: string }; finish_reason?: string | null }[];
  usage?: { completion_tokens: number };
  pxvm?: { records: number[]; stored: string | null };
}

/** Server-sent events, up to the one that says that all is told. */
async function* events(response: Response): AsyncGenerator<Event> {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop() ?? "";
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data) as Event;
    }
  }
}
