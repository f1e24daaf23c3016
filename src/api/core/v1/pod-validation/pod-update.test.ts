import { expect, test } from "vitest";
import { decoded, prepared, testContext, updateErrors } from "../../../test-objects.ts";
import { Pod } from "../pod.ts";

const pod = (spec: object = {}, metadata: object = {}, status: object = {}) => ({
  metadata: { name: "p", namespace: "ns", generation: 1, ...metadata },
  spec: { containers: [{ name: "a", image: "x" }], ...spec },
  status,
});
const fixed =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

test.each<[string, object, object, string[]]>([
  ["nothing", pod(), pod(), []],
  [
    "an image",
    pod(),
    pod({ containers: [{ name: "a", image: "y", imagePullPolicy: "Always" }] }),
    [],
  ],
  ["a toleration more", pod(), pod({ tolerations: [{ key: "a", operator: "Exists" }] }), []],
  [
    "a toleration changed",
    pod({ tolerations: [{ key: "a", operator: "Exists" }] }),
    pod({ tolerations: [{ key: "b", operator: "Exists" }] }),
    [
      "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
    ],
  ],
  ["a deadline comes", pod(), pod({ activeDeadlineSeconds: 5 }), []],
  [
    "a deadline grows",
    pod({ activeDeadlineSeconds: 5 }),
    pod({ activeDeadlineSeconds: 6 }),
    ["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"],
  ],
  [
    "a deadline goes",
    pod({ activeDeadlineSeconds: 5 }),
    pod(),
    [
      "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
    ],
  ],
  [
    "a container more",
    pod(),
    pod({
      containers: [
        { name: "a", image: "x" },
        { name: "b", image: "x" },
      ],
    }),
    ["spec.containers: Forbidden: pod updates may not add or remove containers"],
  ],
  [
    "another field",
    pod(),
    pod({ nodeSelector: { a: "b" } }),
    [
      `spec: Forbidden: ${fixed}\n@@ -12,6 +12,9 @@\n  "restartPolicy": "Always",\n  "terminationGracePeriodSeconds": 30,\n  "dnsPolicy": "ClusterFirst",\n+ "nodeSelector": {\n+  "a": "b"\n+ },\n  "securityContext": {},\n  "schedulerName": "default-scheduler",\n  "enableServiceLinks": true\n`,
    ],
  ],
  [
    "a gate more",
    pod(),
    pod({ schedulingGates: [{ name: "a/b" }] }),
    [
      "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a/b'",
    ],
  ],
  [
    "a narrower selector while gated",
    pod({ schedulingGates: [{ name: "a/b" }], nodeSelector: { a: "b" } }),
    pod({ schedulingGates: [{ name: "a/b" }], nodeSelector: { a: "b", c: "d" } }),
    [],
  ],
  [
    "another selector while gated",
    pod({ schedulingGates: [{ name: "a/b" }], nodeSelector: { a: "b" } }),
    pod({ nodeSelector: { a: "c" } }),
    [
      'spec.nodeSelector: Invalid value: {"a":"c"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)',
    ],
  ],
  [
    "an annotation of the kubelet's",
    pod({ nodeName: "n" }),
    pod({ nodeName: "n" }, { annotations: { "kubernetes.io/config.mirror": "x" } }),
    [
      "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation",
    ],
  ],
])("update: %s", (_name, old, next, expected) => {
  expect(updateErrors(Pod, old, next)).toEqual(expected);
});

test("what was broken before does not stop other changes", () => {
  const broken = {
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: "z",
        whenUnsatisfiable: "DoNotSchedule",
        labelSelector: { matchLabels: { a: "-" } },
      },
    ],
  };
  const labelled = pod(broken, { labels: { x: "y" } });
  expect(updateErrors(Pod, pod(broken), labelled)).toEqual([]);
});

const sized = (cpu: string, extra: object = {}) =>
  pod({ containers: [{ name: "a", image: "x", resources: { requests: { cpu } }, ...extra }] });

test("resize changes CPU and memory, and nothing else gets through", () => {
  expect(updateErrors(Pod, sized("1"), sized("2", { image: "ignored" }), "resize")).toEqual([]);
  expect(updateErrors(Pod, sized("1"), pod(), "resize")).toEqual([
    'spec: Invalid value: "": Pod QOS Class may not change as a result of resizing',
    "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
  ]);
  const other = sized("1", { resources: { requests: { cpu: "1", "ephemeral-storage": "1Gi" } } });
  expect(updateErrors(Pod, sized("1"), other, "resize")).toEqual([
    "spec: Forbidden: only cpu and memory resources are mutable",
  ]);
  expect(updateErrors(Pod, sized("1"), sized("2"))[0]).toContain(fixed);
});

test("debugging containers may come, not go or change", () => {
  const debug = (image: string) => pod({ ephemeralContainers: [{ name: "d", image }] });
  expect(updateErrors(Pod, pod(), debug("x"), "ephemeralcontainers")).toEqual([]);
  expect(updateErrors(Pod, debug("x"), pod(), "ephemeralcontainers")).toEqual([
    'spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be removed\n',
  ]);
  expect(updateErrors(Pod, debug("x"), debug("y"), "ephemeralcontainers")[0]).toMatch(
    /^spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be changed\n@@/,
  );
  const bad = pod({
    ephemeralContainers: [
      { name: "d", image: "x", targetContainerName: "z", ports: [{ containerPort: 1 }] },
    ],
  });
  expect(updateErrors(Pod, pod(), bad, "ephemeralcontainers")).toEqual([
    'spec.ephemeralContainers[0].targetContainerName: Not found: "z"',
    "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
  ]);
});

