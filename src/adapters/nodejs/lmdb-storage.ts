/**
 * Storage on LMDB, in a directory of its own. One transaction is in flight at a time; batches that arrive meanwhile go into
 * the next one together. A commit resolves after LMDB has synced: data by fdatasync, then the page that makes them count by
 * a synchronous write (`overlappingSync: false`; the default would answer before).
 *
 * LMDB writes on a thread of the pool and reads the batch's bytes there: they are copied into one arena, which is used again
 * and again. What is read is copied out of LMDB's own buffers, each value into an array of its own.
 */
import { closeSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname, join } from "node:path";
import { open, type RootDatabase } from "lmdb";
import type { Storage, StorageChange } from "#ports/storage.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { type DirectoryLock, lockDirectory } from "./directory-lock.ts";

const keyBytesMax = 1024;
/** One slice of a range: well below 10 ms. */
const rangeRowsMax = 1000;
const rangeBytesMax = 2 * 1024 * 1024;
/** So many gets, and the event loop gets a turn. */
const getsMax = 500;
const arenaBytesMin = 1024 * 1024;
const arenaBytesKept = 16 * 1024 * 1024;
/** One transaction takes whole batches, up to about this much. */
const transactionBytesMax = 32 * 1024 * 1024;

interface Waiting {
  readonly changes: readonly StorageChange[];
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

type Database = RootDatabase<Bytes, Uint8Array>;

/** Makes the directory if need be. Rejects if another process, or this one, has it open. */
export async function openLmdbStorage(directory: string): Promise<Storage> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const lock = await lockDirectory(directory);
  try {
    const options = {
      path: join(directory, "store.lmdb"),
      keyEncoding: "binary",
      encoding: "binary",
      overlappingSync: false,
      eventTurnBatching: false,
      noMemInit: true,
      maxDbs: 1,
      // Of LMDB's options, though not in its types: Secrets lie in this file.
      permissionsMode: 0o600,
    } as const;
    const database = open<Bytes, Uint8Array>(options);
    // A new file is durable when the directories that name it are.
    for (const named of [directory, dirname(directory)]) syncDirectory(named);
    return new LmdbStorage(directory, database, lock);
  } catch (error) {
    await lock.release();
    throw new Error(
      `cannot open the data in ${directory}: ${messageOf(error)}; check the disk, or restore a backup`,
      { cause: error },
    );
  }
}

class LmdbStorage implements Storage {
  readonly #directory: string;
  readonly #database: Database;
  readonly #lock: DirectoryLock;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #arena = new Uint8Array(arenaBytesMin);
  #gets = 0;
  #broken: Error | undefined;
  #closing: Promise<void> | undefined;
  readonly #ranges = new Set<Source<readonly [Bytes, Bytes]>>();

  constructor(directory: string, database: Database, lock: DirectoryLock) {
    this.#directory = directory;
    this.#database = database;
    this.#lock = lock;
  }

  async get(key: Bytes): Promise<Bytes | undefined> {
    this.#gets += 1;
    if (this.#gets >= getsMax) {
      this.#gets = 0;
      await nextTurn();
    }
    this.#mustBeOpen();
    const value = this.#database.getBinary(key);
    return value === undefined ? undefined : owned(value);
  }

  /** Reads in one LMDB snapshot, which is held until the end or stop(): who reads slowly keeps old pages on disk. */
  range(from: Bytes, to: Bytes): Source<readonly [key: Bytes, value: Bytes]> {
    this.#mustBeOpen();
    const transaction = this.#database.useReadTransaction();
    const range = { start: from.slice(), end: to.slice(), transaction };
    const rows = this.#database.getRange(range)[Symbol.iterator]();
    let ended = false;
    const source = {
      next: async (): Promise<readonly (readonly [Bytes, Bytes])[] | undefined> => {
        await nextTurn();
        if (ended) return undefined;
        const batch: (readonly [Bytes, Bytes])[] = [];
        let bytes = 0;
        while (batch.length < rangeRowsMax && bytes < rangeBytesMax) {
          const row = rows.next();
          if (row.done === true) break;
          const { key, value } = row.value;
          batch.push([owned(key), owned(value)]);
          bytes += key.length + value.length;
        }
        if (batch.length > 0) return batch;
        source.stop();
        return undefined;
      },
      stop: (): void => {
        if (ended) return;
        ended = true;
        this.#ranges.delete(source);
        rows.return?.();
        transaction.done();
      },
    };
    this.#ranges.add(source);
    return source;
  }

