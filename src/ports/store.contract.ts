/** What every Store must do: etcd's semantics, as the port says them. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type KeyValue,
  type RangeResult,
  type Store,
  StoreError,
  type StoreEvent,
} from "./store.ts";
import type { Bytes, Source } from "./stream.ts";

export interface StoreWorld {
  /** Empty and new. */
  readonly store: Store;
  /** Lets time pass for leases. */
  advance(ms: number): Promise<void>;
  /** Closes the store and opens the same data once more. */
  reopen(): Promise<Store>;
  /** Leaves nothing behind. */
  dispose(): Promise<void>;
}

const bytes = (word: string): Bytes => new TextEncoder().encode(word);
const read = (item: KeyValue | undefined): string | undefined =>
  item && new TextDecoder().decode(item.value);

/** The revision of a write that must succeed. */
async function put(
  store: Store,
  key: string,
  value: string | undefined,
  options: { ifModified?: number; lease?: number } = {},
): Promise<number> {
  const result = await store.put(key, value === undefined ? undefined : bytes(value), options);
  if ("conflict" in result) throw new Error(`writing ${key} met a conflict`);
  return result.revision;
}

async function list(
  store: Store,
  from: string,
  to: string,
  options?: { at?: number; limit?: number },
): Promise<{ items: [string, string | undefined][]; revision: number; remaining: number }> {
  const result = (await store.range(from, to, options)) as RangeResult;
  if (typeof result === "string") throw new Error(result);
  return { ...result, items: result.items.map((item) => [item.key, read(item)]) };
}

function watch(store: Store, from: string, to: string, after: number): Source<StoreEvent> {
  const source = store.watch(from, to, after);
  if (source === "compacted") throw new Error("compacted");
  return source;
}

const describeEvent = ({ revision, now, before }: StoreEvent): string =>
  `${revision} ${(now ?? before)?.key} ${read(before) ?? "-"}>${read(now) ?? "-"}`;

/** Whole batches, until there are `count` events that are no mere progress. */
async function take(source: Source<StoreEvent>, count: number): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) {
    const batch = await source.next();
    if (batch === undefined) break;
    for (const event of batch) if (event.now ?? event.before) found.push(describeEvent(event));
  }
  return found;
}

