/**
 * What lies between two hosts of the memory network: it carries what either side sends, holds it while it is cut, and after
 * a while of that the connections across it break, as those of a real network do.
 */
import type { Clock } from "#ports/clock.ts";
import { NetworkError } from "#ports/network.ts";

/** As long as real clients wait for a sign of life (30 s of silence, 15 s for the answer to a ping). */
export const silenceMsMax = 45_000;

export class Link {
  readonly #clock: Clock;
  readonly #name: string;
  #held: (() => void)[] | undefined;
  #cancel: () => void = () => {};
  readonly #connections = new Set<Connection>();

  constructor(clock: Clock, name: string) {
    this.#clock = clock;
    this.#name = name;
  }

  get isCut(): boolean {
    return this.#held !== undefined;
  }

  /** Runs it at once, or once the link is healed, in the order of the calls. */
  carry(run: () => void): void {
    if (this.#held === undefined) run();
    else this.#held.push(run);
  }

  /** A connection across it, from now until it is over. */
  attach(connection: Connection): void {
    this.#connections.add(connection);
    connection.onOver(() => this.#connections.delete(connection));
  }

  cut(): void {
    if (this.#held !== undefined) return;
    this.#held = [];
    this.#cancel = this.#clock.after(silenceMsMax, () => this.#giveUp());
  }

  heal(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.#cancel();
    for (const run of held) run();
  }

  /** Breaks every connection across it at once; new ones are possible as before. */
  reset(): void {
    this.#breakAll(new NetworkError("ECONNRESET", `${this.#name}: the connection was reset`));
  }

  #giveUp(): void {
    const silence = `no sign of life for ${silenceMsMax / 1000} s`;
    this.#breakAll(new NetworkError("ETIMEDOUT", `${this.#name}: ${silence} (ETIMEDOUT)`));
  }

  #breakAll(error: NetworkError): void {
    for (const connection of this.#connections) connection.break(error);
  }
}

/** One connection as both of its ends see it. It is over when it broke or when all that ran on it has ended. */
export class Connection {
  readonly link: Link;
  #failure: NetworkError | undefined;
  #isOver = false;
  readonly #breaks = new Set<(error: NetworkError) => void>();
  readonly #overs = new Set<() => void>();

  constructor(link: Link) {
    this.link = link;
    link.attach(this);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get failure(): NetworkError | undefined {
    return this.#failure;
  }

  /** Told once if it breaks; the result takes the wish back. */
  onBreak(run: (error: NetworkError) => void): () => void {
    this.#breaks.add(run);
    return () => this.#breaks.delete(run);
  }

  onOver(run: () => void): void {
    this.#overs.add(run);
  }

  break(error: NetworkError): void {
    if (this.#isOver) return;
    this.#failure = error;
    this.finish();
    for (const run of this.#breaks) run(error);
    this.#breaks.clear();
  }

  /** Both sides have ended in good order. */
  finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const run of this.#overs) run();
    this.#overs.clear();
  }
}
