import { expect, test } from "vitest";
import type { Container, PodSpec } from "#api/generated/core/v1.ts";
import { computePodActions, type ProbeOutcome, type ProbeResults } from "./pod-actions.ts";
import { containerHash, type NodePod } from "./pod-spec.ts";
import type { ContainerRecord, PodRuntimeStatus } from "./runtime-status.ts";

const container = (name: string, more: Partial<Container> = {}): Container => ({
  name,
  image: "web:1",
  resources: {},
  ...more,
});
function podOf(spec: Partial<PodSpec>): NodePod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web", namespace: "default", uid: "u1" },
    spec: { containers: [container("a")], restartPolicy: "Always", ...spec },
    status: {},
  };
}
const record = (name: string, more: Partial<ContainerRecord> = {}): ContainerRecord => ({
  id: `${name}-id`,
  sandboxId: "s1",
  name,
  state: "running",
  hash: containerHash(container(name)),
  restartCount: 0,
  image: "web:1",
  imageRef: "sha256:1",
  createdAtMs: 1,
  exitCode: 0,
  reason: "",
  message: "",
  logPath: "",
  terminationMessagePath: "",
  terminationMessagePolicy: "",
  annotations: {},
  ...more,
});
const exited = (name: string, exitCode: number): ContainerRecord =>
  record(name, { state: "exited", exitCode });

function runtimeOf(
  containers: ContainerRecord[],
  ready = true,
  ips = ["10.0.0.1"],
): PodRuntimeStatus {
  const sandbox = {
    id: "s1",
    name: "web",
    namespace: "default",
    uid: "u1",
    attempt: 0,
    ready,
    createdAtMs: 0,
    labels: {},
    annotations: {},
    ips,
  };
  return { uid: "u1", name: "web", namespace: "default", ips, sandboxes: [sandbox], containers };
}
const nothing: PodRuntimeStatus = {
  uid: "u1",
  name: "web",
  namespace: "default",
  ips: [],
  sandboxes: [],
  containers: [],
};
function probes(of: Record<string, ProbeOutcome> = {}): ProbeResults {
  const result = (type: string) => (id: string) => of[`${type}/${id}`];
  return {
    liveness: result("liveness"),
    readiness: result("readiness"),
    startup: result("startup"),
  };
}

/** In short: what is done, in the order of doing. */
function decide(pod: NodePod, status: PodRuntimeStatus, results = probes()): string[] {
  const actions = computePodActions(pod, status, results);
  return [
    ...(actions.killPod ? ["kill pod"] : []),
    ...actions.containersToKill.map((one) => `kill ${one.record.name}: ${one.message}`),
    ...(actions.createSandbox ? [`sandbox ${actions.attempt}`] : []),
    ...actions.ephemeralContainersToStart.map((one) => `debug ${one.name}`),
    ...actions.initContainersToStart.map((one) => `init ${one.name}`),
    ...actions.containersToStart.map((one) => `start ${one.name}`),
  ];
}

const sidecar = (name: string, more: Partial<Container> = {}): Container =>
  container(name, { restartPolicy: "Always", ...more });
const probe = { exec: { command: ["true"] } };
const withInit = podOf({ initContainers: [container("i1"), container("i2")] });
const withSidecar = podOf({ initContainers: [sidecar("s"), container("i")] });
const two = podOf({ containers: [container("a"), container("b")] });
const never = podOf({ restartPolicy: "Never", containers: [container("a"), container("b")] });
const onFailure = podOf({ restartPolicy: "OnFailure" });

