/** Values as Python writes them: refusals read the same in the page and on the command line. */

const NAMED: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

/** Like `repr` of a string. */
export function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inside = [...text].map((letter) => {
    const code = letter.codePointAt(0) ?? 0;
    if (letter === quote) return `\\${quote}`;
    if (NAMED[letter]) return NAMED[letter];
    if (!isPrintable(letter)) {
      if (code < 256) return `\\x${code.toString(16).padStart(2, "0")}`;
      if (code < 65536) return `\\u${code.toString(16).padStart(4, "0")}`;
      return `\\U${code.toString(16).padStart(8, "0")}`;
    }
    return letter;
  });
  return quote + inside.join("") + quote;
}

/** Like `str.isprintable` of one character. */
export function isPrintable(letter: string): boolean {
  return letter === " " || !/[\p{C}\p{Z}]/u.test(letter);
}

/** Like `repr` of a tuple of integers. */
export function tuple(numbers: readonly number[]): string {
  return numbers.length === 1 ? `(${numbers[0]},)` : `(${numbers.join(", ")})`;
}

/** Like `repr` of a float. */
export function real(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const [digits, power] = value.toExponential().split("e");
  const exponent = Number(power);
  if (value !== 0 && (exponent < -4 || exponent >= 16)) {
    const sign = exponent < 0 ? "-" : "+";
    return `${digits}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const plain = exponent < -6 ? value.toFixed(20) : String(value);
  return plain.includes(".") ? plain : `${plain}.0`;
}

/** Text of UTF-8 bytes, or Python's sentence for what is none. */
export function utf8(bytes: Uint8Array): { text: string } | { error: string } {
  const wrong = wrongUtf8(bytes);
  if (!wrong) return { text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) };
  const [start, stop, reason] = wrong;
  const hex = (bytes[start] ?? 0).toString(16).padStart(2, "0");
  const which = stop - start === 1 ? `byte 0x${hex} in position ${start}` : `bytes in position ${start}-${stop - 1}`;
  return { error: `'utf-8' codec can't decode ${which}: ${reason}` };
}

function wrongUtf8(bytes: Uint8Array): [number, number, string] | null {
  let at = 0;
  while (at < bytes.length) {
    const lead = bytes[at] ?? 0;
    if (lead < 0x80) {
      at += 1;
      continue;
    }
    const count = lead >= 0xc2 && lead <= 0xdf ? 1 : lead >= 0xe0 && lead <= 0xef ? 2 : lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
    if (!count) return [at, at + 1, "invalid start byte"];
    const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    for (let i = 1; i <= count; i++) {
      if (at + i >= bytes.length) return [at, bytes.length, "unexpected end of data"];
      const next = bytes[at + i] ?? 0;
      const fits = i === 1 ? next >= lowest && next <= highest : next >= 0x80 && next <= 0xbf;
      if (!fits) return [at, at + i, "invalid continuation byte"];
    }
    at += count + 1;
  }
  return null;
}
