import type { Kind, Memory, Opened } from "../../api.ts";
import { ServerMemory } from "../../memory/server.ts";
import * as rooms from "./rooms.ts";
import { Run } from "./run.svelte.ts";
import { Talk } from "./talk.svelte.ts";

export type View = "picture" | "talk" | "film" | "profile" | "compare" | "read" | "growth" | "experiments";

const VIEWS: Record<Kind, View[]> = {
  program: ["picture", "profile", "compare", "film"],
  model: ["talk", "picture", "profile", "compare", "film"],
  memory: ["read", "talk", "growth", "experiments"],
  picture: ["picture", "compare"],
};

/** An open file, or a memory of the server. */
export class Doc {
  readonly views: View[];
  view = $state<View>("picture");
  /** Documents that were dropped on a memory of the server, until they are learned. */
  brought = $state.raw<File[]>([]);
  /** Record of a memory that is shown. */
  record = $state<number | null>(null);
  /** Tensor that is chosen. */
  tensor = $state<number | null>(null);
  readonly talk: Talk;

  private constructor(
    readonly id: number,
    readonly name: string,
    readonly kind: Kind,
    readonly opened: Opened | null,
    readonly run: Run | null,
    readonly memory: Memory | null,
    private readonly again: (() => Promise<Opened>) | null,
  ) {
    this.views = VIEWS[kind];
    this.view = this.views[0];
    this.talk = new Talk();
  }

  /** A file that the machine has opened; `pages` are the others of a memory. */
  static async of(
    id: number, opened: Opened, again: () => Promise<Opened>, told: (error: unknown) => void, pages: Opened[] = [],
  ): Promise<Doc> {
    const run = opened.program ? new Run(opened, told) : null;
    const memory = opened.kind === "memory" ? await (await rooms.memory()).openMemory(opened, ...pages) : null;
    return new Doc(id, opened.name, opened.kind, opened, run, memory, again);
  }

  static ofNetwork(id: number, memory: ServerMemory): Doc {
    return new Doc(id, memory.name, "memory", null, null, memory, null);
  }

  /** The memory, where it can be written. */
  get server(): ServerMemory | null {
    return this.memory instanceof ServerMemory ? this.memory : null;
  }

  /** Opens the file once more, as it is on disk. */
  reopen(): Promise<Opened> {
    if (!this.again) throw new Error(`${this.name} is no file`);
    return this.again();
  }

  async close(): Promise<void> {
    this.talk.stop();
    await this.run?.close();
    this.memory?.close();
  }
}
