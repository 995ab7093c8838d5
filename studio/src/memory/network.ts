/** A network of one or several pages: which records there are, what counts, search; all in one thread. */

import {
  PxvmError,
  type Filters,
  type Growth,
  type MemoryRecord,
  type Standing as Word,
} from "../api.ts";
import tables from "../generated/memory.json";
import { ROW, hex, numberAfter } from "./layout.ts";
import type { Page, Place } from "./page.ts";
import { byCodePoints, decode, iso, type Stored } from "./record.ts";
import { Standing } from "./standing.ts";
import { TextIndex } from "./textindex.ts";

const { acts, bookkeeping } = tables.flags;
/** Records that are read in one go before others may ask. */
const SLICE = 200;

interface Entry {
  page: Page;
  place: Place;
  id: string;
  /** First row of its page among all rows. */
  base: number;
}

export class Network {
  readonly problems: string[] = [];
  readonly rows: number;
  /** Every record in the order of storing. */
  private entries: Entry[] = [];
  private byId = new Map<string, number[]>();
  private byNumber = new Map<number, number>();
  private standing = new Standing();
  private live = new Set<number>();
  private index: Promise<TextIndex> | null = null;

  /** Pages in their order, all of one network. */
  constructor(pages: Page[]) {
    let base = 0;
    for (const page of pages) {
      this.problems.push(...page.gaps);
      for (const place of page.places) this.enter({ page, place, id: hex(place.header.id), base });
      base += page.rows;
    }
    this.rows = base;
    if (!this.entries.length) throw new PxvmError("no record in the picture; is it a knowledge network?");
    this.entries.forEach((entry, position) => {
      if (entry.place.header.flags & acts) this.acting(position);
    });
    this.entries.forEach((_, position) => {
      if (this.word(position) === "standing") this.live.add(position);
    });
  }

  private enter(entry: Entry): void {
    const { header } = entry.place;
    header.number = numberAfter(this.entries.at(-1)?.place.header.number ?? -1, header.number);
    const position = this.entries.push(entry) - 1;
    this.byNumber.set(header.number, position);
    const known = this.byId.get(entry.id);
    if (known) known.push(position);
    else this.byId.set(entry.id, [position]);
  }

  private acting(position: number): void {
    try {
      this.standing.take(this.read(position));
    } catch (error) {
      this.setAside(error);
    }
  }

  private setAside(error: unknown): string {
    if (!(error instanceof PxvmError)) throw error;
    if (!this.problems.includes(error.message)) this.problems.push(error.message);
    return error.message;
  }

  get count(): number {
    return this.entries.length;
  }

  get counting(): number {
    return this.live.size;
  }

  private read(position: number): Stored {
    const { page, place } = this.entries[position]!;
    return decode(place.header, page.payload(place));
  }

  /** What a record counts for, which its header and the acting records say. */
  private word(position: number): Word {
    const { id, place } = this.entries[position]!;
    const { flags, time } = place.header;
    if (flags & bookkeeping) return flags & acts ? "about" : "format";
    if (this.byId.get(id)!.at(-1) !== position) return "repeated";
    if (this.standing.counts(id, time)) return "standing";
    if (this.standing.isForgotten(id, time)) return "forgotten";
    return this.standing.isCorrected(id) ? "corrected" : "replaced";
  }

  /** The record at a place; what is damaged says so in its text. */
  private at(position: number): MemoryRecord {
    const { place, base, id } = this.entries[position]!;
    const { header } = place;
    const rows = { first: base + header.row, data: header.dataRows, text: header.textRows };
    const shared = { number: header.number, rows };
    try {
      const stored = this.read(position);
      const tags = this.standing.tags(id, stored.tags)?.sort(byCodePoints) ?? stored.tags;
      return {
        ...shared,
        kind: stored.kind,
        time: iso(stored.event ?? stored.times[0]!),
        title: stored.query,
        text: stored.answer,
        source: stored.source,
        tags,
        standing: this.word(position),
        meta: {
          id,
          model: stored.model,
          stored: stored.times.map(iso),
          event: stored.event === null ? null : iso(stored.event),
          links: stored.links,
          vectors: stored.vectors,
        },
      };
    } catch (error) {
      return {
        ...shared,
        kind: tables.kinds[header.kind] ?? "",
        time: "",
        title: "",
        text: this.setAside(error),
        source: "",
        tags: [],
        standing: "damaged",
        meta: { id, model: "", stored: [], event: null, links: [], vectors: [] },
      };
    }
  }

