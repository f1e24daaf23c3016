/**
 * Who waits for an endpoint's answer, and whether the endpoint is still there: a machine that loses its power says no goodbye, and what is
 * sent on a connection to it meets silence. Whoever has waited a while makes us knock; where nobody opens, those who may ask elsewhere do.
 */
import { connect } from "node:net";
import type { ProxyEndpoint } from "#ports/http-proxy.ts";

const patienceMs = 1000;
export const connectMsMax = 3000;

export interface Waiting {
  /** Nobody is there: it asks elsewhere if it may. */
  readonly giveUp: () => void;
  /** By the monotonic clock; set by who keeps it. */
  sinceMs: number;
}

/** No connection came of it, and not because a program refused it. */
const silences: ReadonlySet<string> = new Set([
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "ETIMEDOUT",
]);
export const isSilence = (code: string | undefined): boolean => silences.has(code ?? "");

export class Vigil {
  readonly #endpoint: ProxyEndpoint;
  readonly #silent: () => void;
  /** Oldest first. */
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;
  #isKnocking = false;

  /** `silent`: nobody opened. */
  constructor(endpoint: ProxyEndpoint, silent: () => void) {
    this.#endpoint = endpoint;
    this.#silent = silent;
  }

  add(waiting: Waiting): void {
    waiting.sinceMs = performance.now();
    this.#waiting.add(waiting);
    this.#timer ??= setTimeout(() => this.#look(), patienceMs);
  }
  /** Its answer has begun, or will not be. */
  remove(waiting: Waiting): void {
    this.#waiting.delete(waiting);
  }
  giveUp(): void {
    for (const one of this.#waiting) one.giveUp();
  }
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting.clear();
  }

  #look(): void {
    this.#timer = undefined;
    const [oldest] = this.#waiting;
    if (oldest === undefined) return;
    if (performance.now() - oldest.sinceMs >= patienceMs) this.#knock();
    this.#timer = setTimeout(() => this.#look(), patienceMs);
  }
  #knock(): void {
    if (this.#isKnocking) return;
    this.#isKnocking = true;
    const { address, port } = this.#endpoint;
    const socket = connect({ host: address, port });
    let isSilent = false;
    const late = setTimeout(() => {
      isSilent = true;
      socket.destroy();
    }, connectMsMax);
    socket.once("connect", () => socket.destroy());
    socket.once("error", ({ code }: NodeJS.ErrnoException) => {
      isSilent = isSilence(code);
    });
    socket.once("close", () => {
      clearTimeout(late);
      this.#isKnocking = false;
      if (isSilent) this.#silent();
    });
  }
}
