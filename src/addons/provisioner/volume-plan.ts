/** What the provisioner makes of claims and volumes. Pure. */
import type { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import type { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { storageClassOf } from "#api/core/v1/storage-names.ts";
import {
  provisionedByAnnotation,
  selectedNodeAnnotation,
  storageProvisionerAnnotations,
} from "#api/core/v1/volume-binding.ts";
import type { StorageClass } from "#api/storage/v1/storageclass.ts";
import type { New } from "#client/client.ts";
import type { Stored } from "#machinery/meta.ts";
import { provisionerName } from "./storage-class.ts";

/** Upstream's: the volume object stays until its storage is gone. */
export const volumeFinalizer = "external-provisioner.volume.kubernetes.io/finalizer";
/** On a volume: the node that holds it. */
export const nodeAnnotation = "wherry.io/node";
const hostnameLabel = "kubernetes.io/hostname";

/** Upstream's form: one volume for each life of a claim. */
export const volumeNameOf = ({ metadata }: Stored<PersistentVolumeClaim>): string =>
  `pvc-${metadata.uid}`;

/** Whether a claim asks this provisioner for a volume. */
export function isForUs(
  claim: PersistentVolumeClaim,
  storageClass: StorageClass | undefined,
): boolean {
  const { metadata, spec } = claim;
  if (metadata.deletionTimestamp !== undefined || (spec.volumeName ?? "") !== "") return false;
  if (storageClass?.provisioner !== provisionerName) return false;
  return storageProvisionerAnnotations.some(
    (key) => metadata.annotations?.[key] === provisionerName,
  );
}

const oneNodeModes = ["ReadWriteOnce", "ReadWriteOncePod"];

/** What a directory on a node can't be; undefined: nothing. */
export function impossibleWish({ metadata, spec }: PersistentVolumeClaim): string | undefined {
  if (spec.selector !== undefined) return "claim.spec.selector is not supported";
  if (spec.dataSource !== undefined || spec.dataSourceRef !== undefined) {
    return "claim.spec.dataSource is not supported";
  }
  if ((spec.volumeMode ?? "Filesystem") !== "Filesystem") {
    return "only volumeMode Filesystem is supported";
  }
  const mode = (spec.accessModes ?? []).find((one) => !oneNodeModes.includes(one));
  if (mode !== undefined) {
    return `accessMode ${mode} is not supported: a volume is a directory of one node, use ReadWriteOnce or ReadWriteOncePod`;
  }
  if (metadata.annotations?.[selectedNodeAnnotation] === undefined) {
    return "no node was specified: the class must have volumeBindingMode WaitForFirstConsumer";
  }
  return undefined;
}

interface NodePlace {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>> | undefined;
}

export function newVolume(
  claim: Stored<PersistentVolumeClaim>,
  { reclaimPolicy, mountOptions }: StorageClass,
  node: NodePlace,
  path: string,
): New<PersistentVolume> {
  const { name, namespace = "", uid, resourceVersion } = claim.metadata;
  const policy = reclaimPolicy ?? "Delete";
  const host = node.labels?.[hostnameLabel] ?? node.name;
  return {
    metadata: {
      name: volumeNameOf(claim),
      annotations: { [provisionedByAnnotation]: provisionerName, [nodeAnnotation]: node.name },
      ...(policy === "Delete" ? { finalizers: [volumeFinalizer] } : {}),
    },
    spec: {
      capacity: { storage: claim.spec.resources.requests?.["storage"] ?? "0" },
      accessModes: [...(claim.spec.accessModes ?? [])],
      claimRef: {
        kind: "PersistentVolumeClaim",
        namespace,
        name,
        uid,
        apiVersion: "v1",
        resourceVersion,
      },
      persistentVolumeReclaimPolicy: policy,
      storageClassName: storageClassOf(claim),
      volumeMode: "Filesystem",
      ...(mountOptions === undefined ? {} : { mountOptions: [...mountOptions] }),
      local: { path },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: hostnameLabel, operator: "In", values: [host] }] },
          ],
        },
      },
    },
  };
}

/**
 * "remove": its data and the object; "release": only the mark, for its data stays; "none": it is not ours, or still in use.
 */
export function endOf(volume: PersistentVolume): "remove" | "release" | "none" {
  const { metadata, spec, status } = volume;
  if (metadata.annotations?.[provisionedByAnnotation] !== provisionerName) return "none";
  const isMarked = (metadata.finalizers ?? []).includes(volumeFinalizer);
  const isEnding = metadata.deletionTimestamp !== undefined;
  if (spec.persistentVolumeReclaimPolicy !== "Delete") {
    return isEnding && isMarked ? "release" : "none";
  }
  if (isEnding && !isMarked) return "none";
  return status.phase === "Released" || status.phase === "Failed" ? "remove" : "none";
}
