import { expect, test } from "vitest";
import { formatTime } from "#machinery/time.ts";
import { decoded } from "../../test-objects.ts";
import { Pod } from "./pod.ts";
import { podRowConditions } from "./pod-columns.ts";

const now = 1_700_000_000_000;
const ago = (seconds: number): string => formatTime(now - seconds * 1000);

/** The columns that are always shown, without name and age. */
function cells(object: { metadata?: object; spec?: object; status?: object }): unknown[] {
  const pod = decoded(Pod, {
    ...object,
    metadata: { name: "p", ...object.metadata },
    spec: { containers: [{ name: "a" }, { name: "b" }], ...object.spec },
  });
  return Pod.printerColumns.slice(0, 3).map((column) => column.value(pod, now));
}

const running = { state: { running: {} }, ready: true, restartCount: 0 };
const ended = (exitCode: number, reason?: string, signal?: number) => ({
  state: { terminated: { exitCode, reason, signal } },
  restartCount: 0,
});
const waiting = (reason: string, restartCount = 0, lastState: object = {}) => ({
  state: { waiting: { reason } },
  restartCount,
  lastState,
});
const init = (...statuses: object[]) => ({
  spec: { initContainers: statuses.map((_, index) => ({ name: `i${index}` })) },
  status: {
    phase: "Pending",
    initContainerStatuses: statuses.map((status, index) => ({ name: `i${index}`, ...status })),
    containerStatuses: [waiting("PodInitializing"), waiting("PodInitializing")],
  },
});
const deleted = { deletionTimestamp: ago(1) };

test.each<[string, Parameters<typeof cells>[0], unknown[]]>([
  [
    "running",
    { status: { phase: "Running", containerStatuses: [running, running] } },
    ["2/2", "Running", "0"],
  ],
  ["pending", { status: { phase: "Pending" } }, ["0/2", "Pending", "0"]],
  [
    "back-off with restarts",
    {
      status: {
        phase: "Running",
        containerStatuses: [
          running,
          waiting("CrashLoopBackOff", 3, { terminated: { exitCode: 1, finishedAt: ago(300) } }),
        ],
      },
    },
    ["1/2", "CrashLoopBackOff", "3 (5m ago)"],
  ],
  [
    "killed",
    { status: { phase: "Running", containerStatuses: [ended(137, "OOMKilled"), running] } },
    ["1/2", "OOMKilled", "0"],
  ],
  [
    "exit code",
    { status: { phase: "Failed", containerStatuses: [ended(3)] } },
    ["0/2", "ExitCode:3", "0"],
  ],
  [
    "signal",
    { status: { phase: "Failed", containerStatuses: [ended(1, undefined, 9)] } },
    ["0/2", "Signal:9", "0"],
  ],
  [
    "completed",
    {
      status: {
        phase: "Succeeded",
        containerStatuses: [ended(0, "Completed"), ended(0, "Completed")],
      },
    },
    ["0/2", "Completed", "0"],
  ],
  [
    "completed beside one that failed",
    { status: { phase: "Failed", containerStatuses: [ended(0, "Completed"), ended(1, "Error")] } },
    ["0/2", "Error", "0"],
  ],
  [
    "completed beside a running one",
    { status: { phase: "Running", containerStatuses: [ended(0, "Completed"), running] } },
    ["1/2", "NotReady", "0"],
  ],
  [
    "completed beside a running one, ready",
    {
      status: {
        phase: "Running",
        containerStatuses: [ended(0, "Completed"), running],
        conditions: [{ type: "Ready", status: "True" }],
      },
    },
    ["1/2", "Running", "0"],
  ],
  ["evicted", { status: { phase: "Failed", reason: "Evicted" } }, ["0/2", "Evicted", "0"]],
  [
    "terminating",
    { metadata: deleted, status: { phase: "Running", containerStatuses: [running, running] } },
    ["2/2", "Terminating", "0"],
  ],
  [
    "node lost",
    { metadata: deleted, status: { phase: "Running", reason: "NodeLost" } },
    ["0/2", "Unknown", "0"],
  ],
  [
    "ended before its deletion",
    {
      metadata: deleted,
      status: { phase: "Succeeded", containerStatuses: [ended(0, "Completed")] },
    },
    ["0/2", "Completed", "0"],
  ],
  [
    "gated",
    {
      status: {
        phase: "Pending",
        conditions: [{ type: "PodScheduled", status: "False", reason: "SchedulingGated" }],
      },
    },
    ["0/2", "SchedulingGated", "0"],
  ],
  [
    "initializing",
    init(ended(0), { state: { running: {} }, restartCount: 0 }),
    ["0/2", "Init:1/2", "0"],
  ],
  [
    "init container in back-off",
    init(waiting("CrashLoopBackOff", 2)),
    ["0/2", "Init:CrashLoopBackOff", "2"],
  ],
  ["init container failed", init(ended(7)), ["0/2", "Init:ExitCode:7", "0"]],
  ["init container failed with a reason", init(ended(1, "Error")), ["0/2", "Init:Error", "0"]],
  ["init containers done", init(ended(0), ended(0)), ["0/2", "PodInitializing", "0"]],
])("%s", (_name, object, expected) => {
  expect(cells(object)).toEqual(expected);
});

test("sidecars count as containers", () => {
  const spec = { initContainers: [{ name: "side", restartPolicy: "Always" }] };
  const side = {
    name: "side",
    state: { running: {} },
    ready: true,
    started: true,
    restartCount: 1,
  };
  const status = {
    phase: "Running",
    initContainerStatuses: [side],
    containerStatuses: [running, running],
  };
  expect(cells({ spec, status })).toEqual(["3/3", "Running", "1"]);
  const starting = { ...side, started: false, ready: false };
  expect(cells({ spec, status: { ...status, initContainerStatuses: [starting] } })).toEqual([
    "0/3",
    "Init:0/1",
    "1",
  ]);
});

test("wide columns and rows that are done", () => {
  const pod = decoded(Pod, {
    metadata: { name: "p" },
    spec: {
      containers: [{ name: "a" }],
      nodeName: "n1",
      readinessGates: [{ conditionType: "x/a" }, { conditionType: "x/b" }],
    },
    status: {
      phase: "Succeeded",
      podIP: "10.0.0.7",
      conditions: [{ type: "x/a", status: "True" }],
    },
  });
  const wide = Pod.printerColumns.filter(({ priority }) => priority === 1);
  expect(wide.map((column) => column.value(pod, now))).toEqual(["10.0.0.7", "n1", "<none>", "1/2"]);
  expect(podRowConditions(pod)).toEqual([
    {
      type: "Completed",
      status: "True",
      reason: "Succeeded",
      message: "The pod has completed successfully.",
    },
  ]);
});
