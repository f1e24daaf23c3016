/**
 * Watches: a ring of the newest events, shared by all watchers, each of which has a place in it; so a thousand watchers hold
 * nothing that one does not. A watcher that starts in the past first reads history, then stands in the ring. The ring keeps
 * what the slowest watcher has not seen, up to a bound in events and bytes; who falls behind that is stopped with an error.
 */
import { type KeyValue, StoreError, type StoreEvent } from "#ports/store.ts";
import type { Source } from "#ports/stream.ts";

export interface WatchLimits {
  readonly events: number;
  readonly bytes: number;
}

/** What a watcher reads before it is live: events above `after`, from revisions up to `upTo`. */
export interface Replay {
  readonly events: readonly StoreEvent[];
  readonly upTo: number;
}
export type ReadHistory = (
  range: WatchRange,
  after: number,
  upTo: number,
) => Promise<Replay | "compacted">;

/** Bounds are order keys, see key-order.ts. */
export interface WatchRange {
  readonly from: string;
  readonly to: string;
}

const batchEventsMax = 1024;
const batchBytesMax = 4 * 1024 * 1024;
/** So many revisions that a watcher saw nothing of, and it is told how far it is. */
const quietRevisionsMax = 1000;

interface Entry {
  readonly event: StoreEvent;
  readonly order: string;
  readonly bytes: number;
}

const sizeOf = (item: KeyValue | undefined): number =>
  item === undefined ? 0 : item.value.length + 2 * item.key.length + 200;

export class WatchHub {
  readonly #limits: WatchLimits;
  readonly #read: ReadHistory;
  readonly #watchers = new Set<Watcher>();
  /** Of the revisions above #base, one each. */
  #entries: Entry[] = [];
  #base: number;
  #bytes = 0;

  constructor(revision: number, limits: WatchLimits, read: ReadHistory) {
    this.#base = revision;
    this.#limits = limits;
    this.#read = read;
  }

  get head(): number {
    return this.#base + this.#entries.length;
  }

  get base(): number {
    return this.#base;
  }

  entry(revision: number): Entry {
    return this.#entries[revision - this.#base - 1] as Entry;
  }

