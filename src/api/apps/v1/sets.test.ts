import { expect, test } from "vitest";
import { PodTemplate } from "../../core/v1/podtemplate.ts";
import { ReplicationController } from "../../core/v1/replicationcontroller.ts";
import { createErrors, decoded, prepared, testContext, updateErrors } from "../../test-objects.ts";
import { ControllerRevision } from "./controllerrevision.ts";
import { DaemonSet } from "./daemonset.ts";
import { StatefulSet } from "./statefulset.ts";

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
  const claim = { metadata: { name: "data" }, spec: { accessModes: ["ReadWriteOnce"] } };
  const { spec } = decoded(StatefulSet, object({ volumeClaimTemplates: [claim] }));
  expect(spec).toMatchObject({
    replicas: 1,
    podManagementPolicy: "OrderedReady",
    updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 0, maxUnavailable: 1 } },
    persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
    revisionHistoryLimit: 10,
    volumeClaimTemplates: [
      {
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        spec: { volumeMode: "Filesystem" },
        status: { phase: "Pending" },
      },
    ],
  });
  expect(decoded(DaemonSet, object()).spec).toMatchObject({
    updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } },
    revisionHistoryLimit: 10,
  });
  const rc = decoded(ReplicationController, object({ selector: undefined }));
  expect(rc.spec).toMatchObject({ replicas: 1, selector: { app: "a" } });
  expect(rc.metadata.labels).toEqual({ app: "a" });
});

test.each<[string, object, string[]]>([
  ["a good one", {}, []],
  [
    "an unknown policy",
    { podManagementPolicy: "Chaos" },
    [`spec.podManagementPolicy: Invalid value: "Chaos": must be 'OrderedReady' or 'Parallel'`],
  ],
  [
    "an unknown strategy",
    { updateStrategy: { type: "Sudden" } },
    [
      `spec.updateStrategy: Invalid value: {"type":"Sudden"}: must be 'RollingUpdate' or 'OnDelete'`,
    ],
  ],
  [
    "numbers of another strategy",
    { updateStrategy: { type: "OnDelete", rollingUpdate: { partition: 1 } } },
    [
      `spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy 'RollingUpdate'`,
    ],
  ],
  [
    "no room to move",
    { updateStrategy: { rollingUpdate: { maxUnavailable: 0, partition: -1 } } },
    [
      "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
      "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
    ],
  ],
  [
    "an unknown retention",
    { persistentVolumeClaimRetentionPolicy: { whenScaled: "Burn" } },
    [
      'spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Burn": supported values: "Retain", "Delete"',
    ],
  ],
  [
    "an empty selector",
    { selector: {} },
    ["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"],
  ],
  [
    "claims without a size",
    { volumeClaimTemplates: [{ metadata: { name: "data" }, spec: {} }] },
    [
      "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
      "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value",
    ],
  ],
  [
    "mounts of a claim that there will be",
    {
      volumeClaimTemplates: [
        {
          metadata: { name: "data" },
          spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
        },
      ],
      template: {
        ...template,
        spec: {
          hostname: "Not A Name",
          containers: [
            { name: "a", image: "x:1", volumeMounts: [{ name: "data", mountPath: "/data" }] },
          ],
        },
      },
    },
    [],
  ],
  [
    "pods that end",
    { template: { ...template, spec: { ...template.spec, activeDeadlineSeconds: 5 } } },
    [
      "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported",
    ],
  ],
])("StatefulSet: %s", (_name, spec, expected) => {
  expect(createErrors(StatefulSet, object(spec))).toEqual(expected);
});

test("a StatefulSet keeps what its Pods are named by", () => {
  const next = object({ serviceName: "other", podManagementPolicy: "Parallel", replicas: 3 });
  expect(updateErrors(StatefulSet, object({ serviceName: "one" }), next)).toEqual([
    'spec.serviceName: Invalid value: "other": field is immutable',
    'spec.podManagementPolicy: Invalid value: "Parallel": field is immutable',
  ]);
  const counts = { replicas: 1, readyReplicas: 1, currentReplicas: 2, availableReplicas: 2 };
  expect(updateErrors(StatefulSet, object(), object({}, {}, counts), "status")).toEqual([
    "status.currentReplicas: Invalid value: 2: cannot be greater than status.replicas",
    "status.availableReplicas: Invalid value: 2: cannot be greater than status.replicas",
    "status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas",
  ]);
});

test.each<[string, object, string[]]>([
  ["a good one", {}, []],
  [
    "both kinds of room",
    { updateStrategy: { rollingUpdate: { maxUnavailable: 1, maxSurge: 1 } } },
    [
      "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
    ],
  ],
  [
    "no room",
    { updateStrategy: { rollingUpdate: { maxUnavailable: 0 } } },
    [
      "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
    ],
  ],
  [
    "an unknown strategy",
    { updateStrategy: { type: "Sudden" } },
    [
      'spec.updateStrategy: Unsupported value: {"type":"Sudden"}: supported values: "RollingUpdate", "OnDelete"',
    ],
  ],
  [
    "labels that do not fit",
    { template: { ...template, metadata: { labels: { app: "b" } } } },
    [
      'spec.template.metadata.labels: Invalid value: {"app":"b"}: `selector` does not match template `labels`',
    ],
  ],
])("DaemonSet: %s", (_name, spec, expected) => {
  expect(createErrors(DaemonSet, object(spec))).toEqual(expected);
});

test("the template's generation counts changes of the template alone", () => {
  const key = "deprecated.daemonset.template.generation";
  const old = prepared(DaemonSet, object());
  expect(old.metadata.annotations).toEqual({ [key]: "1" });
  const scaled = decoded(DaemonSet, object({ minReadySeconds: 5 }));
  DaemonSet.strategy.prepareForUpdate?.(scaled, old, testContext);
  expect(scaled.metadata.annotations?.[key]).toBe("1");
  const other = { ...template, spec: { containers: [{ name: "a", image: "x:2" }] } };
  const changed = decoded(DaemonSet, object({ template: other }, { annotations: { [key]: "9" } }));
  DaemonSet.strategy.prepareForUpdate?.(changed, old, testContext);
  expect(changed.metadata.annotations?.[key]).toBe("2");
});

test("ReplicationController and PodTemplate", () => {
  const none = { metadata: { name: "a", namespace: "ns" }, spec: {} };
  expect(createErrors(ReplicationController, none)).toEqual([
    "spec.selector: Required value",
    "spec.template: Required value",
  ]);
  const broken = { metadata: { name: "a", namespace: "ns" }, template: { spec: {} } };
  expect(createErrors(PodTemplate, broken)).toContain("template.spec.containers: Required value");
});

test("ControllerRevision: data is there, and stays", () => {
  const revision = (data: unknown, more: object = {}) => ({
    metadata: { name: "a", namespace: "ns", ...more },
    data,
    revision: 1,
  });
  expect(createErrors(ControllerRevision, revision({ a: 1 }))).toEqual([]);
  expect(createErrors(ControllerRevision, revision(undefined))).toEqual([
    "data: Required value: data is mandatory",
  ]);
  const [error] = updateErrors(ControllerRevision, revision({ a: 1 }), revision({ a: 2 }));
  expect(error).toMatch(/^data: Invalid value: .*: field is immutable$/);
  const owner = { apiVersion: "apps/v1", kind: "StatefulSet", name: "web", uid: "u" };
  const owned = decoded(
    ControllerRevision,
    revision({}, { ownerReferences: [{ ...owner, controller: true }] }),
  );
  expect(ControllerRevision.printerColumns[0]?.value(owned, 0)).toBe("statefulset.apps/web");
});
