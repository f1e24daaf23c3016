/**
 * What a Deployment's status says of its ReplicaSets: counts, and the conditions that `kubectl
 * rollout status` waits for. Pure.
 */
import type { Deployment } from "#api/apps/v1/deployment.ts";
import type { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import type { DeploymentCondition, DeploymentStatus } from "#api/generated/apps/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import {
  availableReplicas,
  type Draft,
  desiredReplicas,
  maxUnavailableOf,
  totalReplicas,
} from "./deployment-rollout.ts";

type Conditions = readonly DeploymentCondition[];

export const findCondition = (conditions: Conditions, type: string) =>
  conditions.find((condition) => condition.type === type);
export const withoutCondition = (conditions: Conditions, type: string): Conditions =>
  conditions.filter((condition) => condition.type !== type);

/** Same status and reason: stays as it is. Same status: keeps its transition time. */
export function withCondition(
  conditions: Conditions,
  condition: Pick<DeploymentCondition, "type" | "status" | "reason" | "message">,
  now: number,
): Conditions {
  const old = findCondition(conditions, condition.type);
  if (old?.status === condition.status && old.reason === condition.reason) return conditions;
  const time = formatTime(now);
  const lastTransitionTime = old?.status === condition.status ? old.lastTransitionTime : time;
  const fresh = { ...condition, lastUpdateTime: time, lastTransitionTime };
  return [...withoutCondition(conditions, condition.type), fresh];
}

const noDeadline = 2 ** 31 - 1;
/** Upstream: the largest number means that there is no deadline. */
export function deadlineMs(deployment: Deployment): number | undefined {
  const { progressDeadlineSeconds: seconds } = deployment.spec;
  return seconds === undefined || seconds === noDeadline ? undefined : seconds * 1000;
}

const sum = (drafts: readonly Draft[], of: (status: ReplicaSet["status"]) => number | undefined) =>
  drafts.reduce((total, draft) => total + (of(draft.replicaSet.status) ?? 0), 0);

function terminatingReplicas(drafts: readonly Draft[]): number | undefined {
  let total = 0;
  for (const { replicaSet } of drafts) {
    const { observedGeneration = 0, terminatingReplicas: here } = replicaSet.status;
    // One that its controller has not looked at yet has no Pods; one without the figure spoils the
    // sum.
    if (here === undefined && observedGeneration > 0) return undefined;
    total += here ?? 0;
  }
  return total;
}

/** Counts and availability. `conditions`: those to start from. */
export function baseStatus(
  deployment: Stored<Deployment>,
  fresh: Draft | undefined,
  all: readonly Draft[],
  conditions: Conditions,
  now: number,
): DeploymentStatus {
  const available = availableReplicas(all);
  const enough = available >= desiredReplicas(deployment) - maxUnavailableOf(deployment);
  const terminating = terminatingReplicas(all);
  const availability = enough
    ? { status: "True", reason: "MinimumReplicasAvailable", has: "has" }
    : { status: "False", reason: "MinimumReplicasUnavailable", has: "does not have" };
  return {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas: sum(all, (status) => status.replicas),
    updatedReplicas: fresh?.replicaSet.status.replicas ?? 0,
    readyReplicas: sum(all, (status) => status.readyReplicas),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, totalReplicas(all) - available),
    ...(terminating === undefined ? {} : { terminatingReplicas: terminating }),
    ...(deployment.status.collisionCount === undefined
      ? {}
      : { collisionCount: deployment.status.collisionCount }),
    conditions: [
      ...withCondition(
        conditions,
        {
          type: "Available",
          status: availability.status,
          reason: availability.reason,
          message: `Deployment ${availability.has} minimum availability.`,
        },
        now,
      ),
    ],
  };
}

