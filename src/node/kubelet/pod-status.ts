/**
 * A pod's status, as the API shows it, from spec, runtime status, probe results and what was reported before. Pure. The
 * status manager sends what comes out of here; nothing else writes pod statuses.
 */
import { isSidecar } from "#api/core/v1/pod-containers.ts";
import { isPhaseTerminal } from "#api/core/v1/pod-status.ts";
import type { Container } from "#api/generated/core/v1.ts";
import { formatTime, parseTime } from "#machinery/time.ts";
import {
  hasActiveRegularContainer,
  hasRegularContainer,
  type ProbeResults,
  shouldContainerBeRestarted,
} from "./pod-actions.ts";
import {
  containersReadyCondition,
  disruptionCondition,
  initializedCondition,
  isOwnCondition,
  type Phase,
  phaseOf,
  readyCondition,
  readyToStartCondition,
  scheduledCondition,
  withTransitionTimes,
} from "./pod-conditions.ts";
import type { PodResize } from "./pod-resize.ts";
import {
  asContainer,
  ephemeralContainersOf,
  initContainersOf,
  isHostNetwork,
  type NodePod,
} from "./pod-spec.ts";
import type {
  ContainerEnd,
  ReportedCondition,
  ReportedContainer,
  ReportedState,
  ReportedStatus,
} from "./reported-status.ts";
import { qosClassOf } from "./resources.ts";
import type { ContainerRecord, PodRuntimeStatus } from "./runtime-status.ts";

/** Why a container is not running: CrashLoopBackOff, ErrImagePull, CreateContainerConfigError, … */
export interface StartFailure {
  readonly reason: string;
  readonly message: string;
}

export interface StatusInput {
  /** With the resources that it was granted. */
  readonly pod: NodePod;
  /** How far a change of its resources is; undefined: none can be under way. */
  readonly resize?: Pick<PodResize, "conditions" | "appliedTo">;
  readonly runtime: PodRuntimeStatus;
  /** What was reported last; undefined: the pod's status in the API is taken. */
  readonly before: ReportedStatus | undefined;
  readonly probes: ProbeResults;
  /** By container name. */
  readonly failures: ReadonlyMap<string, StartFailure>;
  readonly hostIps: readonly string[];
  /** Its containers have ended and stay so. */
  readonly over: boolean;
  readonly nowMs: number;
  /** When this kubelet started: containers that ran before keep their readiness until they are probed. */
  readonly kubeletStartedAtMs: number;
  /** The kubelet's own verdict that ends the pod (deadline passed, refused at the node). */
  readonly verdict?: {
    readonly reason: string;
    readonly message: string;
    readonly isDisruption?: boolean;
  };
  /** "containerd" and so on: containerID is "containerd://<id>". */
  readonly runtimeName: string;
}

export function podStatusOf(input: StatusInput): ReportedStatus {
  const { pod, runtime, nowMs } = input;
  const before = input.before ?? pod.status;
  const regular = statusesOf(input, pod.spec.containers, before?.containerStatuses, "regular");
  const initial = statusesOf(input, initContainersOf(pod), before?.initContainerStatuses, "init");
  const ephemeral = statusesOf(
    input,
    ephemeralContainersOf(pod).map(asContainer),
    before?.ephemeralContainerStatuses,
    "ephemeral",
  );
  const all = [...initial, ...regular];
  const computed = phaseOf(pod, all, input.over, hasActiveRegularContainer(pod, runtime));
  const phase = finalPhase(input, before, computed);
  const kept = phase === before?.phase ? before : undefined;
  const reason = input.verdict?.reason ?? kept?.reason;
  const message = input.verdict?.message ?? kept?.message;

  const foreign = (pod.status?.conditions ?? []).filter((one) => !isOwnCondition(one));
  const containersReady = containersReadyCondition(pod, all, phase);
  const own = [
    readyToStartCondition(pod, runtime),
    initializedCondition(pod, all, phase),
    readyCondition(pod, containersReady, foreign),
    containersReady,
    scheduledCondition(pod),
    ...(input.resize?.conditions(pod) ?? []),
    ...disruptionOf(input, before),
  ];
  const now = formatTime(nowMs);
  const generation = pod.metadata.generation;
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase,
    conditions: [...foreign, ...withTransitionTimes(own, before, now)],
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
    ...addressesOf(input, before),
    startTime: before?.startTime ?? now,
    ...(initial.length === 0 ? {} : { initContainerStatuses: initial }),
    containerStatuses: regular,
    ...(ephemeral.length === 0 ? {} : { ephemeralContainerStatuses: ephemeral }),
    qosClass: qosClassOf(pod),
  };
}

