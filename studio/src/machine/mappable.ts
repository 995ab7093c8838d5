/** The mappable layout: a PNG whose bytes are the array; see docs/FORMAT.md. */

import { chunk, END, headerChunk } from "./chunks.ts";
import { FormatError } from "./errors.ts";
import { type Header, SIGNATURE, type Source } from "./png.ts";
import { PNG } from "./table.ts";
import type { Wasm } from "./wasm.ts";

const FIRST_ROW = 64;
const GAP = 16;
const LAST_BLOCK = [1, 0, 0, 0xff, 0xff];
const TAIL_BYTES = LAST_BLOCK.length + 4 + 4 + 12;

/** Length of the one IDAT chunk: zlib header, rows, last block, Adler-32. */
function dataBytes(width: number, height: number): number {
  return 2 + height * (4 * width + GAP) + LAST_BLOCK.length + 4;
}

function head(wasm: Wasm, width: number, height: number): Uint8Array {
  const found = new Uint8Array(FIRST_ROW);
  found.set(SIGNATURE);
  found.set(headerChunk(wasm, width, height), 8);
  found.set(chunk(wasm, "pxVM", new TextEncoder().encode("mappable1")), 33);
  new DataView(found.buffer).setUint32(54, dataBytes(width, height));
  found.set([0x49, 0x44, 0x41, 0x54, 0x78, 0x01], 58);
  return found;
}

/** The 16 bytes before the pixels of a row. */
function rowPrefix(width: number): Uint8Array {
  const length = 4 * width + 1;
  const inverse = length ^ 0xffff;
  const empty = [0, 0, 0, 0xff, 0xff];
  return new Uint8Array([...empty, ...empty, 0, length & 255, length >> 8, inverse & 255, inverse >> 8, 0]);
}

function same(a: Uint8Array, b: ArrayLike<number>): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Is every byte of a file that is neither pixel nor checksum exactly as the layout says? */
export function isMappable(wasm: Wasm, source: Source, header: Header): boolean {
  const { width, height } = header;
  const stride = 4 * width + GAP;
  const tail = FIRST_ROW + height * stride;
  if (width > PNG.maxMappableWidth || dataBytes(width, height) > PNG.maxChunkBytes) return false;
  if (source.size !== tail + TAIL_BYTES) return false;
  if (!same(source.part(0, FIRST_ROW), head(wasm, width, height))) return false;
  if (!same(source.part(tail, LAST_BLOCK.length), LAST_BLOCK)) return false;
  if (!same(source.part(tail + TAIL_BYTES - 12, 12), END)) return false;
  const prefix = rowPrefix(width);
  for (let y = 0; y < height; y++) if (!same(source.part(FIRST_ROW + y * stride, GAP), prefix)) return false;
  return true;
}

/** The pixels of a mappable file: they are the only copy that is made of them. */
export function mappableRows(source: Source, header: Header): Uint32Array {
  const { width, height } = header;
  const words = new Uint32Array(width * height);
  const bytes = new Uint8Array(words.buffer);
  for (let y = 0; y < height; y++) {
    bytes.set(source.part(FIRST_ROW + y * (4 * width + GAP) + GAP, 4 * width), y * 4 * width);
  }
  return words;
}

/** The file of this layout for words at `at`, in parts. */
export function encodeMappable(wasm: Wasm, at: number, width: number, height: number): Uint8Array[] {
  if (width > PNG.maxMappableWidth) {
    throw new FormatError(
      `image: a mappable row has at most ${PNG.maxMappableWidth} pixels; found ${width};` +
        ' arrange it narrower, or use layout="compressed"',
    );
  }
  const length = dataBytes(width, height);
  if (length > PNG.maxChunkBytes) {
    throw new FormatError(
      `image: a mappable file holds at most ${PNG.maxChunkBytes} bytes of data; found ${length};` +
        ' split it, or use layout="compressed"',
    );
  }
  const { functions } = wasm;
  const stride = 4 * width + GAP;
  const band = Math.max(1, Math.floor(PNG.bandBytes / stride));
  const buffer = wasm.take(band * stride + FIRST_ROW, "saving");
  const first = head(wasm, width, height);
  const sum = (bytes: Uint8Array, crc: number) => {
    wasm.bytes(buffer, bytes.length).set(bytes);
    return functions.crc32(crc, buffer, bytes.length);
  };
  const parts = [first];
  let crc = sum(first.subarray(58), 0);
  let adler = 1;
  const prefix = rowPrefix(width);
  for (let y = 0; y < height; y += band) {
    const rows = Math.min(band, height - y);
    const bytes = wasm.bytes(buffer, rows * stride);
    for (let row = 0; row < rows; row++) {
      bytes.set(prefix, row * stride);
      bytes.set(wasm.bytes(at + (y + row) * 4 * width, 4 * width), row * stride + GAP);
      adler = functions.adler32(adler, buffer + row * stride + GAP - 1, 4 * width + 1);
    }
    crc = functions.crc32(crc, buffer, rows * stride);
    parts.push(bytes.slice());
  }
  const tail = new Uint8Array(LAST_BLOCK.length + 8);
  tail.set(LAST_BLOCK);
  const view = new DataView(tail.buffer);
  view.setUint32(LAST_BLOCK.length, adler >>> 0);
  view.setUint32(LAST_BLOCK.length + 4, sum(tail.subarray(0, LAST_BLOCK.length + 4), crc) >>> 0);
  return [...parts, tail, new Uint8Array(END)];
}
