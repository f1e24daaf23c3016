/** Random objects of any kind, made from its schema: every field of every type may be there, lists that merge by keys have each key once. */
import fc from "fast-check";
import { kindSchema, resourceFacts } from "#api/facts.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import type { Field, ListSchema, ObjectSchema, ScalarSchema, Schema } from "#machinery/schema.ts";
import { formatMicroTime, formatTime } from "#machinery/time.ts";

const depthMax = 7;
/** Upstream: the first second of the epoch is no time at all in protobuf. */
const seconds = fc.integer({ min: 1, max: 4_000_000_000 }).map((at) => at * 1000);

const scalars: Partial<Record<ScalarSchema["type"], fc.Arbitrary<unknown>>> = {
  string: fc.string({ unit: "grapheme" }),
  boolean: fc.boolean(),
  int32: fc.integer(),
  int64: fc.maxSafeInteger(),
  float64: fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => (one === 0 ? 0 : one)),
  bytes: fc.uint8Array({ maxLength: 20 }).map(encodeBase64),
  time: seconds.map(formatTime),
  microTime: seconds.map(formatMicroTime),
  duration: fc.constantFrom("0s", "1m30s", "-5s", "1.5s"),
  quantity: fc.constantFrom("0", "100m", "1Gi", "1500M"),
  intOrString: fc.oneof(fc.integer(), fc.string()),
};

const textOf = (value: unknown): string => JSON.stringify(value) ?? "";

/** What every item must say, because lists merge by it: the key of strategic patches first. */
function keysOf(list: ListSchema, mergeKey: string | undefined): readonly string[] {
  const keys = list.listType === "map" ? list.keys : [];
  return mergeKey === undefined ? keys : [mergeKey, ...keys.filter((key) => key !== mergeKey)];
}

function listOf(list: ListSchema, depth: number, field: Field | undefined): fc.Arbitrary<unknown> {
  const maxLength = depth > depthMax ? 0 : 2;
  const keys = keysOf(list, field?.patchMergeKey);
  const { items } = list;
  if (keys.length === 0 || items.type !== "object") {
    const isSet = list.listType === "set" || (field?.patchStrategy?.includes("merge") ?? false);
    const item = valueOf(items, depth + 1);
    return isSet
      ? fc.uniqueArray(item, { maxLength, selector: textOf })
      : fc.array(item, { maxLength });
  }
  const key = fc.tuple(
    ...keys.map((name) => {
      const schema = items.fields.get(name)?.schema ?? { type: "string" };
      return schema.type === "string"
        ? fc.string({ minLength: 1, maxLength: 8 })
        : schema.type === "int32"
          ? fc.integer({ min: 1 })
          : valueOf(schema, depth + 1);
    }),
  );
  return fc
    .uniqueArray(fc.tuple(key, objectOf(items, depth + 1)), {
      maxLength,
      selector: ([named]) => textOf(field?.patchMergeKey === undefined ? named : named[0]),
    })
    .map((pairs) =>
      pairs.map(([named, item]) => ({
        ...item,
        ...Object.fromEntries(keys.map((name, at) => [name, named[at]])),
      })),
    );
}

/** A value of the schema, as JSON. */
export function valueOf(schema: Schema, depth: number, field?: Field): fc.Arbitrary<unknown> {
  switch (schema.type) {
    case "object":
      return objectOf(schema, depth);
    case "list":
      return listOf(schema, depth, field);
    case "map":
      return fc.dictionary(
        fc.string({ minLength: 1, maxLength: 5 }),
        valueOf(schema.values, depth + 1),
        { maxKeys: depth > depthMax ? 0 : 2 },
      );
    default: {
      const { alternatives } = schema;
      if (alternatives === undefined)
        return scalars[schema.type] ?? fc.record({ f: fc.record({ a: fc.integer() }) });
      const usable = alternatives.filter(
        (one) => one.schema.type === "boolean" || depth < depthMax,
      );
      return usable.length === 0
        ? fc.constant([])
        : fc.oneof(...usable.map((one) => valueOf(one.schema, depth + 1)));
    }
  }
}

const fieldOf = (field: Field, depth: number): fc.Arbitrary<unknown> =>
  fc.option(
    depth > depthMax && field.schema.type === "object"
      ? fc.constant(undefined)
      : fc.constant(null).chain(() => valueOf(field.schema, depth + 1, field)),
    { nil: undefined, freq: depth < 3 ? 3 : 1 },
  );

export function objectOf(schema: ObjectSchema, depth: number): fc.Arbitrary<JsonObject> {
  const fields = [...schema.fields.values()].filter(
    ({ name }) => depth > 0 || (name !== "kind" && name !== "apiVersion"),
  );
  return fc
    .tuple(...fields.map((field) => fieldOf(field, depth)))
    .map((values) =>
      Object.fromEntries(
        fields.flatMap(({ name }, at) => (values[at] === undefined ? [] : [[name, values[at]]])),
      ),
    );
}

/** Absent and empty are one in protobuf: nil lists, maps and structs that hold nothing are taken out. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!isObject(value)) return value;
  const entries = Object.entries(value)
    .map(([key, member]) => [key, plain(member)] as const)
    .filter(([, member]) => !isBlank(member));
  return Object.fromEntries(entries);
}
const isBlank = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === "" ||
  value === 0 ||
  value === false ||
  value === "0" ||
  value === "0s" ||
  (Array.isArray(value) && value.length === 0) ||
  (isObject(value) && Object.keys(value).length === 0);

export interface AnyKind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly schema: ObjectSchema;
  /** An object as somebody may send it. */
  readonly object: fc.Arbitrary<JsonObject>;
}

/** Every kind that is served by default, in every version; what stands before each test's name. */
export const everyKind: readonly (readonly [string, AnyKind])[] = resourceFacts
  .filter(({ servedByDefault }) => servedByDefault)
  .map(({ group, version, kind }) => {
    const schema = kindSchema(group, version, kind);
    if (schema === undefined) throw new Error(`${kind} has no schema`);
    const apiVersion = group === "" ? version : `${group}/${version}`;
    const object = objectOf(schema, 0).map((value) => ({ ...value, kind, apiVersion }));
    return [`${apiVersion} ${kind}`, { apiVersion, kind, schema, object }] as const;
  });

/** A failure prints its seed; SEED asks for the same run again. */
const given = process.env["SEED"];
export const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
export const runs = (numRuns: number) => ({ numRuns, seed, endOnFailure: given === undefined });
