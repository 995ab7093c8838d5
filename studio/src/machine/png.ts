/**
 * PNG: header, chunks and their checksums, checked before anything is inflated; the same rules, limits and
 * sentences as pxvm/core/png.py and scanlines.py. Source: the PNG specification, third edition.
 */

import type { Picture, Progress } from "../api.ts";
import { FormatError } from "./errors.ts";
import { isMappable, mappableRows } from "./mappable.ts";
import { decodeRows } from "./scanlines.ts";
import { PNG } from "./table.ts";
import { isPrintable, utf8 } from "./text.ts";
import { readTexts } from "./texts.ts";
import type { Wasm } from "./wasm.ts";

export const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** What the IHDR chunk says. */
export interface Header {
  width: number;
  height: number;
  depth: number;
  colour: number;
  interlaced: boolean;
}

export interface Span {
  offset: number;
  length: number;
}

/** A file that passed the scan. */
export interface Scanned {
  header: Header;
  palette: Uint8Array;
  transparency: Uint8Array;
  /** Of what each IDAT chunk holds. */
  data: Span[];
  /** Of chunks that hold text, by kind. */
  texts: (Span & { kind: string })[];
}

/** A file's bytes, and the name by which errors call it. */
export class Source {
  constructor(
    /** Asked for anew each time: memory that grows stands elsewhere. */
    private readonly bytes: () => Uint8Array,
    /** Of the whole file, of which `bytes` may be the beginning. */
    readonly size: number,
    readonly name: string,
  ) {}

  /** Exactly so many bytes from an offset. */
  at(offset: number, count: number): DataView {
    const left = Math.max(0, Math.min(count, this.size - offset));
    if (left !== count) throw this.error(offset, `${count} bytes`, `${left}, then the end of the file`);
    const bytes = this.bytes();
    return new DataView(bytes.buffer, bytes.byteOffset + offset, count);
  }

  part(offset: number, count: number): Uint8Array {
    const view = this.at(offset, count);
    return new Uint8Array(view.buffer, view.byteOffset, count);
  }

  error(offset: number, expected: string, found: string, fix: string = PNG.damaged): FormatError {
    return new FormatError(`${this.name}: byte ${offset}: expected ${expected}, found ${found}; ${fix}`);
  }
}

/** Samples of a pixel. */
export function channels(colour: number): number {
  return (PNG.channels as Record<string, number>)[colour] ?? 1;
}

/** Bytes of a row of `width` pixels, its filter byte not counted. */
export function rowBytes(header: Header, width: number): number {
  return Math.floor((width * channels(header.colour) * header.depth + 7) / 8);
}

export interface Pass {
  x: number;
  y: number;
  dx: number;
  dy: number;
  width: number;
  height: number;
}

/** Each pass: its first pixel, the distance between pixels, how many there are. */
export function passes(header: Header): Pass[] {
  const all = header.interlaced ? PNG.adam7 : [[0, 0, 1, 1]];
  return all
    .map(([x = 0, y = 0, dx = 1, dy = 1]) => ({
      x, y, dx, dy,
      width: Math.ceil((header.width - x) / dx),
      height: Math.ceil((header.height - y) / dy),
    }))
    .filter((pass) => pass.width > 0 && pass.height > 0);
}

/** Size of the decompressed stream: rows of every pass, each with its filter byte. */
export function inflatedBytes(header: Header): number {
  return passes(header).reduce((sum, pass) => sum + pass.height * (1 + rowBytes(header, pass.width)), 0);
}

