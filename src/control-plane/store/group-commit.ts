/**
 * GroupCommit: what arrives in the same turn, or while a commit is in flight, shares one commit of Storage, one fsync. One
 * commit is in flight at a time. It knows nothing of keys and revisions: a batch carries storage changes, what is to happen
 * once they are durable, and whom to answer then.
 *
 * If a commit fails, the batch fails and so does everything that waits behind it: it may have been decided on what the
 * failed batch said. What comes later starts afresh.
 */
import type { Storage, StorageChange } from "#ports/storage.ts";

export interface Batch {
  readonly changes: StorageChange[];
  /** Run in order once the batch is durable, before anyone is answered. */
  readonly applied: (() => void)[];
  readonly answers: Answer[];
  bytes: number;
}
export interface Answer {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A batch is one synchronous slice when it becomes visible: it must stay far below 10 ms. */
const batchChangesMax = 1024;
const batchBytesMax = 8 * 1024 * 1024;
/** Turns of the microtask queue in which those who were just answered may write again. */
const gatherTurns = 4;

export class GroupCommit {
  readonly #storage: Storage;
  readonly #durable: () => void;
  readonly #failed: (error: unknown) => Error;
  #queue: Batch[] = [];
  #inFlight: Batch | undefined;
  #running = false;

  /** `durable` makes what `applied` did visible. `failed` forgets what was not yet durable; its result goes to all. */
  constructor(storage: Storage, durable: () => void, failed: (error: unknown) => Error) {
    this.#storage = storage;
    this.#durable = durable;
    this.#failed = failed;
  }

  /** How many batches wait behind the one in flight. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** The batch that takes the next change; it will be committed without further ado. */
  open(): Batch {
    let last = this.#queue.at(-1);
    if (
      last === undefined ||
      last.changes.length >= batchChangesMax ||
      last.bytes >= batchBytesMax
    ) {
      last = { changes: [], applied: [], answers: [], bytes: 0 };
      this.#queue.push(last);
      if (!this.#running) {
        this.#running = true;
        // Rejects only for a bug, which must not pass unnoticed: nobody catches it.
        void this.#run();
      }
    }
    return last;
  }

  add(batch: Batch, key: Uint8Array, value: Uint8Array | undefined): void {
    batch.changes.push([key, value]);
    batch.bytes += key.length + (value?.length ?? 0);
  }

  /** Commits changes along with whatever else is waiting; `applied` runs when they are durable. */
  commit(changes: readonly StorageChange[], applied?: () => void): Promise<void> {
    const batch = this.open();
    for (const [key, value] of changes) this.add(batch, key, value);
    if (applied !== undefined) batch.applied.push(applied);
    return new Promise((resolve, reject) => batch.answers.push({ resolve, reject }));
  }

  /** Resolves when everything that was handed over so far is durable or has failed. */
  settled(): Promise<void> {
    const last = this.#queue.at(-1) ?? this.#inFlight;
    if (last === undefined) return Promise.resolve();
    return new Promise((resolve) => last.answers.push({ resolve, reject: () => resolve() }));
  }

  async #run(): Promise<void> {
    for (;;) {
      for (let turn = 0; turn < gatherTurns; turn += 1) await Promise.resolve();
      const batch = this.#queue.shift();
      if (batch === undefined) {
        this.#running = false;
        return;
      }
      this.#inFlight = batch;
      try {
        if (batch.changes.length > 0) await this.#storage.commit(batch.changes);
      } catch (error) {
        this.#fail(batch, error);
        continue;
      }
      this.#inFlight = undefined;
      for (const apply of batch.applied) apply();
      this.#durable();
      for (const answer of batch.answers) answer.resolve();
    }
  }

  #fail(batch: Batch, error: unknown): void {
    const all = [batch, ...this.#queue];
    this.#queue = [];
    this.#inFlight = undefined;
    const reason = this.#failed(error);
    for (const { answers } of all) for (const answer of answers) answer.reject(reason);
  }
}
