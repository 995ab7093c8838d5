// The checksums of PNG: Adler-32 (RFC 1950) and CRC-32.

export function adler32(sum: u32, at: usize, length: usize): u32 {
  let a = sum & 0xffff;
  let b = sum >> 16;
  while (length) {
    const part = min<usize>(length, 5552);
    for (let i: usize = 0; i < part; i++) {
      a += load<u8>(at + i);
      b += a;
    }
    a %= 65521;
    b %= 65521;
    at += part;
    length -= part;
  }
  return (b << 16) | a;
}

const CRC_TABLES = memory.data(8 * 1024);
let crcReady = false;

function makeCrcTables(): void {
  for (let n: u32 = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
    store<u32>(CRC_TABLES + (n << 2), c);
  }
  for (let n: usize = 0; n < 256; n++) {
    for (let t: usize = 1; t < 8; t++) {
      const before = load<u32>(CRC_TABLES + ((t - 1) << 10) + (n << 2));
      store<u32>(CRC_TABLES + (t << 10) + (n << 2), load<u32>(CRC_TABLES + ((before & 255) << 2)) ^ (before >> 8));
    }
  }
  crcReady = true;
}

// @ts-ignore: decorator
@inline
function crcEntry(t: usize, byte: u32): u32 {
  return load<u32>(CRC_TABLES + (t << 10) + ((byte & 255) << 2));
}

/** CRC-32 of bytes behind others whose CRC-32 is given. */
export function crc32(crc: u32, at: usize, length: usize): u32 {
  if (!crcReady) makeCrcTables();
  let c = ~crc;
  const stop = at + length;
  for (; at + 8 <= stop; at += 8) {
    const low = load<u32>(at) ^ c;
    const high = load<u32>(at + 4);
    c =
      crcEntry(7, low) ^ crcEntry(6, low >> 8) ^ crcEntry(5, low >> 16) ^ crcEntry(4, low >> 24) ^
      crcEntry(3, high) ^ crcEntry(2, high >> 8) ^ crcEntry(1, high >> 16) ^ crcEntry(0, high >> 24);
  }
  for (; at < stop; at++) c = crcEntry(0, c ^ load<u8>(at)) ^ (c >> 8);
  return ~c;
}
