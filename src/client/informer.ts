/**
 * Informer: a cache of one kind that follows the server: list, then watch from there, resume where
 * a watch ended, list anew when the server has forgotten (410), back off when it fails. Handlers
 * are called in the order of the server's events, after the cache has changed; they must be quick
 * (put a key in a queue). Writes nothing.
 */
import type { WatchEvent } from "#api/request.ts";
import type { Kind } from "#api/resource.ts";
import { type ApiObject, keyOf, type Stored } from "#machinery/meta.ts";
import { StatusError } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import type { Source } from "#ports/stream.ts";
import { Cache, type IndexBy, type Lister } from "./cache.ts";
import type { Client } from "./client.ts";

export interface Handlers<T extends ApiObject> {
  /** `initial`: it was there when the informer (or this handler) began. */
  readonly added?: (object: Stored<T>, initial: boolean) => void;
  readonly updated?: (object: Stored<T>, old: Stored<T>) => void;
  /** The last state that was seen; after a gap in the watch that may be older than the deletion. */
  readonly deleted?: (object: Stored<T>) => void;
}

export interface Informer<T extends ApiObject> extends Lister<T> {
  readonly kind: Kind<T>;
  /** Told of all that is there now, then of every change; the result ends it. */
  addHandlers(handlers: Handlers<T>): () => void;
  /** Resolves when the first list is in the cache. */
  readonly synced: Promise<void>;
  readonly isSynced: boolean;
  /** Everything up to this resource version has been seen. */
  readonly revision: bigint;
  /**
   * Called once when the revision reaches `revision`, at once if it has. The result takes it back.
   */
  whenSeen(revision: bigint, run: () => void): () => void;
  stop(): void;
}

export interface InformerOptions<T extends ApiObject> {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly indexes?: Readonly<Record<string, IndexBy<T>>>;
}

export interface InformerPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * Upstream's reflector: 0.8 s … 30 s, doubled, with jitter up to once again, forgotten after two
 * quiet minutes.
 */
const backoffMsMin = 800;
const backoffMsMax = 30_000;
const backoffResetMs = 120_000;
/** A watch is renewed after 5 to 10 minutes, so that a dead connection is found out. */
const watchSecondsMin = 300;
/** How many objects go to handlers before other work gets its turn. */
const sliceObjectsMax = 1000;

export function resourceVersionOf(object: {
  readonly metadata: { resourceVersion?: string };
}): bigint {
  const version = object.metadata.resourceVersion ?? "";
  return /^\d+$/.test(version) ? BigInt(version) : 0n;
}

export function createInformer<T extends ApiObject>(
  kind: Kind<T>,
  client: Client,
  ports: InformerPorts,
  options: InformerOptions<T> = {},
): Informer<T> {
  return new Reflector(kind, client, ports, options).start();
}

class Reflector<T extends ApiObject> extends Cache<T> implements Informer<T> {
  readonly kind: Kind<T>;
  readonly synced: Promise<void>;
  isSynced = false;
  revision = 0n;
  readonly #client: Client;
  readonly #ports: InformerPorts;
  readonly #selection: Omit<InformerOptions<T>, "indexes">;
  readonly #handlers = new Set<Handlers<T>>();
  readonly #waits = new Set<{ readonly revision: bigint; readonly run: () => void }>();
  #setSynced: () => void = () => {};
  #version = "";
  #watch: Source<WatchEvent<Stored<T>>> | undefined;
  #wake: (() => void) | undefined;
  #stopped = false;

  constructor(kind: Kind<T>, client: Client, ports: InformerPorts, options: InformerOptions<T>) {
    const { indexes, ...selection } = options;
    super(indexes);
    this.kind = kind;
    this.#client = client;
    this.#ports = ports;
    this.#selection = selection;
    this.synced = new Promise((resolve) => {
      this.#setSynced = resolve;
    });
  }

  start(): this {
    void this.#run();
    return this;
  }
  stop(): void {
    this.#stopped = true;
    this.#watch?.stop();
    this.#wake?.();
    this.#waits.clear();
  }

  addHandlers(handlers: Handlers<T>): () => void {
    this.#handlers.add(handlers);
    const { added } = handlers;
    if (added !== undefined)
      for (const object of this.list()) this.#tell(() => added(object, true));
    return () => this.#handlers.delete(handlers);
  }

