/**
 * Storage in memory: for tests, simulation and the browser. What a storage wrote stays on its disk, so another one can be
 * opened over it. `CuttableStorage` is the same with a disk that loses power: batches are written first and durable later,
 * and a cut keeps an arbitrary prefix of what was only written. Promises only; nothing here happens by itself later on.
 */
import type { Random } from "#ports/random.ts";
import type { Storage, StorageChange } from "#ports/storage.ts";
import type { Bytes, Source } from "#ports/stream.ts";

/** Bytes as a string of the same order: one unit a byte. */
const nameOf = (bytes: Bytes): string => Reflect.apply(String.fromCharCode, undefined, bytes);
const bytesOf = (name: string): Bytes => Uint8Array.from(name, (unit) => unit.charCodeAt(0));

const keyBytesMax = 1024;
const rangeRowsMax = 1000;

/** What outlives a storage. */
export class MemoryDisk {
  readonly #values = new Map<string, Bytes>();
  /** Made when a range asks for it, dropped when a key comes or goes. */
  #sorted: string[] | undefined;

  get(key: Bytes): Bytes | undefined {
    return this.#values.get(nameOf(key));
  }

  apply(changes: readonly StorageChange[]): void {
    for (const [key, value] of changes) {
      const name = nameOf(key);
      const size = this.#values.size;
      if (value === undefined) this.#values.delete(name);
      else this.#values.set(name, value);
      if (this.#values.size !== size) this.#sorted = undefined;
    }
  }

  pairs(from: Bytes, to: Bytes): (readonly [key: Bytes, value: Bytes])[] {
    this.#sorted ??= [...this.#values.keys()].toSorted((a, b) => (a < b ? -1 : Number(a > b)));
    const [low, high] = [nameOf(from), nameOf(to)];
    return this.#sorted
      .filter((name) => name >= low && name < high)
      .map((name) => [bytesOf(name), this.#values.get(name) as Bytes]);
  }

  copy(): MemoryDisk {
    const disk = new MemoryDisk();
    for (const [name, value] of this.#values) disk.#values.set(name, value);
    return disk;
  }
}

function check(changes: readonly StorageChange[]): void {
  for (const [key] of changes)
    if (key.length === 0 || key.length > keyBytesMax)
      throw new Error(`a storage key has 1 to ${keyBytesMax} bytes, not ${key.length}`);
}

function pairsSource(disk: MemoryDisk, from: Bytes, to: Bytes): Source<readonly [Bytes, Bytes]> {
  let pairs: (readonly [Bytes, Bytes])[] | undefined = disk.pairs(from, to);
  let at = 0;
  return {
    next: async () => {
      const batch = pairs?.slice(at, at + rangeRowsMax);
      at += rangeRowsMax;
      return batch === undefined || batch.length === 0 ? undefined : batch;
    },
    stop: () => {
      pairs = undefined;
    },
  };
}

const closed = (): Error => new Error("the storage is closed");

export class MemoryStorage implements Storage {
  readonly #disk: MemoryDisk;
  #closed = false;

  constructor(disk: MemoryDisk = new MemoryDisk()) {
    this.#disk = disk;
  }

  async get(key: Bytes): Promise<Bytes | undefined> {
    if (this.#closed) throw closed();
    return this.#disk.get(key);
  }

  range(from: Bytes, to: Bytes): Source<readonly [key: Bytes, value: Bytes]> {
    if (this.#closed) throw closed();
    return pairsSource(this.#disk, from, to);
  }

  async commit(changes: readonly StorageChange[]): Promise<void> {
    if (this.#closed) throw closed();
    check(changes);
    this.#disk.apply(changes);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }
}

interface Unsynced {
  readonly changes: readonly StorageChange[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class CuttableStorage implements Storage {
  readonly #disk: MemoryDisk;
  /** What a reader of this storage sees: the disk and what is written, not synced. */
  #written: MemoryDisk;
  #unsynced: Unsynced[] = [];
  #failure: Error | undefined;
  #held = false;
  #state: "open" | "closed" | "cut" = "open";
  #syncing = false;

  constructor(disk: MemoryDisk = new MemoryDisk()) {
    this.#disk = disk;
    this.#written = disk.copy();
  }

  get unsynced(): number {
    return this.#unsynced.length;
  }

  async get(key: Bytes): Promise<Bytes | undefined> {
    if (this.#state === "cut") return new Promise(() => {});
    if (this.#state === "closed") throw closed();
    return this.#written.get(key);
  }

  range(from: Bytes, to: Bytes): Source<readonly [key: Bytes, value: Bytes]> {
    if (this.#state !== "open") throw closed();
    return pairsSource(this.#written, from, to);
  }

  commit(changes: readonly StorageChange[]): Promise<void> {
    if (this.#state === "cut") return new Promise(() => {});
    if (this.#state === "closed") return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      check(changes);
      this.#written.apply(changes);
      this.#unsynced.push({ changes, resolve, reject });
      if (!this.#held) this.#syncSoon();
    });
  }

  /** From now on batches stay unsynced until sync() or release(). */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    this.sync();
  }

  /** Makes the first `count` unsynced batches durable. */
  sync(count = this.#unsynced.length): void {
    if (this.#state === "cut") return;
    if (this.#failure !== undefined && this.#unsynced.length > 0) {
      this.#fail(this.#failure);
      return;
    }
    for (const batch of this.#unsynced.splice(0, count)) {
      this.#disk.apply(batch.changes);
      batch.resolve();
    }
  }

  /** Every sync fails from now on, with what is unsynced at that moment; undefined: the disk is well again. */
  failWith(error: Error | undefined): void {
    this.#failure = error;
  }

  /**
   * Power is lost: a prefix of the unsynced batches is on the disk, the rest is gone, nobody is answered any more. The result
   * is the disk as the next start finds it.
   */
  cut(random: Random): MemoryDisk {
    this.#state = "cut";
    const kept = random.uint32() % (this.#unsynced.length + 1);
    for (const batch of this.#unsynced.slice(0, kept)) this.#disk.apply(batch.changes);
    this.#unsynced = [];
    return this.#disk;
  }

  async close(): Promise<void> {
    if (this.#state !== "open") return;
    this.sync();
    this.#state = "closed";
  }

  #fail(error: Error): void {
    const all = this.#unsynced;
    this.#unsynced = [];
    this.#written = this.#disk.copy();
    for (const batch of all) batch.reject(error);
  }

  /** A few turns later: so that commits overlap, as they do on a real disk. */
  #syncSoon(): void {
    if (this.#syncing) return;
    this.#syncing = true;
    void Promise.resolve()
      .then(() => {})
      .then(() => {})
      .then(() => {
        this.#syncing = false;
        if (!this.#held) this.sync();
      });
  }
}
