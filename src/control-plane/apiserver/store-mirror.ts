/**
 * StoreMirror: one watch over everything in the store, dealt out to the watch caches of the kinds. It owns the one revision up to
 * which every cache is true, and lets readers wait for a revision. When the store's watch breaks it reads everything anew.
 */
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Store, StoreEvent } from "#ports/store.ts";
import type { Source } from "#ports/stream.ts";
import type { WatchCache } from "./watch-cache.ts";

const rootFrom = "/registry/";
const rootTo = "/registry0";
const loadPageKeys = 1000;
const retryMsMax = 5000;

/** A cache that is being filled while the others follow: what happens meanwhile waits. */
interface Joining {
  readonly cache: WatchCache;
  readonly missed: StoreEvent[];
  /** The watch broke: what was missed is not known. */
  broken: boolean;
}

export class StoreMirror {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #caches = new Map<string, WatchCache>();
  readonly #joining = new Set<Joining>();
  #revision = 0;
  #waiting: { revision: number; done: () => void }[] = [];
  #source: Source<StoreEvent> | undefined;
  #stopped = false;
  #cancelRetry: (() => void) | undefined;
  #healthy = false;

  constructor(store: Store, clock: Clock, log: Log) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  /** Everything up to this revision has been seen by every cache. */
  get revision(): number {
    return this.#revision;
  }

  get healthy(): boolean {
    return this.#healthy;
  }

  /** Before start(). */
  add(cache: WatchCache): void {
    this.#caches.set(cache.prefix, cache);
  }

  /** While running: fills the cache and lets it follow. One of the same prefix ends as this one takes its place. */
  async join(cache: WatchCache): Promise<void> {
    while (!this.#stopped) {
      const joining: Joining = { cache, missed: [], broken: false };
      this.#joining.add(joining);
      try {
        const revision = await this.#store.revision();
        await this.reached(revision);
        if (!(await this.#fill(cache, revision)) || joining.broken) continue;
        for (const event of joining.missed) if (event.revision > revision) cache.apply(event);
        this.#caches.get(cache.prefix)?.close();
        this.#caches.set(cache.prefix, cache);
        return;
      } finally {
        this.#joining.delete(joining);
      }
    }
  }

  /** The kind is no longer served: its watches end. */
  leave(cache: WatchCache): void {
    if (this.#caches.get(cache.prefix) === cache) this.#caches.delete(cache.prefix);
    cache.close();
  }

  /** Reads what there is, then follows. Resolves when every cache is full. */
  async start(): Promise<void> {
    for (const joining of this.#joining) joining.broken = true;
    for (;;) {
      const revision = await this.#store.revision();
      const source = await this.#load(revision);
      if (source === "compacted") continue;
      this.#source = source;
      this.#healthy = true;
      this.#advance(revision);
      void this.#follow(source);
      return;
    }
  }

  /** Resolves once every cache has seen everything up to the revision. */
  reached(revision: number): Promise<void> {
    if (this.#revision >= revision || this.#stopped) return Promise.resolve();
    return new Promise((done) => {
      this.#waiting.push({ revision, done });
      this.#store.progress();
    });
  }

  /** Like reached(), but gives up after `ms`: false. */
  async reachedWithin(revision: number, ms: number): Promise<boolean> {
    if (this.#revision >= revision) return true;
    let cancel = (): void => {};
    const late = new Promise<false>((resolve) => {
      cancel = this.#clock.after(ms, () => resolve(false));
    });
    const result = await Promise.race([this.reached(revision).then(() => true), late]);
    cancel();
    return result;
  }

  /** Resolves once a read that starts now sees every write acknowledged before now. */
  async fresh(): Promise<void> {
    await this.reached(await this.#store.revision());
  }

  stop(): void {
    this.#stopped = true;
    this.#healthy = false;
    this.#cancelRetry?.();
    this.#source?.stop();
    for (const { done } of this.#waiting) done();
    this.#waiting = [];
    for (const cache of this.#caches.values()) cache.close();
  }

  async #load(revision: number): Promise<Source<StoreEvent> | "compacted"> {
    for (const cache of this.#caches.values())
      if (!(await this.#fill(cache, revision))) return "compacted";
    return this.#store.watch(rootFrom, rootTo, revision);
  }

  /** False: that revision cannot be read any more. */
  async #fill(cache: WatchCache, revision: number): Promise<boolean> {
    cache.reset(revision);
    let from = cache.prefix;
    const to = `${cache.prefix.slice(0, -1)}0`;
    for (;;) {
      const page = await this.#store.range(from, to, { at: revision, limit: loadPageKeys });
      if (page === "compacted" || page === "future") return false;
      for (const item of page.items) cache.load(item);
      const last = page.items.at(-1);
      if (page.remaining === 0 || last === undefined) return true;
      from = `${last.key}\0`;
    }
  }

  async #follow(source: Source<StoreEvent>): Promise<void> {
    let why = "the store ended the watch";
    try {
      for (;;) {
        const events = await source.next();
        if (events === undefined) break;
        this.#apply(events);
      }
    } catch (error) {
      why = error instanceof Error ? error.message : String(error);
    }
    if (this.#stopped) return;
    this.#healthy = false;
    this.#log.write("warn", "The watch on the store broke; everything is read anew.", { why });
    this.#restart(100);
  }

  #restart(delayMs: number): void {
    this.#cancelRetry = this.#clock.after(delayMs, () => {
      this.start().catch((error: unknown) => {
        if (this.#stopped) return;
        const why = error instanceof Error ? error.message : String(error);
        this.#log.write("error", "The store can not be read; trying again.", { why, delayMs });
        this.#restart(Math.min(delayMs * 2, retryMsMax));
      });
    });
  }

  #apply(events: readonly StoreEvent[]): void {
    const touched = new Set<WatchCache>();
    let revision = this.#revision;
    for (const event of events) {
      revision = Math.max(revision, event.revision);
      const key = event.now?.key ?? event.before?.key;
      if (key === undefined) continue;
      for (const { cache, missed } of this.#joining)
        if (key.startsWith(cache.prefix)) missed.push(event);
      const cache = this.#cacheOf(key);
      if (cache === undefined) continue;
      cache.apply(event);
      touched.add(cache);
    }
    // Watchers wake only when all caches stand at the new revision.
    this.#advance(revision);
    for (const cache of touched) cache.wake();
  }

  #advance(revision: number): void {
    if (revision <= this.#revision) return;
    this.#revision = revision;
    if (this.#waiting.length === 0) return;
    const still: { revision: number; done: () => void }[] = [];
    for (const waiter of this.#waiting) {
      if (waiter.revision <= revision) waiter.done();
      else still.push(waiter);
    }
    this.#waiting = still;
  }

  /** Prefixes have one or two segments behind /registry: the longest that is known wins. */
  #cacheOf(key: string): WatchCache | undefined {
    let end = key.indexOf("/", rootFrom.length);
    let found: WatchCache | undefined;
    while (end !== -1) {
      found = this.#caches.get(key.slice(0, end + 1)) ?? found;
      end = key.indexOf("/", end + 1);
    }
    return found;
  }
}