  commit(changes: readonly StorageChange[]): Promise<void> {
    let bytes = 0;
    for (const [key, value] of changes) {
      if (key.length === 0 || key.length > keyBytesMax)
        return Promise.reject(
          new Error(`a storage key has 1 to ${keyBytesMax} bytes, not ${key.length}`),
        );
      bytes += value?.length ?? 0;
    }
    if (this.#closing !== undefined) return Promise.reject(this.#closedError());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ changes, bytes, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#writing;
    for (const range of this.#ranges) range.stop();
    await this.#database.close();
    await this.#lock.release();
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const together = this.#takeTogether();
      try {
        if (this.#broken !== undefined) throw this.#broken;
        await this.#transact(together);
      } catch (error) {
        // What came while this failed may build on it: the port promises that it fails, too.
        const reason = await this.#diagnose(error);
        const all = [...together, ...this.#waiting];
        this.#waiting = [];
        for (const batch of all) batch.reject(reason);
        continue;
      }
      for (const batch of together) batch.resolve();
    }
    this.#writing = undefined;
  }

  #takeTogether(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const batch of this.#waiting) {
      bytes += batch.bytes;
      if (count > 0 && bytes > transactionBytesMax) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #transact(batches: readonly Waiting[]): Promise<void> {
    const size = batches.reduce((sum, batch) => sum + batch.bytes, 0);
    if (size > this.#arena.length) this.#arena = new Uint8Array(size);
    const database = this.#database;
    let at = 0;
    await database.batch(() => {
      for (const { changes } of batches)
        for (const [key, value] of changes) {
          if (value === undefined) {
            void database.remove(key);
            continue;
          }
          this.#arena.set(value, at);
          void database.put(key, this.#arena.subarray(at, at + value.length));
          at += value.length;
        }
    });
    if (this.#arena.length > arenaBytesKept) this.#arena = new Uint8Array(arenaBytesMin);
  }

  /** Says why a transaction failed, and finds out whether LMDB can go on after it. */
  async #diagnose(error: unknown): Promise<Error> {
    if (this.#broken !== undefined) return this.#broken;
    const reason = new Error(
      `writing to ${this.#directory} failed: ${messageOf(await causeOf(error))}`,
      { cause: error },
    );
    try {
      this.#database.transactionSync(() => undefined);
    } catch (fatal) {
      this.#broken = new Error(
        `${reason.message}; LMDB refuses to go on (${messageOf(fatal)}): start again once the disk is well`,
        { cause: fatal },
      );
      return this.#broken;
    }
    return reason;
  }

  #mustBeOpen(): void {
    if (this.#closing !== undefined) throw this.#closedError();
  }

  #closedError(): Error {
    return new Error(`the storage in ${this.#directory} is closed`);
  }
}

/** LMDB hands out Buffers, most of them copies of their own already; what shares memory with others is copied. */
function owned(bytes: Uint8Array): Bytes {
  if (bytes.buffer.byteLength === bytes.length && bytes.buffer instanceof ArrayBuffer)
    return new Uint8Array(bytes.buffer);
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy;
}

function syncDirectory(directory: string): void {
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** LMDB's rejection carries a promise that rejects with the real reason. */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !("commitError" in error)) return error;
  try {
    await error.commitError;
    return error;
  } catch (cause) {
    return cause;
  }
}
