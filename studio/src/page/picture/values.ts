import type { Picture, ProgramInfo, Rect, TensorInfo } from "../../api.ts";
import tables from "../../generated/tables.json";

/** What stands in one word of a picture. */
export interface Place {
  x: number;
  y: number;
  word: number;
  tensor?: TensorInfo;
  /** Tensor row, and the first column that the word holds, where it holds elements. */
  row?: number;
  column?: number;
  /** The integers that the word holds. */
  values?: number[];
  /** Number of the instruction that the word is. */
  instruction?: number;
}

/** Bytes, or parts of them, that stand in one word; the rest of a row is scales. */
const ELEMENTS: Record<string, number> = { I8: 4, ACT1: 4, ACT2: 4, I16: 2, I4: 8 };

const FIRST_COLUMN: Record<string, number | undefined> = tables.matrix.firstColumn;

export function channels(word: number): [number, number, number, number] {
  return [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24];
}

export function inside(rect: Rect, x: number, y: number): boolean {
  return x >= rect.x && y >= rect.y && x < rect.x + rect.width && y < rect.y + rect.height;
}

/** The integers in a word of a tensor of this type; a word of a scale is its real number. */
export function elements(dtype: string, word: number): number[] {
  const bytes = channels(word);
  if (dtype === "I8" || dtype === "ACT1" || dtype === "ACT2") return bytes.map((byte) => byte - 128);
  if (dtype === "I16") return [(word << 16) >> 16, word >> 16];
  if (dtype === "I32") return [word | 0];
  if (dtype === "SCALE") return [(word & 0xffff) * 2 ** (word >> 16)];
  if (dtype === "I4") return [...bytes.map((byte) => byte & 15), ...bytes.map((byte) => byte >> 4)];
  return [bytes[0]];
}

/** Words of one tensor row, and of the part of it that holds elements. */
function rowWords(tensor: TensorInfo): { all: number; elements: number } {
  const { dtype, cols } = tensor;
  const words = Math.ceil(cols / (ELEMENTS[dtype] ?? 1));
  if (dtype === "ACT1") return { all: words + 1, elements: words };
  if (dtype === "ACT2") return { all: 2 * words + 1, elements: words };
  if (dtype === "I4") return { all: words + Math.ceil(cols / 128) + Math.ceil(cols / 64), elements: words };
  return { all: words, elements: words };
}

/** Where a tensor's rows stand in its rectangle: so many side by side, or so many image rows each. */
export function arrangement(tensor: TensorInfo): { beside: number; lines: number; words: number; elements: number } {
  const { all, elements: own } = rowWords(tensor);
  const rect = tensor.rects[0];
  const beside = Math.max(1, Math.floor(rect.width / all));
  if (all <= rect.width && Math.ceil(tensor.rows / beside) === rect.height) {
    return { beside, lines: 1, words: all, elements: own };
  }
  return { beside: 1, lines: Math.max(1, Math.ceil(all / rect.width)), words: all, elements: own };
}

/** What the word at (x, y) is. */
export function place(picture: Picture, program: ProgramInfo | undefined, x: number, y: number): Place {
  const found: Place = { x, y, word: picture.words[y * picture.width + x] };
  if (!program) return found;
  found.instruction = instructionAt(program, picture.width, x, y);
  const tensor = program.tensors.find((each) => each.rects.some((rect) => inside(rect, x, y)));
  if (!tensor) return found;
  found.tensor = tensor;
  if (program.dialect === 0) return plain(found, tensor, picture.width);
  const rect = tensor.rects[0];
  if (tensor.dtype === "RGBA" || tensor.rects.length > 1) return found;
  const { beside, lines, words, elements: own } = arrangement(tensor);
  const line = y - rect.y;
  const wide = x - rect.x;
  const row = lines === 1 ? line * beside + Math.floor(wide / words) : Math.floor(line / lines);
  const offset = lines === 1 ? wide % words : (line % lines) * rect.width + wide;
  if (row >= tensor.rows || offset >= words) return found;
  found.row = row;
  if (offset < own) {
    found.column = offset * (ELEMENTS[tensor.dtype] ?? 1);
    found.values = elements(tensor.dtype, found.word);
  } else if (tensor.dtype === "ACT1" || (tensor.dtype === "ACT2" && offset === words - 1)) {
    found.values = elements("SCALE", found.word);
  }
  return found;
}

/** Dialect 0: an element is the R of a word; each image row begins with as many columns as the header has. */
function plain(found: Place, tensor: TensorInfo, width: number): Place {
  found.values = [tensor.dtype === "16-bit" ? found.word & 0xffff : found.word & 255];
  const first = FIRST_COLUMN[tensor.dtype];
  if (first === undefined || found.x < first) return found;
  const element = (found.y - tensor.rects[0].y) * (width - first) + found.x - first;
  if (element < tensor.rows * tensor.cols) {
    found.row = Math.floor(element / tensor.cols);
    found.column = element % tensor.cols;
  }
  return found;
}

function instructionAt(program: ProgramInfo, width: number, x: number, y: number): number | undefined {
  const first = program.instructions[0];
  if (!first) return undefined;
  const index = (y - first.y) * width + (x - first.x);
  return index >= 0 && index < program.instructions.length ? index : undefined;
}
