/** A record of its exact bytes, checked as Python checks it: what is refused there is refused here. */

import { sha256 } from "@noble/hashes/sha2.js";
import { unzlibSync } from "fflate";
import { PxvmError } from "../api.ts";
import tables from "../generated/memory.json";
import { adler32, equal, hex, type Header } from "./layout.ts";
import { MOST_RATIO } from "./page.ts";

const { kinds, relations, limits } = tables;
/** 0001-01-01 and 9999-12-31 23:59:59.999999 in microseconds since 1970. */
const FIRST_TIME = -62135596800000000n;
const LAST_TIME = 253402300799999999n;
/** What Python's str.split() takes for spaces. */
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;
const LONE = /\p{Cs}/u;

export interface Link {
  relation: string;
  id: string;
}

/** As it was stored. Times in microseconds since 1970. */
export interface Stored {
  number: number;
  kind: string;
  query: string;
  answer: string;
  tags: string[];
  source: string;
  model: string;
  event: bigint | null;
  links: Link[];
  vectors: string[];
  times: bigint[];
  id: string;
}

/** Throws PxvmError where the bytes are not a record, or not that one. */
export function decode(found: Header, payload: Uint8Array): Stored {
  const refuse = (why: string): never => {
    throw new PxvmError(`record ${found.number}: ${why}`);
  };
  const kind = kinds[found.kind] ?? refuse(`unknown kind ${found.kind}`);
  if (Math.max(found.raw, found.stored) > limits.raw || found.vectors > limits.vectors) {
    refuse(`${Math.max(found.raw, found.stored)} bytes of text and ${found.vectors} of vectors are over the limits`);
  }
  const text = expanded(found, payload.subarray(0, found.stored), refuse);
  const read = parsed(text, refuse);
  const field = (name: string, missing?: string): string => {
    const value = read[name] ?? missing;
    if (typeof value !== "string" || (name in read && read[name] === null)) {
      return refuse(`${name} must be text`);
    }
    if (LONE.test(value)) refuse(`${name} holds a lone surrogate, which is no Unicode text`);
    return value;
  };
  const stored: Stored = {
    number: found.number,
    kind,
    query: field("query"),
    answer: field("answer"),
    source: field("source", ""),
    model: field("model", ""),
    tags: tagsOf(list(read, "tags", refuse), refuse),
    event: read.event_time == null ? null : moment(read.event_time, refuse),
    links: linksOf(list(read, "links", refuse), refuse),
    vectors: vectorsOf(list(read, "vectors", refuse), found.vectors, refuse),
    times: [...list(read, "stored_before", refuse), found.time].map((time) => moment(time, refuse)),
    id: hex(found.id),
  };
  const { query, answer, source, tags } = stored;
  const parts = [kind, query, answer, source, String(stored.event ?? ""), ...tags].map(utf8);
  const size = parts.reduce((sum, part) => sum + part.length, 0) - parts[0]!.length - parts[4]!.length;
  if (size > limits.text) refuse(`${size} bytes of text are over the limit of ${limits.text}`);
  if (!equal(identity(parts), found.id)) refuse("its content is not what its header names");
  return stored;
}

type Refuse = (why: string) => never;

function expanded(found: Header, stored: Uint8Array, refuse: Refuse): Uint8Array {
  if (found.codec === 0) return stored;
  if (found.codec !== 1) return refuse(`unknown codec ${found.codec}: the file is of a newer version`);
  if (found.raw > stored.length * MOST_RATIO) return refuse("its text does not inflate");
  let text: Uint8Array;
  try {
    text = unzlibSync(stored, { out: new Uint8Array(found.raw + 1) });
  } catch {
    return refuse("its text does not inflate");
  }
  const end = new DataView(stored.buffer, stored.byteOffset + stored.length - 4);
  if (text.length !== found.raw || adler32(text) !== end.getUint32(0)) {
    return refuse("its text inflates to something else than the header says");
  }
  return text;
}

type Raw = Record<string, unknown>;

