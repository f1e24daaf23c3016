/** The Pods and claims of a StatefulSet as they should be: names, labels, volumes, owners. Pure. */
import { StatefulSet } from "#api/apps/v1/statefulset.ts";
import type { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import type { PodSpec } from "#api/generated/core/v1.ts";
import type { New } from "#client/client.ts";
import type { OwnerReference, Stored } from "#machinery/meta.ts";
import { controllerReference } from "./controller.ts";
import { revisionHashLabel } from "./controller-history.ts";
import { podFromTemplate } from "./replicaset.ts";

export const podNameLabel = "statefulset.kubernetes.io/pod-name";
export const podIndexLabel = "apps.kubernetes.io/pod-index";

export type ClaimLookup = (name: string) => Stored<PersistentVolumeClaim> | undefined;

/** From "web-12": web and 12. */
export function parentAndOrdinal(name: string): readonly [string, number] {
  const match = /^(.*)-(\d+)$/s.exec(name);
  if (match === null) return ["", -1];
  const ordinal = Number(match[2]);
  return [match[1] ?? "", ordinal < 2 ** 31 ? ordinal : -1];
}
export const ordinalOf = (pod: Stored<Pod>): number => parentAndOrdinal(pod.metadata.name)[1];
export const startOrdinal = ({ spec }: StatefulSet): number => spec.ordinals?.start ?? 0;
export const endOrdinal = (set: StatefulSet): number =>
  startOrdinal(set) + (set.spec.replicas ?? 1) - 1;
export const isInRange = (set: StatefulSet, pod: Stored<Pod>): boolean =>
  ordinalOf(pod) >= startOrdinal(set) && ordinalOf(pod) <= endOrdinal(set);
export const revisionOfPod = (pod: Pod): string => pod.metadata.labels?.[revisionHashLabel] ?? "";

/** Names of the claims of one Pod by the name of their template. */
export function claimNames(set: Stored<StatefulSet>, ordinal: number): ReadonlyMap<string, string> {
  const templates = set.spec.volumeClaimTemplates ?? [];
  return new Map(
    templates.map(({ metadata: { name = "" } }) => [
      name,
      `${name}-${set.metadata.name}-${ordinal}`,
    ]),
  );
}

export function claimsFor(
  set: Stored<StatefulSet>,
  ordinal: number,
): readonly New<PersistentVolumeClaim>[] {
  const names = claimNames(set, ordinal);
  const { namespace } = set.metadata;
  return (set.spec.volumeClaimTemplates ?? []).map(({ metadata, spec }) => {
    const { labels, annotations, finalizers, name = "" } = metadata;
    return {
      metadata: {
        name: names.get(name) ?? name,
        ...(namespace === undefined ? {} : { namespace }),
        labels: { ...labels, ...set.spec.selector.matchLabels },
        ...(annotations === undefined ? {} : { annotations }),
        ...(finalizers === undefined ? {} : { finalizers }),
      },
      spec,
    };
  });
}

function withClaims(set: Stored<StatefulSet>, ordinal: number, spec: PodSpec): PodSpec {
  const names = claimNames(set, ordinal);
  const claims = [...names].map(([name, claimName]) => ({
    name,
    persistentVolumeClaim: { claimName },
  }));
  const volumes = [...claims, ...(spec.volumes ?? []).filter(({ name }) => !names.has(name))];
  return volumes.length === 0 ? spec : { ...spec, volumes };
}

const identityLabels = (name: string, ordinal: number) => ({
  [podNameLabel]: name,
  [podIndexLabel]: String(ordinal),
});

/** `set`: with the template of that revision. */
export function newPod(set: Stored<StatefulSet>, ordinal: number, revision: string): New<Pod> {
  const pod = podFromTemplate(StatefulSet, set, set.spec.template);
  const name = `${set.metadata.name}-${ordinal}`;
  const labels = {
    ...pod.metadata.labels,
    ...identityLabels(name, ordinal),
    [revisionHashLabel]: revision,
  };
  const { hostname: _h, subdomain: _s, ...spec } = withClaims(set, ordinal, pod.spec);
  const subdomain = set.spec.serviceName ?? "";
  return {
    ...pod,
    metadata: { ...pod.metadata, name, labels },
    spec: { ...spec, hostname: name, ...(subdomain === "" ? {} : { subdomain }) },
  };
}

export const identityMatches = (set: Stored<StatefulSet>, pod: Stored<Pod>): boolean =>
  parentAndOrdinal(pod.metadata.name)[0] === set.metadata.name &&
  pod.metadata.labels?.[podNameLabel] === pod.metadata.name;

export function storageMatches(set: Stored<StatefulSet>, pod: Stored<Pod>): boolean {
  const volumes = new Map((pod.spec.volumes ?? []).map((volume) => [volume.name, volume]));
  return [...claimNames(set, ordinalOf(pod))].every(
    ([name, claimName]) => volumes.get(name)?.persistentVolumeClaim?.claimName === claimName,
  );
}

/** The Pod with the names, labels and volumes that a member of the set has. */
export function withIdentity(set: Stored<StatefulSet>, pod: Stored<Pod>): Stored<Pod> {
  const ordinal = ordinalOf(pod);
  const name = pod.metadata.name;
  const labels = { ...pod.metadata.labels, ...identityLabels(name, ordinal) };
  const spec = storageMatches(set, pod) ? pod.spec : withClaims(set, ordinal, pod.spec);
  return { ...pod, metadata: { ...pod.metadata, labels }, spec };
}

interface Owner {
  readonly kind: string;
  readonly apiVersion: string;
  readonly name: string;
  readonly uid: string;
}
const ownerOf = (object: Stored<StatefulSet> | Stored<Pod>): Owner => ({
  kind: object.kind,
  apiVersion: object.apiVersion,
  name: object.metadata.name,
  uid: object.metadata.uid,
});
const refersTo = (reference: OwnerReference, owner: Owner): boolean =>
  reference.kind === owner.kind &&
  reference.apiVersion === owner.apiVersion &&
  reference.name === owner.name;

const retentionOf = ({ spec }: StatefulSet) => ({
  whenDeleted: spec.persistentVolumeClaimRetentionPolicy?.whenDeleted ?? "Retain",
  whenScaled: spec.persistentVolumeClaimRetentionPolicy?.whenScaled ?? "Retain",
});

/** A claim names the Pod of that name, but one that was there before. */
export const isStaleFor = (
  claim: Stored<PersistentVolumeClaim>,
  set: StatefulSet,
  podName: string,
  podUid: string,
): boolean =>
  retentionOf(set).whenScaled === "Delete" &&
  (claim.metadata.ownerReferences ?? []).some(
    (one) =>
      one.apiVersion === "v1" && one.kind === "Pod" && one.name === podName && one.uid !== podUid,
  );

/** Somebody else manages the claim: the policy does not apply. */
export function hasConflictingController(
  claim: Stored<PersistentVolumeClaim>,
  set: Stored<StatefulSet>,
  pod: Stored<Pod>,
): boolean {
  const { whenDeleted, whenScaled } = retentionOf(set);
  if (whenDeleted === "Retain" && whenScaled === "Retain") return false;
  const ours = [ownerOf(set), ownerOf(pod)];
  return (claim.metadata.ownerReferences ?? []).some((reference) => {
    const owner = ours.find((one) => refersTo(reference, one));
    return owner === undefined ? reference.controller === true : owner.uid !== reference.uid;
  });
}

/** The owners that the retention policy wants; undefined: it has them, or is not ours to change. */
export function claimOwners(
  claim: Stored<PersistentVolumeClaim>,
  set: Stored<StatefulSet>,
  pod: Stored<Pod>,
): readonly OwnerReference[] | undefined {
  const references = claim.metadata.ownerReferences ?? [];
  const ours = [ownerOf(set), ownerOf(pod)];
  const stale = references.some((reference) =>
    ours.some((owner) => refersTo(reference, owner) && reference.uid !== owner.uid),
  );
  if (stale) return undefined;
  const has = (owner: { readonly metadata: { readonly uid: string } }): boolean =>
    references.some((one) => one.uid === owner.metadata.uid);
  const others = references.filter((one) => !ours.some((owner) => refersTo(one, owner)));
  if (hasConflictingController(claim, set, pod)) return has(set) || has(pod) ? others : undefined;
  const { whenDeleted, whenScaled } = retentionOf(set);
  const scaledDown = whenScaled === "Delete" && !isInRange(set, pod);
  const bySet = whenDeleted === "Delete" && !scaledDown;
  const managed = references
    .filter((one) => ours.some((owner) => owner.uid === one.uid))
    .every((one) => one.controller === true);
  if (managed && has(set) === bySet && has(pod) === scaledDown) return undefined;
  return [
    ...others,
    ...(bySet ? [controllerReference(StatefulSet, set)] : []),
    ...(scaledDown ? [podReference(pod)] : []),
  ];
}

const podReference = (pod: Stored<Pod>): OwnerReference => ({
  apiVersion: "v1",
  kind: "Pod",
  name: pod.metadata.name,
  uid: pod.metadata.uid,
  controller: true,
  blockOwnerDeletion: true,
});
