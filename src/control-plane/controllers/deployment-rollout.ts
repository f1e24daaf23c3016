/**
 * The arithmetic of a rollout: which of a Deployment's ReplicaSets is the new one, how many
 * replicas each should have next. Works on drafts, which the controller writes where they differ
 * from what is stored. Pure.
 */
import type { Deployment } from "#api/apps/v1/deployment.ts";
import type { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import type { PodTemplateSpec } from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";

export const revisionAnnotation = "deployment.kubernetes.io/revision";
export const revisionHistoryAnnotation = "deployment.kubernetes.io/revision-history";
export const desiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas";
export const maxReplicasAnnotation = "deployment.kubernetes.io/max-replicas";
export const rollbackAnnotation = "deprecated.deployment.rollback.to";
export const hashLabel = "pod-template-hash";

/** A ReplicaSet and what is to become of it. */
export interface Draft {
  /**
   * As stored; of one that is still to be created: as it will be, with an empty uid and no status.
   */
  readonly replicaSet: Stored<ReplicaSet>;
  replicas: number;
  minReadySeconds: number;
  annotations: Record<string, string>;
  /** Set when scaling it is worth an event. */
  scaled?: { readonly from: number };
}

export const draftOf = (replicaSet: Stored<ReplicaSet>): Draft => ({
  replicaSet,
  replicas: replicaSet.spec.replicas ?? 1,
  minReadySeconds: replicaSet.spec.minReadySeconds ?? 0,
  annotations: { ...replicaSet.metadata.annotations },
});

/** A number, or a percentage of `total`. */
export function scaledValue(value: number | string, total: number, roundUp: boolean): number {
  if (typeof value === "number") return value;
  const match = /^(\d+)%$/.exec(value);
  if (match === null) return 0;
  const exact = (Number(match[1]) * total) / 100;
  return roundUp ? Math.ceil(exact) : Math.floor(exact);
}

export const desiredReplicas = (deployment: Deployment): number => deployment.spec.replicas ?? 1;
export const isRolling = (deployment: Deployment): boolean =>
  (deployment.spec.strategy.type ?? "RollingUpdate") === "RollingUpdate";

/** How many above and below the desired count a rolling update may go; never both zero. */
function fenceposts(deployment: Deployment): { surge: number; unavailable: number } {
  const { maxSurge = 0, maxUnavailable = 0 } = deployment.spec.strategy.rollingUpdate ?? {};
  const desired = desiredReplicas(deployment);
  const surge = scaledValue(maxSurge, desired, true);
  const unavailable = scaledValue(maxUnavailable, desired, false);
  // Upstream: percentages that round to nothing would let the update stand still for ever.
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}
export const maxSurgeOf = (deployment: Deployment): number =>
  isRolling(deployment) ? fenceposts(deployment).surge : 0;
export function maxUnavailableOf(deployment: Deployment): number {
  const desired = desiredReplicas(deployment);
  if (!isRolling(deployment) || desired === 0) return 0;
  return Math.min(fenceposts(deployment).unavailable, desired);
}

export const byCreation = (a: Stored<ReplicaSet>, b: Stored<ReplicaSet>): number => {
  const left = a.metadata.creationTimestamp;
  const right = b.metadata.creationTimestamp;
  if (left !== right) return left < right ? -1 : 1;
  return a.metadata.name < b.metadata.name ? -1 : 1;
};

function withoutHash(template: PodTemplateSpec): PodTemplateSpec {
  const { [hashLabel]: _, ...labels } = template.metadata?.labels ?? {};
  return { ...template, metadata: { ...template.metadata, labels } };
}
export const sameTemplate = (a: PodTemplateSpec, b: PodTemplateSpec): boolean =>
  equalObjects(withoutHash(a), withoutHash(b));

/** The oldest that carries the Deployment's template: no other can be told from it. */
export const findNew = (
  deployment: Deployment,
  replicaSets: readonly Stored<ReplicaSet>[],
): Stored<ReplicaSet> | undefined =>
  [...replicaSets]
    .sort(byCreation)
    .find((one) => sameTemplate(one.spec.template, deployment.spec.template));

/** A 64-bit number, as Go reads it. */
const revisionFrom = (text: string | undefined): bigint =>
  text !== undefined && /^[+-]?\d{1,19}$/.test(text) ? BigInt(text.replace("+", "")) : 0n;
export const revisionOf = (replicaSet: ReplicaSet): bigint =>
  revisionFrom(replicaSet.metadata.annotations?.[revisionAnnotation]);
/** For sorting: smaller ones first. */
export const byRevision = (a: ReplicaSet, b: ReplicaSet): number => {
  const [left, right] = [revisionOf(a), revisionOf(b)];
  return left < right ? -1 : left > right ? 1 : 0;
};

const notCopied = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  revisionAnnotation,
  revisionHistoryAnnotation,
  desiredReplicasAnnotation,
  maxReplicasAnnotation,
  rollbackAnnotation,
]);
/** Whether an annotation is the Deployment's own and stays there. */
export const staysBehind = (annotation: string): boolean => notCopied.has(annotation);

