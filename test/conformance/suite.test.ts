import { expect, test } from "vitest";
import type { Case } from "./junit.ts";
import { focusOn, judgeInterrupted, type Progress, progressReader } from "./suite.ts";

test("a focus selects a spec by its whole name", () => {
  const focus = new RegExp(focusOn(["[sig-a] Pods (x) should a+b"]));
  expect(focus.test("Kubernetes e2e suite [sig-a] Pods (x) should a+b")).toBe(true);
  expect(focus.test("Kubernetes e2e suite [sig-a] Pods (x) should a+b too")).toBe(false);
});

test("progress is read from what the suite prints", () => {
  const seen: Progress[] = [];
  const read = progressReader((progress) => seen.push(progress));
  for (const line of [
    "SSSSSS",
    "[sig-node] Pods should run [Conformance] [sig-node, Conformance]",
    "/go/pkg/mod/pods.go:1",
    "  STEP: Creating a kubernetes client",
    "• [2.491 seconds]",
    "[sig-apps] Job should end [Conformance] [sig-apps, Conformance]",
    "• [FAILED] [12.001 seconds]",
    "[sig-apps] Two nodes [Conformance] [sig-apps, Conformance]",
    "S [SKIPPED] [0.100 seconds]",
  ]) {
    read(line);
  }
  expect(seen).toEqual([
    { passed: true, name: "[sig-node] Pods should run [Conformance]" },
    { passed: false, name: "[sig-apps] Job should end [Conformance]" },
    { passed: false, name: "[sig-apps] Two nodes [Conformance]" },
  ]);
});

test("what the time limit ends has failed; what is ended from outside was not run", () => {
  const ended: Case = { name: "a", status: "failed", reason: "Interrupted by User", seconds: 60 };
  const passed: Case = { name: "b", status: "passed", reason: "", seconds: 1 };
  expect(judgeInterrupted([ended, passed], undefined)).toEqual([passed]);
  const reason = "interrupted: it ran for more than 1 minutes";
  expect(judgeInterrupted([ended, passed], 60_000)).toEqual([{ ...ended, reason }, passed]);
});
