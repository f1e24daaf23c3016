/** The claims that a Pod waiting for a node uses, as the caches have them. Pure. */
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { claimNameOf, ownershipProblem } from "#api/core/v1/volume-binding.ts";
import type { Volume } from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import type { ClusterEvent, SchedulerView } from "./plugin.ts";
import type { PodInfo } from "./pod-info.ts";

export interface PodClaim {
  readonly volume: Volume;
  readonly claim: Stored<PersistentVolumeClaim>;
}

const quoted = (text: string): string => JSON.stringify(text);

/** Why a claim can't be used; undefined: it can. */
function problemOf(
  { pod }: PodInfo,
  volume: Volume,
  claim: Stored<PersistentVolumeClaim>,
): string | undefined {
  const { name, deletionTimestamp } = claim.metadata;
  if (claim.status.phase === "Lost") {
    return `persistentvolumeclaim ${quoted(name)} bound to non-existent persistentvolume ${quoted(claim.spec.volumeName ?? "")}`;
  }
  if (deletionTimestamp !== undefined) {
    return `persistentvolumeclaim ${quoted(name)} is being deleted`;
  }
  return volume.ephemeral === undefined ? undefined : ownershipProblem(pod, claim);
}

/** All of them, or the reason why the Pod can't be placed at all. */
export function podClaims(info: PodInfo, view: SchedulerView): readonly PodClaim[] | string {
  const { pod } = info;
  const claims = view.cache(PersistentVolumeClaim);
  const found: PodClaim[] = [];
  for (const volume of pod.spec.volumes ?? []) {
    const name = claimNameOf(pod.metadata.name, volume);
    if (name === undefined) continue;
    const claim = claims.get(`${pod.metadata.namespace ?? ""}/${name}`);
    if (claim === undefined) {
      return volume.ephemeral === undefined
        ? `persistentvolumeclaim ${quoted(name)} not found`
        : `waiting for ephemeral volume controller to create the persistentvolumeclaim ${quoted(name)}`;
    }
    const problem = problemOf(info, volume, claim);
    if (problem !== undefined) return problem;
    found.push({ volume, claim });
  }
  return found;
}

/** Whether an event is about a claim of the Pod's, or about storage that claims may get. */
export function concernsClaims({ pod }: PodInfo, event: ClusterEvent): boolean {
  if (event.on === "itselfUpdated" || event.on === "nodeAdded") return true;
  if (event.on === "nodeUpdated") return event.node.metadata.labels !== event.old.metadata.labels;
  if (event.on !== "storageChanged") return false;
  if (event.kind.plural !== PersistentVolumeClaim.plural) return true;
  const { namespace, name } = event.object.metadata;
  return (
    namespace === pod.metadata.namespace &&
    (pod.spec.volumes ?? []).some((volume) => claimNameOf(pod.metadata.name, volume) === name)
  );
}
