/**
 * Power is lost at seeded moments under many writers: what was acknowledged is there afterwards, nothing was seen by anyone
 * that is not there, revisions never go back.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { CuttableStorage, MemoryDisk } from "#adapters/memory/storage.ts";
import type { Random } from "#ports/random.ts";
import type { KeyValue, RangeResult, StoreEvent } from "#ports/store.ts";
import type { Source } from "#ports/stream.ts";
import { type EmbeddedStore, openStore } from "./store.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** As expect(a).toBe(b), but quick: it is asked a million times. */
function agree(a: unknown, b: unknown): void {
  if (a !== b) expect(a).toBe(b);
}
const pick = (random: Random, below: number): number => random.uint32() % below;

/** What one life of the store told anyone: by revision, "key=value" or "key=" for a delete. */
class Witness {
  readonly told = new Map<number, string>();
  readonly snapshots = new Map<number, string>();
  newest = 1;

  saw(revision: number, key: string, value: string): void {
    const fact = `${key}=${value}`;
    const known = this.told.get(revision) ?? fact;
    agree(fact, known);
    this.told.set(revision, fact);
    this.newest = Math.max(this.newest, revision);
  }

  sawItem(item: KeyValue | undefined): void {
    if (item !== undefined) this.saw(item.modified, item.key, decoder.decode(item.value));
  }

  sawEvent({ revision, now, before }: StoreEvent): void {
    this.newest = Math.max(this.newest, revision);
    this.sawItem(now);
    this.sawItem(before);
    if (now === undefined && before !== undefined) this.saw(revision, before.key, "");
  }

  sawRange(result: RangeResult): void {
    for (const item of result.items) this.sawItem(item);
    const text = textOf(result);
    agree(text, this.snapshots.get(result.revision) ?? text);
    this.snapshots.set(result.revision, text);
    this.newest = Math.max(this.newest, result.revision);
  }
}

const textOf = (result: RangeResult): string =>
  result.items
    .map((item) => `${item.key}@${item.created}:${item.modified}=${decoder.decode(item.value)}`)
    .join(" ");

interface Life {
  readonly store: EmbeddedStore;
  readonly storage: CuttableStorage;
  readonly random: Random;
  readonly witness: Witness;
  alive: boolean;
}

async function writer(life: Life, name: string): Promise<void> {
  const { store, random, witness } = life;
  for (let step = 0; life.alive && step < 400; step += 1) {
    const key = `/k${pick(random, 8)}`;
    const value = pick(random, 4) === 0 ? undefined : `${name}.${step}`;
    const ifModified = pick(random, 2) === 0 ? ((await store.get(key))?.modified ?? 0) : undefined;
    const result = await store
      .put(
        key,
        value === undefined ? undefined : encoder.encode(value),
        ifModified === undefined ? {} : { ifModified },
      )
      .catch((error: unknown) => String(error));
    if (!life.alive) return;
    if (typeof result === "string") expect(result).toContain("disk trouble");
    else if ("conflict" in result) witness.sawItem(result.current);
    else {
      witness.saw(result.revision, key, value ?? "");
      witness.sawItem(result.previous);
    }
  }
}

async function watcher(life: Life, after: number): Promise<void> {
  const { store, witness, random } = life;
  const source = store.watch("/", "0", after);
  if (source === "compacted") return;
  let last = after;
  while (life.alive) {
    if (pick(random, 30) === 0) return source.stop();
    const batch = await nextOf(source);
    if (batch === undefined || !life.alive) return;
    for (const event of batch) {
      const isProgress = event.now === undefined && event.before === undefined;
      agree(event.revision, isProgress ? last : last + 1);
      last = event.revision;
      witness.sawEvent(event);
    }
  }
}

const nextOf = (source: Source<StoreEvent>): Promise<readonly StoreEvent[] | undefined> =>
  source.next().catch((error: unknown) => {
    expect(error).toMatchObject({ code: "compacted" });
    return undefined;
  });

