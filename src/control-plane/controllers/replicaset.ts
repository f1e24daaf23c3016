/**
 * ReplicaSet controller: keeps as many Pods alive as `spec.replicas` asks for. Reads ReplicaSets
 * and Pods; writes Pods, their owner references, and the ReplicaSet's status. Never looks at Nodes:
 * where a Pod runs is the scheduler's business.
 */
import { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { isPodReady } from "#api/core/v1/pod-status.ts";
import type { PodTemplateSpec } from "#api/generated/core/v1.ts";
import type { Kind } from "#api/resource.ts";
import { namespaceIndex } from "#client/cache.ts";
import type { New } from "#client/client.ts";
import { type ApiObject, controllerOf, type Stored } from "#machinery/meta.ts";
import { matchesSelector } from "#machinery/selector.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import {
  claimable,
  controllerIndex,
  controllerReference,
  type Outcome,
  type ReconcileContext,
  requeueAfter,
} from "./controller.ts";
import { availableInMs, isActive, isTerminating, readySince } from "./pod-state.ts";
import { defineController, isEnding } from "./runner.ts";

/** Most Pods that one pass creates or deletes, so that a mistake shows before it is complete. */
const burstMax = 500;

export const replicaSetController = defineController<ReplicaSet>({
  name: "replicaset",
  reconciles: ReplicaSet,
  owns: [Pod],
  adopts: (replicaSet, pod) => selects(replicaSet, pod.metadata.labels),
  reconcile: (replicaSet, context) =>
    keepReplicas(ReplicaSet, replicaSet, siblings(replicaSet, context), context, (status) =>
      context.client.updateStatus(ReplicaSet, { ...replicaSet, status }),
    ),
});

/**
 * What ReplicaSets and ReplicationControllers have in common: all but the kind of the selector.
 * `shape` leaves out of the status what the kind does not say.
 */
export async function keepReplicas(
  kind: Kind,
  replicaSet: Stored<ReplicaSet>,
  family: readonly Stored<ReplicaSet>[],
  context: ReconcileContext,
  updateStatus: (status: Status) => Promise<unknown>,
  shape: (status: Status) => Status = (status) => status,
): Promise<Outcome> {
  const pods = context.cache(Pod);
  const candidates = claimable(pods, replicaSet);
  const active = await context.claim(Pod, replicaSet, candidates.filter(isActive), (pod) =>
    selects(replicaSet, pod.metadata.labels),
  );
  const terminating = candidates.filter(
    (pod) =>
      isTerminating(pod) &&
      controllerOf(pod)?.uid === replicaSet.metadata.uid &&
      selects(replicaSet, pod.metadata.labels),
  );
  let failure: unknown;
  if (replicaSet.metadata.deletionTimestamp === undefined) {
    const related = family.flatMap((sibling) =>
      pods
        .byIndex(controllerIndex, sibling.metadata.uid)
        .filter((pod) => selects(sibling, pod.metadata.labels)),
    );
    const plan = planReplicas(replicaSet, active, related, context.now, kind);
    failure = await perform(replicaSet, plan, context);
  }
  const status = shape(
    replicaSetStatus(replicaSet, active, terminating.length, failure, context.now),
  );
  if (!sameStatus(replicaSet.status, status)) await updateStatus(status);
  if (failure !== undefined) throw failure;
  const { minReadySeconds = 0 } = replicaSet.spec ?? {};
  const waits = active
    .map((pod) => availableInMs(pod, minReadySeconds, context.now))
    .filter((ms) => ms > 0);
  return requeueAfter(Math.min(...waits));
}

const selects = (replicaSet: ReplicaSet, labels: Record<string, string> | undefined): boolean =>
  matchesSelector(replicaSet.spec?.selector, labels);

/** ReplicaSets of the same Deployment, this one included: their Pods share nodes. */
function siblings(
  replicaSet: Stored<ReplicaSet>,
  context: ReconcileContext,
): readonly Stored<ReplicaSet>[] {
  const uid = controllerOf(replicaSet)?.uid;
  if (uid === undefined) return [replicaSet];
  return context
    .cache(ReplicaSet)
    .byIndex(namespaceIndex, replicaSet.metadata.namespace ?? "")
    .filter((other) => controllerOf(other)?.uid === uid);
}

export interface ReplicaPlan {
  readonly create: readonly New<Pod>[];
  readonly remove: readonly Stored<Pod>[];
}

