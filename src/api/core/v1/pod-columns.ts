/**
 * What `kubectl get pods` shows: the columns, worked out of spec and status; which pods are done
 * with. Pure.
 */
import { isConditionTrue } from "#machinery/conditions.ts";
import { parseTime } from "#machinery/time.ts";
import type { ContainerStatus, Pod } from "../../generated/core/v1.ts";
import { ageColumn, ageOf } from "../../printer-columns.ts";
import type { PrinterColumn, RowCondition } from "../../resource.ts";
import { isSidecar } from "./pod-containers.ts";
import { isPhaseTerminal } from "./pod-status.ts";

interface Summary {
  ready: number;
  total: number;
  reason: string;
  restarts: number;
  /** The last restart's time; "": none is known. */
  restartedAt: string;
}

function later(a: string, b: string | undefined): string {
  if (b === undefined) return a;
  return (parseTime(a) ?? -Infinity) < (parseTime(b) ?? -Infinity) ? b : a;
}
const endedBefore = ({ lastState }: ContainerStatus): string | undefined =>
  lastState?.terminated?.finishedAt ?? undefined;

function endReason({ terminated }: ContainerStatus["state"]): string {
  if ((terminated?.reason ?? "") !== "") return terminated?.reason ?? "";
  const signal = terminated?.signal ?? 0;
  return signal === 0 ? `ExitCode:${terminated?.exitCode ?? 0}` : `Signal:${signal}`;
}

interface Initialization {
  /** What keeps it from being done; undefined: nothing does. */
  readonly reason: string | undefined;
  readonly restarts: number;
  readonly restartedAt: string;
  readonly sidecarRestarts: number;
  readonly sidecarRestartedAt: string;
  readonly readySidecars: number;
}

function blockedBy(status: ContainerStatus, index: number, count: number): string {
  const { state } = status;
  if (state?.terminated !== undefined) return `Init:${endReason(state)}`;
  const waiting = state?.waiting?.reason ?? "";
  if (waiting !== "" && waiting !== "PodInitializing") return `Init:${waiting}`;
  return `Init:${index}/${count}`;
}

/** Looks at the init containers' states up to the first that is not done. */
function initialization({ spec, status }: Pod): Initialization {
  const containers = new Map((spec.initContainers ?? []).map((one) => [one.name, one]));
  let reason: string | undefined;
  let [restarts, sidecarRestarts, readySidecars] = [0, 0, 0];
  let [restartedAt, sidecarRestartedAt] = ["", ""];
  for (const [index, one] of (status.initContainerStatuses ?? []).entries()) {
    const sidecar = isSidecar(containers.get(one.name));
    restarts += one.restartCount;
    restartedAt = later(restartedAt, endedBefore(one));
    if (sidecar) {
      sidecarRestarts += one.restartCount;
      sidecarRestartedAt = later(sidecarRestartedAt, endedBefore(one));
    }
    if (one.state?.terminated?.exitCode === 0) continue;
    if (sidecar && one.started === true) {
      if (one.ready) readySidecars += 1;
      continue;
    }
    reason = blockedBy(one, index, containers.size);
    break;
  }
  return { reason, restarts, restartedAt, sidecarRestarts, sidecarRestartedAt, readySidecars };
}

/**
 * Adds what the regular containers' states say, from the last to the first, so that the first has
 * the last word.
 */
function addContainers(summary: Summary, { status }: Pod): void {
  let hasRunning = false;
  let errorReason = "";
  for (const one of (status.containerStatuses ?? []).toReversed()) {
    summary.restarts += one.restartCount;
    summary.restartedAt = later(summary.restartedAt, endedBefore(one));
    const { waiting, terminated, running } = one.state ?? {};
    if ((waiting?.reason ?? "") !== "") summary.reason = waiting?.reason ?? "";
    else if (terminated !== undefined) {
      summary.reason = endReason(one.state);
      if (terminated.exitCode !== 0) errorReason = summary.reason;
    } else if (one.ready && running !== undefined) {
      hasRunning = true;
      summary.ready += 1;
    }
  }
  if (summary.reason !== "Completed") return;
  if (hasRunning && isConditionTrue(status.conditions, "Ready")) summary.reason = "Running";
  else if (errorReason !== "") summary.reason = errorReason;
  else if (hasRunning) summary.reason = "NotReady";
}

function summaryOf(pod: Pod): Summary {
  const { metadata, spec, status } = pod;
  const phase = status.phase ?? "";
  const own = status.reason ?? "";
  const gated = (status.conditions ?? []).some(
    ({ type, reason }) => type === "PodScheduled" && reason === "SchedulingGated",
  );
  const init = initialization(pod);
  const sidecars = (spec.initContainers ?? []).filter(isSidecar).length;
  const summary: Summary = {
    ready: init.readySidecars,
    total: (spec.containers ?? []).length + sidecars,
    reason: init.reason ?? (gated ? "SchedulingGated" : own === "" ? phase : own),
    restarts: init.restarts,
    restartedAt: init.restartedAt,
  };
  if (init.reason === undefined || isConditionTrue(status.conditions, "Initialized")) {
    summary.restarts = init.sidecarRestarts;
    summary.restartedAt = init.sidecarRestartedAt;
    addContainers(summary, pod);
  }
  if ((metadata.deletionTimestamp ?? "") !== "") {
    if (own === "NodeLost") summary.reason = "Unknown";
    else if (!isPhaseTerminal(phase)) summary.reason = "Terminating";
  }
  return summary;
}

function restartsCell(pod: Pod, now: number): string {
  const { restarts, restartedAt } = summaryOf(pod);
  if (restarts === 0 || restartedAt === "") return String(restarts);
  return `${restarts} (${ageOf(restartedAt, now)} ago)`;
}

function readinessGatesCell({ spec, status }: Pod): string {
  const gates = spec.readinessGates ?? [];
  if (gates.length === 0) return "<none>";
  const met = gates.filter((gate) => isConditionTrue(status.conditions, gate.conditionType));
  return `${met.length}/${gates.length}`;
}

const orNone = (text: string | undefined): string => (text ?? "") || "<none>";

/** The STATUS column's word. */
export const podStatusText = (pod: Pod): string => summaryOf(pod).reason;

export const podColumns: readonly PrinterColumn<Pod>[] = [
  {
    name: "Ready",
    value(pod) {
      const { ready, total } = summaryOf(pod);
      return `${ready}/${total}`;
    },
  },
  { name: "Status", value: podStatusText },
  { name: "Restarts", value: restartsCell },
  ageColumn,
  { name: "IP", priority: 1, value: ({ status }) => orNone(status.podIPs?.[0]?.ip) },
  { name: "Node", priority: 1, value: ({ spec }) => orNone(spec.nodeName) },
  { name: "Nominated Node", priority: 1, value: ({ status }) => orNone(status.nominatedNodeName) },
  { name: "Readiness Gates", priority: 1, value: readinessGatesCell },
];

export function podRowConditions({ status }: Pod): RowCondition[] {
  const { phase } = status;
  if (phase !== "Succeeded" && phase !== "Failed") return [];
  const message = phase === "Succeeded" ? "The pod has completed successfully." : "The pod failed.";
  return [{ type: "Completed", status: "True", reason: phase, message }];
}
