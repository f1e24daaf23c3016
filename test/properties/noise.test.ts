/** Random and broken requests: each is answered, none meets a bug of the server, and what is refused stores nothing. */
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { writeProtobuf } from "#control-plane/apiserver/protobuf-write.ts";
import { runs } from "./objects.ts";
import { type Answer, examples, protobuf, startServer, type TestServer } from "./server.ts";

let server: TestServer;
const every = examples();
/** The first example of each kind: its smallest. */
const smallest = every.filter(
  (one, at) => every.findIndex(({ resource }) => resource === one.resource) === at,
);
beforeAll(async () => {
  server = await startServer();
  for (const { collection, object } of smallest)
    await server.ask("POST", collection, { body: object });
});
afterEach(() => {
  expect(server.bugs()).toEqual([]);
});
afterAll(() => server.close());

const bodyTypes = ["application/json", "application/yaml", protobuf];
const patchTypes = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
  "application/apply-patch+yaml",
];

/** Half of a surrogate pair cannot be encoded. */
const encoded = (text: string): string => encodeURIComponent(text.replace(/\p{Surrogate}/gu, "?"));

/** Answered; and a refusal is a Status. */
function isAnswered(answer: Answer): void {
  expect(answer.status).toBeGreaterThanOrEqual(200);
  if (answer.status >= 400 && answer.text.startsWith("{"))
    expect(answer.object).toMatchObject({ kind: "Status", code: answer.status });
}
/** Whatever is refused stored nothing. */
async function asksSafely(...args: Parameters<TestServer["ask"]>): Promise<Answer> {
  const before = await server.revision();
  const answer = await server.ask(...args);
  isAnswered(answer);
  if (answer.status >= 300) expect(await server.revision()).toBe(before);
  return answer;
}

const kind = fc.constantFrom(...smallest);
const bytes = fc.uint8Array({ minLength: 1, maxLength: 200 });
const punctuation = "{}[]:,-\"'&*!|>%@# \nab01".split("");
const textual = fc.oneof(
  bytes,
  fc.json().map((text) => Buffer.from(text)),
  fc.string({ unit: "binary", maxLength: 100 }).map((text) => Buffer.from(text)),
  fc
    .string({ unit: fc.constantFrom(...punctuation), maxLength: 80 })
    .map((text) => Buffer.from(text)),
);

test("random bodies store nothing", async () => {
  const type = fc.constantFrom(...bodyTypes, "text/plain", "");
  await fc.assert(
    fc.asyncProperty(kind, textual, type, fc.boolean(), async (one, body, type, prefixed) => {
      const magic = prefixed && type === protobuf ? [0x6b, 0x38, 0x73, 0] : [];
      const sent = new Uint8Array([...magic, ...body]);
      const before = await server.revision();
      const made = await asksSafely("POST", one.collection, { type, body: sent });
      expect(made.status).toBeGreaterThanOrEqual(400);
      await asksSafely("PUT", `${one.collection}/${one.name}`, { type, body: sent });
      expect(await server.revision()).toBe(before);
    }),
    runs(300),
  );
});

test("random patches store nothing", async () => {
  await fc.assert(
    fc.asyncProperty(kind, textual, fc.constantFrom(...patchTypes), async (one, body, type) => {
      const before = await server.revision();
      const at = `${one.collection}/${one.name}?fieldManager=noise`;
      await asksSafely("PATCH", at, { type, body });
      expect(await server.revision()).toBe(before);
    }),
    runs(300),
  );
});

