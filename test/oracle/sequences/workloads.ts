/** The workload controllers' main paths. */
import type { Json } from "../mask.ts";
import type { Sequence, Step } from "./run.ts";

const merge = "application/merge-patch+json";
const apps = "/apis/apps/v1/namespaces/NAMESPACE";
const batch = "/apis/batch/v1/namespaces/NAMESPACE";
export const core = "/api/v1/namespaces/NAMESPACE";

export const post = (path: string, body: Json): Step => ({ ask: "POST", path, body });
export const patch = (path: string, body: Json): Step => ({
  ask: "PATCH",
  path,
  body,
  type: merge,
});
export const gone = (path: string, propagationPolicy = "Background"): Step => ({
  ask: "DELETE",
  path,
  body: { propagationPolicy },
});
export const ready = (most?: number): Step =>
  most === undefined ? { pods: "", become: "ready" } : { pods: "", become: "ready", most };
const end = (become: "failed" | "succeeded", most?: number): Step =>
  most === undefined ? { pods: "", become } : { pods: "", become, most };

const podSpec = (image = "a:1", more: object = {}): Json => ({
  ...more,
  containers: [{ name: "a", image }],
});
const template = (image = "a:1", more: object = {}): Json => ({
  metadata: { labels: { app: "web" } },
  spec: podSpec(image, more),
});
const selector = { matchLabels: { app: "web" } };
const imageOf = (image: string): Json => ({
  spec: { template: { spec: { containers: [{ name: "a", image }] } } },
});
const workload = (more: object, shape: Json = template()): Json => ({
  metadata: { name: "web" },
  spec: { selector, template: shape, ...more },
});

const deployment: Sequence = {
  name: "deployment",
  sees: ["apps/v1/deployments", "apps/v1/replicasets", "pods", "events"],
  steps: [
    ["create", post(`${apps}/deployments`, workload({ replicas: 3 }))],
    ["two are ready", ready(2)],
    ["all are ready", ready()],
    ["scale up", patch(`${apps}/deployments/web`, { spec: { replicas: 5 } })],
    ["all five are ready", ready()],
    ["a new image", patch(`${apps}/deployments/web`, imageOf("a:2"))],
    ["the first new ones are ready", ready()],
    ["the next new ones are ready", ready()],
    ["the last new ones are ready", ready()],
    ["all new ones are ready", ready()],
    ["back to the old image", patch(`${apps}/deployments/web`, imageOf("a:1"))],
    ["the old ones are ready", ready()],
    ["more old ones are ready", ready()],
    ["all old ones are ready", ready()],
    ["rolled back", ready()],
    [
      "paused, a third image",
      patch(`${apps}/deployments/web`, { spec: { paused: true } }),
      patch(`${apps}/deployments/web`, imageOf("a:3")),
    ],
    ["scaled while paused", patch(`${apps}/deployments/web`, { spec: { replicas: 4 } })],
    ["resumed", patch(`${apps}/deployments/web`, { spec: { paused: false } })],
    ["delete", gone(`${apps}/deployments/web`)],
  ],
};

const recreate: Sequence = {
  name: "recreate",
  sees: ["apps/v1/deployments", "apps/v1/replicasets", "pods", "events"],
  steps: [
    [
      "create",
      post(
        `${apps}/deployments`,
        workload({
          replicas: 2,
          strategy: { type: "Recreate" },
          revisionHistoryLimit: 1,
          progressDeadlineSeconds: 600,
        }),
      ),
    ],
    ["ready", ready()],
    ["a new image", patch(`${apps}/deployments/web`, imageOf("a:2"))],
    ["the new ones are ready", ready()],
    ["a third image", patch(`${apps}/deployments/web`, imageOf("a:3"))],
    ["the third ones are ready", ready()],
    ["to nothing", patch(`${apps}/deployments/web`, { spec: { replicas: 0 } })],
    ["delete, dependents stay", gone(`${apps}/deployments/web`, "Orphan")],
  ],
};