/** What to create and what to remove. */
export function planReplicas(
  replicaSet: Stored<ReplicaSet>,
  active: readonly Stored<Pod>[],
  related: readonly Stored<Pod>[],
  now: number,
  kind: Kind = ReplicaSet,
): ReplicaPlan {
  const missing = (replicaSet.spec?.replicas ?? 1) - active.length;
  if (missing > 0) {
    const pod = podFromTemplate(kind, replicaSet, replicaSet.spec?.template ?? {});
    return { create: Array<New<Pod>>(Math.min(missing, burstMax)).fill(pod), remove: [] };
  }
  const surplus = Math.min(-missing, burstMax);
  if (surplus === 0) return { create: [], remove: [] };
  const ranked = surplus < active.length ? byDeletionOrder(active, related, now) : active;
  return { create: [], remove: ranked.slice(0, surplus) };
}

/** A Pod as its owner's template wants it, named after the owner. */
export function podFromTemplate(
  kind: Kind,
  owner: Stored<ApiObject>,
  template: PodTemplateSpec,
): New<Pod> {
  const { labels, annotations, finalizers } = template.metadata ?? {};
  return {
    metadata: {
      generateName: `${owner.metadata.name}-`,
      ...(owner.metadata.namespace === undefined ? {} : { namespace: owner.metadata.namespace }),
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
      ...(finalizers === undefined ? {} : { finalizers }),
      ownerReferences: [controllerReference(kind, owner)],
    },
    ...(template.spec === undefined ? {} : { spec: template.spec }),
  } as New<Pod>;
}

const phaseOrder: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 };

const deletionCost = (pod: Pod): number => {
  const text = pod.metadata.annotations?.["controller.kubernetes.io/pod-deletion-cost"] ?? "0";
  return /^(0|-?[1-9]\d{0,9})$/.test(text) ? Number(text) : 0;
};

/** Highest restart count among the regular containers, and among the sidecars. */
function restarts(pod: Pod): readonly [number, number] {
  const regular = (pod.status?.containerStatuses ?? []).map((one) => one.restartCount ?? 0);
  const sidecars = new Set(
    (pod.spec?.initContainers ?? [])
      .filter((container) => container.restartPolicy === "Always")
      .map((container) => container.name),
  );
  const sidecar = (pod.status?.initContainerStatuses ?? [])
    .filter((one) => sidecars.has(one.name))
    .map((one) => one.restartCount ?? 0);
  return [Math.max(0, ...regular), Math.max(0, ...sidecar)];
}

/**
 * Upstream: ages count by their power of two (in nanoseconds), so that a Pod a little younger is
 * not always the victim.
 */
const ageRank = (since: number, now: number): number =>
  now > since ? Math.trunc(Math.log2((now - since) * 1e6)) : -1;

const compareAge = (a: Pod, b: Pod, sinceA: number, sinceB: number, now: number): number => {
  const difference = ageRank(sinceA, now) - ageRank(sinceB, now);
  if (difference !== 0) return difference;
  return (a.metadata.uid ?? "") < (b.metadata.uid ?? "") ? -1 : 1;
};

/**
 * Whom to part with first: those that have done the least, cost the least, and stand closest
 * together.
 */
export function byDeletionOrder(
  pods: readonly Stored<Pod>[],
  related: readonly Stored<Pod>[],
  now: number,
): readonly Stored<Pod>[] {
  const onNode = new Map<string, number>();
  for (const pod of related) {
    if (!isActive(pod)) continue;
    const node = pod.spec?.nodeName ?? "";
    onNode.set(node, (onNode.get(node) ?? 0) + 1);
  }
  const crowd = (pod: Pod) => onNode.get(pod.spec?.nodeName ?? "") ?? 0;
  return [...pods].sort((a, b) => {
    const bound = Number((a.spec?.nodeName ?? "") !== "") - Number((b.spec?.nodeName ?? "") !== "");
    if (bound !== 0) return bound;
    const phase =
      (phaseOrder[a.status?.phase ?? ""] ?? 0) - (phaseOrder[b.status?.phase ?? ""] ?? 0);
    if (phase !== 0) return phase;
    const ready = Number(isPodReady(a)) - Number(isPodReady(b));
    if (ready !== 0) return ready;
    const cost = deletionCost(a) - deletionCost(b);
    if (cost !== 0) return cost;
    const crowded = crowd(b) - crowd(a);
    if (crowded !== 0) return crowded;
    const readyA = readySince(a);
    const readyB = readySince(b);
    if (readyA !== undefined && readyB !== undefined && readyA !== readyB) {
      return compareAge(a, b, readyA, readyB, now);
    }
    const [regularA, sidecarA] = restarts(a);
    const [regularB, sidecarB] = restarts(b);
    if (regularA !== regularB) return regularB - regularA;
    if (sidecarA !== sidecarB) return sidecarB - sidecarA;
    const createdA = parseTime(a.metadata.creationTimestamp) ?? 0;
    const createdB = parseTime(b.metadata.creationTimestamp) ?? 0;
    return createdA === createdB ? 0 : compareAge(a, b, createdA, createdB, now);
  });
}

