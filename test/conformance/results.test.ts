import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Case } from "./junit.ts";
import {
  completeResults,
  markdownTable,
  mergeCases,
  type Result,
  readTestList,
  tally,
} from "./results.ts";

const list = readTestList(`# testname | codename | release | file
Pods, start | [sig-node] Pods should start [NodeConformance] [Conformance] | v1.9 | test/e2e/a.go
Pods, stop | [sig-node] Pods should stop [Conformance] | v1.9 | test/e2e/a.go
Job | [sig-apps] Job should end [Conformance] | v1.9 | test/e2e/b.go
`);
const passedBefore: Result = {
  name: "[sig-node] Pods should stop [Conformance]",
  status: "passed",
  reason: "",
  seconds: 2,
  commit: "aaa",
  binary: "v1",
};
const cases: readonly Case[] = [
  {
    name: "[sig-node] Pods should start [Conformance] [NodeConformance]",
    status: "passed",
    reason: "",
    seconds: 4,
  },
  {
    name: "[sig-apps] Job should end [Conformance]",
    status: "skipped",
    reason: "skipped - Requires 2 nodes",
    seconds: 0,
  },
  {
    name: "[sig-node] Pods should stop [Provider:other]",
    status: "failed",
    reason: "no such provider",
    seconds: 0,
  },
  { name: "[sig-apps] not on the list", status: "passed", reason: "", seconds: 0 },
];

test("results accumulate a test at a time; every listed test is there, and no other", () => {
  const before = completeResults(list, [passedBefore, { ...passedBefore, name: "gone" }]);
  expect(before.map(({ status }) => status)).toEqual(["notrun", "passed", "notrun"]);
  const after = mergeCases(before, cases, "bbb", "v2");
  expect(after).toEqual([
    { name: list[0]?.name, status: "passed", reason: "", seconds: 4, commit: "bbb", binary: "v2" },
    passedBefore,
    {
      name: list[2]?.name,
      status: "failed",
      reason: "skipped - Requires 2 nodes",
      seconds: 0,
      commit: "bbb",
      binary: "v2",
    },
  ]);
  expect(tally(after)).toEqual([
    { area: "sig-apps", passed: 0, failed: 1, notrun: 0 },
    { area: "sig-node", passed: 2, failed: 0, notrun: 0 },
    { area: "total", passed: 2, failed: 1, notrun: 0 },
  ]);
  expect(markdownTable(after)).toContain("| sig-node | 2 of 2 | 0 | 0 |\n");
});

test("the record holds all 462 tests, and README shows its table", () => {
  const listed = readTestList(readFileSync("test/conformance/tests-1.37.txt", "utf8"));
  const record = JSON.parse(
    readFileSync("test/conformance/results/1.37.json", "utf8"),
  ) as readonly Result[];
  expect(listed).toHaveLength(462);
  expect(record.map(({ name }) => name)).toEqual(listed.map(({ name }) => name));
  expect(readFileSync("README.md", "utf8")).toContain(markdownTable(record));
});
