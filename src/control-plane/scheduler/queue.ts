/**
 * The scheduling queue: `active` is tried in the profile's order, `backoff` waits for its time (or
 * for an idle moment), `unschedulable` waits for something to happen that one of the plugins that
 * said no takes for an answer, at most five minutes. Bounded by the number of Pods.
 */
import type { Clock } from "#ports/clock.ts";
import type { ClusterEvent, Plugin, QueuedPod } from "./plugin.ts";
import type { PodInfo } from "./pod-info.ts";

export interface Backoff {
  readonly msMin: number;
  readonly msMax: number;
}
export const defaultBackoff: Backoff = { msMin: 1_000, msMax: 10_000 };
const unschedulableMsMax = 300_000;

/** A binary heap with removal by key. */
class Heap<T> {
  readonly #items: T[] = [];
  readonly #at = new Map<string, number>();
  readonly #keyOf: (item: T) => string;
  readonly #compare: (a: T, b: T) => number;
  constructor(keyOf: (item: T) => string, compare: (a: T, b: T) => number) {
    this.#keyOf = keyOf;
    this.#compare = compare;
  }
  get size(): number {
    return this.#items.length;
  }
  get first(): T | undefined {
    return this.#items[0];
  }
  get(key: string): T | undefined {
    const at = this.#at.get(key);
    return at === undefined ? undefined : this.#items[at];
  }
  push(item: T): void {
    this.#set(this.#items.length, item);
    this.#up(this.#items.length - 1);
  }
  remove(key: string): T | undefined {
    const at = this.#at.get(key);
    if (at === undefined) return undefined;
    const item = this.#items[at];
    const last = this.#items.pop() as T;
    this.#at.delete(key);
    if (at < this.#items.length) {
      this.#set(at, last);
      this.#up(at);
      this.#down(this.#at.get(this.#keyOf(last)) ?? at);
    }
    return item;
  }
  #set(at: number, item: T): void {
    this.#items[at] = item;
    this.#at.set(this.#keyOf(item), at);
  }
  #swap(a: number, b: number): void {
    const item = this.#items[a] as T;
    this.#set(a, this.#items[b] as T);
    this.#set(b, item);
  }
  #isBefore(a: number, b: number): boolean {
    return this.#compare(this.#items[a] as T, this.#items[b] as T) < 0;
  }
  #up(start: number): void {
    for (let at = start; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }
  #down(start: number): void {
    for (let at = start; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.#items.length && this.#isBefore(child, least)) least = child;
      }
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }
}

interface BackingOff {
  readonly queued: QueuedPod;
  readonly untilMs: number;
}
interface Unschedulable {
  readonly queued: QueuedPod;
  readonly sinceMs: number;
}

