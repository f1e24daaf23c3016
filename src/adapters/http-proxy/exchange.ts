/** One request and its answer, between a front, which knows what its client speaks, and who forwards it. */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";

/** What we answer ourselves. */
export const statuses = {
  badRequest: 400,
  notFound: 404,
  badGateway: 502,
  unavailable: 503,
  timeout: 504,
} as const;

/** What a front makes of whatever its clients speak. */
export interface Exchange {
  readonly backend: string;
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
  /** For the backend. */
  readonly headers: readonly string[];
  /** Undefined: none. */
  readonly body: Readable | undefined;
  /** It asks to change protocols: `upgraded` takes over then. */
  readonly isUpgrade: boolean;
  /** Begins the answer; its body goes into the result. */
  readonly respond: (
    status: number,
    statusText: string,
    headers: readonly string[],
    trailers: () => readonly string[],
  ) => Writable;
  /** Sends the head of the answer now. */
  readonly flush: () => void;
  /** An answer of our own; only before respond(). */
  readonly refuse: (status: number) => void;
  readonly upgraded?: (response: IncomingMessage, socket: Socket, head: Buffer) => void;
  /** The answer broke off. */
  readonly broke: () => void;
  /** Calls back once if the client is gone before the answer is complete. */
  readonly onGone: (gone: () => void) => void;
}

/**
 * Why an endpoint gave no answer: it took no connection (silent: nobody said anything); a kept connection was closed before we noticed; it
 * broke off after the request was sent; it took too long.
 */
export type Failure = "refused" | "silent" | "stale" | "broken" | "late";
/** Sends the request to the next endpoint, or refuses it where there is none. Only for what may be sent again. */
export type Again = (why: Failure) => void;