const labelled = (name: string, labels: Json): Json => ({
  metadata: { name, labels },
  spec: podSpec(),
});
const replicaSet: Sequence = {
  name: "replicaset",
  sees: ["apps/v1/replicasets", "pods", "events"],
  steps: [
    [
      "Pods of nobody",
      post(`${core}/pods`, labelled("one", { app: "web" })),
      post(`${core}/pods`, labelled("two", { app: "web" })),
      post(`${core}/pods`, labelled("other", { app: "db" })),
    ],
    ["adopted", post(`${apps}/replicasets`, workload({ replicas: 3 }))],
    ["ready", ready()],
    ["released", patch(`${core}/pods/one`, { metadata: { labels: { app: "freed" } } })],
    ["adopted again", patch(`${core}/pods/one`, { metadata: { labels: { app: "web" } } })],
    ["scaled down", patch(`${apps}/replicasets/web`, { spec: { replicas: 0 } })],
    ["scaled up", patch(`${apps}/replicasets/web`, { spec: { replicas: 2 } })],
    ["orphaned", gone(`${apps}/replicasets/web`, "Orphan")],
  ],
};

const claim: Json = {
  metadata: { name: "data" },
  spec: {
    accessModes: ["ReadWriteOnce"],
    resources: { requests: { storage: "1Gi" } },
    storageClassName: "",
  },
};
const statefulSet: Sequence = {
  name: "statefulset",
  sees: [
    "apps/v1/statefulsets",
    "apps/v1/controllerrevisions",
    "pods",
    "persistentvolumeclaims",
    "events",
  ],
  steps: [
    [
      "create",
      post(
        `${apps}/statefulsets`,
        workload({ replicas: 3, serviceName: "web", volumeClaimTemplates: [claim] }),
      ),
    ],
    ["the first is ready", ready()],
    ["the second is ready", ready()],
    ["the third is ready", ready()],
    [
      "a new image above partition 2",
      patch(`${apps}/statefulsets/web`, {
        spec: {
          ...(imageOf("a:2") as { spec: object }).spec,
          updateStrategy: { rollingUpdate: { partition: 2 } },
        },
      }),
    ],
    ["the updated one is ready", ready()],
    [
      "partition 0",
      patch(`${apps}/statefulsets/web`, {
        spec: { updateStrategy: { rollingUpdate: { partition: 0 } } },
      }),
    ],
    ["the next is ready", ready()],
    ["the last is ready", ready()],
    ["scale down", patch(`${apps}/statefulsets/web`, { spec: { replicas: 1 } })],
    ["one Pod is deleted", gone(`${core}/pods/web-0`)],
    ["it is ready again", ready()],
    [
      "claims go with it",
      patch(`${apps}/statefulsets/web`, {
        spec: {
          persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete", whenScaled: "Delete" },
        },
      }),
    ],
    ["delete", gone(`${apps}/statefulsets/web`)],
  ],
};

const parallel: Sequence = {
  name: "statefulset-parallel",
  sees: ["apps/v1/statefulsets", "apps/v1/controllerrevisions", "pods", "events"],
  steps: [
    [
      "create",
      post(
        `${apps}/statefulsets`,
        workload({
          replicas: 3,
          serviceName: "web",
          podManagementPolicy: "Parallel",
          ordinals: { start: 5 },
        }),
      ),
    ],
    ["ready", ready()],
    [
      "on delete",
      patch(`${apps}/statefulsets/web`, {
        spec: { updateStrategy: { type: "OnDelete", rollingUpdate: null } },
      }),
    ],
    ["a new image", patch(`${apps}/statefulsets/web`, imageOf("a:2"))],
    ["one is deleted", gone(`${core}/pods/web-6`)],
    ["to nothing", patch(`${apps}/statefulsets/web`, { spec: { replicas: 0 } })],
  ],
};

