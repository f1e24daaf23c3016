/** SHA-256 and HMAC-SHA-256 (FIPS 180-4, RFC 2104) in plain JavaScript, for worlds without a system's cryptography. */
import type { Bytes } from "#ports/stream.ts";

const blockBytes = 64;

/** The first 32 bits of the fractions of the cube roots (or square roots) of the first primes. */
function primeRoots(count: number, root: (prime: number) => number): Int32Array {
  const words: number[] = [];
  for (let candidate = 2; words.length < count; candidate++) {
    let isPrime = true;
    for (let divisor = 2; divisor * divisor <= candidate; divisor++) {
      if (candidate % divisor === 0) isPrime = false;
    }
    if (isPrime) words.push((root(candidate) % 1) * 2 ** 32);
  }
  return Int32Array.from(words, (word) => Math.floor(word) | 0);
}

const rounds = primeRoots(64, Math.cbrt);
const start = primeRoots(8, Math.sqrt);

export function sha256(message: Bytes): Bytes {
  const state = Int32Array.from(start);
  const schedule = new Int32Array(64);
  const whole = message.length - (message.length % blockBytes);
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  for (let at = 0; at < whole; at += blockBytes) compress(state, schedule, view, at);

  // What is left over, a one bit, zeros, and the length in bits fill the last one or two blocks.
  const rest = message.length - whole;
  const tail = new Uint8Array(rest < blockBytes - 8 ? blockBytes : 2 * blockBytes);
  tail.set(message.subarray(whole));
  tail[rest] = 0x80;
  const tailView = new DataView(tail.buffer);
  tailView.setUint32(tail.length - 8, Math.floor(message.length / 2 ** 29));
  tailView.setUint32(tail.length - 4, (message.length << 3) >>> 0);
  for (let at = 0; at < tail.length; at += blockBytes) compress(state, schedule, tailView, at);

  const digest = new Uint8Array(32);
  const out = new DataView(digest.buffer);
  state.forEach((word, i) => out.setInt32(4 * i, word));
  return digest;
}

const rotate = (word: number, by: number): number => (word >>> by) | (word << (32 - by));

function compress(state: Int32Array, schedule: Int32Array, block: DataView, at: number): void {
  for (let i = 0; i < 16; i++) schedule[i] = block.getInt32(at + 4 * i);
  for (let i = 16; i < 64; i++) {
    const w15 = schedule[i - 15] ?? 0;
    const w2 = schedule[i - 2] ?? 0;
    const s0 = rotate(w15, 7) ^ rotate(w15, 18) ^ (w15 >>> 3);
    const s1 = rotate(w2, 17) ^ rotate(w2, 19) ^ (w2 >>> 10);
    schedule[i] = (schedule[i - 16] ?? 0) + s0 + (schedule[i - 7] ?? 0) + s1;
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let i = 0; i < 64; i++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const choice = (e & f) ^ (~e & g);
    const t1 = (h + s1 + choice + (rounds[i] ?? 0) + (schedule[i] ?? 0)) | 0;
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
  [a, b, c, d, e, f, g, h].forEach((word, i) => {
    state[i] = (state[i] ?? 0) + word;
  });
}

export function hmacSha256(key: Bytes, message: Bytes): Bytes {
  const padded = new Uint8Array(blockBytes);
  padded.set(key.length > blockBytes ? sha256(key) : key);
  const inner = new Uint8Array(blockBytes + message.length);
  inner.set(padded.map((byte) => byte ^ 0x36));
  inner.set(message, blockBytes);
  const outer = new Uint8Array(blockBytes + 32);
  outer.set(padded.map((byte) => byte ^ 0x5c));
  outer.set(sha256(inner), blockBytes);
  return sha256(outer);
}