const table: readonly {
  readonly what: string;
  readonly pod: NodePod;
  readonly status: PodRuntimeStatus;
  readonly probes?: ProbeResults;
  readonly does: readonly string[];
}[] = [
  {
    what: "a new pod gets a sandbox and its containers",
    pod: two,
    status: nothing,
    does: ["kill pod", "sandbox 0", "start a", "start b"],
  },
  {
    what: "a pod that runs is left alone",
    pod: podOf({}),
    status: runtimeOf([record("a")]),
    does: [],
  },
  {
    what: "a crashed container is started again",
    pod: two,
    status: runtimeOf([exited("a", 1), record("b")]),
    does: ["start a"],
  },
  {
    what: "so is one that ended well, with restartPolicy Always",
    pod: podOf({}),
    status: runtimeOf([exited("a", 0)]),
    does: ["start a"],
  },
  {
    what: "OnFailure lets success be",
    pod: onFailure,
    status: runtimeOf([exited("a", 0)]),
    does: ["kill pod"],
  },
  {
    what: "OnFailure restarts a failure",
    pod: onFailure,
    status: runtimeOf([exited("a", 3)]),
    does: ["start a"],
  },
  {
    what: "Never leaves a failure, while others run",
    pod: never,
    status: runtimeOf([exited("a", 1), record("b")]),
    does: [],
  },
  {
    what: "a rule of the container's own wins over Never",
    pod: podOf({
      restartPolicy: "Never",
      containers: [
        container("a", {
          restartPolicy: "Never",
          restartPolicyRules: [{ action: "Restart", exitCodes: { operator: "In", values: [42] } }],
        }),
      ],
    }),
    status: runtimeOf([exited("a", 42)]),
    does: ["start a"],
  },
  {
    what: "a lost sandbox is replaced, and everything in it",
    pod: two,
    status: runtimeOf([exited("a", 137), exited("b", 137)], false),
    does: ["kill pod", "sandbox 1", "start a", "start b"],
  },
  {
    what: "a sandbox without address is replaced",
    pod: podOf({}),
    status: runtimeOf([], true, []),
    does: ["kill pod", "sandbox 1", "start a"],
  },
  {
    what: "but not on the host's network",
    pod: podOf({ hostNetwork: true }),
    status: runtimeOf([record("a")], true, []),
    does: [],
  },
  {
    what: "a pod that must not run again is only cleared away",
    pod: never,
    status: runtimeOf([exited("a", 0), exited("b", 0)], false),
    does: ["kill pod"],
  },
  {
    what: "the first init container starts with the sandbox",
    pod: withInit,
    status: nothing,
    does: ["kill pod", "sandbox 0", "init i1"],
  },
  {
    what: "while it runs nothing else does",
    pod: withInit,
    status: runtimeOf([record("i1")]),
    does: [],
  },
  {
    what: "the second follows the first",
    pod: withInit,
    status: runtimeOf([exited("i1", 0)]),
    does: ["init i2"],
  },
  {
    what: "a failed one is tried again",
    pod: withInit,
    status: runtimeOf([exited("i2", 1), exited("i1", 0)]),
    does: ["init i2"],
  },
  {
    what: "unless the pod may not restart",
    pod: { ...withInit, spec: { ...withInit.spec, restartPolicy: "Never" } },
    status: runtimeOf([exited("i1", 1)]),
    does: ["kill pod"],
  },
  {
    what: "after the last come the regular ones",
    pod: withInit,
    status: runtimeOf([exited("i2", 0)]),
    does: ["start a"],
  },
  {
    what: "init containers that were removed do not run again",
    pod: withInit,
    status: runtimeOf([record("a")]),
    does: [],
  },
  {
    what: "a sidecar that runs lets the next one start",
    pod: withSidecar,
    status: runtimeOf([record("s")]),
    does: ["init i"],
  },
  {
    what: "a sidecar with a startup probe makes the next one wait",
    pod: podOf({ initContainers: [sidecar("s", { startupProbe: probe }), container("i")] }),
    status: runtimeOf([record("s")]),
    does: [],
  },
  {
    what: "until it has succeeded",
    pod: podOf({ initContainers: [sidecar("s", { startupProbe: probe }), container("i")] }),
    status: runtimeOf([record("s")]),
    probes: probes({ "startup/s-id": "success" }),
    does: ["init i"],
  },
  {
    what: "a sidecar that ended is restarted beside the regular ones",
    pod: withSidecar,
    status: runtimeOf([record("a"), exited("s", 0), exited("i", 0)]),
    does: ["init s"],
  },
  {
    what: "sidecars alone keep no pod alive",
    pod: { ...withSidecar, spec: { ...withSidecar.spec, restartPolicy: "Never" } },
    status: runtimeOf([exited("a", 0), record("s"), exited("i", 0)]),
    does: ["kill pod"],
  },
  {
    what: "a failed liveness probe replaces the container",
    pod: podOf({ containers: [container("a", { livenessProbe: probe })] }),
    status: runtimeOf([record("a")]),
    probes: probes({ "liveness/a-id": "failure" }),
    does: ["kill a: Container a failed liveness probe, will be restarted", "start a"],
  },
  {
    what: "or ends it where it must not come back",
    pod: podOf({
      restartPolicy: "Never",
      containers: [container("a", { livenessProbe: probe }), container("b")],
    }),
    status: runtimeOf([record("a"), record("b")]),
    probes: probes({ "liveness/a-id": "failure" }),
    does: ["kill a: Container a failed liveness probe"],
  },
  {
    what: "a failed startup probe does the same",
    pod: podOf({ containers: [container("a", { startupProbe: probe })] }),
    status: runtimeOf([record("a")]),
    probes: probes({ "startup/a-id": "failure" }),
    does: ["kill a: Container a failed startup probe, will be restarted", "start a"],
  },
  {
    what: "a new image replaces the container whatever the policy",
    pod: podOf({ restartPolicy: "Never", containers: [container("a", { image: "web:2" })] }),
    status: runtimeOf([record("a")]),
    does: ["kill a: Container a definition changed, will be restarted", "start a"],
  },
  {
    what: "a container of unknown state is killed before its successor starts",
    pod: podOf({}),
    status: runtimeOf([record("a", { state: "unknown" })]),
    does: ['kill a: Container is in "unknown" state, try killing it before restart', "start a"],
  },
  {
    what: "ephemeral containers start once",
    pod: podOf({ ephemeralContainers: [container("d"), container("e")] }),
    status: runtimeOf([record("a"), exited("d", 0)]),
    does: ["debug e"],
  },
];

for (const row of table) {
  test(row.what, () => {
    expect(decide(row.pod, row.status, row.probes)).toEqual(row.does);
  });
}

test("a deleted pod starts nothing", () => {
  const pod = podOf({});
  const deleted = {
    ...pod,
    metadata: { ...pod.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" },
  };
  expect(
    computePodActions(deleted, runtimeOf([exited("a", 1)]), probes()).containersToStart,
  ).toEqual([]);
});
