import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { kindSchema } from "#api/facts.ts";
import { parseApiVersion } from "./gvk.ts";
import {
  createMergePatch,
  jsonPatch,
  mergePatch,
  PatchError,
  strategicMergePatch,
} from "./patch.ts";
import type { ObjectSchema } from "./schema.ts";

/** Answers that upstream's libraries gave (see testdata/README.md). */
const golden = <Row>(name: string): Row[] =>
  JSON.parse(readFileSync(new URL(`./testdata/${name}.json`, import.meta.url), "utf8")) as Row[];

function schemaOf(apiVersion: string, kind: string): ObjectSchema {
  const { group, version } = parseApiVersion(apiVersion) ?? { group: "", version: "" };
  const schema = kindSchema(group, version, kind);
  if (schema === undefined) throw new Error(`no schema of ${kind}`);
  return schema;
}
const attempt = (run: () => unknown): { result: unknown } | { error: string } => {
  try {
    return { result: run() };
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    return { error: error.message };
  }
};
interface Row {
  readonly apiVersion: string;
  readonly kind: string;
  readonly document: unknown;
  readonly object: Record<string, unknown>;
  readonly patch: unknown;
  readonly result?: unknown;
  readonly error?: string;
}
const expected = (row: Row): object =>
  row.error === undefined ? { result: row.result } : { error: row.error };

test("JSON patches do what upstream's do, errors included", () => {
  for (const row of golden<Row>("json-patches")) {
    const before = JSON.stringify(row);
    expect(
      attempt(() => jsonPatch(row.document, row.patch)),
      before,
    ).toEqual(expected(row));
    expect(JSON.stringify(row)).toBe(before);
  }
});

test("merge patches do what upstream's do", () => {
  for (const row of golden<Row>("merge-patches")) {
    const before = JSON.stringify(row);
    expect(
      attempt(() => mergePatch(row.document, row.patch)),
      before,
    ).toEqual(expected(row));
    expect(JSON.stringify(row)).toBe(before);
  }
});

test("strategic merge patches do what upstream's do, errors included", () => {
  for (const row of golden<Row>("strategic-patches")) {
    const before = JSON.stringify(row);
    const run = (): unknown =>
      strategicMergePatch(schemaOf(row.apiVersion, row.kind), row.object, row.patch);
    expect(attempt(run), before).toEqual(expected(row));
    expect(JSON.stringify(row)).toBe(before);
  }
});

test("a merge patch turns one value into the other", () => {
  const isWhole = (one: unknown): boolean => !JSON.stringify(one).includes("null");
  const value = fc.dictionary(fc.string(), fc.jsonValue().filter(isWhole));
  fc.assert(
    fc.property(value, value, (before, after) => {
      const patch = createMergePatch(before, after);
      const patched = patch === undefined ? before : mergePatch(before, patch);
      expect(createMergePatch(patched as Record<string, unknown>, after)).toBeUndefined();
      expect(mergePatch(patched, patch ?? {})).toEqual(patched);
    }),
  );
});

test("patches cannot reach a prototype", () => {
  const evil: unknown = JSON.parse(
    '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}',
  );
  const merged = mergePatch({}, evil);
  expect(Object.keys(merged as object)).toEqual(["__proto__", "constructor"]);
  const patch = [{ op: "add", path: "/__proto__/polluted", value: 1 }];
  expect(() => jsonPatch({}, patch)).toThrow("doc is missing path");
  expect(() => jsonPatch({}, [{ op: "remove", path: "/toString" }])).toThrow("nonexistent key");
  strategicMergePatch(schemaOf("v1", "ConfigMap"), {}, { data: evil });
  expect("polluted" in {}).toBe(false);
});

test("patches are bounded", () => {
  const many = Array.from({ length: 10_001 }, () => ({ op: "test", path: "", value: {} }));
  expect(() => jsonPatch({}, many)).toThrow(
    "The allowed maximum operations in a JSON patch is 10000, got 10001",
  );
  const doubling = Array.from({ length: 40 }, (_, index) => ({
    op: "copy",
    from: "/a",
    path: `/a/${index}`,
  }));
  expect(() => jsonPatch({ a: { x: "y".repeat(100) } }, doubling)).toThrow(
    "exceeding the limit 3145728",
  );
});

test("a failure says which status answers it", () => {
  const status = (run: () => unknown): [number, string] => {
    try {
      run();
    } catch (error) {
      if (error instanceof PatchError) {
        const { code, reason } = error.toStatusError();
        return [code, reason];
      }
    }
    return [0, ""];
  };
  expect(status(() => jsonPatch({}, {}))).toEqual([400, "BadRequest"]);
  expect(status(() => jsonPatch({}, [{ op: "test", path: "/a", value: 1 }]))).toEqual([
    422,
    "Invalid",
  ]);
  const pod = schemaOf("v1", "Pod");
  const containers = [{ image: "x" }];
  const spec = { containers: [{ name: "a" }] };
  expect(status(() => strategicMergePatch(pod, { spec }, { spec: { containers } }))[0]).toBe(500);
});

test("containers merge by name and keep their order", () => {
  const pod = schemaOf("v1", "Pod");
  const object = {
    spec: {
      containers: [
        { name: "a", image: "1" },
        { name: "b", image: "2" },
      ],
    },
  };
  const patch = {
    spec: {
      "$setElementOrder/containers": [{ name: "c" }, { name: "b" }],
      containers: [
        { name: "c", image: "3" },
        { name: "b", image: "4" },
        { name: "a", $patch: "delete" },
      ],
    },
  };
  expect(strategicMergePatch(pod, object, patch)).toEqual({
    spec: {
      containers: [
        { name: "c", image: "3" },
        { name: "b", image: "4" },
      ],
    },
  });
});

test("retainKeys drops what is not listed", () => {
  const deployment = schemaOf("apps/v1", "Deployment");
  const object = { spec: { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } } } };
  const patch = { spec: { strategy: { $retainKeys: ["type"], type: "Recreate" } } };
  expect(strategicMergePatch(deployment, object, patch)).toEqual({
    spec: { strategy: { type: "Recreate" } },
  });
});
