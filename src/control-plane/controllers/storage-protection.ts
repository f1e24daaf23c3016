/**
 * Storage protection: claims that pods use, volumes that are bound and classes that are in use lose the mark that keeps them only
 * when they are free; and every bound claim says whether anybody uses it. Reads Pods; writes finalizers, and the claims' condition.
 */
import { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { isPodTerminal } from "#api/core/v1/pod-status.ts";
import { claimKeysOf, ownershipProblem, usesClaim } from "#api/core/v1/volume-binding.ts";
import type { PersistentVolumeClaimCondition } from "#api/generated/core/v1.ts";
import type { Kind } from "#api/resource.ts";
import { VolumeAttributesClass } from "#api/storage/v1/volumeattributesclass.ts";
import { findCondition } from "#machinery/conditions.ts";
import { type ApiObject, keyOf, type Stored } from "#machinery/meta.ts";
import { cloneJson } from "#machinery/object.ts";
import { formatTime } from "#machinery/time.ts";
import { index, type ReconcileContext, watch } from "./controller.ts";
import { podsByClaimIndex } from "./persistent-volume-claim-binder.ts";
import { defineController } from "./runner.ts";

const claimFinalizer = "kubernetes.io/pvc-protection";
const volumeFinalizer = "kubernetes.io/pv-protection";
const classFinalizer = "kubernetes.io/vac-protection";

/** Adds the mark to what lives, takes it off what is to go and free. */
async function keepFinalizer<T extends ApiObject>(
  kind: Kind<T>,
  object: Stored<T>,
  finalizer: string,
  isUsed: () => Promise<boolean> | boolean,
  { client }: ReconcileContext,
): Promise<void> {
  const present = object.metadata.finalizers ?? [];
  const has = present.includes(finalizer);
  const isEnding = object.metadata.deletionTimestamp !== undefined;
  if (has !== isEnding || (isEnding && (await isUsed()))) return;
  const next: Stored<T> = cloneJson(object);
  next.metadata.finalizers = isEnding
    ? present.filter((one) => one !== finalizer)
    : [...present, finalizer];
  await client.update(kind, next);
}

/** The kubelet is done with it, or it was removed by force. */
const isShutDown = ({ metadata }: Pod): boolean =>
  metadata.deletionTimestamp !== undefined && metadata.deletionGracePeriodSeconds === 0;

/** A pod that is placed keeps its claims, even when it has ended: its volumes may still be mounted. */
export function keepsClaim(pod: Pod, claim: PersistentVolumeClaim): boolean {
  if ((pod.spec.nodeName ?? "") === "") return false;
  const { name } = claim.metadata;
  return (pod.spec.volumes ?? []).some((volume) => {
    if (volume.persistentVolumeClaim?.claimName === name) return true;
    if (volume.ephemeral === undefined || isShutDown(pod)) return false;
    return usesClaim(pod, claim) && ownershipProblem(pod, claim) === undefined;
  });
}

async function isClaimKept(
  claim: Stored<PersistentVolumeClaim>,
  context: ReconcileContext,
): Promise<boolean> {
  const cached = context.cache(Pod).byIndex(podsByClaimIndex, keyOf(claim));
  if (cached.some((pod) => keepsClaim(pod, claim))) return true;
  // A pod that the cache does not show yet may have been placed meanwhile.
  const { namespace = "" } = claim.metadata;
  const { items } = await context.client.list(Pod, { namespace });
  return items.some((pod) => keepsClaim(pod, claim));
}

/** Whether anybody uses a bound claim, as its condition says it; undefined: it says so already. */
export function unusedCondition(
  claim: PersistentVolumeClaim,
  pods: readonly Pod[],
): { readonly status: string; readonly reason: string; readonly message: string } | undefined {
  if (claim.metadata.deletionTimestamp !== undefined || claim.status.phase !== "Bound") {
    return undefined;
  }
  const isUsed = pods.some((pod) => !isPodTerminal(pod) && usesClaim(pod, claim));
  const status = isUsed ? "False" : "True";
  if (findCondition(claim.status.conditions, "Unused")?.status === status) return undefined;
  return isUsed
    ? { status, reason: "PodUsingPVC", message: "A pod is currently referencing this PVC" }
    : { status, reason: "NoPodsUsingPVC", message: "No pods are currently referencing this PVC" };
}

async function tellUse(
  claim: Stored<PersistentVolumeClaim>,
  context: ReconcileContext,
): Promise<Stored<PersistentVolumeClaim>> {
  const pods = context.cache(Pod).byIndex(podsByClaimIndex, keyOf(claim));
  const found = unusedCondition(claim, pods);
  if (found === undefined) return claim;
  const others = (claim.status.conditions ?? []).filter(({ type }) => type !== "Unused");
  const lastTransitionTime = formatTime(context.now);
  // Go's zero time is null on the wire.
  const condition: object = { type: "Unused", ...found, lastProbeTime: null, lastTransitionTime };
  const conditions = [...others, condition] as PersistentVolumeClaimCondition[];
  const next = { ...claim, status: { ...claim.status, conditions } };
  return await context.client.updateStatus(PersistentVolumeClaim, next);
}

export const pvcProtectionController = defineController<PersistentVolumeClaim>({
  name: "pvc-protection",
  reconciles: PersistentVolumeClaim,
  indexes: [index(Pod, podsByClaimIndex, claimKeysOf)],
  watches: [watch(Pod, claimKeysOf)],
  async reconcile(claim, context) {
    const told = await tellUse(claim, context);
    const isUsed = () => isClaimKept(told, context);
    await keepFinalizer(PersistentVolumeClaim, told, claimFinalizer, isUsed, context);
  },
});

export const pvProtectionController = defineController<PersistentVolume>({
  name: "pv-protection",
  reconciles: PersistentVolume,
  async reconcile(volume, context) {
    const isBound = () => volume.status.phase === "Bound";
    await keepFinalizer(PersistentVolume, volume, volumeFinalizer, isBound, context);
  },
});

const attributesClassIndex = "attributesClass";
const classesOf = ({ spec, status }: PersistentVolumeClaim): string[] =>
  [
    spec.volumeAttributesClassName,
    status.currentVolumeAttributesClassName,
    status.modifyVolumeStatus?.targetVolumeAttributesClassName,
  ].filter((name) => name !== undefined && name !== "") as string[];
const classOf = ({ spec }: PersistentVolume): string[] =>
  spec.volumeAttributesClassName === undefined ? [] : [spec.volumeAttributesClassName];

export const vacProtectionController = defineController<VolumeAttributesClass>({
  name: "volumeattributesclass-protection",
  reconciles: VolumeAttributesClass,
  indexes: [
    index(PersistentVolumeClaim, attributesClassIndex, classesOf),
    index(PersistentVolume, attributesClassIndex, classOf),
  ],
  watches: [watch(PersistentVolumeClaim, classesOf), watch(PersistentVolume, classOf)],
  async reconcile(object, context) {
    const { name } = object.metadata;
    const isUsed = () =>
      context.cache(PersistentVolumeClaim).byIndex(attributesClassIndex, name).length > 0 ||
      context.cache(PersistentVolume).byIndex(attributesClassIndex, name).length > 0;
    await keepFinalizer(VolumeAttributesClass, object, classFinalizer, isUsed, context);
  },
});
