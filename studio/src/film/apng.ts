/**
 * APNG: a PNG whose first picture every program shows, and whose others those show that know them.
 * Of each picture only the rectangle is kept that is not as in the one before.
 */

import { type Picture, PxvmError, type Rect } from "../api.ts";
import { enlarged, opaque } from "./frames.ts";
import type { Writer } from "./index.ts";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const LONGEST = 65535; // milliseconds that a picture may stand
const MOST = 0x7fffffff; // bytes of a chunk

const CRCS = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = CRCS[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return ~crc;
}

/** A chunk of big-endian numbers of so many bytes each, and bytes behind them. */
function chunk(kind: string, numbers: [number, number][], data?: Uint8Array): Uint8Array<ArrayBuffer> {
  const front = numbers.reduce((sum, [, bytes]) => sum + bytes, 0);
  const length = front + (data?.length ?? 0);
  if (length > MOST) throw new PxvmError("a picture of the film takes more than 2 GiB: make it smaller");
  const whole = new Uint8Array(12 + length);
  const view = new DataView(whole.buffer);
  view.setUint32(0, length);
  for (let i = 0; i < 4; i++) whole[4 + i] = kind.charCodeAt(i);
  let at = 8;
  for (const [number, bytes] of numbers) {
    if (bytes === 4) view.setUint32(at, number);
    else if (bytes === 2) view.setUint16(at, number);
    else view.setUint8(at, number);
    at += bytes;
  }
  if (data) whole.set(data, at);
  view.setUint32(8 + length, crc32(whole.subarray(4, 8 + length)));
  return whole;
}

/** The rectangle in which two pictures differ; undefined where they do not. */
function difference(before: Uint32Array, now: Uint32Array, width: number): Rect | undefined {
  let [left, top, right, bottom] = [width, -1, -1, -1];
  for (let at = 0, y = 0; at < now.length; at += width, y++) {
    let first = 0;
    while (first < width && before[at + first] === now[at + first]) first += 1;
    if (first === width) continue;
    let last = width - 1;
    while (before[at + last] === now[at + last]) last -= 1;
    if (top < 0) top = y;
    bottom = y;
    left = Math.min(left, first);
    right = Math.max(right, last);
  }
  if (top < 0) return undefined;
  return { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/** The compressed scan lines of a rectangle, each behind a filter byte of 0. */
async function compressed(words: Uint32Array, width: number, rect: Rect): Promise<Uint8Array> {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  const stride = 4 * rect.width;
  let y = 0;
  const lines = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(control) {
      const rows = Math.min(rect.height - y, Math.max(1, Math.floor((1 << 20) / stride)));
      const band = new Uint8Array(rows * (stride + 1));
      for (let row = 0; row < rows; row++, y++) {
        const at = 4 * ((rect.y + y) * width + rect.x);
        band.set(bytes.subarray(at, at + stride), row * (stride + 1) + 1);
      }
      control.enqueue(band);
      if (y === rect.height) control.close();
    },
  });
  const packed = lines.pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

export class Apng implements Writer {
  private parts: Uint8Array<ArrayBuffer>[] = [];
  private before: Uint32Array | undefined;
  /** The picture whose time is not known yet. */
  private open: { rect: Rect; data: Uint8Array; time: number } | undefined;
  private pictures = 0;
  private sequence = 0;
  private readonly width: number;
  private readonly height: number;

  constructor(
    width: number,
    height: number,
    private readonly each: number,
    private readonly scale: number,
    private readonly isOpaque: boolean,
  ) {
    this.width = width * scale;
    this.height = height * scale;
  }

  async add(picture: Picture): Promise<void> {
    const { width, height } = picture;
    const own = this.isOpaque ? opaque(picture.words) : picture.words;
    const larger = enlarged(own, width, height, this.scale);
    const words = larger === picture.words ? larger.slice() : larger; // whoever gave it may go on in it
    const all = { x: 0, y: 0, width: this.width, height: this.height };
    const rect = this.before ? difference(this.before, words, this.width) : all;
    this.before = words;
    if (!rect && this.open && this.open.time + this.each <= LONGEST) {
      this.open.time += this.each;
      return;
    }
    this.settle();
    const kept = rect ?? { x: 0, y: 0, width: 1, height: 1 };
    const data = await compressed(words, this.width, kept);
    this.open = { rect: kept, data, time: Math.min(this.each, LONGEST) };
  }

  /** Writes the picture whose time is over. */
  private settle(): void {
    if (!this.open) return;
    const { rect, data, time } = this.open;
    this.parts.push(
      chunk("fcTL", [
        [this.sequence++, 4], [rect.width, 4], [rect.height, 4], [rect.x, 4], [rect.y, 4],
        [Math.round(time), 2], [1000, 2], [0, 1], [0, 1],
      ]),
    );
    this.parts.push(
      this.pictures ? chunk("fdAT", [[this.sequence++, 4]], data) : chunk("IDAT", [], data),
    );
    this.pictures += 1;
    this.open = undefined;
  }

  async finish(): Promise<Blob> {
    this.settle();
    const header = chunk("IHDR", [
      [this.width, 4], [this.height, 4], [8, 1], [6, 1], [0, 1], [0, 1], [0, 1],
    ]);
    const control = chunk("acTL", [[this.pictures, 4], [0, 4]]);
    const parts = [new Uint8Array(SIGNATURE), header, control, ...this.parts, chunk("IEND", [])];
    return new Blob(parts, { type: "image/apng" });
  }

  cancel(): void {
    this.parts = [];
    this.before = this.open = undefined;
  }
}
