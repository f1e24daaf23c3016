/** What bindings wait for: conditions on the caches, asked at every change, with an end. Bounded by the Pods being bound. */
import type { Kind } from "#api/resource.ts";
import type { Informer } from "#client/informer.ts";
import type { ApiObject } from "#machinery/meta.ts";
import type { Clock } from "#ports/clock.ts";

export class Waits {
  readonly #clock: Clock;
  readonly #informer: (kind: Kind) => Informer<ApiObject>;
  readonly #failures = new Set<(error: Error) => void>();
  #stopped = false;

  constructor(clock: Clock, informer: (kind: Kind) => Informer<ApiObject>) {
    this.#clock = clock;
    this.#informer = informer;
  }
  get size(): number {
    return this.#failures.size;
  }

  /** Rejects with what `check` throws, when the time is over, and when all this stops. */
  until<T>(
    what: string,
    kinds: readonly Kind[],
    check: () => T | undefined,
    msMax: number,
  ): Promise<T> {
    const ends: (() => void)[] = [];
    const wait = new Promise<T>((resolve, reject) => {
      const fail = (error: Error) => reject(new Error(`${what}: ${error.message}`));
      const ask = () => {
        try {
          const found = check();
          if (found !== undefined) resolve(found);
        } catch (error) {
          fail(error instanceof Error ? error : new Error(String(error)));
        }
      };
      if (this.#stopped) fail(new Error("the scheduler stops"));
      this.#failures.add(fail);
      ends.push(() => this.#failures.delete(fail));
      ends.push(this.#clock.after(msMax, () => fail(new Error("context deadline exceeded"))));
      for (const kind of kinds) {
        const added = (_object: unknown, initial: boolean) => {
          if (!initial) ask();
        };
        ends.push(this.#informer(kind).addHandlers({ added, updated: ask, deleted: ask }));
      }
      ask();
    });
    return wait.finally(() => {
      for (const end of ends) end();
    });
  }

  stop(): void {
    this.#stopped = true;
    for (const fail of this.#failures) fail(new Error("the scheduler stops"));
  }
}
