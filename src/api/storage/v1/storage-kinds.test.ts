/** The kinds of storage.k8s.io: what is refused, what is filled in, what a list shows. */
import { expect, test } from "vitest";
import { createErrors, decoded, prepared, updateErrors } from "../../test-objects.ts";
import { CSIDriver } from "./csidriver.ts";
import { CSINode } from "./csinode.ts";
import { CSIStorageCapacity } from "./csistoragecapacity.ts";
import { defaultStorageClassOf, StorageClass } from "./storageclass.ts";
import { VolumeAttachment } from "./volumeattachment.ts";
import { VolumeAttributesClass } from "./volumeattributesclass.ts";

const metadata = { name: "x" };
const provisioner = "example.com/p";

test.each<[string, object, string[]]>([
  ["a plain one", { provisioner }, []],
  ["nobody provisions", {}, ["provisioner: Required value"]],
  [
    "policies",
    { provisioner, reclaimPolicy: "Recycle", volumeBindingMode: "Later" },
    [
      'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
      'volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"',
    ],
  ],
  [
    "topologies",
    {
      provisioner,
      allowedTopologies: [
        { matchLabelExpressions: [{ key: "zone", values: ["a", "a"] }] },
        { matchLabelExpressions: [{ key: "zone", values: ["a"] }] },
      ],
    },
    [
      'allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a"',
      'allowedTopologies[1].matchLabelExpressions: Duplicate value: ""',
    ],
  ],
])("StorageClass: %s", (_name, fields, expected) => {
  expect(createErrors(StorageClass, { metadata, ...fields })).toEqual(expected);
});

test("StorageClass: defaults, and what never changes", () => {
  const made = prepared(StorageClass, { metadata, provisioner });
  expect(made).toMatchObject({ reclaimPolicy: "Delete", volumeBindingMode: "Immediate" });
  expect(
    updateErrors(StorageClass, { metadata, provisioner }, { metadata, provisioner: "other" }),
  ).toEqual(["provisioner: Invalid value: null: field is immutable"]);
});

test("StorageClass: a list marks the default, the newest of several", () => {
  const one = (name: string, creationTimestamp: string) =>
    decoded(StorageClass, {
      metadata: {
        name,
        creationTimestamp,
        annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
      },
      provisioner,
    });
  const list = [one("old", "2024-01-01T00:00:00Z"), one("new", "2024-01-02T00:00:00Z")];
  const names = (rows: typeof list, all?: typeof list) =>
    rows.map((row) => StorageClass.printerColumns[0]?.value(row, 0, all));
  expect(names(list, list)).toEqual(["old", "new (default)"]);
  expect(names(list)).toEqual(["old", "new"]);
  expect(defaultStorageClassOf(list)?.metadata.name).toBe("new");
});

test("VolumeAttributesClass", () => {
  const driverName = "example.com";
  expect(createErrors(VolumeAttributesClass, { metadata, driverName })).toEqual([
    "parameters: Required value: must contain at least one key/value pair",
  ]);
  const made = { metadata, driverName, parameters: { iops: "1" } };
  expect(updateErrors(VolumeAttributesClass, made, { ...made, parameters: { iops: "2" } })).toEqual(
    ["parameters: Forbidden: updates to parameters are forbidden."],
  );
});

test("CSIDriver: defaults and limits", () => {
  expect(prepared(CSIDriver, { metadata, spec: {} }).spec).toMatchObject({
    attachRequired: true,
    podInfoOnMount: false,
    fsGroupPolicy: "ReadWriteOnceWithFSType",
    volumeLifecycleModes: ["Persistent"],
  });
  const spec = {
    fsGroupPolicy: "x",
    tokenRequests: [{ audience: "a", expirationSeconds: 1 }, { audience: "a" }],
    volumeLifecycleModes: ["y"],
  };
  expect(createErrors(CSIDriver, { metadata, spec })).toEqual([
    'spec.fsGroupPolicy: Unsupported value: "x": supported values: "File", "None", "ReadWriteOnceWithFSType"',
    "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
    'spec.tokenRequests[1].audience: Duplicate value: "a"',
    'spec.volumeLifecycleModes: Unsupported value: "y": supported values: "Persistent", "Ephemeral"',
  ]);
  expect(
    updateErrors(CSIDriver, { metadata, spec: {} }, { metadata, spec: { attachRequired: false } }),
  ).toEqual(["spec.attachedRequired: Invalid value: false: field is immutable"]);
});

test("CSINode: drivers once each; only their room changes", () => {
  const driver = { name: "example.com", nodeID: "n", topologyKeys: [] as string[] };
  expect(createErrors(CSINode, { metadata, spec: { drivers: [driver, driver] } })).toEqual([
    'spec.drivers[1].name: Duplicate value: "example.com"',
  ]);
  const made = { metadata, spec: { drivers: [driver] } };
  const roomier = { ...driver, allocatable: { count: 3 } };
  expect(updateErrors(CSINode, made, { metadata, spec: { drivers: [roomier] } })).toEqual([]);
  const renamed = { ...driver, nodeID: "m" };
  expect(updateErrors(CSINode, made, { metadata, spec: { drivers: [renamed] } })).toHaveLength(1);
});

test("CSIStorageCapacity", () => {
  const made = { metadata: { name: "x", namespace: "n" }, storageClassName: "fast" };
  expect(createErrors(CSIStorageCapacity, { ...made, capacity: "-1" })).toEqual([
    'capacity: Invalid value: "-1": must be greater than or equal to 0',
  ]);
  expect(updateErrors(CSIStorageCapacity, made, { ...made, storageClassName: "slow" })).toEqual([
    'storageClassName: Invalid value: "slow": field is immutable',
  ]);
});

test("VolumeAttachment: one source", () => {
  const spec = { attacher: "example.com", nodeName: "n", source: {} };
  expect(createErrors(VolumeAttachment, { metadata, spec })).toEqual([
    "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
  ]);
  const inlineVolumeSpec = {
    capacity: { storage: "1Gi" },
    accessModes: ["ReadWriteOnce"],
    hostPath: { path: "/x" },
  };
  expect(
    createErrors(VolumeAttachment, { metadata, spec: { ...spec, source: { inlineVolumeSpec } } }),
  ).toEqual([
    "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
    "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes",
  ]);
});
