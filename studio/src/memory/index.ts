/** Knowledge pictures: read in the page, or through `pxvm studio`, which can also write them. */

import {
  PxvmError,
  type Filters,
  type Growth,
  type Hit,
  type Memory,
  type MemoryRecord,
  type Opened,
} from "../api.ts";
import { snippet } from "./words.ts";
import tables from "../generated/memory.json";
import type { Method, Reply, Request, Source, Summary } from "./worker.ts";

export { isLaidOut } from "./layout.ts";
export { cut } from "./words.ts";
export * from "./server.ts";

const PAGE = new RegExp(`^(.+?)${tables.page}(\\.[^.]+)$`);

/** The name of the network's first file, of which a file may be another page. */
export function networkOf(name: string): string {
  return name.replace(PAGE, (_, stem: string, _generation, _number, suffix: string) => stem + suffix);
}

/**
 * Reads a memory in a worker; pages of one network may be given together, in any order.
 *
 * Rejects with a PxvmError where no record stands in the pictures.
 */
export async function openMemory(...pages: Opened[]): Promise<PageMemory> {
  const memory = new PageMemory();
  try {
    await memory.open(pages.map((page) => (page.picture.words.length ? page.picture : page.bytes)));
  } catch (error) {
    memory.close();
    throw error;
  }
  return memory;
}

class PageMemory implements Memory {
  readonly writable = false;
  private summary: Summary = { count: 0, standing: 0, rows: 0, problems: [] };
  private worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private waiting = new Map<number, (reply: Reply) => void>();
  private asked = 0;
  /** Why nothing is answered any more. */
  private ended = "";

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      this.waiting.get(data.id)?.(data);
      this.waiting.delete(data.id);
    };
    this.worker.onerror = (event) => {
      const error = (this.ended = event.message || "the memory's worker did not start");
      for (const [id, answer] of this.waiting) answer({ id, error });
      this.waiting.clear();
    };
  }

  get count(): number {
    return this.summary.count;
  }
  get standing(): number {
    return this.summary.standing;
  }
  get rows(): number {
    return this.summary.rows;
  }
  get problems(): string[] {
    return this.summary.problems;
  }

  open(sources: Source[]): Promise<void> {
    return this.request({ open: sources });
  }

  private request<T>(request: Omit<Request, "id">): Promise<T> {
    if (this.ended) return Promise.reject(new PxvmError(this.ended));
    const id = this.asked++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, ({ value, summary, error }) => {
        this.summary = summary ?? this.summary;
        if (error === undefined) resolve(value as T);
        else reject(new PxvmError(error));
      });
      this.worker.postMessage({ id, ...request } satisfies Request);
    });
  }

  private call<T>(call: Method, ...given: unknown[]): Promise<T> {
    return this.request({ call, given });
  }

  records(first: number, count: number): Promise<MemoryRecord[]> {
    return this.call("records", first, count);
  }

  record(number: number): Promise<MemoryRecord> {
    return this.call("record", number);
  }

  history(number: number): Promise<MemoryRecord[]> {
    return this.call("history", number);
  }

  growth(parts: number): Promise<Growth[]> {
    return this.call("growth", parts);
  }

  bits(first: number, count: number): Promise<Uint8Array> {
    return this.call("bits", first, count);
  }

  /** By words; meaning needs a model, which only the local server has. */
  async search(question: string, limit = 10, filters: Filters = {}): Promise<Hit[]> {
    const found = await this.call<Omit<Hit, "snippet">[]>("search", question, limit, filters);
    return found.map((hit) => ({ ...hit, snippet: snippet(hit.record.text, question) }));
  }

  /** Ends the worker and lets go of the file. */
  close(): void {
    this.worker.terminate();
  }
}
