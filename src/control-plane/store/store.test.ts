import { expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { CuttableStorage, MemoryDisk, MemoryStorage } from "#adapters/memory/storage.ts";
import type { Storage } from "#ports/storage.ts";
import { storeContract } from "#ports/store.contract.ts";
import type { KeyValue, StoreEvent } from "#ports/store.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { startCompaction } from "./compaction.ts";
import { type Migration, prepareFormat } from "./format.ts";
import { everything, formatKey } from "./row.ts";
import { type EmbeddedStore, openStore } from "./store.ts";
import type { WatchLimits } from "./watch.ts";

const bytes = (word: string): Bytes => new TextEncoder().encode(word);
const read = (item: KeyValue | undefined): string | undefined =>
  item && new TextDecoder().decode(item.value);
const newClock = (): SteppedClock => new SteppedClock({ startMs: 0 });

for (const [name, make] of [
  ["embedded over memory", (disk: MemoryDisk) => new MemoryStorage(disk)],
  ["embedded over a slow memory disk", (disk: MemoryDisk) => new CuttableStorage(disk)],
] as const)
  storeContract(name, async () => {
    const disk = new MemoryDisk();
    const clock = newClock();
    const open = (): Promise<EmbeddedStore> => openStore({ storage: make(disk), clock });
    let store = await open();
    return {
      store,
      advance: (ms) => clock.advance(ms),
      reopen: async () => {
        await store.close();
        store = await open();
        return store;
      },
      dispose: () => store.close(),
    };
  });

async function held(
  watchLimits?: WatchLimits,
): Promise<{ store: EmbeddedStore; storage: CuttableStorage; clock: SteppedClock }> {
  const storage = new CuttableStorage();
  const clock = newClock();
  const store = await openStore({
    storage,
    clock,
    ...(watchLimits === undefined ? {} : { watchLimits }),
  });
  return { store, storage, clock };
}

async function countRows(storage: Storage): Promise<number> {
  let count = 0;
  const source = storage.range(...everything);
  for (let rows = await source.next(); rows !== undefined; rows = await source.next())
    count += rows.length;
  return count;
}

function watchAll(store: EmbeddedStore, after: number): Source<StoreEvent> {
  const source = store.watch("/", "0", after);
  if (source === "compacted") throw new Error("compacted");
  return source;
}

test("hands out the very array that was put", async () => {
  const { store } = await held();
  const value = bytes("x");
  await store.put("/a", value);
  expect((await store.get("/a"))?.value).toBe(value);
});

test("nothing is seen before it is durable, except by later compares", async () => {
  const { store, storage, clock } = await held();
  await store.put("/a", bytes("1"));
  const source = watchAll(store, 2);
  const seen: StoreEvent[] = [];
  void source.next().then((batch) => seen.push(...(batch ?? [])));
  storage.hold();
  const answers: string[] = [];
  const say = (name: string) => (result: object) => answers.push(name + JSON.stringify(result));
  const second = store.put("/a", bytes("2"), { ifModified: 2 }).then(say("second"));
  const refused = store.put("/a", bytes("x"), { ifModified: 2 }).then(say("refused"));
  const third = store.put("/a", bytes("3"), { ifModified: 3 }).then(say("third"));
  const gone = store.put("/a", undefined, { ifModified: 4 }).then(say("gone"));
  await clock.settle();
  store.progress();
  await clock.settle();
  expect(storage.unsynced).toBe(1);
  expect(await store.revision()).toBe(2);
  expect(read(await store.get("/a"))).toBe("1");
  expect(await store.range("/", "0")).toMatchObject({ revision: 2, items: [{ modified: 2 }] });
  expect(await store.range("/", "0", { at: 3 })).toBe("future");
  expect(answers).toEqual([]);
  expect(seen).toEqual([{ revision: 2 }]);
  storage.release();
  await Promise.all([second, refused, third, gone]);
  expect(answers.map((answer) => answer.slice(0, 6))).toEqual([
    "second",
    "refuse",
    "third{",
    'gone{"',
  ]);
  expect(answers[1]).toContain('"modified":3');
  expect(await store.revision()).toBe(5);
});

test("a refusal that rests on durable data is answered at once", async () => {
  const { store, storage } = await held();
  await store.put("/a", bytes("1"));
  storage.hold();
  expect(await store.put("/a", bytes("2"), { ifModified: 9 })).toMatchObject({ conflict: true });
});

test("writes of one turn, and those that come during a commit, share one commit each", async () => {
  const { store, storage, clock } = await held();
  let commits = 0;
  const commit = storage.commit.bind(storage);
  storage.commit = (changes) => {
    commits += 1;
    return commit(changes);
  };
  storage.hold();
  const first = Array.from({ length: 100 }, (_, n) => store.put(`/a${n}`, bytes("x")));
  await clock.settle();
  const second = Array.from({ length: 100 }, (_, n) => store.put(`/b${n}`, bytes("x")));
  await clock.settle();
  expect(commits).toBe(1);
  storage.release();
  await Promise.all([...first, ...second]);
  expect(commits).toBe(2);
});

test("when a commit fails, all that waited fail, nothing is left, and the store goes on", async () => {
  const { store, storage, clock } = await held();
  await store.put("/a", bytes("1"));
  const source = watchAll(store, 2);
  storage.hold();
  storage.failWith(new Error("no space left on device"));
  const outcomes = [
    store.put("/a", bytes("2"), { ifModified: 2 }),
    store.put("/a", bytes("x"), { ifModified: 2 }),
  ];
  await clock.settle();
  outcomes.push(store.put("/a", bytes("3"), { ifModified: 3 }), store.put("/b", bytes("1")));
  const lease = store.grant(5);
  const settled = Promise.allSettled([...outcomes, lease]);
  storage.release();
  for (const outcome of await settled) {
    expect(outcome.status).toBe("rejected");
    if (outcome.status !== "rejected") continue;
    expect(outcome.reason).toMatchObject({ code: "storage" });
    expect(String(outcome.reason)).toContain("no space left on device");
  }
  expect(await store.revision()).toBe(2);
  expect(read(await store.get("/a"))).toBe("1");
  storage.failWith(undefined);
  expect(await store.put("/a", bytes("4"), { ifModified: 2 })).toMatchObject({ revision: 3 });
  expect((await source.next())?.map(({ revision }) => revision)).toEqual([3]);
});

test("a watcher that falls too far behind is stopped and told so; others are not", async () => {
  for (const limits of [
    { events: 10, bytes: 1e9 },
    { events: 1e9, bytes: 10_000 },
  ]) {
    const { store } = await held(limits);
    const slow = watchAll(store, 1);
    const quick = watchAll(store, 1);
    let got = 0;
    for (let n = 0; n < 50; n += 1) {
      const batch = quick.next();
      await store.put("/a", bytes("x".repeat(300)));
      got += (await batch)?.length ?? 0;
    }
    expect(got).toBe(50);
    await expect(slow.next()).rejects.toMatchObject({ code: "slowWatcher" });
    await expect(slow.next()).rejects.toThrow(/behind; read the range again/);
    slow.stop();
    expect(await slow.next()).toBeUndefined();
  }
});

test("a watch that reads history slowly is overtaken by no gap", async () => {
  const { store } = await held({ events: 20, bytes: 1e9 });
  for (let n = 0; n < 1000; n += 1) await store.put("/a", bytes(`${n}`));
  const source = watchAll(store, 1);
  const revisions: number[] = [];
  for (let n = 0; revisions.length < 1300; n += 1) {
    for (const event of (await source.next()) ?? []) revisions.push(event.revision);
    if (n < 3)
      await Promise.all(Array.from({ length: 100 }, () => store.put("/a", bytes("later"))));
  }
  expect(revisions).toEqual(Array.from({ length: 1300 }, (_, n) => n + 2));
});

test("a watch whose history is compacted away is stopped and told so", async () => {
  const { store } = await held();
  for (let n = 0; n < 1000; n += 1) await store.put("/a", bytes(`${n}`));
  const source = watchAll(store, 1);
  expect((await source.next())?.[0]?.revision).toBe(2);
  await store.compact(900);
  await expect(source.next()).rejects.toMatchObject({ code: "compacted" });
  await expect(source.next()).rejects.toThrow(/was compacted/);
});

test("a watcher of a quiet range is told now and then how far it is", async () => {
  const { store } = await held();
  const source = store.watch("/quiet", "/quiet0", 1);
  if (source === "compacted") throw new Error("compacted");
  const next = source.next();
  for (let n = 0; n < 1100; n += 1) await store.put("/busy", bytes("x"));
  expect(await next).toEqual([{ revision: 1001 }]);
});

test("compaction leaves one row a live key, also if it was interrupted", async () => {
  const disk = new MemoryDisk();
  const clock = newClock();
  const storage = new CuttableStorage(disk);
  const store = await openStore({ storage, clock });
  for (let n = 0; n < 3000; n += 1)
    await store.put(`/k${n % 10}`, n % 11 === 5 ? undefined : bytes(`${n}`));
  const live = await store.count("/", "0");
  const newest = await store.range("/", "0");
  let commits = 0;
  const commit = storage.commit.bind(storage);
  storage.commit = (changes) => {
    commits += 1;
    expect(changes.length).toBeLessThanOrEqual(1024);
    return commits > 3 ? new Promise(() => {}) : commit(changes);
  };
  void store.compact(await store.revision());
  await clock.settle();
  expect(commits).toBe(4);

  const again = new MemoryStorage(disk);
  const reopened = await openStore({ storage: again, clock });
  await clock.settle();
  expect(await reopened.range("/", "0")).toEqual(newest);
  expect(await countRows(again)).toBe(live + 2);
});

test("a compaction that meets a full disk is made up for", async () => {
  const { store, storage, clock } = await held();
  for (let n = 0; n < 100; n += 1) await store.put("/a", n % 3 === 0 ? bytes("x") : bytes("y"));
  await store.put("/a", undefined);
  storage.hold();
  const compaction = store.compact(102);
  await clock.settle();
  storage.sync();
  await clock.settle();
  storage.failWith(new Error("no space left on device"));
  storage.release();
  await expect(compaction).rejects.toMatchObject({ code: "storage" });
  expect(await store.range("/", "0", { at: 50 })).toBe("compacted");
  storage.failWith(undefined);
  await store.compact(102);
  expect(await countRows(storage)).toBe(2);
});

test("the policy keeps a while of history, and an idle store writes nothing", async () => {
  const { store, storage, clock } = await held();
  let commits = 0;
  const commit = storage.commit.bind(storage);
  storage.commit = (changes) => {
    commits += 1;
    return commit(changes);
  };
  const stop = startCompaction(store, clock, 1000);
  await clock.settle();
  for (let n = 0; n < 5; n += 1) await store.put("/a", bytes(`${n}`));
  await clock.advance(1000);
  expect(await store.range("/", "0", { at: 2 })).toMatchObject({ revision: 2 });
  await store.put("/a", bytes("new"));
  await clock.advance(1000);
  expect(await store.range("/", "0", { at: 5 })).toBe("compacted");
  expect(await store.range("/", "0", { at: 6 })).toMatchObject({ revision: 6 });
  await clock.advance(1000);
  expect(await store.range("/", "0", { at: 6 })).toBe("compacted");
  const idle = commits;
  await clock.advance(100_000);
  expect(commits).toBe(idle);
  stop();
  expect(clock.waiting).toBe(0);
});

test("an expiry that meets a full disk is tried again", async () => {
  const { store, storage, clock } = await held();
  const lease = await store.grant(10);
  await store.put("/a", bytes("x"), { lease });
  storage.failWith(new Error("no space left on device"));
  await clock.advance(11_000);
  expect(await store.get("/a")).toBeDefined();
  expect(await store.renew(lease)).toBe(false);
  storage.failWith(undefined);
  await clock.advance(6_000);
  expect(await store.get("/a")).toBeUndefined();
  await store.close();
  expect(clock.waiting).toBe(0);
});

test("a key that another writer took over in time outlives the lease", async () => {
  const { store, storage, clock } = await held();
  const lease = await store.grant(10);
  await Promise.all(["/a", "/b"].map((key) => store.put(key, bytes("x"), { lease })));
  storage.hold();
  const takeover = store.put("/a", bytes("mine"));
  const revocation = store.revoke(lease);
  await clock.settle();
  storage.release();
  await Promise.all([takeover, revocation]);
  expect(read(await store.get("/a"))).toBe("mine");
  expect(await store.get("/b")).toBeUndefined();
});

test("newer data is refused, older data brought up to date step by step", async () => {
  const storage = new MemoryStorage();
  await prepareFormat(storage, [], undefined);
  const steps: Migration[] = [
    async function* () {
      yield [[bytes("l-moved"), bytes("1")]];
      yield [[bytes("l-moved-too"), bytes("2")]];
    },
    async function* (data) {
      expect(await data.get(bytes("l-moved-too"))).toBeDefined();
      yield [[bytes("l-moved"), undefined]];
    },
  ];
  await prepareFormat(storage, steps, undefined);
  expect(await storage.get(bytes("l-moved"))).toBeUndefined();
  expect(new TextDecoder().decode(await storage.get(formatKey))).toBe("3");
  await prepareFormat(storage, steps, undefined);
  await expect(openStore({ storage, clock: newClock() })).rejects.toThrow(
    /format 3, and this version of wherry knows formats up to 1/,
  );
});

test("data that is not a store's is refused, and a log with a gap", async () => {
  const foreign = new MemoryStorage();
  await foreign.commit([[bytes("row"), bytes("x")]]);
  await expect(openStore({ storage: foreign, clock: newClock() })).rejects.toThrow(
    /something else/,
  );

  const disk = new MemoryDisk();
  const store = await openStore({ storage: new MemoryStorage(disk), clock: newClock() });
  for (let n = 0; n < 3; n += 1) await store.put("/a", bytes(`${n}`));
  await store.close();
  const rows = disk.pairs(bytes("r"), bytes("s"));
  disk.apply([[(rows[1] as readonly [Bytes, Bytes])[0], undefined]]);
  await expect(openStore({ storage: new MemoryStorage(disk), clock: newClock() })).rejects.toThrow(
    /lacks revision 3/,
  );
});

test("a closed store refuses, ends its watches and leaves no timer", async () => {
  const { store, clock } = await held();
  const lease = await store.grant(10);
  const source = watchAll(store, 1);
  const waiting = source.next();
  const last = store.put("/a", bytes("x"), { lease });
  await store.close();
  expect(await last).toMatchObject({ revision: 2 });
  expect(await waiting).toHaveLength(1);
  expect(await source.next()).toBeUndefined();
  await expect(store.put("/a", bytes("x"))).rejects.toMatchObject({ code: "closed" });
  await expect(store.get("/a")).rejects.toMatchObject({ code: "closed" });
  expect(clock.waiting).toBe(0);
});
