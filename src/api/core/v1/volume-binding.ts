/**
 * How claims and volumes find each other: upstream's annotations and rules, which the binder, the
 * scheduler, the kubelet and provisioners all go by. Pure.
 */
import type { Stored } from "#machinery/meta.ts";
import { compareQuantities, type Quantity, quantityOf } from "#machinery/quantity.ts";
import { compileLabelSelector } from "#machinery/selector.ts";
import type {
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  Volume,
} from "../../generated/core/v1.ts";
import { compileNodeSelector } from "./node-selector.ts";
import { storageClassOf } from "./storage-names.ts";

/** On a claim: it was bound, whatever its status may say. */
export const bindCompletedAnnotation = "pv.kubernetes.io/bind-completed";
/** On a claim or a volume: the binding was the binder's idea, not the user's. */
export const boundByControllerAnnotation = "pv.kubernetes.io/bound-by-controller";
/** On a claim: the node for which the scheduler wants a volume made. */
export const selectedNodeAnnotation = "volume.kubernetes.io/selected-node";
/** On a volume: who made it. */
export const provisionedByAnnotation = "pv.kubernetes.io/provisioned-by";
/** On a claim: who shall make its volume. The second is for provisioners of old. */
export const storageProvisionerAnnotations = [
  "volume.beta.kubernetes.io/storage-provisioner",
  "volume.kubernetes.io/storage-provisioner",
] as const;
/** The provisioner of classes whose volumes are made by hand. */
export const noProvisioner = "kubernetes.io/no-provisioner";

export const isBindCompleted = ({ metadata }: PersistentVolumeClaim): boolean =>
  metadata.annotations?.[bindCompletedAnnotation] !== undefined;

/** Bound, or reserved by name for this claim and nobody else. */
export function isReservedFor(
  { spec: { claimRef } }: PersistentVolume,
  { metadata }: Stored<PersistentVolumeClaim>,
): boolean {
  if (claimRef === undefined) return false;
  if (claimRef.name !== metadata.name || claimRef.namespace !== metadata.namespace) return false;
  return (claimRef.uid ?? "") === "" || claimRef.uid === metadata.uid;
}

export const isSameVolumeMode = (claim: PersistentVolumeClaim, volume: PersistentVolume): boolean =>
  (claim.spec.volumeMode ?? "Filesystem") === (volume.spec.volumeMode ?? "Filesystem");

export const isSameAttributesClass = (
  claim: PersistentVolumeClaim,
  volume: PersistentVolume,
): boolean =>
  (claim.spec.volumeAttributesClassName ?? "") === (volume.spec.volumeAttributesClassName ?? "");

export function hasAccessModes(claim: PersistentVolumeClaim, volume: PersistentVolume): boolean {
  const offered = volume.spec.accessModes ?? [];
  return (claim.spec.accessModes ?? []).every((mode) => offered.includes(mode));
}

const requestOf = ({ spec }: PersistentVolumeClaim): Quantity =>
  quantityOf(spec.resources.requests?.["storage"] ?? "0");
const capacityOf = ({ spec }: PersistentVolume): Quantity =>
  quantityOf(spec.capacity?.["storage"] ?? "0");

export const isLargeEnough = (claim: PersistentVolumeClaim, volume: PersistentVolume): boolean =>
  compareQuantities(capacityOf(volume), requestOf(claim)) >= 0;

/** A node as volumes see it. */
export interface VolumeNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>> | undefined;
}

/** Upstream: fields of nodes are not known to volumes, only labels. */
export function isReachableFrom({ spec }: PersistentVolume, node: VolumeNode): boolean {
  const selector = spec.nodeAffinity?.required;
  return selector === undefined || compileNodeSelector(selector)("", node.labels);
}

export interface MatchOptions {
  /** Only volumes that this node can reach; without: any, as far as the binder may decide. */
  readonly node?: VolumeNode;
  /** The class waits for a pod: without a node only what is reserved already matches. */
  readonly waits: boolean;
  readonly taken?: ReadonlySet<string>;
}

function isCandidate(
  claim: Stored<PersistentVolumeClaim>,
  volume: Stored<PersistentVolume>,
  taken: ReadonlySet<string> | undefined,
): boolean {
  if (taken?.has(volume.metadata.name) === true) return false;
  if (volume.spec.claimRef !== undefined && !isReservedFor(volume, claim)) return false;
  if (volume.metadata.deletionTimestamp !== undefined) return false;
  return (
    isLargeEnough(claim, volume) &&
    isSameVolumeMode(claim, volume) &&
    isSameAttributesClass(claim, volume)
  );
}

