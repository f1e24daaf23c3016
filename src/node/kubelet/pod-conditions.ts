/** The conditions of a pod that the kubelet owns, and the phase, from container statuses. Pure; wording is upstream's. */
import { isSidecar } from "#api/core/v1/pod-containers.ts";
import type { Container } from "#api/generated/core/v1.ts";
import { sandboxChange } from "./pod-actions.ts";
import { initContainersOf, type NodePod, shouldRestartAfter } from "./pod-spec.ts";
import type { ReportedCondition, ReportedContainer, ReportedStatus } from "./reported-status.ts";
import type { PodRuntimeStatus } from "./runtime-status.ts";

/** Conditions of these types are the kubelet's to write; all others it leaves alone. */
export const ownConditions: ReadonlySet<string> = new Set([
  "PodScheduled",
  "Ready",
  "Initialized",
  "ContainersReady",
  "PodReadyToStartContainers",
  "PodResizePending",
  "PodResizeInProgress",
]);

/** Others tell of disruptions too: this is how the kubelet does it. */
const disruption = { type: "DisruptionTarget", reason: "TerminationByKubelet" };

export const isOwnCondition = ({
  type,
  reason,
}: {
  readonly type: string;
  readonly reason?: string;
}): boolean =>
  ownConditions.has(type) || (type === disruption.type && reason === disruption.reason);

export const disruptionCondition = (pod: NodePod, message: string): ReportedCondition =>
  condition(pod, disruption.type, "True", disruption.reason, message);

export type Phase = "Pending" | "Running" | "Succeeded" | "Failed";

type Statuses = readonly ReportedContainer[];
const statusNamed = (statuses: Statuses, name: string): ReportedContainer | undefined =>
  statuses.find((status) => status.name === name);

/** Go prints a list of strings as [a b]. */
const listed = (names: readonly string[]): string => `[${names.join(" ")}]`;

function condition(
  pod: NodePod,
  type: string,
  status: "True" | "False",
  reason = "",
  message = "",
): ReportedCondition {
  const generation = pod.metadata.generation;
  return {
    type,
    status,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...(reason === "" ? {} : { reason }),
    ...(message === "" ? {} : { message }),
  };
}

export function containersReadyCondition(
  pod: NodePod,
  statuses: Statuses,
  phase: Phase,
): ReportedCondition {
  const type = "ContainersReady";
  const watched = [...initContainersOf(pod).filter(isSidecar), ...pod.spec.containers];
  const unknown: string[] = [];
  const unready: string[] = [];
  for (const { name } of watched) {
    const status = statusNamed(statuses, name);
    if (status === undefined) unknown.push(name);
    else if (!status.ready) unready.push(name);
  }
  if (phase === "Succeeded" && unknown.length === 0) {
    return condition(pod, type, "False", "PodCompleted");
  }
  if (phase === "Failed") return condition(pod, type, "False", "PodFailed");
  const messages = [
    ...(unknown.length > 0 ? [`containers with unknown status: ${listed(unknown)}`] : []),
    ...(unready.length > 0 ? [`containers with unready status: ${listed(unready)}`] : []),
  ];
  if (messages.length === 0) return condition(pod, type, "True");
  return condition(pod, type, "False", "ContainersNotReady", messages.join(", "));
}

/** `others`: conditions that somebody else wrote, readiness gates among them. */
export function readyCondition(
  pod: NodePod,
  containersReady: ReportedCondition,
  others: readonly ReportedCondition[],
): ReportedCondition {
  if (containersReady.status !== "True") return { ...containersReady, type: "Ready" };
  const messages: string[] = [];
  for (const { conditionType } of pod.spec.readinessGates ?? []) {
    const found = others.find((one) => one.type === conditionType);
    if (found === undefined) {
      messages.push(
        `corresponding condition of pod readiness gate "${conditionType}" does not exist.`,
      );
    } else if (found.status !== "True") {
      messages.push(
        `the status of pod readiness gate "${conditionType}" is not "True", but ${found.status}`,
      );
    }
  }
  if (messages.length === 0) return condition(pod, "Ready", "True");
  return condition(pod, "Ready", "False", "ReadinessGatesNotReady", messages.join(", "));
}

