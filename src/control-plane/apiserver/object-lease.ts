/** ObjectLease: store leases for objects that vanish by themselves (Events): one lease serves all objects of a minute. */
import type { Clock } from "#ports/clock.ts";
import type { Store } from "#ports/store.ts";

const reuseMs = 60_000;
const objectsMax = 1000;

export class ObjectLease {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #ttlSeconds: number;
  #lease: Promise<number> | undefined;
  #untilMs = 0;
  #objects = 0;

  constructor(store: Store, clock: Clock, ttlSeconds: number) {
    this.#store = store;
    this.#clock = clock;
    this.#ttlSeconds = ttlSeconds;
  }

  /** A lease that outlives the time to live by a minute at most. */
  async current(): Promise<number> {
    const now = this.#clock.monotonicMs();
    if (this.#lease === undefined || now >= this.#untilMs || this.#objects >= objectsMax) {
      this.#untilMs = now + reuseMs;
      this.#objects = 0;
      this.#lease = this.#store.grant(this.#ttlSeconds + reuseMs / 1000);
    }
    this.#objects++;
    const lease = this.#lease;
    try {
      return await lease;
    } catch (error) {
      if (this.#lease === lease) this.#lease = undefined;
      throw error;
    }
  }
}