const ended = { name: "a", state: { terminated: { exitCode: 1 } } };
const alive = { name: "a", state: { running: {} } };
const statusErrors = (spec: object, before: object, status: object): string[] => {
  const old = decoded(Pod, pod(spec, {}, before));
  const next = decoded(Pod, pod(spec, {}, status));
  Pod.strategy.prepareForStatusUpdate?.(next, old, testContext);
  const errors = Pod.strategy.validateStatusUpdate?.(next, old) ?? [];
  return errors.map(({ path, message }) => `${path}: ${message}`);
};

test.each<[string, object, object, object, string[]]>([
  ["a restart", {}, { containerStatuses: [ended] }, { containerStatuses: [alive] }, []],
  [
    "a restart that is not to be",
    { restartPolicy: "Never" },
    { containerStatuses: [ended] },
    { containerStatuses: [alive] },
    [
      "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state",
    ],
  ],
  [
    "a restart after failure",
    { restartPolicy: "OnFailure" },
    { containerStatuses: [ended] },
    { containerStatuses: [alive] },
    [],
  ],
  [
    "addresses",
    {},
    {},
    { podIP: "10.0.0.1", podIPs: [{ ip: "10.0.0.1" }, { ip: "10.0.0.2" }] },
    [
      'status.podIPs: Invalid value: [{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]: may specify no more than one IP for each IP family',
    ],
  ],
  ["two families", {}, {}, { podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }] }, []],
  [
    "the QoS class",
    {},
    { qosClass: "Burstable" },
    { qosClass: "BestEffort" },
    ['status.qosClass: Invalid value: "BestEffort": field is immutable'],
  ],
  ["the QoS class left out", {}, { qosClass: "Burstable" }, {}, []],
  [
    "a nomination after binding",
    { nodeName: "n" },
    {},
    { nominatedNodeName: "m" },
    [
      "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node",
    ],
  ],
])("status: %s", (_name, spec, before, status, expected) => {
  expect(statusErrors(spec, before, status)).toEqual(expected);
});

test("creation: pending, classed, gated, generation 1; what is switched off is dropped", () => {
  const made = prepared(
    Pod,
    pod(
      {
        schedulingGates: [{ name: "a/b" }],
        schedulingGroup: { podGroupName: "x" },
        containers: [
          {
            name: "a",
            image: "x",
            lifecycle: { stopSignal: "SIGINT" },
            livenessProbe: { grpc: { port: 1, mode: "TLS" } },
          },
        ],
      },
      {},
      { phase: "Running", podIP: "1.2.3.4" },
    ),
  );
  expect(made.metadata.generation).toBe(1);
  expect(made.status).toEqual({
    phase: "Pending",
    qosClass: "BestEffort",
    conditions: [
      {
        type: "PodScheduled",
        status: "False",
        lastTransitionTime: "2001-09-09T01:46:40Z",
        reason: "SchedulingGated",
        message: "Scheduling is blocked due to non-empty scheduling gates",
      },
    ],
  });
  expect(made.spec.schedulingGroup).toBeUndefined();
  expect(made.spec.containers[0]?.lifecycle).toBeUndefined();
  expect(made.spec.containers[0]?.livenessProbe?.grpc).toEqual({ port: 1, service: "" });
});

test("labels named by key become part of selectors", () => {
  const made = prepared(
    Pod,
    pod(
      {
        topologySpreadConstraints: [
          {
            maxSkew: 1,
            topologyKey: "z",
            whenUnsatisfiable: "DoNotSchedule",
            labelSelector: {},
            matchLabelKeys: ["rev", "absent"],
          },
        ],
      },
      { labels: { rev: "7" } },
    ),
  );
  expect(made.spec.topologySpreadConstraints?.[0]?.labelSelector).toEqual({
    matchExpressions: [{ key: "rev", operator: "In", values: ["7"] }],
  });
});

test("the annotation of old becomes the profile, and its author hears of it", () => {
  const key = "container.apparmor.security.beta.kubernetes.io/a";
  const object = decoded(Pod, pod({}, { annotations: { [key]: "localhost/mine" } }));
  const heard: string[] = [];
  const warn = (message: string) => void heard.push(message);
  Pod.strategy.prepareForCreate?.(object, { ...testContext, warn });
  expect(object.spec.containers[0]?.securityContext?.appArmorProfile).toEqual({
    type: "Localhost",
    localhostProfile: "mine",
  });
  expect(heard).toEqual([
    `metadata.annotations[${key}]: deprecated since v1.30; use the "appArmorProfile" field instead`,
  ]);
});

test("a spec that changes raises the generation, another status does not", () => {
  const old = prepared(Pod, pod());
  const changed = decoded(Pod, pod({ activeDeadlineSeconds: 5 }));
  Pod.strategy.prepareForUpdate?.(changed, old, testContext);
  expect(changed.metadata.generation).toBe(2);
  const same = decoded(Pod, pod({}, { labels: { a: "b" } }));
  Pod.strategy.prepareForUpdate?.(same, old, testContext);
  expect(same.metadata.generation).toBe(1);
});

test.each<[string, object, object, number | undefined, number]>([
  ["not scheduled", {}, {}, undefined, 0],
  ["not scheduled, asked for", {}, {}, 10, 0],
  ["the pod's own", { nodeName: "n" }, {}, undefined, 30],
  ["asked for", { nodeName: "n" }, {}, 5, 5],
  ["at once", { nodeName: "n" }, {}, 0, 0],
  ["negative", { nodeName: "n" }, {}, -7, 1],
  ["ended", { nodeName: "n" }, { phase: "Failed" }, 5, 0],
])("grace: %s", (_name, spec, status, asked, expected) => {
  const object = decoded(Pod, pod(spec, {}, status));
  expect(Pod.strategy.gracePeriodSeconds?.(object, asked)).toBe(expected);
});
