import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { kindSchema } from "#api/facts.ts";
import { decodeObject, deepFreeze, equalObjects } from "../decode.ts";
import { parseApiVersion } from "../gvk.ts";
import type { ManagedFieldsEntry } from "../meta.ts";
import type { JsonObject } from "../object.ts";
import type { ListSchema, ObjectSchema } from "../schema.ts";
import { StatusError } from "../status-error.ts";
import {
  difference,
  equalSets,
  type FieldSet,
  fieldPath,
  formatPath,
  hasPath,
  intersection,
  ordered,
  parseFieldSet,
  pathsOf,
  setOfPaths,
  union,
} from "./field-set.ts";
import { asksForReset, updateManagedFields } from "./managed-fields.ts";
import { fromScale, toScale } from "./scale.ts";
import { applyManaged, lastAppliedAnnotation } from "./server-side-apply.ts";
import { compareObjects, fieldSetOf, mergeObjects, reconcileSet } from "./typed.ts";

/** Answers that upstream's libraries gave (see testdata/README.md). */
const golden = <Row>(name: string): Row[] =>
  JSON.parse(readFileSync(new URL(`../testdata/${name}.json`, import.meta.url), "utf8")) as Row[];

function schemaOf(apiVersion: string, kind: string): ObjectSchema {
  const { group, version } = parseApiVersion(apiVersion) ?? { group: "", version: "" };
  const schema = kindSchema(group, version, kind);
  if (schema === undefined) throw new Error(`no schema of ${kind}`);
  return schema;
}
const deployment = schemaOf("apps/v1", "Deployment");
const now = "2024-01-01T00:00:00Z";

/** One object under writes and applies, as a server would keep it. */
class World {
  live: JsonObject | undefined;
  readonly schema: ObjectSchema;
  readonly apiVersion: string;
  readonly kind: string;
  constructor(apiVersion: string, kind: string) {
    this.schema = schemaOf(apiVersion, kind);
    this.apiVersion = apiVersion;
    this.kind = kind;
  }
  #context(manager: string, subresource = "", time = now) {
    return { apiVersion: this.apiVersion, schema: this.schema, manager, subresource, now: time };
  }
  #store(object: JsonObject, managedFields: ManagedFieldsEntry[] | undefined): void {
    const { managedFields: _, ...meta } = object["metadata"] as Record<string, unknown>;
    const metadata = { ...meta, ...(managedFields === undefined ? {} : { managedFields }) };
    this.live = deepFreeze({ ...object, metadata });
  }
  update(manager: string, object: JsonObject, subresource?: string, time?: string): void {
    const next = decodeObject(this.schema, object, { strict: false }).object;
    const context = this.#context(manager, subresource, time);
    this.#store(next, updateManagedFields(this.live, next, context));
  }
  apply(manager: string, config: JsonObject, force = false, subresource?: string): boolean {
    const context = { ...this.#context(manager, subresource), kind: this.kind, force };
    const applied = applyManaged(this.live, config, context);
    this.#store(
      decodeObject(this.schema, applied.object, { strict: false }).object,
      applied.managedFields,
    );
    return applied.changed;
  }
  get #metadata(): Record<string, unknown> & { managedFields?: ManagedFieldsEntry[] } {
    if (this.live === undefined) throw new Error("nothing is stored yet");
    return this.live["metadata"] as Record<string, unknown>;
  }
  get entries(): ManagedFieldsEntry[] {
    return this.#metadata.managedFields ?? [];
  }
  get object(): JsonObject {
    const { managedFields: _, ...metadata } = this.#metadata;
    return { ...this.live, metadata };
  }
}

interface GoldenStep {
  readonly op: "apply" | "update";
  readonly manager: string;
  readonly force: boolean;
  readonly sub: string;
  readonly object: JsonObject;
  readonly result:
    | { readonly error: string }
    | {
        readonly managed: { M: string; O: string; V: string; S: string; F: unknown }[];
        readonly object: JsonObject;
      };
}

