/** The digest that `pxvm` prints: SHA-256 over "WxH\n" and the RGBA bytes. */

import type { Wasm } from "./wasm.ts";

export function digest(wasm: Wasm, at: number, width: number, height: number): string {
  const { functions } = wasm;
  const head = new TextEncoder().encode(`${width}x${height}\n`);
  const room = wasm.take(64, "a digest");
  wasm.bytes(room, head.length).set(head);
  functions.shaBegin();
  functions.shaUpdate(room, head.length);
  functions.shaUpdate(at, 4 * width * height);
  const found = wasm.words(functions.shaFinish(), 8);
  return [...found].map((word) => word.toString(16).padStart(8, "0")).join("");
}

/** The digest of words that stand elsewhere. */
export function digestOf(wasm: Wasm, words: Uint32Array, width: number, height: number): string {
  const at = wasm.take(words.byteLength, "a digest");
  wasm.words(at, words.length).set(words);
  return digest(wasm, at, width, height);
}
