/**
 * WatchStream: what one watch request sees: initial events if asked for, then every change behind its starting point, in order and
 * without gap: from the store's history where the ring no longer reaches, from the ring after that. Bookmarks in between.
 */
import type { ApiObject } from "#machinery/meta.ts";
import type { Clock } from "#ports/clock.ts";
import type { Store, StoreEvent } from "#ports/store.ts";
import type { Source } from "#ports/stream.ts";
import type { StoreMirror } from "./store-mirror.ts";
import type { StoredObject } from "./stored-object.ts";
import { CacheEvent, type RingWatcher, type WatchCache } from "./watch-cache.ts";

const batchEventsMax = 256;
const bookmarkMs = 60_000;

/** One thing that a watcher is told. `event` is the shared event that it came from, if it came from one. */
export type WatchOutput =
  | {
      readonly type: "ADDED" | "MODIFIED" | "DELETED";
      readonly stored: StoredObject;
      readonly event: CacheEvent | undefined;
    }
  | { readonly type: "BOOKMARK"; readonly revision: number; readonly initialEnd: boolean }
  /** The history that is needed next is gone. */
  | { readonly type: "EXPIRED"; readonly revision: number; readonly oldest: number };

export interface WatchStreamOptions {
  readonly store: Store;
  readonly mirror: StoreMirror;
  readonly cache: WatchCache;
  readonly clock: Clock;
  readonly from: string;
  readonly to: string;
  readonly matches: ((object: ApiObject) => boolean) | undefined;
  readonly direct: boolean;
  /** Sent first, as ADDED. */
  readonly initial: readonly StoredObject[] | undefined;
  /** Changes behind this revision follow. */
  readonly after: number;
  readonly bookmarks: boolean;
  /** Say where the initial events end. */
  readonly initialEnd: boolean;
  readonly timeoutMs: number;
  readonly gone: AbortSignal;
}

export class WatchStream implements Source<WatchOutput>, RingWatcher {
  position = 0;
  waiting = false;
  readonly direct: boolean;
  readonly #options: WatchStreamOptions;
  readonly #stopped: () => void;
  #initialAt = 0;
  #initialEndDue: boolean;
  /** Everything up to here has been looked at. */
  #seen: number;
  #told: number;
  #history: Source<StoreEvent> | undefined;
  #inRing = false;
  #live = false;
  #ended = false;
  #resolve: ((batch: readonly WatchOutput[] | undefined) => void) | undefined;
  #cancelTimeout: () => void;
  #cancelBookmark: (() => void) | undefined;

  constructor(options: WatchStreamOptions) {
    this.#options = options;
    this.direct = options.direct;
    this.#seen = options.after;
    this.#told = options.after;
    this.#initialEndDue = options.initialEnd;
    this.#stopped = () => this.stop();
    options.gone.addEventListener("abort", this.#stopped);
    this.#cancelTimeout = options.clock.after(options.timeoutMs, () => this.#timeout());
    if (options.bookmarks) this.#scheduleBookmark();
    const position = options.cache.positionAfter(options.after);
    if (position !== undefined) this.#enterRing(position);
    if (options.gone.aborted || options.cache.closed) this.stop();
  }

  async next(): Promise<readonly WatchOutput[] | undefined> {
    for (;;) {
      if (this.#ended) return undefined;
      const initial = this.#nextInitial();
      if (initial !== undefined) return initial;
      if (!this.#inRing) {
        const batch = await this.#nextOfHistory();
        if (batch === undefined) return undefined;
        if (batch.length > 0) return batch;
        continue;
      }
      const batch = this.#nextOfRing();
      if (batch === "left") {
        if (this.#live) {
          this.stop();
          return undefined;
        }
        // The initial events took longer than the ring reaches back: the store's history fills the gap.
        this.#options.cache.leave(this);
        this.#inRing = false;
        continue;
      }
      this.#live = true;
      if (batch.length > 0) return batch;
      this.waiting = true;
      const woken = await new Promise<readonly WatchOutput[] | undefined>((resolve) => {
        this.#resolve = resolve;
      });
      if (woken === undefined) return undefined;
      if (woken.length > 0) return woken;
    }
  }

  stop(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelTimeout();
    this.#cancelBookmark?.();
    this.#options.gone.removeEventListener("abort", this.#stopped);
    this.#options.cache.leave(this);
    this.#history?.stop();
    this.#settle(undefined);
  }

  wants(event: CacheEvent): boolean {
    return this.#classify(event) !== undefined;
  }
  wake(): void {
    this.#settle([]);
  }
  lost(): void {
    this.stop();
  }

  #settle(batch: readonly WatchOutput[] | undefined): void {
    this.waiting = false;
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.(batch);
  }

  #enterRing(position: number): void {
    this.position = position;
    this.#inRing = true;
    this.#options.cache.join(this);
  }

