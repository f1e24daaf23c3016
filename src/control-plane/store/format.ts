/**
 * The format of the data, as a number in the data itself: newer code brings older data up to date, one step at a time, each
 * step durable with its number; older code refuses newer data.
 */
import type { Log } from "#ports/log.ts";
import type { Storage, StorageChange } from "#ports/storage.ts";
import { decodeCount, encodeCount, everything, formatKey } from "./row.ts";

/** Brings the data from one format to the next. What it yields is committed batch by batch; it must bear being repeated. */
export type Migration = (storage: Storage) => AsyncIterable<readonly StorageChange[]>;

/** migrations[n] leads from format n + 1 to n + 2. */
export const migrations: readonly Migration[] = [];

export async function prepareFormat(
  storage: Storage,
  steps: readonly Migration[],
  log: Log | undefined,
): Promise<void> {
  const newest = steps.length + 1;
  const written = await storage.get(formatKey);
  if (written === undefined) {
    await refuseForeign(storage);
    await storage.commit([[formatKey, encodeCount(newest)]]);
    return;
  }
  let format = decodeCount(written, "format number");
  if (format > newest)
    throw new Error(
      `the data has format ${format}, and this version of wherry knows formats up to ${newest}: it was written by a newer version; run that one, or restore a backup into another data directory`,
    );
  for (const step of steps.slice(format - 1)) {
    log?.write("info", "bringing the store's data up to date", { from: format, to: format + 1 });
    for await (const changes of step(storage)) await storage.commit(changes);
    format += 1;
    await storage.commit([[formatKey, encodeCount(format)]]);
  }
}

async function refuseForeign(storage: Storage): Promise<void> {
  const rows = storage.range(...everything);
  const some = await rows.next();
  rows.stop();
  if (some !== undefined)
    throw new Error(
      "the data directory holds data, but not a store's format number: it belongs to something else; choose another data directory",
    );
}
