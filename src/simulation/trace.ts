/**
 * The trace of a run: every write to the store in order, with its moment and all that was written. Two runs are the same if their
 * traces are, byte for byte.
 */
import type { Clock } from "#ports/clock.ts";
import type { Store } from "#ports/store.ts";
import type { Source } from "#ports/stream.ts";

/** A run that is longer keeps its first part only, and says so. */
const linesMax = 500_000;
/** Every key, "/registry/…" and whatever else there is. */
const [firstKey, lastKey] = ["\u0000", "\u{10ffff}"];
const decoder = new TextDecoder();

export class Trace {
  readonly #clock: Clock;
  readonly #lines: string[] = [];
  readonly #following = new Set<Source<unknown>>();
  #revision = 0;
  #left = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get lines(): readonly string[] {
    return this.#left === 0 ? this.#lines : [...this.#lines, `… and ${this.#left} more`];
  }
  get text(): string {
    return this.lines.map((line) => `${line}\n`).join("");
  }

  /** From where it has got to, until the store is closed. */
  follow(store: Store): void {
    const watch = store.watch(firstKey, lastKey, this.#revision);
    if (watch === "compacted") {
      this.#note("the history up to here is compacted");
      return;
    }
    this.#following.add(watch);
    void this.#read(watch).finally(() => this.#following.delete(watch));
  }

  stop(): void {
    for (const watch of this.#following) watch.stop();
  }

  async #read(watch: Exclude<ReturnType<Store["watch"]>, "compacted">): Promise<void> {
    try {
      for (;;) {
        const batch = await watch.next();
        if (batch === undefined) return;
        for (const { revision, now, before } of batch) {
          this.#revision = revision;
          if (now !== undefined) {
            this.#note(
              `${revision} ${before === undefined ? "ADDED" : "MODIFIED"} ${now.key} ${decoder.decode(now.value)}`,
            );
          } else if (before !== undefined) this.#note(`${revision} DELETED ${before.key}`);
        }
      }
    } catch (error) {
      this.#note(`the trace broke off: ${String(error)}`);
    }
  }

  #note(what: string): void {
    if (this.#lines.length >= linesMax) this.#left++;
    else this.#lines.push(`${this.#clock.monotonicMs()} ${what}`);
  }
}
