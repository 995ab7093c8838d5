/** Texts that a PNG carries. They mean nothing to a program; what is damaged or too large is left out. */

import type { Scanned, Source } from "./png.ts";
import type { Wasm } from "./wasm.ts";

const MOST_TEXTS = 256;
const MOST_BYTES = 1 << 20; // of all texts together, and of what one of them is packed into

/** tEXt, zTXt and iTXt chunks by keyword. */
export function readTexts(wasm: Wasm, source: Source, scanned: Scanned): Map<string, string> {
  const found = new Map<string, string>();
  const latin = new TextDecoder("latin1");
  let left = MOST_BYTES;
  let room = 0;
  const unfold = (bytes: Uint8Array) => {
    room ||= wasm.take(2 * MOST_BYTES, "a text");
    wasm.bytes(room, bytes.length).set(bytes);
    const to = room + MOST_BYTES;
    const ended = wasm.functions.inflate(room, bytes.length, to, left);
    return ended ? null : wasm.bytes(to, wasm.functions.inflatedTo()).slice();
  };
  for (const { kind, offset, length } of scanned.texts.slice(0, MOST_TEXTS)) {
    if (length > MOST_BYTES) continue;
    const data = source.part(offset, length).slice();
    const end = data.indexOf(0);
    if (end < 1) continue;
    let bytes: Uint8Array | null = data.subarray(end + 1);
    if (kind === "zTXt") bytes = unfold(data.subarray(end + 2));
    else if (kind === "iTXt") {
      const language = data.indexOf(0, end + 3);
      const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
      if (translated < 0) continue;
      const rest = data.subarray(translated + 1);
      bytes = data[end + 1] === 1 ? unfold(rest) : rest;
    }
    if (!bytes || bytes.length > left) continue;
    left -= bytes.length;
    const decoder = kind === "iTXt" ? new TextDecoder() : latin;
    found.set(latin.decode(data.subarray(0, end)), decoder.decode(bytes));
  }
  return found;
}