const healthy = {
  status: { conditions: [{ type: "Ready", status: "True", reason: "KubeletReady" }] },
};
export const node = (name: string, labels: Json = {}, spec: Json = {}): Step[] => [
  post("/api/v1/nodes", { metadata: { name, labels }, spec }),
  patch(`/api/v1/nodes/${name}/status`, healthy),
];
const daemonSet: Sequence = {
  name: "daemonset",
  sees: ["apps/v1/daemonsets", "apps/v1/controllerrevisions", "pods", "events"],
  steps: [
    [
      "nodes",
      ...node("ds-a", { disk: "ssd" }),
      ...node("ds-b", { disk: "ssd" }),
      ...node(
        "ds-c",
        { disk: "ssd" },
        { taints: [{ key: "a", value: "b", effect: "NoSchedule" }] },
      ),
      ...node("ds-d"),
      { waitMs: 6_000 },
    ],
    [
      "create",
      post(`${apps}/daemonsets`, workload({}, template("a:1", { nodeSelector: { disk: "ssd" } }))),
    ],
    ["ready", ready()],
    ["a node more", patch("/api/v1/nodes/ds-d", { metadata: { labels: { disk: "ssd" } } })],
    ["a new image", patch(`${apps}/daemonsets/web`, imageOf("a:2"))],
    ["one is ready", ready()],
    ["two are ready", ready()],
    ["all are ready", ready()],
    ["a node less", patch("/api/v1/nodes/ds-d", { metadata: { labels: { disk: null } } })],
    ["delete", gone(`${apps}/daemonsets/web`)],
    ["no nodes", ...["a", "b", "c", "d"].map((one) => gone(`/api/v1/nodes/ds-${one}`))],
  ],
};

const job = (name: string, spec: object): Step =>
  post(`${batch}/jobs`, {
    metadata: { name },
    spec: { template: { spec: podSpec("a:1", { restartPolicy: "Never" }) }, ...spec },
  });
const sees = ["batch/v1/jobs", "pods", "events"];
const jobs: Sequence[] = [
  {
    name: "job-success",
    sees,
    steps: [
      ["create", job("work", { completions: 3, parallelism: 2 })],
      ["ready", ready()],
      ["one succeeds", end("succeeded", 1)],
      ["the others succeed", end("succeeded")],
      ["the last succeeds", end("succeeded")],
      ["delete", gone(`${batch}/jobs/work`)],
    ],
  },
  {
    name: "job-failure",
    sees,
    steps: [
      ["create", job("work", { backoffLimit: 1 })],
      ["fails", end("failed"), { waitMs: 14_000 }],
      ["fails again", end("failed"), { waitMs: 4_000 }],
      [
        "another, that only this exit code ends",
        job("coded", {
          backoffLimit: 3,
          podFailurePolicy: {
            rules: [
              {
                action: "FailJob",
                onExitCodes: { containerName: "a", operator: "In", values: [1] },
              },
            ],
          },
        }),
      ],
      ["fails at once", end("failed"), { waitMs: 4_000 }],
    ],
  },
  {
    name: "job-indexed",
    sees,
    steps: [
      [
        "create",
        job("work", {
          completions: 3,
          parallelism: 3,
          completionMode: "Indexed",
          backoffLimitPerIndex: 0,
          maxFailedIndexes: 2,
        }),
      ],
      ["the first index fails", end("failed", 1), { waitMs: 3_000 }],
      ["the others succeed", end("succeeded"), { waitMs: 3_000 }],
    ],
  },
  {
    name: "job-suspended",
    sees,
    steps: [
      ["create", job("work", { suspend: true, parallelism: 2, completions: 2 })],
      ["resumed", patch(`${batch}/jobs/work`, { spec: { suspend: false } })],
      ["suspended", patch(`${batch}/jobs/work`, { spec: { suspend: true } })],
      ["resumed again", patch(`${batch}/jobs/work`, { spec: { suspend: false } })],
      ["fewer at a time", patch(`${batch}/jobs/work`, { spec: { parallelism: 1 } })],
    ],
  },
  {
    name: "job-ttl",
    sees: ["batch/v1/jobs", "pods"],
    steps: [
      ["create", job("work", { ttlSecondsAfterFinished: 3 })],
      ["succeeds", end("succeeded"), { waitMs: 7_000 }],
    ],
  },
];
const cronJob: Sequence = {
  name: "cronjob",
  sees: ["batch/v1/cronjobs", "batch/v1/jobs", "pods", "events"],
  steps: [
    [
      "suspended",
      post(`${batch}/cronjobs`, {
        metadata: { name: "tick" },
        spec: {
          schedule: "* * * * *",
          suspend: true,
          concurrencyPolicy: "Forbid",
          jobTemplate: { spec: { template: { spec: podSpec("a:1", { restartPolicy: "Never" }) } } },
        },
      }),
      { waitMs: 3_000 },
    ],
    ["delete", gone(`${batch}/cronjobs/tick`)],
  ],
};

export const workloads: readonly Sequence[] = [
  deployment,
  recreate,
  replicaSet,
  statefulSet,
  parallel,
  daemonSet,
  ...jobs,
  cronJob,
];
