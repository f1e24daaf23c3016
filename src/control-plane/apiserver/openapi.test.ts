import fc from "fast-check";
import { expect, test } from "vitest";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { builtInResources } from "#api/index.ts";
import type { ApiResponse } from "#api/request.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import { isObject } from "#machinery/object.ts";
import { readYaml } from "#machinery/yaml.ts";
import type { Bytes } from "#ports/stream.ts";
import { Discovery } from "./discovery.ts";
import { OpenApi } from "./openapi.ts";
import { openApiProtobuf } from "./openapi-protobuf.ts";
import { blockYaml } from "./openapi-yaml.ts";
import { requestInfoOf } from "./request-info.ts";
import { offeredFacts } from "./routes.ts";

// A reader of gnostic's messages, written from the .proto alone.

type Wire = number | Bytes;
type Read = (value: Wire) => unknown;
const utf8 = new TextDecoder();

function* wireFields(bytes: Bytes): Generator<[field: number, value: Wire]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  const take = (length: number): Bytes => bytes.subarray(at, (at += length));
  while (at < bytes.length) {
    const tag = varint();
    const wireType = tag % 8;
    if (wireType === 1) {
      const raw = take(8).slice();
      yield [(tag - 1) / 8, new DataView(raw.buffer).getFloat64(0, true)];
    } else if (wireType === 2) yield [(tag - 2) / 8, take(varint())];
    else yield [tag / 8, varint()];
  }
}
const bytesOf = (value: Wire): Bytes => {
  if (typeof value === "number") throw new Error("a message was expected");
  return value;
};
const text: Read = (value) => utf8.decode(bytesOf(value));
const number: Read = (value) => value;
const boolean: Read = (value) => value === 1;
const any: Read = (value) => {
  const [first] = wireFields(bytesOf(value));
  expect(first?.[0]).toBe(2);
  return readYaml(String(text(first?.[1] ?? 0)));
};
/** A message with one field that counts. */
const only =
  (field: number, read: Read): Read =>
  (value) => {
    const fields = [...wireFields(bytesOf(value))];
    expect(fields.map(([found]) => found)).toEqual([field]);
    return read(fields[0]?.[1] ?? 0);
  };
const oneOf =
  (choices: Record<number, Read>): Read =>
  (value) => {
    const [[field, inner] = [0, 0]] = wireFields(bytesOf(value));
    return choices[field]?.(inner);
  };
const pair = (read: Read, value: Wire): [string, unknown] => {
  const [name, member] = wireFields(bytesOf(value));
  expect([name?.[0], member?.[0]]).toEqual([1, 2]);
  return [String(text(name?.[1] ?? 0)), read(member?.[1] ?? 0)];
};
const pairs =
  (field: number, read: Read): Read =>
  (value) =>
    Object.fromEntries(
      [...wireFields(bytesOf(value))].map(([found, inner]) => {
        expect(found).toBe(field);
        return pair(read, inner);
      }),
    );

type Table = Record<number, readonly [name: string, read: Read, list?: "list"]>;
const message =
  (table: Table, extension: number): Read =>
  (value) => {
    const object: Record<string, unknown> = {};
    for (const [field, inner] of wireFields(bytesOf(value))) {
      const [name, read, list] = table[field] ?? [];
      if (field === extension) {
        const [key, member] = pair(any, inner);
        object[key] = member;
      } else if (name === undefined || read === undefined) throw new Error(`field ${field}`);
      else if (list === undefined) object[name] = read(inner);
      else object[name] = [...((object[name] as unknown[] | undefined) ?? []), read(inner)];
    }
    return object;
  };

const schema: Read = (value) => readSchema(value);
const readSchema = message(
  {
    1: ["$ref", text],
    2: ["format", text],
    4: ["description", text],
    5: ["default", any],
    7: ["maximum", number],
    11: ["maxLength", number],
    19: ["required", text, "list"],
    20: ["enum", any, "list"],
    21: ["additionalProperties", oneOf({ 1: schema, 2: boolean })],
    22: ["type", only(1, text)],
    23: ["items", only(1, schema)],
    25: ["properties", pairs(1, schema)],
  },
  31,
);
const readParameter = oneOf({
  1: oneOf({
    1: message(
      { 2: ["name", text], 3: ["in", text], 4: ["required", boolean], 5: ["schema", schema] },
      6,
    ),
    2: oneOf({
      3: message(
        { 2: ["in", text], 4: ["name", text], 6: ["type", text], 20: ["uniqueItems", boolean] },
        23,
      ),
      4: message(
        {
          1: ["required", boolean],
          2: ["in", text],
          4: ["name", text],
          5: ["type", text],
          19: ["uniqueItems", boolean],
        },
        22,
      ),
    }),
  }),
});
const response = message({ 1: ["description", text], 2: ["schema", only(1, schema)] }, 5);
const operation = message(
  {
    5: ["operationId", text],
    6: ["produces", text, "list"],
    7: ["consumes", text, "list"],
    8: ["parameters", readParameter, "list"],
    9: ["responses", pairs(1, only(1, response))],
  },
  13,
);
const pathItem = message(
  {
    2: ["get", operation],
    3: ["put", operation],
    4: ["post", operation],
    5: ["delete", operation],
    8: ["patch", operation],
    9: ["parameters", readParameter, "list"],
  },
  10,
);
const readDocument = message(
  {
    1: ["swagger", text],
    2: ["info", message({ 1: ["title", text], 2: ["version", text] }, 7)],
    8: ["paths", pairs(2, pathItem)],
    9: ["definitions", pairs(1, schema)],
  },
  16,
);

