/**
 * How many replicas a metric asks for: the usage of Pods against its target, with upstream's rules for Pods that are not ready yet
 * and Pods of which nothing is known. Pure; amounts are in thousandths.
 */
import { effectiveRequests, isPodLevelResource } from "#api/core/v1/pod-resources.ts";
import { isPodReady, podCondition } from "#api/core/v1/pod-status.ts";
import type { Pod } from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import { quantityOf } from "#machinery/quantity.ts";
import { parseTime } from "#machinery/time.ts";

export interface PodMetric {
  readonly milli: bigint;
  /** When the window of the measurement ended. */
  readonly atMs: number;
  readonly windowMs: number;
}
/** By the Pods' names. */
export type PodMetrics = ReadonlyMap<string, PodMetric>;

/** How far a ratio may be from one before anything is done. */
export interface Tolerances {
  readonly up: number;
  readonly down: number;
}

export interface Warmup {
  /** So long after its start a Pod's processor usage is taken for that of its start. */
  readonly cpuInitializationMs: number;
  /** A Pod that became unready so soon after its start has never been ready. */
  readonly initialReadinessDelayMs: number;
}

export interface Proposal {
  readonly replicas: number;
  /** Of a Pod, on average; or of the object that was asked about. */
  readonly usageMilli: bigint;
  /** Percent of the request. */
  readonly utilization?: number;
}
export type Calculated = Proposal | { readonly problem: string };

const replicasMax = 2 ** 31 - 1;
const milliPerNano = 1_000_000n;

/** Rounded away from zero. */
export function milliOf(text: string): bigint {
  const { nanos } = quantityOf(text);
  const up = nanos < 0n ? -milliPerNano + 1n : milliPerNano - 1n;
  return (nanos + up) / milliPerNano;
}

const isWithin = (ratio: number, { up, down }: Tolerances): boolean =>
  1 - down <= ratio && ratio <= 1 + up;
const rounded = (replicas: number): number => Math.min(Math.ceil(replicas), replicasMax);

export interface PodsQuestion {
  readonly pods: readonly Stored<Pod>[];
  readonly metrics: PodMetrics;
  /** What the workload is told to have. */
  readonly replicas: number;
  /** "cpu" alone has rules of its own. Empty: no resource. */
  readonly resource: string;
  readonly tolerances: Tolerances;
  readonly warmup: Warmup;
  readonly now: number;
}

interface Groups {
  readonly ready: number;
  readonly unready: ReadonlySet<string>;
  readonly missing: ReadonlySet<string>;
  readonly ignored: ReadonlySet<string>;
}

function isWarmingUp(pod: Stored<Pod>, metric: PodMetric, now: number, warmup: Warmup): boolean {
  const condition = podCondition(pod, "Ready");
  const startedMs = parseTime(pod.status.startTime ?? "");
  if (condition === undefined || startedMs === undefined) return true;
  const changedMs = parseTime(condition.lastTransitionTime ?? "") ?? 0;
  const isUnready = condition.status === "False";
  if (startedMs + warmup.cpuInitializationMs > now) {
    return isUnready || metric.atMs < changedMs + metric.windowMs;
  }
  return isUnready && startedMs + warmup.initialReadinessDelayMs > changedMs;
}

function groupPods({ pods, metrics, resource, now, warmup }: PodsQuestion): Groups {
  const unready = new Set<string>();
  const missing = new Set<string>();
  const ignored = new Set<string>();
  let ready = 0;
  for (const pod of pods) {
    const { name, deletionTimestamp } = pod.metadata;
    const metric = metrics.get(name);
    if (deletionTimestamp !== undefined || pod.status.phase === "Failed") ignored.add(name);
    else if (pod.status.phase === "Pending") unready.add(name);
    else if (metric === undefined) missing.add(name);
    else if (resource === "cpu" && isWarmingUp(pod, metric, now, warmup)) unready.add(name);
    else ready += 1;
  }
  return { ready, unready, missing, ignored };
}

interface Measured {
  /** Of the usage to its target. */
  readonly ratio: number;
  readonly usageMilli: bigint;
  readonly utilization?: number;
}
type Amounts = ReadonlyMap<string, bigint>;
type Measure = (amounts: Amounts) => Measured | { readonly problem: string };

/** `assumedMilli`: what a Pod of which nothing is known is taken to use where fewer Pods seem enough. */
function propose(
  question: PodsQuestion,
  measure: Measure,
  assumedMilli: (pod: string) => bigint,
): Calculated {
  const { pods, metrics, replicas, tolerances } = question;
  if (pods.length === 0) {
    return { problem: "no pods returned by selector while calculating replica count" };
  }
  const { ready, unready, missing, ignored } = groupPods(question);
  const amounts = new Map<string, bigint>();
  for (const [name, { milli }] of metrics) {
    if (!unready.has(name) && !ignored.has(name)) amounts.set(name, milli);
  }
  if (amounts.size === 0) {
    return { problem: "did not receive metrics for targeted pods (pods might be unready)" };
  }
  const measured = measure(amounts);
  if ("problem" in measured) return measured;
  const { ratio, ...shown } = measured;
  const stay = { replicas, ...shown };
  const countsUnready = unready.size > 0 && ratio > 1;
  if (!countsUnready && missing.size === 0) {
    return isWithin(ratio, tolerances) ? stay : { replicas: rounded(ratio * ready), ...shown };
  }
  for (const name of missing) {
    if (ratio < 1) amounts.set(name, assumedMilli(name));
    else if (ratio > 1) amounts.set(name, 0n);
  }
  if (countsUnready) for (const name of unready) amounts.set(name, 0n);
  const again = measure(amounts);
  if ("problem" in again) return again;
  const turns = (ratio < 1 && again.ratio > 1) || (ratio > 1 && again.ratio < 1);
  if (turns || isWithin(again.ratio, tolerances)) return stay;
  const wanted = rounded(again.ratio * amounts.size);
  const contradicts =
    (again.ratio < 1 && wanted > replicas) || (again.ratio > 1 && wanted < replicas);
  return contradicts ? stay : { replicas: wanted, ...shown };
}

