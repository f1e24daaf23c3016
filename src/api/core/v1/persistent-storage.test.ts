/** PersistentVolume and PersistentVolumeClaim: what is refused, what may change, what a table shows. */
import { expect, test } from "vitest";
import {
  createErrors,
  decoded,
  formatted,
  prepared,
  testContext,
  updateErrors,
} from "../../test-objects.ts";
import { PersistentVolume } from "./persistentvolume.ts";
import { PersistentVolumeClaim } from "./persistentvolumeclaim.ts";

const metadata = { name: "v" };
const volumeSpec = {
  capacity: { storage: "1Gi" },
  accessModes: ["ReadWriteOnce"],
  hostPath: { path: "/data" },
};
const volume = (fields: object = {}) => ({ metadata, spec: { ...volumeSpec, ...fields } });
const affinity = {
  required: {
    nodeSelectorTerms: [{ matchExpressions: [{ key: "k", operator: "In", values: ["n"] }] }],
  },
};

test.each<[string, object, string[]]>([
  ["a plain one", {}, []],
  [
    "nothing said",
    { capacity: undefined, accessModes: undefined, hostPath: undefined },
    [
      "spec.accessModes: Required value",
      "spec.capacity: Required value",
      'spec.capacity: Unsupported value: null: supported values: "storage"',
      "spec: Required value: must specify a volume type",
    ],
  ],
  [
    "two sources",
    { nfs: { server: "s", path: "/" } },
    ["spec.nfs: Forbidden: may not specify more than 1 volume type"],
  ],
  [
    "local without a node",
    { hostPath: undefined, local: { path: "/x" } },
    ["spec.nodeAffinity: Required value: Local volume requires node affinity"],
  ],
  ["local", { hostPath: undefined, local: { path: "/x" }, nodeAffinity: affinity }, []],
  [
    "recycling the machine",
    { hostPath: { path: "//./" }, persistentVolumeReclaimPolicy: "Recycle" },
    [
      "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
    ],
  ],
  [
    "no room",
    { capacity: { storage: "0" } },
    ['spec.capacity[storage]: Invalid value: "0": must be greater than zero'],
  ],
  [
    "access of too many kinds",
    { accessModes: ["ReadWriteOncePod", "ReadWriteOnce", "x"] },
    [
      'spec.accessModes: Unsupported value: "x": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"',
      "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
    ],
  ],
])("PersistentVolume: %s", (_name, fields, expected) => {
  expect(createErrors(PersistentVolume, volume(fields))).toEqual(expected);
});

test("PersistentVolume: defaults, phase and its moment", () => {
  const made = prepared(PersistentVolume, volume());
  expect(made.spec).toMatchObject({
    persistentVolumeReclaimPolicy: "Retain",
    volumeMode: "Filesystem",
    hostPath: { type: "" },
  });
  expect(made.status).toEqual({
    phase: "Pending",
    lastPhaseTransitionTime: "2001-09-09T01:46:40Z",
  });
  const next = decoded(PersistentVolume, { ...volume(), status: { phase: "Available" } });
  const later = { ...testContext, now: testContext.now + 5000 };
  PersistentVolume.strategy.prepareForStatusUpdate?.(next, made, later);
  expect(next.status.lastPhaseTransitionTime).toBe("2001-09-09T01:46:45Z");
});

test("PersistentVolume: its source stays", () => {
  const [first, second] = updateErrors(
    PersistentVolume,
    volume(),
    volume({ hostPath: { path: "/other" }, volumeMode: "Block" }),
  );
  expect(first).toMatch(
    /^spec\.persistentvolumesource: Forbidden: spec\.persistentvolumesource is immutable after creation\n/,
  );
  expect(first).toContain('-  "path": "/data"');
  expect(second).toBe('volumeMode: Invalid value: "Block": field is immutable');
});