  whenSeen(revision: bigint, run: () => void): () => void {
    if (this.revision >= revision) {
      run();
      return () => {};
    }
    const wait = { revision, run };
    this.#waits.add(wait);
    return () => this.#waits.delete(wait);
  }
  #seen(version: string | undefined): void {
    if (version === undefined || version === "") return;
    this.#version = version;
    if (!/^\d+$/.test(version)) return;
    const revision = BigInt(version);
    // A store that was restored to an earlier state starts over; so do we, with the list that told
    // us.
    this.revision = revision;
    for (const wait of this.#waits) {
      if (wait.revision > revision) continue;
      this.#waits.delete(wait);
      this.#tell(wait.run);
    }
  }

  /**
   * A handler that throws is a bug of its owner; it must not take the cache of all others with it.
   */
  #tell(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#ports.log.write("error", "a handler of an informer failed", {
        kind: this.kind.kind,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    }
  }

  async #run(): Promise<void> {
    const { clock, random, log } = this.#ports;
    let backoffMs = 0;
    let startedMs = clock.monotonicMs();
    for (;;) {
      if (this.#stopped) return;
      try {
        startedMs = clock.monotonicMs();
        if (this.#version === "") await this.#list();
        const events = await this.#follow();
        if (events > 0 || clock.monotonicMs() - startedMs > 1000) continue;
        // The server ended the watch at once: ask again, but not in a tight loop.
      } catch (error) {
        if (this.#stopped) return;
        const gone = error instanceof StatusError && (error.code === 410 || error.code === 404);
        if (gone || isTooLargeVersion(error)) this.#version = "";
        log.write(gone ? "debug" : "warn", "an informer lost its watch and will try again", {
          kind: this.kind.kind,
          error: error instanceof Error ? error.message : String(error),
        });
        if (gone && clock.monotonicMs() - startedMs > 1000) continue;
      }
      if (clock.monotonicMs() - startedMs > backoffResetMs) backoffMs = 0;
      backoffMs = Math.min(Math.max(backoffMs * 2, backoffMsMin), backoffMsMax);
      await this.#pause(backoffMs * (1 + random.uint32() / 2 ** 32));
    }
  }
  #pause(ms: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#ports.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  /** Brings the cache to what the server lists, telling handlers only of what really differs. */
  async #list(): Promise<void> {
    const list = await this.#client.list(this.kind, this.#selection);
    if (this.#stopped) return;
    const listed = new Set<string>();
    let count = 0;
    for (const object of list.items) {
      listed.add(keyOf(object));
      this.#put(object, !this.isSynced);
      count += 1;
      if (count % sliceObjectsMax === 0) await this.#pause(0);
    }
    for (const key of this.keys()) if (!listed.has(key)) this.#remove(key, undefined);
    this.#seen(list.metadata.resourceVersion);
    if (!this.isSynced) {
      this.isSynced = true;
      this.#setSynced();
    }
  }

  /** Follows one watch to its end. Gives how many batches came. */
  async #follow(): Promise<number> {
    const seconds = watchSecondsMin * (1 + this.#ports.random.uint32() / 2 ** 32);
    const watch = await this.#client.watch(this.kind, {
      ...this.#selection,
      resourceVersion: this.#version,
      allowBookmarks: true,
      timeoutSeconds: Math.floor(seconds),
    });
    this.#watch = watch;
    let batches = 0;
    try {
      for (;;) {
        if (this.#stopped) return batches;
        const events = await watch.next();
        if (events === undefined) return batches;
        batches += 1;
        for (const event of events) this.#apply(event);
      }
    } finally {
      watch.stop();
      this.#watch = undefined;
    }
  }
  #apply(event: WatchEvent<Stored<T>>): void {
    const { object } = event;
    if (event.type === "DELETED") this.#remove(keyOf(object), object);
    else if (event.type !== "BOOKMARK") this.#put(object, false);
    this.#seen(object.metadata.resourceVersion);
  }

  #put(object: Stored<T>, initial: boolean): void {
    const old = this.put(object);
    if (old?.metadata.resourceVersion === object.metadata.resourceVersion && old !== undefined)
      return;
    for (const handlers of this.#handlers) {
      this.#tell(() => {
        if (old === undefined) handlers.added?.(object, initial);
        else if (old.metadata.uid === object.metadata.uid) handlers.updated?.(object, old);
        else {
          // One was deleted and another created in a gap of the watch.
          handlers.deleted?.(old);
          handlers.added?.(object, false);
        }
      });
    }
  }
  #remove(key: string, last: Stored<T> | undefined): void {
    const old = this.remove(key);
    const gone = last ?? old;
    if (old === undefined || gone === undefined) return;
    for (const handlers of this.#handlers) this.#tell(() => handlers.deleted?.(gone));
  }
}

const isTooLargeVersion = (error: unknown): boolean =>
  error instanceof StatusError &&
  (error.status.details?.causes?.some((cause) => cause.reason === "ResourceVersionTooLarge") ??
    false);

/** One informer per kind for all who share it, started when first asked for. */
export interface Informers {
  get<T extends ApiObject>(
    kind: Kind<T>,
    indexes?: Readonly<Record<string, IndexBy<T>>>,
  ): Informer<T>;
  /** The kind is no longer served: its informer stops, and is made anew when it is asked for again. */
  drop(kind: Kind): void;
  /** Resolves when everything asked for so far has its first list. */
  synced(): Promise<void>;
  stop(): void;
}

export function createInformers(client: Client, ports: InformerPorts): Informers {
  const informers = new Map<string, Reflector<never>>();
  return {
    get<T extends ApiObject>(
      kind: Kind<T>,
      indexes: Readonly<Record<string, IndexBy<T>>> = {},
    ): Informer<T> {
      const id = `${kind.group}/${kind.version}/${kind.plural}`;
      const known = informers.get(id) as Reflector<T> | undefined;
      const informer = known ?? new Reflector<T>(kind, client, ports, {}).start();
      if (known === undefined) informers.set(id, informer as unknown as Reflector<never>);
      for (const [name, by] of Object.entries(indexes)) informer.addIndex(name, by);
      return informer;
    },
    drop({ group, version, plural }) {
      const id = `${group}/${version}/${plural}`;
      informers.get(id)?.stop();
      informers.delete(id);
    },
    async synced() {
      await Promise.all([...informers.values()].map((informer) => informer.synced));
    },
    stop() {
      for (const informer of informers.values()) informer.stop();
    },
  };
}
