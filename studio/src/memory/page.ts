/** One page: its records in order, found by their headers alone, and the exact bytes of each. */

import { inflateSync } from "fflate";
import { PxvmError, type Picture } from "../api.ts";
import tables from "../generated/memory.json";
import {
  LINE,
  ROW,
  crc32,
  digest,
  equal,
  extent,
  header,
  info,
  isTail,
  type Header,
} from "./layout.ts";

const { layout } = tables;
const MAGIC = layout.magic;
/** Deflate makes no more of a byte: what claims more is not even tried. */
export const MOST_RATIO = 1032;
/** So often a page's bytes are summed up at most to find records: more tries are of headers made for that. */
const MOST_SUMS = 64;

/** Where a record stands: the file's offset, of a decoded picture the row. */
export interface Place {
  offset: number;
  header: Header;
}

export interface Page {
  readonly places: Place[];
  /** Stretches in which a record was expected and none found, each as a sentence. */
  readonly gaps: string[];
  readonly rows: number;
  /** Text as stored, then vectors. Throws where they are not what was written. */
  payload(place: Place): Uint8Array;
  /** Data rows, then text rows, white where they are damaged. */
  bits(place: Place): Uint8Array;
}

function checked(place: Place, body: Uint8Array): Uint8Array {
  const { header: found } = place;
  if (crc32(body) !== found.payloadCrc) {
    throw new PxvmError(`record ${found.number}: its data rows are damaged (checksum)`);
  }
  return body.subarray(0, found.stored + found.vectors);
}

/** A page as pxVM lays it out: nothing is decoded before it is wanted. */
export class FilePage implements Page {
  readonly places: Place[] = [];
  readonly gaps: string[] = [];
  rows = 0;
  private summed = 0;

  constructor(private bytes: Uint8Array) {
    this.walk();
  }

  /**
   * All records, each behind the slot of the one before. Behind the last one that the page's head names, their
   * payload must be whole; behind a whole TAIL nothing was acknowledged: there a record must follow directly
   * and be right in all that its header says.
   */
  private walk(): void {
    const named = this.lastNamed();
    let slot = layout.firstSlot;
    let ended = false;
    for (;;) {
      ended ||= isTail(this.bytes.subarray(slot, slot + layout.slot));
      const offset = slot + layout.slot;
      let place = this.at(offset);
      if (place && !(this.follows(place) && (offset <= named || this.isWhole(place, ended)))) place = null;
      if (!place) {
        if (ended) return;
        place = this.search(this.earliest(offset));
        const end = place?.offset ?? this.bytes.length;
        const what = place ? "no whole record" : "no record, no end";
        if (end > offset) this.gaps.push(`bytes ${slot} to ${end}: ${what}`);
        if (!place) return;
      }
      this.places.push(place);
      const { header: found } = place;
      this.rows = found.row + found.dataRows + found.textRows;
      slot = extent(place.offset, found).slot;
    }
  }

  /** Was a record written behind the last one? The first of a page names one of the page before. */
  private follows({ header: { row, previous } }: Place): boolean {
    const last = this.places.at(-1);
    return row === this.rows && (!last || equal(previous, digest(this.headerRow(last.offset))));
  }

  /**
   * Where a record behind the last one can begin, which was expected at an offset: what its header says of its
   * picture may be wrong under a right checksum, and where its data ends, if they are not whole.
   */
  private earliest(expected: number): number {
    const last = this.places.at(-1);
    if (!last) return expected;
    const { dataEnd } = extent(last.offset, last.header);
    return this.isWhole(last) ? dataEnd : last.offset + layout.headerAt + ROW;
  }

  /** The last record that the head names, if it is there and agrees; else -1. */
  private lastNamed(): number {
    const said = info(this.bytes);
    const last = said && this.at(said.last);
    if (!last || last.header.row + last.header.dataRows + last.header.textRows !== said.rows) return -1;
    const { slot } = extent(said.last, last.header);
    return slot === said.tail && this.bytes.length >= said.tail ? said.last : -1;
  }

  private headerRow(offset: number): Uint8Array {
    const start = offset + layout.headerAt;
    return this.bytes.subarray(start, start + ROW);
  }

  private at(offset: number): Place | null {
    const found = header(this.headerRow(offset));
    return found && { offset, header: found };
  }

  /** Is a record's payload what its header says, and its picture, too, where that is asked for? */
  private isWhole(place: Place, withPicture = false): boolean {
    const body = this.lines(place).subarray(ROW);
    this.summed += body.length;
    return crc32(body) === place.header.payloadCrc && (!withPicture || this.text(place) !== null);
  }