export function storeContract(name: string, make: () => Promise<StoreWorld>): void {
  describe(`store: ${name}`, () => {
    let world: StoreWorld;
    let store: Store;
    beforeEach(async () => {
      world = await make();
      store = world.store;
    });
    afterEach(() => world.dispose());

    test("a put is read back with its revisions", async () => {
      expect(await store.get("/a")).toBeUndefined();
      expect(await put(store, "/a", "1")).toBe(2);
      expect(await put(store, "/b", "1")).toBe(3);
      expect(await put(store, "/a", "2")).toBe(4);
      expect(await store.revision()).toBe(4);
      const item = await store.get("/a");
      expect(item).toMatchObject({ key: "/a", created: 2, modified: 4 });
      expect(item && "lease" in item).toBe(false);
      expect(read(item)).toBe("2");
      expect(await store.put("/a", bytes("3"))).toMatchObject({
        revision: 5,
        previous: { created: 2, modified: 4 },
      });
      expect(await put(store, "/empty", "")).toBe(6);
      expect((await store.get("/empty"))?.value).toHaveLength(0);
    });

    test("a delete takes the key away, and a new put starts it anew", async () => {
      await put(store, "/a", "1");
      expect(await store.put("/a", undefined)).toMatchObject({
        revision: 3,
        previous: { created: 2, modified: 2 },
      });
      expect(await store.get("/a")).toBeUndefined();
      expect(await store.put("/a", undefined)).toEqual({ conflict: true });
      expect(await store.revision()).toBe(3);
      await put(store, "/a", "2");
      expect(await store.get("/a")).toMatchObject({ created: 4, modified: 4 });
    });

    test("compares with the modified revision; 0 means absent; a refusal leaves no trace", async () => {
      expect(await store.put("/a", bytes("x"), { ifModified: 7 })).toEqual({ conflict: true });
      expect(await put(store, "/a", "1", { ifModified: 0 })).toBe(2);
      const refused = await store.put("/a", bytes("2"), { ifModified: 0 });
      expect(refused).toMatchObject({ conflict: true, current: { key: "/a", modified: 2 } });
      expect(await put(store, "/a", "2", { ifModified: 2 })).toBe(3);
      expect(await store.put("/a", undefined, { ifModified: 2 })).toMatchObject({
        conflict: true,
        current: { modified: 3 },
      });
      expect(await store.revision()).toBe(3);
      expect(await put(store, "/a", undefined, { ifModified: 3 })).toBe(4);
    });

    test("of many writers that compare with the same revision one wins, and sees all others refused", async () => {
      await put(store, "/a", "0");
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, n) => store.put("/a", bytes(`w${n}`), { ifModified: 2 })),
      );
      const won = results.flatMap((result, n) => ("revision" in result ? [n] : []));
      expect(won).toHaveLength(1);
      for (const result of results)
        if ("conflict" in result) expect(read(result.current)).toBe(`w${won[0]}`);
      expect(await store.revision()).toBe(3);
    });

    test("each write of a burst has its own revision, and all are there", async () => {
      const revisions = await Promise.all(
        Array.from({ length: 300 }, (_, n) => put(store, `/k${n % 100}`, `${n}`)),
      );
      expect(new Set(revisions).size).toBe(300);
      expect(Math.max(...revisions)).toBe(301);
      expect(await store.count("/", "0")).toBe(100);
    });

    test("ranges are ordered by UTF-8 bytes, limited, and count what remains", async () => {
      const keys = ["/a", "/a/b", "/a0", "/b", "/é", "/\uffee", "/\u{1f600}"];
      for (const key of keys.toReversed()) await put(store, key, key);
      expect((await list(store, "/", "0")).items.map(([key]) => key)).toEqual(keys);
      const some = await list(store, "/a", "/b", { limit: 2 });
      expect(some.items.map(([key]) => key)).toEqual(["/a", "/a/b"]);
      expect(some.remaining).toBe(1);
      expect(some.revision).toBe(8);
      expect((await list(store, "/a/", "/a0")).items).toEqual([["/a/b", "/a/b"]]);
      expect(await store.count("/a", "/b")).toBe(3);
      expect(await store.count("/\uffee", "0")).toBe(2);
      expect(await store.count("/b", "/a")).toBe(0);
      expect((await list(store, "/b", "/a")).items).toEqual([]);
    });

    test("reads as of any revision that is not compacted", async () => {
      await put(store, "/a", "1");
      await put(store, "/b", "1");
      await put(store, "/a", "2");
      await put(store, "/b", undefined);
      await put(store, "/c", "1");
      await put(store, "/b", "3");
      const at = async (revision: number): Promise<string> => {
        const { items, ...rest } = await list(store, "/", "0", { at: revision });
        expect(rest).toEqual({ revision, remaining: 0 });
        return items.map(([key, value]) => key + value).join(" ");
      };
      expect(await at(1)).toBe("");
      expect(await at(2)).toBe("/a1");
      expect(await at(3)).toBe("/a1 /b1");
      expect(await at(4)).toBe("/a2 /b1");
      expect(await at(5)).toBe("/a2");
      expect(await at(6)).toBe("/a2 /c1");
      expect(await at(7)).toBe("/a2 /b3 /c1");
      expect(await store.range("/", "0", { at: 8 })).toBe("future");
      expect(await list(store, "/", "0", { at: 4, limit: 1 })).toEqual({
        revision: 4,
        items: [["/a", "2"]],
        remaining: 1,
      });
      expect((await list(store, "/", "0", { at: 6, limit: 1 })).remaining).toBe(1);
    });

    test("a watch goes on from now, with what was before", async () => {
      await put(store, "/a/1", "1");
      const source = watch(store, "/a/", "/a0", 2);
      await put(store, "/a/1", "2");
      await put(store, "/b", "x");
      await put(store, "/a/2", "1");
      await put(store, "/a/1", undefined);
      expect(await take(source, 3)).toEqual(["3 /a/1 1>2", "5 /a/2 ->1", "6 /a/1 2>-"]);
      const waiting = source.next();
      source.stop();
      expect(await waiting).toBeUndefined();
      expect(await source.next()).toBeUndefined();
    });

    test("a watch from the past has everything once, in order, and becomes live", async () => {
      const expected: string[] = [];
      for (let n = 0; n < 700; n += 1) {
        const revision = await put(store, `/k${n % 7}`, `${n}`);
        if (n % 7 < 3 && revision > 100)
          expected.push(`${revision} /k${n % 7} ${n < 7 ? "-" : n - 7}>${n}`);
      }
      const source = watch(store, "/k0", "/k3", 100);
      const seen = await take(source, 10);
      expect(seen.length).toBeLessThan(expected.length);
      await Promise.all([put(store, "/k1", "x"), put(store, "/k9", "y")]);
      await put(store, "/k2", undefined);
      expected.push("702 /k1 694>x", "704 /k2 695>-");
      seen.push(...(await take(source, expected.length - seen.length)));
      expect(seen).toEqual(expected);
      await put(store, "/k0", "z");
      expect(await take(source, 1)).toEqual(["705 /k0 693>z"]);
      source.stop();
    });

    test("a watch from the future shows nothing earlier", async () => {
      const source = watch(store, "/", "0", 4);
      for (const value of ["2", "3", "4", "5"]) await put(store, "/a", value);
      expect(await take(source, 1)).toEqual(["5 /a 4>5"]);
      source.stop();
    });

    test("progress is told when everything before it was seen", async () => {
      const source = watch(store, "/a", "/b", 1);
      await put(store, "/a", "1");
      await put(store, "/z", "1");
      store.progress();
      const seen: StoreEvent[] = [];
      while (seen.at(-1)?.revision !== 3) seen.push(...((await source.next()) ?? []));
      expect(seen[0]?.now?.key).toBe("/a");
      expect(seen.at(-1)).toEqual({ revision: 3 });
      source.stop();
    });

    test("compaction forgets what is below, keeps what reads and watches from there need", async () => {
      await put(store, "/a", "1");
      await put(store, "/b", "1");
      await put(store, "/a", "2");
      await put(store, "/b", undefined);
      await put(store, "/a", "3");
      await store.compact(4);
      const check = async (): Promise<void> => {
        expect(await store.range("/", "0", { at: 3 })).toBe("compacted");
        expect(store.watch("/", "0", 3)).toBe("compacted");
        expect((await list(store, "/", "0", { at: 4 })).items).toEqual([
          ["/a", "2"],
          ["/b", "1"],
        ]);
        const source = watch(store, "/", "0", 4);
        expect(await take(source, 2)).toEqual(["5 /b 1>-", "6 /a 2>3"]);
        source.stop();
      };
      await check();
      store = await world.reopen();
      await check();
      await store.compact(6);
      expect((await list(store, "/", "0", { at: 6 })).items).toEqual([["/a", "3"]]);
      expect(await store.range("/", "0", { at: 5 })).toBe("compacted");
      expect(await store.get("/a")).toMatchObject({ created: 2, modified: 6 });
      await expect(store.compact(7)).rejects.toMatchObject({ code: "future" });
    });

    test("everything is there after a restart, and revisions go on", async () => {
      for (let n = 0; n < 50; n += 1) await put(store, `/k${n}`, `${n}`);
      for (let n = 0; n < 50; n += 2) await put(store, `/k${n}`, undefined);
      await put(store, "/k1", "new");
      const before = await list(store, "/", "0");
      const deleted = await store.revision();
      store = await world.reopen();
      expect(await list(store, "/", "0")).toEqual(before);
      expect(await store.revision()).toBe(deleted);
      expect(await store.get("/k1")).toMatchObject({ created: 3, modified: deleted });
      expect((await list(store, "/", "0", { at: 51 })).items).toHaveLength(50);
      expect(await put(store, "/new", "x")).toBe(deleted + 1);
    });

    test("revisions never go back, even if all that is left of the newest is compacted", async () => {
      await put(store, "/a", "1");
      await put(store, "/a", undefined);
      await store.compact(3);
      store = await world.reopen();
      expect(await store.revision()).toBe(3);
      expect(await put(store, "/a", "2")).toBe(4);
      expect(await store.get("/a")).toMatchObject({ created: 4 });
    });

    test("a lease that is not renewed takes its keys along, by ordinary deletes", async () => {
      const lease = await store.grant(10);
      await put(store, "/a", "1", { lease });
      await put(store, "/b", "1", { lease });
      await put(store, "/c", "1");
      expect((await store.get("/a"))?.lease).toBe(lease);
      await put(store, "/b", "2");
      expect((await store.get("/b"))?.lease).toBeUndefined();
      const source = watch(store, "/", "0", 5);
      await world.advance(7_000);
      expect(await store.renew(lease)).toBe(true);
      await world.advance(7_000);
      expect(await store.get("/a")).toBeDefined();
      await world.advance(7_000);
      expect(await take(source, 1)).toEqual(["6 /a 1>-"]);
      expect(await store.get("/a")).toBeUndefined();
      expect(await store.count("/", "0")).toBe(2);
      expect(await store.renew(lease)).toBe(false);
      await expect(put(store, "/d", "1", { lease })).rejects.toMatchObject({
        code: "leaseNotFound",
      });
      source.stop();
    });

    test("revoking a lease deletes its keys at once", async () => {
      const lease = await store.grant(100);
      await Promise.all(["/a", "/b", "/c"].map((key) => put(store, key, "1", { lease })));
      await store.revoke(lease);
      expect(await store.count("/", "0")).toBe(0);
      expect(await store.revision()).toBe(7);
      expect(await store.renew(lease)).toBe(false);
      await store.revoke(lease);
      expect(await store.grant(100)).not.toBe(lease);
    });

    test("after a restart a lease lives on, with its keys and its whole time", async () => {
      const lease = await store.grant(10);
      await put(store, "/a", "1", { lease });
      await world.advance(7_000);
      store = await world.reopen();
      await world.advance(7_000);
      expect(await store.get("/a")).toMatchObject({ lease });
      const source = watch(store, "/", "0", 2);
      await world.advance(7_000);
      expect(await take(source, 1)).toEqual(["3 /a 1>-"]);
      source.stop();
      expect(await store.get("/a")).toBeUndefined();
      expect(await store.grant(10)).not.toBe(lease);
    });

    test("refuses what it cannot store", async () => {
      await expect(store.put("", bytes("x"))).rejects.toMatchObject({ code: "invalid" });
      await expect(store.put("/a", bytes("x"), { lease: 12_345 })).rejects.toMatchObject({
        code: "leaseNotFound",
      });
      await expect(store.grant(0)).rejects.toBeInstanceOf(StoreError);
      expect(await store.revision()).toBe(1);
    });
  });
}
