/**
 * WatchCache: one kind's objects, in key order, and its latest events in a bounded ring. A watcher is a position in the ring, so
 * a thousand watchers cost a thousand numbers; one that falls out of the ring is shed: its watch ends and the client resumes.
 * Written only by the StoreMirror.
 */
import type { ApiObject } from "#machinery/meta.ts";
import type { KeyValue, StoreEvent } from "#ports/store.ts";
import type { Bytes } from "#ports/stream.ts";
import { SortedMap } from "./sorted-map.ts";
import { StoredObject, type StoredShape } from "./stored-object.ts";

const ringEventsMax = 1024;
const ringBytesMax = 16 * 1024 * 1024;
/** A kind with few objects keeps them decoded: namespaces, priority classes and the like are looked at all the time. */
const smallKindObjects = 256;
/** Frames and decoded objects are kept on the newest events only. */
const newEventsMax = 128;

/** One change, as watchers see it. */
export class CacheEvent {
  readonly revision: number;
  readonly key: string;
  readonly now: StoredObject | undefined;
  readonly before: StoredObject | undefined;
  #gone: StoredObject | undefined;
  #frames: Map<string, Bytes> | undefined;

  constructor(
    revision: number,
    key: string,
    now: StoredObject | undefined,
    before: StoredObject | undefined,
  ) {
    this.revision = revision;
    this.key = key;
    this.now = now;
    this.before = before;
  }

  /** The last state as a deletion shows it, with this event's revision. */
  get gone(): StoredObject {
    if (this.before === undefined) throw new Error(`${this.key}: nothing was there before`);
    this.#gone ??= this.before.at(this.revision);
    return this.#gone;
  }

  /** The bytes that go to every watcher of one format, made once while the event is new. */
  frame(format: string, make: () => Bytes): Bytes {
    const known = this.#frames?.get(format);
    if (known !== undefined) return known;
    const made = make();
    this.#frames ??= new Map();
    this.#frames.set(format, made);
    return made;
  }

  /** No longer new: what can be made again is let go. */
  age(): void {
    this.#frames = undefined;
    this.now?.release();
    this.before?.release();
  }

  get sizeBytes(): number {
    return (this.now?.value.length ?? 0) + 200;
  }
}

/** What is being written by this process: the object whose bytes are on their way through the store. */
interface Draft {
  readonly object: ApiObject;
  stored?: StoredObject;
}

/** Hears of every change before any reader can see it. Without either: everything is forgotten and read anew. */
export type CacheObserver = (
  now: StoredObject | undefined,
  before: StoredObject | undefined,
) => void;

/** A position in the ring. `wants` is asked for each event; `wake` is called when there is something. */
export interface RingWatcher {
  /** Sequence number of the next event to look at. */
  position: number;
  waiting: boolean;
  /** Works with objects, not bytes. */
  readonly direct: boolean;
  wants(event: CacheEvent): boolean;
  wake(): void;
  /** The cache has lost its thread: the watch must end. */
  lost(): void;
}

export class WatchCache {
  /** With a trailing slash. */
  readonly prefix: string;
  readonly shape: StoredShape;
  readonly #objects = new SortedMap<StoredObject>();
  readonly #drafts = new Map<Bytes, Draft>();
  readonly #watchers = new Set<RingWatcher>();
  #directWatchers = 0;
  #ring: CacheEvent[] = [];
  /** Sequence number of the ring's first event. */
  #first = 0;
  #ringBytes = 0;
  /** Every event with a revision above this is in the ring. */
  #completeAfter = 0;
  #closed = false;
  readonly #observers: CacheObserver[] = [];

  constructor(prefix: string, shape: Omit<StoredShape, "keepsObjects">) {
    this.prefix = prefix;
    this.shape = {
      ...shape,
      keepsObjects: () => this.#directWatchers > 0 || this.#objects.size <= smallKindObjects,
    };
  }

  /** Before the cache is filled. */
  observe(observer: CacheObserver): void {
    this.#observers.push(observer);
  }

  #tell(now: StoredObject | undefined, before: StoredObject | undefined): void {
    for (const observe of this.#observers) observe(now, before);
  }

  get size(): number {
    return this.#objects.size;
  }
  get(key: string): StoredObject | undefined {
    return this.#objects.get(key);
  }
  range(from: string, to: string): Iterable<StoredObject> {
    return this.#objects.range(from, to);
  }
  count(from: string, to: string): number {
    return this.#objects.count(from, to);
  }
  get completeAfter(): number {
    return this.#completeAfter;
  }
  get closed(): boolean {
    return this.#closed;
  }

