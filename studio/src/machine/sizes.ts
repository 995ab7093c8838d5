/** Bytes as people write them: 256 GB, 1.5 MB. */
export function sizeText(count: number): string {
  let [value, unit] = [count, "bytes"];
  for (const larger of ["kB", "MB", "GB", "TB", "PB"]) {
    if (value < 1000) break;
    [value, unit] = [value / 1000, larger];
  }
  return unit === "bytes" ? `${count} bytes` : `${Number(value.toPrecision(3))} ${unit}`;
}
