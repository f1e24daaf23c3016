/**
 * PLEG, the pod lifecycle event generator: turns the runtime's events into "look at this pod". Where the event stream breaks,
 * and every few minutes in case an event was lost, it lists everything once. It never polls.
 */
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Runtime, RuntimeEvent } from "#ports/runtime.ts";
import type { Source } from "#ports/stream.ts";
import { labels, type RuntimeLabels } from "./labels.ts";

export interface PlegOwner {
  /** Something happened to a sandbox or container of this pod. */
  changed(podUid: string): void;
  /** Events may have been missed: `podUids` is what the runtime holds now. */
  relisted(podUids: ReadonlyMap<string, PodInRuntime>): void;
}
export interface PodInRuntime {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
}

/**
 * What is created, started and removed is the kubelet's own doing, and it looks when it is done. (Upstream, too, looks at
 * no pod because of a removal.)
 */
const newsTypes = ["oom", "exited"] as const;
const retryMsMin = 200;
const retryMsMax = 10_000;
const settleMs = 1000;

export class Pleg {
  readonly #runtime: Runtime;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #owned: RuntimeLabels;
  readonly #owner: PlegOwner;
  readonly #relistMs: number;
  /** Sandbox and container ids to pod uids. Bounded by what the runtime holds: each relist starts it anew. */
  #ids = new Map<string, string>();
  /** Callbacks for the end of single containers, by id. */
  readonly #ends = new Map<string, Set<() => void>>();
  #stream: Source<RuntimeEvent> | undefined;
  #cancelRelist: () => void = () => {};
  #wake: () => void = () => {};
  #stopped = false;

  constructor(
    runtime: Runtime,
    ports: { readonly clock: Clock; readonly log: Log },
    owned: RuntimeLabels,
    relistMs: number,
    owner: PlegOwner,
  ) {
    this.#runtime = runtime;
    this.#clock = ports.clock;
    this.#log = ports.log;
    this.#owned = owned;
    this.#relistMs = relistMs;
    this.#owner = owner;
  }

  /** Follows the runtime until stop(). */
  start(): void {
    void this.#follow();
  }
  stop(): void {
    this.#stopped = true;
    this.#cancelRelist();
    this.#stream?.stop();
    this.#wake();
  }

  claim(id: string, podUid: string): void {
    this.#ids.set(id, podUid);
  }

  /** Calls once when the container ends; the result takes it back. */
  whenEnded(containerId: string, run: () => void): () => void {
    const runs = this.#ends.get(containerId) ?? new Set();
    this.#ends.set(containerId, runs);
    runs.add(run);
    return () => {
      runs.delete(run);
      if (runs.size === 0) this.#ends.delete(containerId);
    };
  }

  async #follow(): Promise<void> {
    let waitMs = retryMsMin;
    while (!this.#stopped) {
      try {
        // Subscribed before the list, so that nothing in between is missed; but nothing tells when the
        // subscription holds, so that one more look follows soon.
        const stream = this.#runtime.events(newsTypes);
        this.#stream = stream;
        await this.#relist();
        this.#planRelist(settleMs);
        waitMs = retryMsMin;
        for (;;) {
          const events = await stream.next();
          if (events === undefined) break;
          for (const event of events) this.#apply(event);
        }
      } catch (error) {
        this.#log.write("warn", "the runtime's event stream broke and will be opened again", {
          error: error instanceof Error ? error.message : String(error),
        });
      } finally {
        this.#stream?.stop();
        this.#cancelRelist();
      }
      if (this.#stopped) return;
      await this.#pause(waitMs);
      waitMs = Math.min(waitMs * 2, retryMsMax);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #planRelist(inMs: number): void {
    this.#cancelRelist = this.#clock.after(inMs, () => {
      this.#relist().then(
        () => this.#planRelist(this.#relistMs),
        // A runtime that does not answer also breaks the stream, which leads to a new start.
        () => this.#stream?.stop(),
      );
    });
  }

  async #relist(): Promise<void> {
    const [sandboxes, containers] = await Promise.all([
      this.#runtime.listSandboxes(this.#owned),
      this.#runtime.listContainers(this.#owned),
    ]);
    if (this.#stopped) return;
    const pods = new Map<string, PodInRuntime>();
    const ids = new Map<string, string>();
    for (const one of [...sandboxes, ...containers]) {
      const uid = one.labels[labels.podUid];
      if (uid === undefined) continue;
      ids.set(one.id, uid);
      const name = one.labels[labels.podName] ?? "";
      pods.set(uid, { uid, name, namespace: one.labels[labels.podNamespace] ?? "" });
    }
    const running = new Set(
      containers.filter((one) => one.state === "running").map((one) => one.id),
    );
    for (const id of this.#ends.keys()) if (!running.has(id)) this.#end(id);
    this.#ids = ids;
    this.#owner.relisted(pods);
  }

  #apply(event: RuntimeEvent): void {
    if (event.type === "exited") this.#end(event.id);
    const uid = this.#ids.get(event.id);
    if (uid !== undefined) this.#owner.changed(uid);
  }

  #end(containerId: string): void {
    const runs = this.#ends.get(containerId);
    this.#ends.delete(containerId);
    for (const run of runs ?? []) run();
  }
}
