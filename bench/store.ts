/**
 * The store's figures: durable compare-and-put of 2 KB values by 256 writers (at least 12,000/s, p99 under 40 ms), against
 * bare LMDB doing the same work in the same run; the store without a disk; how long 100,000 keys take to open, and what they
 * weigh; how fast history is read again and compacted. Writes below the system's temporary directory, and removes it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { open } from "lmdb";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { eventLoopDelay } from "#adapters/nodejs/event-loop.ts";
import { openLmdbStorage } from "#adapters/nodejs/lmdb-storage.ts";
import { type EmbeddedStore, openStore } from "#control-plane/store/store.ts";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

const writers = 256;
const valueBytes = 2048;
const keysTotal = 100_000;
const encoder = new TextEncoder();

const say = (name: string, value: number, unit: string): void => {
  const digits = value >= 100 ? 0 : 2;
  process.stdout.write(`${name}: ${value.toFixed(digits)} ${unit}\n`);
};
const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

/** 2 KB of which some bytes are new each time, in an array of its own. */
const template = encoder.encode(JSON.stringify({ padding: "x".repeat(valueBytes - 14) }));
let counter = 0;
function newValue(): Uint8Array {
  counter += 1;
  const value = template.slice();
  value[20] = 0x30 + (counter % 10);
  return value;
}