  /** The next whole record at or behind an offset, found by its magic bytes. */
  private search(position: number): Place | null {
    for (;;) {
      position = this.bytes.indexOf(MAGIC[0]!, position);
      if (position < 0) return null;
      const offset = position - layout.headerAt;
      if (offset >= 0 && equal(this.bytes.subarray(position, position + 8), MAGIC)) {
        const place = this.at(offset);
        if (this.summed > MOST_SUMS * this.bytes.length) return null;
        if (place && this.isWhole(place)) return place;
      }
      position++;
    }
  }

  /** The data rows, without what frames them in the file. */
  private lines(place: Place): Uint8Array {
    const rows = place.header.dataRows;
    const first = place.offset + 8;
    if (first + rows * LINE > this.bytes.length) return new Uint8Array(0);
    const found = new Uint8Array(rows * ROW);
    for (let row = 0; row < rows; row++) {
      const at = first + 5 * (1 + Math.floor(row / layout.blockRows)) + row * LINE + 1;
      found.set(this.bytes.subarray(at, at + ROW), row * ROW);
    }
    return found;
  }

  /** The drawn rows; null where they are damaged. */
  private text(place: Place): Uint8Array | null {
    const { textRows, textBytes, textCrc } = place.header;
    const { text } = extent(place.offset, place.header);
    const stream = this.bytes.subarray(text, text + textBytes);
    if (textRows * LINE > stream.length * MOST_RATIO) return null;
    const lines = new Uint8Array(textRows * LINE + 1);
    try {
      // It ends with a flush and not with a last block: two bytes more are one that is empty.
      const closed = new Uint8Array(stream.length + 2);
      closed.set(stream);
      closed.set([3, 0], stream.length);
      if (inflateSync(closed, { out: lines }).length !== textRows * LINE) return null;
    } catch {
      return null;
    }
    const found = new Uint8Array(textRows * ROW);
    for (let row = 0; row < textRows; row++) {
      found.set(lines.subarray(row * LINE + 1, (row + 1) * LINE), row * ROW);
    }
    return crc32(found) === textCrc ? found : null;
  }

  payload(place: Place): Uint8Array {
    return checked(place, this.lines(place).subarray(ROW));
  }

  bits(place: Place): Uint8Array {
    const data = this.lines(place);
    if (!data.length) return data; // a header may claim more than there is
    const text = this.text(place);
    const found = new Uint8Array(data.length + place.header.textRows * ROW);
    found.set(data);
    if (text) found.set(text, data.length);
    else found.fill(255, data.length);
    return found;
  }
}

/** A page that another program has saved again: every record is still in its pixels. */
export class PicturePage implements Page {
  readonly places: Place[] = [];
  readonly gaps: string[] = [];
  rows = 0;
  private packed: Uint8Array;

  constructor(picture: Picture) {
    this.packed = packed(picture.words);
    let end = 0;
    let summed = 0;
    for (let row = 0; row < picture.height && summed <= MOST_SUMS * this.packed.length; row++) {
      const found = header(this.row(row, 1));
      if (!found) continue;
      const { dataRows, textRows } = found;
      const body = this.row(row + 1, dataRows - 1);
      summed += body.length;
      if (crc32(body) !== found.payloadCrc) continue;
      if (row > end) this.gaps.push(`rows ${end} to ${row}: no whole record`);
      this.places.push({ offset: row, header: { ...found, row } });
      end = row + dataRows + textRows;
      // How long its picture is may be wrong under a right checksum.
      const text = this.row(row + dataRows, textRows);
      summed += text.length;
      row = crc32(text) === found.textCrc ? end - 1 : row + dataRows - 1;
    }
    if (end !== picture.height) this.gaps.push(`rows ${end} to ${picture.height}: no whole record`);
    this.rows = end;
  }

  private row(first: number, count: number): Uint8Array {
    return this.packed.subarray(first * ROW, (first + count) * ROW);
  }

  payload(place: Place): Uint8Array {
    return checked(place, this.row(place.offset + 1, place.header.dataRows - 1));
  }

  bits(place: Place): Uint8Array {
    return this.row(place.offset, place.header.dataRows + place.header.textRows);
  }
}

/** One bit a pixel, light ones 1, by the luminance that Python's Pillow computes. */
function packed(words: Uint32Array): Uint8Array {
  const found = new Uint8Array(words.length / 8);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const luminance =
      (word & 255) * 19595 + ((word >>> 8) & 255) * 38470 + ((word >>> 16) & 255) * 7471 + 0x8000;
    if (luminance >>> 16 > 127) found[i >> 3]! |= 128 >> (i & 7);
  }
  return found;
}
