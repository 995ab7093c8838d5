// Inflation of one zlib stream (RFC 1950, 1951) that lies whole in memory, to an output that lies
// whole in memory; it says how it ended, with zlib's own distinctions.

import { adler32 } from "./checksums";

export const enum Ended {
  WELL = 0,
  /** More data than there is room for. */
  FULL = 1,
  /** The input ended inside the data. */
  SHORT = 2,
  /** The input ended inside the checksum. */
  NO_SUM = 3,
  DICTIONARY = 4,
  HEADER = 5,
  METHOD = 6,
  WINDOW = 7,
  BLOCK = 8,
  STORED = 9,
  SYMBOLS = 10,
  LENGTHS_CODE = 11,
  REPEAT = 12,
  NO_END = 13,
  LITERALS = 14,
  DISTANCES = 15,
  LITERAL = 16,
  DISTANCE = 17,
  TOO_FAR = 18,
  SUM = 19,
}

const FAST: u32 = 10;
const MAX_BITS: u32 = 15;

const LENGTH_BASE = memory.data<u16>([
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
]);
const LENGTH_EXTRA = memory.data<u8>([
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
]);
const DISTANCE_BASE = memory.data<u16>([
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
  8193, 12289, 16385, 24577,
]);
const DISTANCE_EXTRA = memory.data<u8>([
  0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
]);
const ORDER = memory.data<u8>([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]);

// A code: the fast table (symbol << 4 | bits, 0 where longer), how many codes of each length, symbols in order.
const TABLE_BYTES: usize = 2 << FAST;
const CODE_BYTES: usize = TABLE_BYTES + 32 + 2 * 320;
const LITERAL_CODE = memory.data(3360);
const DISTANCE_CODE = memory.data(3360);
const LENGTHS = memory.data(320);
const OFFSETS = memory.data(32);

let input: usize = 0;
let inputEnd: usize = 0;
let hold: u64 = 0;
let held: u32 = 0;
let output: usize = 0;
let outputStart: usize = 0;
let outputEnd: usize = 0;
let inputStart: usize = 0;

/** Bytes of the input that were needed, and bytes that came out. */
export function inflatedFrom(): usize {
  return input - inputStart - (held >> 3);
}

export function inflatedTo(): usize {
  return output - outputStart;
}