/** Said by the verdict, or by an earlier one. */
function disruptionOf(
  { pod, verdict }: StatusInput,
  before: ReportedStatus | undefined,
): ReportedCondition[] {
  if (verdict?.isDisruption === true) return [disruptionCondition(pod, verdict.message)];
  return (before?.conditions ?? []).filter(
    (one) => one.type === "DisruptionTarget" && isOwnCondition(one),
  );
}

/** A pod never leaves a terminal phase. */
function finalPhase(
  input: StatusInput,
  before: ReportedStatus | undefined,
  computed: Phase,
): Phase {
  const reported = terminal(input.pod.status?.phase);
  if (reported !== undefined) return reported;
  if (input.verdict !== undefined) return "Failed";
  return terminal(computed) ?? terminal(before?.phase) ?? computed;
}

function terminal(phase: string | undefined): Phase | undefined {
  if (phase === "Succeeded") return "Succeeded";
  return phase === "Failed" ? "Failed" : undefined;
}

function addressesOf(
  input: StatusInput,
  before: ReportedStatus | undefined,
): Pick<ReportedStatus, "hostIP" | "hostIPs" | "podIP" | "podIPs"> {
  const hostIps = input.hostIps.slice(0, 2);
  const known = before?.podIPs?.map((one) => one.ip) ?? [];
  let podIps: readonly string[] = input.runtime.ips.slice(0, 2);
  if (isHostNetwork(input.pod)) podIps = known.length > 0 ? known : hostIps;
  // Once its containers have ended the sandbox may be gone; the address stays for those who look back.
  else if (podIps.length === 0 && input.over) podIps = known;
  return {
    ...(hostIps[0] === undefined
      ? {}
      : { hostIP: hostIps[0], hostIPs: hostIps.map((ip) => ({ ip })) }),
    ...(podIps[0] === undefined ? {} : { podIP: podIps[0], podIPs: podIps.map((ip) => ({ ip })) }),
  };
}

type Kind = "regular" | "init" | "ephemeral";