export function initializedCondition(
  pod: NodePod,
  statuses: Statuses,
  phase: Phase,
): ReportedCondition {
  const type = "Initialized";
  const unknown: string[] = [];
  const incomplete: string[] = [];
  for (const container of initContainersOf(pod)) {
    const status = statusNamed(statuses, container.name);
    if (status === undefined) unknown.push(container.name);
    else if (!(isSidecar(container) ? status.started === true : status.ready)) {
      incomplete.push(container.name);
    }
  }
  if (phase === "Succeeded" && unknown.length === 0) {
    return condition(pod, type, "True", "PodCompleted");
  }
  const anyStarted = pod.spec.containers.some(({ name }) => {
    const status = statusNamed(statuses, name);
    return (
      status !== undefined &&
      (status.started === true ||
        status.state?.running !== undefined ||
        status.state?.terminated !== undefined ||
        status.lastState?.terminated !== undefined)
    );
  });
  if (anyStarted) return condition(pod, type, "True");
  const messages = [
    ...(unknown.length > 0 ? [`containers with unknown status: ${listed(unknown)}`] : []),
    ...(incomplete.length > 0 ? [`containers with incomplete status: ${listed(incomplete)}`] : []),
  ];
  if (messages.length === 0) return condition(pod, type, "True");
  return condition(pod, type, "False", "ContainersNotInitialized", messages.join(", "));
}

export function readyToStartCondition(pod: NodePod, runtime: PodRuntimeStatus): ReportedCondition {
  const change = sandboxChange(pod, runtime);
  const type = "PodReadyToStartContainers";
  if (!change.changed) return condition(pod, type, "True");
  return condition(pod, type, "False", "PodSandboxNotReady", change.reason);
}

export const scheduledCondition = (pod: NodePod): ReportedCondition =>
  condition(pod, "PodScheduled", "True");

/** Conditions with the times of their last change, carried over from what was known before. */
export function withTransitionTimes(
  conditions: readonly ReportedCondition[],
  before: ReportedStatus | undefined,
  now: string,
): ReportedCondition[] {
  return conditions.map((one) => {
    const old = before?.conditions?.find((other) => other.type === one.type);
    if (old !== undefined && old.status === one.status) {
      return { ...one, lastTransitionTime: old.lastTransitionTime ?? now };
    }
    return { ...one, lastTransitionTime: one.lastTransitionTime ?? now };
  });
}

interface Count {
  pending: number;
  failedForGood: number;
  pendingSidecars: number;
  unknown: number;
  running: number;
  waiting: number;
  stopped: number;
  stoppedForGood: number;
  succeeded: number;
}

/** Where in its life the pod is. `over`: its containers have ended and will not run again, whatever the restart policy. */
export function phaseOf(
  pod: NodePod,
  statuses: Statuses,
  over: boolean,
  hasInitialized: boolean,
): Phase {
  const count: Count = {
    pending: 0,
    failedForGood: 0,
    pendingSidecars: 0,
    unknown: 0,
    running: 0,
    waiting: 0,
    stopped: 0,
    stoppedForGood: 0,
    succeeded: 0,
  };
  for (const container of initContainersOf(pod)) {
    const status = statusNamed(statuses, container.name);
    if (isSidecar(container)) countSidecar(status, count);
    else countInit(pod, container, status, count);
  }
  for (const container of pod.spec.containers) {
    countRegular(pod, container, statusNamed(statuses, container.name), count);
  }
  if (count.failedForGood > 0) return "Failed";
  if (count.pending > 0 || (count.pendingSidecars > 0 && !hasInitialized)) return "Pending";
  if (count.waiting > 0) return "Pending";
  if (count.running > 0 && count.unknown === 0) return "Running";
  if (count.running === 0 && count.stopped > 0 && count.unknown === 0) {
    if (!over && count.stopped !== count.stoppedForGood) return "Running";
    return count.stopped === count.succeeded ? "Succeeded" : "Failed";
  }
  return "Pending";
}

function countInit(
  pod: NodePod,
  container: Container,
  status: ReportedContainer | undefined,
  count: Count,
): void {
  const ended = status?.state?.terminated ?? status?.lastState?.terminated;
  if (status?.state?.running !== undefined || ended === undefined) {
    count.pending += 1;
    return;
  }
  const code = ended.exitCode;
  if (code !== 0 && !shouldRestartAfter(container, pod, code)) count.failedForGood += 1;
}

function countSidecar(status: ReportedContainer | undefined, count: Count): void {
  if (status === undefined) {
    count.unknown += 1;
  } else if (status.state?.running !== undefined) {
    if (status.started !== true) count.pendingSidecars += 1;
    count.running += 1;
  } else if (status.state?.terminated === undefined && status.lastState?.terminated === undefined) {
    count.pendingSidecars += 1;
    count.waiting += 1;
  }
}

function countRegular(
  pod: NodePod,
  container: Container,
  status: ReportedContainer | undefined,
  count: Count,
): void {
  const terminated = status?.state?.terminated;
  const ended = terminated ?? status?.lastState?.terminated;
  if (status === undefined) {
    count.unknown += 1;
  } else if (status.state?.running !== undefined) {
    count.running += 1;
  } else if (ended === undefined) {
    count.waiting += 1;
  } else {
    count.stopped += 1;
    if (!shouldRestartAfter(container, pod, ended.exitCode)) count.stoppedForGood += 1;
    if (terminated !== undefined && ended.exitCode === 0) count.succeeded += 1;
  }
}
