import { expect, test } from "vitest";
import { createErrors, decoded, testContext, updateErrors } from "../../test-objects.ts";
import { Deployment } from "./deployment.ts";
import { ReplicaSet } from "./replicaset.ts";

const template = {
  metadata: { labels: { app: "a" } },
  spec: { containers: [{ name: "a", image: "x:1" }] },
};
const object = (spec: object = {}, metadata: object = {}, status: object = {}) => ({
  metadata: { name: "d", namespace: "ns", generation: 1, ...metadata },
  spec: { selector: { matchLabels: { app: "a" } }, template, ...spec },
  status,
});

test("defaults", () => {
  const { spec } = decoded(Deployment, object());
  expect(spec.replicas).toBe(1);
  expect(spec.revisionHistoryLimit).toBe(10);
  expect(spec.progressDeadlineSeconds).toBe(600);
  expect(spec.strategy).toEqual({
    type: "RollingUpdate",
    rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" },
  });
  expect(spec.template.spec.restartPolicy).toBe("Always");
  expect(spec.template.spec.enableServiceLinks).toBeUndefined();
  expect(decoded(ReplicaSet, object()).spec.replicas).toBe(1);
});

const mismatch = '{"app":"b"}: `selector` does not match template `labels`';

test.each<[string, object, string[]]>([
  ["a good one", object(), []],
  [
    "no selector",
    object({ selector: undefined }),
    [
      "spec.selector: Required value",
      'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`',
    ],
  ],
  [
    "an empty selector",
    object({ selector: {} }),
    ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
  ],
  [
    "labels that do not fit",
    object({ template: { ...template, metadata: { labels: { app: "b" } } } }),
    [`spec.template.metadata.labels: Invalid value: ${mismatch}`],
  ],
  [
    "pods that end",
    object({
      template: {
        ...template,
        spec: { ...template.spec, restartPolicy: "Never", activeDeadlineSeconds: 5 },
      },
    }),
    [
      'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
      "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
    ],
  ],
  [
    "fewer than none",
    object({ replicas: -1 }),
    ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
  ],
])("both kinds: %s", (_name, one, expected) => {
  expect(createErrors(Deployment, one)).toEqual(expected);
  expect(createErrors(ReplicaSet, one)).toEqual(expected);
});

test.each<[string, object, string[]]>([
  [
    "recreating with a rolling update's numbers",
    { strategy: { type: "Recreate", rollingUpdate: { maxSurge: 1 } } },
    [
      "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
    ],
  ],
  [
    "no room to move",
    { strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: "0%" } } },
    [
      'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
    ],
  ],
  [
    "more than all",
    { strategy: { rollingUpdate: { maxUnavailable: "150%", maxSurge: "x" } } },
    [
      "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
      'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "150%": must not be greater than 100%',
    ],
  ],
  [
    "an unknown strategy",
    { strategy: { type: "Sudden" } },
    [
      'spec.strategy: Unsupported value: {"type":"Sudden"}: supported values: "Recreate", "RollingUpdate"',
    ],
  ],
  [
    "a deadline before pods can be ready",
    { progressDeadlineSeconds: 5, minReadySeconds: 5 },
    ["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
  ],
])("deployment: %s", (_name, spec, expected) => {
  expect(createErrors(Deployment, object(spec))).toEqual(expected);
});

test("the selector stays", () => {
  const next = object({
    selector: { matchLabels: { app: "b" } },
    template: { ...template, metadata: { labels: { app: "b" } } },
  });
  const expected = [
    'spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable',
  ];
  expect(updateErrors(Deployment, object(), next)).toEqual(expected);
  expect(updateErrors(ReplicaSet, object(), next)).toEqual(expected);
});

test("status: counts make sense, tries only grow", () => {
  const status = { replicas: 1, readyReplicas: 2, availableReplicas: 3, collisionCount: 1 };
  expect(updateErrors(Deployment, object(), object({}, {}, status), "status")).toEqual([
    "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
    "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
    "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
  ]);
  const old = object({}, {}, { collisionCount: 2 });
  expect(updateErrors(Deployment, old, object({}, {}, { collisionCount: 1 }), "status")).toEqual([
    "status.collisionCount: Invalid value: 1: cannot be decremented",
  ]);
  const negative = object({}, {}, { replicas: -1 });
  expect(updateErrors(ReplicaSet, object(), negative, "status")).toContain(
    "status.replicas: Invalid value: -1: must be greater than or equal to 0",
  );
});

test("annotations of a Deployment raise its generation", () => {
  const old = decoded(Deployment, object());
  const next = decoded(Deployment, object({}, { annotations: { a: "b" } }));
  Deployment.strategy.prepareForUpdate?.(next, old, testContext);
  expect(next.metadata.generation).toBe(2);
});

test("columns", () => {
  const now = 1_000_000_000_000;
  const metadata = { creationTimestamp: "2001-09-09T01:45:40Z" };
  const status = { replicas: 2, readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1 };
  const deployment = decoded(Deployment, object({ replicas: 3 }, metadata, status));
  const cells = Deployment.printerColumns.map((column) => column.value(deployment, now));
  expect(cells).toEqual(["1/3", 2, 1, "60s", "a", "x:1", "app=a"]);
  const set = decoded(ReplicaSet, object({ replicas: 3 }, metadata, status));
  const setCells = ReplicaSet.printerColumns.map((column) => column.value(set, now));
  expect(setCells).toEqual([3, 2, 1, "60s", "a", "x:1", "app=a"]);
});