  watch(range: WatchRange, after: number): Source<StoreEvent> {
    const watcher = new Watcher(this, range, after, this.#read);
    this.#watchers.add(watcher);
    return watcher;
  }

  /** The event of the next revision; seen by nobody before publish(). */
  add(
    order: string,
    revision: number,
    now: KeyValue | undefined,
    before: KeyValue | undefined,
  ): void {
    if (this.#watchers.size === 0) {
      this.#entries = [];
      this.#bytes = 0;
      this.#base = revision;
      return;
    }
    const event: StoreEvent = {
      revision,
      ...(now === undefined ? {} : { now }),
      ...(before === undefined ? {} : { before }),
    };
    const bytes = sizeOf(now) + sizeOf(before);
    this.#entries.push({ event, order, bytes });
    this.#bytes += bytes;
  }

  publish(): void {
    for (const watcher of this.#watchers) watcher.wake();
    this.trim();
  }

  progress(): void {
    for (const watcher of this.#watchers) watcher.askProgress();
  }

  forget(watcher: Watcher): void {
    this.#watchers.delete(watcher);
  }

  /** Drops what everyone has seen, then, beyond the bounds, what someone has not. */
  trim(): void {
    let seen = this.head;
    for (const watcher of this.#watchers) seen = Math.min(seen, watcher.keeps);
    let drop = Math.max(0, seen - this.#base);
    let bytes = this.#bytes;
    for (let index = 0; index < drop; index += 1) bytes -= (this.#entries[index] as Entry).bytes;
    const { events: eventsMax, bytes: bytesMax } = this.#limits;
    while (this.#entries.length - drop > eventsMax || bytes > bytesMax) {
      bytes -= (this.#entries[drop] as Entry).bytes;
      drop += 1;
    }
    if (drop === 0) return;
    this.#entries.splice(0, drop);
    this.#base += drop;
    this.#bytes = bytes;
    for (const watcher of this.#watchers) watcher.passed(this.#limits);
  }

  /** Everyone's stream ends. */
  close(): void {
    for (const watcher of this.#watchers) watcher.stop();
  }
}

class Watcher implements Source<StoreEvent> {
  readonly #hub: WatchHub;
  readonly #range: WatchRange;
  readonly #after: number;
  readonly #read: ReadHistory;
  /** Everything up to here was handed out or is none of this watcher's business. */
  #position: number;
  /** History is read up to here, the ring from here on; undefined: live, everything comes from the ring. */
  #joinAt: number | undefined;
  #told: number;
  #progressAsked = false;
  #waiting:
    | { resolve(batch: readonly StoreEvent[] | undefined): void; reject(error: Error): void }
    | undefined;
  #reading = false;
  #stopped = false;
  #broken: Error | undefined;

  constructor(hub: WatchHub, range: WatchRange, after: number, read: ReadHistory) {
    this.#hub = hub;
    this.#range = range;
    this.#after = after;
    this.#read = read;
    this.#position = Math.min(after, hub.head);
    this.#told = this.#position;
    if (this.#position < hub.head) this.#joinAt = hub.head;
  }

  /** The ring must keep everything above this. */
  get keeps(): number {
    return this.#joinAt ?? this.#position;
  }

  next(): Promise<readonly StoreEvent[] | undefined> {
    if (this.#waiting !== undefined || this.#reading)
      throw new Error("a watch has one next() at a time: await the first before the second");
    if (this.#stopped) return Promise.resolve(undefined);
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    return this.#joinAt === undefined ? this.#nextLive() : this.#nextPast();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#hub.forget(this);
    this.#waiting?.resolve(undefined);
    this.#waiting = undefined;
    this.#hub.trim();
  }

  wake(): void {
    if (this.#waiting === undefined) return;
    const batch = this.#take();
    if (batch === undefined) return;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting.resolve(batch);
  }

  askProgress(): void {
    this.#progressAsked = true;
    this.wake();
  }

  /** The ring's beginning moved. */
  passed(limits: WatchLimits): void {
    if (this.#joinAt !== undefined) {
      if (this.#joinAt < this.#hub.base) this.#joinAt = this.#hub.head;
      return;
    }
    if (this.#position >= this.#hub.base) return;
    this.#break(
      new StoreError(
        "slowWatcher",
        `the watch was stopped at revision ${this.#position}: it fell more than ${limits.events} events or ${limits.bytes} bytes behind; read the range again and watch from there`,
      ),
    );
  }

  #nextLive(): Promise<readonly StoreEvent[] | undefined> {
    const batch = this.#take();
    if (batch !== undefined) return Promise.resolve(batch);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  async #nextPast(): Promise<readonly StoreEvent[] | undefined> {
    this.#reading = true;
    try {
      while (this.#joinAt !== undefined && this.#position < this.#joinAt) {
        const read = await this.#read(this.#range, this.#position, this.#joinAt);
        if (this.#stopped) return undefined;
        if (read === "compacted") {
          const error = new StoreError(
            "compacted",
            `the watch was stopped at revision ${this.#position}: the history after it was compacted; read the range again and watch from there`,
          );
          this.#break(error);
          throw error;
        }
        this.#position = read.upTo;
        if (read.events.length > 0) {
          this.#told = this.#position;
          return read.events;
        }
      }
    } finally {
      this.#reading = false;
    }
    this.#joinAt = undefined;
    this.#hub.trim();
    return this.#nextLive();
  }

  /** What the ring has for this watcher; undefined: nothing yet. */
  #take(): readonly StoreEvent[] | undefined {
    const { from, to } = this.#range;
    const events: StoreEvent[] = [];
    let bytes = 0;
    const head = this.#hub.head;
    while (this.#position < head && events.length < batchEventsMax && bytes < batchBytesMax) {
      this.#position += 1;
      if (this.#position <= this.#after) continue;
      const entry = this.#hub.entry(this.#position);
      if (entry.order < from || entry.order >= to) continue;
      events.push(entry.event);
      bytes += entry.bytes;
    }
    if (events.length > 0) {
      this.#told = this.#position;
      return events;
    }
    if (!this.#progressAsked && this.#position - this.#told < quietRevisionsMax) return undefined;
    this.#progressAsked = false;
    this.#told = this.#position;
    return [{ revision: this.#position }];
  }

  #break(error: Error): void {
    this.#broken = error;
    this.#hub.forget(this);
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}
