/** Descriptors of dialect 1, and the words of tensors in a picture. */

import type { Picture, Rect } from "../api.ts";
import { ProgramError } from "./errors.ts";
import { DTYPE, DTYPE_NAMES, FORMAT, LIMITS, MULTIPLES, ROLE_NAMES } from "./table.ts";
import { tuple, utf8 } from "./text.ts";

/** Words of tensor rows; the same as `pxvm.core.tensor.row_words`. */
export function rowWords(dtype: number, cols: number): number {
  const quads = Math.ceil(cols / 4);
  switch (dtype) {
    case DTYPE.I8:
      return quads;
    case DTYPE.I16:
      return Math.ceil(cols / 2);
    case DTYPE.ACT1:
      return quads + 1;
    case DTYPE.ACT2:
      return 2 * quads + 1;
    case DTYPE.PARAMS:
      return 0;
    case DTYPE.I4: {
      const [codes, scales, minima] = groupWords(cols);
      return codes + scales + minima;
    }
    default:
      return cols;
  }
}

/** Words of an I4 row's codes, scales and minima, which stand in this order. */
export function groupWords(cols: number): [number, number, number] {
  const { group } = FORMAT;
  return [Math.ceil(cols / 8), Math.ceil(cols / (4 * group)), Math.ceil(cols / (2 * group))];
}

/** One decoded descriptor; links are indexes or null. */
export class Descriptor {
  /** Elements of a tensor row, tensor rows, words of one row. */
  readonly cols: number;
  readonly rows: number;
  readonly rowWords: number;

  constructor(
    readonly index: number,
    readonly name: string,
    readonly dtype: number,
    readonly role: number,
    readonly frac: number,
    readonly extents: readonly number[],
    readonly start: number,
    readonly per: number,
    readonly scale: number | null,
    readonly bias: number | null,
    readonly length: number | null,
    readonly parameters: readonly number[],
  ) {
    this.cols = extents[extents.length - 1] ?? 0;
    this.rows = extents.slice(0, -1).reduce((a, b) => a * b, 1);
    this.rowWords = rowWords(dtype, this.cols);
  }

  get dtypeName(): string {
    return DTYPE_NAMES.get(this.dtype) ?? "";
  }

  get roleName(): string {
    return (ROLE_NAMES.get(this.role) ?? "").toLowerCase();
  }

  get isTensor(): boolean {
    return this.dtype !== DTYPE.PARAMS;
  }

  /** How messages call it. */
  get called(): string {
    return this.name || String(this.index);
  }

  get flat(): number {
    return this.rows * this.cols;
  }

  /** Image rows that the tensor reaches over. */
  imageRows(width: number): number {
    return this.per ? Math.ceil(this.rows / this.per) : this.rows * Math.ceil(this.rowWords / width);
  }

  /** The word where a tensor row starts. */
  rowStart(row: number, width: number): number {
    if (!this.per) return this.start + row * Math.ceil(this.rowWords / width) * width;
    return this.start + Math.floor(row / this.per) * width + (row % this.per) * this.rowWords;
  }

  /** Rectangles that the rows cover, the last one perhaps a part of an image row. */
  rects(width: number): Rect[] {
    const x = this.start % width;
    const y = Math.floor(this.start / width);
    const n = this.rowWords;
    if (this.per) {
      const per = Math.min(this.per, this.rows);
      const full = Math.floor(this.rows / per);
      const rest = this.rows % per;
      const found = [{ x, y, width: per * n, height: full }];
      if (rest) found.push({ x, y: y + full, width: rest * n, height: 1 });
      return found;
    }
    const span = Math.ceil(n / width);
    if (span * width === n || this.rows * span === span) {
      const whole = Math.floor(n / width);
      const found: Rect[] = [];
      if (whole) found.push({ x: 0, y, width, height: whole * this.rows });
      if (n % width) found.push({ x: 0, y: y + whole, width: n % width, height: 1 });
      return found;
    }
    return [{ x: 0, y, width, height: this.rows * span }];
  }
}

