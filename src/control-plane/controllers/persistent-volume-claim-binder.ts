/**
 * Persistent volume binder, the side of the claims: gives each claim the volume that is reserved for it, the one it names, or the
 * smallest that does; asks a provisioner for one where the class has one; tells what a claim waits for, and when it has lost its
 * volume. Reads StorageClasses and Pods; writes claims and volumes, with their statuses. The volumes' own lives are in
 * persistent-volume-binder.ts.
 */
import { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { isPodTerminal } from "#api/core/v1/pod-status.ts";
import { storageClassAnnotation, storageClassOf } from "#api/core/v1/storage-names.ts";
import {
  bindCompletedAnnotation,
  boundByControllerAnnotation,
  claimKeysOf,
  findMatchingVolume,
  isBindCompleted,
  isReservedFor,
  mismatchOf,
  selectedNodeAnnotation,
  storageProvisionerAnnotations,
  usesClaim,
} from "#api/core/v1/volume-binding.ts";
import { defaultStorageClassOf, StorageClass } from "#api/storage/v1/storageclass.ts";
import type { Lister } from "#client/cache.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { cloneJson, equalObjects } from "#machinery/object.ts";
import { index, keyFor, type ReconcileContext, watch } from "./controller.ts";
import { binderAccount, binderEvents, setVolumePhase } from "./persistent-volume-binder.ts";
import { defineController } from "./runner.ts";

type Claim = Stored<PersistentVolumeClaim>;
type Volume = Stored<PersistentVolume>;

export const podsByClaimIndex = "claims";
/** Claims that are not bound, by the class that they ask for. */
const waitingIndex = "waiting";

/** What a pass makes of a claim that has no volume yet. Pure: the volumes and the class are as the caches have them. */
export type ClaimPlan =
  | { readonly do: "bind"; readonly volume: Volume }
  | { readonly do: "assignClass"; readonly name: string }
  | { readonly do: "provision"; readonly provisioner: string }
  | { readonly do: "wait"; readonly event?: ClaimEvent }
  | { readonly do: "lose"; readonly event: ClaimEvent };
export interface ClaimEvent {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

export interface ClaimView {
  readonly volume: (name: string) => Volume | undefined;
  readonly volumes: () => Iterable<Volume>;
  readonly storageClass: (name: string) => StorageClass | undefined;
  readonly storageClasses: () => readonly StorageClass[];
  /** Pods that use the claim and have no node yet. */
  readonly waitingPods: () => readonly string[];
}

const waitWith = (type: ClaimEvent["type"], reason: string, message: string): ClaimPlan => ({
  do: "wait",
  event: { type, reason, message },
});
const loseWith = (reason: string, message: string): ClaimPlan => ({
  do: "lose",
  event: { type: "Warning", reason, message },
});

export function planClaim(claim: Claim, view: ClaimView): ClaimPlan {
  if (isBindCompleted(claim)) return planBound(claim, view);
  const named = claim.spec.volumeName ?? "";
  return named === "" ? planUnbound(claim, view) : planNamed(claim, view.volume(named));
}

function planBound(claim: Claim, view: ClaimView): ClaimPlan {
  const name = claim.spec.volumeName ?? "";
  if (name === "") {
    return loseWith(
      "ClaimLost",
      "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
    );
  }
  const volume = view.volume(name);
  if (volume === undefined) {
    return loseWith(
      "ClaimLost",
      "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
    );
  }
  const { claimRef } = volume.spec;
  if (claimRef === undefined || claimRef.uid === claim.metadata.uid) return { do: "bind", volume };
  return loseWith(
    "ClaimMisbound",
    "Two claims are bound to the same volume, this one is bound incorrectly",
  );
}

function planNamed(claim: Claim, volume: Volume | undefined): ClaimPlan {
  if (volume === undefined) return { do: "wait" };
  if (volume.spec.claimRef !== undefined) {
    if (isReservedFor(volume, claim)) return { do: "bind", volume };
    const message = `volume ${JSON.stringify(volume.metadata.name)} already bound to a different claim.`;
    return waitWith("Warning", "FailedBinding", message);
  }
  const mismatch = mismatchOf(volume, claim);
  if (mismatch === undefined) return { do: "bind", volume };
  const message = `Cannot bind to requested volume ${JSON.stringify(volume.metadata.name)}: ${mismatch}`;
  return waitWith("Warning", "VolumeMismatch", message);
}

function planUnbound(claim: Claim, view: ClaimView): ClaimPlan {
  const className = storageClassOf(claim);
  const storageClass = className === "" ? undefined : view.storageClass(className);
  const waits = storageClass?.volumeBindingMode === "WaitForFirstConsumer";
  const volume = findMatchingVolume(claim, view.volumes(), { waits });
  if (volume !== undefined) return { do: "bind", volume };
  const hasClass =
    claim.spec.storageClassName !== undefined ||
    claim.metadata.annotations?.[storageClassAnnotation] !== undefined;
  if (!hasClass) {
    const found = defaultStorageClassOf(view.storageClasses())?.metadata.name;
    if (found !== undefined) return { do: "assignClass", name: found };
  }
  if (waits && claim.metadata.annotations?.[selectedNodeAnnotation] === undefined) {
    return waitForConsumer(view.waitingPods());
  }
  if (className !== "") return planProvisioning(className, storageClass);
  return waitWith(
    "Normal",
    "FailedBinding",
    "no persistent volumes available for this claim and no storage class is set",
  );
}

function waitForConsumer(pods: readonly string[]): ClaimPlan {
  if (pods.length === 0) {
    const message = "waiting for first consumer to be created before binding";
    return waitWith("Normal", "WaitForFirstConsumer", message);
  }
  const who = pods.length === 1 ? `pod ${pods[0]}` : `pods ${pods.join(",")}`;
  return waitWith("Normal", "WaitForPodScheduled", `waiting for ${who} to be scheduled`);
}

function planProvisioning(name: string, storageClass: StorageClass | undefined): ClaimPlan {
  if (storageClass === undefined) {
    const message = `storageclass.storage.k8s.io ${JSON.stringify(name)} not found`;
    return waitWith("Warning", "ProvisioningFailed", message);
  }
  const { provisioner } = storageClass;
  if (!provisioner.startsWith("kubernetes.io/")) return { do: "provision", provisioner };
  // Provisioners of that name were built in, once.
  const message = `no volume plugin matched name: ${provisioner}`;
  return waitWith("Warning", "ProvisioningFailed", message);
}

const unscheduled = (pod: Pod): boolean => (pod.spec.nodeName ?? "") === "" && !isPodTerminal(pod);

function viewOf(claim: Claim, context: ReconcileContext): ClaimView {
  const volumes = context.cache(PersistentVolume);
  const classes = context.cache(StorageClass);
  return {
    volume: (name) => volumes.get(name),
    volumes: () => volumes.list(),
    storageClass: (name) => classes.get(name),
    storageClasses: () => [...classes.list()],
    waitingPods: () =>
      context
        .cache(Pod)
        .byIndex(podsByClaimIndex, keyOf(claim))
        .filter((pod) => unscheduled(pod) && usesClaim(pod, claim))
        .map((pod) => pod.metadata.name),
  };
}

async function act(claim: Claim, plan: ClaimPlan, context: ReconcileContext): Promise<void> {
  switch (plan.do) {
    case "bind":
      return await bind(claim, plan.volume, context);
    case "assignClass": {
      const next = cloneJson(claim);
      next.spec.storageClassName = plan.name;
      await context.client.update(PersistentVolumeClaim, next);
      return;
    }
    case "provision":
      return await askProvisioner(claim, plan.provisioner, context);
    case "wait":
      if (plan.event !== undefined) tell(claim, plan.event, context);
      await setClaimPhase(claim, "Pending", undefined, context);
      return;
    case "lose": {
      if (claim.status.phase === "Lost") return;
      await setClaimPhase(claim, "Lost", undefined, context);
      tell(claim, plan.event, context);
    }
  }
}

const tell = (claim: Claim, { type, reason, message }: ClaimEvent, context: ReconcileContext) =>
  context.event(claim, type, reason, message);

/** In upstream's order, each step of which may be the last before a crash: the next pass goes on from there. */
async function bind(claim: Claim, volume: Volume, context: ReconcileContext): Promise<void> {
  const reserved = await reserve(claim, volume, context);
  const bound = await setVolumePhase(reserved, "Bound", context);
  const completed = await complete(claim, bound, context);
  await setClaimPhase(completed, "Bound", bound, context);
}

async function reserve(claim: Claim, volume: Volume, { client }: ReconcileContext) {
  const { name, namespace, uid, resourceVersion } = claim.metadata;
  if (volume.spec.claimRef?.uid === uid && isReservedFor(volume, claim)) return volume;
  const next = cloneJson(volume);
  if (!isReservedFor(volume, claim)) {
    next.metadata.annotations = {
      ...next.metadata.annotations,
      [boundByControllerAnnotation]: "yes",
    };
  }
  next.spec.claimRef = {
    kind: "PersistentVolumeClaim",
    ...(namespace === undefined ? {} : { namespace }),
    name,
    uid,
    apiVersion: "v1",
    resourceVersion,
  };
  return await client.update(PersistentVolume, next);
}

async function complete(claim: Claim, volume: Volume, { client }: ReconcileContext) {
  const isNew = claim.spec.volumeName !== volume.metadata.name;
  if (!isNew && isBindCompleted(claim)) return claim;
  const next = cloneJson(claim);
  next.spec.volumeName = volume.metadata.name;
  next.metadata.annotations = {
    ...next.metadata.annotations,
    ...(isNew ? { [boundByControllerAnnotation]: "yes" } : {}),
    [bindCompletedAnnotation]: "yes",
  };
  return await client.update(PersistentVolumeClaim, next);
}

/** With a volume: what it offers is what the claim has. */
async function setClaimPhase(
  claim: Claim,
  phase: "Pending" | "Bound" | "Lost",
  volume: Volume | undefined,
  { client }: ReconcileContext,
): Promise<void> {
  const next = cloneJson(claim);
  const { status } = next;
  if (volume === undefined) {
    delete status.accessModes;
    delete status.capacity;
    delete status.currentVolumeAttributesClassName;
  } else {
    status.accessModes = [...(volume.spec.accessModes ?? [])];
    // What a bound claim has may differ from what the volume says while one of them grows.
    if (claim.status.phase !== phase) {
      status.capacity = { ...volume.spec.capacity };
      const { volumeAttributesClassName } = volume.spec;
      if (volumeAttributesClassName !== undefined) {
        status.currentVolumeAttributesClassName = volumeAttributesClassName;
      }
    }
  }
  status.phase = phase;
  if (equalObjects(status, claim.status)) return;
  await client.updateStatus(PersistentVolumeClaim, next);
}

async function askProvisioner(
  claim: Claim,
  provisioner: string,
  context: ReconcileContext,
): Promise<void> {
  const present = claim.metadata.annotations ?? {};
  if (storageProvisionerAnnotations.some((key) => present[key] !== provisioner)) {
    const next = cloneJson(claim);
    const asked = storageProvisionerAnnotations.map((key) => [key, provisioner]);
    next.metadata.annotations = { ...present, ...Object.fromEntries(asked) };
    await context.client.update(PersistentVolumeClaim, next);
  }
  context.event(
    claim,
    "Normal",
    "ExternalProvisioning",
    `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`,
  );
}

/** Whom a volume may help: the claim that it names, and all that wait for its class. */
function concernedBy(volume: Volume, claims: Lister<PersistentVolumeClaim>): string[] {
  const { claimRef } = volume.spec;
  const own = claimRef === undefined ? [] : [keyFor(claimRef.namespace, claimRef.name ?? "")];
  if (claimRef !== undefined && (claimRef.uid ?? "") !== "") return own;
  return [...own, ...claims.byIndex(waitingIndex, storageClassOf(volume)).map(keyOf)];
}

export const persistentVolumeClaimBinder = defineController<PersistentVolumeClaim>({
  name: "persistent-volume-claim-binder",
  account: binderAccount,
  eventSource: binderEvents,
  reconciles: PersistentVolumeClaim,
  // One after another: two claims that want the same volume would only get in each other's way.
  workers: 1,
  indexes: [
    index(Pod, podsByClaimIndex, claimKeysOf),
    index(PersistentVolumeClaim, waitingIndex, (claim) =>
      isBindCompleted(claim) ? [] : [storageClassOf(claim)],
    ),
  ],
  watches: [
    watch(PersistentVolume, (volume, lookup) =>
      concernedBy(volume, lookup.cache(PersistentVolumeClaim)),
    ),
    watch(StorageClass, ({ metadata: { name } }, lookup) => {
      const claims = lookup.cache(PersistentVolumeClaim);
      return [...claims.byIndex(waitingIndex, name), ...claims.byIndex(waitingIndex, "")].map(
        keyOf,
      );
    }),
    // A pod that comes changes what a claim is said to wait for.
    watch(Pod, claimKeysOf, () => false),
  ],
  async reconcile(claim, context) {
    await act(claim, planClaim(claim, viewOf(claim, context)), context);
  },
});
