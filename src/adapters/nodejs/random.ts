/** Random numbers from the system's generator, drawn through a pool: a call to the system costs microseconds. */
import { randomFillSync } from "node:crypto";
import type { Random } from "#ports/random.ts";
import type { Bytes } from "#ports/stream.ts";

const poolBytes = 8_192;

class SystemRandom implements Random {
  readonly #pool = new Uint8Array(poolBytes);
  readonly #view = new DataView(this.#pool.buffer);
  #used = poolBytes;

  uint32(): number {
    if (this.#used + 4 > poolBytes) this.#refill();
    const value = this.#view.getUint32(this.#used);
    this.#used += 4;
    return value;
  }

  bytes(count: number): Bytes {
    if (count > poolBytes / 8) return randomFillSync(new Uint8Array(count));
    if (this.#used + count > poolBytes) this.#refill();
    this.#used += count;
    return this.#pool.slice(this.#used - count, this.#used);
  }

  /** Every stream of the system's generator is independent of every other. */
  fork(_component: string): Random {
    return this;
  }

  #refill(): void {
    randomFillSync(this.#pool);
    this.#used = 0;
  }
}

export const systemRandom: Random = new SystemRandom();
