/** The bytes of a page, as docs/KNOWLEDGE_FORMAT.md says: headers, and where a record's parts stand. */

import { sha256 } from "@noble/hashes/sha2.js";
import tables from "../generated/memory.json";

const { layout, limits } = tables;
export const ROW = layout.width / 8;
export const LINE = ROW + 1;
const MAGIC = layout.magic;

/** A record's first row. */
export interface Header {
  kind: number;
  codec: number;
  flags: number;
  dataRows: number;
  textRows: number;
  number: number;
  /** Microseconds since 1970: beyond what a double holds exactly. */
  time: bigint;
  stored: number;
  raw: number;
  vectors: number;
  payloadCrc: number;
  textCrc: number;
  row: number;
  page: number;
  generation: number;
  textBytes: number;
  previous: Uint8Array;
  id: Uint8Array;
}

const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** CRC-32 of PNG; of several pieces when the one before is given. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

export function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let first = 0; first < bytes.length; first += 3800) {
    for (const byte of bytes.subarray(first, first + 3800)) b += a += byte;
    a %= 65521;
    b %= 65521;
  }
  return ((b << 16) | a) >>> 0;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

export function equal(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The header that the 128 bytes of a row hold, or null where they are none. */
export function header(row: Uint8Array): Header | null {
  if (row.length !== ROW || !equal(row.subarray(0, 8), MAGIC)) return null;
  const view = new DataView(row.buffer, row.byteOffset, ROW);
  if (crc32(row.subarray(12)) !== view.getUint32(8)) return null;
  const found: Header = {
    kind: row[13]!,
    codec: row[14]!,
    flags: row[15]!,
    dataRows: view.getUint32(16),
    textRows: view.getUint32(20),
    number: Number(view.getBigUint64(24)),
    time: view.getBigInt64(32),
    stored: view.getUint32(40),
    raw: view.getUint32(44),
    vectors: view.getUint32(48),
    payloadCrc: view.getUint32(52),
    textCrc: view.getUint32(56),
    row: view.getUint32(60),
    page: view.getUint32(68),
    generation: view.getUint32(72),
    textBytes: view.getUint32(76),
    previous: row.slice(80, 96),
    id: row.slice(96, 128),
  };
  const fits = found.dataRows === 1 + Math.ceil((found.stored + found.vectors) / ROW);
  const whole = row[12] === layout.version && fits && found.textRows <= limits.rows;
  return whole ? found : null;
}

/** A record's number behind that of the one before it: what its header says, or the next where that does not follow. */
export const numberAfter = (before: number, said: number): number =>
  before < said && Number.isSafeInteger(said) ? said : before + 1;

/** What the next record holds as `previous`, of the row that a header stands in. */
export const digest = (row: Uint8Array): Uint8Array => sha256(row).subarray(0, 16);

/** Where the parts of a record stand in the file: computed, so that no chunk head is trusted. */
export interface Extent {
  dataEnd: number;
  text: number;
  slot: number;
}

export function extent(offset: number, found: Header): Extent {
  const { sector, slot: size } = layout;
  const dataEnd =
    offset + 12 + found.dataRows * LINE + 5 * Math.ceil(found.dataRows / layout.blockRows);
  const begin = dataEnd + 12 + found.textBytes;
  let slot = begin;
  if (Math.floor(slot / sector) * sector < dataEnd) slot = Math.ceil(dataEnd / sector) * sector;
  if (slot % sector > sector - size) slot = Math.ceil(slot / sector) * sector;
  while (!isPad(slot - begin) || slot % sector > sector - size) slot++;
  return { dataEnd, text: dataEnd + 8, slot };
}

function isPad(size: number): boolean {
  return size >= 20 || layout.shortPads.includes(size);
}

/** The slot that ends a picture. */
export function isTail(slot: Uint8Array): boolean {
  if (slot.length !== layout.slot) return false;
  const chunk = slot.subarray(4, 14);
  const view = new DataView(slot.buffer, slot.byteOffset, slot.length);
  const begins = view.getUint32(0) === 6 && equal(chunk.subarray(0, 6), [73, 68, 65, 84, 3, 0]);
  return begins && view.getUint32(14) === crc32(chunk) && equal(slot.subarray(18), layout.end);
}

/** Is a PNG laid out as pxVM itself writes pages? Else its rows must be decoded as a picture's. */
export function isLaidOut(bytes: Uint8Array): boolean {
  if (bytes.length < layout.firstSlot + layout.slot) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return view.getUint32(16) === layout.width && view.getUint32(37) === 0x7078564d; // "pxVM"
}

/** What a page's head says of its end: a hint, never the only place that knows. */
export interface Info {
  tail: number;
  last: number;
  rows: number;
}

export function info(bytes: Uint8Array): Info | null {
  if (!isLaidOut(bytes)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (crc32(bytes.subarray(37, 77)) !== view.getUint32(77)) return null;
  const offset = (at: number): number => Number(view.getBigUint64(at));
  return { tail: offset(41), last: offset(49), rows: view.getUint32(65) };
}
