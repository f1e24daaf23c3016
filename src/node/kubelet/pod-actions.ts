/**
 * computePodActions: what has to be done so that the runtime runs what a pod's spec asks for. Pure: spec, runtime status
 * and probe results in, a list of actions out; pod-runner.ts performs them.
 */
import { isSidecar } from "#api/core/v1/pod-containers.ts";
import type { Container } from "#api/generated/core/v1.ts";
import {
  containerHash,
  ephemeralContainersOf,
  initContainersOf,
  isHostNetwork,
  type NodePod,
  restartsWhileRunning,
  shouldRestartAfter,
} from "./pod-spec.ts";
import {
  activeContainers,
  type ContainerRecord,
  latestOf,
  type PodRuntimeStatus,
} from "./runtime-status.ts";

export type ProbeOutcome = "success" | "failure" | "unknown";

/** The latest probe results by container id; undefined: not probed yet. */
export interface ProbeResults {
  liveness(containerId: string): ProbeOutcome | undefined;
  readiness(containerId: string): ProbeOutcome | undefined;
  startup(containerId: string): ProbeOutcome | undefined;
}

export type KillReason = "livenessProbe" | "startupProbe" | "changed" | "unknown";

export interface ContainerToKill {
  readonly record: ContainerRecord;
  readonly container: Container;
  readonly message: string;
  readonly reason: KillReason;
}

export interface PodActions {
  /** Stop every container and the sandboxes first. */
  readonly killPod: boolean;
  readonly createSandbox: boolean;
  /** The sandbox to work in, or the one that is replaced. */
  readonly sandboxId: string | undefined;
  readonly attempt: number;
  readonly initContainersToStart: readonly Container[];
  readonly containersToStart: readonly Container[];
  readonly ephemeralContainersToStart: readonly Container[];
  readonly containersToKill: readonly ContainerToKill[];
}

export interface SandboxChange {
  readonly changed: boolean;
  readonly attempt: number;
  readonly sandboxId: string | undefined;
  /** Upstream's wording: it is the message of the condition PodReadyToStartContainers. */
  readonly reason: string;
}

/** Whether the pod needs a (new) sandbox. */
export function sandboxChange(pod: NodePod, status: PodRuntimeStatus): SandboxChange {
  const newest = status.sandboxes[0];
  if (newest === undefined) {
    return { changed: true, attempt: 0, sandboxId: undefined, reason: "no pod sandbox exists" };
  }
  const next = { changed: true, attempt: newest.attempt + 1, sandboxId: newest.id };
  if (status.sandboxes.filter((sandbox) => sandbox.ready).length > 1) {
    return {
      ...next,
      reason: "multiple pod sandboxes are ready and need to be reconciled",
    };
  }
  if (!newest.ready) return { ...next, reason: "pod sandbox is not ready" };
  if (!isHostNetwork(pod) && newest.ips.length === 0) {
    return { ...next, reason: "pod sandbox has no IP address" };
  }
  return { changed: false, attempt: newest.attempt, sandboxId: newest.id, reason: "" };
}

/** Whether the container, as it is now, has to be started. */
export function shouldContainerBeRestarted(
  container: Container,
  pod: NodePod,
  status: PodRuntimeStatus,
): boolean {
  if (pod.metadata.deletionTimestamp !== undefined) return false;
  const record = latestOf(status, container.name);
  if (record === undefined) return true;
  if (record.state === "running") return false;
  if (record.state === "unknown" || record.state === "created") return true;
  return shouldRestartAfter(container, pod, record.exitCode);
}

const hasEnded = (record: ContainerRecord | undefined): boolean =>
  record?.state === "exited" && record.exitCode === 0;

/** A regular container that was ever created tells that initialization was complete. */
export function hasRegularContainer(pod: NodePod, status: PodRuntimeStatus): boolean {
  return pod.spec.containers.some((container) => {
    const record = latestOf(status, container.name);
    return record !== undefined && record.state !== "unknown";
  });
}

/** The same for the active sandbox: remains of an earlier one (before a reboot) don't count. */
export function hasActiveRegularContainer(pod: NodePod, status: PodRuntimeStatus): boolean {
  const names = new Set(pod.spec.containers.map((container) => container.name));
  return activeContainers(status).some((record) => names.has(record.name));
}

