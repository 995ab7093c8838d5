/** What records count for, after all that later ones say of them; docs/KNOWLEDGE_FORMAT.md, "What counts". */

import type { Stored } from "./record.ts";

const ENDING = ["corrects", "supersedes", "forgets"];
const later = (a: bigint | undefined, b: bigint): bigint => (a === undefined || b > a ? b : a);

/** A map of sets, made when they are first needed. */
class Sets extends Map<string, Set<string>> {
  of(name: string): Set<string> {
    const found = this.get(name) ?? new Set();
    this.set(name, found);
    return found;
  }
}

export class Standing {
  private ended = new Map<string, bigint>();
  private forgotten = new Map<string, bigint>();
  private changes = new Map<string, Map<string, { time: bigint; there: boolean }>>();
  private connected = new Sets();
  private newest = new Map<string, { time: bigint; id: string }>();
  /** Ids of the records that forget or tag an id, and of those that correct it. */
  readonly about = new Sets();
  readonly corrections = new Sets();

  /** Takes in what an acting record says of others. */
  take(record: Stored): void {
    const time = record.times.at(-1)!;
    for (const { relation, id } of record.links) {
      if (ENDING.includes(relation)) this.ended.set(id, later(this.ended.get(id), time));
      if (relation === "forgets") this.forgotten.set(id, later(this.forgotten.get(id), time));
      if (relation === "corrects") this.correct(id, time, record.id);
      if (relation === "corrects" || relation === "supersedes") {
        this.connected.of(id).add(record.id);
        this.connected.of(record.id).add(id);
      }
      if (relation === "forgets" || relation === "tags") this.about.of(id).add(record.id);
      if (relation === "tags") this.tag(id, time, record.answer);
    }
  }

  /** Of several corrections of one record, as a merge may bring, the newest counts. */
  private correct(target: string, time: bigint, id: string): void {
    this.corrections.of(target).add(id);
    const known = this.newest.get(target);
    const first = !known || time > known.time || (time === known.time && id > known.id);
    const newest = first ? { time, id } : known;
    this.newest.set(target, newest);
    for (const other of this.corrections.of(target)) {
      if (other !== newest.id) this.ended.set(other, later(this.ended.get(other), newest.time));
    }
  }

  private tag(target: string, time: bigint, answer: string): void {
    const tags = this.changes.get(target) ?? new Map();
    this.changes.set(target, tags);
    for (const line of answer.split("\n").slice(1)) {
      const [sign, tag] = [line[0], line.slice(1)];
      if (sign !== "+" && sign !== "-") continue;
      const known = tags.get(tag);
      const there = sign === "+";
      if (!known || time > known.time || (time === known.time && there)) tags.set(tag, { time, there });
    }
  }

  /** Is content last stored at `time` neither replaced nor gone? */
  counts(id: string, time: bigint): boolean {
    const end = this.ended.get(id);
    return end === undefined || end < time;
  }

  isForgotten(id: string, time: bigint): boolean {
    const end = this.forgotten.get(id);
    return end !== undefined && end >= time;
  }

  isCorrected(id: string): boolean {
    return this.corrections.has(id);
  }

  /** The tags that a record has by now. */
  tags(id: string, stored: string[]): string[] | null {
    const changes = this.changes.get(id);
    if (!changes) return null;
    const tags = new Set(stored);
    for (const [tag, { there }] of changes) {
      if (there) tags.add(tag);
      else tags.delete(tag);
    }
    return [...tags];
  }

  /** All ids connected with one by corrections and supersessions, itself included. */
  versions(id: string): Set<string> {
    const found = new Set([id]);
    for (const each of found) for (const other of this.connected.get(each) ?? []) found.add(other);
    return found;
  }
}
