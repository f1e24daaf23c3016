import { expect, test } from "vitest";
import type { Pod } from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import { formatTime } from "#machinery/time.ts";
import {
  milliOf,
  type PodMetrics,
  type PodsQuestion,
  replicasForAverage,
  replicasForShare,
  replicasForUtilization,
  replicasForValue,
} from "./horizontal-pod-autoscaler-replicas.ts";

const now = 1_900_000_000_000;
const minute = 60_000;
const tolerances = { up: 0.1, down: 0.1 };

interface Shape {
  readonly phase?: string;
  readonly ready?: boolean;
  readonly startedAgoMs?: number;
  readonly changedAgoMs?: number;
  readonly request?: string | undefined;
  readonly ending?: boolean;
}
function pod(name: string, shape: Shape = {}): Stored<Pod> {
  const { phase = "Running", ready = true, startedAgoMs = 60 * minute } = shape;
  const { changedAgoMs = 50 * minute, ending = false } = shape;
  const request = "request" in shape ? shape.request : "1";
  const requests = request === undefined ? {} : { cpu: request };
  return {
    metadata: { name, ...(ending ? { deletionTimestamp: formatTime(now) } : {}) },
    spec: { containers: [{ name: "main", resources: { requests } }] },
    status: {
      phase,
      startTime: formatTime(now - startedAgoMs),
      conditions: [
        {
          type: "Ready",
          status: ready ? "True" : "False",
          lastTransitionTime: formatTime(now - changedAgoMs),
        },
      ],
    },
  } as unknown as Stored<Pod>;
}
const metrics = (milli: Readonly<Record<string, number>>): PodMetrics =>
  new Map(
    Object.entries(milli).map(([name, value]) => [
      name,
      { milli: BigInt(value), atMs: now - 1000, windowMs: 15_000 },
    ]),
  );
const question = (
  pods: readonly Stored<Pod>[],
  used: Readonly<Record<string, number>>,
  replicas = pods.length,
): PodsQuestion => ({
  pods,
  metrics: metrics(used),
  replicas,
  resource: "cpu",
  tolerances,
  warmup: { cpuInitializationMs: 5 * minute, initialReadinessDelayMs: 30_000 },
  now,
});
const three = [pod("a"), pod("b"), pod("c")];

test("usage against the share of the request that is wanted", () => {
  const asked = question(three, { a: 300, b: 500, c: 700 });
  expect(replicasForUtilization(asked, 30, "")).toEqual({
    replicas: 5,
    utilization: 50,
    usageMilli: 500n,
  });
  expect(replicasForUtilization(asked, 100, "")).toMatchObject({ replicas: 2 });
});

test("near the target nothing changes; how near is each direction's own", () => {
  const asked = question(three, { a: 500, b: 500, c: 500 });
  expect(replicasForUtilization(asked, 46, "")).toMatchObject({ replicas: 3 });
  expect(replicasForUtilization(asked, 55, "")).toMatchObject({ replicas: 3 });
  const strict = { ...asked, tolerances: { up: 0.01, down: 0.5 } };
  expect(replicasForUtilization(strict, 46, "")).toMatchObject({ replicas: 4 });
  expect(replicasForUtilization(strict, 90, "")).toMatchObject({ replicas: 3 });
});

test("pods without figures are taken to use nothing where more seem needed, all where fewer do", () => {
  const up = question(three, { a: 900, b: 900 });
  // Without the third it would be six.
  expect(replicasForUtilization(up, 30, "")).toMatchObject({ replicas: 6, utilization: 90 });
  expect(replicasForUtilization(question(three, { a: 500, b: 500 }), 40, "")).toMatchObject({
    replicas: 3,
  });
  const down = question(three, { a: 100, b: 100 });
  expect(replicasForUtilization(down, 80, "")).toMatchObject({ replicas: 2 });
  expect(replicasForUtilization(down, 50, "")).toMatchObject({ replicas: 3 });
});

