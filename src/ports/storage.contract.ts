/** What every Storage must do, whatever stands below it. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Storage, StorageChange } from "./storage.ts";
import type { Bytes } from "./stream.ts";

export interface StorageWorld {
  readonly storage: Storage;
  /** Opens the same data once more, after the storage was closed. */
  reopen(): Promise<Storage>;
  /** Leaves nothing behind. */
  dispose(): Promise<void>;
}

const key = (...bytes: readonly number[]): Bytes => Uint8Array.from(bytes);
const text = (word: string): Bytes => new TextEncoder().encode(word);
const read = (bytes: Bytes | undefined): string | undefined =>
  bytes && new TextDecoder().decode(bytes);
const pattern = (length: number, seed: number): Bytes =>
  Uint8Array.from({ length }, (_, index) => (index * 31 + seed) & 0xff);

async function rows(
  storage: Storage,
  from: Bytes,
  to: Bytes,
): Promise<[key: number[], value: string][]> {
  const found: [number[], string][] = [];
  const source = storage.range(from, to);
  for (let batch = await source.next(); batch !== undefined; batch = await source.next()) {
    expect(batch.length).toBeGreaterThan(0);
    for (const [k, value] of batch) found.push([[...k], new TextDecoder().decode(value)]);
  }
  return found;
}

export function storageContract(name: string, make: () => Promise<StorageWorld>): void {
  describe(`storage: ${name}`, () => {
    let world: StorageWorld;
    let storage: Storage;
    beforeEach(async () => {
      world = await make();
      storage = world.storage;
    });
    afterEach(() => world.dispose());

    test("holds what was put, forgets what was deleted", async () => {
      expect(await storage.get(key(1))).toBeUndefined();
      await storage.commit([
        [key(1), text("one")],
        [key(2), text("two")],
      ]);
      expect(read(await storage.get(key(1)))).toBe("one");
      await storage.commit([
        [key(1), text("uno")],
        [key(2), undefined],
        [key(9), undefined],
      ]);
      expect(read(await storage.get(key(1)))).toBe("uno");
      expect(await storage.get(key(2))).toBeUndefined();
    });

    test("a batch takes effect in its own order, batches in the order of the calls", async () => {
      await storage.commit([
        [key(1), text("first")],
        [key(1), undefined],
        [key(1), text("last")],
        [key(2), text("gone")],
        [key(2), undefined],
      ]);
      expect(read(await storage.get(key(1)))).toBe("last");
      expect(await storage.get(key(2))).toBeUndefined();
      await Promise.all(
        Array.from({ length: 50 }, (_, n) => storage.commit([[key(3), text(`v${n}`)]])),
      );
      expect(read(await storage.get(key(3)))).toBe("v49");
      await storage.commit([]);
    });

    test("takes values from empty to large and gives each in an array of its own", async () => {
      const sizes = [0, 1, 63, 64, 65, 2000, 4096, 40_000, 1_500_000];
      await storage.commit(sizes.map((size, n) => [key(5, n), pattern(size, n)] as const));
      const values = await Promise.all(sizes.map((_, n) => storage.get(key(5, n))));
      for (const [n, size] of sizes.entries()) {
        const value = values[n] as Bytes;
        expect(Buffer.compare(value, pattern(size, n))).toBe(0);
        expect(value.buffer.byteLength).toBe(size);
      }
      const source = storage.range(key(5), key(6));
      for (let n = 0; n < sizes.length; ) {
        for (const [k, value] of (await source.next()) ?? []) {
          expect([...k]).toEqual([5, n]);
          expect(Buffer.compare(value, pattern(sizes[n] as number, n))).toBe(0);
          expect(value.buffer.byteLength).toBe(sizes[n]);
          n += 1;
        }
      }
      expect(await source.next()).toBeUndefined();
    });

    test("ranges go up by unsigned bytes, from inclusive, to exclusive", async () => {
      const keys = [key(0), key(0, 0), key(1), key(0x7f), key(0x80), key(0x80, 1), key(0xff)];
      await storage.commit(keys.toReversed().map((k) => [k, text(k.join("."))] as const));
      expect((await rows(storage, key(0), key(0xff, 0xff))).map(([k]) => k)).toEqual(
        keys.map((k) => [...k]),
      );
      expect(await rows(storage, key(1), key(0x80, 1))).toEqual([
        [[1], "1"],
        [[0x7f], "127"],
        [[0x80], "128"],
      ]);
      expect(await rows(storage, key(2), key(3))).toEqual([]);
    });

    test("a range never shows half a batch, however long it takes", async () => {
      const all = (value: string): StorageChange[] =>
        Array.from({ length: 5000 }, (_, n) => [key(n >> 8, n & 0xff), text(value)] as const);
      await storage.commit(all("old"));
      const source = storage.range(key(0), key(0xff));
      const first = (await source.next()) ?? [];
      expect(first.length).toBeLessThan(5000);
      await storage.commit([...all("new"), [key(0xfe), text("new")]]);
      const seen = new Set(first.map(([, value]) => read(value)));
      let count = first.length;
      for (let batch = await source.next(); batch !== undefined; batch = await source.next()) {
        count += batch.length;
        for (const [, value] of batch) seen.add(read(value));
      }
      expect([...seen]).toEqual(["old"]);
      expect(count).toBe(5000);
      expect(await rows(storage, key(0xfe), key(0xff))).toEqual([[[0xfe], "new"]]);
    });

    test("a stopped range ends, and may be stopped again", async () => {
      await storage.commit([[key(1), text("x")]]);
      const source = storage.range(key(0), key(2));
      source.stop();
      source.stop();
      expect(await source.next()).toBeUndefined();
    });

    test("takes keys of 1 to 1,024 bytes; of a batch with another nothing is kept", async () => {
      const long = pattern(1024, 1);
      await storage.commit([[long, text("long")]]);
      expect(read(await storage.get(long))).toBe("long");
      for (const bad of [pattern(1025, 1), key()]) {
        const batch: StorageChange[] = [
          [key(1), text("x")],
          [bad, text("y")],
        ];
        await expect(storage.commit(batch)).rejects.toThrow(/1 to 1024 bytes/);
      }
      expect(await storage.get(key(1))).toBeUndefined();
    });

    test("what was committed is there after close and reopen", async () => {
      const many: StorageChange[] = Array.from({ length: 3000 }, (_, n) => [
        key(7, n >> 8, n & 0xff),
        pattern(2000, n),
      ]);
      await storage.commit(many);
      await storage.commit(many.slice(0, 1000).map(([k]) => [k, undefined] as const));
      const late = storage.commit([[key(8), text("on its way")]]);
      await storage.close();
      await late;
      await expect(storage.get(key(8))).rejects.toThrow(/closed/);
      await expect(storage.commit([[key(8), undefined]])).rejects.toThrow(/closed/);
      await storage.close();
      const again = await world.reopen();
      expect(read(await again.get(key(8)))).toBe("on its way");
      expect(await rows(again, key(7), key(8))).toHaveLength(2000);
      await again.close();
    });
  });
}