test("patches of random operations and members", async () => {
  const path = fc.array(
    fc.constantFrom(
      "metadata",
      "labels",
      "spec",
      "0",
      "-",
      "name",
      "__proto__",
      "",
      "~1",
      "containers",
    ),
    { maxLength: 5 },
  );
  const operation = fc.record(
    {
      op: fc.constantFrom("add", "remove", "replace", "move", "copy", "test", "odd"),
      path: path.map((steps) => steps.map((step) => `/${step}`).join("")),
      from: path.map((steps) => steps.map((step) => `/${step}`).join("")),
      value: fc.jsonValue({ maxDepth: 2 }),
    },
    { requiredKeys: ["op", "path"] },
  );
  const member = fc.constantFrom(
    "metadata",
    "spec",
    "data",
    "labels",
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "containers",
    "name",
    "status",
    "finalizers",
    "rules",
  );
  const tree = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom("delete", "replace", "merge", null, 1, true, "x"),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(member, tie("value"), { maxKeys: 4 }),
    ),
  })).value;
  const objectPatch = fc.dictionary(member, tree, { maxKeys: 4 });
  await fc.assert(
    fc.asyncProperty(
      kind,
      fc.array(operation, { maxLength: 4 }),
      objectPatch,
      async ({ collection, name, resource }, operations, patch) => {
        const at = `${collection}/${name}?dryRun=All&fieldManager=noise`;
        const head = {
          apiVersion:
            resource.group === "" ? resource.version : `${resource.group}/${resource.version}`,
          kind: resource.kind,
        };
        const before = await server.revision();
        await asksSafely("PATCH", at, { type: patchTypes[0] ?? "", body: operations });
        await asksSafely("PATCH", at, { type: patchTypes[1] ?? "", body: patch });
        await asksSafely("PATCH", at, { type: patchTypes[2] ?? "", body: patch });
        await asksSafely("PATCH", at, { type: patchTypes[3] ?? "", body: { ...patch, ...head } });
        expect(await server.revision()).toBe(before);
      },
    ),
    runs(150),
  );
});

test("valid bodies with a few bytes changed", async () => {
  const change = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
    minLength: 1,
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...every),
      change,
      fc.boolean(),
      async ({ collection, object, resource }, changes, asProtobuf) => {
        const whole = asProtobuf
          ? writeProtobuf(object, resource.schema)
          : Buffer.from(JSON.stringify(object));
        const sent = new Uint8Array(whole);
        for (const [at, byte] of changes) sent[at % sent.length] = byte;
        const type = asProtobuf ? protobuf : "application/json";
        const before = await server.revision();
        await asksSafely("POST", `${collection}?dryRun=All`, { type, body: sent });
        expect(await server.revision()).toBe(before);
      },
    ),
    runs(300),
  );
});

describe("paths and queries", () => {
  const segment = fc.oneof(
    fc.constantFrom(
      "api",
      "apis",
      "v1",
      "namespaces",
      "default",
      "pods",
      "..",
      ".",
      "",
      "%2e%2e",
      "%2F",
      "%00",
      "status",
      "log",
      "proxy",
      "watch",
      "__proto__",
      "apps",
      "deployments",
      "openapi",
      "v2",
      "healthz",
      "metrics",
      "%zz",
      "x".repeat(300),
      "scale",
      "bindings",
    ),
    fc.string({ unit: "binary", maxLength: 6 }).map((text) => encoded(text)),
    fc.string({ maxLength: 6 }),
  );
  const names = fc.constantFrom(
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "watch",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "allowWatchBookmarks",
    "timeoutSeconds",
    "dryRun",
    "fieldManager",
    "pretty",
    "timeout",
    "fieldValidation",
    "force",
    "propagationPolicy",
    "gracePeriodSeconds",
    "container",
    "follow",
  );
  const values = fc
    .oneof(
      fc.constantFrom(
        "true",
        "false",
        "1",
        "-1",
        "a=b",
        "a in (b",
        "metadata.name=x",
        "Exact",
        "NotOlderThan",
        "0",
        "All",
        "99999999999999999999",
        "1s",
        "Orphan",
        "!",
        "=",
        "Strict",
      ),
      fc.string({ maxLength: 8 }),
      fc.string({ unit: "binary", maxLength: 4 }),
    )
    .map((text) => encoded(text));
  const query = fc
    .array(fc.tuple(names, values), { maxLength: 4 })
    .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join("&"));
  const method = fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ODD");

  test("random ones are answered and store nothing", async () => {
    await fc.assert(
      fc.asyncProperty(
        method,
        fc.array(segment, { maxLength: 7 }),
        query,
        fc.option(textual, { nil: undefined }),
        async (method, segments, query, body) => {
          const path = `/${segments.join("/").replaceAll("?", "")}`;
          const target = `${path}?${query}`;
          const before = await server.revision();
          await asksSafely(method, target, body === undefined ? {} : { body });
          if (method !== "DELETE") expect(await server.revision()).toBe(before);
        },
      ),
      runs(400),
    );
  });

  test("random queries of every kind are answered", async () => {
    await fc.assert(
      fc.asyncProperty(kind, query, fc.boolean(), async ({ collection, name }, query, one) => {
        await asksSafely("GET", `${collection}${one ? `/${name}` : ""}?${query}`);
        await asksSafely("DELETE", `${collection}/none?${query}`);
      }),
      runs(300),
    );
  });
});