export class SchedulingQueue {
  readonly #clock: Clock;
  readonly #pluginsFor: (pod: PodInfo) => readonly Plugin[];
  readonly #backoffTimes: Backoff;
  readonly #active: Heap<QueuedPod>;
  readonly #backoff = new Heap<BackingOff>(
    (one) => one.queued.info.uid,
    (a, b) => a.untilMs - b.untilMs,
  );
  /** Oldest first. */
  readonly #unschedulable = new Map<string, Unschedulable>();
  #cancelBackoff: () => void = () => {};
  #cancelFlush: () => void = () => {};
  #taker: ((queued: QueuedPod | undefined) => void) | undefined;
  #stopped = false;

  /** `pluginsFor`: those of the profile that a Pod asks for; `compare`: what all profiles order the queue by. */
  constructor(
    clock: Clock,
    pluginsFor: (pod: PodInfo) => readonly Plugin[],
    compare: NonNullable<Plugin["compare"]>,
    backoff: Backoff,
  ) {
    this.#clock = clock;
    this.#pluginsFor = pluginsFor;
    this.#backoffTimes = backoff;
    this.#active = new Heap((queued) => queued.info.uid, compare);
  }
  get sizes(): {
    readonly active: number;
    readonly backoff: number;
    readonly unschedulable: number;
  } {
    return {
      active: this.#active.size,
      backoff: this.#backoff.size,
      unschedulable: this.#unschedulable.size,
    };
  }
  has(uid: string): boolean {
    return (
      this.#active.get(uid) !== undefined ||
      this.#backoff.get(uid) !== undefined ||
      this.#unschedulable.has(uid)
    );
  }

  /** A Pod that was never tried. */
  add(info: PodInfo): void {
    const queuedMs = this.#clock.monotonicMs();
    this.#activate({ info, queuedMs, attempts: 0, rejectedBy: new Set() });
  }
  /** Into the active queue, unless a plugin holds it back before it enters. */
  #activate(queued: QueuedPod): void {
    for (const plugin of this.#pluginsFor(queued.info)) {
      if (plugin.preEnqueue?.(queued.info.pod) === undefined) continue;
      queued.rejectedBy = new Set([plugin.name]);
      this.#park(queued);
      return;
    }
    this.#active.push(queued);
    this.#serve();
  }
  #park(queued: QueuedPod): void {
    this.#unschedulable.delete(queued.info.uid);
    this.#unschedulable.set(queued.info.uid, { queued, sinceMs: this.#clock.monotonicMs() });
    this.#armFlush();
  }

  /** It was tried, and these plugins said no. */
  reject(queued: QueuedPod, rejectedBy: ReadonlySet<string>): void {
    queued.rejectedBy = rejectedBy;
    queued.queuedMs = this.#clock.monotonicMs();
    this.#park(queued);
  }
  /** Something else went wrong: try again after the back-off. */
  retry(queued: QueuedPod): void {
    queued.rejectedBy = new Set();
    queued.queuedMs = this.#clock.monotonicMs();
    this.#wait(queued);
  }
  #wait(queued: QueuedPod): void {
    const { msMin, msMax } = this.#backoffTimes;
    const ms = Math.min(msMin * 2 ** Math.max(0, queued.attempts - 1), msMax);
    const untilMs = queued.queuedMs + ms;
    if (untilMs <= this.#clock.monotonicMs()) {
      this.#activate(queued);
      return;
    }
    this.#backoff.push({ queued, untilMs });
    this.#armBackoff();
    this.#serve();
  }

  /** The waiting Pod was changed. */
  update(info: PodInfo, event: ClusterEvent): void {
    const active = this.#active.remove(info.uid);
    if (active !== undefined) {
      active.info = info;
      this.#activate(active);
      return;
    }
    const backing = this.#backoff.get(info.uid);
    if (backing !== undefined) {
      backing.queued.info = info;
      return;
    }
    const parked = this.#unschedulable.get(info.uid);
    if (parked === undefined) return;
    parked.queued.info = info;
    if (this.#isWokenBy(parked.queued, event)) this.#wake(parked.queued);
  }
  delete(uid: string): void {
    this.#active.remove(uid);
    this.#backoff.remove(uid);
    this.#unschedulable.delete(uid);
  }

  /** Something happened: whom may it help? */
  happened(event: ClusterEvent): void {
    // A copy: who is woken may be parked again, at the end.
    const parked = [...this.#unschedulable.values()];
    for (const { queued } of parked) {
      if (this.#isWokenBy(queued, event)) this.#wake(queued);
    }
  }
  #isWokenBy(queued: QueuedPod, event: ClusterEvent): boolean {
    return this.#pluginsFor(queued.info).some(
      (plugin) => queued.rejectedBy.has(plugin.name) && plugin.wakes?.(queued.info, event) === true,
    );
  }
  #wake(queued: QueuedPod): void {
    this.#unschedulable.delete(queued.info.uid);
    if (queued.attempts === 0) this.#activate(queued);
    else this.#wait(queued);
  }

  /** Somebody knows better than the plugins: it is worth another try. */
  wake(uid: string): void {
    const parked = this.#unschedulable.get(uid);
    if (parked !== undefined) this.#wake(parked.queued);
  }

  /** The next to try. One caller at a time; undefined once stopped. */
  next(): Promise<QueuedPod | undefined> {
    if (this.#stopped) return Promise.resolve(undefined);
    const queued = this.#take();
    if (queued !== undefined) return Promise.resolve(queued);
    return new Promise((resolve) => {
      this.#taker = resolve;
    });
  }
  #take(): QueuedPod | undefined {
    const { first } = this.#active;
    let queued = first === undefined ? undefined : this.#active.remove(first.info.uid);
    // Nothing else to do: those whom an event has woken need not wait out their time. Errors must.
    const waiting = this.#backoff.first?.queued;
    if (queued === undefined && waiting !== undefined && waiting.rejectedBy.size > 0) {
      queued = this.#backoff.remove(waiting.info.uid)?.queued;
    }
    if (queued !== undefined) queued.attempts += 1;
    return queued;
  }
  #serve(): void {
    if (this.#taker === undefined) return;
    const queued = this.#take();
    if (queued === undefined) return;
    const taker = this.#taker;
    this.#taker = undefined;
    taker(queued);
  }

  #armBackoff(): void {
    this.#cancelBackoff();
    const { first } = this.#backoff;
    if (first === undefined || this.#stopped) return;
    const left = first.untilMs - this.#clock.monotonicMs();
    this.#cancelBackoff = this.#clock.after(left, () => {
      for (;;) {
        const due = this.#backoff.first;
        if (due === undefined || due.untilMs > this.#clock.monotonicMs()) break;
        this.#backoff.remove(due.queued.info.uid);
        this.#activate(due.queued);
      }
      this.#armBackoff();
    });
  }
  /** Whoever has waited too long is tried again, in case an event was judged wrongly. */
  #armFlush(): void {
    this.#cancelFlush();
    const [oldest] = this.#unschedulable.values();
    if (oldest === undefined || this.#stopped) return;
    const left = oldest.sinceMs + unschedulableMsMax - this.#clock.monotonicMs();
    this.#cancelFlush = this.#clock.after(left, () => {
      const now = this.#clock.monotonicMs();
      const parked = [...this.#unschedulable.values()];
      for (const { queued, sinceMs } of parked) {
        if (sinceMs + unschedulableMsMax <= now) this.#wake(queued);
      }
      this.#armFlush();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelBackoff();
    this.#cancelFlush();
    this.#taker?.(undefined);
    this.#taker = undefined;
  }
}