/** The volume reserved for the claim, else the smallest that does; undefined: none. */
export function findMatchingVolume(
  claim: Stored<PersistentVolumeClaim>,
  volumes: Iterable<Stored<PersistentVolume>>,
  { node, waits, taken }: MatchOptions,
): Stored<PersistentVolume> | undefined {
  const { selector } = claim.spec;
  const selects = selector === undefined ? undefined : compileLabelSelector(selector);
  const name = storageClassOf(claim);
  let best: Stored<PersistentVolume> | undefined;
  for (const volume of volumes) {
    if (!hasAccessModes(claim, volume) || !isCandidate(claim, volume, taken)) continue;
    const reachable = node === undefined || isReachableFrom(volume, node);
    if (isReservedFor(volume, claim)) return reachable ? volume : undefined;
    if (node === undefined && waits) continue;
    if (volume.status.phase !== "Available" || !reachable) continue;
    if (selects?.(volume.metadata.labels) === false || storageClassOf(volume) !== name) continue;
    if (best === undefined || isBetter(volume, best)) best = volume;
  }
  return best;
}

/** The one with fewer ways of access first, then the smaller one, then by name. */
function isBetter(volume: Stored<PersistentVolume>, best: Stored<PersistentVolume>): boolean {
  const modes = ({ spec }: PersistentVolume): number => (spec.accessModes ?? []).length;
  const difference =
    modes(volume) - modes(best) || compareQuantities(capacityOf(volume), capacityOf(best));
  if (difference !== 0) return difference < 0;
  return volume.metadata.name < best.metadata.name;
}

/** Why a volume that a claim names will not do; undefined: it will. */
export function mismatchOf(
  volume: Stored<PersistentVolume>,
  claim: PersistentVolumeClaim,
): string | undefined {
  if (volume.metadata.deletionTimestamp !== undefined) {
    return `the volume is marked for deletion ${JSON.stringify(volume.metadata.name)}`;
  }
  if (!isLargeEnough(claim, volume)) return "requested PV is too small";
  if (storageClassOf(volume) !== storageClassOf(claim)) return "storageClassName does not match";
  if (!isSameAttributesClass(claim, volume)) return "volumeAttributesClassName does not match";
  if (!isSameVolumeMode(claim, volume)) return "incompatible volumeMode";
  return hasAccessModes(claim, volume) ? undefined : "incompatible accessMode";
}

/** The claim behind a pod's volume; undefined: it has none. */
export function claimNameOf(podName: string, volume: Volume): string | undefined {
  if (volume.persistentVolumeClaim !== undefined) return volume.persistentVolumeClaim.claimName;
  return volume.ephemeral === undefined ? undefined : `${podName}-${volume.name}`;
}

/** "namespace/name" of all claims that a pod uses. */
export function claimKeysOf({ metadata, spec }: Pod): string[] {
  return (spec.volumes ?? []).flatMap((volume) => {
    const name = claimNameOf(metadata.name ?? "", volume);
    return name === undefined ? [] : [`${metadata.namespace ?? ""}/${name}`];
  });
}

/** A claim may bear the name of a pod's ephemeral volume and yet be another's. */
export function ownershipProblem(
  { metadata: pod }: Pod,
  { metadata: claim }: PersistentVolumeClaim,
): string | undefined {
  const owned = (claim.ownerReferences ?? []).some(
    ({ controller, uid }) => controller === true && uid === pod.uid,
  );
  if (owned && claim.namespace === pod.namespace) return undefined;
  return `PVC ${claim.namespace ?? ""}/${claim.name ?? ""} was not created for pod ${pod.namespace ?? ""}/${pod.name ?? ""} (pod is not owner)`;
}

/** Whether a pod uses this very claim. */
export const usesClaim = (pod: Pod, claim: PersistentVolumeClaim): boolean =>
  (pod.spec.volumes ?? []).some(
    (volume) =>
      claimNameOf(pod.metadata.name ?? "", volume) === claim.metadata.name &&
      (volume.ephemeral === undefined || ownershipProblem(pod, claim) === undefined),
  );
