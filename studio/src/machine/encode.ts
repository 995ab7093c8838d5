/** A picture as a PNG file, as Python saves it: 8-bit RGBA, every row with filter 0. */

import type { Picture } from "../api.ts";
import { chunk, END, headerChunk } from "./chunks.ts";
import { encodeMappable } from "./mappable.ts";
import { SIGNATURE } from "./png.ts";
import { PNG } from "./table.ts";
import type { Wasm } from "./wasm.ts";

export type Layout = "compressed" | "mappable";

/** The parts of the file. */
export async function encodePng(wasm: Wasm, picture: Picture, layout: Layout): Promise<Uint8Array[]> {
  const { width, height, words } = picture;
  const at = wasm.take(4 * words.length, "saving");
  wasm.words(at, words.length).set(words);
  if (layout === "mappable") return encodeMappable(wasm, at, width, height);
  const parts = [new Uint8Array(SIGNATURE), headerChunk(wasm, width, height)];
  const deflate = new CompressionStream("deflate");
  const writing = write(deflate.writable.getWriter(), words, width, height);
  let pending: Uint8Array[] = [];
  let size = 0;
  const flush = () => {
    if (!size) return;
    const data = new Uint8Array(size);
    let done = 0;
    for (const piece of pending) {
      data.set(piece, done);
      done += piece.length;
    }
    parts.push(chunk(wasm, "IDAT", data));
    [pending, size] = [[], 0];
  };
  const reader = deflate.readable.getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    pending.push(piece.value);
    size += piece.value.length;
    if (size >= PNG.idatBytes) flush();
  }
  await writing;
  flush();
  return [...parts, new Uint8Array(END)];
}

async function write(
  writer: WritableStreamDefaultWriter<BufferSource>, words: Uint32Array, width: number, height: number,
): Promise<void> {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  const stride = 1 + 4 * width;
  const band = Math.max(1, Math.floor(PNG.bandBytes / stride));
  for (let y = 0; y < height; y += band) {
    const rows = Math.min(band, height - y);
    const framed = new Uint8Array(rows * stride);
    for (let row = 0; row < rows; row++) {
      const start = (y + row) * 4 * width;
      framed.set(bytes.subarray(start, start + 4 * width), row * stride + 1);
    }
    await writer.write(framed);
  }
  await writer.close();
}