const historyLengthMax = 2000;

/**
 * Annotations of the new ReplicaSet: the Deployment's, its revision, and the revisions that it had
 * before.
 */
export function annotateNew(deployment: Deployment, draft: Draft, revision: bigint): void {
  const { annotations } = draft;
  for (const [key, value] of Object.entries(deployment.metadata.annotations ?? {})) {
    if (!notCopied.has(key)) annotations[key] = value;
  }
  const old = annotations[revisionAnnotation];
  if (old !== undefined && !/^\d+$/.test(old)) return;
  if (revisionFrom(old) >= revision) return;
  annotations[revisionAnnotation] = String(revision);
  if (old === undefined) return;
  const history = (annotations[revisionHistoryAnnotation] ?? "").split(",").filter(Boolean);
  history.push(old);
  while (history.length > 1 && history.join(",").length > historyLengthMax) history.shift();
  annotations[revisionHistoryAnnotation] = history.join(",");
}

/** Both annotations that later tell how much of a scaling is already done. */
export function annotateSize(deployment: Deployment, draft: Draft): void {
  const desired = desiredReplicas(deployment);
  draft.annotations[desiredReplicasAnnotation] = String(desired);
  draft.annotations[maxReplicasAnnotation] = String(desired + maxSurgeOf(deployment));
}

/**
 * Gives whether the size changes. `force`: the annotations are brought up to date even if it does
 * not.
 */
