/**
 * Persistent volume binder, the side of the volumes: each is Available, Bound, Released or Failed as its claim is there or gone;
 * released ones are kept, or left to who made them to delete. Writes volumes and their status.
 */
import { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import {
  boundByControllerAnnotation,
  isSameVolumeMode,
  provisionedByAnnotation,
} from "#api/core/v1/volume-binding.ts";
import type { Stored } from "#machinery/meta.ts";
import { cloneJson } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { index, keyFor, type ReconcileContext, watch } from "./controller.ts";
import { defineController } from "./runner.ts";

type Claim = Stored<PersistentVolumeClaim>;
type Volume = Stored<PersistentVolume>;
type Phase = "Available" | "Bound" | "Released" | "Failed";

export const binderAccount = "persistent-volume-binder";
export const binderEvents = "persistentvolume-controller";
const claimUidIndex = "claimUid";

/** What a pass makes of a volume whose claim (by name) is `claim`. Pure. */
export type VolumePlan =
  | { readonly do: "phase"; readonly phase: Phase }
  | { readonly do: "reclaim" }
  | { readonly do: "unbind" }
  | { readonly do: "mismatch" }
  /** The claim's side will bind it. */
  | { readonly do: "leave" };

export function planVolume(volume: Volume, claim: Claim | undefined): VolumePlan {
  const { claimRef } = volume.spec;
  if (claimRef === undefined || (claimRef.uid ?? "") === "") {
    return { do: "phase", phase: "Available" };
  }
  // Another claim of the same name is another claim.
  if (claim === undefined || claim.metadata.uid !== claimRef.uid) return { do: "reclaim" };
  const bound = claim.spec.volumeName ?? "";
  if (bound === "") return isSameVolumeMode(claim, volume) ? { do: "leave" } : { do: "mismatch" };
  if (bound === volume.metadata.name) return { do: "phase", phase: "Bound" };
  const isMade = volume.metadata.annotations?.[provisionedByAnnotation] !== undefined;
  const isUnneeded = isMade && volume.spec.persistentVolumeReclaimPolicy === "Delete";
  return isUnneeded ? { do: "reclaim" } : { do: "unbind" };
}

export async function setVolumePhase(
  volume: Volume,
  phase: Phase,
  { client }: ReconcileContext,
  message = "",
): Promise<Volume> {
  if (volume.status.phase === phase) return volume;
  const next = cloneJson(volume);
  next.status.phase = phase;
  if (message === "") delete next.status.message;
  else next.status.message = message;
  return await client.updateStatus(PersistentVolume, next);
}

/** The claim as the API server has it now: a cache that lags must not make anybody lose data. */
async function claimOf(volume: Volume, context: ReconcileContext): Promise<Claim | undefined> {
  const { claimRef } = volume.spec;
  if (claimRef === undefined) return undefined;
  const { namespace, name = "", uid } = claimRef;
  const cached = context.cache(PersistentVolumeClaim).get(keyFor(namespace, name));
  if (cached?.metadata.uid === uid) return cached;
  try {
    const ref = { name, ...(namespace === undefined ? {} : { namespace }) };
    return await context.client.get(PersistentVolumeClaim, ref);
  } catch (error) {
    if (isStatus(error, "NotFound")) return undefined;
    throw error;
  }
}

async function unbind(volume: Volume, context: ReconcileContext): Promise<void> {
  const next = cloneJson(volume);
  if (volume.metadata.annotations?.[boundByControllerAnnotation] === undefined) {
    // The user reserved it: for a claim of that name it stays reserved.
    if (next.spec.claimRef !== undefined) delete next.spec.claimRef.uid;
  } else {
    delete next.spec.claimRef;
    delete next.metadata.annotations?.[boundByControllerAnnotation];
  }
  const free = await context.client.update(PersistentVolume, next);
  await setVolumePhase(free, "Available", context);
}

async function fail(volume: Volume, reason: string, message: string, context: ReconcileContext) {
  if (volume.status.phase === "Failed") return;
  const failed = await setVolumePhase(volume, "Failed", context, message);
  context.event(failed, "Warning", reason, message);
}

async function reclaim(volume: Volume, context: ReconcileContext): Promise<void> {
  // That something went wrong stays to be seen.
  const released =
    volume.status.phase === "Failed" ? volume : await setVolumePhase(volume, "Released", context);
  const { persistentVolumeReclaimPolicy: policy, csi } = released.spec;
  const name = released.metadata.name;
  switch (policy) {
    case "Retain":
      return;
    case "Recycle":
      return await fail(
        released,
        "VolumeFailedRecycle",
        "No recycler plugin found for the volume!",
        context,
      );
    case "Delete": {
      const maker = released.metadata.annotations?.[provisionedByAnnotation] ?? "";
      // Whoever made it deletes it.
      if ((maker !== "" && !maker.startsWith("kubernetes.io/")) || csi !== undefined) return;
      const problem = "no deletable volume plugin matched";
      const message = `error getting deleter volume plugin for volume ${JSON.stringify(name)}: ${problem}`;
      return await fail(released, "VolumeFailedDelete", message, context);
    }
    default:
      return await fail(
        released,
        "VolumeUnknownReclaimPolicy",
        "Volume has unrecognized PersistentVolumeReclaimPolicy",
        context,
      );
  }
}

function tellMismatch(volume: Volume, claim: Claim, context: ReconcileContext): void {
  const reason = "VolumeMismatch";
  const why = "due to incompatible volumeMode.";
  const claimName = JSON.stringify(claim.metadata.name);
  const volumeName = JSON.stringify(volume.metadata.name);
  const onVolume = `Cannot bind PersistentVolume to requested PersistentVolumeClaim ${claimName} ${why}`;
  const onClaim = `Cannot bind PersistentVolume ${volumeName} to requested PersistentVolumeClaim ${why}`;
  context.event(volume, "Warning", reason, onVolume);
  context.event(claim, "Warning", reason, onClaim);
}

export const persistentVolumeBinder = defineController<PersistentVolume>({
  name: "persistent-volume-binder",
  account: binderAccount,
  eventSource: binderEvents,
  reconciles: PersistentVolume,
  watches: [
    watch(PersistentVolumeClaim, ({ metadata }, lookup) =>
      lookup
        .cache(PersistentVolume)
        .byIndex(claimUidIndex, metadata.uid)
        .map((volume) => volume.metadata.name),
    ),
  ],
  indexes: [
    index(PersistentVolume, claimUidIndex, ({ spec }) => {
      const uid = spec.claimRef?.uid ?? "";
      return uid === "" ? [] : [uid];
    }),
  ],
  async reconcile(volume, context) {
    const claim = await claimOf(volume, context);
    const plan = planVolume(volume, claim);
    if (plan.do === "phase") await setVolumePhase(volume, plan.phase, context);
    else if (plan.do === "reclaim") await reclaim(volume, context);
    else if (plan.do === "unbind") await unbind(volume, context);
    else if (plan.do === "mismatch" && claim !== undefined) tellMismatch(volume, claim, context);
  },
});
