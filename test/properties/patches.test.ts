/** A patch from one state to another leads there, by each of the three types, and then nothing is left to do. Apply again changes nothing. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { twoWayMergePatch, twoWayStrategicPatch } from "#kubectl/three-way.ts";
import { applyManaged } from "#machinery/apply/server-side-apply.ts";
import { decodeObject, equalObjects } from "#machinery/decode.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { jsonPatch, mergePatch, strategicMergePatch } from "#machinery/patch.ts";
import type { ObjectSchema } from "#machinery/schema.ts";
import { everyKind, runs } from "./objects.ts";

const decoded = (schema: ObjectSchema, value: unknown): JsonObject =>
  decodeObject(schema, value, { strict: false }).object;

interface Operation {
  readonly op: "add" | "remove" | "replace";
  readonly path: string;
  readonly value?: unknown;
}
const pointer = (key: string): string => key.replaceAll("~", "~0").replaceAll("/", "~1");

/** The JSON patch from one value to the other, member by member. */
function operations(before: unknown, after: unknown, path = ""): Operation[] {
  if (equalObjects(before, after)) return [];
  if (!isObject(before) || !isObject(after)) return [{ op: "replace", path, value: after }];
  const gone = Object.keys(before).filter((key) => !Object.hasOwn(after, key));
  return [
    ...gone.map((key) => ({ op: "remove" as const, path: `${path}/${pointer(key)}` })),
    ...Object.keys(after).flatMap((key): Operation[] => {
      const at = `${path}/${pointer(key)}`;
      return Object.hasOwn(before, key)
        ? operations(before[key], after[key], at)
        : [{ op: "add", path: at, value: after[key] }];
    }),
  ];
}

test.each(everyKind)("%s: a patch leads there, and is empty then", (_, { schema, object }) => {
  fc.assert(
    fc.property(object, object, (one, other) => {
      const [before, after] = [decoded(schema, one), decoded(schema, other)];
      const byJson = decoded(schema, jsonPatch(before, operations(before, after)));
      expect(operations(byJson, after)).toEqual([]);
      const byMerge = decoded(schema, mergePatch(before, twoWayMergePatch(before, after)));
      expect(twoWayMergePatch(byMerge, after)).toEqual({});
      const strategic = twoWayStrategicPatch(schema, before, after);
      const byStrategy = decoded(schema, strategicMergePatch(schema, before, strategic));
      expect(byStrategy).toEqual(after);
      expect(twoWayStrategicPatch(schema, byStrategy, after)).toEqual({});
    }),
    runs(5),
  );
});

test.each(everyKind)("%s: apply is idempotent", (_, { schema, object, apiVersion, kind }) => {
  const context = { apiVersion, kind, schema, force: true, now: "2024-01-01T00:00:00Z" };
  const kept = (applied: ReturnType<typeof applyManaged>): JsonObject => {
    const live = decoded(schema, applied.object);
    const { managedFields } = applied;
    const metadata = {
      ...(live["metadata"] as JsonObject),
      ...(managedFields && { managedFields }),
    };
    return { ...live, metadata };
  };
  fc.assert(
    fc.property(object, object, (one, other) => {
      const config = (given: JsonObject): JsonObject => {
        const { managedFields: _, ...metadata } = (given["metadata"] ?? {}) as JsonObject;
        return { ...given, metadata: { ...metadata, name: "a" } };
      };
      const [mine, theirs] = [config(one), config(other)];
      const first = kept(applyManaged(undefined, mine, { ...context, manager: "me" }));
      const again = applyManaged(first, mine, { ...context, manager: "me" });
      expect(kept(again)).toEqual(first);
      // With a second manager there, too.
      const second = kept(applyManaged(first, theirs, { ...context, manager: "they" }));
      const repeated = applyManaged(second, theirs, { ...context, manager: "they" });
      expect(kept(repeated)).toEqual(second);
    }),
    runs(4),
  );
});
