/** VolumeRestrictions: disks that one node may use at a time, and claims that one Pod may use at a time. */
import type { Volume } from "#api/generated/core/v1.ts";
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
  /** Claims of the Pod that only one Pod may use at a time, and how many uses of them there are. */
  readonly claims: ReadonlySet<string>;
  uses: number;
}

const usesOf = (claims: ReadonlySet<string>, { pod }: PodInfo, other: PodInfo): number =>
  claims.size === 0 || other.pod.metadata.namespace !== pod.metadata.namespace
    ? 0
    : (other.pod.spec.volumes ?? []).filter((volume) =>
        claims.has(volume.persistentVolumeClaim?.claimName ?? ""),
      ).length;

export const volumeRestrictions = definePlugin<State>({
  name: "VolumeRestrictions",
  preFilter(pod, view) {
    const disks = (pod.pod.spec.volumes ?? []).filter(isExclusive);
    const found = podClaims(pod, view);
    if (typeof found === "string") return rejectForGood(found);
    const once = found
      .filter(({ volume }) => volume.persistentVolumeClaim !== undefined)
      .filter(({ claim }) => (claim.spec.accessModes ?? []).includes("ReadWriteOncePod"));
    const claims = new Set(once.map(({ claim }) => claim.metadata.name));
    let uses = 0;
    if (claims.size > 0) {
      for (const node of view.nodes) {
        for (const other of node.pods.values()) uses += usesOf(claims, pod, other);
      }
    }
    return disks.length === 0 && uses === 0 ? "skip" : { state: { disks, claims, uses } };
  },
  filter(_pod, node, { disks, uses }) {
    if (disks.length > 0) {
      const others = [...node.pods.values()].flatMap(({ pod }) => pod.spec.volumes ?? []);
      if (disks.some((disk) => others.some((other) => conflicts(disk, other)))) {
        return reject(diskConflict);
      }
    }
    return uses > 0 ? reject(oncePodConflict) : undefined;
  },
  whatIf: {
    copy: (state) => ({ ...state }),
    change(state, pod, other, _node, sign) {
      state.uses += sign * usesOf(state.claims, pod, other);
    },
  },
  wakes: (pod, event) => event.on === "podRemoved" || concernsClaims(pod, event),
});