test("sequences of writes and applies leave what upstream leaves", () => {
  const rows = golden<{ apiVersion: string; kind: string; steps: GoldenStep[] }>("managed-fields");
  for (const [index, row] of rows.entries()) {
    const world = new World(row.apiVersion, row.kind);
    for (const [at, step] of row.steps.entries()) {
      const where = `row ${index} step ${at}`;
      const run = (): unknown =>
        step.op === "apply"
          ? world.apply(step.manager, step.object, step.force, step.sub)
          : world.update(step.manager, step.object, step.sub);
      if ("error" in step.result) {
        expect(run, where).toThrow(step.result.error);
        continue;
      }
      run();
      const entries = world.entries.map((entry) => ({
        M: entry.manager,
        O: entry.operation,
        V: entry.apiVersion,
        S: entry.subresource ?? "",
        F: entry.fieldsV1,
      }));
      expect(new Set(entries.map((one) => JSON.stringify(sorted(one)))), where).toEqual(
        new Set(step.result.managed.map((one) => JSON.stringify(sorted(one)))),
      );
      const { uid: _, ...metadata } = step.result.object["metadata"] as Record<string, unknown>;
      expect(world.object, where).toEqual({ ...step.result.object, metadata });
    }
  }
});
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, member]) => [key, sorted(member)]));
}

const config = (spec: JsonObject, more: JsonObject = {}): JsonObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", ...more },
  spec,
});

test("a conflict is worded as kubectl shows it", () => {
  const world = new World("apps/v1", "Deployment");
  world.update("kubectl-client-side-apply", config({ replicas: 1, paused: true }));
  const apply = (): unknown => world.apply("me", config({ replicas: 2 }));
  expect(apply).toThrow(StatusError);
  expect(apply).toThrow(
    'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas',
  );
  expect(() => world.apply("me", config({ replicas: 2, paused: false }))).toThrow(
    'Apply failed with 2 conflicts: conflicts with "kubectl-client-side-apply" using apps/v1:\n- .spec.paused\n- .spec.replicas',
  );
  try {
    apply();
  } catch (error) {
    expect(error).toMatchObject({ code: 409, reason: "Conflict" });
    expect((error as StatusError).status.details?.causes).toEqual([
      {
        reason: "FieldManagerConflict",
        message: 'conflict with "kubectl-client-side-apply" using apps/v1',
        field: ".spec.replicas",
      },
    ]);
  }
});

test("force takes fields over; what is applied no more goes; shared fields stay", () => {
  const world = new World("apps/v1", "Deployment");
  world.apply("a", config({ replicas: 1, paused: true, minReadySeconds: 5 }));
  world.apply("b", config({ replicas: 2, minReadySeconds: 5 }), true);
  expect(world.entries.map((entry) => [entry.manager, entry.fieldsV1])).toEqual([
    ["a", { "f:spec": { "f:paused": {}, "f:minReadySeconds": {} } }],
    ["b", { "f:spec": { "f:replicas": {}, "f:minReadySeconds": {} } }],
  ]);
  world.apply("a", config({}));
  expect(world.object["spec"]).toMatchObject({ replicas: 2, minReadySeconds: 5 });
  expect(world.object["spec"]).not.toHaveProperty("paused");
  expect(world.entries.map((entry) => entry.manager)).toEqual(["a", "b"]);
});

test("applying the same again changes nothing", () => {
  const world = new World("apps/v1", "Deployment");
  const one = config({
    replicas: 1,
    template: { spec: { containers: [{ name: "a", image: "x" }] } },
  });
  expect(world.apply("a", one)).toBe(true);
  const before = JSON.stringify(world.live);
  expect(world.apply("a", one)).toBe(false);
  expect(JSON.stringify(world.live)).toBe(before);
});

test("containers are merged by name, and one's own go when they are applied no more", () => {
  const world = new World("apps/v1", "Deployment");
  const spec = (...names: string[]): JsonObject => ({
    template: { spec: { containers: names.map((name) => ({ name, image: name })) } },
  });
  world.apply("a", config(spec("one", "two")));
  world.apply("b", config(spec("sidecar")));
  world.apply("a", config(spec("two", "three")));
  const { containers } = (
    world.object as { spec: { template: { spec: { containers: { name: string }[] } } } }
  ).spec.template.spec;
  expect(containers.map((one) => one.name).toSorted()).toEqual(["sidecar", "three", "two"]);
});

test("kubectl moves from client-side to server-side apply without conflicts", () => {
  const world = new World("apps/v1", "Deployment");
  const last = config({ replicas: 1 });
  const annotations = { [lastAppliedAnnotation]: JSON.stringify(last) };
  world.update("kubectl-client-side-apply", config({ replicas: 1 }, { annotations }));
  world.apply("kubectl", config({ replicas: 3 }));
  expect(world.object).toMatchObject({ spec: { replicas: 3 } });
  const meta = world.object["metadata"] as { annotations: Record<string, string> };
  expect(JSON.parse(meta.annotations[lastAppliedAnnotation] ?? "")).toEqual(
    config({ replicas: 3 }),
  );
  world.update("someone", { ...world.live, spec: { replicas: 9 } });
  expect(() => world.apply("kubectl", config({ replicas: 4 }))).toThrow('conflict with "someone"');
});

