import type { Opened, Progress } from "../../api.ts";
import * as server from "../../memory/server.ts";
import { t } from "../strings.ts";
import { Doc } from "./doc.svelte.ts";
import * as rooms from "./rooms.ts";

export interface Note {
  id: number;
  text: string;
  kind: "error" | "done";
  action?: { label: string; act: () => void };
}

/** A file on its way in. */
export interface Loading {
  name: string;
  what: string;
  share: number;
}

/** A file that can be read, again as well. */
interface Source {
  name: string;
  bytes: () => Promise<Uint8Array<ArrayBuffer>>;
}

const PICTURE = /\.(png|pxi)$/i;

function source(file: File): Source {
  return { name: file.name, bytes: async () => new Uint8Array(await file.arrayBuffer()) };
}

/** Everything that the page has open. */
class Studio {
  docs = $state.raw<Doc[]>([]);
  current = $state.raw<Doc | null>(null);
  notes = $state.raw<Note[]>([]);
  loading = $state.raw<Loading | null>(null);
  /** What `pxvm studio` offers; null where the page stands alone. */
  server = $state.raw<server.ServerSession | null>(null);
  help = $state(false);
  private count = 0;

  /** Ask what the command line opened, and open it. */
  async begin(): Promise<void> {
    if (!server.served()) return;
    try {
      this.server = await server.session();
      for (const network of this.server.networks) {
        this.add(Doc.ofNetwork(++this.count, new server.ServerMemory(network)), this.docs.length === 0);
      }
      for (const file of this.server.files) {
        // What was named first is shown.
        await this.open(file.name, () => server.file(file.number), file.number === this.server.files[0].number);
      }
    } catch (error) {
      this.tell(error);
    }
  }

  /**
   * Open files; the pages of a network together, as one memory. Documents are learned where a memory of
   * the server is shown.
   */
  async openFiles(files: Iterable<File>): Promise<void> {
    let all = [...files];
    const doc = this.current;
    if (doc?.server) {
      doc.brought = all.filter((file) => !PICTURE.test(file.name));
      if (doc.brought.length) doc.view = "read";
      all = all.filter((file) => PICTURE.test(file.name));
    }
    const networkOf = all.length > 1 ? (await rooms.memory()).networkOf : (name: string) => name;
    const groups = new Map<string, File[]>();
    for (const file of all) groups.set(networkOf(file.name), [...(groups.get(networkOf(file.name)) ?? []), file]);
    for (const [name, group] of groups) {
      group.sort((a, b) => Number(b.name === name) - Number(a.name === name));
      const [first, ...pages] = group.map(source);
      const doc = await this.open(first!.name, first!.bytes, true, pages);
      if (doc && doc.kind !== "memory") for (const each of pages) await this.open(each.name, each.bytes);
    }
  }

  /** Open a file; what it is decides what is shown. A memory is read with its other `pages`. */
  async open(
    name: string, bytes: () => Promise<Uint8Array<ArrayBuffer>>, shown = true, pages: Source[] = [],
  ): Promise<Doc | null> {
    const again = (): Promise<Opened> => this.read(name, bytes).finally(() => (this.loading = null));
    try {
      const opened = await again();
      const others: Opened[] = [];
      if (opened.kind === "memory") for (const each of pages) others.push(await this.read(each.name, each.bytes));
      const doc = await Doc.of(++this.count, opened, again, (error) => this.tell(error), others);
      this.add(doc, shown);
      return doc;
    } catch (error) {
      this.tell(error, name);
      return null;
    } finally {
      this.loading = null;
    }
  }

  async sample(file: string): Promise<void> {
    await this.open(file, async () => {
      const response = await fetch(new URL(`samples/${file}`, document.baseURI));
      if (!response.ok) throw new Error(t.home.noSample);
      return new Uint8Array(await response.arrayBuffer());
    });
  }

  show(doc: Doc | null): void {
    this.current = doc;
  }

  async close(doc: Doc): Promise<void> {
    const index = this.docs.indexOf(doc);
    this.docs = this.docs.filter((each) => each !== doc);
    if (this.current === doc) this.current = this.docs[Math.min(index, this.docs.length - 1)] ?? null;
    await doc.close();
  }

  /** Show the next or the previous file. */
  turn(by: number): void {
    if (this.docs.length === 0) return;
    const index = this.current ? this.docs.indexOf(this.current) : -1;
    this.current = this.docs[(index + by + this.docs.length) % this.docs.length];
  }

  /** Say what went wrong, in one sentence. */
  tell(error: unknown, about = ""): void {
    if (error instanceof DOMException && error.name === "AbortError") return;
    const said = error instanceof Error ? error.message : String(error);
    this.note({ text: about && !said.includes(about) ? `${about}: ${said}` : said, kind: "error" });
  }

  done(text: string, action?: Note["action"]): void {
    this.note({ text, kind: "done", ...(action && { action }) });
  }

  drop(id: number): void {
    this.notes = this.notes.filter((each) => each.id !== id);
  }

  private note(note: Omit<Note, "id">): void {
    const id = ++this.count;
    // Of what was done only the last is told, and can be taken back there.
    const kept = note.kind === "done" ? this.notes.filter((each) => each.kind !== "done") : this.notes;
    this.notes = [...kept.slice(-3), { ...note, id }];
    if (note.kind === "done" && !note.action) setTimeout(() => this.drop(id), 5000);
  }

  private add(doc: Doc, shown: boolean): void {
    this.docs = [...this.docs, doc];
    if (shown) this.current = doc;
  }

  private async read(name: string, bytes: () => Promise<Uint8Array<ArrayBuffer>>): Promise<Opened> {
    this.loading = { name, what: t.loading.reading, share: 0 };
    const progress: Progress = (done, whole, what) => {
      this.loading = { name, what, share: whole ? done / whole : 0 };
    };
    const { open } = await rooms.machine();
    return open(name, await bytes(), progress);
  }
}

export const studio = new Studio();
