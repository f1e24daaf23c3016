/** The main paths of the controllers that keep a cluster in order. */
import type { Json } from "../mask.ts";
import type { Sequence, Step } from "./run.ts";
import { core, gone, node, patch, post, ready } from "./workloads.ts";

const apps = "/apis/apps/v1/namespaces/NAMESPACE";
const pod = (name: string, more: Json = {}): Step =>
  post(`${core}/pods`, {
    metadata: { name, labels: { app: "web" } },
    spec: { containers: [{ name: "a", image: "a:1" }], ...(more as object) },
  });
const replicas = (count: number): Step =>
  post(`${apps}/replicasets`, {
    metadata: { name: "web" },
    spec: {
      replicas: count,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: {
          containers: [{ name: "a", image: "a:1", ports: [{ name: "http", containerPort: 8080 }] }],
        },
      },
    },
  });
const service = (name: string, spec: object): Step =>
  post(`${core}/services`, { metadata: { name }, spec: { selector: { app: "web" }, ...spec } });
const ports = [{ name: "http", port: 80, targetPort: "http" }];

const endpoints: Sequence = {
  name: "endpoints",
  sees: ["discovery.k8s.io/v1/endpointslices", "endpoints"],
  steps: [
    ["a Service of nothing", service("web", { ports })],
    ["Pods", replicas(3), { waitMs: 3_000 }],
    ["two are ready", ready(2), { waitMs: 3_000 }],
    ["all are ready", ready(), { waitMs: 3_000 }],
    ["one is not", { pods: "", become: "unready", most: 1 }, { waitMs: 3_000 }],
    [
      "another port",
      patch(`${core}/services/web`, {
        spec: { ports: [{ name: "http", port: 80, targetPort: 9090 }] },
      }),
      { waitMs: 3_000 },
    ],
    [
      "headless, not ready ones too",
      service("all", { clusterIP: "None", publishNotReadyAddresses: true }),
      { waitMs: 3_000 },
    ],
    ["without a selector", service("bare", { selector: null, ports }), { waitMs: 3_000 }],
    [
      "endpoints by hand",
      post(`${core}/endpoints`, {
        metadata: { name: "bare" },
        subsets: [{ addresses: [{ ip: "192.0.2.1" }], ports: [{ name: "http", port: 80 }] }],
      }),
      { waitMs: 3_000 },
    ],
    [
      "another selector",
      patch(`${core}/services/web`, { spec: { selector: { app: "none" } } }),
      { waitMs: 3_000 },
    ],
    ["no Service", gone(`${core}/services/web`), gone(`${core}/services/bare`), { waitMs: 3_000 }],
  ],
};

const collection: Sequence = {
  name: "collection",
  sees: ["apps/v1/replicasets", "pods", "configmaps"],
  steps: [
    ["create", replicas(2)],
    [
      "a dependent that holds on",
      patch(`${core}/configmaps/kube-root-ca.crt`, { metadata: { labels: { a: "b" } } }),
    ],
    ["in the foreground", gone(`${apps}/replicasets/web`, "Foreground"), { waitMs: 3_000 }],
    ["again", replicas(2)],
    ["in the background", gone(`${apps}/replicasets/web`), { waitMs: 3_000 }],
    ["once more", replicas(2)],
    ["orphaned", gone(`${apps}/replicasets/web`, "Orphan"), { waitMs: 3_000 }],
    [
      "of an owner that is not there",
      post(`${core}/configmaps`, {
        metadata: {
          name: "lost",
          ownerReferences: [
            {
              apiVersion: "v1",
              kind: "Pod",
              name: "none",
              uid: "00000000-0000-0000-0000-000000000001",
            },
          ],
        },
      }),
      { waitMs: 3_000 },
    ],
  ],
};

const furniture: Sequence = {
  name: "furniture",
  sees: ["serviceaccounts", "configmaps"],
  steps: [
    ["as it comes"],
    ["the account is deleted", gone(`${core}/serviceaccounts/default`)],
    ["the certificate is deleted", gone(`${core}/configmaps/kube-root-ca.crt`)],
    [
      "the certificate is changed",
      patch(`${core}/configmaps/kube-root-ca.crt`, { data: { "ca.crt": "x", more: "y" } }),
    ],
  ],
};

const ending: Sequence = {
  name: "ending",
  sees: ["/api/v1/namespaces?fieldSelector=metadata.name%3Dseq-ending", "configmaps", "pods"],
  steps: [
    [
      "what is in it",
      post(`${core}/configmaps`, { metadata: { name: "held", finalizers: ["example.com/a"] } }),
      pod("one"),
    ],
    ["deleted", gone("/api/v1/namespaces/NAMESPACE"), { waitMs: 8_000 }],
    [
      "freed",
      patch(`${core}/configmaps/held`, { metadata: { finalizers: null } }),
      { waitMs: 20_000 },
    ],
  ],
};