export function scaleTo(
  deployment: Deployment,
  draft: Draft,
  size: number,
  force = false,
): boolean {
  if (draft.replicas === size && !force) return false;
  annotateSize(deployment, draft);
  if (draft.replicas === size) return false;
  draft.scaled ??= { from: draft.replicas };
  draft.replicas = size;
  return true;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
export const totalReplicas = (drafts: readonly Draft[]): number =>
  sum(drafts.map((draft) => draft.replicas));
export const availableReplicas = (drafts: readonly Draft[]): number =>
  sum(drafts.map((draft) => draft.replicaSet.status.availableReplicas ?? 0));

/** How large the new ReplicaSet may be now. */
export function newSize(deployment: Deployment, all: readonly Draft[], current: number): number {
  const desired = desiredReplicas(deployment);
  if (!isRolling(deployment)) return desired;
  // Upstream: here the surge alone counts, without the rule that keeps it from being zero.
  const surge = deployment.spec.strategy.rollingUpdate?.maxSurge ?? 0;
  const room = desired + scaledValue(surge, desired, true) - totalReplicas(all);
  return room <= 0 ? current : current + Math.min(room, desired - current);
}

/** One step of a rolling update. The old shrink only if the new did not have to grow. */
export function rollStep(deployment: Deployment, fresh: Draft, old: readonly Draft[]): void {
  const desired = desiredReplicas(deployment);
  const all = [...old, fresh];
  if (fresh.replicas > desired && scaleTo(deployment, fresh, desired)) return;
  if (fresh.replicas < desired) {
    if (scaleTo(deployment, fresh, newSize(deployment, all, fresh.replicas))) return;
  }
  shrinkOld(
    deployment,
    fresh,
    old.filter((draft) => draft.replicas > 0),
  );
}

function shrinkOld(deployment: Deployment, fresh: Draft, old: readonly Draft[]): void {
  const minAvailable = desiredReplicas(deployment) - maxUnavailableOf(deployment);
  const freshUnavailable = fresh.replicas - (fresh.replicaSet.status.availableReplicas ?? 0);
  const all = [...old, fresh];
  let unhealthyMax = totalReplicas(all) - minAvailable - freshUnavailable;
  if (unhealthyMax <= 0) return;
  const oldestFirst = [...old].sort((a, b) => byCreation(a.replicaSet, b.replicaSet));
  // Those that serve nobody go first: they cost no availability.
  for (const draft of oldestFirst) {
    const unhealthy = draft.replicas - (draft.replicaSet.status.availableReplicas ?? 0);
    const fewer = Math.min(unhealthyMax, unhealthy);
    if (fewer <= 0) continue;
    scaleTo(deployment, draft, draft.replicas - fewer);
    unhealthyMax -= fewer;
  }
  let surplus = availableReplicas(all) - minAvailable;
  for (const draft of oldestFirst) {
    const fewer = Math.min(draft.replicas, surplus);
    if (fewer <= 0) continue;
    scaleTo(deployment, draft, draft.replicas - fewer);
    surplus -= fewer;
  }
}

const roundAway = (value: number): number =>
  value < 0 ? Math.trunc(value - 0.5) : Math.trunc(value + 0.5);

/** How many replicas of a scaling fall to one ReplicaSet, by its share of the whole. */
function fractionOf(deployment: Deployment, draft: Draft): number {
  const desired = desiredReplicas(deployment);
  if (desired === 0) return -draft.replicas;
  const text = draft.annotations[maxReplicasAnnotation] ?? "";
  const before = (/^\d+$/.test(text) ? Number(text) : 0) || (deployment.status.replicas ?? 0);
  if (before === 0) return 0;
  const size = (draft.replicas * (desired + maxSurgeOf(deployment))) / before;
  return roundAway(size) - draft.replicas;
}

const isSaturated = (deployment: Deployment, draft: Draft): boolean => {
  const desired = desiredReplicas(deployment);
  return (
    draft.replicas === desired &&
    draft.annotations[desiredReplicasAnnotation] === String(desired) &&
    (draft.replicaSet.status.availableReplicas ?? 0) === desired
  );
};

/**
 * The Deployment was scaled: spread the difference over the ReplicaSets that run, in proportion to
 * their sizes.
 */
export function scaleProportionally(
  deployment: Deployment,
  fresh: Draft | undefined,
  old: readonly Draft[],
): void {
  const desired = desiredReplicas(deployment);
  const all = fresh === undefined ? [...old] : [...old, fresh];
  const active = all.filter((draft) => draft.replicas > 0);
  if (active.length <= 1) {
    const newestOld = [...old].sort((a, b) => byCreation(b.replicaSet, a.replicaSet))[0];
    const only = active[0] ?? fresh ?? newestOld;
    if (only !== undefined) scaleTo(deployment, only, desired);
    return;
  }
  if (fresh !== undefined && isSaturated(deployment, fresh)) {
    for (const draft of old) if (draft.replicas > 0) scaleTo(deployment, draft, 0);
    return;
  }
  if (!isRolling(deployment)) return;
  const allowed = desired > 0 ? desired + maxSurgeOf(deployment) : 0;
  const toAdd = allowed - totalReplicas(active);
  const ordered = active.sort((a, b) => {
    if (a.replicas !== b.replicas) return b.replicas - a.replicas;
    // Of equal sizes the newest gains first, the oldest loses first.
    return toAdd > 0
      ? byCreation(b.replicaSet, a.replicaSet)
      : byCreation(a.replicaSet, b.replicaSet);
  });
  let added = 0;
  const sizes = ordered.map((draft) => {
    if (toAdd === 0 || toAdd === added) return draft.replicas;
    const fraction = fractionOf(deployment, draft);
    const share = toAdd > 0 ? Math.min(fraction, toAdd - added) : Math.max(fraction, toAdd - added);
    added += share;
    return draft.replicas + share;
  });
  for (const [at, draft] of ordered.entries()) {
    const leftover = at === 0 ? toAdd - added : 0;
    scaleTo(deployment, draft, Math.max(0, (sizes[at] ?? 0) + leftover), true);
  }
}