test("what was there before anyone applied is remembered as such", () => {
  const world = new World("apps/v1", "Deployment");
  world.live = deepFreeze(
    decodeObject(deployment, config({ replicas: 1 }), { strict: false }).object,
  );
  world.apply("a", config({ minReadySeconds: 1 }));
  expect(world.entries.map((entry) => entry.manager)).toEqual(["a", "before-first-apply"]);
});

test("a configuration that cannot be applied is refused", () => {
  const world = new World("apps/v1", "Deployment");
  expect(() => world.apply("a", { ...config({}), apiVersion: "v1" })).toThrow(
    "invalid object type: /v1, Kind=Deployment",
  );
  expect(() => world.apply("a", config({}, { managedFields: [] }))).toThrow(
    "metadata.managedFields must be nil",
  );
  expect(() => world.apply("a", config({ foo: 1 }))).toThrow(
    "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema",
  );
  const containers = [{ name: "a" }, { name: "a" }];
  expect(() => world.apply("a", config({ template: { spec: { containers } } }))).toThrow(
    '.spec.template.spec.containers: duplicate entries for key [name="a"]',
  );
});

test("reset fields are neither owned nor in conflict", () => {
  const resetFields = (): FieldSet => setOfPaths([["f:status"]]);
  const object = { ...config({ replicas: 1 }), status: { replicas: 5 } };
  const next = decodeObject(deployment, object, { strict: false }).object;
  const context = { apiVersion: "apps/v1", schema: deployment, manager: "a", now, resetFields };
  const [entry] = updateManagedFields(undefined, next, context) ?? [];
  expect(entry?.fieldsV1).toEqual({ "f:spec": { "f:replicas": {} } });
});

test("a write that changes nothing keeps every entry as it was", () => {
  const world = new World("apps/v1", "Deployment");
  world.update("a", config({ replicas: 1 }));
  const { entries } = world;
  world.update("b", world.object, undefined, "2025-01-01T00:00:00Z");
  expect(world.entries).toEqual(entries);
  expect(world.entries[0]).toBe(entries[0]);
});

test("the oldest updates are merged when there are too many", () => {
  const world = new World("apps/v1", "Deployment");
  const labels: Record<string, string> = {};
  for (let i = 0; i < 15; i++) {
    labels[`l${i}`] = "x";
    const time = `2024-01-01T00:00:${String(i).padStart(2, "0")}Z`;
    world.update(`m${i}`, config({}, { labels: { ...labels } }), undefined, time);
  }
  expect(world.entries).toHaveLength(10);
  expect(world.entries.map((entry) => entry.manager)).toContain("ancient-changes");
});

test("managed fields can be reset, and stay so until the next apply", () => {
  expect(asksForReset([])).toBe(true);
  expect(asksForReset([{}])).toBe(true);
  expect(asksForReset(undefined)).toBe(false);
  const world = new World("apps/v1", "Deployment");
  world.update("a", config({ replicas: 1 }));
  world.update("a", config({ replicas: 1 }, { managedFields: [{}] }));
  expect(world.entries).toEqual([]);
  world.update("a", config({ replicas: 2 }));
  expect(world.entries).toEqual([]);
});

const element = fc.constantFrom("f:a", "f:b", 'k:{"name":"x"}', 'v:"y"');
const path = fc.array(element, { minLength: 1, maxLength: 4 });
const set = fc.array(path, { maxLength: 8 }).map(setOfPaths);
const members = (one: FieldSet): string[] =>
  [...pathsOf(one)].map((steps) => steps.join("/")).sort();

test("field sets obey the laws of sets", () => {
  fc.assert(
    fc.property(set, set, (a, b) => {
      const left = new Set(members(a));
      const right = new Set(members(b));
      expect(members(union(a, b))).toEqual([...new Set([...left, ...right])].sort());
      expect(members(intersection(a, b))).toEqual([...left].filter((one) => right.has(one)).sort());
      expect(members(difference(a, b))).toEqual([...left].filter((one) => !right.has(one)).sort());
      expect(equalSets(union(difference(a, b), intersection(a, b)), a)).toBe(true);
      for (const steps of pathsOf(a)) expect(hasPath(a, steps)).toBe(true);
      expect(parseFieldSet(JSON.parse(JSON.stringify(a)))).toEqual(a);
    }),
  );
});

