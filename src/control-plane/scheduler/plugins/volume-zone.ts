/** VolumeZone: volumes that carry labels of a zone or region are used there only. */
import { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import { storageClassOf } from "#api/core/v1/storage-names.ts";
import { StorageClass } from "#api/storage/v1/storageclass.ts";
import { definePlugin, rejectForGood, type SchedulerView } from "../plugin.ts";
import { concernsClaims, type PodClaim, podClaims } from "../pod-claims.ts";

const conflict = "node(s) had no available volume zone";
const currentLabel: Readonly<Record<string, string>> = {
  "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
  "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
  "topology.kubernetes.io/zone": "topology.kubernetes.io/zone",
  "topology.kubernetes.io/region": "topology.kubernetes.io/region",
};
const labels = Object.keys(currentLabel);
/** Volumes that are in several zones name them all. */
const separator = "__";

interface Topology {
  readonly key: string;
  readonly values: readonly string[];
}

function volumeTopologies(claims: readonly PodClaim[], view: SchedulerView): Topology[] | string {
  const found: Topology[] = [];
  for (const { claim } of claims) {
    const { volumeName = "" } = claim.spec;
    if (volumeName === "") {
      const className = storageClassOf(claim);
      if (className === "") return "PersistentVolumeClaim had no pv name and storageClass name";
      const storageClass = view.cache(StorageClass).get(className);
      if (storageClass === undefined) {
        return `storageclass.storage.k8s.io ${JSON.stringify(className)} not found`;
      }
      if (storageClass.volumeBindingMode === "WaitForFirstConsumer") continue;
      return "PersistentVolume had no name";
    }
    const volume = view.cache(PersistentVolume).get(volumeName);
    if (volume === undefined) return `persistentvolume ${JSON.stringify(volumeName)} not found`;
    for (const key of labels) {
      const text = volume.metadata.labels?.[key];
      if (text !== undefined) found.push({ key, values: text.split(separator) });
    }
  }
  return found;
}

export const volumeZone = definePlugin<readonly Topology[]>({
  name: "VolumeZone",
  preFilter(pod, view) {
    const claims = podClaims(pod, view);
    if (typeof claims === "string") return rejectForGood(claims);
    const topologies = volumeTopologies(claims, view);
    if (typeof topologies === "string") return rejectForGood(topologies);
    return topologies.length === 0 ? "skip" : { state: topologies };
  },
  filter(_pod, node, topologies) {
    // A node that says nothing of zones is in a cluster that has none.
    if (labels.every((key) => node.labels[key] === undefined)) return undefined;
    const fits = topologies.every(({ key, values }) => {
      const value = node.labels[key] ?? node.labels[currentLabel[key] ?? key];
      return value !== undefined && values.includes(value);
    });
    return fits ? undefined : rejectForGood(conflict);
  },
  wakes: concernsClaims,
});
