/** Seeded random numbers: sfc32, keyed by the SHA-256 of the seed and of the path of component names. Same seed, same run. */
import { sha256 } from "#machinery/hash.ts";
import type { Random } from "#ports/random.ts";
import type { Bytes } from "#ports/stream.ts";

const text = new TextEncoder();

export function seededRandom(seed: number | string): Random {
  return new Sfc32(sha256(text.encode(`seed ${seed}`)));
}

class Sfc32 implements Random {
  readonly #key: Bytes;
  #a: number;
  #b: number;
  #c: number;
  #counter: number;

  constructor(key: Bytes) {
    const words = new DataView(key.buffer, key.byteOffset, key.byteLength);
    this.#key = key;
    this.#a = words.getInt32(0);
    this.#b = words.getInt32(4);
    this.#c = words.getInt32(8);
    this.#counter = words.getInt32(12);
  }

  uint32(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  bytes(count: number): Bytes {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at += 4) {
      const word = this.uint32();
      for (let i = 0; i < 4 && at + i < count; i++) bytes[at + i] = word >>> (8 * i);
    }
    return bytes;
  }

  /** Depends on the seed and the names on the way, never on what was drawn before. */
  fork(component: string): Random {
    const name = text.encode(component);
    const input = new Uint8Array(this.#key.length + name.length);
    input.set(this.#key);
    input.set(name, this.#key.length);
    return new Sfc32(sha256(input));
  }
}