/** Extents as people write them: 30x64. */
export function shapeText(extents: readonly number[]): string {
  return extents.join("x");
}

/** Decode and check a descriptor on its own, of `count` in an image of `area` words. */
export function decodeDescriptor(words: Uint32Array, index: number, count: number, area: number): Descriptor {
  const first = words[0] ?? 0;
  const bytes = new Uint8Array(words.slice(FORMAT.nameWord, FORMAT.descriptorWords).buffer);
  let end = bytes.length;
  while (end && bytes[end - 1] === 0) end -= 1;
  let where = `descriptor ${index}`;
  const named = utf8(bytes.subarray(0, end));
  if ("error" in named) throw new ProgramError(`${where}: ${named.error}`);
  const name = named.text;
  const [dtype, rank, role] = [first & 255, (first >> 8) & 255, (first >> 16) & 255];
  if (!DTYPE_NAMES.has(dtype)) throw new ProgramError(`${where}: ${dtype} is not a valid DType`);
  if (!ROLE_NAMES.has(role)) throw new ProgramError(`${where}: ${role} is not a valid Role`);
  const frac = first >> 24;
  if (dtype === DTYPE.PARAMS) {
    const parameters = [...words.subarray(1, 1 + FORMAT.parameters)];
    return new Descriptor(index, name, dtype, role, frac, [0], 0, 1, null, null, null, parameters);
  }
  where += ` (${name})`;
  if (rank < 1 || rank > 4) throw new ProgramError(`${where}: rank is 1..4; found ${rank}`);
  const extents = [...words.subarray(1, 1 + rank)];
  const total = extents.reduce((a, b) => a * Math.max(b, 1), 1);
  const most = Math.min(LIMITS.extent, (dtype === DTYPE.I4 ? 8 : 4) * area);
  if (Math.min(...extents) < 1 || total > most) {
    throw new ProgramError(`${where}: extents ${tuple(extents)} are not inside an image of ${area} pixels`);
  }
  checkColumns(where, dtype, extents[extents.length - 1] ?? 0);
  const links = [7, 8, 9].map((word) => {
    const link = words[word] ?? 0;
    if (link > count) throw new ProgramError(`${where}: link to descriptor ${link - 1}; there are ${count}`);
    return link ? link - 1 : null;
  });
  const [scale = null, bias = null, length = null] = links;
  return new Descriptor(index, name, dtype, role, frac, extents, words[5] ?? 0, words[6] ?? 0, scale, bias, length, []);
}

function checkColumns(where: string, dtype: number, columns: number): void {
  const name = DTYPE_NAMES.get(dtype) ?? "";
  const multiple = MULTIPLES[name] ?? 1;
  if (columns % multiple) {
    throw new ProgramError(`${where}: ${name} rows fill whole pixels, ${multiple} elements together; found ${columns}`);
  }
}

/** Refuse a tensor that leaves the image. */
export function checkPlace(d: Descriptor, width: number, height: number): void {
  if (!d.isTensor) return;
  const [x, y] = [d.start % width, Math.floor(d.start / width)];
  const used = d.per ? Math.min(d.per, d.rows) * d.rowWords : d.rowWords;
  const fits = d.per ? x + used <= width : x === 0;
  if (!fits || y + d.imageRows(width) > height) {
    throw new ProgramError(
      `descriptor ${d.index} (${d.name}): ${d.rows} rows of ${d.rowWords} pixels, ${d.per} in an` +
        ` image row, from (${x}, ${y}) on leave the ${width} x ${height} image`,
    );
  }
}

/** Words of tensor rows [first, first + count): a copy, row by row. */
export function tensorWords(picture: Picture, d: Descriptor, first: number, count: number): Uint32Array {
  const n = d.rowWords;
  const found = new Uint32Array(count * n);
  for (let row = 0; row < count; row++) {
    const start = d.rowStart(first + row, picture.width);
    found.set(picture.words.subarray(start, start + n), row * n);
  }
  return found;
}