test("a pod that is starting does not make more of them", () => {
  const starting = pod("c", { ready: false, startedAgoMs: minute, changedAgoMs: minute });
  const used = { a: 600, b: 600, c: 5000 };
  const asked = question([pod("a"), pod("b"), starting], used);
  expect(replicasForUtilization(asked, 40, "")).toMatchObject({ replicas: 3, utilization: 60 });
  // Ready, but measured before it was.
  const early = pod("c", { startedAgoMs: minute, changedAgoMs: 5000 });
  expect(replicasForUtilization(question([pod("a"), pod("b"), early], used), 40, "")).toMatchObject(
    { replicas: 3, utilization: 60 },
  );
  // Unready long after: it counts.
  const fallen = pod("c", { ready: false, changedAgoMs: minute });
  const counted = question([pod("a"), pod("b"), fallen], { a: 600, b: 600, c: 600 });
  expect(replicasForUtilization(counted, 40, "")).toMatchObject({ replicas: 5 });
  const pending = pod("c", { phase: "Pending" });
  const waits = question([pod("a"), pod("b"), pending], { a: 600, b: 600 });
  expect(replicasForUtilization(waits, 20, "")).toMatchObject({ replicas: 6 });
});

test("pods that end or failed are not there", () => {
  const pods = [pod("a"), pod("b", { ending: true }), pod("c", { phase: "Failed" })];
  const asked = question(pods, { a: 500, b: 5000, c: 5000 });
  expect(replicasForUtilization(asked, 50, "")).toMatchObject({ replicas: 3, utilization: 50 });
  expect(replicasForUtilization(asked, 25, "")).toMatchObject({ replicas: 2 });
});

test("what stands in the way is said", () => {
  const problem = (asked: PodsQuestion, container = "") =>
    (replicasForUtilization(asked, 50, container) as { problem: string }).problem;
  expect(problem(question([], {}))).toBe(
    "no pods returned by selector while calculating replica count",
  );
  expect(problem(question([pod("a", { phase: "Pending" })], { a: 1 }))).toBe(
    "did not receive metrics for targeted pods (pods might be unready)",
  );
  expect(problem(question([pod("a", { request: undefined })], { a: 1 }))).toBe(
    "missing request for cpu in container main of Pod a",
  );
  expect(problem(question([pod("a")], { a: 1 }), "other")).toBe(
    "container other not found in Pod a",
  );
  expect(problem(question([pod("a", { request: "0" })], { a: 1 }))).toBe(
    "no metrics returned matched known pods",
  );
});

test("usage against an amount for each pod; any amount of memory is exact", () => {
  const asked = question(three, { a: 20_000, b: 10_000, c: 20_000 });
  expect(replicasForAverage({ ...asked, resource: "" }, 15_000n)).toEqual({
    replicas: 4,
    usageMilli: 16_666n,
  });
  const bytes = milliOf("3Ti");
  expect(
    replicasForAverage(
      {
        ...asked,
        metrics: new Map([["a", { milli: bytes, atMs: now, windowMs: 0 }]]),
        pods: [pod("a")],
        replicas: 1,
      },
      milliOf("1Ti"),
    ),
  ).toEqual({
    replicas: 3,
    usageMilli: 3_298_534_883_328_000n,
  });
});

test("one value for all pods, and shares of one value", () => {
  expect(replicasForValue(2500n, 1000n, 3, three, tolerances)).toEqual({
    replicas: 8,
    usageMilli: 2500n,
  });
  expect(replicasForValue(1050n, 1000n, 3, three, tolerances)).toMatchObject({ replicas: 3 });
  expect(replicasForValue(2500n, 1000n, 0, [], tolerances)).toMatchObject({ replicas: 3 });
  expect(replicasForValue(2500n, 1000n, 2, [], tolerances)).toEqual({
    problem:
      "unable to calculate ready pods: no pods returned by selector while calculating replica count",
  });
  expect(replicasForShare(9001n, 3000n, 2, tolerances)).toEqual({ replicas: 4, usageMilli: 4501n });
  expect(replicasForShare(6100n, 3000n, 2, tolerances)).toMatchObject({ replicas: 2 });
  expect(replicasForShare(6100n, 3000n, 0, tolerances)).toEqual({ replicas: 3, usageMilli: 6100n });
});