const small = {
  swagger: "2.0",
  info: { title: "T", version: "v1" },
  paths: {
    "/a/{name}": {
      patch: {
        operationId: "p",
        "x-kubernetes-group-version-kind": { group: "g", version: "v1", kind: "K" },
        consumes: ["a/b"],
        parameters: [
          { name: "body", in: "body", required: true, schema: { $ref: "#/definitions/K" } },
          { name: "fieldValidation", in: "query", type: "string", uniqueItems: true },
        ],
        responses: { "200": { description: "OK", schema: { $ref: "#/definitions/K" } } },
      },
      parameters: [{ name: "name", in: "path", required: true, type: "string" }],
    },
  },
  definitions: {
    K: {
      type: "object",
      required: ["a"],
      properties: {
        a: {
          type: "array",
          items: { type: "integer", format: "int32" },
          "x-kubernetes-list-map-keys": ["x"],
        },
        b: { type: "object", additionalProperties: { type: "string", default: "" } },
        c: { additionalProperties: false, maximum: 1.5 },
      },
      "x-kubernetes-group-version-kind": [{ group: "g", kind: "K", version: "v1" }],
    },
  },
};
/** What gnostic's own parser and Go's protobuf make of it. */
const golden = [
  "CgMyLjASBwoBVBICdjFC9gES8wEKCS9hL3tuYW1lfRLlAULEASoBcDoDYS9iQiUKIwohEgRib2R5GgRib2R5IAEq",
  "EQoPIy9kZWZpbml0aW9ucy9LQikKJxIlGiMSBXF1ZXJ5Ig9maWVsZFZhbGlkYXRpb24yBnN0cmluZ6ABAUokCiIK",
  "AzIwMBIbChkKAk9LEhMKEQoPIy9kZWZpbml0aW9ucy9LakIKH3gta3ViZXJuZXRlcy1ncm91cC12ZXJzaW9uLWtp",
  "bmQSHxIdZ3JvdXA6IGcKdmVyc2lvbjogdjEKa2luZDogSwpKHAoaEhgiFggBEgRwYXRoIgRuYW1lKgZzdHJpbmdK",
  "9QEK8gEKAUsS7AGaAQFhsgEICgZvYmplY3TKAY4BCk4KAWESSbIBBwoFYXJyYXm6ARUKExIFaW50MzKyAQkKB2lu",
  "dGVnZXL6ASQKGngta3ViZXJuZXRlcy1saXN0LW1hcC1rZXlzEgYSBC0geAoKJwoBYhIiqgEUChIqBRIDIiIKsgEI",
  "CgZzdHJpbmeyAQgKBm9iamVjdAoTCgFjEg45AAAAAAAA+D+qAQIQAPoBSAofeC1rdWJlcm5ldGVzLWdyb3VwLXZl",
  "cnNpb24ta2luZBIlEiMtIGdyb3VwOiBnCiAga2luZDogSwogIHZlcnNpb246IHYxCg==",
].join("");

test("a small document, byte for byte, and back", () => {
  const bytes = openApiProtobuf(small);
  expect(encodeBase64(bytes)).toBe(golden);
  expect(readDocument(bytes)).toEqual(small);
});

test("what has no place in the messages is a bug, not left out", () => {
  const definitions = { K: { oneOf: [] } };
  expect(() => openApiProtobuf({ definitions })).toThrow(/oneOf.*a known field/);
  expect(() => openApiProtobuf({ definitions: { K: { type: 1 } } })).toThrow(/a string/);
  const parameters = [{ in: "header", name: "h" }];
  expect(() => openApiProtobuf({ paths: { "/": { parameters } } })).toThrow(/a parameter of/);
});

