/** What a Job does next: which Pods it starts and stops, and whether it is over. Pure. */
import {
  countCommon,
  countOf,
  hasIndex,
  type Intervals,
  mergeIntervals,
  missingIndexes,
  readIndexes,
  withIndexes,
} from "#api/batch/v1/index-intervals.ts";
import { Job } from "#api/batch/v1/job.ts";
import { isTrue, jobCondition } from "#api/batch/v1/job-status.ts";
import { isIndexed } from "#api/batch/v1/job-validation.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { isPodReady } from "#api/core/v1/pod-status.ts";
import type { Container } from "#api/generated/core/v1.ts";
import type { New } from "#client/client.ts";
import type { Stored } from "#machinery/meta.ts";
import { parseTime } from "#machinery/time.ts";
import {
  type BackOff,
  backOffInMs,
  backOffOfIndexMs,
  completionIndex,
  completionIndexAnnotation,
  failsIndex,
  failureAnnotations,
  hasFailed,
  isCounted,
  judgeFailure,
  lastFailures,
  nextBackOff,
  replacesOnlyFailed,
  trackingFinalizer,
} from "./job-pods.ts";
import { isActive, isTerminating } from "./pod-state.ts";
import { byDeletionOrder, podFromTemplate } from "./replicaset.ts";

/** Most Pods that one pass creates or deletes. */
const burstMax = 500;
const generatedNameMax = 58;
const indexEnv = "JOB_COMPLETION_INDEX";

/** Why the Job ends. */
export interface Ending {
  readonly type: "FailureTarget" | "SuccessCriteriaMet";
  readonly reason: string;
  readonly message: string;
}

export interface JobView {
  readonly job: Stored<Job>;
  readonly pods: readonly Stored<Pod>[];
  readonly backOff: BackOff;
  readonly now: number;
}

export interface JobState {
  readonly active: readonly Stored<Pod>[];
  readonly ready: number;
  readonly terminating: number;
  /** With those that the status does not count yet. */
  readonly succeeded: number;
  readonly backOff: BackOff;
  readonly indexed: boolean;
  /** As the status has them, and with what is new. */
  readonly completedBefore: Intervals;
  readonly completed: Intervals;
  /** Undefined: indexes are not given up one by one. */
  readonly failedIndexes?: Intervals;
  readonly lastFailures: ReadonlyMap<number, Stored<Pod>>;
  readonly ending?: Ending;
  /** Until the deadline. */
  readonly deadlineInMs: number;
}

const isSuspended = ({ spec }: Job): boolean => spec.suspend === true;

function endingFound(job: Job): Ending | undefined {
  for (const type of ["SuccessCriteriaMet", "FailureTarget"] as const) {
    const condition = isTrue(job, type) ? jobCondition(job, type) : undefined;
    if (condition !== undefined) {
      return { type, reason: condition.reason ?? "", message: condition.message ?? "" };
    }
  }
  return undefined;
}

const failure = (reason: string, message: string): Ending => ({
  type: "FailureTarget",
  reason,
  message,
});

/** With containers that restart in place, their restarts are the tries. */
function restartsExceed({ spec }: Job, pods: readonly Pod[]): boolean {
  if (spec.template.spec.restartPolicy !== "OnFailure") return false;
  const restarts = pods
    .filter(({ status }) => status.phase === "Running" || status.phase === "Pending")
    .flatMap(({ status }) => [
      ...(status.initContainerStatuses ?? []),
      ...(status.containerStatuses ?? []),
    ])
    .reduce((sum, one) => sum + (one.restartCount ?? 0), 0);
  const limit = spec.backoffLimit ?? 0;
  return limit === 0 ? restarts > 0 : restarts >= limit;
}

function deadlineIn({ spec, status }: Job, now: number): number {
  if (spec.activeDeadlineSeconds === undefined || spec.suspend === true) return Infinity;
  const start = parseTime(status.startTime ?? "") ?? now;
  return start + spec.activeDeadlineSeconds * 1000 - now;
}

function failureOf({ job, pods, now }: JobView, failed: number): Ending | undefined {
  for (const pod of pods) {
    const why = hasFailed(job, pod) ? judgeFailure(job, pod).failsJob : undefined;
    if (why !== undefined) return failure("PodFailurePolicy", why);
  }
  if (failed > (job.spec.backoffLimit ?? 0) || restartsExceed(job, pods)) {
    return failure("BackoffLimitExceeded", "Job has reached the specified backoff limit");
  }
  if (job.status.startTime !== undefined && deadlineIn(job, now) <= 0) {
    return failure("DeadlineExceeded", "Job was active longer than specified deadline");
  }
  return undefined;
}