const isSidecar = ({ restartPolicy }: { readonly restartPolicy?: string }): boolean =>
  restartPolicy === "Always";

/** Throughout in thousandths, or what is missing. */
function requestOf(
  pod: Stored<Pod>,
  resource: string,
  container: string,
): bigint | { readonly problem: string } {
  const { name } = pod.metadata;
  const { spec } = pod;
  const podRequests = Object.keys(spec.resources?.requests ?? {});
  if (container === "" && podRequests.some(isPodLevelResource)) {
    const request = effectiveRequests(pod)[resource];
    if (request !== undefined) return milliOf(request);
    return { problem: `missing pod-level request for ${resource} in Pod ${name}` };
  }
  const all = [...spec.containers, ...(spec.initContainers ?? []).filter(isSidecar)];
  const counted = container === "" ? all : all.filter((one) => one.name === container);
  if (container !== "" && counted.length === 0) {
    return { problem: `container ${container} not found in Pod ${name}` };
  }
  let sum = 0n;
  for (const one of counted) {
    const request = one.resources?.requests?.[resource];
    if (request === undefined) {
      const where = `container ${one.name} of Pod ${name}`;
      return { problem: `missing request for ${resource} in ${where}` };
    }
    sum += milliOf(request);
  }
  return sum;
}

function requestsOf(
  pods: readonly Stored<Pod>[],
  resource: string,
  container: string,
): Amounts | { readonly problem: string } {
  const requests = new Map<string, bigint>();
  for (const pod of pods) {
    const request = requestOf(pod, resource, container);
    if (typeof request === "object") return request;
    requests.set(pod.metadata.name, request);
  }
  return requests;
}

/** Against a percentage of what the containers (or the one that is named) request. */
export function replicasForUtilization(
  question: PodsQuestion,
  targetPercent: number,
  container: string,
): Calculated {
  const { pods, resource } = question;
  const requests = requestsOf(pods, resource, container);
  const measure: Measure = (amounts) => {
    if ("problem" in requests) return requests;
    let used = 0n;
    let requested = 0n;
    let counted = 0n;
    for (const [name, milli] of amounts) {
      const request = requests.get(name);
      if (request === undefined) continue;
      used += milli;
      requested += request;
      counted += 1n;
    }
    if (requested === 0n) return { problem: "no metrics returned matched known pods" };
    const utilization = Number((used * 100n) / requested);
    return { ratio: utilization / targetPercent, utilization, usageMilli: used / counted };
  };
  // The whole request, or the target where that is more.
  const assumedPercent = BigInt(Math.max(100, targetPercent));
  return propose(question, measure, (name) =>
    "problem" in requests ? 0n : ((requests.get(name) ?? 0n) * assumedPercent) / 100n,
  );
}

/** Against an amount for each Pod. */
export const replicasForAverage = (question: PodsQuestion, targetMilli: bigint): Calculated =>
  propose(
    question,
    (amounts) => {
      const used = [...amounts.values()].reduce((sum, one) => sum + one, 0n);
      const usageMilli = used / BigInt(amounts.size);
      return { ratio: Number(usageMilli) / Number(targetMilli), usageMilli };
    },
    () => targetMilli,
  );

/** Against one value for all Pods together: of an object, or of something outside. */
export function replicasForValue(
  usageMilli: bigint,
  targetMilli: bigint,
  replicas: number,
  pods: readonly Stored<Pod>[],
  tolerances: Tolerances,
): Calculated {
  const ratio = Number(usageMilli) / Number(targetMilli);
  // Nobody is there who could be ready.
  if (replicas === 0) return { replicas: rounded(ratio), usageMilli };
  if (isWithin(ratio, tolerances)) return { replicas, usageMilli };
  if (pods.length === 0) {
    const problem = "no pods returned by selector while calculating replica count";
    return { problem: `unable to calculate ready pods: ${problem}` };
  }
  const ready = pods.filter((pod) => pod.status.phase === "Running" && isPodReady(pod)).length;
  return { replicas: rounded(ratio * ready), usageMilli };
}

/** Against a share of one value for each of the replicas that there are. */
export function replicasForShare(
  totalMilli: bigint,
  targetMilli: bigint,
  replicas: number,
  tolerances: Tolerances,
): Proposal {
  const ratio = Number(totalMilli) / (Number(targetMilli) * replicas);
  const wanted = isWithin(ratio, tolerances)
    ? replicas
    : rounded(Number(totalMilli) / Number(targetMilli));
  const count = BigInt(replicas);
  const share = count === 0n ? totalMilli : (totalMilli + count - 1n) / count;
  return { replicas: wanted, usageMilli: share };
}
