/**
 * Deployment controller: moves a Deployment's Pods from one template to the next, and keeps the
 * past ones for rollback. Reads Deployments, ReplicaSets and (for Recreate) Pods; writes
 * ReplicaSets and the Deployment's status and revision. Never touches a Pod: that is the ReplicaSet
 * controller's business.
 */
import { Deployment } from "#api/apps/v1/deployment.ts";
import { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { isPodTerminal } from "#api/core/v1/pod-status.ts";
import type { DeploymentCondition, DeploymentStatus } from "#api/generated/apps/v1.ts";
import type { New } from "#client/client.ts";
import { controllerOf, type Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { matchesSelector } from "#machinery/selector.ts";
import { isStatus } from "#machinery/status-error.ts";
import {
  claimable,
  controllerIndex,
  controllerReference,
  keyFor,
  type Outcome,
  type ReconcileContext,
  requeueAfter,
  watch,
} from "./controller.ts";
import {
  annotateNew,
  annotateSize,
  byCreation,
  byRevision,
  type Draft,
  desiredReplicas,
  desiredReplicasAnnotation,
  draftOf,
  findNew,
  hashLabel,
  isRolling,
  newSize,
  revisionAnnotation,
  revisionOf,
  rollbackAnnotation,
  rollStep,
  sameTemplate,
  scaleProportionally,
  scaleTo,
  staysBehind,
} from "./deployment-rollout.ts";
import {
  baseStatus,
  deadlineInMs,
  deadlineMs,
  findCondition,
  isComplete,
  rolloutStatus,
  withCondition,
} from "./deployment-status.ts";
import { defineController, isEnding } from "./runner.ts";
import { templateHash } from "./template-hash.ts";

const nameLengthMax = 253;
const noHistoryLimit = 2 ** 31 - 1;

/**
 * What one pass does: at most one ReplicaSet is created, some are changed, some removed; then the
 * status.
 */
export interface DeploymentPlan {
  readonly create?: New<ReplicaSet>;
  readonly change: readonly Draft[];
  readonly remove: readonly Stored<ReplicaSet>[];
  /** What the Deployment's revision annotation should say. */
  readonly revision?: string;
  readonly status: DeploymentStatus;
}

export const deploymentController = defineController<Deployment>({
  name: "deployment",
  reconciles: Deployment,
  owns: [ReplicaSet],
  adopts: (deployment, orphan) => matchesSelector(deployment.spec.selector, orphan.metadata.labels),
  watches: [
    // Recreate waits for the last old Pod; only its disappearance or end matters.
    watch(
      Pod,
      (pod, lookup) => {
        const owner = controllerOf(pod);
        if (owner?.kind !== "ReplicaSet") return [];
        const { namespace } = pod.metadata;
        const replicaSet = lookup.cache(ReplicaSet).get(keyFor(namespace, owner.name));
        if (replicaSet === undefined || replicaSet.metadata.uid !== owner.uid) return [];
        const deployment = controllerOf(replicaSet);
        return deployment?.kind === "Deployment" ? [keyFor(namespace, deployment.name)] : [];
      },
      (pod, old) => isPodTerminal(pod) !== isPodTerminal(old),
    ),
  ],

  async reconcile(deployment, context): Promise<Outcome> {
    const { selector } = deployment.spec;
    if (equalObjects(selector, {})) {
      context.event(
        deployment,
        "Warning",
        "SelectingAll",
        "This deployment is selecting all pods. A non-empty selector is required.",
      );
      return {};
    }
    const cache = context.cache(ReplicaSet);
    const owned = await context.claim(ReplicaSet, deployment, claimable(cache, deployment), (one) =>
      matchesSelector(selector, one.metadata.labels),
    );
    const deleting = deployment.metadata.deletionTimestamp !== undefined;
    const rollback = rollbackTarget(deployment);
    if (!deleting && deployment.spec.paused !== true && rollback !== undefined) {
      await rollBack(deployment, owned, rollback, context);
      return {};
    }
    const plan = planDeployment(
      deployment,
      owned,
      () => oldPodsRun(deployment, owned, context),
      context.now,
    );
    return perform(deployment, plan, context);
  },
});

/** What to do next. `oldPodsRun` is asked only by Recreate, before the new ReplicaSet may start. */
export function planDeployment(
  deployment: Stored<Deployment>,
  replicaSets: readonly Stored<ReplicaSet>[],
  oldPodsRun: () => boolean,
  now: number,
): DeploymentPlan {
  const ordered = [...replicaSets].sort(byCreation);
  const existing = findNew(deployment, ordered);
  const old = ordered.filter((one) => one !== existing).map(draftOf);
  let fresh = existing === undefined ? undefined : draftOf(existing);
  const revision = highestRevision(old) + 1n;
  let conditions: readonly DeploymentCondition[] = deployment.status.conditions ?? [];
  const all = () => (fresh === undefined ? old : [...old, fresh]);
  const limited = deadlineMs(deployment) !== undefined;

  if (deployment.metadata.deletionTimestamp !== undefined) {
    return {
      change: [],
      remove: [],
      status: baseStatus(deployment, fresh, all(), conditions, now),
    };
  }
  if (limited) conditions = pausedConditions(deployment, conditions, now);
  if (fresh !== undefined) {
    annotateNew(deployment, fresh, revision);
    fresh.minReadySeconds = deployment.spec.minReadySeconds ?? 0;
    if (limited && findCondition(conditions, "Progressing") === undefined) {
      const message = `Found new replica set "${fresh.replicaSet.metadata.name}"`;
      conditions = progressing(conditions, "FoundNewReplicaSet", message, now);
    }
  }
  const finish = (create: Draft | undefined, status: DeploymentStatus, clean: boolean) => ({
    ...(create === undefined ? {} : { create: newReplicaSet(create) }),
    change: all().filter((draft) => draft !== create && isChanged(draft)),
    remove: clean ? surplusHistory(deployment, old) : [],
    ...(fresh?.annotations[revisionAnnotation] === undefined
      ? {}
      : { revision: fresh.annotations[revisionAnnotation] }),
    status,
  });

  const paused = deployment.spec.paused === true;
  if (paused || isScaling(deployment, all())) {
    scaleProportionally(deployment, fresh, old);
    return finish(undefined, baseStatus(deployment, fresh, all(), conditions, now), paused);
  }
  const rolling = isRolling(deployment);
  if (!rolling) {
    let shrunk = false;
    for (const draft of old) shrunk = scaleTo(deployment, draft, 0) || shrunk;
    const wait =
      shrunk || old.some((one) => (one.replicaSet.status.replicas ?? 0) > 0) || oldPodsRun();
    if (wait)
      return finish(undefined, rolloutStatus(deployment, fresh, all(), conditions, now), false);
  }
  let created: Draft | undefined;
  if (fresh === undefined) {
    created = draftNew(deployment, old, revision);
    fresh = created;
    if (limited) {
      const message = `Created new replica set "${created.replicaSet.metadata.name}"`;
      conditions = progressing(conditions, "NewReplicaSetCreated", message, now);
    }
  }
  if (rolling) rollStep(deployment, fresh, old);
  else scaleTo(deployment, fresh, desiredReplicas(deployment));
  const status = rolloutStatus(deployment, fresh, all(), conditions, now);
  return finish(created, status, isComplete(deployment, deployment.status));
}

const progressing = (
  conditions: readonly DeploymentCondition[],
  reason: string,
  message: string,
  now: number,
) => withCondition(conditions, { type: "Progressing", status: "True", reason, message }, now);

/** Pausing stops the deadline's clock, resuming starts it anew. */
function pausedConditions(
  deployment: Deployment,
  conditions: readonly DeploymentCondition[],
  now: number,
): readonly DeploymentCondition[] {
  const current = findCondition(conditions, "Progressing");
  if (current?.reason === "ProgressDeadlineExceeded") return conditions;
  const paused = deployment.spec.paused === true;
  if (paused === (current?.reason === "DeploymentPaused")) return conditions;
  const condition = paused
    ? { reason: "DeploymentPaused", message: "Deployment is paused" }
    : { reason: "DeploymentResumed", message: "Deployment is resumed" };
  return withCondition(conditions, { type: "Progressing", status: "Unknown", ...condition }, now);
}

/** The size that some running ReplicaSet was last told of is not the Deployment's any more. */
const isScaling = (deployment: Deployment, drafts: readonly Draft[]): boolean =>
  drafts.some((draft) => {
    const told = draft.annotations[desiredReplicasAnnotation] ?? "";
    return draft.replicas > 0 && /^\d+$/.test(told) && Number(told) !== desiredReplicas(deployment);
  });

const highestRevision = (drafts: readonly Draft[]): bigint =>
  drafts.reduce((highest, { replicaSet }) => {
    const own = revisionOf(replicaSet);
    return own > highest ? own : highest;
  }, 0n);

function draftNew(deployment: Stored<Deployment>, old: readonly Draft[], revision: bigint): Draft {
  const { template, selector, minReadySeconds = 0 } = deployment.spec;
  const { name, namespace } = deployment.metadata;
  const hash = templateHash(template, deployment.status.collisionCount);
  const labels = { ...template.metadata?.labels, [hashLabel]: hash };
  const replicaSet: Stored<ReplicaSet> = {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${name.slice(0, nameLengthMax - hash.length - 1)}-${hash}`,
      ...(namespace === undefined ? {} : { namespace }),
      uid: "",
      resourceVersion: "",
      creationTimestamp: "",
      labels,
      ownerReferences: [controllerReference(Deployment, deployment)],
    },
    spec: {
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [hashLabel]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
    status: { replicas: 0 },
  };
  const draft: Draft = { replicaSet, replicas: 0, minReadySeconds, annotations: {} };
  draft.replicas = newSize(deployment, [...old, draft], 0);
  annotateNew(deployment, draft, revision);
  annotateSize(deployment, draft);
  return draft;
}

function newReplicaSet(draft: Draft): New<ReplicaSet> {
  const { metadata, spec } = draft.replicaSet;
  const { uid: _u, resourceVersion: _r, creationTimestamp: _c, ...kept } = metadata;
  return {
    metadata: { ...kept, annotations: draft.annotations },
    spec: { ...spec, replicas: draft.replicas, minReadySeconds: draft.minReadySeconds },
  };
}

const isChanged = (draft: Draft): boolean =>
  draft.replicas !== (draft.replicaSet.spec.replicas ?? 1) ||
  draft.minReadySeconds !== (draft.replicaSet.spec.minReadySeconds ?? 0) ||
  !equalObjects(draft.annotations, draft.replicaSet.metadata.annotations ?? {});

/** Old ReplicaSets beyond the history limit that have nothing left to do, by revision. */
function surplusHistory(deployment: Deployment, old: readonly Draft[]): Stored<ReplicaSet>[] {
  const { revisionHistoryLimit: limit = 10 } = deployment.spec;
  if (limit === noHistoryLimit) return [];
  const alive = old
    .map((draft) => draft.replicaSet)
    .filter((one) => one.metadata.deletionTimestamp === undefined)
    .sort((a, b) => byRevision(a, b) || byCreation(a, b));
  return alive
    .slice(0, Math.max(0, alive.length - limit))
    .filter(
      ({ spec, status, metadata }) =>
        (status.replicas ?? 0) === 0 &&
        spec.replicas === 0 &&
        (metadata.generation ?? 0) <= (status.observedGeneration ?? 0),
    );
}

function oldPodsRun(
  deployment: Stored<Deployment>,
  replicaSets: readonly Stored<ReplicaSet>[],
  context: ReconcileContext,
): boolean {
  const fresh = findNew(deployment, replicaSets);
  return replicaSets.some(
    (one) =>
      one !== fresh &&
      context
        .cache(Pod)
        .byIndex(controllerIndex, one.metadata.uid)
        .some((pod) => !isPodTerminal(pod)),
  );
}

async function perform(
  deployment: Stored<Deployment>,
  plan: DeploymentPlan,
  context: ReconcileContext,
): Promise<Outcome> {
  if (plan.create !== undefined && !(await create(deployment, plan.create, context))) return {};
  for (const draft of plan.change) await change(deployment, draft, context);
  for (const { metadata } of plan.remove) {
    try {
      await context.client.delete(ReplicaSet, {
        name: metadata.name,
        ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      });
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
  }
  let current = deployment;
  const { annotations } = deployment.metadata;
  if (plan.revision !== undefined && annotations?.[revisionAnnotation] !== plan.revision) {
    const revised = { ...annotations, [revisionAnnotation]: plan.revision };
    const metadata = { ...deployment.metadata, annotations: revised };
    current = await context.client.update(Deployment, { ...deployment, metadata });
  }
  if (!sameStatus(deployment.status, plan.status)) {
    await context.client.updateStatus(Deployment, { ...current, status: plan.status });
    return {};
  }
  return requeueAfter(deadlineInMs(deployment, plan.status, context.now));
}

/** Zero and absent are the same on the wire. */
function sameStatus(a: DeploymentStatus, b: DeploymentStatus): boolean {
  const counts = (status: DeploymentStatus) => [
    status.observedGeneration ?? 0,
    status.replicas ?? 0,
    status.updatedReplicas ?? 0,
    status.readyReplicas ?? 0,
    status.availableReplicas ?? 0,
    status.unavailableReplicas ?? 0,
    status.terminatingReplicas ?? -1,
    status.collisionCount ?? -1,
  ];
  return equalObjects(counts(a), counts(b)) && equalObjects(a.conditions ?? [], b.conditions ?? []);
}

/** False: there is nothing more to do in this pass. */
async function create(
  deployment: Stored<Deployment>,
  replicaSet: New<ReplicaSet>,
  context: ReconcileContext,
): Promise<boolean> {
  const { name = "" } = replicaSet.metadata;
  const { client, now } = context;
  try {
    await client.create(ReplicaSet, replicaSet);
  } catch (error) {
    if (isEnding(error)) return false;
    if (isStatus(error, "AlreadyExists")) {
      await settleCollision(deployment, replicaSet, context);
      return false;
    }
    const reason = "ReplicaSetCreateError";
    const why = error instanceof Error ? error.message : String(error);
    const message = `Failed to create new replica set "${name}": ${why}`;
    context.event(deployment, "Warning", reason, message);
    if (deadlineMs(deployment) !== undefined) {
      const condition = { type: "Progressing", status: "False", reason, message };
      const conditions = [...withCondition(deployment.status.conditions ?? [], condition, now)];
      const status = { ...deployment.status, conditions };
      await client.updateStatus(Deployment, { ...deployment, status });
    }
    throw error;
  }
  const replicas = replicaSet.spec.replicas ?? 0;
  if (replicas > 0) {
    const message = `Scaled up replica set ${name} from 0 to ${replicas}`;
    context.event(deployment, "Normal", "ScalingReplicaSet", message);
  }
  return true;
}

/**
 * The name is taken: by ourselves a moment ago, or by another template of the same hash; then the
 * next hash is another.
 */
async function settleCollision(
  deployment: Stored<Deployment>,
  replicaSet: New<ReplicaSet>,
  context: ReconcileContext,
): Promise<void> {
  const { name = "", namespace } = replicaSet.metadata;
  const taken = await context.client.get(ReplicaSet, {
    name,
    ...(namespace === undefined ? {} : { namespace }),
  });
  const mine = controllerOf(taken)?.uid === deployment.metadata.uid;
  if (mine && sameTemplate(taken.spec.template, deployment.spec.template)) return;
  const collisionCount = (deployment.status.collisionCount ?? 0) + 1;
  const status = { ...deployment.status, collisionCount };
  await context.client.updateStatus(Deployment, { ...deployment, status });
}

async function change(
  deployment: Stored<Deployment>,
  draft: Draft,
  context: ReconcileContext,
): Promise<void> {
  const { replicaSet, replicas, minReadySeconds, annotations, scaled } = draft;
  await context.client.update(ReplicaSet, {
    ...replicaSet,
    metadata: { ...replicaSet.metadata, annotations },
    spec: { ...replicaSet.spec, replicas, minReadySeconds },
  });
  if (scaled === undefined) return;
  const direction = scaled.from < replicas ? "up" : "down";
  const message = `Scaled ${direction} replica set ${replicaSet.metadata.name} from ${scaled.from} to ${replicas}`;
  context.event(deployment, "Normal", "ScalingReplicaSet", message);
}

/**
 * Upstream: the annotation by which the retired extensions/v1beta1 API still asks for a rollback.
 */
function rollbackTarget(deployment: Deployment): number | undefined {
  const text = deployment.metadata.annotations?.[rollbackAnnotation] ?? "";
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

async function rollBack(
  deployment: Stored<Deployment>,
  replicaSets: readonly Stored<ReplicaSet>[],
  asked: number,
  context: ReconcileContext,
): Promise<void> {
  const { name } = deployment.metadata;
  const revisions = replicaSets.toSorted((a, b) => byRevision(b, a)).map(revisionOf);
  const revision = asked === 0 ? (revisions[1] ?? 0n) : BigInt(asked);
  const target = replicaSets.find((one) => revision > 0n && revisionOf(one) === revision);
  const { [rollbackAnnotation]: _, ...annotations } = deployment.metadata.annotations ?? {};
  let next: Stored<Deployment> = {
    ...deployment,
    metadata: { ...deployment.metadata, annotations },
  };
  let told: readonly ["Normal" | "Warning", string, string];
  if (target === undefined) {
    const which =
      asked === 0 ? "Unable to find last revision." : "Unable to find the revision to rollback to.";
    told = ["Warning", "DeploymentRollbackRevisionNotFound", which];
  } else if (sameTemplate(target.spec.template, deployment.spec.template)) {
    const message = `The rollback revision contains the same template as current deployment "${name}"`;
    told = ["Warning", "DeploymentRollbackTemplateUnchanged", message];
  } else {
    const { [hashLabel]: _hash, ...labels } = target.spec.template.metadata?.labels ?? {};
    const own = Object.entries(annotations).filter(([key]) => staysBehind(key));
    const theirs = Object.entries(target.metadata.annotations ?? {}).filter(
      ([key]) => !staysBehind(key),
    );
    next = {
      ...next,
      metadata: { ...next.metadata, annotations: Object.fromEntries([...own, ...theirs]) },
      spec: {
        ...next.spec,
        template: {
          ...target.spec.template,
          metadata: { ...target.spec.template.metadata, labels },
        },
      },
    };
    const message = `Rolled back deployment "${name}" to revision ${revision}`;
    told = ["Normal", "DeploymentRollback", message];
  }
  await context.client.update(Deployment, next);
  context.event(deployment, ...told);
}
