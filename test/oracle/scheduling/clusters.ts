/**
 * Small clusters drawn by lot, each with one Pod that waits: the same ones every time. What is in them is what decides where a Pod may
 * go: labels, taints, capacities, Pods with affinities, ports and priorities, budgets, Services and owners, nominated Pods.
 */
import { seededRandom } from "#adapters/memory/random.ts";
import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import type { ApiObject, Stored } from "#machinery/meta.ts";

export interface Cluster {
  readonly id: string;
  readonly pod: Stored<Pod>;
  readonly nodes: readonly Stored<Node>[];
  readonly pods: readonly Stored<Pod>[];
  readonly nominated: readonly Stored<Pod>[];
  readonly objects: readonly Stored<ApiObject>[];
}

export const clusterCount = 500;
const zone = "topology.kubernetes.io/zone";
const host = "kubernetes.io/hostname";
const namespaces = [
  { name: "shop", labels: { team: "blue" } },
  { name: "lab", labels: { team: "red", test: "yes" } },
  { name: "attic", labels: {} },
];

class Lot {
  readonly #random: ReturnType<typeof seededRandom>;
  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }
  /** 0 … below. */
  below(count: number): number {
    return this.#random.uint32() % count;
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
  some<T>(list: readonly T[], percent: number): T[] {
    return list.filter(() => this.chance(percent));
  }
  /** The field, or nothing. */
  maybe<K extends string, V>(percent: number, key: K, make: () => V): { [P in K]?: V } {
    return this.chance(percent) ? ({ [key]: make() } as { [P in K]?: V }) : {};
  }
}

const meta = (name: string, over: object) => ({
  name,
  uid: `uid-${name}`,
  resourceVersion: "1",
  creationTimestamp: "2030-01-01T00:00:00Z",
  ...over,
});

const taintKeys = ["dedicated", "spot"];
const images = ["registry.example/web:1", "registry.example/db:2", "registry.example/tool"];

function drawNode(lot: Lot, at: number): unknown {
  const name = `node-${at}`;
  const labels = {
    [host]: name,
    ...lot.maybe(85, zone, () => lot.of(["east", "west", "north"])),
    ...lot.maybe(50, "disk", () => lot.of(["ssd", "hdd"])),
    ...lot.maybe(30, "rank", () => lot.of(["1", "5", "9"])),
  };
  const taints = lot.some(taintKeys, 14).map((key) => ({
    key,
    value: lot.of(["a", "b"]),
    effect: lot.of(["NoSchedule", "PreferNoSchedule", "PreferNoSchedule", "NoExecute"]),
  }));
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: meta(name, { labels }),
    spec: {
      ...(taints.length === 0 ? {} : { taints }),
      ...lot.maybe(5, "unschedulable", () => true),
    },
    status: {
      allocatable: {
        cpu: lot.of(["1", "2", "4", "3500m"]),
        memory: lot.of(["1Gi", "2Gi", "8Gi", "3000Mi"]),
        "ephemeral-storage": lot.of(["10Gi", "100Gi"]),
        pods: lot.chance(8) ? "3" : "110",
        ...lot.maybe(25, "example.com/gpu", () => lot.of(["1", "4"])),
      },
      images: lot.some(images, 40).map((image) => ({
        names: [image.includes(":", 18) ? image : `${image}:latest`],
        sizeBytes: lot.of([30, 300, 900]) * 1024 * 1024,
      })),
    },
  };
}