async function reader(life: Life): Promise<void> {
  const { store, random, witness } = life;
  for (let step = 0; life.alive && step < 200; step += 1) {
    const newest = await store.revision();
    const at = Math.max(1, newest - pick(random, 30));
    const result = await store.range("/", "0", pick(random, 2) === 0 ? { at } : {});
    if (!life.alive) return;
    agree(result === "future", false);
    if (typeof result !== "string") witness.sawRange(result);
    witness.sawItem(await store.get(`/k${pick(random, 8)}`));
    store.progress();
    for (let turn = pick(random, 20); turn > 0; turn -= 1) await Promise.resolve();
  }
}

/** The disk fails now and then; history is compacted now and then. */
async function trouble(life: Life): Promise<void> {
  const { store, storage, random } = life;
  for (let step = 0; life.alive && step < 40; step += 1) {
    for (let turn = pick(random, 60); turn > 0; turn -= 1) await Promise.resolve();
    if (!life.alive) return;
    const dice = pick(random, 6);
    storage.failWith(dice === 0 ? new Error("disk trouble") : undefined);
    if (dice < 3) continue;
    const revision = Math.max(1, (await store.revision()) - pick(random, 40));
    await store
      .compact(revision)
      .catch((error: unknown) => expect(String(error)).toContain("disk trouble"));
  }
  storage.failWith(undefined);
}

async function live(disk: MemoryDisk, random: Random, past: Witness): Promise<MemoryDisk> {
  const storage = new CuttableStorage(disk);
  const store = await openStore({ storage, clock: new SteppedClock({ startMs: 0 }) });
  const revision = await store.revision();
  expect(revision).toBeGreaterThanOrEqual(past.newest);
  const witness = new Witness();
  const all = (await store.range("/", "0")) as RangeResult;
  await checkHistory(store, past, revision);
  witness.sawRange(all);

  const life: Life = { store, storage, random, witness, alive: true };
  const run = [
    ...Array.from({ length: 6 }, (_, n) => writer(life, `w${n}`)),
    ...Array.from({ length: 3 }, (_, n) => watcher(life, Math.max(1, revision - 10 * n))),
    reader(life),
    trouble(life),
  ];
  const failures: unknown[] = [];
  for (const part of run) part.catch((error: unknown) => failures.push(error));
  for (let turn = pick(random, 1500); turn > 0; turn -= 1) await Promise.resolve();
  life.alive = false;
  const after = storage.cut(random);
  await new SteppedClock({ startMs: 0 }).settle();
  expect(failures).toEqual([]);
  for (const [at, fact] of witness.told) past.told.set(at, fact);
  for (const [at, text] of witness.snapshots) past.snapshots.set(at, text);
  past.newest = Math.max(revision, witness.newest);
  return after;
}

/** All that was ever told holds still, as far as it is not compacted. */
async function checkHistory(store: EmbeddedStore, past: Witness, newest: number): Promise<void> {
  for (let at = 1; at <= newest; at += 1) {
    const told = past.told.get(at);
    const snapshot = past.snapshots.get(at);
    if (told === undefined && snapshot === undefined) continue;
    const result = await store.range("/", "0", { at });
    agree(result === "future", false);
    if (typeof result === "string") continue;
    if (snapshot !== undefined) agree(textOf(result), snapshot);
    if (told === undefined) continue;
    const [key, value] = told.split("=");
    const item = result.items.find((candidate) => candidate.key === key);
    agree(item === undefined ? "" : decoder.decode(item.value), value);
    if (item !== undefined) agree(item.modified, at);
  }
  // What was told of revisions that are not there would come up again with another content.
  agree(
    [...past.told.keys()].some((at) => at > newest),
    false,
  );
}

test("survives power cuts at any moment", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), async (seed) => {
      const random = seededRandom(seed);
      const past = new Witness();
      let disk = new MemoryDisk();
      for (let n = 0; n < 4; n += 1) disk = await live(disk, random.fork(`life ${n}`), past);
      const clock = new SteppedClock({ startMs: 0 });
      const store = await openStore({ storage: new CuttableStorage(disk), clock });
      expect(await store.revision()).toBeGreaterThanOrEqual(past.newest);
      await checkHistory(store, past, await store.revision());
    }),
    { numRuns: 20 },
  );
});
