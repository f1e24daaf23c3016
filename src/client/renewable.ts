/** A way to the API server that can be made anew, when the certificate that it shows has been: what is under way on the old one may end. */
import type { Handler } from "#api/request.ts";
import type { Clock } from "#ports/clock.ts";
import type { RemoteHandler } from "./remote.ts";

export interface RenewableHandler extends RemoteHandler {
  readonly handler: Handler;
  renew(): void;
}

/** The old way is closed `graceMs` after a renewal. */
export function renewable(
  open: () => RemoteHandler,
  clock: Clock,
  graceMs: number,
): RenewableHandler {
  return new Renewable(open, clock, graceMs);
}

class Renewable implements RenewableHandler {
  readonly #open: () => RemoteHandler;
  readonly #clock: Clock;
  readonly #graceMs: number;
  #now: RemoteHandler;
  /** Those before, until their grace is over. */
  readonly #old = new Map<RemoteHandler, () => void>();

  constructor(open: () => RemoteHandler, clock: Clock, graceMs: number) {
    this.#open = open;
    this.#clock = clock;
    this.#graceMs = graceMs;
    this.#now = open();
  }
  readonly handler: Handler = (request) => this.#now.handler(request);

  renew(): void {
    const old = this.#now;
    this.#now = this.#open();
    const cancel = this.#clock.after(this.#graceMs, () => {
      this.#old.delete(old);
      old.close();
    });
    this.#old.set(old, cancel);
  }
  close(): void {
    for (const [old, cancel] of this.#old) {
      cancel();
      old.close();
    }
    this.#old.clear();
    this.#now.close();
  }
}
