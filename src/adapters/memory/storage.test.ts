import { expect, test } from "vitest";
import type { Random } from "#ports/random.ts";
import { storageContract } from "#ports/storage.contract.ts";
import { CuttableStorage, MemoryDisk, MemoryStorage } from "./storage.ts";

for (const [name, open] of [
  ["memory", (disk: MemoryDisk) => new MemoryStorage(disk)],
  ["cuttable memory", (disk: MemoryDisk) => new CuttableStorage(disk)],
] as const)
  storageContract(name, async () => {
    const disk = new MemoryDisk();
    return { storage: open(disk), reopen: async () => open(disk), dispose: async () => {} };
  });

const bytes = (...units: readonly number[]): Uint8Array => Uint8Array.from(units);
const fixed = (number: number): Random => ({
  uint32: () => number,
  bytes: (count) => new Uint8Array(count),
  fork: () => fixed(number),
});

test("a cut keeps a prefix of the batches that were not durable, and answers nobody", async () => {
  for (const kept of [0, 1, 2, 3]) {
    const storage = new CuttableStorage();
    await storage.commit([[bytes(0), bytes(0)]]);
    storage.hold();
    const answered: number[] = [];
    for (const n of [1, 2, 3])
      void storage.commit([[bytes(n), bytes(n)]]).then(() => answered.push(n));
    expect(storage.unsynced).toBe(3);
    const after = new MemoryStorage(storage.cut(fixed(kept)));
    for (const n of [0, 1, 2, 3])
      expect(await after.get(bytes(n))).toEqual(n <= kept ? bytes(n) : undefined);
    expect(answered).toEqual([]);
  }
});

test("a failed commit takes along what was committed after it", async () => {
  const storage = new CuttableStorage();
  storage.hold();
  const both = Promise.allSettled([
    storage.commit([[bytes(1), bytes(1)]]),
    storage.commit([[bytes(2), bytes(2)]]),
  ]);
  storage.failWith(new Error("disk trouble"));
  storage.sync();
  expect((await both).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await storage.get(bytes(1))).toBeUndefined();
  storage.failWith(undefined);
  storage.release();
  await storage.commit([[bytes(3), bytes(3)]]);
  expect(await storage.get(bytes(3))).toEqual(bytes(3));
});
