/** VolumeRestrictions: disks that one node may use at a time, and claims that one Pod may use at a time. */
import type { Volume } from "#api/generated/core/v1.ts";
import type { NodeInfo } from "../node-info.ts";
import { definePlugin, reject, rejectForGood } from "../plugin.ts";
import { concernsClaims, podClaims } from "../pod-claims.ts";
import type { PodInfo } from "../pod-info.ts";

const diskConflict = "node(s) had no available disk";
const oncePodConflict =
  "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";

interface ReadOnlyAble {
  readonly readOnly?: boolean;
}
const bothReadOnly = (a: ReadOnlyAble, b: ReadOnlyAble): boolean =>
  a.readOnly === true && b.readOnly === true;

function conflicts(a: Volume, b: Volume): boolean {
  const [disk, otherDisk] = [a.gcePersistentDisk, b.gcePersistentDisk];
  if (disk !== undefined && otherDisk !== undefined && disk.pdName === otherDisk.pdName) {
    return !bothReadOnly(disk, otherDisk);
  }
  const [store, otherStore] = [a.awsElasticBlockStore, b.awsElasticBlockStore];
  if (store !== undefined && otherStore !== undefined) {
    return store.volumeID === otherStore.volumeID;
  }
  if (a.iscsi !== undefined && b.iscsi !== undefined && a.iscsi.iqn === b.iscsi.iqn) {
    return !bothReadOnly(a.iscsi, b.iscsi);
  }
  if (a.rbd === undefined || b.rbd === undefined) return false;
  const other = b.rbd;
  const isSame =
    a.rbd.monitors.some((one) => other.monitors.includes(one)) &&
    a.rbd.pool === other.pool &&
    a.rbd.image === other.image;
  return isSame && !bothReadOnly(a.rbd, other);
}

const isExclusive = (volume: Volume): boolean =>
  volume.gcePersistentDisk !== undefined ||
  volume.awsElasticBlockStore !== undefined ||
  volume.iscsi !== undefined ||
  volume.rbd !== undefined;

interface State {
  readonly disks: readonly Volume[];
  readonly isClaimTaken: boolean;
}

/** Whether some placed Pod of the namespace uses one of these claims. */
function isInUse({ pod }: PodInfo, names: ReadonlySet<string>, nodes: readonly NodeInfo[]) {
  return nodes.some((node) =>
    [...node.pods.values()].some(
      ({ pod: other }) =>
        other.metadata.namespace === pod.metadata.namespace &&
        (other.spec.volumes ?? []).some((volume) =>
          names.has(volume.persistentVolumeClaim?.claimName ?? ""),
        ),
    ),
  );
}

export const volumeRestrictions = definePlugin<State>({
  name: "VolumeRestrictions",
  preFilter(pod, view) {
    const disks = (pod.pod.spec.volumes ?? []).filter(isExclusive);
    const claims = podClaims(pod, view);
    if (typeof claims === "string") return rejectForGood(claims);
    const once = claims
      .filter(({ volume }) => volume.persistentVolumeClaim !== undefined)
      .filter(({ claim }) => (claim.spec.accessModes ?? []).includes("ReadWriteOncePod"));
    const names = new Set(once.map(({ claim }) => claim.metadata.name));
    const isClaimTaken = names.size > 0 && isInUse(pod, names, view.nodes);
    return disks.length === 0 && !isClaimTaken ? "skip" : { state: { disks, isClaimTaken } };
  },
  filter(_pod, node, { disks, isClaimTaken }) {
    if (disks.length > 0) {
      const others = [...node.pods.values()].flatMap(({ pod }) => pod.spec.volumes ?? []);
      if (disks.some((disk) => others.some((other) => conflicts(disk, other)))) {
        return reject(diskConflict);
      }
    }
    return isClaimTaken ? reject(oncePodConflict) : undefined;
  },
  wakes: (pod, event) => event.on === "podRemoved" || concernsClaims(pod, event),
});
