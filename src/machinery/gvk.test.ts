import { expect, test } from "vitest";
import {
  type Condition,
  findCondition,
  isConditionTrue,
  removeCondition,
  setCondition,
} from "./conditions.ts";
import {
  compareVersions,
  formatApiVersion,
  formatGroupVersionKind,
  parseApiVersion,
} from "./gvk.ts";

test("apiVersion reads and prints", () => {
  expect(parseApiVersion("apps/v1")).toEqual({ group: "apps", version: "v1" });
  expect(parseApiVersion("v1")).toEqual({ group: "", version: "v1" });
  expect(parseApiVersion("a/b/c")).toBeUndefined();
  expect(formatApiVersion({ group: "", version: "v1" })).toBe("v1");
  expect(formatGroupVersionKind({ group: "apps", version: "v1", kind: "Deployment" })).toBe(
    "apps/v1, Kind=Deployment",
  );
});

test("versions sort by preference", () => {
  const sorted = [
    "foo1",
    "v1beta1",
    "v10",
    "v11alpha2",
    "v2",
    "v12alpha1",
    "v3beta1",
    "v1",
    "foo10",
  ];
  expect(sorted.toSorted(compareVersions)).toEqual([
    "v10",
    "v2",
    "v1",
    "v3beta1",
    "v1beta1",
    "v12alpha1",
    "v11alpha2",
    "foo1",
    "foo10",
  ]);
});

test("a condition's transition time changes with its status alone", () => {
  const ready: Condition = { type: "Ready", status: "False", reason: "Starting" };
  const first = setCondition([], ready, "t1");
  expect(first).toEqual([{ ...ready, lastTransitionTime: "t1" }]);
  expect(setCondition(first, ready, "t2")).toBe(first);
  const other = setCondition(first, { ...ready, reason: "Waiting" }, "t2");
  expect(other).toEqual([{ ...ready, reason: "Waiting", lastTransitionTime: "t1" }]);
  const up = setCondition(other, { ...ready, status: "True" }, "t3");
  expect(findCondition(up, "Ready")?.lastTransitionTime).toBe("t3");
  expect(isConditionTrue(up, "Ready")).toBe(true);
  expect(removeCondition(up, "Ready")).toEqual([]);
  expect(removeCondition(up, "Other")).toBe(up);
});