const drawLabels = (lot: Lot) => ({
  app: lot.of(["web", "db", "cache"]),
  ...lot.maybe(50, "tier", () => lot.of(["front", "back"])),
});
function drawSelector(lot: Lot): object {
  const app = lot.of(["web", "db", "cache"]);
  switch (lot.below(10)) {
    case 0:
      return { matchExpressions: [{ key: "app", operator: "NotIn", values: [app] }] };
    case 1:
      return { matchExpressions: [{ key: "tier", operator: "Exists" }] };
    case 2:
      return {};
    case 3:
      return { matchLabels: { app, tier: lot.of(["front", "back"]) } };
    default:
      return { matchLabels: { app } };
  }
}
const drawTerm = (lot: Lot) => ({
  topologyKey: lot.of([host, zone, zone, "disk"]),
  ...lot.maybe(95, "labelSelector", () => drawSelector(lot)),
  ...lot.maybe(15, "namespaces", () => lot.some(["shop", "lab", "attic"], 50)),
  ...lot.maybe(15, "namespaceSelector", () =>
    lot.of([{}, { matchLabels: { team: "blue" } }, { matchLabels: { test: "yes" } }]),
  ),
});
const drawPodTerms = (lot: Lot, required: number, preferred: number) => ({
  ...lot.maybe(required, "requiredDuringSchedulingIgnoredDuringExecution", () => [
    drawTerm(lot),
    ...(lot.chance(20) ? [drawTerm(lot)] : []),
  ]),
  ...lot.maybe(preferred, "preferredDuringSchedulingIgnoredDuringExecution", () => [
    { weight: 1 + lot.below(100), podAffinityTerm: drawTerm(lot) },
    ...(lot.chance(30) ? [{ weight: 1 + lot.below(100), podAffinityTerm: drawTerm(lot) }] : []),
  ]),
});
function drawNodeTerm(lot: Lot): object {
  switch (lot.below(5)) {
    case 0:
      return { matchExpressions: [{ key: "rank", operator: "Gt", values: ["3"] }] };
    case 1:
      return { matchExpressions: [{ key: zone, operator: "NotIn", values: ["east"] }] };
    case 2:
      return { matchFields: [{ key: "metadata.name", operator: "In", values: ["node-0"] }] };
    default:
      return { matchExpressions: [{ key: "disk", operator: "In", values: ["ssd"] }] };
  }
}

const drawRequests = (lot: Lot, crowded: boolean) => ({
  ...lot.maybe(85, "cpu", () => lot.of(crowded ? ["500m", "900m", "2"] : ["50m", "200m", "1"])),
  ...lot.maybe(75, "memory", () => lot.of(["100Mi", "500Mi", "1Gi"])),
  ...lot.maybe(5, "ephemeral-storage", () => "6Gi"),
  ...lot.maybe(8, "example.com/gpu", () => "1"),
});
function drawContainer(lot: Lot, name: string, crowded: boolean): object {
  const requests = drawRequests(lot, crowded);
  return {
    name,
    image: lot.of(images),
    resources: { requests, limits: {} },
    ...lot.maybe(12, "ports", () => [
      {
        containerPort: 80,
        hostPort: lot.of([80, 81]),
        protocol: lot.of(["TCP", "TCP", "UDP"]),
        ...lot.maybe(30, "hostIP", () => lot.of(["10.0.0.1", "10.0.0.2"])),
      },
    ]),
  };
}
const drawConstraint = (lot: Lot) => {
  const hard = lot.chance(60);
  return {
    maxSkew: 1 + lot.below(2),
    topologyKey: lot.of([zone, zone, host, "disk"]),
    whenUnsatisfiable: hard ? "DoNotSchedule" : "ScheduleAnyway",
    labelSelector: drawSelector(lot),
    ...(hard ? lot.maybe(20, "minDomains", () => 1 + lot.below(4)) : {}),
    ...lot.maybe(30, "nodeAffinityPolicy", () => lot.of(["Honor", "Ignore"])),
    ...lot.maybe(30, "nodeTaintsPolicy", () => lot.of(["Honor", "Ignore"])),
    ...lot.maybe(20, "matchLabelKeys", () => ["tier"]),
  };
};
const owners = [
  { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-rs" },
  { apiVersion: "apps/v1", kind: "StatefulSet", name: "db-ss" },
  { apiVersion: "v1", kind: "ReplicationController", name: "cache-rc" },
];

interface PodTraits {
  readonly crowded: boolean;
  /** How much it asks for beyond resources, of a hundred. */
  readonly wishes: number;
  readonly priorities: readonly number[];
  readonly spec: object;
  readonly status: object;
}
function drawPod(lot: Lot, name: string, traits: PodTraits): unknown {
  const { crowded, wishes } = traits;
  const nodeAffinity = {
    ...lot.maybe(wishes / 3, "requiredDuringSchedulingIgnoredDuringExecution", () => ({
      nodeSelectorTerms: [drawNodeTerm(lot), ...(lot.chance(30) ? [drawNodeTerm(lot)] : [])],
    })),
    ...lot.maybe(wishes / 2, "preferredDuringSchedulingIgnoredDuringExecution", () => [
      { weight: 1 + lot.below(100), preference: drawNodeTerm(lot) },
    ]),
  };
  const owner = lot.chance(40) ? [{ ...lot.of(owners), uid: "owner", controller: true }] : [];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: meta(name, {
      namespace: lot.of(["shop", "shop", "lab", "attic"]),
      labels: drawLabels(lot),
      ownerReferences: owner,
      ...(lot.chance(4) && "startTime" in traits.status
        ? { deletionTimestamp: "2030-01-02T00:00:00Z", deletionGracePeriodSeconds: 30 }
        : {}),
    }),
    spec: {
      schedulerName: "default-scheduler",
      priority: lot.of(traits.priorities),
      containers: [
        drawContainer(lot, "main", crowded),
        ...(lot.chance(15) ? [drawContainer(lot, "second", false)] : []),
      ],
      ...lot.maybe(10, "initContainers", () => [drawContainer(lot, "init", crowded)]),
      ...lot.maybe(5, "overhead", () => ({ cpu: "100m" })),
      ...lot.maybe(wishes / 4, "nodeSelector", () => ({ disk: lot.of(["ssd", "hdd"]) })),
      ...lot.maybe(wishes, "tolerations", () => [
        {
          key: lot.of(taintKeys),
          operator: "Exists",
          ...lot.maybe(50, "effect", () => "NoSchedule"),
        },
      ]),
      affinity: {
        ...(Object.keys(nodeAffinity).length === 0 ? {} : { nodeAffinity }),
        ...lot.maybe(wishes, "podAffinity", () => drawPodTerms(lot, wishes, 60)),
        ...lot.maybe(wishes, "podAntiAffinity", () => drawPodTerms(lot, wishes * 1.3, 60)),
      },
      ...lot.maybe(wishes, "topologySpreadConstraints", () => [
        drawConstraint(lot),
        ...(lot.chance(30) ? [drawConstraint(lot)] : []),
      ]),
      ...traits.spec,
    },
    status: traits.status,
  };
}

