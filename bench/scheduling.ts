/**
 * How many Pods a second of CPU the scheduler decides on: plain Pods, and Pods of a Deployment that keep apart on hosts and spread over
 * zones, on 500 and 1000 simulated nodes. Decisions only: no server, no bindings.
 */
import { seededRandom } from "#adapters/memory/random.ts";
import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { Cache } from "#client/cache.ts";
import { decide } from "#control-plane/scheduler/cycle.ts";
import { ClusterPicture } from "#control-plane/scheduler/node-info.ts";
import { podInfoOf } from "#control-plane/scheduler/pod-info.ts";
import { defaultProfile } from "#control-plane/scheduler/profile.ts";
import type { Stored } from "#machinery/meta.ts";

const pods = 1000;
const meta = (name: string, labels: object) => ({
  name,
  namespace: "default",
  uid: name,
  resourceVersion: "1",
  creationTimestamp: "2030-01-01T00:00:00Z",
  labels,
});
const node = (at: number) =>
  ({
    apiVersion: "v1",
    kind: "Node",
    metadata: meta(`node-${at}`, {
      "kubernetes.io/hostname": `node-${at}`,
      "topology.kubernetes.io/zone": `zone-${at % 3}`,
    }),
    spec: {},
    status: { allocatable: { cpu: "16", memory: "64Gi", pods: "110" } },
  }) as unknown as Stored<Node>;
const selector = { matchLabels: { app: "web" } };
const spread = {
  topologySpreadConstraints: [
    {
      maxSkew: 1,
      topologyKey: "topology.kubernetes.io/zone",
      whenUnsatisfiable: "DoNotSchedule",
      labelSelector: selector,
    },
  ],
};
const preferred = {
  weight: 100,
  podAffinityTerm: { labelSelector: selector, topologyKey: "kubernetes.io/hostname" },
};
const apart = {
  affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [preferred] } },
};
const pod = (at: number, more: object) =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: meta(`pod-${at}`, { app: "web" }),
    spec: {
      containers: [
        { name: "c", image: "i", resources: { requests: { cpu: "100m", memory: "100Mi" } } },
      ],
      ...more,
    },
    status: {},
  }) as unknown as Stored<Pod>;

function measure(nodes: number, more: object): number {
  const picture = new ClusterPicture();
  for (let at = 0; at < nodes; at += 1) picture.setNode(node(at));
  const cache = new Cache<never>();
  const view = {
    get nodes() {
      return picture.nodes;
    },
    cache: () => cache,
    nodesWith: (trait: "affinity" | "requiredAntiAffinity") => picture.nodesWith(trait),
    nominatedTo: () => [],
    nominationOf: () => undefined,
    imageNodes: (image: string) => picture.imageNodes(image),
    memory: <T extends object>(_plugin: string, make: () => T) => make(),
    waitFor: () => Promise.reject(new Error("nothing changes here")),
  };
  const random = seededRandom(1);
  let from = 0;
  const before = process.cpuUsage();
  for (let at = 0; at < pods; at += 1) {
    const info = podInfoOf(pod(at, more));
    const decision = decide(defaultProfile, info, view, random, from);
    if (!decision.fits) throw new Error(decision.message);
    from = (from + decision.tried) % nodes;
    picture.assume(info, decision.node.name);
  }
  const { user, system } = process.cpuUsage(before);
  return Math.round(pods / ((user + system) / 1e6));
}

for (const nodes of [500, 1000]) {
  const rates = { plain: {}, spread, "apart on hosts": apart };
  for (const [name, more] of Object.entries(rates)) {
    measure(nodes, more);
    process.stdout.write(`${nodes} nodes, ${name}: ${measure(nodes, more)} pods/s of CPU\n`);
  }
}
