/**
 * WorkQueue: keys that want work. `waiting` is the order, `dirty` is who wants work (a key is there
 * once, however often it was added), `processing` is who is being worked on: added meanwhile, a key
 * is queued again when it is done. Never two workers on one key. Bounded by the number of distinct
 * keys, which is the number of objects its owner caches.
 */
import type { Clock } from "#ports/clock.ts";
import type { WorkQueueMetrics } from "./work-queue-metrics.ts";

export interface WorkQueueLimits {
  /** A key's n-th failure waits base * 2^n. */
  readonly failureBaseMs: number;
  readonly failureMsMax: number;
  /** Over all keys: so many retries a second, after a burst. */
  readonly retriesPerSecond: number;
  readonly retriesBurst: number;
}
/** Upstream's defaults. */
export const defaultLimits: WorkQueueLimits = {
  failureBaseMs: 5,
  failureMsMax: 1_000_000,
  retriesPerSecond: 10,
  retriesBurst: 100,
};

/**
 * A bucket that refills with time; `reserve` says how long to wait for its token, which may be in
 * debt.
 */
export class TokenBucket {
  readonly #clock: Clock;
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;
  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock;
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = clock.monotonicMs();
  }
  #refill(): void {
    const now = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
    this.#at = now;
  }
  /** Milliseconds until the token that is taken now is really there. */
  reserve(): number {
    this.#refill();
    this.#tokens -= 1;
    return this.#tokens >= 0 ? 0 : -this.#tokens / this.#perMs;
  }
  /** Takes a token if there is one. */
  take(): boolean {
    this.#refill();
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
  full(): boolean {
    this.#refill();
    return this.#tokens >= this.#burst;
  }
}

interface Delay {
  readonly atMs: number;
  readonly cancel: () => void;
}

export class WorkQueue {
  readonly #clock: Clock;
  readonly #limits: WorkQueueLimits;
  readonly #bucket: TokenBucket;
  /** Set, not array: insertion order, removal of the first in constant time. */
  readonly #waiting = new Set<string>();
  readonly #dirty = new Set<string>();
  readonly #processing = new Set<string>();
  readonly #delays = new Map<string, Delay>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  readonly #metrics: WorkQueueMetrics | undefined;
  /** Where something is counted: since when keys wait, or are worked on. */
  readonly #waitsSince = new Map<string, number>();
  readonly #worksSince = new Map<string, number>();
  #stopped = false;

  constructor(clock: Clock, metrics?: WorkQueueMetrics, limits: WorkQueueLimits = defaultLimits) {
    this.#clock = clock;
    this.#metrics = metrics;
    this.#limits = limits;
    this.#bucket = new TokenBucket(clock, limits.retriesPerSecond, limits.retriesBurst);
  }

  get length(): number {
    return this.#waiting.size;
  }
  /** Nothing waits, nothing is worked on. Delayed keys do not count. */
  get idle(): boolean {
    return this.#waiting.size === 0 && this.#processing.size === 0;
  }

  add(key: string): void {
    if (this.#stopped || this.#dirty.has(key)) return;
    this.#dirty.add(key);
    if (this.#metrics !== undefined) {
      this.#metrics.adds.add();
      this.#waitsSince.set(key, this.#clock.monotonicMs());
    }
    if (this.#processing.has(key)) return;
    const taker = this.#takers.shift();
    if (taker === undefined) {
      this.#waiting.add(key);
      this.#metrics?.depth.set(this.#waiting.size);
      return;
    }
    this.#start(key);
    taker(key);
  }

  /** Of several delays for one key the earliest counts. */
  addAfter(key: string, ms: number): void {
    if (this.#stopped) return;
    if (ms <= 0) {
      this.add(key);
      return;
    }
    const atMs = this.#clock.monotonicMs() + ms;
    const known = this.#delays.get(key);
    if (known !== undefined && known.atMs <= atMs) return;
    known?.cancel();
    const cancel = this.#clock.after(ms, () => {
      this.#delays.delete(key);
      this.add(key);
    });
    this.#delays.set(key, { atMs, cancel });
  }

  /** After a failure: the later of the key's own back-off and the bucket's. */
  addRateLimited(key: string): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#metrics?.retries.add();
    const { failureBaseMs, failureMsMax } = this.#limits;
    const backoffMs = Math.min(failureBaseMs * 2 ** Math.min(failures, 60), failureMsMax);
    this.addAfter(key, Math.max(backoffMs, this.#bucket.reserve()));
  }
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }
  /** The key did well: its back-off starts anew. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, as soon as there is one; undefined once the queue has stopped. */
  next(): Promise<string | undefined> {
    if (this.#stopped) return Promise.resolve(undefined);
    for (const key of this.#waiting) {
      this.#waiting.delete(key);
      this.#start(key);
      return Promise.resolve(key);
    }
    return new Promise((resolve) => this.#takers.push(resolve));
  }
  #start(key: string): void {
    this.#dirty.delete(key);
    this.#processing.add(key);
    if (this.#metrics === undefined) return;
    const now = this.#clock.monotonicMs();
    this.#metrics.depth.set(this.#waiting.size);
    this.#metrics.waited.observe((now - (this.#waitsSince.get(key) ?? now)) / 1000);
    this.#waitsSince.delete(key);
    this.#worksSince.set(key, now);
  }
  /** Ends what next() began. */
  done(key: string): void {
    this.#processing.delete(key);
    if (this.#metrics !== undefined) {
      const now = this.#clock.monotonicMs();
      this.#metrics.worked.observe((now - (this.#worksSince.get(key) ?? now)) / 1000);
      this.#worksSince.delete(key);
    }
    if (!this.#dirty.has(key)) return;
    this.#dirty.delete(key);
    this.add(key);
  }

  stop(): void {
    this.#stopped = true;
    for (const { cancel } of this.#delays.values()) cancel();
    this.#delays.clear();
    this.#waiting.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }
}
