// The part of the machine that becomes WebAssembly: pictures, and the interpreter of dialect 1.

export { adler32, crc32 } from "./checksums";
export { inflate, inflatedFrom, inflatedTo } from "./inflate";
export { expand, largestFilter, plainRows, wholeRows } from "./rows";
export { bind, breakpoints, run, saved, steps, written } from "./run";
export { shaBegin, shaFinish, shaUpdate } from "./sha256";

/** The first byte that nothing of this module takes. */
export function heapBase(): usize {
  return __heap_base;
}
