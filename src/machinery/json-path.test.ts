import { expect, test } from "vitest";
import { compileJsonPath, JsonPathError } from "./json-path.ts";

const object = {
  metadata: { annotations: { "a.b/c": "x" }, name: "n" },
  spec: {
    list: [
      { name: "p", port: 1 },
      { name: "q", port: 2 },
    ],
    replicas: 3,
    none: null,
  },
  status: {
    conditions: [
      { type: "Ready", status: "True" },
      { type: "Other", status: "False" },
    ],
  },
};
const find = (path: string): readonly unknown[] => compileJsonPath(path)(object);

test("paths of printer columns", () => {
  expect(find(".spec.replicas")).toEqual([3]);
  expect(find("$.spec.replicas")).toEqual([3]);
  expect(find(".spec.missing.deeper")).toEqual([]);
  expect(find(".spec.none")).toEqual([null]);
  expect(find('.status.conditions[?(@.type=="Ready")].status')).toEqual(["True"]);
  expect(find(".status.conditions[?(@.type=='Other')].status")).toEqual(["False"]);
  expect(find(".spec.list[?(@.port>1)].name")).toEqual(["q"]);
  expect(find(".spec.list[*].name")).toEqual(["p", "q"]);
  expect(find(".spec.list[0].name")).toEqual(["p"]);
  expect(find(".spec.list[-1:].name")).toEqual(["q"]);
  expect(find(".spec.list[-1].name")).toEqual(["q"]);
  expect(find(".metadata.annotations['a.b/c']")).toEqual(["x"]);
  expect(find(".metadata.annotations.a\\.b/c")).toEqual(["x"]);
  expect(find("..name")).toEqual(["n", "p", "q"]);
  expect(find(".spec.list[0]['name','port']")).toEqual(["p", 1]);
});

test("what is no path is refused", () => {
  for (const bad of [".spec[", ".spec[x]", ".a[?(@.b", ".a]b"])
    expect(() => compileJsonPath(bad)).toThrow(JsonPathError);
});
