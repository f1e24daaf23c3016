/**
 * The scraper: reads what the nodes use, twice at once for whoever asks first, and every 15 seconds from then on, until nobody has asked
 * for some minutes. A cluster in which nobody asks is not read. Nodes that do not answer in time are left out.
 */
import { Node } from "#api/core/v1/node.ts";
import type { Client } from "#client/client.ts";
import type { Stored } from "#machinery/meta.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import { type Reading, readExposition } from "./exposition.ts";
import { UsageWindow } from "./usage-window.ts";

export interface ScraperOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly log: Log;
  /** What the node's kubelet says at /metrics/resource. */
  readonly scrape: (node: Node, gone: AbortSignal) => Promise<string>;
}

/** As upstream's metrics-server by default. */
const intervalMs = 15_000;
/** Between the first two readings: short enough to wait for, long enough to measure. */
const firstWindowMs = 1000;
const idleMsMax = 300_000;
const scrapeMsMax = 5000;
const scrapesAtOnceMax = 32;

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class Scraper {
  readonly usage = new UsageWindow();
  readonly #options: ScraperOptions;
  #askedAtMs = 0;
  /** Set while it reads: resolves when there is something to tell. */
  #begun: Promise<void> | undefined;
  #cancel: () => void = () => {};
  #wake: () => void = () => {};
  #stopped = false;
  readonly #gone = new AbortController();

  constructor(options: ScraperOptions) {
    this.#options = options;
  }

  /** Somebody asks: resolves when what can be known is known. */
  async ready(): Promise<void> {
    this.#askedAtMs = this.#options.clock.monotonicMs();
    if (this.#stopped) return;
    this.#begun ??= this.#begin().catch((error: unknown) => {
      this.#begun = undefined;
      throw error;
    });
    await this.#begun;
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
    this.#wake();
    this.#gone.abort();
  }

  async #begin(): Promise<void> {
    await this.#round();
    await this.#pause(firstWindowMs);
    if (!this.#stopped) await this.#round();
    this.#later();
  }

  #later(): void {
    if (!this.#stopped) this.#cancel = this.#options.clock.after(intervalMs, () => this.#tick());
  }

  #tick(): void {
    const { clock, log } = this.#options;
    if (clock.monotonicMs() - this.#askedAtMs >= idleMsMax) {
      this.#begun = undefined;
      this.usage.clear();
      return;
    }
    this.#round()
      .catch((error: unknown) => {
        log.write("warn", "what the nodes use could not be read and will be read again", {
          error: textOf(error),
        });
      })
      .finally(() => this.#later());
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#cancel = this.#options.clock.after(ms, resolve);
    });
  }

  async #round(): Promise<void> {
    const { items } = await this.#options.client.list(Node);
    const readings = new Map<string, Reading>();
    const waiting = [...items];
    const work = async (): Promise<void> => {
      for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
        const reading = await this.#read(node);
        if (reading !== undefined) readings.set(node.metadata.name, reading);
      }
    };
    await Promise.all(Array.from({ length: Math.min(scrapesAtOnceMax, items.length) }, work));
    if (!this.#stopped) this.usage.take(readings, intervalMs);
  }

  async #read(node: Stored<Node>): Promise<Reading | undefined> {
    const { clock, scrape, log } = this.#options;
    const gone = new AbortController();
    const giveUp = (): void => gone.abort();
    const cancel = clock.after(scrapeMsMax, giveUp);
    this.#gone.signal.addEventListener("abort", giveUp);
    try {
      return readExposition(await scrape(node, gone.signal));
    } catch (error) {
      const { name } = node.metadata;
      log.write("info", "a node did not say what it uses", { node: name, error: textOf(error) });
      return undefined;
    } finally {
      cancel();
      this.#gone.signal.removeEventListener("abort", giveUp);
    }
  }
}
