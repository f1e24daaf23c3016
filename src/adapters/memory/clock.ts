/**
 * A clock turned by hand. Time stands still until advance(); then timers run in order of due time and creation, and between
 * two of them everything that only waits for promises settles. Holds for worlds whose adapters use promises only.
 */
import type { Clock } from "#ports/clock.ts";

interface Timer {
  readonly due: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/** Timers that may run without time passing: beyond it, something re-arms itself for ever. */
const timersPerInstantMax = 1_000_000;
const zonesMax = 1_000;

export class SteppedClock implements Clock {
  /** Milliseconds since the start. */
  #elapsed = 0;
  #wallAtStart: number;
  #order = 0;
  /** A binary heap: the next one first. Cancelled timers stay until they surface or are half of it. */
  #timers: Timer[] = [];
  #cancelled = 0;
  #last: Promise<void> = Promise.resolve();
  readonly #zones = new Map<string, Intl.DateTimeFormat | undefined>();

  constructor(options: { readonly startMs: number }) {
    this.#wallAtStart = options.startMs;
  }

  now(): number {
    return this.#wallAtStart + this.#elapsed;
  }

  monotonicMs(): number {
    return this.#elapsed;
  }

  after(ms: number, run: () => void): () => void {
    if (Number.isNaN(ms)) throw new Error("a timer was asked for after NaN milliseconds");
    const timer: Timer = { due: this.#elapsed + Math.max(0, ms), order: this.#order++, run };
    this.#push(timer);
    return () => {
      if (timer.run === undefined) return;
      timer.run = undefined;
      this.#cancelled++;
      if (this.#cancelled > 64 && this.#cancelled > this.#timers.length / 2) this.#sweep();
    };
  }

  /** Timers waiting. */
  get waiting(): number {
    return this.#timers.length - this.#cancelled;
  }

  /** Milliseconds until the next timer is due; undefined if none waits. */
  nextMs(): number | undefined {
    const next = this.#next();
    return next === undefined ? undefined : next.due - this.#elapsed;
  }

  /**
   * Lets everything settle, then lets time pass: each timer due within `ms` runs at its own moment, and everything it sets
   * off settles before the next. Calls queue up. Rejects with what a timer threw.
   */
  advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new Error(`time cannot advance by ${ms} milliseconds`);
    const turn = this.#last.then(() => this.#advance(ms));
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Lets everything that waits only for promises settle; no time passes and no timer runs. */
  settle(): Promise<void> {
    return macrotask();
  }

  /** The wall clock jumps, as when an administrator sets it; timers and monotonic time do not notice. */
  jump(ms: number): void {
    this.#wallAtStart += ms;
  }

  offsetMs(zone: string, at: number): number | undefined {
    const format = this.#formatOf(zone);
    if (format === undefined) return undefined;
    const name = format.formatToParts(at).find((part) => part.type === "timeZoneName")?.value ?? "";
    const match = /^GMT(?:([+-])(\d{1,2}):?(\d{2})?(?::(\d{2}))?)?$/.exec(name);
    if (match === null) throw new Error(`cannot read the offset ${name} of time zone ${zone}`);
    const [hours = 0, minutes = 0, seconds = 0] = match.slice(2).map((part) => Number(part ?? 0));
    const offset = (hours * 3600 + minutes * 60 + seconds) * 1000;
    return match[1] === "-" ? -offset : offset;
  }

  async #advance(ms: number): Promise<void> {
    const target = this.#elapsed + ms;
    await macrotask();
    let atThisInstant = 0;
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.due > target) break;
      atThisInstant = next.due > this.#elapsed ? 0 : atThisInstant + 1;
      if (atThisInstant > timersPerInstantMax) {
        throw new Error(
          `${timersPerInstantMax} timers ran without time passing: something re-arms a timer of 0 ms for ever`,
        );
      }
      this.#pop();
      this.#elapsed = next.due;
      const run = next.run;
      next.run = undefined;
      run?.();
      await macrotask();
    }
    this.#elapsed = target;
  }

  /** The next timer that was not cancelled. */
  #next(): Timer | undefined {
    while (this.#timers[0] !== undefined && this.#timers[0].run === undefined) {
      this.#pop();
      this.#cancelled--;
    }
    return this.#timers[0];
  }

  #push(timer: Timer): void {
    const heap = this.#timers;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || earlier(parent, timer)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#timers;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && earlier(right, left);
      const child = isRight ? right : left;
      if (earlier(last, child)) break;
      heap[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    heap[at] = last;
  }

  #sweep(): void {
    const live = this.#timers.filter((timer) => timer.run !== undefined);
    this.#timers = [];
    this.#cancelled = 0;
    for (const timer of live) this.#push(timer);
  }

  #formatOf(zone: string): Intl.DateTimeFormat | undefined {
    if (this.#zones.has(zone)) return this.#zones.get(zone);
    if (this.#zones.size >= zonesMax) this.#zones.clear();
    const format = makeFormat(zone);
    this.#zones.set(zone, format);
    return format;
  }
}

const earlier = (a: Timer, b: Timer): boolean =>
  a.due < b.due || (a.due === b.due && a.order < b.order);

function makeFormat(zone: string): Intl.DateTimeFormat | undefined {
  // Newer engines also take bare offsets such as +01:00, which are no IANA zones.
  if (!/^[A-Za-z]/.test(zone)) return undefined;
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "longOffset" });
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/**
 * One turn of the event loop: it begins only when no promise is left to run, however long their chains. This is the one
 * real macrotask of the memory world, and nothing in it can see how long the turn took.
 */
function macrotask(): Promise<void> {
  if (typeof setImmediate === "function") return new Promise((done) => setImmediate(done));
  return new Promise((done) => {
    const channel = new MessageChannel();
    channel.port1.addEventListener("message", () => {
      channel.port1.close();
      done();
    });
    channel.port1.start();
    channel.port2.postMessage(undefined);
  });
}