  records(first: number, count: number): MemoryRecord[] {
    const last = Math.min(first + count, this.count);
    return Array.from({ length: Math.max(0, last - first) }, (_, i) => this.at(first + i));
  }

  record(number: number): MemoryRecord {
    const position = this.byNumber.get(number);
    if (position === undefined) throw new PxvmError(`no record number ${number}`);
    return this.at(position);
  }

  history(number: number): MemoryRecord[] {
    const related = this.standing.versions(this.record(number).meta.id);
    for (const version of [...related]) {
      for (const about of this.standing.about.get(version) ?? []) related.add(about);
    }
    const positions = [...related].flatMap((id) => this.byId.get(id) ?? []);
    const time = (position: number): bigint => this.entries[position]!.place.header.time;
    const apart = (a: number, b: number): number => Number(time(a) - time(b)) || a - b;
    return positions.sort(apart).map((position) => this.at(position));
  }

  growth(parts: number): Growth[] {
    const count = Math.min(parts, this.count);
    return Array.from({ length: count }, (_, part) => {
      const position = Math.ceil(((part + 1) * this.count) / count) - 1;
      const { place, base } = this.entries[position]!;
      const { row, dataRows, textRows, time } = place.header;
      return { time: iso(time), records: position + 1, rows: base + row + dataRows + textRows };
    });
  }

  bits(first: number, count: number): Uint8Array {
    const last = Math.min(first + count, this.rows);
    const found = new Uint8Array(Math.max(0, last - first) * ROW);
    for (let position = this.from(first); position < this.count; position++) {
      const { page, place, base } = this.entries[position]!;
      const start = base + place.header.row;
      if (start >= last) break;
      const rows = page.bits(place).subarray(Math.max(0, first - start) * ROW, (last - start) * ROW);
      found.set(rows, Math.max(0, start - first) * ROW);
    }
    return found;
  }

  /** The last record that begins at or before a row. */
  private from(row: number): number {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { place, base } = this.entries[middle]!;
      if (base + place.header.row <= row) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  async search(
    question: string,
    limit: number,
    filters: Filters,
  ): Promise<{ record: MemoryRecord; score: number }[]> {
    if (!question.trim()) return this.newest(limit, filters);
    const index = await (this.index ??= this.indexed());
    const known = new Map<number, MemoryRecord>();
    const allowed = (position: number): boolean => {
      if (!known.has(position)) known.set(position, this.at(position));
      return fits(known.get(position)!, filters);
    };
    const all = Object.values(filters).some(Boolean) ? allowed : () => true;
    return index
      .search(question, limit, all)
      .map(([position, score]) => ({ record: this.at(position), score }));
  }

  /** What counts and fits, the newest first; lets others ask meanwhile. */
  private async newest(limit: number, filters: Filters): Promise<{ record: MemoryRecord; score: number }[]> {
    const found: { record: MemoryRecord; score: number }[] = [];
    for (let position = this.entries.length - 1; position >= 0 && found.length < limit; position--) {
      if (this.live.has(position)) {
        const record = this.at(position);
        if (record.standing === "standing" && fits(record, filters)) found.push({ record, score: 0 });
      }
      if (position % SLICE === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    return found;
  }

  /** All that counts, by its words; lets others ask meanwhile. */
  private async indexed(): Promise<TextIndex> {
    const index = new TextIndex();
    let done = 0;
    for (const position of this.live) {
      const record = this.at(position);
      if (record.standing === "standing") {
        index.add(position, `${record.title}\n${record.text}`, record.tags.join(" "), record.source);
      }
      if (++done % SLICE === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    return index;
  }
}

function fits(record: MemoryRecord, filters: Filters): boolean {
  const { kind, tag, source, since, until } = filters;
  const folder = source?.replace(/\/+$/, "");
  const time = Date.parse(record.time);
  return (
    (!kind || record.kind === kind) &&
    (!tag || record.tags.includes(tag)) &&
    (!folder || record.source === folder || record.source.startsWith(`${folder}/`)) &&
    (!since || time >= Date.parse(since)) &&
    (!until || time < Date.parse(until))
  );
}