  #nextInitial(): readonly WatchOutput[] | undefined {
    const { initial } = this.#options;
    if (initial !== undefined && this.#initialAt < initial.length) {
      const some = initial.slice(this.#initialAt, this.#initialAt + batchEventsMax);
      this.#initialAt += some.length;
      return some.map((stored) => ({ type: "ADDED", stored, event: undefined }));
    }
    if (!this.#initialEndDue) return undefined;
    this.#initialEndDue = false;
    return [{ type: "BOOKMARK", revision: this.#options.after, initialEnd: true }];
  }

  #nextOfRing(): readonly WatchOutput[] | "left" {
    const { cache, mirror } = this.#options;
    const outputs: WatchOutput[] = [];
    while (outputs.length < batchEventsMax) {
      const event = cache.eventAt(this.position);
      if (event === "left") return outputs.length > 0 ? outputs : "left";
      if (event === undefined) {
        this.#seen = Math.max(this.#seen, mirror.revision);
        break;
      }
      // What one turn of the mirror brought is shown only when every cache has seen it.
      if (event.revision > mirror.revision) break;
      this.position++;
      this.#seen = Math.max(this.#seen, event.revision);
      const output = this.#classify(event);
      if (output !== undefined) outputs.push(output);
    }
    const last = outputs.at(-1);
    if (last !== undefined && "stored" in last) this.#told = last.stored.revision;
    return outputs;
  }

  /** Undefined: the watch is over. Empty: nothing of interest, ask again. */
  async #nextOfHistory(): Promise<readonly WatchOutput[] | undefined> {
    const { store, cache, from, to } = this.#options;
    if (this.#history === undefined) {
      const source = store.watch(from, to, this.#seen);
      if (source === "compacted") {
        this.#ended = true;
        this.#cancelTimeout();
        this.#cancelBookmark?.();
        return [{ type: "EXPIRED", revision: this.#seen, oldest: cache.completeAfter }];
      }
      this.#history = source;
      store.progress();
    }
    const events = await this.#history.next();
    if (events === undefined || this.#ended) {
      this.stop();
      return undefined;
    }
    const outputs: WatchOutput[] = [];
    for (const event of events) {
      this.#seen = Math.max(this.#seen, event.revision);
      const output = this.#ofHistory(event);
      if (output !== undefined) outputs.push(output);
    }
    if (outputs.length > 0) this.#told = this.#seen;
    const position = cache.positionAfter(this.#seen);
    if (position !== undefined) {
      this.#history.stop();
      this.#history = undefined;
      this.#enterRing(position);
    }
    return outputs;
  }

  #ofHistory(event: StoreEvent): WatchOutput | undefined {
    const { cache } = this.#options;
    const key = event.now?.key ?? event.before?.key;
    if (key === undefined) return undefined;
    const now = event.now === undefined ? undefined : cache.adopt(event.now);
    const before = event.before === undefined ? undefined : cache.adopt(event.before);
    return this.#classify(new CacheEvent(event.revision, key, now, before));
  }

  #classify(event: CacheEvent): WatchOutput | undefined {
    const { from, to, matches, after } = this.#options;
    if (event.key < from || event.key >= to || event.revision <= after) return undefined;
    const { now, before } = event;
    const is = now !== undefined && (matches === undefined || matches(now.held));
    const was = before !== undefined && (matches === undefined || matches(before.held));
    if (is && now !== undefined) return { type: was ? "MODIFIED" : "ADDED", stored: now, event };
    return was ? { type: "DELETED", stored: event.gone, event } : undefined;
  }

  #scheduleBookmark(): void {
    this.#cancelBookmark = this.#options.clock.after(bookmarkMs, () => {
      this.#scheduleBookmark();
      this.#bookmark();
    });
  }

  /** Tells how far the watch has come, if it is idle and has come further than it has told. */
  #bookmark(): void {
    if (!this.waiting) return;
    this.#seen = Math.max(this.#seen, this.#options.mirror.revision);
    if (this.#seen <= this.#told) return;
    this.#told = this.#seen;
    this.#settle([{ type: "BOOKMARK", revision: this.#seen, initialEnd: false }]);
  }

  #timeout(): void {
    if (this.#options.bookmarks) this.#bookmark();
    this.stop();
  }
}
