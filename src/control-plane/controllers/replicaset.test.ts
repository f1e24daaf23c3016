import { expect, test } from "vitest";
import type { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import type { Stored } from "#machinery/meta.ts";
import { parseTime } from "#machinery/time.ts";
import { byDeletionOrder, planReplicas, replicaSetStatus } from "./replicaset.ts";

const meta = (name: string) => ({
  name,
  namespace: "default",
  uid: `uid-${name}`,
  resourceVersion: "1",
  generation: 1,
  creationTimestamp: "2030-01-01T00:00:00Z",
});
const replicaSet = (replicas: number): Stored<ReplicaSet> => ({
  apiVersion: "apps/v1",
  kind: "ReplicaSet",
  metadata: meta("web"),
  spec: {
    replicas,
    minReadySeconds: 10,
    selector: { matchLabels: { app: "web" } },
    template: {
      metadata: { labels: { app: "web" } },
      spec: { containers: [{ name: "c", image: "i", resources: {} }] },
    },
  },
  status: { replicas: 0 },
});
interface Traits {
  readonly node?: string;
  readonly phase?: string;
  readonly readyAt?: string;
  readonly cost?: string;
  readonly restarts?: number;
  readonly createdAt?: string;
}
const pod = (name: string, traits: Traits = {}): Stored<Pod> =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...meta(name),
      labels: { app: "web" },
      creationTimestamp: traits.createdAt ?? "2030-01-01T00:00:00Z",
      ...(traits.cost === undefined
        ? {}
        : { annotations: { "controller.kubernetes.io/pod-deletion-cost": traits.cost } }),
    },
    spec: { containers: [], nodeName: traits.node ?? "n" },
    status: {
      phase: traits.phase ?? "Running",
      conditions:
        traits.readyAt === undefined
          ? []
          : [{ type: "Ready", status: "True", lastTransitionTime: traits.readyAt }],
      containerStatuses: [{ name: "c", restartCount: traits.restarts ?? 0 }],
    },
  }) as unknown as Stored<Pod>;
const now = parseTime("2030-01-01T01:00:00Z") ?? 0;
const names = (pods: readonly Stored<Pod>[]) => pods.map((one) => one.metadata.name);

test("creates what is missing, named and owned", () => {
  const plan = planReplicas(replicaSet(3), [pod("a")], [], now);
  expect(plan.create).toHaveLength(2);
  expect(plan.create[0]?.metadata).toMatchObject({
    generateName: "web-",
    namespace: "default",
    labels: { app: "web" },
    ownerReferences: [{ kind: "ReplicaSet", uid: "uid-web", controller: true }],
  });
  expect(plan.remove).toEqual([]);
});

test("creates and removes at most 500 at once", () => {
  expect(planReplicas(replicaSet(2000), [], [], now).create).toHaveLength(500);
  const many = Array.from({ length: 800 }, (_, at) => pod(`p${at}`));
  expect(planReplicas(replicaSet(0), many, [], now).remove).toHaveLength(500);
});

test("removes the least useful first", () => {
  const ready = "2030-01-01T00:00:00Z";
  const pods = [
    pod("old-and-ready", { readyAt: ready }),
    pod("restarted", { readyAt: ready, restarts: 3 }),
    pod("just-ready", { readyAt: "2030-01-01T00:59:59Z" }),
    pod("crowded", { readyAt: ready, node: "crowded" }),
    pod("cheap", { readyAt: ready, cost: "-5" }),
    pod("not-ready"),
    pod("unknown", { phase: "Unknown" }),
    pod("pending", { phase: "Pending" }),
    pod("unbound", { phase: "Pending", node: "" }),
  ];
  const related = ["x", "y", "z"].flatMap((name) => [
    pod(`${name}1`, { node: "crowded" }),
    pod(`${name}2`, { node: "crowded" }),
  ]);
  expect(names(byDeletionOrder(pods, related, now))).toEqual([
    "unbound",
    "pending",
    "unknown",
    "not-ready",
    "cheap",
    "crowded",
    "just-ready",
    "restarted",
    "old-and-ready",
  ]);
});

test("status counts, and remembers why Pods could not be created", () => {
  const pods = [
    pod("a", { readyAt: "2030-01-01T00:59:55Z" }),
    pod("b", { readyAt: "2030-01-01T00:00:00Z" }),
    pod("c"),
  ];
  const status = replicaSetStatus(replicaSet(5), pods, 2, new Error("quota exceeded"), now);
  expect(status).toMatchObject({
    replicas: 3,
    fullyLabeledReplicas: 3,
    readyReplicas: 2,
    availableReplicas: 1,
    terminatingReplicas: 2,
    observedGeneration: 1,
    conditions: [{ type: "ReplicaFailure", reason: "FailedCreate", message: "quota exceeded" }],
  });
  const healed = replicaSetStatus({ ...replicaSet(5), status }, pods, 0, undefined, now);
  expect(healed.conditions).toBeUndefined();
});
