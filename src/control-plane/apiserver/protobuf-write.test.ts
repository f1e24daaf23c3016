import fc from "fast-check";
import { expect, test } from "vitest";
import { kindSchema, resourceFacts } from "#api/facts.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import { decodeObject } from "#machinery/decode.ts";
import type { JsonObject } from "#machinery/object.ts";
import type { Field, ObjectSchema, ScalarSchema, Schema } from "#machinery/schema.ts";
import { formatMicroTime, formatTime } from "#machinery/time.ts";
import { readProtobuf } from "./protobuf.ts";
import { protobufFrame, writeProtobuf } from "./protobuf-write.ts";

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
/** A value of the schema, as JSON. */
function valueOf(schema: Schema, depth: number): fc.Arbitrary<unknown> {
  switch (schema.type) {
    case "object":
      return objectOf(schema, depth);
    case "list":
      return fc.array(valueOf(schema.items, depth + 1), { maxLength: depth > depthMax ? 0 : 2 });
    case "map":
      return fc.dictionary(
        fc.string({ minLength: 1, maxLength: 5 }),
        valueOf(schema.values, depth + 1),
        {
          maxKeys: depth > depthMax ? 0 : 2,
        },
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
      : fc.constant(null).chain(() => valueOf(field.schema, depth + 1)),
    { nil: undefined, freq: depth < 3 ? 3 : 1 },
  );
function objectOf(schema: ObjectSchema, depth: number): fc.Arbitrary<JsonObject> {
  const fields = [...schema.fields.values()].filter(
    ({ name }) => name !== "kind" && name !== "apiVersion",
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
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
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
  (typeof value === "object" && value !== null && Object.keys(value).length === 0);

const kinds = resourceFacts.filter(({ servedByDefault }) => servedByDefault);

test.each(
  kinds.map(({ group, version, kind }) => [`${group}/${version} ${kind}`, group, version, kind]),
)("%s: JSON → protobuf → JSON", (_, group, version, kind) => {
  const schema = kindSchema(group, version, kind);
  if (schema === undefined) throw new Error("no schema");
  fc.assert(
    fc.property(objectOf(schema, 0), (value) => {
      const apiVersion = group === "" ? version : `${group}/${version}`;
      const given = { ...value, kind, apiVersion };
      const before = decodeObject(schema, given, { strict: false }).object;
      const read = readProtobuf(writeProtobuf(before, schema), schema);
      const after = decodeObject(schema, read, { strict: false }).object;
      expect(plain(after)).toEqual(plain(before));
    }),
    { numRuns: 12 },
  );
});

test("a frame of a watch is its length and an event", () => {
  expect([...protobufFrame("ADDED", new Uint8Array([7]))]).toEqual([
    0, 0, 0, 12, 0x0a, 5, 65, 68, 68, 69, 68, 0x12, 3, 0x0a, 1, 7,
  ]);
});