function drawObjects(lot: Lot): unknown[] {
  const objects: unknown[] = namespaces.map(({ name, labels }) => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: meta(name, { labels }),
  }));
  for (const app of lot.some(["web", "db", "cache"], 40)) {
    objects.push({
      apiVersion: "v1",
      kind: "Service",
      metadata: meta(`service-${app}`, { namespace: "shop" }),
      spec: { selector: { app } },
    });
  }
  for (const { apiVersion, kind, name } of owners) {
    const matchLabels = { app: name.split("-")[0] };
    const selector = kind === "ReplicationController" ? matchLabels : { matchLabels };
    const metadata = meta(name, { namespace: "shop" });
    if (lot.chance(70)) objects.push({ apiVersion, kind, metadata, spec: { selector } });
  }
  for (const at of [0, 1].filter(() => lot.chance(45))) {
    objects.push({
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: meta(`budget-${at}`, { namespace: lot.of(["shop", "lab"]) }),
      spec: { selector: drawSelector(lot) },
      status: {
        disruptionsAllowed: lot.below(2),
        currentHealthy: 1,
        desiredHealthy: 1,
        expectedPods: 1,
      },
    });
  }
  return objects;
}

export function drawCluster(seed: number): Cluster {
  const lot = new Lot(seed);
  const crowded = lot.chance(60);
  const nodes = Array.from({ length: 1 + lot.below(7) }, (_, at) => drawNode(lot, at));
  const pods: unknown[] = [];
  const wishes = lot.of([0, 10, 25]);
  for (const at of nodes.keys()) {
    for (let count = lot.below(crowded ? 5 : 4); count > 0; count -= 1) {
      const number = pods.length;
      // No two have the same age: which of equals is chosen is not said.
      const startTime = `2030-01-01T${String(10 + Math.floor(number / 60))}:${String(number % 60).padStart(2, "0")}:00Z`;
      pods.push(
        drawPod(lot, `pod-${number}`, {
          crowded,
          wishes,
          priorities: [0, 0, 10, 100, -5],
          spec: { nodeName: `node-${at}` },
          status: { phase: "Running", startTime },
        }),
      );
    }
  }
  const nominated = lot.chance(15)
    ? [
        drawPod(lot, "nominated", {
          crowded,
          wishes,
          priorities: [0, 100, 1000],
          spec: {},
          status: { phase: "Pending", nominatedNodeName: `node-${lot.below(nodes.length)}` },
        }),
      ]
    : [];
  const pod = drawPod(lot, "waiting", {
    crowded,
    wishes: lot.of([10, 30, 50]),
    priorities: crowded ? [100, 100, 50, 0] : [0, 50],
    spec: lot.maybe(8, "preemptionPolicy", () => "Never"),
    status: { phase: "Pending", ...lot.maybe(5, "nominatedNodeName", () => "node-0") },
  });
  const objects = drawObjects(lot);
  return { id: `cluster-${seed}`, pod, nodes, pods, nominated, objects } as unknown as Cluster;
}