test("a document larger than the first buffer", () => {
  const description = "x".repeat(200_000);
  const document = { definitions: { A: { description }, B: { maxLength: 5_000_000_000 } } };
  expect(readDocument(openApiProtobuf(document))).toEqual(document);
});

test("YAML as gnostic writes it, where the words are plain", () => {
  const kinds = [{ group: "", kind: "K", inner: { list: ["a", ["b"]], empty: {}, none: [] } }];
  expect(blockYaml(kinds)).toBe(
    [
      '- group: ""',
      "  kind: K",
      "  inner:",
      "    list:",
      "        - a",
      "        - - b",
      "    empty: {}",
      "    none: []",
      "",
    ].join("\n"),
  );
  expect(blockYaml("merge,retainKeys")).toBe("merge,retainKeys\n");
  expect(blockYaml("true")).toBe('"true"\n');
  expect(blockYaml(false)).toBe("false\n");
});

test("any JSON value comes back from its YAML", () => {
  const key = fc.string({ unit: "binary", maxLength: 12 }).filter((one) => one !== "<<");
  const { value: json } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.string({ unit: "binary" }),
      fc.constantFrom("yes", "~", "1e3", "0x1f", "- a", "a: b", "a #b", "<<", "2020-01-01", "é"),
      fc.integer(),
      fc.double({ noDefaultInfinity: true, noNaN: true }).map((one) => (one === 0 ? 0 : one)),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: true }),
    ),
  }));
  const check = fc.property(json, (value) => {
    expect(readYaml(blockYaml({ value }))).toEqual({ value });
  });
  fc.assert(check);
});

const asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const answered = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

function server(): (accept?: string, tag?: string) => Promise<ApiResponse | undefined> {
  const crypto = memoryCrypto(seededRandom(1));
  const served = builtInResources.map(({ facts }) => offeredFacts(facts));
  const discovery = new Discovery(served, crypto, () => undefined);
  const openApi = new OpenApi(() => discovery.groups, crypto);
  return (accept, tag) => {
    const request = {
      method: "GET",
      path: "/openapi/v2",
      query: [],
      headers: {
        ...(accept === undefined ? {} : { accept }),
        ...(tag === undefined ? {} : { "if-none-match": tag }),
      },
      gone: new AbortController().signal,
      direct: false,
    };
    const user = { name: "u", groups: [] };
    const info = requestInfoOf(request);
    return openApi.handle({ request, warnings: [], info, protobuf: true, user });
  };
}
const bodyOf = (answer: ApiResponse | undefined): { mediaType: string; bytes: Bytes } => {
  if (answer?.content.type !== "bytes") throw new Error("bytes were expected");
  return answer.content;
};

test("/openapi/v2 in protobuf says what it says in JSON", async () => {
  const ask = server();
  const protobuf = await ask(asked);
  expect(bodyOf(protobuf).mediaType).toBe(answered);
  const document = readDocument(bodyOf(protobuf).bytes);
  const json = await ask("application/json");
  expect(bodyOf(json).mediaType).toBe("application/json");
  expect(document).toEqual(JSON.parse(utf8.decode(bodyOf(json).bytes)));
});

test("/openapi/v2: which form, its tag, and 406", async () => {
  const ask = server();
  const typeOf = async (accept?: string) => bodyOf(await ask(accept)).mediaType;
  expect(await typeOf(answered)).toBe(answered);
  expect(await typeOf(`application/json;q=0.5,${asked}`)).toBe(answered);
  for (const accept of [undefined, "", "*/*", "application/*", `text/html, application/json`])
    expect(await typeOf(accept)).toBe("application/json");
  await expect(ask("text/html")).rejects.toThrow(/only the following media types/);
  const first = await ask(asked);
  const tag = first?.headers.etag ?? "";
  expect(tag).toMatch(/^"[0-9A-F]{64}"$/);
  expect(first?.headers.vary).toBe("Accept");
  expect((await ask())?.headers.etag).toBe(tag);
  expect((await ask(asked, tag))?.status).toBe(304);
  expect(bodyOf(await ask(asked)).bytes).toBe(bodyOf(first).bytes);
});

test("patches tell clients that the server validates fields", async () => {
  const document = readDocument(bodyOf(await server()(asked)).bytes);
  const paths = isObject(document) && isObject(document.paths) ? document.paths : {};
  const patches = Object.values(paths).flatMap((item) =>
    isObject(item) && isObject(item.patch) ? [item.patch] : [],
  );
  expect(patches.length).toBeGreaterThan(20);
  for (const patch of patches) {
    expect(patch.parameters).toContainEqual(
      expect.objectContaining({ name: "fieldValidation", in: "query" }),
    );
    expect(patch["x-kubernetes-group-version-kind"]).toMatchObject({ kind: expect.any(String) });
  }
});