interface Writing {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Each writer writes its own keys, one write at a time. */
async function write(
  durationMs: number,
  one: (writer: number, step: number) => Promise<void>,
): Promise<Writing> {
  const latencies: number[] = [];
  const start = performance.now();
  const end = start + durationMs;
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      for (let step = 0; performance.now() < end; step += 1) {
        const before = performance.now();
        await one(writer, step);
        latencies.push(performance.now() - before);
      }
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  latencies.sort((a, b) => a - b);
  return {
    perSecond: latencies.length / seconds,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
  };
}

const keyOf = (writer: number, step: number): string =>
  `/registry/pods/namespace-${writer % 16}/pod-${writer}-${step % 40}`;

/** Compare with the last revision of the key, put the next. */
function compareAndPut(store: EmbeddedStore): (writer: number, step: number) => Promise<void> {
  const revisions = new Map<string, number>();
  return async (writer, step) => {
    const key = keyOf(writer, step);
    const result = await store.put(key, newValue(), { ifModified: revisions.get(key) ?? 0 });
    if ("conflict" in result) throw new Error(`an unexpected conflict at ${key}`);
    revisions.set(key, result.revision);
  };
}

/** The same work without a store: compare, an index row, a log row, in LMDB's own transactions. */
async function bareLmdb(directory: string, durationMs: number): Promise<Writing> {
  const database = open<Uint8Array, string>({
    path: join(directory, "bare.lmdb"),
    encoding: "binary",
    overlappingSync: false,
    noMemInit: true,
  });
  const index = database.openDB<number, string>("index", { encoding: "ordered-binary" });
  let revision = 1;
  const expected = new Map<string, number>();
  const result = await write(durationMs, async (writer, step) => {
    const key = keyOf(writer, step);
    const value = newValue();
    const mine = await database.transaction(() => {
      if ((index.get(key) ?? 0) !== (expected.get(key) ?? 0)) throw new Error("conflict");
      revision += 1;
      void index.put(key, revision);
      void database.put(String(revision).padStart(16, "0"), value);
      return revision;
    });
    expected.set(key, mine);
  });
  await database.close();
  return result;
}

async function benchDurable(directory: string): Promise<void> {
  const bare = await bareLmdb(directory, 4000);
  say("bare LMDB, compare and put, 256 writers", bare.perSecond, "puts/s");
  say("bare LMDB p99", bare.p99Ms, "ms");

  const storage = await openLmdbStorage(join(directory, "store"));
  const store = await openStore({ storage, clock: systemClock });
  const put = compareAndPut(store);
  await write(500, put);
  const gauge = eventLoopDelay();
  const durable = await write(6000, put);
  const delay = gauge.read();
  gauge.stop();
  say("store, durable compare and put, 256 writers", durable.perSecond, "puts/s");
  say("store p50", durable.p50Ms, "ms");
  say("store p99", durable.p99Ms, "ms");
  say("store against bare LMDB", durable.perSecond / bare.perSecond, "times");
  say("event loop delay p99.9", delay.p999Ms, "ms");
  say("event loop delay max", delay.maxMs, "ms");
  const lone: number[] = [];
  for (let n = 0; n < 500; n += 1) {
    const before = performance.now();
    await put(1000, n);
    lone.push(performance.now() - before);
  }
  lone.sort((a, b) => a - b);
  say("store, one writer, p50", percentile(lone, 0.5), "ms");
  await benchHistory(store);
  await store.close();
}

async function benchHistory(store: EmbeddedStore): Promise<void> {
  const revision = await store.revision();
  let start = performance.now();
  const source = store.watch("/", "0", 1);
  if (source === "compacted") throw new Error("nothing was compacted");
  let events = 0;
  for (let last = 1; last < revision; ) {
    const batch = (await source.next()) ?? [];
    events += batch.length;
    last = batch.at(-1)?.revision ?? revision;
  }
  source.stop();
  say("watch from the past", (events / (performance.now() - start)) * 1000, "events/s");
  const gauge = eventLoopDelay();
  start = performance.now();
  await store.compact(revision);
  say("compaction", (revision / (performance.now() - start)) * 1000, "revisions/s");
  say("event loop delay max while compacting", gauge.read().maxMs, "ms");
  gauge.stop();
}

async function benchMemory(): Promise<void> {
  const store = await openStore({ storage: new MemoryStorage(), clock: systemClock });
  const put = compareAndPut(store);
  await write(500, put);
  say(
    "store in memory, compare and put, 256 writers",
    (await write(3000, put)).perSecond,
    "puts/s",
  );
  const keys = Array.from({ length: 10_000 }, (_, n) => keyOf(n % writers, n));
  let start = performance.now();
  for (let n = 0; n < 300_000; n += 1) await store.get(keys[n % keys.length] as string);
  say("get", (300_000 / (performance.now() - start)) * 1000, "gets/s");
  start = performance.now();
  for (let n = 0; n < 20_000; n += 1) await store.count("/registry/pods/", "/registry/pods0");
  say("count", (20_000 / (performance.now() - start)) * 1000, "counts/s");
  await store.close();
}

async function benchOpen(directory: string): Promise<void> {
  const path = join(directory, "open");
  const filling = await openStore({ storage: await openLmdbStorage(path), clock: systemClock });
  for (let from = 0; from < keysTotal; from += 1000)
    await Promise.all(
      Array.from({ length: 1000 }, (_, n) =>
        filling.put(`/registry/pods/namespace-${(from + n) % 100}/pod-${from + n}`, newValue()),
      ),
    );
  await filling.close();
  collectGarbage();
  const before = process.memoryUsage();
  const start = performance.now();
  const store = await openStore({ storage: await openLmdbStorage(path), clock: systemClock });
  say("open 100,000 keys", performance.now() - start, "ms");
  collectGarbage();
  const after = process.memoryUsage();
  const grown = after.heapUsed + after.external - before.heapUsed - before.external;
  say("memory a key beside its value", grown / keysTotal - valueBytes, "bytes");
  for (let n = 0; n < 5; n += 1) await store.range("/", "0");
  const range = performance.now();
  const all = await store.range("/", "0");
  say("range of 100,000 keys", performance.now() - range, "ms");
  if (typeof all === "string" || all.items.length !== keysTotal)
    throw new Error("keys are missing");
  await store.close();
}

const directory = mkdtempSync(join(tmpdir(), "wherry-bench-store-"));
try {
  await benchDurable(directory);
  await benchMemory();
  await benchOpen(directory);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
