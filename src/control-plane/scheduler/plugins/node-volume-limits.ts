/** NodeVolumeLimits: a node takes so many volumes of a storage driver as its CSINode says. */
import { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { storageClassOf } from "#api/core/v1/storage-names.ts";
import { claimKeysOf } from "#api/core/v1/volume-binding.ts";
import { CSIDriver } from "#api/storage/v1/csidriver.ts";
import { CSINode } from "#api/storage/v1/csinode.ts";
import { StorageClass } from "#api/storage/v1/storageclass.ts";
import { definePlugin, reject, type SchedulerView } from "../plugin.ts";
import { concernsClaims } from "../pod-claims.ts";

const exceeded = "node(s) exceed max volume count";

/** The volumes of drivers that a Pod uses: what makes each one, and one volume only once → its driver. */
function driverVolumes(pod: Pod, view: SchedulerView): Map<string, string> {
  const found = new Map<string, string>();
  for (const key of claimKeysOf(pod)) {
    const claim = view.cache(PersistentVolumeClaim).get(key);
    if (claim === undefined) continue;
    const volume = view.cache(PersistentVolume).get(claim.spec.volumeName ?? "");
    if (volume !== undefined) {
      const { csi } = volume.spec;
      if (csi !== undefined) found.set(`${csi.driver}/${csi.volumeHandle}`, csi.driver);
      continue;
    }
    // Not bound yet: the class says whose volume it will be.
    const provisioner = view.cache(StorageClass).get(storageClassOf(claim))?.provisioner ?? "";
    if (view.cache(CSIDriver).get(provisioner) !== undefined) {
      found.set(`${provisioner}/${key}`, provisioner);
    }
  }
  return found;
}

function limitsOf(nodeName: string, view: SchedulerView): Map<string, number> {
  const drivers = view.cache(CSINode).get(nodeName)?.spec.drivers ?? [];
  return new Map(
    drivers.flatMap(({ name, allocatable }) =>
      allocatable?.count === undefined ? [] : [[name, allocatable.count] as const],
    ),
  );
}

interface State {
  readonly wanted: ReadonlyMap<string, string>;
  readonly view: SchedulerView;
}

export const nodeVolumeLimits = definePlugin<State>({
  name: "NodeVolumeLimits",
  preFilter({ pod }, view) {
    const wanted = driverVolumes(pod, view);
    return wanted.size === 0 ? "skip" : { state: { wanted, view } };
  },
  filter(_pod, node, { wanted, view }) {
    const limits = limitsOf(node.name, view);
    if (limits.size === 0) return undefined;
    const present = new Map<string, string>();
    for (const { pod } of node.pods.values()) {
      for (const [id, driver] of driverVolumes(pod, view)) present.set(id, driver);
    }
    for (const [driver, limit] of limits) {
      const added = [...wanted].filter(([id, one]) => one === driver && !present.has(id)).length;
      const used = [...present.values()].filter((one) => one === driver).length;
      if (added > 0 && used + added > limit) return reject(exceeded);
    }
    return undefined;
  },
  wakes: (pod, event) => event.on === "podRemoved" || concernsClaims(pod, event),
});