const requests = (cpu: string): Json => ({
  containers: [{ name: "a", image: "a:1", resources: { requests: { cpu } } }],
});
const quota: Sequence = {
  name: "quota",
  sees: ["resourcequotas", "pods"],
  steps: [
    [
      "create",
      post(`${core}/resourcequotas`, {
        metadata: { name: "small" },
        spec: { hard: { pods: "2", "requests.cpu": "1", "count/configmaps": "3", services: "1" } },
      }),
      { waitMs: 3_000 },
    ],
    ["a Pod", pod("one", requests("300m")), { waitMs: 3_000 }],
    ["too much", pod("two", requests("800m")), { waitMs: 3_000 }],
    ["as much as there is", pod("two", requests("700m")), { waitMs: 3_000 }],
    ["too many", pod("three", requests("0")), { waitMs: 3_000 }],
    ["one ends", { pods: "", become: "succeeded", most: 1 }, { waitMs: 8_000 }],
    ["one is deleted", gone(`${core}/pods/two`), { waitMs: 8_000 }],
    [
      "more",
      patch(`${core}/resourcequotas/small`, { spec: { hard: { pods: "5" } } }),
      { waitMs: 3_000 },
    ],
  ],
};

const volume = (name: string, storage: string): Step =>
  post("/api/v1/persistentvolumes", {
    metadata: { name, labels: { seq: "volumes" } },
    spec: {
      capacity: { storage },
      accessModes: ["ReadWriteOnce"],
      persistentVolumeReclaimPolicy: "Retain",
      storageClassName: "manual",
      hostPath: { path: "/a" },
    },
  });
const volumes: Sequence = {
  name: "volumes",
  sees: [
    "/api/v1/persistentvolumes?labelSelector=seq%3Dvolumes",
    "persistentvolumeclaims",
    "events",
  ],
  steps: [
    ["volumes", volume("seq-small", "1Gi"), volume("seq-large", "9Gi"), { waitMs: 3_000 }],
    [
      "a claim",
      post(`${core}/persistentvolumeclaims`, {
        metadata: { name: "data" },
        spec: {
          accessModes: ["ReadWriteOnce"],
          storageClassName: "manual",
          resources: { requests: { storage: "500Mi" } },
        },
      }),
      { waitMs: 3_000 },
    ],
    [
      "a claim that nothing fits",
      post(`${core}/persistentvolumeclaims`, {
        metadata: { name: "huge" },
        spec: {
          accessModes: ["ReadWriteOnce"],
          storageClassName: "manual",
          resources: { requests: { storage: "50Gi" } },
        },
      }),
      { waitMs: 3_000 },
    ],
    ["the claim is deleted", gone(`${core}/persistentvolumeclaims/data`), { waitMs: 3_000 }],
    ["the volume is deleted", gone("/api/v1/persistentvolumes/seq-small"), { waitMs: 3_000 }],
    ["the other, too", gone("/api/v1/persistentvolumes/seq-large"), { waitMs: 3_000 }],
  ],
};

const budget: Sequence = {
  name: "budget",
  sees: ["policy/v1/poddisruptionbudgets"],
  steps: [
    [
      "create",
      post("/apis/policy/v1/namespaces/NAMESPACE/poddisruptionbudgets", {
        metadata: { name: "web" },
        spec: { minAvailable: 2, selector: { matchLabels: { app: "web" } } },
      }),
      post("/apis/policy/v1/namespaces/NAMESPACE/poddisruptionbudgets", {
        metadata: { name: "share" },
        spec: { maxUnavailable: "50%", selector: { matchLabels: { app: "web" } } },
      }),
      { waitMs: 3_000 },
    ],
    ["Pods", replicas(3), { waitMs: 3_000 }],
    ["two are ready", ready(2), { waitMs: 3_000 }],
    ["all are ready", ready(), { waitMs: 3_000 }],
    ["one is not", { pods: "", become: "unready", most: 1 }, { waitMs: 3_000 }],
    ["fewer", patch(`${apps}/replicasets/web`, { spec: { replicas: 1 } }), { waitMs: 3_000 }],
  ],
};

const said = (status: string): Step =>
  patch("/api/v1/nodes/seq-node/status", {
    status: { conditions: [{ type: "Ready", status, reason: "Test" }] },
  });
const tolerant: Json = {
  nodeName: "seq-node",
  tolerations: [
    {
      key: "node.kubernetes.io/not-ready",
      operator: "Exists",
      effect: "NoExecute",
      tolerationSeconds: 1,
    },
  ],
};
const nodes: Sequence = {
  name: "nodes",
  sees: ["/api/v1/nodes?labelSelector=seq%3Dnodes", "pods"],
  steps: [
    ["a node", ...node("seq-node", { seq: "nodes" }), { waitMs: 7_000 }],
    ["a Pod on it", pod("one", tolerant), pod("two", { nodeName: "seq-node" })],
    ["not ready", said("False"), { waitMs: 9_000 }],
    ["ready again", said("True"), { waitMs: 7_000 }],
    [
      "closed",
      patch("/api/v1/nodes/seq-node", { spec: { unschedulable: true } }),
      { waitMs: 7_000 },
    ],
    ["gone", gone("/api/v1/nodes/seq-node"), { waitMs: 7_000 }],
  ],
};

export const clusterPaths: readonly Sequence[] = [
  endpoints,
  collection,
  furniture,
  ending,
  quota,
  volumes,
  budget,
  nodes,
];