  /** Announces what is about to be written, so that its object need not be decoded from its own bytes. */
  draft(value: Bytes, object: ApiObject): void {
    this.#drafts.set(value, { object });
  }

  /** The write is through (or failed: without `kv`). Gives the object as stored. */
  settle(value: Bytes, kv?: KeyValue): StoredObject | undefined {
    const draft = this.#drafts.get(value);
    this.#drafts.delete(value);
    if (kv === undefined || draft === undefined) return undefined;
    return draft.stored ?? this.#adopt(kv, draft);
  }

  /** A value read from the store's history: the cached object where it is the same. */
  adopt(kv: KeyValue): StoredObject {
    const cached = this.#objects.get(kv.key);
    if (cached?.revision === kv.modified) return cached;
    return this.#adopt(kv, undefined);
  }

  #adopt(kv: KeyValue, draft: Draft | undefined): StoredObject {
    const { key, value, modified } = kv;
    const stored = { key, value, revision: modified };
    return new StoredObject(this.shape, stored, draft !== undefined, draft?.object);
  }

  reset(revision: number): void {
    this.#tell(undefined, undefined);
    this.#objects.clear();
    this.#ring = [];
    this.#first = 0;
    this.#ringBytes = 0;
    this.#completeAfter = revision;
    for (const watcher of this.#watchers) watcher.lost();
    this.#watchers.clear();
    this.#directWatchers = 0;
  }

  load(kv: KeyValue): void {
    const stored = this.#adopt(kv, undefined);
    this.#objects.set(kv.key, stored);
    this.#tell(stored, undefined);
  }

  apply(event: StoreEvent): void {
    const key = event.now?.key ?? event.before?.key;
    if (key === undefined) return;
    const before = this.#objects.get(key);
    let now: StoredObject | undefined;
    if (event.now === undefined) {
      if (before === undefined) return;
      this.#objects.delete(key);
    } else {
      const draft = this.#drafts.get(event.now.value);
      now = this.#adopt(event.now, draft);
      if (draft !== undefined) draft.stored = now;
      this.#objects.set(key, now);
    }
    this.#tell(now, before);
    this.#push(new CacheEvent(event.revision, key, now, before));
  }

  #push(event: CacheEvent): void {
    this.#ring.push(event);
    this.#ringBytes += event.sizeBytes;
    this.#ring.at(-1 - newEventsMax)?.age();
    let drop = 0;
    let bytes = this.#ringBytes;
    const keep = ringEventsMax >> 1;
    if (this.#ring.length > ringEventsMax || bytes > ringBytesMax) {
      // Half at once, so that dropping costs little per event.
      while (
        this.#ring.length - drop > keep ||
        (bytes > ringBytesMax / 2 && this.#ring.length - drop > 1)
      ) {
        bytes -= (this.#ring[drop] as CacheEvent).sizeBytes;
        drop++;
      }
    }
    if (drop === 0) return;
    this.#completeAfter = (this.#ring[drop - 1] as CacheEvent).revision;
    this.#ring.splice(0, drop);
    this.#first += drop;
    this.#ringBytes = bytes;
  }

  /** After a batch of apply(): wakes the watchers that want something of it. */
  wake(): void {
    const end = this.#first + this.#ring.length;
    for (const watcher of this.#watchers) {
      if (!watcher.waiting) continue;
      let position = watcher.position;
      let wanted = false;
      for (; position < end && !wanted; position++) {
        const event = this.#ring[position - this.#first];
        if (event === undefined) break;
        wanted = watcher.wants(event);
      }
      if (wanted) {
        watcher.position = position - 1;
        watcher.waiting = false;
        watcher.wake();
      } else watcher.position = end;
    }
  }

  /** The position just behind the newest event. */
  get end(): number {
    return this.#first + this.#ring.length;
  }

  /** The position of the first event with a revision above `revision`; undefined: it may have left the ring. */
  positionAfter(revision: number): number | undefined {
    if (revision < this.#completeAfter) return undefined;
    let low = 0;
    let high = this.#ring.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ring[middle] as CacheEvent).revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#first + low;
  }

  /** Undefined: not there yet. "left": no longer there. */
  eventAt(position: number): CacheEvent | undefined | "left" {
    if (position < this.#first) return "left";
    return this.#ring[position - this.#first];
  }

  join(watcher: RingWatcher): void {
    this.#watchers.add(watcher);
    if (watcher.direct) this.#directWatchers++;
  }

  leave(watcher: RingWatcher): void {
    if (this.#watchers.delete(watcher) && watcher.direct) this.#directWatchers--;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  close(): void {
    this.#closed = true;
    for (const watcher of this.#watchers) watcher.lost();
    this.#watchers.clear();
    this.#directWatchers = 0;
  }
}
