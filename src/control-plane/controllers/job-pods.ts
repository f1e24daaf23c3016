/**
 * What the Pods of a Job mean to it: which index they work on, whether they failed and whether
 * that counts, when they ended, how long to wait for the next try. Pure.
 */
import { hasIndex, type Intervals } from "#api/batch/v1/index-intervals.ts";
import type { Job } from "#api/batch/v1/job.ts";
import { isIndexed } from "#api/batch/v1/job-validation.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { podCondition } from "#api/core/v1/pod-status.ts";
import type { PodFailurePolicyOnExitCodesRequirement } from "#api/generated/batch/v1.ts";
import type { ContainerStatus } from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import { parseTime } from "#machinery/time.ts";

export const trackingFinalizer = "batch.kubernetes.io/job-tracking";
export const completionIndexAnnotation = "batch.kubernetes.io/job-completion-index";
export const failureCountAnnotation = "batch.kubernetes.io/job-index-failure-count";
export const ignoredFailureCountAnnotation = "batch.kubernetes.io/job-index-ignored-failure-count";

const backOffFirstMs = 10_000;
const backOffMsMax = 10 * 60_000;

export const isTracked = (pod: Pod): boolean =>
  (pod.metadata.finalizers ?? []).includes(trackingFinalizer);

const countIn = (pod: Pod, key: string): number | undefined => {
  const text = pod.metadata.annotations?.[key] ?? "";
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
};
/** Undefined: it works on none. */
export const completionIndex = (pod: Pod): number | undefined =>
  countIn(pod, completionIndexAnnotation);
export const failureCount = (pod: Pod): number => countIn(pod, failureCountAnnotation) ?? 0;
export const ignoredFailureCount = (pod: Pod): number =>
  countIn(pod, ignoredFailureCountAnnotation) ?? 0;
const allFailures = (pod: Pod): number => failureCount(pod) + ignoredFailureCount(pod);

export const replacesOnlyFailed = ({ spec }: Job): boolean =>
  spec.podReplacementPolicy === "Failed";

/** One that is on its way out failed as well, unless the Job waits for how it ends. */
export const hasFailed = (job: Job, { metadata, status }: Pod): boolean =>
  status.phase === "Failed" ||
  (!replacesOnlyFailed(job) &&
    metadata.deletionTimestamp !== undefined &&
    status.phase !== "Succeeded");

function matchingContainer(
  list: readonly ContainerStatus[] | undefined,
  { containerName, operator, values }: PodFailurePolicyOnExitCodesRequirement,
): ContainerStatus | undefined {
  return (list ?? []).find(({ name, state }) => {
    const code = state?.terminated?.exitCode ?? 0;
    if (code === 0 || (containerName !== undefined && containerName !== name)) return false;
    return (values ?? []).includes(code) === (operator === "In");
  });
}

export interface FailureVerdict {
  readonly action?: string;
  /** Towards the back-off limits. */
  readonly counts: boolean;
  /** Why the whole Job fails. */
  readonly failsJob?: string;
}

/** What the Job's policy says of a Pod that failed. */
export function judgeFailure(job: Job, pod: Pod): FailureVerdict {
  const { name, namespace } = pod.metadata;
  const { status } = pod;
  for (const [at, rule] of (job.spec.podFailurePolicy?.rules ?? []).entries()) {
    const { action, onExitCodes, onPodConditions = [] } = rule;
    let why: string;
    if (onExitCodes !== undefined) {
      const container =
        matchingContainer(status.containerStatuses, onExitCodes) ??
        matchingContainer(status.initContainerStatuses, onExitCodes);
      if (container === undefined) continue;
      const code = container.state?.terminated?.exitCode;
      why = `Container ${container.name} for pod ${namespace}/${name} failed with exit code ${code}`;
    } else {
      const condition = status.conditions?.find((one) =>
        onPodConditions.some(({ type, status: wanted }) => {
          return type === one.type && wanted === one.status;
        }),
      );
      if (condition === undefined) continue;
      why = `Pod ${namespace}/${name} has condition ${condition.type}`;
    }
    if (action === "FailJob") {
      return { action, counts: true, failsJob: `${why} matching FailJob rule at index ${at}` };
    }
    return { action, counts: action !== "Ignore" };
  }
  return { counts: true };
}

