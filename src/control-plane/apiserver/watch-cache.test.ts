import fc from "fast-check";
import { expect, test } from "vitest";
import type { Handler } from "#api/request.ts";
import {
  admin,
  ask,
  configMap,
  configMaps,
  directly,
  itemsOf,
  makeWorld,
  objectOf,
  Watching,
} from "./api.contract.ts";
import { SortedMap } from "./sorted-map.ts";

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
  a < b ? -1 : a > b ? 1 : 0;

test("a sorted map is a map that is sorted", () => {
  const steps = fc.array(fc.tuple(fc.nat(700), fc.boolean()), { maxLength: 1500 });
  fc.assert(
    fc.property(steps, fc.nat(700), fc.nat(700), (changes, low, high) => {
      const name = (id: number): string => `k${String(id).padStart(4, "0")}`;
      const map = new SortedMap<number>();
      const model = new Map<string, number>();
      for (const [index, [id, set]] of changes.entries()) {
        if (set) {
          map.set(name(id), index);
          model.set(name(id), index);
        } else expect(map.delete(name(id))).toBe(model.delete(name(id)));
      }
      const [from, to] = [name(low), name(high)];
      const wanted = [...model].filter(([key]) => key >= from && key < to).sort(byKey);
      expect([...map.range(from, to)]).toEqual(wanted.map(([, value]) => value));
      expect(map.count(from, to)).toBe(wanted.length);
      expect(map.size).toBe(model.size);
    }),
    { numRuns: 30 },
  );
});

type Step = readonly ["put" | "delete", number, number];
const steps = fc.array(
  fc.tuple(fc.constantFrom("put" as const, "delete" as const), fc.nat(5), fc.nat(3)),
  { minLength: 1, maxLength: 40 },
);

/** Applies the steps; gives the state after each revision. */
async function run(handler: Handler, script: readonly Step[]) {
  const states = new Map<number, ReadonlyMap<string, string>>();
  const state = new Map<string, string>();
  const first = objectOf(await ask(handler, "GET", configMaps)).metadata.resourceVersion;
  const revisions = [Number(first)];
  states.set(Number(first), new Map());
  for (const [what, id, value] of script) {
    const name = `c${id}`;
    const object = configMap(name, { v: String(value) });
    if (what === "delete") {
      if (!state.has(name)) continue;
      await ask(handler, "DELETE", `${configMaps}/${name}`);
      state.delete(name);
    } else {
      if (state.get(name) === String(value)) continue;
      if (state.has(name)) await ask(handler, "PUT", `${configMaps}/${name}`, object);
      else await ask(handler, "POST", configMaps, object);
      state.set(name, String(value));
    }
    const list = objectOf(await ask(handler, "GET", configMaps)).metadata.resourceVersion;
    revisions.push(Number(list));
    states.set(Number(list), new Map(state));
  }
  return { states, revisions };
}

const asText = (state: ReadonlyMap<string, string>): string =>
  JSON.stringify([...state].sort(byKey));

test("a watch from any revision replays exactly the history; a list at a revision is the state of then", async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(), async (script, pick) => {
      const { as } = await makeWorld(directly);
      const handler = await as(admin);
      const { states, revisions } = await run(handler, script);
      const start = revisions[pick % revisions.length] ?? 0;
      const exact = `${configMaps}?resourceVersion=${start}&resourceVersionMatch=Exact`;
      const listed = itemsOf(await ask(handler, "GET", exact)).map(
        (one) => [one.metadata.name ?? "", String(one.data?.v)] as const,
      );
      expect(asText(new Map(listed))).toBe(asText(states.get(start) ?? new Map()));
      const watch = `${configMaps}?watch=1&resourceVersion=${start}`;
      const watching = new Watching(await ask(handler, "GET", watch));
      const state = new Map(listed);
      for (const revision of revisions.filter((one) => one > start)) {
        const event = await watching.next();
        const { name = "", resourceVersion } = event?.object.metadata ?? {};
        expect(Number(resourceVersion)).toBe(revision);
        expect(event?.type).toBe(
          event?.type === "DELETED" ? "DELETED" : state.has(name) ? "MODIFIED" : "ADDED",
        );
        if (event?.type === "DELETED") state.delete(name);
        else state.set(name, String(event?.object.data?.v));
        expect(asText(state)).toBe(asText(states.get(revision) ?? new Map()));
      }
      watching.stop();
    }),
    { numRuns: 12 },
  );
});

test("a watch from before the ring is served from the store's history", async () => {
  const { as } = await makeWorld(directly);
  const handler = await as(admin);
  await ask(handler, "POST", configMaps, configMap("a"));
  const start = objectOf(await ask(handler, "GET", configMaps)).metadata.resourceVersion;
  const writes = 1100;
  for (let count = 0; count < writes; count++)
    await ask(handler, "PUT", `${configMaps}/a`, configMap("a", { v: String(count) }));
  const watching = new Watching(
    await ask(handler, "GET", `${configMaps}?watch=1&resourceVersion=${start}`),
  );
  for (let count = 0; count < writes; count++)
    expect((await watching.next())?.object.data?.v).toBe(String(count));
  await ask(handler, "DELETE", `${configMaps}/a`);
  expect((await watching.next())?.type).toBe("DELETED");
  watching.stop();
});

test("concurrent updates with a resourceVersion never lose a write", async () => {
  const { as } = await makeWorld(directly);
  const handler = await as(admin);
  await ask(handler, "POST", configMaps, configMap("n", { count: "0" }));
  let conflicts = 0;
  const increment = async (): Promise<void> => {
    for (;;) {
      const read = objectOf(await ask(handler, "GET", `${configMaps}/n`));
      const data = { count: String(Number(read.data?.count) + 1) };
      const answer = await ask(handler, "PUT", `${configMaps}/n`, { ...read, data });
      if (answer.status === 200) return;
      expect(answer.status).toBe(409);
      conflicts++;
    }
  };
  await Promise.all(Array.from({ length: 20 }, increment));
  expect(objectOf(await ask(handler, "GET", `${configMaps}/n`)).data?.count).toBe("20");
  expect(conflicts).toBeGreaterThan(0);
});

test("patches without a resourceVersion win against others instead of failing", async () => {
  const { as } = await makeWorld(directly);
  const handler = await as(admin);
  await ask(handler, "POST", configMaps, configMap("n"));
  const type = "application/merge-patch+json";
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, id) =>
      ask(handler, "PATCH", `${configMaps}/n`, { data: { [`k${id}`]: "1" } }, { type }),
    ),
  );
  expect(answers.map((one) => one.status)).toEqual(Array.from({ length: 10 }, () => 200));
  const { data } = objectOf(await ask(handler, "GET", `${configMaps}/n`));
  expect(Object.keys(data ?? {})).toHaveLength(10);
});