/** The first rule of the success policy that holds. */
function successOf({ spec }: Job, completed: Intervals): Ending | undefined {
  for (const [at, rule] of (spec.successPolicy?.rules ?? []).entries()) {
    const { succeededIndexes, succeededCount } = rule;
    let met: boolean;
    if (succeededIndexes === undefined) {
      met = succeededCount !== undefined && countOf(completed) >= succeededCount;
    } else {
      const wanted = readIndexes(succeededIndexes, spec.completions ?? 0);
      const common = countCommon(wanted, completed);
      if (wanted.length === 0) continue;
      met = common === countOf(wanted) || common >= (succeededCount ?? Infinity);
    }
    if (!met) continue;
    const message = `Matched rules at index ${at}`;
    return { type: "SuccessCriteriaMet", reason: "SuccessPolicy", message };
  }
  return undefined;
}

function failureOfIndexes({ spec }: Job, failed: Intervals, completed: Intervals) {
  const count = countOf(failed);
  if (spec.maxFailedIndexes !== undefined && count > spec.maxFailedIndexes) {
    return failure(
      "MaxFailedIndexesExceeded",
      "Job has exceeded the specified maximal number of failed indexes",
    );
  }
  if (count > 0 && count + countOf(completed) >= (spec.completions ?? 0)) {
    return failure("FailedIndexes", "Job has failed indexes");
  }
  return undefined;
}

const indexesOf = (pods: readonly Pod[]): Set<number> =>
  new Set(pods.map(completionIndex).filter((index) => index !== undefined));

/** Where the Job stands, judged by its Pods. */
export function stateOf(view: JobView): JobState {
  const { job, pods, now } = view;
  const { status, spec } = job;
  const uncounted = status.uncountedTerminatedPods ?? {};
  const counted = pods.filter((pod) => isCounted(job, pod));
  const isNew = (pod: Stored<Pod>, list: readonly string[] | undefined) =>
    !(list ?? []).includes(pod.metadata.uid);
  const succeededPods = counted.filter(
    (pod) => pod.status.phase === "Succeeded" && isNew(pod, uncounted.succeeded),
  );
  const failedPods = counted.filter((pod) => hasFailed(job, pod) && isNew(pod, uncounted.failed));
  const failed =
    (status.failed ?? 0) +
    failedPods.filter((pod) => judgeFailure(job, pod).counts).length +
    (uncounted.failed?.length ?? 0);
  const active = pods.filter(isActive);
  const indexed = isIndexed(spec);
  const completedBefore = readIndexes(status.completedIndexes ?? "", spec.completions ?? 0);
  const completed = withIndexes(
    completedBefore,
    indexesOf(counted.filter((pod) => pod.status.phase === "Succeeded")),
  );
  let ending = endingFound(job) ?? failureOf(view, failed);
  let failedIndexes: Intervals | undefined;
  if (indexed && spec.backoffLimitPerIndex !== undefined) {
    failedIndexes = withIndexes(
      readIndexes(status.failedIndexes ?? "", spec.completions ?? 0),
      indexesOf(counted.filter((pod) => failsIndex(job, pod))),
    );
    ending ??= failureOfIndexes(job, failedIndexes, completed);
  }
  if (indexed) ending ??= successOf(job, completed);
  const over = mergeIntervals([...completed, ...(failedIndexes ?? [])]);
  return {
    active,
    ready: active.filter(isPodReady).length,
    terminating: pods.filter(isTerminating).length,
    succeeded: indexed
      ? countOf(completed)
      : (status.succeeded ?? 0) + succeededPods.length + (uncounted.succeeded?.length ?? 0),
    backOff: nextBackOff(view.backOff, succeededPods, failedPods),
    indexed,
    completedBefore,
    completed,
    ...(failedIndexes === undefined ? {} : { failedIndexes }),
    lastFailures:
      failedIndexes === undefined ? new Map() : lastFailures(job, pods, over, indexesOf(active)),
    ...(ending === undefined ? {} : { ending }),
    deadlineInMs: ending === undefined ? deadlineIn(job, now) : Infinity,
  };
}

export interface JobActions {
  readonly create: readonly New<Pod>[];
  /** Deleted without being counted as failed. */
  readonly remove: readonly Stored<Pod>[];
  readonly againInMs: number;
}

