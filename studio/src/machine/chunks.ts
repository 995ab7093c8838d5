/** Chunks of a PNG that is written. */

import type { Wasm } from "./wasm.ts";

export const END = [0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82];

/** A whole chunk: length, type, data, CRC-32. */
export function chunk(wasm: Wasm, kind: string, data: Uint8Array): Uint8Array {
  const found = new Uint8Array(12 + data.length);
  const view = new DataView(found.buffer);
  view.setUint32(0, data.length);
  found.set(new TextEncoder().encode(kind), 4);
  found.set(data, 8);
  const room = wasm.take(4 + data.length, "a chunk");
  wasm.bytes(room, 4 + data.length).set(found.subarray(4, 8 + data.length));
  view.setUint32(8 + data.length, wasm.functions.crc32(0, room, 4 + data.length) >>> 0);
  return found;
}

/** The IHDR of an RGBA image of 8 bits a channel, not interlaced. */
export function headerChunk(wasm: Wasm, width: number, height: number): Uint8Array {
  const data = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 8, 6, 0, 0, 0]);
  const view = new DataView(data.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  return chunk(wasm, "IHDR", data);
}
