/**
 * Leases: who lives how long, and which keys die with whom. Time to live is counted from the grant, from each renewal and,
 * after a restart, from the start: renewals are not written down. Deleting the keys is the store's business: `expire` asks it.
 */
import type { Clock } from "#ports/clock.ts";

interface Lease {
  readonly ttlMs: number;
  readonly keys: Set<string>;
  deadlineMs: number;
  /** Being revoked: it takes no new key and cannot be renewed. */
  ending: boolean;
  cancel: () => void;
}

export class Leases {
  readonly #clock: Clock;
  readonly #expire: (lease: number) => void;
  readonly #leases = new Map<number, Lease>();

  constructor(clock: Clock, expire: (lease: number) => void) {
    this.#clock = clock;
    this.#expire = expire;
  }

  add(id: number, ttlSeconds: number): void {
    const ttlMs = ttlSeconds * 1000;
    const lease: Lease = {
      ttlMs,
      keys: new Set(),
      deadlineMs: this.#clock.monotonicMs() + ttlMs,
      ending: false,
      cancel: () => {},
    };
    this.#leases.set(id, lease);
    this.#arm(id, lease, ttlMs);
  }

  /** May a key be bound to it? */
  holds(id: number): boolean {
    return this.#leases.get(id)?.ending === false;
  }

  has(id: number): boolean {
    return this.#leases.has(id);
  }

  renew(id: number): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined || lease.ending) return false;
    lease.deadlineMs = this.#clock.monotonicMs() + lease.ttlMs;
    return true;
  }

  attach(id: number, key: string): void {
    this.#leases.get(id)?.keys.add(key);
  }

  detach(id: number, key: string): void {
    this.#leases.get(id)?.keys.delete(key);
  }

  /** Some of the keys that are bound to it. */
  keys(id: number, limit: number): readonly string[] {
    const some: string[] = [];
    for (const key of this.#leases.get(id)?.keys ?? []) {
      if (some.length >= limit) break;
      some.push(key);
    }
    return some;
  }

  end(id: number): void {
    const lease = this.#leases.get(id);
    if (lease !== undefined) lease.ending = true;
  }

  /** Revoking failed: the lease is over all the same, so it is tried again after `ms`. */
  retry(id: number, ms: number): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    lease.cancel();
    this.#arm(id, lease, ms);
  }

  remove(id: number): void {
    this.#leases.get(id)?.cancel();
    this.#leases.delete(id);
  }

  /** Nothing expires any more. */
  close(): void {
    for (const lease of this.#leases.values()) lease.cancel();
  }

  /** One timer a lease; a renewal only moves the deadline, and the timer that comes too early is set anew. */
  #arm(id: number, lease: Lease, ms: number): void {
    lease.cancel = this.#clock.after(ms, () => {
      const leftMs = lease.deadlineMs - this.#clock.monotonicMs();
      if (leftMs > 0 && !lease.ending) this.#arm(id, lease, leftMs);
      else this.#expire(id);
    });
  }
}
