import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeObject } from "#machinery/decode.ts";
import { formatFieldError } from "#machinery/field-error.ts";
import { cloneJson, type JsonObject } from "#machinery/object.ts";
import { customSchema } from "./custom-schema.ts";
import { isKnownFormat, stringFormat } from "./formats.ts";
import { dropVoidNulls, type Props, prune, setDefaults } from "./pruning.ts";
import { validateEmbedded, validateListTypes } from "./validate-lists.ts";
import { validateValue } from "./validate-value.ts";

const told = (props: Props, value: unknown, before?: { value: unknown }): string[] =>
  validateValue(props, value, "spec", before).map(formatFieldError);

test("types and bounds, as upstream words them", () => {
  expect(told({ type: "integer" }, "x")).toEqual([
    'spec: Invalid value: "string": spec in body must be of type integer: "string"',
  ]);
  expect(told({ type: "object" }, null)).toEqual([
    'spec: Invalid value: "null": spec in body must be of type object: "null"',
  ]);
  expect(told({ type: "object", nullable: true }, null)).toEqual([]);
  expect(told({ "x-kubernetes-int-or-string": true }, true)).toEqual([
    'spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean"',
  ]);
  expect(told({ type: "number", minimum: 1, exclusiveMinimum: true, multipleOf: 0.5 }, 1)).toEqual([
    "spec: Invalid value: 1: spec in body should be greater than 1",
  ]);
  expect(told({ type: "integer", format: "int32" }, 2 ** 31)).toEqual([
    '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec',
  ]);
  expect(told({ type: "string", minLength: 3 }, "ab")).toEqual([
    'spec: Invalid value: "ab": spec in body should be at least 3 chars long',
  ]);
  expect(told({ type: "string", maxLength: 1 }, "ab")).toEqual([
    "spec: Too long: may not be more than 1 bytes",
  ]);
  expect(told({ type: "array", maxItems: 1, items: { type: "string" } }, ["a", 2])).toEqual([
    'spec[1]: Invalid value: "integer": spec[1] in body must be of type string: "integer"',
    "spec: Too many: 2: must have at most 1 item",
  ]);
  expect(told({ type: "string", format: "ipv4" }, "1.2.3")).toEqual([
    'spec: Invalid value: "1.2.3": spec in body must be of type ipv4: "1.2.3"',
  ]);
  const oneOf = [{ required: ["a"] }, { required: ["b"] }];
  expect(told({ type: "object", oneOf }, { a: 1, b: 2 })).toEqual([
    '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives',
  ]);
  expect(told({ type: "object", oneOf }, {})).toEqual([
    '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid',
    "spec.a: Required value",
  ]);
  expect(told({ type: "string", not: { enum: ["a"] } }, "a")).toEqual([
    '<nil>: Invalid value: "": "spec" must not validate the schema (not)',
  ]);
});

test("what has not changed is not held against anyone", () => {
  const props: Props = {
    type: "object",
    properties: { a: { type: "string", enum: ["x"] }, b: { type: "integer", maximum: 1 } },
  };
  const before = { value: { a: "old", b: 1 } };
  expect(told(props, { a: "old", b: 0 }, before)).toEqual([]);
  expect(told(props, { a: "new", b: 0 }, before)).toEqual([
    'spec.a: Unsupported value: "new": supported values: "x"',
  ]);
});

test("sets, maps and resources inside the resource", () => {
  const props: Props = {
    type: "object",
    properties: {
      set: { type: "array", "x-kubernetes-list-type": "set", items: { type: "string" } },
      template: {
        type: "object",
        "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true,
      },
    },
  };
  expect(validateListTypes({ set: ["a", "b", "a", "a"] }, props).map(formatFieldError)).toEqual([
    'set[2]: Duplicate value: "a"',
  ]);
  const template = { kind: "Pod", metadata: { name: "a/b", odd: 1 } };
  expect(validateEmbedded({ template }, props).map(formatFieldError)).toEqual([
    "template.apiVersion: Required value",
    "template.metadata.name: Invalid value: \"a/b\": may not contain '/'",
  ]);
  const unknown: string[] = [];
  expect(prune({ template, odd: 1 }, props, "", unknown)).toEqual({
    template: { kind: "Pod", metadata: { name: "a/b" } },
  });
  expect(unknown).toEqual(["odd", "template.metadata.odd"]);
});

test("defaults stand in for what is absent or null; other nulls go", () => {
  const props: Props = {
    type: "object",
    properties: {
      a: { type: "object", default: {}, properties: { b: { type: "integer", default: 1 } } },
      c: { type: "string" },
      d: { type: "string", nullable: true },
    },
  };
  const value: JsonObject = { a: null, c: null, d: null };
  dropVoidNulls(value, props);
  setDefaults(value, props);
  expect(value).toEqual({ a: { b: 1 }, d: null });
});

test("formats", () => {
  expect(stringFormat("date-time")?.("2026-02-29T10:00:00Z")).toBe(false);
  expect(stringFormat("date-time")?.("2028-02-29T10:00:00.5Z")).toBe(true);
  expect(stringFormat("uuid")?.("123e4567-e89b-12d3-a456-426614174000")).toBe(true);
  expect(stringFormat("email")?.("Ann <ann@example.com>")).toBe(true);
  expect(stringFormat("uri")?.("example")).toBe(false);
  expect(stringFormat("cidr")?.("10.0.0.0/8")).toBe(true);
  expect(stringFormat("duration")?.("1h30m")).toBe(true);
  expect(stringFormat("hostname")?.("a_b")).toBe(false);
  expect(stringFormat("isbn")?.("978-0321751041")).toBe(true);
  expect(isKnownFormat("integer", "int32")).toBe(true);
  expect(isKnownFormat("string", "odd")).toBe(false);
});

test("reading is idempotent, and what a schema says nothing about goes", () => {
  const leaf: fc.Arbitrary<Props> = fc.constantFrom<Props>(
    { type: "string" },
    { type: "integer" },
    { "x-kubernetes-int-or-string": true },
    { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    { type: "object", additionalProperties: { type: "string" } },
  );
  const { props } = fc.letrec<{ props: Props }>((tie) => ({
    props: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.dictionary(fc.constantFrom("a", "b", "c"), tie("props")).map((properties): Props => {
        return { type: "object", properties };
      }),
      tie("props").map((items): Props => ({ type: "array", items })),
    ),
  }));
  fc.assert(
    fc.property(props, fc.jsonValue({ maxDepth: 4 }), (own, spec) => {
      const schema = customSchema("example.com", "v1", "Foo", {
        type: "object",
        properties: { spec: own },
      });
      const input = { metadata: { name: "a" }, spec, odd: 1 };
      const given = cloneJson(input);
      const { object, strictErrors } = decodeObject(schema, input, { strict: true });
      expect(input).toEqual(given);
      expect(strictErrors).toContain('unknown field "odd"');
      const again = decodeObject(schema, object, { strict: true });
      expect(again.object).toEqual(object);
      expect(again.strictErrors).toEqual([]);
      expect(() => validateValue(own, object.spec, "spec")).not.toThrow();
    }),
  );
});
