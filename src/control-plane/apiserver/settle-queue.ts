/**
 * SettleQueue: names to be looked at, one after the other, again after a while where that failed. Each name waits at most once, so the
 * queue is bounded by what there is.
 */
import { isStatus } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";

const retryMs = 1000;

export interface SettleQueueParts {
  readonly clock: Clock;
  readonly log: Log;
  /** "An APIService can not be settled; trying again." */
  readonly trouble: string;
  readonly settle: (name: string) => Promise<void>;
}

export class SettleQueue {
  readonly #parts: SettleQueueParts;
  readonly #waiting = new Set<string>();
  readonly #timers = new Map<string, () => void>();
  #working = false;
  #started = false;
  #stopped = false;

  constructor(parts: SettleQueueParts) {
    this.#parts = parts;
  }

  add(name: string): void {
    if (this.#stopped) return;
    this.#waiting.add(name);
    if (!this.#started || this.#working) return;
    this.#working = true;
    queueMicrotask(() => void this.#work());
  }

  /** Once per name: a later call replaces an earlier one. */
  addAfter(name: string, ms: number): void {
    if (this.#stopped) return;
    this.#timers.get(name)?.();
    this.#timers.set(
      name,
      this.#parts.clock.after(ms, () => {
        this.#timers.delete(name);
        this.add(name);
      }),
    );
  }

  /** What was added before waits for this. */
  start(): void {
    this.#started = true;
    for (const name of this.#waiting) this.add(name);
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    this.#waiting.clear();
  }

  async #work(): Promise<void> {
    for (const name of this.#waiting) {
      this.#waiting.delete(name);
      if (this.#stopped) break;
      this.#timers.get(name)?.();
      this.#timers.delete(name);
      try {
        await this.#parts.settle(name);
      } catch (error) {
        this.#again(name, error);
      }
    }
    this.#working = false;
  }

  #again(name: string, error: unknown): void {
    if (this.#stopped) return;
    // Somebody else wrote first: what they wrote is on its way here, or here already.
    if (isStatus(error, "Conflict")) {
      this.#waiting.add(name);
      return;
    }
    const why = error instanceof Error ? error.message : String(error);
    this.#parts.log.write("warn", this.#parts.trouble, { name, why });
    this.addAfter(name, retryMs);
  }
}