export function isComplete(deployment: Stored<Deployment>, status: DeploymentStatus): boolean {
  const desired = desiredReplicas(deployment);
  return (
    (status.updatedReplicas ?? 0) === desired &&
    (status.replicas ?? 0) === desired &&
    (status.availableReplicas ?? 0) === desired &&
    (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  );
}

/** More updated, ready or available Pods than before, or fewer old ones. */
function hasProgressed(old: DeploymentStatus, now: DeploymentStatus): boolean {
  const count = (value: number | undefined) => value ?? 0;
  const outdated = (status: DeploymentStatus) =>
    count(status.replicas) - count(status.updatedReplicas);
  return (
    count(now.updatedReplicas) > count(old.updatedReplicas) ||
    outdated(now) < outdated(old) ||
    count(now.readyReplicas) > count(old.readyReplicas) ||
    count(now.availableReplicas) > count(old.availableReplicas)
  );
}

function hasTimedOut(condition: DeploymentCondition | undefined, limitMs: number, now: number) {
  if (condition === undefined || condition.reason === "NewReplicaSetAvailable") return false;
  if (condition.reason === "ProgressDeadlineExceeded") return true;
  return (parseTime(condition.lastUpdateTime) ?? 0) + limitMs < now;
}

/**
 * The status of a rollout under way: base, progress against its deadline, and what keeps
 * ReplicaSets from their Pods.
 */
export function rolloutStatus(
  deployment: Stored<Deployment>,
  fresh: Draft | undefined,
  all: readonly Draft[],
  before: Conditions,
  now: number,
): DeploymentStatus {
  const status = baseStatus(deployment, fresh, all, before, now);
  let conditions: Conditions = status.conditions ?? [];
  const limitMs = deadlineMs(deployment);
  const current = findCondition(before, "Progressing");
  const settled =
    (status.replicas ?? 0) === (status.updatedReplicas ?? 0) &&
    current?.reason === "NewReplicaSetAvailable";
  const what =
    fresh === undefined
      ? `Deployment "${deployment.metadata.name}"`
      : `ReplicaSet "${fresh.replicaSet.metadata.name}"`;
  const progressing = (value: string, reason: string, message: string) => {
    const condition = { type: "Progressing", status: value, reason, message };
    conditions = withCondition(conditions, condition, now);
  };
  if (limitMs === undefined) conditions = withoutCondition(conditions, "Progressing");
  else if (!settled) {
    if (isComplete(deployment, status)) {
      progressing("True", "NewReplicaSetAvailable", `${what} has successfully progressed.`);
    } else if (hasProgressed(deployment.status, status)) {
      // The update time moves on with every step; the transition time only with the status.
      const since = current?.status === "True" ? current.lastTransitionTime : undefined;
      conditions = withoutCondition(conditions, "Progressing");
      progressing("True", "ReplicaSetUpdated", `${what} is progressing.`);
      if (since !== undefined) {
        conditions = conditions.map((condition) =>
          condition.type === "Progressing"
            ? { ...condition, lastTransitionTime: since }
            : condition,
        );
      }
    } else if (hasTimedOut(current, limitMs, now)) {
      progressing("False", "ProgressDeadlineExceeded", `${what} has timed out progressing.`);
    }
  }
  return { ...status, conditions: [...withReplicaFailure(conditions, fresh, all, now)] };
}

/** The new ReplicaSet's failure counts first. */
function withReplicaFailure(
  conditions: Conditions,
  fresh: Draft | undefined,
  all: readonly Draft[],
  now: number,
): Conditions {
  const failures = [...(fresh === undefined ? [] : [fresh]), ...all].flatMap(
    ({ replicaSet }) =>
      replicaSet.status.conditions?.filter((one) => one.type === "ReplicaFailure") ?? [],
  );
  const [failure] = failures;
  if (failure === undefined) return withoutCondition(conditions, "ReplicaFailure");
  const { type, status, reason = "", message = "" } = failure;
  return withCondition(conditions, { type, status, reason, message }, now);
}

/**
 * When to look again whether a rollout that stands still has run out of time; Infinity: no need.
 */
export function deadlineInMs(
  deployment: Stored<Deployment>,
  status: DeploymentStatus,
  now: number,
): number {
  const limitMs = deadlineMs(deployment);
  const current = findCondition(status.conditions ?? [], "Progressing");
  if (limitMs === undefined || current === undefined) return Infinity;
  if (isComplete(deployment, status) || current.reason === "ProgressDeadlineExceeded")
    return Infinity;
  if (current.reason === "NewReplicaSetAvailable") return Infinity;
  // Times on the wire are whole seconds: one more, so that the deadline has passed for certain.
  return Math.max(0, (parseTime(current.lastUpdateTime) ?? now) + limitMs - now) + 1000;
}
