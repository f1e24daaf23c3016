/**
 * persistentVolumeClaim and generic ephemeral volumes: what the claim's volume is on this host, a local or a host path. Reads the
 * claim and the volume; makes no directories, so that lost data is noticed.
 */

import { claimNameOf, ownershipProblem } from "#api/core/v1/volume-binding.ts";
import type { PersistentVolume, PersistentVolumeClaim } from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import { setUpHostPath } from "./host-path.ts";
import {
  fsGroupOf,
  type MountedVolume,
  VolumeError,
  type VolumeInput,
  type VolumePlugin,
} from "./volume.ts";

/** The bits that a pod's group gets. */
const groupMode = 0o660;

async function boundClaim(input: VolumeInput): Promise<Stored<PersistentVolumeClaim>> {
  const { pod, volume } = input;
  const { namespace } = pod.metadata;
  const name = claimNameOf(pod.metadata.name, volume) ?? "";
  const failed = (why: string) =>
    new VolumeError(`error processing PVC ${namespace}/${name}: ${why}`);
  const claim = await input.claim(namespace, name);
  if (claim === undefined) {
    const missing = `persistentvolumeclaims ${JSON.stringify(name)} not found`;
    throw failed(`failed to fetch PVC from API server: ${missing}`);
  }
  const foreign = volume.ephemeral === undefined ? undefined : ownershipProblem(pod, claim);
  if (foreign !== undefined) throw new VolumeError(foreign);
  if (claim.metadata.deletionTimestamp !== undefined) throw failed("PVC is being deleted");
  const isBound = claim.status.phase === "Bound" && (claim.spec.volumeName ?? "") !== "";
  if (!isBound) throw failed("PVC is not bound");
  return claim;
}

async function volumeOf(
  claim: Stored<PersistentVolumeClaim>,
  input: VolumeInput,
): Promise<Stored<PersistentVolume>> {
  const name = claim.spec.volumeName ?? "";
  const { namespace = "" } = claim.metadata;
  const failed = (why: string) =>
    new VolumeError(`failed to process volume: PVC ${namespace}/${claim.metadata.name}: ${why}`);
  const found = await input.persistentVolume(name);
  if (found === undefined) {
    throw failed(
      `failed to fetch PV ${name} from API server: persistentvolumes "${name}" not found`,
    );
  }
  if (found.spec.claimRef === undefined) {
    throw failed(
      `found PV object ${name} with nil pv.Spec.ClaimRef indicating it is not yet bound to the claim`,
    );
  }
  if (found.spec.claimRef.uid !== claim.metadata.uid) {
    throw failed(
      `found PV object ${name} with unexpected pv.Spec.ClaimRef.UID ${found.spec.claimRef.uid ?? ""}, expecting ${claim.metadata.uid}`,
    );
  }
  return found;
}

async function setUpLocal(path: string, input: VolumeInput): Promise<MountedVolume> {
  const facts = await input.host.stat(path);
  if (facts === undefined) throw new VolumeError(`path ${JSON.stringify(path)} does not exist`);
  const gid = fsGroupOf(input.pod);
  if (gid !== undefined) await input.host.setOwner(path, gid, { recursive: true, mode: groupMode });
  return { hostPath: path };
}

async function setUp(input: VolumeInput): Promise<MountedVolume> {
  const claim = await boundClaim(input);
  const { spec, metadata } = await volumeOf(claim, input);
  if (spec.volumeMode === "Block") {
    throw new VolumeError(
      `volume ${metadata.name} is a block device, and this node mounts file systems only: use volumeMode Filesystem`,
    );
  }
  if (spec.hostPath !== undefined) return await setUpHostPath(input, spec.hostPath);
  if (spec.local !== undefined) return await setUpLocal(spec.local.path, input);
  throw new VolumeError(
    "no volume plugin matched: this node mounts persistent volumes of hostPath and local only",
  );
}

export const persistentVolumeClaim: VolumePlugin = {
  name: "persistent-volume-claim",
  live: false,
  handles: (volume) => volume.persistentVolumeClaim !== undefined || volume.ephemeral !== undefined,
  async setUp(input) {
    const mounted = await setUp(input);
    const readOnly = input.volume.persistentVolumeClaim?.readOnly === true;
    return readOnly ? { ...mounted, readOnly } : mounted;
  },
};
