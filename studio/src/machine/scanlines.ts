/** The rows of a PNG: inflated, unfiltered and expanded to words, with the sentences of scanlines.py. */

import type { Progress } from "../api.ts";
import { inflatedBytes, passes, rowBytes, type Scanned, channels, Source } from "./png.ts";
import { PNG } from "./table.ts";
import type { Wasm } from "./wasm.ts";

// As assembly/inflate.ts numbers how a stream ends.
const [WELL, FULL, SHORT, NO_SUM, DICTIONARY, TOO_FAR] = [0, 1, 2, 3, 4, 18];
/** zlib's words for what is no valid stream, from the end number 5 on. */
const WRONG = [
  "incorrect header check",
  "unknown compression method",
  "invalid window size",
  "invalid block type",
  "invalid stored block lengths",
  "too many length or distance symbols",
  "invalid code lengths set",
  "invalid bit length repeat",
  "invalid code -- missing end-of-block",
  "invalid literal/lengths set",
  "invalid distances set",
  "invalid literal/length code",
  "invalid distance code",
  "invalid distance too far back",
  "incorrect data check",
];

/** The words of a picture whose file lies at `at`; the file is used up. */
export function decodeRows(
  wasm: Wasm, name: string, at: number, scanned: Scanned, progress?: Progress,
): Uint32Array {
  const { functions } = wasm;
  const { header } = scanned;
  const { width, height } = header;
  const needed = inflatedBytes(header);
  const what = `${name}: ${width} x ${height} pixels`;
  const whole = header.colour === 6 && !header.interlaced;
  const stream = wasm.take(needed + 8, what);
  const out = whole ? stream : wasm.take(4 * width * height, what);
  const packed = join(wasm, at, scanned);
  const ended = functions.inflate(at, packed, stream, needed);
  const produced = functions.inflatedTo() >>> 0;
  const taken = functions.inflatedFrom() >>> 0;
  const used = ended === SHORT || ended === NO_SUM ? packed : taken; // whoever wants more has looked at all
  // Bytes of the stream that were needed for so many bytes of rows; what came out before is overwritten.
  const neededFor = (count: number) => {
    functions.inflate(at, packed, stream, count - 1);
    return functions.inflatedFrom() >>> 0;
  };
  const source = new Source(() => new Uint8Array(0), 0, name);
  const place = (position: number) => offsetOf(scanned, position);
  // What is wrong right behind a byte is found together with it, unless another piece had to be read; a
  // distance is looked at only where there is room for what it would copy.
  const isFoundAtOnce = (end: number) => end >= DICTIONARY && end !== TOO_FAR;
  const together = isFoundAtOnce(ended) && produced > 0 && place(neededFor(produced)) === place(used);
  const there = together ? produced - 1 : produced;
  const table = colours(wasm, scanned);
  let from = stream;
  for (const pass of passes(header)) {
    progress?.(from - stream, needed, "decoding");
    const bytes = rowBytes(header, pass.width);
    const band = Math.max(1, Math.floor(PNG.bandBytes / (4 * pass.width)));
    for (let y = 0; y < pass.height; y += band) {
      const rows = Math.min(band, pass.height - y);
      const end = from + rows * (1 + bytes);
      if (end - stream > there) {
        throw streamError(source, ended, place(used), end - stream - produced);
      }
      const where = `rows ${y} to ${y + rows - 1}`;
      const worst = functions.largestFilter(from, 1 + bytes, rows);
      if (worst > 4) {
        throw source.error(place(neededFor(end - stream)), `row filters 0 to 4 in ${where}`, String(worst), PNG.resave);
      }
      if (whole) {
        const to = out + y * bytes;
        functions.wholeRows(from, to, y ? to - bytes : 0, bytes, rows);
      } else {
        const pixel = Math.max(1, Math.floor((channels(header.colour) * header.depth) / 8));
        functions.plainRows(from, bytes, pixel, rows, y ? 0 : 1);
        const first = (pass.y + y * pass.dy) * width + pass.x;
        const most = functions.expand(
          from, pass.width, rows, bytes, header.depth, header.colour,
          table.at, table.key, out + 4 * first, pass.dx, pass.dy * width,
        );
        if (most >= table.count) {
          const offset = place(neededFor(end - stream));
          throw source.error(offset, `palette indices below ${table.count} in ${where}`, String(most), PNG.resave);
        }
      }
      from = end;
    }
  }
  if (ended === FULL) {
    // The next byte is asked for, from the next piece where one is used up, and with it what is wrong behind it.
    const next = functions.inflate(at, packed, stream, needed + 1);
    const piece = place(used + 1);
    const same = place(Math.max(functions.inflatedFrom() >>> 0, used + 1)) === piece;
    throw streamError(source, isFoundAtOnce(next) && same ? next : FULL, piece, 0);
  }
  if (ended !== WELL) throw streamError(source, ended, place(used), 0);
  if (used < packed) throw source.error(place(used + 1), "no bytes after the zlib stream", "some");
  return wasm.words(out, width * height).slice();
}

