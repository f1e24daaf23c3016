import type { Bytes, Source } from "./stream.ts";

/** One change of a batch: a value to put under the key, or undefined to delete the key. */
export type StorageChange = readonly [key: Bytes, value: Bytes | undefined];

/**
 * Storage: an ordered, durable map of bytes (keys compare as unsigned bytes; at most 1,024 bytes).
 * Comparing, revisions and watching are the Store's business, above.
 */
export interface Storage {
  get(key: Bytes): Promise<Bytes | undefined>;
  /** Pairs with from <= key < to, ascending, as of the call or later; never half a batch. */
  range(from: Bytes, to: Bytes): Source<readonly [key: Bytes, value: Bytes]>;
  /**
   * A blind atomic batch. Batches take effect in call order; the promise resolves when the batch is
   * durable (fsynced). If it rejects, nothing of the batch is there, nor of any batch committed after it
   * and before the rejection was seen. Bytes handed in must not be changed afterwards, nor those handed out.
   */
  commit(changes: readonly StorageChange[]): Promise<void>;
  close(): Promise<void>;
}
