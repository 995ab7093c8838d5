/** Words of pictures as they go into a film. */

/** Each word as a square of `scale` words, padded to a width and a height with what stands at the edge. */
export function enlarged(
  words: Uint32Array,
  width: number,
  height: number,
  scale: number,
  across = width * scale,
  down = height * scale,
): Uint32Array {
  if (scale === 1 && across === width && down === height) return words;
  const found = new Uint32Array(across * down);
  for (let y = 0; y < down; y++) {
    const from = Math.min(Math.floor(y / scale), height - 1);
    const row = found.subarray(y * across, (y + 1) * across);
    if (y && y % scale && y < height * scale) row.set(found.subarray((y - 1) * across, y * across));
    else for (let x = 0; x < across; x++) row[x] = words[from * width + Math.min(Math.floor(x / scale), width - 1)]!;
  }
  return found;
}

const OPAQUE = 0xff000000;

export function opaque(words: Uint32Array): Uint32Array {
  return words.map((word) => word | OPAQUE);
}