/** For a Job that goes on. */
export function planPods({ job, pods, now }: JobView, state: JobState): JobActions {
  const { spec } = job;
  const { active, succeeded, terminating } = state;
  const parallelism = spec.parallelism ?? 1;
  if (isSuspended(job)) {
    return { create: [], remove: removals(job, active, active.length, now), againInMs: Infinity };
  }
  let wanted: number;
  if (spec.completions === undefined) wanted = succeeded > 0 ? active.length : parallelism;
  else wanted = Math.max(0, Math.min(spec.completions - succeeded, parallelism));
  const surplus = Math.max(0, active.length - wanted);
  const remove = removals(job, active, surplus, now).slice(0, burstMax);
  if (remove.length > 0) return { create: [], remove, againInMs: Infinity };
  const leaving = replacesOnlyFailed(job) ? terminating : 0;
  const missing = Math.min(wanted - leaving - active.length, burstMax);
  if (missing <= 0) return { create: [], remove: [], againInMs: Infinity };
  const perIndex = spec.backoffLimitPerIndex !== undefined;
  const waitMs = perIndex ? 0 : backOffInMs(state.backOff, now);
  if (waitMs > 0) return { create: [], remove: [], againInMs: waitMs };
  if (!state.indexed) {
    return { create: Array<New<Pod>>(missing).fill(podOf(job)), remove: [], againInMs: Infinity };
  }
  const busy = new Set([
    ...indexesOf(active),
    ...(replacesOnlyFailed(job) ? indexesOf(pods.filter(isTerminating)) : []),
  ]);
  const taken = withIndexes([...state.completed, ...(state.failedIndexes ?? [])], busy);
  const free = missingIndexes(taken, missing, spec.completions ?? 0);
  const waits = free.map((index) =>
    perIndex ? backOffOfIndexMs(state.lastFailures.get(index), now) : 0,
  );
  const due = free.filter((_, at) => waits[at] === 0);
  const create = due.map((index) => podOfIndex(job, index, state.lastFailures.get(index)));
  const againInMs = Math.min(Infinity, ...waits.filter((ms) => ms > 0));
  return { create, remove: [], againInMs };
}

/** Whom to part with: of indexes that are worked on twice all but one, then those that did least. */
function removals(
  job: Job,
  active: readonly Stored<Pod>[],
  atLeast: number,
  now: number,
): readonly Stored<Pod>[] {
  const remove: Stored<Pod>[] = [];
  let left = byDeletionOrder(active, [], now);
  if (isIndexed(job.spec)) {
    const kept = new Map<number, Stored<Pod>>();
    for (const pod of left) {
      const index = completionIndex(pod);
      if (index === undefined || index >= (job.spec.completions ?? 0)) remove.push(pod);
      else {
        const other = kept.get(index);
        if (other !== undefined) remove.push(other);
        kept.set(index, pod);
      }
    }
    left = left.filter((pod) => !remove.includes(pod));
  }
  return [...remove, ...left.slice(0, Math.max(0, atLeast - remove.length))];
}

function podOf(job: Stored<Job>): New<Pod> {
  const pod = podFromTemplate(Job, job, job.spec.template);
  const { finalizers = [] } = pod.metadata;
  if (finalizers.includes(trackingFinalizer)) return pod;
  return { ...pod, metadata: { ...pod.metadata, finalizers: [...finalizers, trackingFinalizer] } };
}

const withIndexEnv = (container: Container): Container => {
  const env = container.env ?? [];
  if (env.some(({ name }) => name === indexEnv)) return container;
  const fieldPath = `metadata.labels['${completionIndexAnnotation}']`;
  return {
    ...container,
    env: [...env, { name: indexEnv, valueFrom: { fieldRef: { fieldPath } } }],
  };
};

function podOfIndex(job: Stored<Job>, index: number, last: Stored<Pod> | undefined): New<Pod> {
  const pod = podOf(job);
  const suffix = `-${index}-`;
  const { name } = job.metadata;
  const text = String(index);
  const failures = job.spec.backoffLimitPerIndex === undefined ? {} : failureAnnotations(job, last);
  const { initContainers } = pod.spec;
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      generateName: `${name.slice(0, generatedNameMax - suffix.length)}${suffix}`,
      labels: { ...pod.metadata.labels, [completionIndexAnnotation]: text },
      annotations: {
        ...pod.metadata.annotations,
        [completionIndexAnnotation]: text,
        ...failures,
      },
    },
    spec: {
      ...pod.spec,
      hostname: `${name}-${index}`,
      containers: pod.spec.containers.map(withIndexEnv),
      ...(initContainers === undefined ? {} : { initContainers: initContainers.map(withIndexEnv) }),
    },
  };
}

/** Whether the status may count the Pod now, and let it go. */
export function isSettled(
  job: Stored<Job>,
  pod: Stored<Pod>,
  state: JobState,
  isEnding: boolean,
): boolean {
  if (job.metadata.deletionTimestamp !== undefined || isEnding) return true;
  if (pod.status.phase === "Succeeded") return true;
  if (!hasFailed(job, pod)) return false;
  const index = completionIndex(pod);
  return index === undefined || state.lastFailures.get(index)?.metadata.uid !== pod.metadata.uid;
}

/** The status said so before this pass. */
export const isIndexDone = (state: JobState, index: number): boolean =>
  hasIndex(state.completedBefore, index);
