/**
 * EmbeddedStore: etcd's role over the storage port. The log by revision in Storage is the truth; what is read is in memory
 * (mvcc.ts) and is rebuilt from the log by openStore(). Writes are decided here, one after the other, against what is durable
 * and what is on its way (`#coming`); nobody else sees the latter. GroupCommit makes them durable in batches; only then are
 * they applied, shown to watchers and answered, in this order.
 *
 * When storage fails, every write that waits is rejected with StoreError "storage" and forgotten, its revisions are given out
 * again, and the store goes on: reads always work, later writes do as soon as storage does. It owns its storage: close()
 * closes it.
 */
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Storage } from "#ports/storage.ts";
import {
  type KeyValue,
  type PutOptions,
  type PutResult,
  type RangeResult,
  type Store,
  StoreError,
  type StoreEvent,
} from "#ports/store.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { migrations, prepareFormat } from "./format.ts";
import { type Answer, type Batch, GroupCommit } from "./group-commit.ts";
import { keyProblem, orderKey } from "./key-order.ts";
import { Leases } from "./leases.ts";
import { type Found, isAtHand, keyValue, logKey, Mvcc, type Write } from "./mvcc.ts";
import {
  compactedKey,
  decodeCount,
  decodeLeaseKey,
  decodeLogKey,
  encodeCount,
  encodeLeaseKey,
  encodeLogKey,
  everything,
  isLogKey,
  keyBytesMax,
  leaseCounterKey,
} from "./row.ts";
import { type Replay, WatchHub, type WatchLimits, type WatchRange } from "./watch.ts";

export interface StoreOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log?: Log;
  /** How far a watcher may fall behind before it is stopped. */
  readonly watchLimits?: WatchLimits;
}

const watchLimitsDefault: WatchLimits = { events: 65_536, bytes: 64 * 1024 * 1024 };
/** Batches (of at most 1,024 writes or 8 MiB) that may wait behind the one in flight. */
const waitingBatchesMax = 32;
const valueBytesMax = 64 * 1024 * 1024;
/** One step of forgetting history, one storage batch of deletes. */
const trimRevisionsMax = 512;
const historyReadRevisionsMax = 4096;
const historyReadEventsMax = 256;
const valuesReadMax = 64;
const revokeKeysMax = 512;
const expiryRetryMs = 5000;

/** A write on its way, and the batch that carries it. */
interface Coming extends Write {
  readonly batch: Batch;
}

/** Everything that openStore() read. */
interface Loaded {
  readonly mvcc: Mvcc;
  readonly garbage: Bytes[];
  readonly leases: ReadonlyMap<number, number>;
  readonly lastLease: number;
}

/** Reads the whole log. If it rejects, the storage is still the caller's to close. */
export async function openStore(options: StoreOptions): Promise<EmbeddedStore> {
  await prepareFormat(options.storage, migrations, options.log);
  return new EmbeddedStore(options, await load(options.storage));
}

async function load(storage: Storage): Promise<Loaded> {
  const mvcc = new Mvcc();
  const garbage: Bytes[] = [];
  const leases = new Map<number, number>();
  const numberAt = async (key: Bytes, what: string): Promise<number> => {
    const bytes = await storage.get(key);
    return bytes === undefined ? 0 : decodeCount(bytes, what);
  };
  const lastLease = await numberAt(leaseCounterKey, "lease counter");
  mvcc.startAt(await numberAt(compactedKey, "compacted revision"));
  const rows = storage.range(...everything);
  try {
    for (let batch = await rows.next(); batch !== undefined; batch = await rows.next())
      for (const [key, value] of batch) {
        const lease = decodeLeaseKey(key);
        if (isLogKey(key)) garbage.push(...mvcc.load(decodeLogKey(key), value));
        else if (lease !== undefined) leases.set(lease, decodeCount(value, "lease"));
      }
  } finally {
    rows.stop();
  }
  return { mvcc, garbage, leases, lastLease };
}

export class EmbeddedStore implements Store {
  readonly #storage: Storage;
  readonly #log: Log | undefined;
  readonly #mvcc: Mvcc;
  readonly #commit: GroupCommit;
  readonly #leases: Leases;
  readonly #hub: WatchHub;
  /** The newest write of each key that is decided and not yet durable. */
  readonly #coming = new Map<string, Coming>();
  /** Rows that nothing needs any more: what an interrupted compaction left behind. */
  readonly #garbage: Bytes[];
  readonly #revocations = new Map<number, Promise<void>>();
  #revision: number;
  #lastLease: number;
  #sweeping: Promise<void> | undefined;
  #closed = false;

