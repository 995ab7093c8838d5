/** Texts that a PNG carries. They mean nothing to a program; what is damaged or too large is left out. */

import type { Scanned, Source } from "./png.ts";
import type { Wasm } from "./wasm.ts";

const MOST_TEXTS = 256;
const MOST_BYTES = 1 << 20; // of one text

/** tEXt, zTXt and iTXt chunks by keyword. */
export function readTexts(wasm: Wasm, source: Source, scanned: Scanned): Map<string, string> {
  const found = new Map<string, string>();
  const latin = new TextDecoder("latin1");
  const unfold = (bytes: Uint8Array) => {
    const room = wasm.take(bytes.length + MOST_BYTES, "a text");
    wasm.bytes(room, bytes.length).set(bytes);
    const ended = wasm.functions.inflate(room, bytes.length, room + bytes.length, MOST_BYTES);
    return ended ? null : wasm.bytes(room + bytes.length, wasm.functions.inflatedTo()).slice();
  };
  for (const { kind, offset, length } of scanned.texts.slice(0, MOST_TEXTS)) {
    if (length > MOST_BYTES) continue;
    const data = source.part(offset, length).slice();
    const end = data.indexOf(0);
    if (end < 1) continue;
    const keyword = latin.decode(data.subarray(0, end));
    let text: string | null = null;
    if (kind === "tEXt") text = latin.decode(data.subarray(end + 1));
    else if (kind === "zTXt") {
      const bytes = unfold(data.subarray(end + 2));
      text = bytes && latin.decode(bytes);
    } else {
      const packed = data[end + 1] === 1;
      const language = data.indexOf(0, end + 3);
      const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
      if (translated < 0) continue;
      const rest = data.subarray(translated + 1);
      const bytes = packed ? unfold(rest) : rest;
      text = bytes && new TextDecoder().decode(bytes);
    }
    if (text !== null) found.set(keyword, text);
  }
  return found;
}
