/**
 * What the pods of each node refer to: their service accounts, secrets, config maps and claims. Kept up to date by every change of a
 * Pod, so that a node's request costs one look-up.
 */
import type { Container, EphemeralContainer, Pod, Volume } from "#api/generated/core/v1.ts";
import type { CacheObserver } from "../watch-cache.ts";

export type ReferredPlural =
  | "pods"
  | "secrets"
  | "configmaps"
  | "serviceaccounts"
  | "persistentvolumeclaims"
  | "resourceclaims";

type Take = (plural: ReferredPlural, name: string | undefined) => void;

function takeEnvironment({ env, envFrom }: Container | EphemeralContainer, take: Take): void {
  for (const { configMapRef, secretRef } of envFrom ?? []) {
    take("configmaps", configMapRef?.name);
    take("secrets", secretRef?.name);
  }
  for (const { valueFrom } of env ?? []) {
    take("configmaps", valueFrom?.configMapKeyRef?.name);
    take("secrets", valueFrom?.secretKeyRef?.name);
  }
}

function takeVolume(podName: string, volume: Volume, take: Take): void {
  take("configmaps", volume.configMap?.name);
  take("secrets", volume.secret?.secretName);
  take("persistentvolumeclaims", volume.persistentVolumeClaim?.claimName);
  if (volume.ephemeral !== undefined) take("persistentvolumeclaims", `${podName}-${volume.name}`);
  for (const { configMap, secret } of volume.projected?.sources ?? []) {
    take("configmaps", configMap?.name);
    take("secrets", secret?.name);
  }
  take("secrets", volume.csi?.nodePublishSecretRef?.name);
  take("secrets", volume.azureFile?.secretName);
  const { cephfs, cinder, flexVolume, iscsi, rbd, scaleIO, storageos } = volume;
  for (const source of [cephfs, cinder, flexVolume, iscsi, rbd, scaleIO, storageos])
    take("secrets", source?.secretRef?.name);
}

/** "plural/name" of everything in the pod's namespace that its node must see to run it. */
export function referencesOf({ metadata, spec, status }: Pod): ReadonlySet<string> {
  const found = new Set<string>();
  const take: Take = (plural, name = "") => {
    if (name !== "") found.add(`${plural}/${name}`);
  };
  const podName = metadata.name ?? "";
  take("pods", podName);
  take("serviceaccounts", spec.serviceAccountName);
  for (const { name } of spec.imagePullSecrets ?? []) take("secrets", name);
  for (const container of spec.initContainers ?? []) takeEnvironment(container, take);
  for (const container of spec.containers) takeEnvironment(container, take);
  for (const container of spec.ephemeralContainers ?? []) takeEnvironment(container, take);
  for (const volume of spec.volumes ?? []) takeVolume(podName, volume, take);
  for (const { resourceClaimName } of spec.resourceClaims ?? [])
    take("resourceclaims", resourceClaimName);
  for (const { resourceClaimName } of status?.resourceClaimStatuses ?? [])
    take("resourceclaims", resourceClaimName);
  return found;
}

export class NodeReferences {
  /** By node, then by "namespace/plural/name": how many pods refer to it. */
  readonly #counts = new Map<string, Map<string, number>>();

  /** To be told of every Pod. */
  readonly observe: CacheObserver = (now, before) => {
    if (now === undefined && before === undefined) this.#counts.clear();
    const next = now?.object as Pod | undefined;
    const old = before?.object as Pod | undefined;
    // A pod's references change with its node, with added containers and with claims made for it.
    if (old !== undefined) this.#count(old, -1);
    if (next !== undefined) this.#count(next, 1);
  };

  #count(pod: Pod, by: 1 | -1): void {
    const node = pod.spec.nodeName ?? "";
    // Upstream: mirror pods are the node's own word; they give it no rights.
    const isMirror = pod.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined;
    if (node === "") return;
    let counts = this.#counts.get(node);
    if (counts === undefined) this.#counts.set(node, (counts = new Map()));
    const references = isMirror ? [`pods/${pod.metadata.name ?? ""}`] : referencesOf(pod);
    for (const reference of references) {
      const id = `${pod.metadata.namespace ?? ""}/${reference}`;
      const count = (counts.get(id) ?? 0) + by;
      if (count === 0) counts.delete(id);
      else counts.set(id, count);
    }
    if (counts.size === 0) this.#counts.delete(node);
  }

  has(node: string, plural: ReferredPlural, namespace: string, name: string): boolean {
    return this.#counts.get(node)?.has(`${namespace}/${plural}/${name}`) === true;
  }
}
