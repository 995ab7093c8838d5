import type { Picture, ProgramInfo, Rect, TensorInfo } from "../../api.ts";
import { scales } from "./colors.ts";
import type { Paint } from "./pyramid.ts";
import { elements } from "./values.ts";

/** How words become colours: as the picture's own, or as heat by the numbers that they hold. */
export type Mode = "pixels" | "heat";

/** The ends of a tensor's heat scale. */
export interface Range {
  low: number;
  high: number;
}

/** A picture's own colours. Alpha is a value like the others, so it hides nothing. */
export function pixels(picture: Picture): Paint {
  const { words, width } = picture;
  return (x, y, count, stride, out, at) => {
    let from = y * width + x;
    for (let i = 0; i < count; i++, from += stride) out[at + i] = words[from] | 0xff000000;
  };
}

const SAMPLES = 4096;

/** The range of a tensor's numbers, from some of its words: symmetric about zero when both signs occur. */
export function range(picture: Picture, tensor: TensorInfo): Range {
  let low = Infinity;
  let high = -Infinity;
  for (const rect of tensor.rects) {
    const words = rect.width * rect.height;
    const stride = Math.max(1, Math.floor(words / SAMPLES)) | 1;
    for (let i = 0; i < words; i += stride) {
      const at = (rect.y + Math.floor(i / rect.width)) * picture.width + rect.x + (i % rect.width);
      const value = mean(tensor.dtype, picture.words[at]);
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (!Number.isFinite(low)) return { low: 0, high: 1 };
  if (low < 0 && high > 0) {
    const most = Math.max(-low, high);
    return { low: -most, high: most };
  }
  if (low < 0) return { low, high: 0 };
  return { low: 0, high: high || 1 };
}

/** One number for a word: the mean of what it holds. */
function mean(dtype: string, word: number): number {
  if (dtype === "I32") return word | 0;
  const bytes = (word & 255) + ((word >>> 8) & 255) + ((word >>> 16) & 255) + (word >>> 24);
  if (dtype === "I8" || dtype === "ACT1" || dtype === "ACT2") return bytes / 4 - 128;
  const values = elements(dtype, word);
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

interface Band {
  rect: Rect;
  dtype: string;
  range: Range;
}

/** Each tensor's words by their numbers, on its own scale as it then is; what is no tensor stays dim. */
export function heat(picture: Picture, program: ProgramInfo, ranges: Map<number, Range>): Paint {
  const bands: Band[] = [];
  for (const tensor of program.tensors) {
    if (tensor.dtype === "RGBA" || tensor.dtype === "PARAMS") continue;
    const range = ranges.get(tensor.index) ?? { low: 0, high: 1 };
    for (const rect of tensor.rects) bands.push({ rect, dtype: tensor.dtype, range });
  }
  bands.sort((a, b) => a.rect.y - b.rect.y);
  const seen = rows(bands, picture.height);
  const { words, width } = picture;
  return (x, y, count, stride, out, at) => {
    let from = y * width + x;
    for (let i = 0; i < count; i++, from += stride) {
      const word = words[from];
      const grey = ((word & 255) + ((word >>> 8) & 255) + ((word >>> 16) & 255)) >> 4;
      out[at + i] = 0xff000000 | (grey * 0x10101);
    }
    for (const band of seen(y)) {
      const { rect } = band;
      const first = Math.max(0, Math.ceil((rect.x - x) / stride));
      const last = Math.min(count, Math.ceil((rect.x + rect.width - x) / stride));
      fill(band, words, y * width + x, stride, first, last, out, at);
    }
  };
}

function fill(
  band: Band, words: Uint32Array, from: number, stride: number,
  first: number, last: number, out: Uint32Array, at: number,
): void {
  const { dtype, range: { low, high } } = band;
  const factor = 255 / (high - low || 1);
  const scale = low < 0 && high > 0 ? scales.diverging : scales.sequential;
  for (let i = first; i < last; i++) {
    const step = (mean(dtype, words[from + i * stride]) - low) * factor;
    out[at + i] = scale[step < 0 ? 0 : step > 255 ? 255 : step | 0];
  }
}

/** The bands that an image row meets, found through steps of 64 rows. */
function rows(bands: Band[], height: number): (y: number) => Band[] {
  const steps: Band[][] = Array.from({ length: (height >> 6) + 1 }, () => []);
  for (const band of bands) {
    const last = (band.rect.y + band.rect.height - 1) >> 6;
    for (let step = band.rect.y >> 6; step <= last; step++) steps[step]?.push(band);
  }
  return (y) => steps[y >> 6].filter(({ rect }) => y >= rect.y && y < rect.y + rect.height);
}
