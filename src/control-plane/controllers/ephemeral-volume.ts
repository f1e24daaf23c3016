/**
 * Ephemeral volume controller: makes the claims of pods' generic ephemeral volumes, owned by the pod, so that they go with it.
 */
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { claimNameOf, ownershipProblem } from "#api/core/v1/volume-binding.ts";
import type { Volume } from "#api/generated/core/v1.ts";
import type { New } from "#client/client.ts";
import type { Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import { controllerReference, type ReconcileContext } from "./controller.ts";
import { defineController, isEnding } from "./runner.ts";

/** The claim of one ephemeral volume. Pure. */
export function claimOf(pod: Stored<Pod>, volume: Volume): New<PersistentVolumeClaim> {
  const { metadata, spec } = volume.ephemeral?.volumeClaimTemplate ?? {};
  return {
    metadata: {
      name: claimNameOf(pod.metadata.name, volume) ?? "",
      namespace: pod.metadata.namespace ?? "",
      ...(metadata?.labels === undefined ? {} : { labels: { ...metadata.labels } }),
      ...(metadata?.annotations === undefined ? {} : { annotations: { ...metadata.annotations } }),
      ownerReferences: [controllerReference(Pod, pod)],
    },
    spec: spec ?? { resources: {} },
  };
}

async function provide(pod: Stored<Pod>, volume: Volume, context: ReconcileContext) {
  const made = claimOf(pod, volume);
  const key = `${made.metadata.namespace ?? ""}/${made.metadata.name ?? ""}`;
  const present = context.cache(PersistentVolumeClaim).get(key);
  const problem = present === undefined ? undefined : ownershipProblem(pod, present);
  if (problem !== undefined) {
    context.event(pod, "Warning", "FailedBinding", `ephemeral volume ${volume.name}: ${problem}`);
    return;
  }
  if (present !== undefined) return;
  try {
    await context.client.create(PersistentVolumeClaim, made);
  } catch (error) {
    if (isStatus(error, "AlreadyExists") || isEnding(error)) return;
    const why = error instanceof Error ? error.message : String(error);
    const message = `ephemeral volume ${volume.name}: create PVC ${made.metadata.name ?? ""}: ${why}`;
    context.event(pod, "Warning", "FailedBinding", message);
    throw error;
  }
}

export const ephemeralVolumeController = defineController<Pod>({
  name: "ephemeral-volume",
  eventSource: "ephemeral_volume",
  reconciles: Pod,
  owns: [PersistentVolumeClaim],
  async reconcile(pod, context) {
    if (pod.metadata.deletionTimestamp !== undefined) return;
    for (const volume of pod.spec.volumes ?? []) {
      if (volume.ephemeral !== undefined) await provide(pod, volume, context);
    }
  },
});