export function computePodActions(
  pod: NodePod,
  status: PodRuntimeStatus,
  probes: ProbeResults,
): PodActions {
  const change = sandboxChange(pod, status);
  const base: PodActions = {
    killPod: change.changed,
    createSandbox: change.changed,
    sandboxId: change.sandboxId,
    attempt: change.attempt,
    initContainersToStart: [],
    containersToStart: [],
    ephemeralContainersToStart: [],
    containersToKill: [],
  };
  if (change.changed) return withNewSandbox(pod, status, base);

  const ephemeralContainersToStart = ephemeralContainersOf(pod).filter(
    (container) => latestOf(status, container.name) === undefined,
  );
  const initial = computeInitActions(pod, status, probes);
  if (initial.killPod || !initial.initialized) {
    return {
      ...base,
      killPod: initial.killPod,
      ephemeralContainersToStart,
      initContainersToStart: initial.start,
      containersToKill: initial.kill,
    };
  }
  const regular = computeRegularActions(pod, status, probes);
  const over = regular.kept === 0 && regular.start.length === 0;
  return {
    ...base,
    killPod: over,
    ephemeralContainersToStart,
    // Sidecars alone don't keep a pod alive.
    initContainersToStart: over ? [] : initial.start,
    containersToStart: regular.start,
    containersToKill: [...initial.kill, ...regular.kill],
  };
}

function withNewSandbox(pod: NodePod, status: PodRuntimeStatus, base: PodActions): PodActions {
  const restarts = pod.spec.restartPolicy !== "Never";
  if (!restarts && base.attempt !== 0 && status.containers.length > 0) {
    // It ran and must not run again: what is left is cleared away.
    return { ...base, createSandbox: false };
  }
  const containersToStart = pod.spec.containers.filter((container) => {
    const policy = container.restartPolicy ?? pod.spec.restartPolicy;
    return policy !== "OnFailure" || !hasEnded(latestOf(status, container.name));
  });
  if (containersToStart.length === 0 && hasRegularContainer(pod, status)) {
    return { ...base, createSandbox: false };
  }
  const first = initContainersOf(pod)[0];
  if (first !== undefined) return { ...base, initContainersToStart: [first] };
  return { ...base, containersToStart };
}

interface InitActions {
  readonly initialized: boolean;
  readonly killPod: boolean;
  readonly start: readonly Container[];
  readonly kill: readonly ContainerToKill[];
}

/**
 * Init containers run one after the other; sidecars among them stay. Walked backwards, because completed ones may have been
 * removed from the runtime: the last one that is found tells how far the pod came.
 */
function computeInitActions(
  pod: NodePod,
  status: PodRuntimeStatus,
  probes: ProbeResults,
): InitActions {
  const containers = initContainersOf(pod);
  if (containers.length === 0) return { initialized: true, killPod: false, start: [], kill: [] };
  let initialized = hasActiveRegularContainer(pod, status);
  let previouslyInitialized = initialized;
  const start: Container[] = [];
  const kill: ContainerToKill[] = [];
  const active = activeContainers(status);

  for (let index = containers.length - 1; index >= 0; index -= 1) {
    const container = containers[index];
    if (container === undefined) continue;
    const record = active.find((one) => one.name === container.name);
    if (record === undefined) {
      if (previouslyInitialized && isSidecar(container)) start.push(container);
      continue;
    }
    if (previouslyInitialized && !isSidecar(container)) continue;
    const verdict = judgeInit(pod, container, record, probes);
    if (verdict.type === "failed") return { initialized: false, killPod: true, start: [], kill };
    if (verdict.kill !== undefined) kill.push(verdict.kill);
    const done = verdict.type === "done";
    const next = containers[index + 1];
    if (done && next === undefined) initialized = true;
    if (done && next !== undefined && !previouslyInitialized) start.push(next);
    if (verdict.restart) start.push(container);
    previouslyInitialized = true;
  }
  const first = containers[0];
  if (!previouslyInitialized && first !== undefined) start.push(first);
  return { initialized, killPod: false, start: start.toReversed(), kill };
}

