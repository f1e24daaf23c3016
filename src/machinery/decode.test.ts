import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { kindSchema } from "#api/facts.ts";
import {
  applySchemaDefaults,
  cannotBeHandledMessage,
  cloneJson,
  DecodeError,
  decodeJson,
  decodeObject,
  deepFreeze,
  equalObjects,
  JsonSyntaxError,
  parseJson,
  strictDecodingMessage,
} from "./decode.ts";
import type { ObjectSchema } from "./schema.ts";

/** Answers that upstream's libraries gave (see testdata/README.md). */
const golden = <Row>(name: string): Row[] =>
  JSON.parse(readFileSync(new URL(`./testdata/${name}.json`, import.meta.url), "utf8")) as Row[];

function schemaOf(group: string, version: string, kind: string): ObjectSchema {
  const schema = kindSchema(group, version, kind);
  if (schema === undefined) throw new Error(`no schema of ${kind}`);
  return schema;
}
const podSchema = schemaOf("", "v1", "Pod");
const decodePod = (text: string): ReturnType<typeof decodeJson> =>
  decodeJson(podSchema, text, { strict: true });

interface DecodedRow {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly text: string;
  readonly result?: string;
  readonly strict?: string[];
  readonly error?: string;
}

test("objects come out byte for byte as Go prints them, with its errors", () => {
  for (const row of golden<DecodedRow>("decoded")) {
    const schema = schemaOf(row.group, row.version, row.kind);
    if (row.error !== undefined) {
      expect(() => decodeJson(schema, row.text, { strict: true })).toThrow(row.error);
      continue;
    }
    const decoded = decodeJson(schema, row.text, { strict: true });
    expect(JSON.stringify(decoded.object)).toBe(row.result);
    expect(decoded.strictErrors).toEqual(row.strict);
  }
});

test("decoding what was decoded changes nothing", () => {
  for (const row of golden<DecodedRow>("decoded")) {
    if (row.result === undefined) continue;
    const schema = schemaOf(row.group, row.version, row.kind);
    const again = decodeObject(schema, JSON.parse(row.result), { strict: true });
    expect(JSON.stringify(again.object)).toBe(row.result);
    expect(again.strictErrors).toEqual([]);
  }
});

test("a wrong type is said as kubectl shows it", () => {
  const deployment = schemaOf("apps", "v1", "Deployment");
  const decode = (): unknown =>
    decodeJson(deployment, '{"spec":{"replicas":"3"}}', { strict: false });
  expect(decode).toThrow(DecodeError);
  expect(decode).toThrow(
    "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
  );
  expect(cannotBeHandledMessage("Deployment", "v1", "Deployment", "why")).toBe(
    'Deployment in version "v1" cannot be handled as a Deployment: why',
  );
});

test("unknown and repeated fields are named where upstream looks for them", () => {
  const text =
    '{"kind":"Pod","metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}},"foo":{"a":1,"a":2},"spec":{"containers":[{"name":"c","imagee":"x","name":"c"}]}}';
  expect(decodePod(text).strictErrors).toEqual([
    'unknown field "foo"',
    'unknown field "spec.containers[0].imagee"',
    'duplicate field "metadata.name"',
    'duplicate field "metadata.labels.x"',
    'duplicate field "spec.containers[0].name"',
  ]);
  expect(decodeJson(podSchema, text, { strict: false }).strictErrors).toEqual([]);
  expect(strictDecodingMessage(['unknown field "foo"', 'unknown field "bar"'])).toBe(
    'strict decoding error: unknown field "foo", unknown field "bar"',
  );
});

test("keys that JavaScript treats specially are just keys", () => {
  const text =
    '{"metadata":{"labels":{"__proto__":"x","constructor":"y","toString":"z"}},"__proto__":{"polluted":true}}';
  const { object, unknownFields } = decodePod(text);
  const metadata = object["metadata"] as { labels: Record<string, string> };
  expect(Object.keys(metadata.labels)).toEqual(["__proto__", "constructor", "toString"]);
  expect(Object.getPrototypeOf(metadata.labels)).toBe(Object.prototype);
  expect(unknownFields).toEqual(["__proto__"]);
  expect("polluted" in {}).toBe(false);
  expect(JSON.stringify(cloneJson(object))).toBe(JSON.stringify(object));
});