  constructor(options: StoreOptions, loaded: Loaded) {
    this.#storage = options.storage;
    this.#log = options.log;
    this.#mvcc = loaded.mvcc;
    this.#garbage = loaded.garbage;
    this.#revision = loaded.mvcc.revision;
    this.#lastLease = loaded.lastLease;
    this.#commit = new GroupCommit(
      options.storage,
      () => this.#hub.publish(),
      (error) => this.#failed(error),
    );
    this.#hub = new WatchHub(
      this.#revision,
      options.watchLimits ?? watchLimitsDefault,
      (range, after, upTo) => this.#history(range, after, upTo),
    );
    this.#leases = new Leases(options.clock, (lease) => this.#expire(lease));
    for (const [lease, ttlSeconds] of loaded.leases) this.#leases.add(lease, ttlSeconds);
    for (const item of this.#mvcc.live.values())
      if (item.lease !== undefined) this.#leases.attach(item.lease, item.key);
    if (this.#garbage.length > 0) this.#background("clearing compacted history", this.#sweep());
  }

  revision(): Promise<number> {
    return this.#closed ? this.#refuse() : Promise.resolve(this.#mvcc.revision);
  }

  get(key: string): Promise<KeyValue | undefined> {
    return this.#closed ? this.#refuse() : Promise.resolve(this.#mvcc.live.get(orderKey(key)));
  }

  async range(
    from: string,
    to: string,
    options: { readonly at?: number; readonly limit?: number } = {},
  ): Promise<RangeResult | "compacted" | "future"> {
    if (this.#closed) return this.#refuse();
    const revision = options.at ?? this.#mvcc.revision;
    if (revision > this.#mvcc.revision) return "future";
    if (revision < this.#mvcc.compacted) return "compacted";
    const limit = options.limit ?? Number.POSITIVE_INFINITY;
    const bounds = [orderKey(from), orderKey(to)] as const;
    if (revision === this.#mvcc.revision) {
      const items = this.#mvcc.live.slice(...bounds, limit);
      const all = items.length < limit ? items.length : this.#mvcc.live.count(...bounds);
      return { revision, items, remaining: all - items.length };
    }
    const found = this.#mvcc.rangeAt(...bounds, revision, limit);
    const items = await this.#values(found.items);
    if (items === undefined) return this.#vanished(revision);
    return { revision, items, remaining: found.remaining };
  }

  count(from: string, to: string): Promise<number> {
    if (this.#closed) return this.#refuse();
    return Promise.resolve(this.#mvcc.live.count(orderKey(from), orderKey(to)));
  }

  /**
   * Not async: the answer should cost its caller one turn, so that who writes on joins the next batch. The value stays in
   * memory as it is: a part of a larger buffer keeps that one alive.
   */
  put(key: string, value: Bytes | undefined, options: PutOptions = {}): Promise<PutResult> {
    const order = orderKey(key);
    const coming = this.#coming.get(key);
    const current = coming === undefined ? this.#mvcc.live.get(order) : coming.now;
    const problem = this.#problem(key, value, options);
    if (problem !== undefined) return Promise.reject(problem);
    const { ifModified, lease } = options;
    const missing = value === undefined && current === undefined;
    if (missing || (ifModified !== undefined && ifModified !== (current?.modified ?? 0))) {
      const result = { conflict: true, ...(current === undefined ? {} : { current }) } as const;
      if (coming === undefined) return Promise.resolve(result);
      return answered(coming.batch.answers, result);
    }
    const revision = this.#revision + 1;
    const created = value === undefined ? 0 : (current?.created ?? revision);
    const row = { key, revision, created, lease: value === undefined ? 0 : (lease ?? 0) };
    const storageKey = encodeLogKey(row, key);
    if (storageKey === undefined)
      return Promise.reject(
        new StoreError("invalid", `a key may have ${keyBytesMax} bytes, this one has more: ${key}`),
      );
    this.#revision = revision;
    const batch = this.#commit.open();
    const now = value === undefined ? undefined : keyValue(row, value);
    const write: Coming = { revision, key, order, now, batch };
    this.#coming.set(key, write);
    this.#commit.add(batch, storageKey, value ?? noBytes);
    batch.applied.push(() => this.#apply(write));
    return answered(
      batch.answers,
      current === undefined ? { revision } : { revision, previous: current },
    );
  }

  watch(from: string, to: string, after: number): Source<StoreEvent> | "compacted" {
    if (this.#closed) throw closedError();
    if (after < this.#mvcc.compacted) return "compacted";
    return this.#hub.watch({ from: orderKey(from), to: orderKey(to) }, after);
  }

  progress(): void {
    this.#hub.progress();
  }

  async compact(revision: number): Promise<void> {
    if (this.#closed) return this.#refuse();
    const newest = this.#mvcc.revision;
    if (revision > newest)
      throw new StoreError(
        "future",
        `cannot compact to revision ${revision}: the newest is ${newest}`,
      );
    if (revision > this.#mvcc.compacted)
      await this.#commit.commit([[compactedKey, encodeCount(revision)]], () => {
        this.#mvcc.compacted = Math.max(this.#mvcc.compacted, revision);
      });
    await this.#sweep();
  }

  async grant(ttlSeconds: number): Promise<number> {
    if (this.#closed) return this.#refuse();
    if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds <= 0)
      throw new StoreError(
        "invalid",
        `a lease lives a whole number of seconds above 0, not ${ttlSeconds}`,
      );
    const overload = this.#overload();
    if (overload !== undefined) throw overload;
    this.#lastLease += 1;
    const lease = this.#lastLease;
    const rows = [
      [leaseCounterKey, encodeCount(lease)],
      [encodeLeaseKey(lease), encodeCount(ttlSeconds)],
    ] as const;
    await this.#commit.commit(rows, () => this.#leases.add(lease, ttlSeconds));
    return lease;
  }

  renew(lease: number): Promise<boolean> {
    return this.#closed ? this.#refuse() : Promise.resolve(this.#leases.renew(lease));
  }

  revoke(lease: number): Promise<void> {
    if (this.#closed) return this.#refuse();
    const running = this.#revocations.get(lease);
    if (running !== undefined) return running;
    if (!this.#leases.has(lease)) return Promise.resolve();
    const revocation = this.#revoke(lease).finally(() => this.#revocations.delete(lease));
    this.#revocations.set(lease, revocation);
    return revocation;
  }

  /** Waits for what was handed over, ends all watches and closes the storage. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#leases.close();
    await this.#commit.settled();
    await Promise.allSettled([this.#sweeping, ...this.#revocations.values()]);
    this.#hub.close();
    await this.#storage.close();
  }

  #problem(key: string, value: Bytes | undefined, options: PutOptions): StoreError | undefined {
    if (this.#closed) return closedError();
    const problem = keyProblem(key);
    if (problem !== undefined) return new StoreError("invalid", problem);
    if (value !== undefined && value.length > valueBytesMax)
      return new StoreError(
        "invalid",
        `a value may have ${valueBytesMax} bytes, that of ${key} has ${value.length}`,
      );
    const { lease } = options;
    if (lease !== undefined && value !== undefined && !this.#leases.holds(lease))
      return new StoreError(
        "leaseNotFound",
        `there is no lease ${lease} for ${key}: it has expired or was revoked; grant a new one`,
      );
    return this.#overload();
  }

  #overload(): StoreError | undefined {
    if (this.#commit.waiting < waitingBatchesMax) return undefined;
    return new StoreError(
      "overloaded",
      "more writes wait than the disk can take: write less at once, and again after a pause",
    );
  }

  #apply(write: Write): void {
    const { revision, key, now } = write;
    const before = this.#mvcc.apply(write);
    if (before?.lease !== undefined) this.#leases.detach(before.lease, key);
    if (now?.lease !== undefined) this.#leases.attach(now.lease, key);
    if (this.#coming.get(key)?.revision === revision) this.#coming.delete(key);
    this.#hub.add(write.order, revision, now, before);
  }

  #failed(error: unknown): StoreError {
    this.#coming.clear();
    this.#revision = this.#mvcc.revision;
    const reason = error instanceof Error ? error.message : String(error);
    this.#log?.write("error", "the store could not write", { error: reason });
    return new StoreError(
      "storage",
      `the write was not stored: ${reason}. Nothing of it is kept; look after the disk (free space, errors), then write again`,
      { cause: error },
    );
  }

  /** Undefined: a value is not in the log any more. */
  async #values(found: readonly Found[]): Promise<KeyValue[] | undefined> {
    const items: KeyValue[] = [];
    for (let at = 0; at < found.length; at += valuesReadMax) {
      const some = await Promise.all(
        found.slice(at, at + valuesReadMax).map((item) => this.#value(item)),
      );
      for (const item of some) {
        if (item === undefined) return undefined;
        items.push(item);
      }
    }
    return items;
  }

  async #value(found: Found): Promise<KeyValue | undefined> {
    if (isAtHand(found)) return found;
    const value = await this.#storage.get(logKey(found.key, found));
    return value === undefined ? undefined : keyValue(found, value);
  }

  /** Compaction may overtake a read; anything else that is missing is damage. */
  #vanished(revision: number): "compacted" {
    if (revision < this.#mvcc.compacted) return "compacted";
    throw new Error(
      `the log lacks a value that revision ${revision} needs: the data is damaged; restore it from a backup`,
    );
  }

  /** The events of some revisions above `after`, none above `upTo`. */
  async #history(range: WatchRange, after: number, upTo: number): Promise<Replay | "compacted"> {
    const mvcc = this.#mvcc;
    if (after < mvcc.compacted) return "compacted";
    const wanted: { readonly revision: number; now?: Found; before?: Found }[] = [];
    const end = Math.min(upTo, after + historyReadRevisionsMax);
    let revision = after;
    while (revision < end && wanted.length < historyReadEventsMax) {
      revision += 1;
      const key = mvcc.keyWrittenAt(revision);
      // Below the first write, and what a compaction has forgotten since: the check afterwards tells.
      if (key === undefined) continue;
      const order = orderKey(key);
      if (order < range.from || order >= range.to) continue;
      const now = mvcc.at(key, order, revision);
      const before = mvcc.at(key, order, revision - 1);
      wanted.push({
        revision,
        ...(now === undefined ? {} : { now }),
        ...(before === undefined ? {} : { before }),
      });
    }
    const needed = wanted.flatMap(({ now, before }) =>
      [now, before].filter((item) => item !== undefined),
    );
    const values = await this.#values(needed);
    if (values === undefined) return this.#vanished(after);
    let at = 0;
    const events = wanted.map(({ revision, now, before }): StoreEvent => {
      const event: { revision: number; now?: KeyValue; before?: KeyValue } = { revision };
      if (now !== undefined) event.now = values[at++] as KeyValue;
      if (before !== undefined) event.before = values[at++] as KeyValue;
      return event;
    });
    return { events, upTo: revision };
  }

  /** Removes garbage rows and forgets compacted history, a bounded batch at a time; one sweep at a time. */
  #sweep(): Promise<void> {
    this.#sweeping ??= this.#sweepAll().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  async #sweepAll(): Promise<void> {
    while (!this.#closed && (this.#garbage.length > 0 || !this.#mvcc.isTrimmed)) {
      if (this.#garbage.length < trimRevisionsMax)
        for (const key of this.#mvcc.trim(trimRevisionsMax)) this.#garbage.push(key);
      const rows = this.#garbage.splice(0, trimRevisionsMax);
      if (rows.length === 0) {
        await Promise.resolve();
        continue;
      }
      try {
        await this.#commit.commit(rows.map((key) => [key, undefined] as const));
      } catch (error) {
        // In front again: a delete's row must never go before the row that it deleted.
        this.#garbage.unshift(...rows);
        throw error;
      }
    }
  }

  async #revoke(lease: number): Promise<void> {
    this.#leases.end(lease);
    for (;;) {
      await this.#commit.settled();
      if (this.#closed) throw closedError();
      const keys = this.#leases.keys(lease, revokeKeysMax);
      if (keys.length === 0) break;
      await Promise.all(keys.map((key) => this.#deleteOf(lease, key)));
    }
    await this.#commit.commit([[encodeLeaseKey(lease), undefined]], () =>
      this.#leases.remove(lease),
    );
  }

  /** Deletes the key if it is still the lease's; who overwrote it in the meantime took it away. */
  async #deleteOf(lease: number, key: string): Promise<void> {
    const coming = this.#coming.get(key);
    const current = coming === undefined ? this.#mvcc.live.get(orderKey(key)) : coming.now;
    if (current?.lease === lease) await this.put(key, undefined);
  }

  #expire(lease: number): void {
    const revocation = this.revoke(lease).catch((error: unknown) => {
      if (this.#closed) return;
      this.#leases.retry(lease, expiryRetryMs);
      throw error;
    });
    this.#background(`deleting the keys of lease ${lease}`, revocation);
  }

  #background(what: string, work: Promise<void>): void {
    void work.catch((error: unknown) => {
      if (!this.#closed)
        this.#log?.write("error", `${what} failed; it will be tried again`, {
          error: error instanceof Error ? error.message : String(error),
        });
    });
  }

  #refuse(): Promise<never> {
    return Promise.reject(closedError());
  }
}

const noBytes = new Uint8Array(0);

const closedError = (): StoreError => new StoreError("closed", "the store is closed");

/** `result`, once the batch is durable. */
const answered = <T>(answers: Answer[], result: T): Promise<T> =>
  new Promise((resolve, reject) => {
    answers.push({ resolve: () => resolve(result), reject });
  });
