/** What the binder makes of claims and of volumes. */
import { expect, test } from "vitest";
import type { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import type { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import type { StorageClass } from "#api/storage/v1/storageclass.ts";
import type { Stored } from "#machinery/meta.ts";
import { planVolume } from "./persistent-volume-binder.ts";
import { type ClaimView, planClaim } from "./persistent-volume-claim-binder.ts";

const claim = (spec: object = {}, metadata: object = {}): Stored<PersistentVolumeClaim> =>
  ({
    metadata: { namespace: "n", name: "c", uid: "u", ...metadata },
    spec: {
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "1Gi" } },
      storageClassName: "",
      ...spec,
    },
    status: { phase: "Pending" },
  }) as unknown as Stored<PersistentVolumeClaim>;
const volume = (name: string, spec: object = {}, more: object = {}): Stored<PersistentVolume> =>
  ({
    metadata: { name, ...more },
    spec: { accessModes: ["ReadWriteOnce"], capacity: { storage: "1Gi" }, ...spec },
    status: { phase: "Available" },
  }) as unknown as Stored<PersistentVolume>;
const storageClass = (spec: object): StorageClass =>
  ({
    metadata: { name: "fast", annotations: {} },
    provisioner: "example.com/p",
    volumeBindingMode: "Immediate",
    ...spec,
  }) as unknown as StorageClass;
const view = (
  volumes: readonly Stored<PersistentVolume>[] = [],
  classes: readonly StorageClass[] = [],
  waitingPods: readonly string[] = [],
): ClaimView => ({
  volume: (name) => volumes.find(({ metadata }) => metadata.name === name),
  volumes: () => volumes,
  storageClass: (name) => classes.find(({ metadata }) => metadata.name === name),
  storageClasses: () => classes,
  waitingPods: () => waitingPods,
});
const bound = { annotations: { "pv.kubernetes.io/bind-completed": "yes" } };
const fast = { storageClassName: "fast" };
const waits = storageClass({ volumeBindingMode: "WaitForFirstConsumer" });

test("a claim takes what is reserved for it, else the smallest that does", () => {
  const reserved = volume("r", {
    capacity: { storage: "9Gi" },
    claimRef: { namespace: "n", name: "c" },
  });
  const volumes = [volume("b"), volume("a"), volume("small", { capacity: { storage: "1Mi" } })];
  expect(planClaim(claim(), view(volumes))).toMatchObject({
    do: "bind",
    volume: { metadata: { name: "a" } },
  });
  expect(planClaim(claim(), view([...volumes, reserved]))).toMatchObject({
    do: "bind",
    volume: { metadata: { name: "r" } },
  });
});

test.each<[string, Stored<PersistentVolumeClaim>, ClaimView, object]>([
  ["no class", claim(), view(), { do: "wait", event: { reason: "FailedBinding" } }],
  [
    "a class that is not there",
    claim(fast),
    view(),
    { event: { message: 'storageclass.storage.k8s.io "fast" not found' } },
  ],
  [
    "a class that provisions",
    claim(fast),
    view([], [storageClass({})]),
    { do: "provision", provisioner: "example.com/p" },
  ],
  [
    "a class that waits",
    claim(fast),
    view([], [waits]),
    { event: { reason: "WaitForFirstConsumer" } },
  ],
  [
    "a class that waits, with pods",
    claim(fast),
    view([], [waits], ["p", "q"]),
    { event: { reason: "WaitForPodScheduled", message: "waiting for pods p,q to be scheduled" } },
  ],
  [
    "a class that waits, with a node",
    claim(fast, { annotations: { "volume.kubernetes.io/selected-node": "n1" } }),
    view([], [waits]),
    { do: "provision" },
  ],
  [
    "a volume that is too small",
    claim({ volumeName: "v" }),
    view([volume("v", { capacity: { storage: "1Mi" } })]),
    { event: { message: 'Cannot bind to requested volume "v": requested PV is too small' } },
  ],
  [
    "its volume is gone",
    claim({ volumeName: "v" }, bound),
    view(),
    { do: "lose", event: { reason: "ClaimLost" } },
  ],
  [
    "its volume is another's",
    claim({ volumeName: "v" }, bound),
    view([volume("v", { claimRef: { namespace: "n", name: "c", uid: "other" } })]),
    { do: "lose", event: { reason: "ClaimMisbound" } },
  ],
])("a claim with %s", (_name, one, around, expected) => {
  expect(planClaim(one, around)).toMatchObject(expected);
});

test.each<[string, Stored<PersistentVolume>, Stored<PersistentVolumeClaim> | undefined, object]>([
  ["free", volume("v"), undefined, { do: "phase", phase: "Available" }],
  [
    "bound",
    volume("v", { claimRef: { uid: "u" } }),
    claim({ volumeName: "v" }),
    { do: "phase", phase: "Bound" },
  ],
  ["left alone", volume("v", { claimRef: { uid: "u" } }), undefined, { do: "reclaim" }],
  [
    "of a namesake",
    volume("v", { claimRef: { uid: "other" } }),
    claim({ volumeName: "v" }),
    { do: "reclaim" },
  ],
  [
    "whose claim went elsewhere",
    volume("v", { claimRef: { uid: "u" } }),
    claim({ volumeName: "w" }),
    { do: "unbind" },
  ],
  [
    "made for a claim that went elsewhere",
    volume(
      "v",
      { claimRef: { uid: "u" }, persistentVolumeReclaimPolicy: "Delete" },
      { annotations: { "pv.kubernetes.io/provisioned-by": "example.com/p" } },
    ),
    claim({ volumeName: "w" }),
    { do: "reclaim" },
  ],
  ["about to be bound", volume("v", { claimRef: { uid: "u" } }), claim(), { do: "leave" }],
])("a volume that is %s", (_name, one, itsClaim, expected) => {
  expect(planVolume(one, itsClaim)).toEqual(expected);
});
