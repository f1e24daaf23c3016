/** Hashes that are no secrets: FNV for names and spreading, SHA-256 for contents. Text is hashed as UTF-8. */

const encoder = new TextEncoder();
const bytesOf = (input: string | Uint8Array): Uint8Array =>
  typeof input === "string" ? encoder.encode(input) : input;

/** FNV-1a, 32 bits, unsigned. */
export function fnv1a32(input: string | Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytesOf(input)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
/** FNV-1 (multiply first), 32 bits, unsigned. */
export function fnv132(input: string | Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytesOf(input)) hash = Math.imul(hash, 0x01000193) ^ byte;
  return hash >>> 0;
}

/** FNV-1a, 64 bits. */
export function fnv1a64(input: string | Uint8Array): bigint {
  // The prime is 2^40 + 0x1b3. The hash is kept in four pieces of 16 bits, so that no product leaves the safe integers.
  let [h0, h1, h2, h3] = [0x2325, 0x8422, 0x9ce4, 0xcbf2];
  for (const byte of bytesOf(input)) {
    h0 ^= byte;
    const p0 = h0 * 0x1b3;
    const p1 = h1 * 0x1b3 + (p0 >>> 16);
    const p2 = h2 * 0x1b3 + ((h0 << 8) & 0xffffff) + (p1 >>> 16);
    const p3 = h3 * 0x1b3 + ((h1 << 8) & 0xffffff) + (p2 >>> 16);
    h0 = p0 & 0xffff;
    h1 = p1 & 0xffff;
    h2 = p2 & 0xffff;
    h3 = p3 & 0xffff;
  }
  return (BigInt(h3) << 48n) | (BigInt(h2) << 32n) | (BigInt(h1) << 16n) | BigInt(h0);
}

/** The first 32 bits of the fractional parts of the roots of the first primes: SHA-256's constants (FIPS 180-4). */
function firstPrimes(count: number): number[] {
  const primes: number[] = [];
  for (let candidate = 2; primes.length < count; candidate++) {
    if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate);
  }
  return primes;
}
/** floor(2^32 · frac(root)), exactly: the integer root of p · 2^(32·degree), modulo 2^32. */
function rootFraction(prime: number, degree: 2 | 3): number {
  const target = BigInt(prime) << BigInt(32 * degree);
  let low = 0n;
  let high = 1n << 40n;
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (middle ** BigInt(degree) <= target) low = middle;
    else high = middle;
  }
  return Number(low & 0xffffffffn);
}
const primes = firstPrimes(64);
const roundConstants = Int32Array.from(primes, (prime) => rootFraction(prime, 3));
const initialState = Int32Array.from(primes.slice(0, 8), (prime) => rootFraction(prime, 2));

const rotate = (value: number, by: number): number => (value >>> by) | (value << (32 - by));

function padded(bytes: Uint8Array): Uint8Array {
  const length = Math.ceil((bytes.length + 9) / 64) * 64;
  const out = new Uint8Array(length);
  out.set(bytes);
  out[bytes.length] = 0x80;
  const view = new DataView(out.buffer);
  view.setUint32(length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(length - 4, (bytes.length << 3) >>> 0);
  return out;
}

/** SHA-256: 32 bytes. For contents and names, not for secrets (those are the crypto port's). */
export function sha256(input: string | Uint8Array): Uint8Array {
  const blocks = padded(bytesOf(input));
  const view = new DataView(blocks.buffer);
  const state = Int32Array.from(initialState);
  const words = new Int32Array(64);
  for (let at = 0; at < blocks.length; at += 64) {
    for (let i = 0; i < 16; i++) words[i] = view.getInt32(at + 4 * i);
    for (let i = 16; i < 64; i++) {
      const w15 = words[i - 15] ?? 0;
      const w2 = words[i - 2] ?? 0;
      const s0 = rotate(w15, 7) ^ rotate(w15, 18) ^ (w15 >>> 3);
      const s1 = rotate(w2, 17) ^ rotate(w2, 19) ^ (w2 >>> 10);
      words[i] = (words[i - 16] ?? 0) + s0 + (words[i - 7] ?? 0) + s1;
    }
    compress(state, words);
  }
  const out = new Uint8Array(32);
  const outView = new DataView(out.buffer);
  for (const [i, word] of state.entries()) outView.setInt32(4 * i, word);
  return out;
}
function compress(state: Int32Array, words: Int32Array): void {
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let i = 0; i < 64; i++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const choice = (e & f) ^ (~e & g);
    const t1 = (h + s1 + choice + (roundConstants[i] ?? 0) + (words[i] ?? 0)) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + s0 + majority) | 0;
  }
  for (const [i, value] of [a, b, c, d, e, f, g, h].entries()) {
    state[i] = (state[i] ?? 0) + value;
  }
}

export const toHex = (bytes: Uint8Array): string => {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
};
export const sha256Hex = (input: string | Uint8Array): string => toHex(sha256(input));
