import { expect, test } from "vitest";
import { seededRandom } from "#adapters/memory/random.ts";
import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { Cache } from "#client/cache.ts";
import type { Stored } from "#machinery/meta.ts";
import { decide, feasibleEnough } from "./cycle.ts";
import { ClusterPicture } from "./node-info.ts";
import type { SchedulerView } from "./plugin.ts";
import { podInfoOf } from "./pod-info.ts";
import { defaultProfile } from "./profile.ts";

const meta = (name: string, over: object = {}) => ({
  name,
  uid: `uid-${name}`,
  resourceVersion: "1",
  creationTimestamp: "2030-01-01T00:00:00Z",
  ...over,
});
interface NodeTraits {
  readonly cpu?: string;
  readonly memory?: string;
  readonly pods?: string;
  readonly labels?: Record<string, string>;
  readonly spec?: object;
  readonly images?: readonly object[];
}
const node = (name: string, traits: NodeTraits = {}): Stored<Node> =>
  ({
    apiVersion: "v1",
    kind: "Node",
    metadata: meta(name, { labels: { "kubernetes.io/hostname": name, ...traits.labels } }),
    spec: traits.spec ?? {},
    status: {
      allocatable: {
        cpu: traits.cpu ?? "4",
        memory: traits.memory ?? "8Gi",
        pods: traits.pods ?? "110",
      },
      images: traits.images ?? [],
    },
  }) as unknown as Stored<Node>;
const pod = (name: string, spec: object = {}, over: object = {}): Stored<Pod> =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: meta(name, { namespace: "default", ...over }),
    spec: { containers: [{ name: "c", image: "i" }], ...spec },
    status: {},
  }) as unknown as Stored<Pod>;
const requests = (cpu: string, memory: string) => ({
  containers: [{ name: "c", image: "i", resources: { requests: { cpu, memory } } }],
});

class World implements SchedulerView {
  readonly picture = new ClusterPicture();
  readonly random = seededRandom(1);
  get nodes() {
    return this.picture.nodes;
  }
  cache() {
    return new Cache<never>();
  }
  nodesWith(trait: "affinity" | "requiredAntiAffinity") {
    return this.picture.nodesWith(trait);
  }
  nominatedTo() {
    return [];
  }
  nominationOf() {
    return undefined;
  }
  imageNodes(image: string) {
    return this.picture.imageNodes(image);
  }
  memory<T extends object>(_plugin: string, make: () => T): T {
    return make();
  }
  waitFor(): Promise<never> {
    return Promise.reject(new Error("nothing changes here"));
  }
  constructor(nodes: readonly Stored<Node>[]) {
    for (const one of nodes) this.picture.setNode(one);
  }
  decide(one: Stored<Pod>) {
    return decide(defaultProfile, podInfoOf(one), this, this.random, 0);
  }
  place(one: Stored<Pod>): string {
    const decision = this.decide(one);
    if (!decision.fits) return decision.message;
    this.picture.assume(podInfoOf(one), decision.node.name);
    return decision.node.name;
  }
}

test("says why nothing fits, in upstream's words and order", () => {
  const world = new World([
    node("a", { cpu: "1" }),
    node("b", { spec: { unschedulable: true } }),
    node("c", { spec: { taints: [{ key: "k", value: "v", effect: "NoSchedule" }] } }),
    node("d", { pods: "0" }),
    node("e", { memory: "1Gi" }),
  ]);
  expect(world.place(pod("p", requests("2", "2Gi")))).toBe(
    "0/5 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. preemption: 0/5 nodes are available: 1 No preemption victims found for incoming pod, 4 Preemption is not helpful for scheduling.",
  );
  expect(new World([]).place(pod("p"))).toBe("no nodes available to schedule pods");
});