test("sets are written in upstream's order, whatever order they grew in", () => {
  const set: FieldSet = {
    "i:10": {},
    "i:9": {},
    'v:"x"': {},
    'k:{"name":"b"}': { "f:z": {}, "f:a": {}, ".": {} },
    "f:b": {},
    "f:a": {},
  };
  expect(JSON.stringify(ordered(set))).toBe(
    JSON.stringify({
      "f:a": {},
      "f:b": {},
      'k:{"name":"b"}': { ".": {}, "f:a": {}, "f:z": {} },
      'v:"x"': {},
      "i:9": {},
      "i:10": {},
    }),
  );
  const once = ordered(set);
  expect(ordered(once)).toBe(once);
});

test("field sets of others are read into their one spelling", () => {
  expect(parseFieldSet({ 'k:{ "b":1,"a":"x" }': {}, "x:y": {}, "f:a": { ".": {} } })).toEqual({
    'k:{"a":"x","b":1}': {},
    "f:a": { ".": {} },
  });
  for (const bad of [1, { a: {} }, { "f:a": 1 }, { "k:x": {} }, { "i:x": {} }, []]) {
    expect(parseFieldSet(bad), JSON.stringify(bad)).toBeUndefined();
  }
  expect(formatPath(["f:a", 'k:{"name":"x","port":1}', 'v:"y"', "i:3"])).toBe(
    '.a[name="x",port=1][="y"][3]',
  );
});

test("comparing and merging agree", () => {
  const world = new World("apps/v1", "Deployment");
  world.apply("a", config({ replicas: 1, selector: { matchLabels: { a: "b" } } }));
  const before = world.object;
  const change = config({ replicas: 2, template: { spec: { containers: [{ name: "x" }] } } });
  const merged = mergeObjects(deployment, before, change);
  const { added, modified, removed } = compareObjects(deployment, before, merged);
  expect(modified).toEqual({ "f:spec": { "f:replicas": {} } });
  expect(removed).toEqual({});
  const touched = union(added, modified);
  const applied = fieldSetOf(deployment, change);
  for (const steps of pathsOf(difference(applied, touched))) {
    expect(["f:apiVersion", "f:kind", "f:metadata/f:name"]).toContain(steps.join("/"));
  }
  expect(equalObjects(mergeObjects(deployment, merged, change), merged)).toBe(true);
});

test("a list that has become atomic is owned as a whole", () => {
  const atomic: ListSchema = {
    type: "list",
    items: { type: "string" },
    listType: "atomic",
    keys: [],
  };
  const schema: ObjectSchema = {
    type: "object",
    name: "X",
    mapType: "granular",
    fields: new Map([
      [
        "items",
        { name: "items", schema: atomic, omit: "empty", pointer: false, required: false, proto: 0 },
      ],
    ]),
  };
  const old = { "f:items": { 'v:"a"': {} } };
  expect(reconcileSet(schema, old)).toEqual({ "f:items": {} });
  expect(reconcileSet(schema, { "f:items": {} })).toEqual({ "f:items": {} });
});

test("scale sees and changes one field of its parent", () => {
  const parent: ManagedFieldsEntry[] = [
    {
      manager: "a",
      operation: "Apply",
      apiVersion: "apps/v1",
      fieldsType: "FieldsV1",
      fieldsV1: { "f:spec": { "f:replicas": {}, "f:paused": {} } },
    },
  ];
  const paths = (): string => "spec.replicas";
  const scale = toScale(parent, paths);
  expect(scale).toEqual([
    { ...parent[0], apiVersion: "autoscaling/v1", fieldsV1: { "f:spec": { "f:replicas": {} } } },
  ]);
  expect(fromScale(parent, scale, "apps/v1", paths)).toEqual(parent);
  const taken: ManagedFieldsEntry[] = [
    { ...scale?.[0], manager: "b", operation: "Update", subresource: "scale" },
  ];
  expect(fromScale(parent, taken, "apps/v1", paths)).toEqual([
    { ...parent[0], fieldsV1: { "f:spec": { "f:paused": {} } } },
    { ...taken[0], apiVersion: "apps/v1", fieldsV1: { "f:spec": { "f:replicas": {} } } },
  ]);
  expect(fieldPath("spec.replicas")).toEqual(["f:spec", "f:replicas"]);
});