test("an object in process is copied, not kept, and undefined is absent", () => {
  const input = { metadata: { name: "a", labels: { x: "1" }, uid: undefined }, spec: undefined };
  deepFreeze(input);
  const { object } = decodeObject(podSchema, input, { strict: true });
  expect(object).toEqual({
    metadata: { name: "a", labels: { x: "1" } },
    spec: { containers: null },
    status: {},
  });
  expect((object["metadata"] as { labels: object }).labels).not.toBe(input.metadata.labels);
});

test("integers that a number cannot hold are refused", () => {
  expect(() => decodePod('{"metadata":{"generation":9223372036854775807}}')).toThrow(
    "into Go struct field ObjectMeta.metadata.generation of type int64",
  );
  expect(decodePod('{"metadata":{"generation":9007199254740991}}').object["metadata"]).toEqual({
    generation: 9007199254740991,
  });
});

test("nesting is bounded", () => {
  const deep = `${"[".repeat(5000)}${"]".repeat(5000)}`;
  const crd = schemaOf("apps", "v1", "ControllerRevision");
  expect(() => decodeJson(crd, `{"data":${deep}}`, { strict: true })).toThrow("exceeded max depth");
  expect(() => decodeJson(crd, `{"data":${deep}}`, { strict: false })).toThrow(
    "exceeded max depth",
  );
});

test("syntax errors read as Go's", () => {
  const problems: Record<string, string> = {
    "": "unexpected end of JSON input",
    "{": "unexpected end of JSON input",
    "{a:1}": "invalid character 'a' looking for beginning of object key string",
    '{"a" 1}': "invalid character '1' after object key",
    '{"a":1 "b"}': "invalid character '\"' after object key:value pair",
    "[1 2]": "invalid character '2' after array element",
    nul: "unexpected end of JSON input",
    nuxl: "invalid character 'x' in literal null (expecting 'l')",
    "1.x": "invalid character 'x' after decimal point in numeric literal",
    '{"a":1}x': "invalid character 'x' after top-level value",
    '"\\q"': "invalid character 'q' in string escape code",
    "<html>": "invalid character '<' looking for beginning of value",
    é: "invalid character 'Ã' looking for beginning of value",
  };
  for (const [text, message] of Object.entries(problems)) {
    expect(() => parseJson(text), text).toThrow(JsonSyntaxError);
    expect(() => parseJson(text), text).toThrow(message);
  }
});

test("what JSON.parse reads, the parser that looks for repeated keys reads too", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const duplicates: string[] = [];
      expect(parseJson(`{"a":${text},"a":${text}}`, duplicates)).toEqual({ a: JSON.parse(text) });
      expect(duplicates).toContain("a");
      expect(parseJson(text, [])).toEqual(JSON.parse(text));
    }),
  );
});

test("markers' defaults are set in what is there, and only there", () => {
  const service = schemaOf("", "v1", "Service");
  const { object } = decodeObject(service, { spec: { ports: [{ port: 80 }] } }, { strict: false });
  applySchemaDefaults(service, object);
  expect(object["spec"]).toEqual({ ports: [{ port: 80, protocol: "TCP", targetPort: 0 }] });
  const { object: empty } = decodeObject(service, {}, { strict: false });
  const before = JSON.stringify(empty);
  applySchemaDefaults(service, empty);
  expect(JSON.stringify(empty)).toBe(before);
});

test("equality ignores the order of keys and nothing else", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(equalObjects(value, cloneJson(value))).toBe(true);
      expect(equalObjects({ a: value, b: 1 }, { b: 1, a: value })).toBe(true);
      expect(equalObjects({ a: value }, { a: value, b: null })).toBe(false);
    }),
  );
  expect(equalObjects({ a: undefined }, {})).toBe(true);
  expect(equalObjects([1], { 0: 1 })).toBe(false);
  expect(equalObjects({ constructor: 1 }, {})).toBe(false);
});

test("frozen is frozen throughout", () => {
  const value = deepFreeze({ a: [{ b: 1 }] });
  expect(Object.isFrozen(value.a[0])).toBe(true);
  expect(Object.isFrozen(cloneJson(value).a[0])).toBe(false);
});