test("node name, selector, affinity by field and by label", () => {
  const world = new World([node("a"), node("b", { labels: { disk: "ssd" } })]);
  expect(world.place(pod("p", { nodeSelector: { disk: "ssd" } }))).toBe("b");
  expect(world.place(pod("q", { nodeSelector: { disk: "hdd" } }))).toBe(
    "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
  );
  const affinity = (term: object) => ({
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] },
      },
    },
  });
  const field = { key: "metadata.name", operator: "In", values: ["a"] };
  expect(world.place(pod("r", affinity({ matchFields: [field] })))).toBe("a");
  const absent = { key: "disk", operator: "DoesNotExist" };
  expect(world.place(pod("s", affinity({ matchExpressions: [absent] })))).toBe("a");
  expect(world.place(pod("t", affinity({})))).toMatch(/node affinity\/selector/);
});

test("host ports are not shared, nor is more given out than there is", () => {
  const world = new World([node("a", { cpu: "1" })]);
  const port = (hostIP: string) => ({
    containers: [{ name: "c", image: "i", ports: [{ containerPort: 80, hostPort: 80, hostIP }] }],
  });
  expect(world.place(pod("p", port("10.0.0.1")))).toBe("a");
  expect(world.place(pod("q", port("10.0.0.2")))).toBe("a");
  expect(world.place(pod("r", port("")))).toBe(
    "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
  );
  expect(world.place(pod("s", requests("700m", "1Gi")))).toBe("a");
  expect(world.place(pod("t", requests("301m", "1Gi")))).toMatch(/Insufficient cpu/);
  world.picture.removePod("uid-s");
  expect(world.place(pod("t", requests("301m", "1Gi")))).toBe("a");
});

test("spreads over emptier nodes, prefers tolerated and preferred ones", () => {
  const world = new World([node("a"), node("b"), node("c")]);
  const places = ["1", "2", "3"].map((name) => world.place(pod(name, requests("1", "2Gi"))));
  expect(new Set(places).size).toBe(3);
  const soft = new World([
    node("a", { spec: { taints: [{ key: "k", effect: "PreferNoSchedule" }] } }),
    node("b", { cpu: "2" }),
  ]);
  expect(soft.place(pod("p", requests("1", "1Gi")))).toBe("b");
});

test("topology spread: the skew is kept, missing labels are told apart", () => {
  const zone = "topology.kubernetes.io/zone";
  const world = new World([
    node("a", { labels: { [zone]: "x" } }),
    node("b", { labels: { [zone]: "y" }, cpu: "100m" }),
    node("c"),
  ]);
  const spread = {
    ...requests("100m", "1Gi"),
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: zone,
        whenUnsatisfiable: "DoNotSchedule",
        labelSelector: { matchLabels: { app: "web" } },
      },
    ],
  };
  const labels = { labels: { app: "web" } };
  const first = world.place(pod("1", spread, labels));
  const second = world.place(pod("2", spread, labels));
  expect([first, second].sort()).toEqual(["a", "b"]);
  expect(world.place(pod("3", spread, labels))).toBe("a");
  expect(world.place(pod("4", spread, labels))).toBe(
    "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints, 1 node(s) didn't match pod topology spread constraints (missing required label). preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod.",
  );
});

test("init containers, sidecars and overhead count at their peak", () => {
  const init = (name: string, cpu: string, restartPolicy?: string) => ({
    name,
    image: "i",
    resources: { requests: { cpu } },
    ...(restartPolicy === undefined ? {} : { restartPolicy }),
  });
  const info = podInfoOf(
    pod("p", {
      ...requests("500m", "1Gi"),
      initContainers: [init("side", "200m", "Always"), init("setup", "1")],
      overhead: { cpu: "50m" },
    }),
  );
  expect(info.requests.milliCpu).toBe(1250);
});

test("in large clusters only a share of the nodes is tried", () => {
  expect([50, 100, 1000, 5000, 15000].map((nodes) => feasibleEnough(nodes))).toEqual([
    50, 100, 420, 500, 750,
  ]);
});