function parsed(text: Uint8Array, refuse: Refuse): Raw {
  let read: unknown;
  try {
    read = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text), exact);
  } catch {
    return refuse("its text is no JSON in UTF-8");
  }
  if (typeof read !== "object" || read === null || Array.isArray(read)) return refuse("its JSON is no object");
  return read as Raw;
}

/** Whole numbers that a double does not hold stay exact, where the browser tells how they were written. */
function exact(_: string, value: unknown, context?: { source?: string }): unknown {
  const written = context?.source;
  const whole = typeof value === "number" && written !== undefined && /^-?\d+$/.test(written);
  return whole && !Number.isSafeInteger(value) ? BigInt(written) : value;
}

function list(read: Raw, name: string, refuse: Refuse): unknown[] {
  const value = read[name] ?? [];
  return Array.isArray(value) && read[name] !== null ? value : refuse(`${name} must be a list`);
}

function moment(value: unknown, refuse: Refuse): bigint {
  const time = typeof value === "number" && Number.isInteger(value) ? BigInt(value) : value;
  if (typeof time !== "bigint") return refuse("a time must be a whole number of microseconds");
  if (time < FIRST_TIME || time > LAST_TIME) refuse("a time is outside the years 1 to 9999");
  return time;
}

function tagsOf(tags: unknown[], refuse: Refuse): string[] {
  for (const tag of tags) {
    const plain = typeof tag === "string" && tag !== "" && !LONE.test(tag);
    if (!plain || tag !== tag.split(SPACES).filter(Boolean).join(" ")) {
      refuse("a tag is no text, empty, or has spaces at its ends or line breaks");
    }
  }
  return [...new Set(tags as string[])].sort(byCodePoints);
}

function linksOf(links: unknown[], refuse: Refuse): Link[] {
  const named = links.map((link) => {
    const [relation, id] = Array.isArray(link) && link.length === 2 ? link : refuse("a link is no pair");
    if (!relations.includes(relation)) refuse("a link's relation is unknown");
    if (typeof id !== "string" || !/^[0-9a-f]{64}$/.test(id)) refuse("a link names no id");
    return `${relation} ${id}`;
  });
  return [...new Set(named)].sort().map((each) => {
    const [relation, id] = each.split(" ") as [string, string];
    return { relation, id };
  });
}

/** The models of vectors, whose values must be there. */
function vectorsOf(vectors: unknown[], size: number, refuse: Refuse): string[] {
  let taken = 0;
  return vectors.map((vector) => {
    const [model, probe, dimension, scale] =
      Array.isArray(vector) && vector.length === 4 ? vector : refuse("a vector is not described by four");
    const named = [model, probe].every((name) => typeof name === "string" && !LONE.test(name));
    if (!named || !Number.isInteger(dimension) || dimension <= 0 || dimension >= 65536) {
      refuse("a vector has no model, no probe or no dimension");
    }
    taken += dimension;
    if (taken > size) refuse("a vector's values are missing");
    const finite = typeof scale === "bigint" || (typeof scale === "number" && Number.isFinite(scale));
    return finite ? model : refuse("a vector's scale is no number");
  });
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function identity(parts: Uint8Array[]): Uint8Array {
  const hash = sha256.create();
  for (const part of parts) {
    const size = new DataView(new ArrayBuffer(8));
    size.setBigUint64(0, BigInt(part.length));
    hash.update(new Uint8Array(size.buffer)).update(part);
  }
  return hash.digest();
}

/** As Python sorts texts; by UTF-16 what is beyond U+FFFF would come too early. */
export function byCodePoints(a: string, b: string): number {
  const [left, right] = [[...a], [...b]];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const apart = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!;
    if (apart) return apart;
  }
  return left.length - right.length;
}

/** Microseconds as ISO 8601 in UTC, to the microsecond where it is not a whole second. */
export function iso(time: bigint): string {
  const below = ((time % 1000000n) + 1000000n) % 1000000n;
  const seconds = new Date(Number((time - below) / 1000n)).toISOString().slice(0, 19);
  return `${seconds}${below ? `.${String(below).padStart(6, "0")}` : ""}Z`;
}