function statusesOf(
  input: StatusInput,
  containers: readonly Container[],
  before: readonly ReportedContainer[] | undefined,
  kind: Kind,
): ReportedContainer[] {
  const statuses = containers.map((container) => {
    const old = before?.find((status) => status.name === container.name);
    const status = containerStatusOf(input, container, old, kind);
    return withProbeResults(input, container, status, old, kind);
  });
  // Upstream: init containers in the order of the spec, all others by name.
  if (kind === "init") return statuses;
  return statuses.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function containerStatusOf(
  input: StatusInput,
  container: Container,
  old: ReportedContainer | undefined,
  kind: Kind,
): ReportedContainer {
  const { pod, runtime } = input;
  const records = runtime.containers.filter((record) => record.name === container.name);
  const [latest, previous] = records;
  let status =
    latest === undefined
      ? missingStatus(input, container, old, kind)
      : foundStatus(input, container, latest, old);
  if (previous !== undefined) {
    const ended = stateOf(input, previous, undefined);
    if (ended.terminated !== undefined) status = { ...status, lastState: ended };
  }
  if (kind === "init") {
    if (latest?.state === "exited" && latest.exitCode === 0) return status;
    const lost =
      latest === undefined &&
      !isSidecar(container) &&
      hasRegularContainer(pod, runtime) &&
      status.state?.waiting !== undefined;
    if (lost) return { ...status, state: { terminated: lostInitContainer } };
  }
  if (kind === "ephemeral" && latest !== undefined) return status;
  return waitingIfFailed(input, container, status);
}

const lostInitContainer: ContainerEnd = {
  exitCode: 0,
  reason: "Completed",
  message:
    "Unable to get init container status from container runtime and pod has been initialized, " +
    "treat it as exited normally",
};

/** A container that is to be started again, and could not be yet, is waiting; its end moves to lastState. */
function waitingIfFailed(
  input: StatusInput,
  container: Container,
  status: ReportedContainer,
): ReportedContainer {
  if (!shouldContainerBeRestarted(container, input.pod, input.runtime)) return status;
  const failure = input.failures.get(container.name);
  if (failure === undefined) return status;
  return {
    ...status,
    state: {
      waiting: {
        reason: failure.reason,
        ...(failure.message === "" ? {} : { message: failure.message }),
      },
    },
    ...(status.state?.terminated === undefined ? {} : { lastState: status.state }),
  };
}

function volumeMountsOf(container: Container): ReportedContainer["volumeMounts"] {
  return (container.volumeMounts ?? []).map((mount) => ({
    name: mount.name,
    mountPath: mount.mountPath,
    ...(mount.readOnly === true ? { readOnly: true, recursiveReadOnly: "Disabled" } : {}),
  }));
}

/** Nothing in the runtime: not created yet, or removed. */
function missingStatus(
  input: StatusInput,
  container: Container,
  old: ReportedContainer | undefined,
  kind: Kind,
): ReportedContainer {
  if (old?.state?.terminated !== undefined) return { ...old, ready: false };
  const hasInit = initContainersOf(input.pod).length > 0 && kind !== "ephemeral";
  const mounts = volumeMountsOf(container) ?? [];
  const base: ReportedContainer = {
    name: container.name,
    image: container.image ?? "",
    imageID: "",
    ready: false,
    restartCount: old?.restartCount ?? 0,
    state: { waiting: { reason: hasInit ? "PodInitializing" : "ContainerCreating" } },
    ...(old?.lastState === undefined ? {} : { lastState: old.lastState }),
    ...(mounts.length === 0 ? {} : { volumeMounts: mounts }),
  };
  if (old?.state?.running === undefined || old.lastState?.terminated !== undefined) return base;
  // It ran, and nobody saw its end.
  const deleted = input.pod.metadata.deletionTimestamp !== undefined;
  return {
    ...base,
    restartCount: base.restartCount + (deleted ? 0 : 1),
    lastState: {
      terminated: {
        exitCode: 137,
        reason: "ContainerStatusUnknown",
        message:
          "The container could not be located when the pod was deleted.  " +
          "The container used to be Running",
      },
    },
  };
}

const containerIdOf = (input: StatusInput, record: ContainerRecord): string =>
  `${input.runtimeName}://${record.id}`;

function foundStatus(
  input: StatusInput,
  container: Container,
  record: ContainerRecord,
  old: ReportedContainer | undefined,
): ReportedContainer {
  const mounts = volumeMountsOf(container) ?? [];
  const containerID = containerIdOf(input, record);
  const oldEnd =
    old?.containerID !== containerID && old?.state?.terminated !== undefined
      ? old.state
      : old?.lastState;
  const restartCount = Math.max(record.restartCount, old?.restartCount ?? 0);
  const granted = container.resources;
  const resources = input.resize?.appliedTo(record) ?? granted;
  return {
    name: container.name,
    containerID,
    image: record.image,
    imageID: record.imageRef,
    ready: false,
    restartCount,
    state: stateOf(input, record, old),
    ...(oldEnd?.terminated === undefined ? {} : { lastState: oldEnd }),
    ...(granted?.requests === undefined ? {} : { allocatedResources: granted.requests }),
    ...(resources === undefined ? {} : { resources }),
    ...(mounts.length === 0 ? {} : { volumeMounts: mounts }),
  };
}

function stateOf(
  input: StatusInput,
  record: ContainerRecord,
  old: ReportedContainer | undefined,
): ReportedState {
  const startedAt =
    record.startedAtMs === undefined ? {} : { startedAt: formatTime(record.startedAtMs) };
  switch (record.state) {
    case "running":
      return { running: startedAt };
    case "exited":
      return {
        terminated: {
          exitCode: record.exitCode,
          ...(record.reason === "" ? {} : { reason: record.reason }),
          ...(record.message === "" ? {} : { message: record.message }),
          ...startedAt,
          ...(record.finishedAtMs === undefined
            ? {}
            : { finishedAt: formatTime(record.finishedAtMs) }),
          containerID: containerIdOf(input, record),
        },
      };
    case "created":
      return { waiting: {} };
    default:
      if (old?.state?.running === undefined) return { waiting: {} };
      return {
        terminated: {
          exitCode: 137,
          reason: "ContainerStatusUnknown",
          message: "The container could not be located when the pod was terminated",
        },
      };
  }
}

/** How long before its own start a container must have started for the kubelet to trust its earlier readiness. */
const restartGraceMs = 10_000;

function startedBefore(input: StatusInput, status: ReportedContainer): boolean {
  const startedAt = parseTime(status.state?.running?.startedAt ?? "");
  return startedAt !== undefined && startedAt < input.kubeletStartedAtMs - restartGraceMs;
}

function withProbeResults(
  input: StatusInput,
  container: Container,
  status: ReportedContainer,
  old: ReportedContainer | undefined,
  kind: Kind,
): ReportedContainer {
  if (kind === "ephemeral") return status;
  const started = isStarted(input, container, status, old);
  if (kind === "init" && !isSidecar(container)) {
    const done = status.state?.terminated?.exitCode === 0;
    return { ...status, started, ready: done };
  }
  return { ...status, started, ready: started && isReady(input, container, status) };
}

const idIn = (containerId: string | undefined): string => containerId?.split("://")[1] ?? "";

function isStarted(
  input: StatusInput,
  container: Container,
  status: ReportedContainer,
  old: ReportedContainer | undefined,
): boolean {
  if (status.state?.running === undefined) return false;
  const result = input.probes.startup(idIn(status.containerID));
  if (result !== undefined && result !== "unknown") return result === "success";
  if (old?.containerID === status.containerID && old?.started === true) return true;
  return container.startupProbe === undefined;
}

function isReady(input: StatusInput, container: Container, status: ReportedContainer): boolean {
  if (container.readinessProbe === undefined) return true;
  const result = input.probes.readiness(idIn(status.containerID));
  if (result !== undefined) return result === "success";
  // This kubelet has not probed it yet; if it was ready before the kubelet's restart, it stays so.
  const wasReady = input.pod.status?.conditions?.some(
    (one) => one.type === "Ready" && one.status === "True",
  );
  return startedBefore(input, status) && wasReady === true;
}

/** How much all termination messages of a pod may take together. */
const terminationMessagesBytesMax = 12 * 1024;

/**
 * The last word about a pod whose containers are gone: every container has an end (a missing one counts as failed) and the
 * phase is terminal.
 */
export function terminatedStatus(pod: NodePod, status: ReportedStatus): ReportedStatus {
  const lost: ContainerEnd = {
    exitCode: 137,
    reason: "ContainerStatusUnknown",
    message: "The container could not be located when the pod was terminated",
  };
  const end = (one: ReportedContainer): ReportedContainer =>
    one.state?.terminated !== undefined ? one : { ...one, state: { terminated: lost } };
  const initial = status.initContainerStatuses ?? [];
  const begun = initial.findLastIndex((one) => one.state?.waiting === undefined || hasRun(one));
  const initialized = isInitialized(pod, status);
  const phase = isPhaseTerminal(status.phase) ? status.phase : "Failed";
  return {
    ...status,
    ...(phase === undefined ? {} : { phase }),
    ...(initial.length === 0
      ? {}
      : {
          initContainerStatuses: initial.map((one, index) => (index <= begun ? end(one) : one)),
        }),
    containerStatuses: (status.containerStatuses ?? []).map((one) =>
      initialized ? end(one) : one,
    ),
    conditions: (status.conditions ?? []).map((one) => {
      const about = one.type === "Ready" || one.type === "ContainersReady";
      if (!about || one.status !== "True") return one;
      return { ...one, status: "False", reason: phase === "Failed" ? "PodFailed" : "PodCompleted" };
    }),
  };
}

const hasRun = (status: ReportedContainer): boolean =>
  status.lastState?.terminated !== undefined || (status.containerID ?? "") !== "";

function isInitialized(pod: NodePod, status: ReportedStatus): boolean {
  if (initContainersOf(pod).length === 0) return true;
  return (
    status.conditions?.some((one) => one.type === "Initialized" && one.status === "True") ?? false
  );
}

/** Cuts termination messages so that all of a pod's fit into one status. */
export function trimMessages(pod: NodePod, status: ReportedStatus): ReportedStatus {
  const count =
    pod.spec.containers.length + initContainersOf(pod).length + ephemeralContainersOf(pod).length;
  const bytesMax = Math.floor(terminationMessagesBytesMax / Math.max(count, 1));
  const trim = (one: ReportedContainer): ReportedContainer => ({
    ...one,
    ...(one.state === undefined ? {} : { state: trimState(one.state, bytesMax) }),
    ...(one.lastState === undefined ? {} : { lastState: trimState(one.lastState, bytesMax) }),
  });
  const { containerStatuses, initContainerStatuses, ephemeralContainerStatuses } = status;
  return {
    ...status,
    ...(containerStatuses === undefined ? {} : { containerStatuses: containerStatuses.map(trim) }),
    ...(initContainerStatuses === undefined
      ? {}
      : { initContainerStatuses: initContainerStatuses.map(trim) }),
    ...(ephemeralContainerStatuses === undefined
      ? {}
      : { ephemeralContainerStatuses: ephemeralContainerStatuses.map(trim) }),
  };
}

function trimState(state: ReportedState, bytesMax: number): ReportedState {
  const message = state.terminated?.message;
  if (state.terminated === undefined || message === undefined || message.length <= bytesMax) {
    return state;
  }
  return { ...state, terminated: { ...state.terminated, message: message.slice(0, bytesMax) } };
}

/** The container a log request means, or why there is none. Upstream's wording: kubectl prints it. */
export function containerIdForLogs(
  podName: string,
  status: ReportedStatus,
  name: string,
  previous: boolean,
): { readonly id: string } | { readonly refused: string } {
  const all = [
    ...(status.containerStatuses ?? []),
    ...(status.initContainerStatuses ?? []),
    ...(status.ephemeralContainerStatuses ?? []),
  ];
  const found = all.find((one) => one.name === name);
  const which = `container "${name}" in pod "${podName}"`;
  if (found === undefined) return { refused: `${which} is not available` };
  const last = found.lastState?.terminated;
  if (previous) {
    if ((last?.containerID ?? "") === "") {
      return { refused: `previous terminated ${which} not found` };
    }
    return { id: idIn(last?.containerID) };
  }
  if (found.state?.running !== undefined) return { id: idIn(found.containerID) };
  const ended = found.state?.terminated ?? last;
  if (ended !== undefined) {
    const id = idIn(ended.containerID) || idIn(last?.containerID);
    return id === "" ? { refused: `${which} is terminated` } : { id };
  }
  const reason = found.state?.waiting?.reason;
  if (reason === undefined) return { refused: `${which} is waiting to start - no logs yet` };
  if (reason === "ErrImagePull") {
    return { refused: `${which} is waiting to start: image can't be pulled` };
  }
  if (reason === "ImagePullBackOff") {
    return { refused: `${which} is waiting to start: trying and failing to pull image` };
  }
  return { refused: `${which} is waiting to start: ${reason}` };
}
