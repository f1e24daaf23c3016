import type { Bytes, Source } from "./stream.ts";

/** One key as of a revision. `created` and `modified` are revisions; */
export interface KeyValue {
  readonly key: string;
  readonly value: Bytes;
  readonly created: number;
  readonly modified: number;
  readonly lease?: number;
}

/** One change. Without `now`: deleted. Without `before`: created. With neither: progress up to `revision`. */
export interface StoreEvent {
  readonly revision: number;
  readonly now?: KeyValue;
  readonly before?: KeyValue;
}

export interface PutOptions {
  /** Write only if the key's modified revision is this; 0: only if the key is absent. */
  readonly ifModified?: number;
  readonly lease?: number;
}

/** Done at a revision, or refused: `current` is what stood in the way (undefined: no such key). */
export type PutResult =
  | { readonly revision: number; readonly previous?: KeyValue }
  | { readonly conflict: true; readonly current?: KeyValue };

export interface RangeResult {
  /** The revision that the answer reflects. */
  readonly revision: number;
  readonly items: readonly KeyValue[];
  /** How many keys of the range follow behind `limit`. */
  readonly remaining: number;
}

/** Why a call failed, or a watch broke. What it was asked is not at fault, except for "invalid". */
export type StoreErrorCode =
  /** The write was not stored, and nothing that waited behind it: storage failed. Later writes may succeed. */
  | "storage"
  /** Too much waits to be stored already. */
  | "overloaded"
  | "leaseNotFound"
  /** Of a watch: the history it still had to read was compacted. */
  | "compacted"
  /** Of compact(): the revision is not there yet. */
  | "future"
  /** Of a watch: it fell too far behind. */
  | "slowWatcher"
  /** A key, value, bound or time to live that no store can take. */
  | "invalid"
  | "closed";

export class StoreError extends Error {
  readonly code: StoreErrorCode;
  constructor(code: StoreErrorCode, message: string, options?: { readonly cause: unknown }) {
    super(message, options);
    this.name = "StoreError";
    this.code = code;
  }
}

/**
 * Store: etcd's semantics: a revisioned, ordered key space. `embedded` (over Storage) and the etcd adapter pass
 * one contract suite. Ranges are from <= key < to in byte order of the UTF-8 keys.
 *
 * Nothing is shown by get, range or watch before it is durable; a refused or failed write leaves no trace.
 * A byte array handed in belongs to the store and must not be changed; one handed out must not be changed.
 * The embedded store hands out the very array that was put.
 */
export interface Store {
  /** Revision of the newest durable write. */
  revision(): Promise<number>;
  get(key: string): Promise<KeyValue | undefined>;
  /** As of revision `at` (default: newest). "compacted": that history is gone; "future": not there yet. */
  range(
    from: string,
    to: string,
    options?: { readonly at?: number; readonly limit?: number },
  ): Promise<RangeResult | "compacted" | "future">;
  count(from: string, to: string): Promise<number>;
  /** Writes (value) or deletes (undefined). Deleting an absent key is a conflict. Resolves when durable. */
  put(key: string, value: Bytes | undefined, options?: PutOptions): Promise<PutResult>;
  /**
   * Every event of the range with revision > `after`, in order, without gap; then live. Events of one revision
   * stay in one batch. Progress events come when asked for by `progress()` and now and then on a quiet range.
   * Rejects with StoreError "compacted" or "slowWatcher"; ends when the store is closed.
   */
  watch(from: string, to: string, after: number): Source<StoreEvent> | "compacted";
  /** Every open watch is told the current revision as soon as it has seen everything before it. */
  progress(): void;
  /** Forgets history below `revision`: reads at it still work. Resolves when that is durable and the space is free. */
  compact(revision: number): Promise<void>;
  grant(ttlSeconds: number): Promise<number>;
  renew(lease: number): Promise<boolean>;
  /** Deletes the lease and its keys; fine if there is no such lease. */
  revoke(lease: number): Promise<void>;
  close(): Promise<void>;
}
