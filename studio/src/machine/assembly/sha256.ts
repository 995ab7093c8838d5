// SHA-256 (FIPS 180-4) of bytes that come in parts.

const K = memory.data<u32>([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
  0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
  0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
  0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
  0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
  0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
  0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
  0xc67178f2,
]);
const START = memory.data<u32>([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]);
const HASH = memory.data(32);
const W = memory.data(256);
const PENDING = memory.data(128);
let pending: usize = 0;
let total: u64 = 0;

export function shaBegin(): void {
  memory.copy(HASH, START, 32);
  pending = 0;
  total = 0;
}

// @ts-ignore: decorator
@inline
function h(i: usize): u32 {
  return load<u32>(HASH + (i << 2));
}

function block(at: usize): void {
  for (let i: usize = 0; i < 16; i++) store<u32>(W + (i << 2), bswap(load<u32>(at + (i << 2))));
  for (let i: usize = 16; i < 64; i++) {
    const before = load<u32>(W + ((i - 15) << 2));
    const last = load<u32>(W + ((i - 2) << 2));
    const s0 = rotr(before, 7) ^ rotr(before, 18) ^ (before >> 3);
    const s1 = rotr(last, 17) ^ rotr(last, 19) ^ (last >> 10);
    store<u32>(W + (i << 2), load<u32>(W + ((i - 16) << 2)) + s0 + load<u32>(W + ((i - 7) << 2)) + s1);
  }
  let a = h(0), b = h(1), c = h(2), d = h(3), e = h(4), f = h(5), g = h(6), last = h(7);
  for (let i: usize = 0; i < 64; i++) {
    const s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
    const one = last + s1 + ((e & f) ^ (~e & g)) + load<u32>(K + (i << 2)) + load<u32>(W + (i << 2));
    const s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
    const two = s0 + ((a & b) ^ (a & c) ^ (b & c));
    last = g;
    g = f;
    f = e;
    e = d + one;
    d = c;
    c = b;
    b = a;
    a = one + two;
  }
  store<u32>(HASH, h(0) + a);
  store<u32>(HASH + 4, h(1) + b);
  store<u32>(HASH + 8, h(2) + c);
  store<u32>(HASH + 12, h(3) + d);
  store<u32>(HASH + 16, h(4) + e);
  store<u32>(HASH + 20, h(5) + f);
  store<u32>(HASH + 24, h(6) + g);
  store<u32>(HASH + 28, h(7) + last);
}

export function shaUpdate(at: usize, length: usize): void {
  total += length;
  while (length) {
    if (!pending && length >= 64) {
      block(at);
      at += 64;
      length -= 64;
      continue;
    }
    const part = min<usize>(64 - pending, length);
    memory.copy(PENDING + pending, at, part);
    pending += part;
    at += part;
    length -= part;
    if (pending == 64) {
      block(PENDING);
      pending = 0;
    }
  }
}

/** Where the 32 bytes of the digest stand, as eight words. */
export function shaFinish(): usize {
  const bits = total * 8;
  const end: usize = pending < 56 ? 64 : 128;
  memory.fill(PENDING + pending, 0, end - pending);
  store<u8>(PENDING + pending, 0x80);
  store<u64>(PENDING + end - 8, bswap(bits));
  block(PENDING);
  if (end == 128) block(PENDING + 64);
  return HASH;
}
