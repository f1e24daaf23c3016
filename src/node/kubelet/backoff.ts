/** Exponential back-off by key, measured from when something happened. Forgotten after twice the longest wait. */
import type { Clock } from "#ports/clock.ts";

interface Entry {
  readonly waitMs: number;
  readonly updatedAtMs: number;
}

export class Backoff {
  readonly #clock: Clock;
  readonly #firstMs: number;
  readonly #msMax: number;
  /** Bounded by its owner's keys: containers or images of one pod. */
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock, firstMs: number, msMax: number) {
    this.#clock = clock;
    this.#firstMs = firstMs;
    this.#msMax = msMax;
  }

  /** Until when to wait after something that happened at `sinceMs`; undefined: no more waiting. */
  waitUntilMs(key: string, sinceMs: number): number | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || this.#isOver(entry, sinceMs)) return undefined;
    const until = sinceMs + entry.waitMs;
    return this.#clock.now() < until ? until : undefined;
  }

  /** The same, counted from the last failure that was noted. */
  waitAfterNoteUntilMs(key: string): number | undefined {
    const entry = this.#entries.get(key);
    return entry === undefined ? undefined : this.waitUntilMs(key, entry.updatedAtMs);
  }

  waitMs(key: string): number {
    return this.#entries.get(key)?.waitMs ?? 0;
  }

  /** Notes one more try; the next wait is twice as long. */
  note(key: string, atMs: number): void {
    const entry = this.#entries.get(key);
    const fresh = entry === undefined || this.#isOver(entry, atMs);
    const waitMs = fresh ? this.#firstMs : Math.min(entry.waitMs * 2, this.#msMax);
    this.#entries.set(key, { waitMs, updatedAtMs: this.#clock.now() });
  }

  #isOver(entry: Entry, atMs: number): boolean {
    return atMs - entry.updatedAtMs > this.#msMax * 2;
  }
}