/** What is wrong with a stream of which so many bytes of pixels are missing. */
function streamError(source: Source, ended: number, offset: number, missing: number): Error {
  const wrong = WRONG[ended - DICTIONARY - 1];
  if (wrong) return source.error(offset, "a valid zlib stream", `Error -3 while decompressing data: ${wrong}`);
  if (ended === DICTIONARY) return source.error(offset, "a valid zlib stream", "Error 2 while decompressing data");
  if (ended === FULL) return source.error(offset, "the end of the pixels", "more data");
  if (missing && (ended === SHORT || ended === NO_SUM || ended === WELL)) {
    return source.error(offset, `${missing} more bytes of pixels`, "the end of the zlib stream");
  }
  return source.error(offset, "the zlib stream's Adler-32", "nothing");
}

/** Move what the IDAT chunks hold together, to the front of the file; how many bytes it is. */
function join(wasm: Wasm, at: number, scanned: Scanned): number {
  let length = 0;
  const last = scanned.data[scanned.data.length - 1];
  const bytes = wasm.bytes(at, last ? last.offset + last.length : 0);
  for (const span of scanned.data) {
    bytes.copyWithin(length, span.offset, span.offset + span.length);
    length += span.length;
  }
  return length;
}

/** Where in the file the piece begins that holds a byte of the stream; files are read in pieces. */
function offsetOf(scanned: Scanned, position: number): number {
  let before = 0;
  let found = scanned.data[0]?.offset ?? 0;
  for (const span of scanned.data) {
    if (!span.length) continue;
    const inside = Math.max(position - 1, 0) - before;
    if (inside < 0) break;
    const within = Math.min(inside, span.length - 1);
    found = span.offset + Math.floor(within / PNG.readBytes) * PNG.readBytes;
    before += span.length;
  }
  return found;
}

/** Words of every grey value or palette index; for RGB, the one transparent colour, else -1. */
function colours(wasm: Wasm, scanned: Scanned): { at: number; count: number; key: number } {
  const { header, palette, transparency } = scanned;
  const at = wasm.take(1024, "colours");
  const words = wasm.words(at, 256);
  const low = [1, 3, 5].map((i) => transparency[i] ?? 0);
  if (header.colour === 2) {
    const key = transparency.length ? (low[0] ?? 0) | ((low[1] ?? 0) << 8) | ((low[2] ?? 0) << 16) : -1;
    return { at, count: 256, key };
  }
  if (header.colour === 3) {
    const count = palette.length / 3;
    for (let i = 0; i < count; i++) {
      const [r = 0, g = 0, b = 0] = palette.subarray(3 * i, 3 * i + 3);
      words[i] = (r | (g << 8) | (b << 16) | ((transparency[i] ?? 255) << 24)) >>> 0;
    }
    return { at, count, key: -1 };
  }
  const count = header.colour === 0 ? 2 ** header.depth : 256;
  for (let i = 0; i < count; i++) words[i] = (0xff000000 | (Math.floor((255 * i) / (count - 1)) * 0x010101)) >>> 0;
  if (header.colour === 0 && transparency.length) {
    const clear = (low[0] ?? 0) & (count - 1);
    words[clear] = (words[clear] ?? 0) & 0xffffff;
  }
  return { at, count, key: -1 };
}
