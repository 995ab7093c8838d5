// The rows of a PNG: filters undone, samples expanded to words.

/** The largest filter byte of rows that lie `stride` bytes apart. */
export function largestFilter(at: usize, stride: usize, rows: i32): i32 {
  let most: i32 = 0;
  for (let y = 0; y < rows; y++) most = max(most, <i32>load<u8>(at + <usize>y * stride));
  return most;
}

// @ts-ignore: decorator
@inline
function paeth(a: i32, b: i32, c: i32): i32 {
  const pa = abs(b - c);
  const pb = abs(a - c);
  const pc = abs(a + b - 2 * c);
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/** Undo a row's filter in place; `above` is the row before, unfiltered, or 0 for a row of zeros. */
export function unfilter(filter: i32, row: usize, above: usize, bytes: usize, pixel: usize): void {
  if (filter == 1) {
    for (let i = pixel; i < bytes; i++) store<u8>(row + i, load<u8>(row + i) + load<u8>(row + i - pixel));
  } else if (filter == 2) {
    if (above) for (let i: usize = 0; i < bytes; i++) store<u8>(row + i, load<u8>(row + i) + load<u8>(above + i));
  } else if (filter == 3) {
    for (let i: usize = 0; i < bytes; i++) {
      const left = i >= pixel ? <u32>load<u8>(row + i - pixel) : 0;
      const up = above ? <u32>load<u8>(above + i) : 0;
      store<u8>(row + i, load<u8>(row + i) + <u8>((left + up) >> 1));
    }
  } else if (filter == 4) {
    for (let i: usize = 0; i < bytes; i++) {
      const left = i >= pixel ? <i32>load<u8>(row + i - pixel) : 0;
      const up = above ? <i32>load<u8>(above + i) : 0;
      const corner = i >= pixel && above ? <i32>load<u8>(above + i - pixel) : 0;
      store<u8>(row + i, load<u8>(row + i) + <u8>paeth(left, up, corner));
    }
  }
}

/**
 * Rows of whole RGBA pixels to words, row behind row, to where they came from or before it.
 * `above` is the row before the first one, as words, or 0.
 */
export function wholeRows(from: usize, to: usize, above: usize, bytes: usize, rows: i32): void {
  for (let y = 0; y < rows; y++) {
    unfilter(load<u8>(from), from + 1, above, bytes, 4);
    memory.copy(to, from + 1, bytes);
    above = to;
    to += bytes;
    from += bytes + 1;
  }
}

/** Undo the filters of rows that stay where they are; `first`: nothing stands above. */
export function plainRows(at: usize, bytes: usize, pixel: usize, rows: i32, first: bool): void {
  for (let y = 0; y < rows; y++) {
    unfilter(load<u8>(at), at + 1, first && !y ? 0 : at - bytes, bytes, pixel);
    at += bytes + 1;
  }
}

/**
 * Unfiltered rows to words `step` words apart, rows `rowStep` words apart. Grey and palette look their
 * words up in `table`, of `colours`; the largest sample is returned. RGB compares with `key`, where it is not -1.
 */
export function expand(
  at: usize, width: i32, rows: i32, rowBytes: usize, depth: i32, colour: i32,
  table: usize, key: i32, to: usize, step: usize, rowStep: usize,
): i32 {
  let most: i32 = 0;
  for (let y = 0; y < rows; y++) {
    const row = at + <usize>y * (rowBytes + 1) + 1;
    let place = to + <usize>y * rowStep * 4;
    for (let x = 0; x < width; x++) {
      let word: u32;
      if (colour == 6) word = load<u32>(row + (<usize>x << 2));
      else if (colour == 4) {
        const both = load<u16>(row + (<usize>x << 1));
        word = (<u32>(both & 255) * 0x010101) | (<u32>(both >> 8) << 24);
      } else if (colour == 2) {
        const sample = row + 3 * <usize>x;
        const rgb = <u32>load<u16>(sample) | (<u32>load<u8>(sample + 2) << 16);
        word = <i32>rgb == key ? rgb : rgb | 0xff000000;
      } else {
        const bit = x * depth;
        const sample = (<i32>load<u8>(row + (bit >> 3)) >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
        most = max(most, sample);
        word = load<u32>(table + (<usize>sample << 2));
      }
      store<u32>(place, word);
      place += step * 4;
    }
  }
  return most;
}