/** It has failed so often, or in such a way, that its index is given up. */
export function failsIndex(job: Job, pod: Pod): boolean {
  if (!hasFailed(job, pod)) return false;
  const { action, counts } = judgeFailure(job, pod);
  if (action === "FailIndex") return true;
  return counts && failureCount(pod) >= (job.spec.backoffLimitPerIndex ?? 0);
}

function endOfContainers(pod: Pod): number | undefined {
  const sidecars = new Set(
    (pod.spec.initContainers ?? [])
      .filter(({ restartPolicy }) => restartPolicy === "Always")
      .map(({ name }) => name),
  );
  const statuses = [
    ...(pod.status.containerStatuses ?? []),
    ...(pod.status.initContainerStatuses ?? []).filter(({ name }) => sidecars.has(name)),
  ];
  const ends = statuses.map(({ state }) => parseTime(state?.terminated?.finishedAt ?? ""));
  if (ends.length === 0 || ends.includes(undefined)) return undefined;
  return Math.max(...ends.map((end) => end ?? 0));
}

/** When it ended, as well as it can be told. */
export function endedAt(pod: Stored<Pod>): number {
  const ended = endOfContainers(pod);
  if (ended !== undefined) return ended;
  const ready = podCondition(pod, "Ready");
  const unready = ready?.status === "False" ? parseTime(ready.lastTransitionTime ?? "") : undefined;
  if (unready !== undefined) return unready;
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, creationTimestamp } = pod.metadata;
  const deleted = parseTime(deletionTimestamp ?? "");
  if (deleted !== undefined) return deleted - deletionGracePeriodSeconds * 1000;
  return parseTime(creationTimestamp) ?? 0;
}

/** How often Pods failed since one succeeded, and when last. */
export interface BackOff {
  readonly failures: number;
  readonly lastAt: number;
}
export const noBackOff: BackOff = { failures: 0, lastAt: 0 };

export function nextBackOff(
  before: BackOff,
  succeeded: readonly Stored<Pod>[],
  failed: readonly Stored<Pod>[],
): BackOff {
  const ends = failed.map(endedAt);
  const lastAt = Math.max(0, ...ends);
  if (succeeded.length === 0) {
    return failed.length === 0 ? before : { failures: before.failures + failed.length, lastAt };
  }
  const lastSuccess = Math.max(...succeeded.map(endedAt));
  const since = ends.filter((end) => end > lastSuccess);
  return since.length === 0 ? noBackOff : { failures: since.length, lastAt };
}

export function backOffInMs({ failures, lastAt }: BackOff, now: number): number {
  if (failures === 0) return 0;
  const ms = Math.min(backOffMsMax, backOffFirstMs * 2 ** Math.min(failures - 1, 30));
  return Math.max(0, ms - (now - lastAt));
}

export const backOffOfIndexMs = (last: Stored<Pod> | undefined, now: number): number =>
  last === undefined
    ? 0
    : backOffInMs({ failures: allFailures(last) + 1, lastAt: endedAt(last) }, now);

/** How often the index failed, for the Pod that follows this one. */
export function failureAnnotations(job: Job, last: Stored<Pod> | undefined) {
  if (last === undefined) return { [failureCountAnnotation]: "0" };
  const counts = Number(judgeFailure(job, last).counts);
  const ignored = ignoredFailureCount(last) + 1 - counts;
  return {
    [failureCountAnnotation]: String(failureCount(last) + counts),
    ...(ignored === 0 ? {} : { [ignoredFailureCountAnnotation]: String(ignored) }),
  };
}

/** Of each index that will be tried again, the last Pod: it is kept until its successor is there. */
export function lastFailures(
  job: Job,
  pods: readonly Stored<Pod>[],
  done: Intervals,
  active: ReadonlySet<number>,
): ReadonlyMap<number, Stored<Pod>> {
  const last = new Map<number, Stored<Pod>>();
  for (const pod of pods) {
    const index = completionIndex(pod);
    if (index === undefined || !isCounted(job, pod) || !hasFailed(job, pod)) continue;
    if (hasIndex(done, index) || active.has(index)) continue;
    const known = last.get(index);
    const later =
      known === undefined ||
      (allFailures(known) <= allFailures(pod) && endedAt(known) <= endedAt(pod));
    if (later) last.set(index, pod);
  }
  return last;
}

/** Tracked, and of an index that the Job has. */
export function isCounted(job: Job, pod: Pod): boolean {
  if (!isTracked(pod)) return false;
  if (!isIndexed(job.spec)) return true;
  return (completionIndex(pod) ?? Infinity) < (job.spec.completions ?? 0);
}