// @ts-ignore: decorator
@inline
function refill(): void {
  if (held <= 32) {
    if (input + 4 <= inputEnd) {
      hold |= (<u64>load<u32>(input)) << held;
      input += 4;
      held += 32;
    } else {
      while (held <= 56 && input < inputEnd) {
        hold |= (<u64>load<u8>(input)) << held;
        input += 1;
        held += 8;
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function drop(count: u32): void {
  hold >>= count;
  held -= count;
}

/** -1 where the input has ended. */
// @ts-ignore: decorator
@inline
function bits(count: u32): i32 {
  refill();
  if (held < count) return -1;
  const found = <i32>(hold & ((<u64>1 << count) - 1));
  drop(count);
  return found;
}

/** Make a code of lengths; how many codes are left over, below 0 where there are too many. */
function build(code: usize, lengths: usize, count: i32): i32 {
  const counts = code + TABLE_BYTES;
  const symbols = counts + 32;
  memory.fill(code, 0, CODE_BYTES);
  for (let i = 0; i < count; i++) {
    const at = counts + (<usize>load<u8>(lengths + i) << 1);
    store<u16>(at, load<u16>(at) + 1);
  }
  let left: i32 = 1;
  for (let bit: u32 = 1; bit <= MAX_BITS; bit++) {
    left = (left << 1) - <i32>load<u16>(counts + (bit << 1));
    if (left < 0) return left;
  }
  store<u16>(OFFSETS + 2, 0);
  for (let bit: u32 = 1; bit < MAX_BITS; bit++) {
    store<u16>(OFFSETS + ((bit + 1) << 1), load<u16>(OFFSETS + (bit << 1)) + load<u16>(counts + (bit << 1)));
  }
  for (let i = 0; i < count; i++) {
    const length = <u32>load<u8>(lengths + i);
    if (!length) continue;
    const at = OFFSETS + (length << 1);
    store<u16>(symbols + (<usize>load<u16>(at) << 1), <u16>i);
    store<u16>(at, load<u16>(at) + 1);
  }
  let next: u32 = 0;
  let index: usize = 0;
  for (let bit: u32 = 1; bit <= FAST; bit++) {
    const codes = <u32>load<u16>(counts + (bit << 1));
    for (let n: u32 = 0; n < codes; n++) {
      let reversed: u32 = 0;
      for (let b: u32 = 0; b < bit; b++) reversed |= ((next >> b) & 1) << (bit - 1 - b);
      const entry = (load<u16>(symbols + (index << 1)) << 4) | <u16>bit;
      for (let place = reversed; place < 1 << FAST; place += 1 << bit) store<u16>(code + (place << 1), entry);
      next++;
      index++;
    }
    next <<= 1;
  }
  return left;
}

/** Lengths that occur at all: the longest. */
function longest(code: usize): u32 {
  let bit = MAX_BITS;
  while (bit && !load<u16>(code + TABLE_BYTES + (bit << 1))) bit--;
  return bit;
}

/** The next symbol, -1 where the input has ended, -2 for a code that is none. */
// @ts-ignore: decorator
@inline
function symbol(code: usize): i32 {
  refill();
  const entry = <u32>load<u16>(code + ((<usize>hold & ((1 << FAST) - 1)) << 1));
  const length = entry & 15;
  if (entry && length <= held) {
    drop(length);
    return <i32>(entry >> 4);
  }
  return slowSymbol(code);
}

function slowSymbol(code: usize): i32 {
  const counts = code + TABLE_BYTES;
  let value: i32 = 0;
  let first: i32 = 0;
  let index: i32 = 0;
  for (let length: u32 = 1; length <= MAX_BITS; length++) {
    if (length > held) return -1;
    value |= <i32>((hold >> (length - 1)) & 1);
    const count = <i32>load<u16>(counts + (length << 1));
    if (value - count < first) {
      drop(length);
      return <i32>load<u16>(counts + 32 + (<usize>(index + value - first) << 1));
    }
    index += count;
    first = (first + count) << 1;
    value <<= 1;
  }
  return -2;
}

function fixedCodes(): void {
  memory.fill(LENGTHS, 8, 144);
  memory.fill(LENGTHS + 144, 9, 112);
  memory.fill(LENGTHS + 256, 7, 24);
  memory.fill(LENGTHS + 280, 8, 8);
  build(LITERAL_CODE, LENGTHS, 288);
  memory.fill(LENGTHS, 5, 32);
  build(DISTANCE_CODE, LENGTHS, 32);
}

function dynamicCodes(): Ended {
  const header = bits(14);
  if (header < 0) return Ended.SHORT;
  const literals = (header & 31) + 257;
  const distances = ((header >> 5) & 31) + 1;
  const codes = (header >> 10) + 4;
  if (literals > 286 || distances > 30) return Ended.SYMBOLS;
  memory.fill(LENGTHS, 0, 320);
  for (let i = 0; i < codes; i++) {
    const length = bits(3);
    if (length < 0) return Ended.SHORT;
    store<u8>(LENGTHS + load<u8>(ORDER + i), <u8>length);
  }
  const left = build(LITERAL_CODE, LENGTHS, 19);
  const none = longest(LITERAL_CODE) == 0;
  if (left < 0 || (left > 0 && !none)) return Ended.LENGTHS_CODE;
  memory.fill(LENGTHS, 0, 320);
  let have = 0;
  while (have < literals + distances) {
    // Without any code each bit is a length of 0.
    const found = none ? min(bits(1), 0) : symbol(LITERAL_CODE);
    if (found < 0) return Ended.SHORT;
    if (found < 16) {
      store<u8>(LENGTHS + have++, <u8>found);
      continue;
    }
    if (found == 16 && !have) return bits(2) < 0 ? Ended.SHORT : Ended.REPEAT;
    const value: u8 = found == 16 ? load<u8>(LENGTHS + have - 1) : 0;
    const more = bits(found == 16 ? 2 : found == 17 ? 3 : 7);
    if (more < 0) return Ended.SHORT;
    const times = more + (found == 18 ? 11 : 3);
    if (have + times > literals + distances) return Ended.REPEAT;
    memory.fill(LENGTHS + have, value, times);
    have += times;
  }
  if (!load<u8>(LENGTHS + 256)) return Ended.NO_END;
  const over = build(LITERAL_CODE, LENGTHS, literals);
  if (over < 0 || (over > 0 && longest(LITERAL_CODE) != 1)) return Ended.LITERALS;
  const apart = build(DISTANCE_CODE, LENGTHS + literals, distances);
  if (apart < 0 || (apart > 0 && longest(DISTANCE_CODE) > 1)) return Ended.DISTANCES;
  return Ended.WELL;
}

function storedBlock(): Ended {
  drop(held & 7);
  const low = bits(16);
  const high = low < 0 ? -1 : bits(16);
  if (high < 0) return Ended.SHORT;
  if (low != (high ^ 0xffff)) return Ended.STORED;
  input -= held >> 3;
  hold = 0;
  held = 0;
  const room = outputEnd - output;
  const there = inputEnd - input;
  const wanted = <usize>low;
  const count = min(wanted, min(room, there));
  memory.copy(output, input, count);
  output += count;
  input += count;
  if (count == wanted) return Ended.WELL;
  return count == there ? Ended.SHORT : Ended.FULL;
}

function codedBlock(): Ended {
  while (true) {
    const found = symbol(LITERAL_CODE);
    if (found < 256) {
      if (found < 0) return found == -1 ? Ended.SHORT : Ended.LITERAL;
      if (output == outputEnd) return Ended.FULL;
      store<u8>(output++, <u8>found);
      continue;
    }
    if (found == 256) return Ended.WELL;
    if (found > 285) return Ended.LITERAL;
    const more = bits(load<u8>(LENGTH_EXTRA + found - 257));
    if (more < 0) return Ended.SHORT;
    let length = <usize>load<u16>(LENGTH_BASE + (<usize>(found - 257) << 1)) + more;
    const far = symbol(DISTANCE_CODE);
    if (far < 0) return far == -1 ? Ended.SHORT : Ended.DISTANCE;
    if (far > 29) return Ended.DISTANCE;
    const beyond = bits(load<u8>(DISTANCE_EXTRA + far));
    if (beyond < 0) return Ended.SHORT;
    const distance = <usize>load<u16>(DISTANCE_BASE + (<usize>far << 1)) + beyond;
    if (distance > output - outputStart) return Ended.TOO_FAR;
    const full = length > outputEnd - output;
    if (full) length = outputEnd - output;
    if (distance >= length) {
      memory.copy(output, output - distance, length);
      output += length;
    } else {
      for (const stop = output + length; output < stop; output++) store<u8>(output, load<u8>(output - distance));
    }
    if (full) return Ended.FULL;
  }
}

function header(): Ended {
  const method = bits(8);
  const flags = bits(8);
  if (flags < 0) return Ended.SHORT;
  if (((method << 8) | flags) % 31) return Ended.HEADER;
  if ((method & 15) != 8) return Ended.METHOD;
  if (method >> 4 > 7) return Ended.WINDOW;
  if (flags & 32) return bits(16) < 0 || bits(16) < 0 ? Ended.SHORT : Ended.DICTIONARY;
  return Ended.WELL;
}

function blocks(): Ended {
  while (true) {
    const head = bits(3);
    if (head < 0) return Ended.SHORT;
    const kind = head >> 1;
    if (kind == 3) return Ended.BLOCK;
    let ended = Ended.WELL;
    if (kind == 0) ended = storedBlock();
    else {
      if (kind == 1) fixedCodes();
      else ended = dynamicCodes();
      if (ended == Ended.WELL) ended = codedBlock();
    }
    if (ended != Ended.WELL || head & 1) return ended;
  }
}

/** Inflate all of the input; not more than `room` bytes come out. Compares the Adler-32. */
export function inflate(from: usize, length: usize, to: usize, room: usize): Ended {
  input = inputStart = from;
  inputEnd = from + length;
  output = outputStart = to;
  outputEnd = to + room;
  hold = 0;
  held = 0;
  let ended = header();
  if (ended == Ended.WELL) ended = blocks();
  if (ended != Ended.WELL) return ended;
  drop(held & 7);
  let sum: u32 = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bits(8);
    if (byte < 0) return Ended.NO_SUM;
    sum = (sum << 8) | byte;
  }
  return sum == adler32(1, outputStart, output - outputStart) ? Ended.WELL : Ended.SUM;
}