/** Gives the first failure. */
async function perform(
  replicaSet: Stored<ReplicaSet>,
  plan: ReplicaPlan,
  context: ReconcileContext,
): Promise<unknown> {
  const { created, error } = await context.createEach(Pod, plan.create);
  for (const pod of created) {
    context.event(replicaSet, "Normal", "SuccessfulCreate", `Created pod: ${pod.metadata.name}`);
  }
  if (error !== undefined) {
    // The namespace is on its way out: there is nothing left to do, and nothing to tell.
    if (isEnding(error)) return undefined;
    context.event(replicaSet, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
    return error;
  }
  const removals = await Promise.allSettled(
    plan.remove.map(async (pod) => {
      const { name, namespace } = pod.metadata;
      try {
        await context.client.delete(Pod, {
          name,
          ...(namespace === undefined ? {} : { namespace }),
        });
      } catch (failure) {
        if (isStatus(failure, "NotFound")) return;
        context.event(
          replicaSet,
          "Warning",
          "FailedDelete",
          `Error deleting: ${messageOf(failure)}`,
        );
        throw failure;
      }
      context.event(replicaSet, "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
    }),
  );
  return removals.find((one) => one.status === "rejected")?.reason;
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

type Status = NonNullable<ReplicaSet["status"]>;

/** What the status should say of these Pods. */
export function replicaSetStatus(
  replicaSet: Stored<ReplicaSet>,
  active: readonly Stored<Pod>[],
  terminatingReplicas: number,
  failure: unknown,
  now: number,
): Status {
  const { replicas: wanted = 1, minReadySeconds = 0, template } = replicaSet.spec ?? {};
  const labels = Object.entries(template?.metadata?.labels ?? {});
  const old = replicaSet.status?.conditions ?? [];
  const known = old.find((condition) => condition.type === "ReplicaFailure");
  let conditions = old;
  if (failure === undefined) {
    conditions = old.filter((condition) => condition !== known);
  } else if (known === undefined) {
    const reason = active.length < wanted ? "FailedCreate" : "FailedDelete";
    conditions = [
      ...old,
      {
        type: "ReplicaFailure",
        status: "True",
        lastTransitionTime: formatTime(now),
        reason,
        message: messageOf(failure),
      },
    ];
  }
  return {
    replicas: active.length,
    fullyLabeledReplicas: active.filter((pod) =>
      labels.every(([name, value]) => pod.metadata.labels?.[name] === value),
    ).length,
    readyReplicas: active.filter(isPodReady).length,
    availableReplicas: active.filter((pod) => availableInMs(pod, minReadySeconds, now) === 0)
      .length,
    terminatingReplicas,
    observedGeneration: replicaSet.metadata.generation ?? 0,
    ...(conditions.length === 0 ? {} : { conditions }),
  };
}

function sameStatus(old: Status | undefined, now: Status): boolean {
  if (old === undefined) return false;
  return (
    (old.replicas ?? 0) === now.replicas &&
    (old.fullyLabeledReplicas ?? 0) === now.fullyLabeledReplicas &&
    (old.readyReplicas ?? 0) === now.readyReplicas &&
    (old.availableReplicas ?? 0) === now.availableReplicas &&
    old.terminatingReplicas === now.terminatingReplicas &&
    (old.observedGeneration ?? 0) === now.observedGeneration &&
    (old.conditions ?? []).length === (now.conditions ?? []).length &&
    (old.conditions ?? []).every((condition, at) => condition === now.conditions?.[at])
  );
}