const claimSpec = {
  accessModes: ["ReadWriteOnce"],
  resources: { requests: { storage: "1Gi" } },
};
const claim = (fields: object = {}, status?: object) => ({
  metadata: { name: "c", namespace: "n" },
  spec: { ...claimSpec, ...fields },
  ...(status === undefined ? {} : { status }),
});

test.each<[string, object, string[]]>([
  ["a plain one", {}, []],
  [
    "nothing said",
    { accessModes: undefined, resources: {} },
    [
      "spec.accessModes: Required value: at least 1 access mode is required",
      "spec.resources[storage]: Required value",
    ],
  ],
  [
    "sources that differ",
    {
      dataSource: { kind: "PersistentVolumeClaim", name: "a" },
      dataSourceRef: { kind: "PersistentVolumeClaim", name: "b" },
    },
    ['spec: Invalid value: "spec.dataSource": must match dataSourceRef'],
  ],
])("PersistentVolumeClaim: %s", (_name, fields, expected) => {
  expect(createErrors(PersistentVolumeClaim, claim(fields))).toEqual(expected);
});

test("PersistentVolumeClaim: a source said one way is known both ways; others are dropped", () => {
  const source = { kind: "PersistentVolumeClaim", name: "a" };
  expect(prepared(PersistentVolumeClaim, claim({ dataSourceRef: source })).spec).toMatchObject({
    dataSource: source,
    dataSourceRef: source,
  });
  const unknown = { kind: "Pod", name: "a", apiGroup: "x.y" };
  expect(prepared(PersistentVolumeClaim, claim({ dataSource: unknown })).spec.dataSource).toBe(
    undefined,
  );
});

function changeErrors(before: object, after: object): string[] {
  const old = decoded(PersistentVolumeClaim, before);
  const next = decoded(PersistentVolumeClaim, after);
  return formatted(PersistentVolumeClaim.strategy.validateUpdate?.(next, old)).map(
    (text) => text.split("\n")[0] ?? "",
  );
}
const size = (storage: string) => ({ resources: { requests: { storage } } });
const bound = { phase: "Bound", capacity: { storage: "1Gi" } };
const fixed =
  "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

test.each<[string, object, object, string[]]>([
  ["the volume, once", claim(), claim({ volumeName: "v" }), []],
  ["the volume, again", claim({ volumeName: "v" }), claim({ volumeName: "w" }), [fixed]],
  ["more room while pending", claim(), claim(size("2Gi")), [fixed]],
  ["more room when bound", claim({}, bound), claim(size("2Gi"), bound), []],
  [
    "less room than there is",
    claim(size("2Gi"), bound),
    claim(size("1Gi"), bound),
    ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"],
  ],
  ["a class where none was", claim(), claim({ storageClassName: "s" }), []],
  ["another class", claim({ storageClassName: "s" }), claim({ storageClassName: "t" }), [fixed]],
])("PersistentVolumeClaim changes: %s", (_name, before, after, expected) => {
  expect(changeErrors(before, after)).toEqual(expected);
});

test("tables show what users know", () => {
  const cells = (object: object) =>
    PersistentVolumeClaim.printerColumns.map((column) =>
      column.value(decoded(PersistentVolumeClaim, object), 0),
    );
  expect(cells(claim({ storageClassName: "s" }))).toEqual([
    "Pending",
    "",
    "",
    "",
    "s",
    "<unset>",
    "<unknown>",
    "Filesystem",
  ]);
  const status = { ...bound, accessModes: ["ReadWriteMany", "ReadWriteOnce"] };
  expect(cells(claim({ volumeName: "v" }, status)).slice(0, 4)).toEqual([
    "Bound",
    "v",
    "1Gi",
    "RWO,RWX",
  ]);
  const row = decoded(PersistentVolume, {
    ...volume({ claimRef: { namespace: "n", name: "c" }, storageClassName: "s" }),
    status: { phase: "Bound" },
  });
  expect(PersistentVolume.printerColumns.map((column) => column.value(row, 0)).slice(0, 6)).toEqual(
    ["1Gi", "RWO", "Retain", "Bound", "n/c", "s"],
  );
});