interface InitVerdict {
  /** done: the one after it may start; pending: not yet; failed: the pod is over. */
  readonly type: "done" | "pending" | "failed";
  readonly restart: boolean;
  readonly kill?: ContainerToKill;
}

function judgeInit(
  pod: NodePod,
  container: Container,
  record: ContainerRecord,
  probes: ProbeResults,
): InitVerdict {
  const pending: InitVerdict = { type: "pending", restart: false };
  const replace = (message: string, reason: KillReason): InitVerdict => ({
    type: "pending",
    restart: true,
    kill: { record, container, message, reason },
  });
  switch (record.state) {
    case "created":
      // Created and started is one step: it stuck between the two.
      return { type: "pending", restart: true };
    case "running":
      return isSidecar(container) ? judgeSidecar(container, record, probes) : pending;
    case "exited":
      if (isSidecar(container)) return { type: "pending", restart: true };
      if (record.exitCode === 0) return { type: "done", restart: false };
      return shouldRestartAfter(container, pod, record.exitCode)
        ? { type: "pending", restart: true }
        : { type: "failed", restart: false };
    default:
      if (!isSidecar(container) && !restartsWhileRunning(container, pod)) {
        return { type: "failed", restart: false };
      }
      return replace(
        'Init container is in "unknown" state, try killing it before restart',
        "unknown",
      );
  }
}

function judgeSidecar(
  container: Container,
  record: ContainerRecord,
  probes: ProbeResults,
): InitVerdict {
  const kill = (message: string, reason: KillReason): ContainerToKill => ({
    record,
    container,
    message: `Init container ${container.name} ${message}`,
    reason,
  });
  if (container.startupProbe !== undefined) {
    const startup = probes.startup(record.id);
    if (startup === "failure") {
      return {
        type: "pending",
        restart: true,
        kill: kill("failed startup probe", "startupProbe"),
      };
    }
    if (startup !== "success") return { type: "pending", restart: false };
  }
  if (record.hash !== containerHash(container)) {
    return { type: "done", restart: true, kill: kill("definition changed", "changed") };
  }
  if (container.livenessProbe !== undefined && probes.liveness(record.id) === "failure") {
    return { type: "done", restart: true, kill: kill("failed liveness probe", "livenessProbe") };
  }
  return { type: "done", restart: false };
}

interface RegularActions {
  readonly kept: number;
  readonly start: readonly Container[];
  readonly kill: readonly ContainerToKill[];
}

function computeRegularActions(
  pod: NodePod,
  status: PodRuntimeStatus,
  probes: ProbeResults,
): RegularActions {
  let kept = 0;
  const start: Container[] = [];
  const kill: ContainerToKill[] = [];
  for (const container of pod.spec.containers) {
    const record = latestOf(status, container.name);
    if (record === undefined || record.state !== "running") {
      if (!shouldContainerBeRestarted(container, pod, status)) continue;
      start.push(container);
      if (record?.state === "unknown") {
        const message = 'Container is in "unknown" state, try killing it before restart';
        kill.push({ record, container, message, reason: "unknown" });
      }
      continue;
    }
    const trouble = troubleOf(container, record, probes);
    if (trouble === undefined) {
      kept += 1;
      continue;
    }
    const restart = trouble.reason === "changed" || restartsWhileRunning(container, pod);
    if (restart) start.push(container);
    const message = restart ? `${trouble.message}, will be restarted` : trouble.message;
    kill.push({ record, container, message, reason: trouble.reason });
  }
  return { kept, start, kill };
}

/** Why a running container must be killed. */
function troubleOf(
  container: Container,
  record: ContainerRecord,
  probes: ProbeResults,
): { readonly message: string; readonly reason: KillReason } | undefined {
  if (record.hash !== containerHash(container)) {
    return { message: `Container ${container.name} definition changed`, reason: "changed" };
  }
  if (probes.liveness(record.id) === "failure") {
    return {
      message: `Container ${container.name} failed liveness probe`,
      reason: "livenessProbe",
    };
  }
  if (probes.startup(record.id) === "failure") {
    return { message: `Container ${container.name} failed startup probe`, reason: "startupProbe" };
  }
  return undefined;
}