/** A chunk's type as text; what TextDecoder calls latin1 has other letters from 0x80 to 0x9f. */
function letters(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function kindName(kind: string): string {
  if (/^[A-Za-z]{4}$/.test(kind)) return `chunk ${kind}`;
  return `chunk type ${hex([...kind].map((letter) => letter.charCodeAt(0)))}`;
}

function hex(bytes: Iterable<number>): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** Check the signature and the IHDR chunk, and say what it declares. */
export function readHeader(source: Source, crc: (bytes: Uint8Array) => number): Header {
  const start = source.part(0, Math.min(8, source.size));
  if (start.length < 8 || start.some((byte, i) => byte !== SIGNATURE[i])) {
    throw source.error(0, "the signature of a PNG", ...otherKind(source, start));
  }
  const front = source.at(8, 8);
  const length = front.getUint32(0);
  const kind = letters(source.part(12, 4));
  if (length !== 13 || kind !== "IHDR") {
    throw source.error(8, "chunk IHDR of 13 bytes", `${kindName(kind)} of ${length} bytes`);
  }
  const data = source.at(16, 13);
  checkCrc(source, 8, crc(source.part(12, 17)), 13);
  const [width, height] = [data.getUint32(0), data.getUint32(4)];
  const [depth, colour, compression, filters, interlace] = [8, 9, 10, 11, 12].map((at) => data.getUint8(at)) as [
    number, number, number, number, number,
  ];
  for (const [offset, value, what] of [[16, width, "width"], [20, height, "height"]] as const) {
    if (value < 1 || value >= 2 ** 31) throw source.error(offset, `a ${what} of 1 to 2147483647`, String(value));
  }
  if (depth === 16) throw source.error(24, "at most 8 bits a channel", "16", PNG.resave);
  const depths = (PNG.depths as Record<string, number[]>)[colour] ?? [];
  if (!depths.includes(depth)) {
    throw source.error(24, "a valid pair of bit depth and colour type", `${depth}, ${colour}`);
  }
  for (const [offset, value, highest] of [[26, compression, 0], [27, filters, 0], [28, interlace, 1]] as const) {
    if (value > highest) throw source.error(offset, `a method of at most ${highest}`, String(value));
  }
  return { width, height, depth, colour, interlaced: interlace === 1 };
}

/** What was found where a PNG should begin, what to do about it. */
function otherKind(source: Source, start: Uint8Array): [string, string] {
  if (letters(start.subarray(0, 4)) === "GGUF") return ["a GGUF file", "`pxvm import` makes a picture of it"];
  let head = source.part(0, Math.min(PNG.sniffed, source.size));
  for (let cut = 0; cut < 4; cut++) {
    // The last character may be cut.
    const found = utf8(head);
    if ("text" in found) {
      const text = found.text;
      if (text && [...text].every((letter) => isPrintable(letter) || "\t\r\n".includes(letter))) {
        return ["text", "`pxvm asm` makes a program of font-code text"];
      }
      break;
    }
    if (!found.error.endsWith("unexpected end of data")) break;
    head = head.subarray(0, head.length - 1);
  }
  return [hex(start) || "nothing", PNG.resave];
}

function checkCrc(source: Source, offset: number, computed: number, length: number): void {
  const stored = source.at(offset + 8 + length, 4).getUint32(0);
  if (stored !== computed >>> 0) {
    const text = (value: number) => (value >>> 0).toString(16).padStart(8, "0");
    const expected = `CRC ${text(computed)} of the chunk at byte ${offset}`;
    throw source.error(offset + 8 + length, expected, text(stored));
  }
}

/** Refuse an image that is larger than may be read. */
export function checkLimit(name: string, size: number, header: Header): void {
  const { width, height } = header;
  const pixels = width * height;
  const found = `found ${width} x ${height} = ${pixels}`;
  if (width > PNG.maxWidth) {
    throw new FormatError(`${name}: width is at most ${PNG.maxWidth} pixels; found ${width}`);
  }
  if (pixels > PNG.maxPixels) {
    throw new FormatError(`${name}: an image has at most ${PNG.maxPixels} pixels; ${found}`);
  }
  const limit = Math.max(PNG.usualPixels, size);
  if (pixels > limit) {
    throw new FormatError(
      `${name}: a file of ${size} bytes may unfold to at most ${limit} pixels; ${found};` +
        ` if you trust its origin, allow them by --max-pixels ${pixels} (in Python: max_pixels)`,
    );
  }
}

/** Check every chunk of a file, its order and its checksum, without inflating anything. */
export function scan(source: Source, header: Header, crc: (bytes: Uint8Array) => number): Scanned {
  const none = new Uint8Array(0);
  const found: Scanned = { header, palette: none, transparency: none, data: [], texts: [] };
  let offset = 33;
  let previous = "IHDR";
  for (let n = 0; n < PNG.maxChunks; n++) {
    const length = source.at(offset, 8).getUint32(0);
    const kind = letters(source.part(offset + 4, 4));
    if (length > source.size - offset - 12) {
      const left = `at most ${Math.max(0, source.size - offset - 12)} bytes of data before the file ends`;
      throw source.error(offset, left, `${kindName(kind)} of ${length}`);
    }
    checkKind(source, found, offset, kind, length, previous);
    checkCrc(source, offset, crc(source.part(offset + 4, length + 4)), length);
    const span = { offset: offset + 8, length };
    if (kind === "IDAT") found.data.push(span);
    else if (kind === "PLTE") found.palette = source.part(offset + 8, length).slice();
    else if (kind === "tRNS") found.transparency = source.part(offset + 8, length).slice();
    else if (/^(tEXt|zTXt|iTXt)$/.test(kind)) found.texts.push({ ...span, kind });
    offset += 12 + length;
    previous = kind;
    if (kind === "IEND") {
      checkEnd(source, found, offset);
      return found;
    }
  }
  throw new FormatError(`${source.name}: byte ${offset}: over ${PNG.maxChunks} chunks; ${PNG.resave}`);
}

/** Is this chunk allowed here, with this length? */
function checkKind(
  source: Source, picture: Scanned, offset: number, kind: string, length: number, previous: string,
): void {
  const { colour, depth } = picture.header;
  const [data, palette, transparency] = [picture.data.length, picture.palette.length, picture.transparency.length];
  const found = `${kindName(kind)} of ${length} bytes`;
  if (!/^[A-Za-z]{4}$/.test(kind)) throw source.error(offset + 4, "a chunk type of four letters", found);
  if (PNG.animation.includes(kind)) {
    throw source.error(offset, "a still image", `animation ${found}`, "export one frame");
  }
  if (kind === "IDAT") {
    if (data && previous !== "IDAT") {
      throw source.error(offset, "all IDAT chunks in a row", `one after ${kindName(previous)}`);
    }
    if (colour === 3 && !palette) throw source.error(offset, "a PLTE chunk before the pixels", found);
  } else if (kind === "PLTE") {
    if (colour === 0 || colour === 4 || data || palette || transparency) {
      throw source.error(offset, "one PLTE, before tRNS and IDAT, in a colour image", found);
    }
    const most = colour === 3 ? 2 ** depth : 256;
    if (length % 3 || length < 3 || length > 3 * most) {
      throw source.error(offset, `1 to ${most} colours of 3 bytes`, found);
    }
  } else if (kind === "tRNS") {
    if (colour === 4 || colour === 6 || data || transparency) {
      throw source.error(offset, "one tRNS, before IDAT, in an image with no alpha", found);
    }
    const shortest = colour === 0 ? 2 : colour === 2 ? 6 : 1;
    const longest = colour === 3 ? palette / 3 : shortest;
    if (length < shortest || length > longest) {
      throw source.error(offset, `tRNS of ${shortest} to ${longest} bytes`, found);
    }
  } else if (kind === "IEND") {
    if (length) throw source.error(offset, "IEND of 0 bytes", found);
  } else if (/^[A-Z]/.test(kind)) {
    throw source.error(offset, "a critical chunk of the PNG standard", found, PNG.resave);
  }
}

/** After IEND: nothing follows, there were pixels, and they can unfold to their size. */
function checkEnd(source: Source, picture: Scanned, end: number): void {
  if (end !== source.size) {
    throw source.error(end, "the end of the file after IEND", `${source.size - end} more bytes`, `cut it to ${end} bytes`);
  }
  const packed = picture.data.reduce((sum, span) => sum + span.length, 0);
  const needed = inflatedBytes(picture.header);
  if (needed > packed * PNG.maxInflateRatio) {
    throw source.error(
      picture.data[0]?.offset ?? end - 12,
      `at least ${Math.ceil(needed / PNG.maxInflateRatio)} bytes of IDAT for the declared size`,
      `${packed} (deflate unfolds to ${PNG.maxInflateRatio} times its size at most)`,
    );
  }
}

/** The picture of a file, any PNG that Python's reader admits; memory is taken when its header is known. */
export function readPng(wasm: Wasm, bytes: Uint8Array, name: string, progress?: Progress): Picture {
  const { functions } = wasm;
  const size = bytes.length;
  const room = wasm.take(64, name);
  const file = new Source(() => bytes, size, name);
  const header = readHeader(file, (part) => {
    wasm.bytes(room, part.length).set(part);
    return functions.crc32(0, room, part.length);
  });
  checkLimit(name, size, header);
  const { width, height } = header;
  progress?.(0, size, "decoding");
  if (size > PNG.readWholeBytes && isMappable(wasm, file, header)) {
    return { width, height, words: mappableRows(file, header), texts: new Map() };
  }
  const at = wasm.take(size + 64, `${name}: ${width} x ${height} pixels`);
  wasm.bytes(at, size).set(bytes);
  const source = new Source(() => wasm.bytes(at, size), size, name);
  const crc = (part: Uint8Array) => functions.crc32(0, part.byteOffset, part.length);
  const scanned = scan(source, header, crc);
  const texts = readTexts(wasm, source, scanned);
  return { width, height, words: decodeRows(wasm, name, at, scanned, progress), texts };
}
