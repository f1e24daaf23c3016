/**
 * Requests and limits, in the units that the kernel and the scheduler's arithmetic use: CFS
 * shares and quotas, OOM scores, cgroup names. Pure. The formulas are upstream's: pods behave alike on either kubelet.
 */
import { isSidecar } from "#api/core/v1/pod-containers.ts";
import {
  effectiveLimits,
  effectiveRequests,
  podQosClass,
  type QosClass,
  type ResourceList,
} from "#api/core/v1/pod-resources.ts";
import type { Container } from "#api/generated/core/v1.ts";
import { toMilli, toWhole } from "#machinery/quantity.ts";
import type { CgroupLimits } from "#ports/host.ts";
import type { Resources } from "#ports/runtime.ts";
import { initContainersOf, type NodePod } from "./pod-spec.ts";

/** Resource name to amount: milli-CPUs for cpu, whole units for all others. */
export type Amounts = ReadonlyMap<string, number>;

const sharesMin = 2;
const sharesPerCpu = 1024;
const quotaPeriodUs = 100_000;
const quotaUsMin = 1000;

export const milliCpuToShares = (milli: number): number =>
  Math.max(sharesMin, Math.floor((milli * sharesPerCpu) / 1000));

/** 0: no limit. */
export function milliCpuToQuota(milli: number): number {
  if (milli === 0) return 0;
  return Math.max(quotaUsMin, Math.floor((milli * quotaPeriodUs) / 1000));
}

export const amountOf = (name: string, quantity: string | undefined): number =>
  quantity === undefined ? 0 : name === "cpu" ? toMilli(quantity) : toWhole(quantity);

function amountsOf(quantities: ResourceList): Amounts {
  const amounts = new Map<string, number>();
  for (const [name, quantity] of Object.entries(quantities)) {
    amounts.set(name, amountOf(name, quantity));
  }
  return amounts;
}

/** What a pod needs at its peak. */
export const podRequests = (pod: NodePod): Amounts => amountsOf(effectiveRequests(pod));
export const podLimits = (pod: NodePod): Amounts => amountsOf(effectiveLimits(pod));

/** The class the API server wrote down, which never changes, else computed. */
export function qosClassOf(pod: NodePod): QosClass {
  const known = pod.status?.qosClass;
  const classes: readonly QosClass[] = ["Guaranteed", "Burstable", "BestEffort"];
  return classes.find((one) => one === known) ?? podQosClass(pod);
}

/** "/kubepods/burstable/pod<uid>": guaranteed pods stand directly below the root. */
export function podCgroup(root: string, pod: NodePod): string {
  const qos = qosClassOf(pod);
  const level = qos === "Guaranteed" ? "" : `/${qos.toLowerCase()}`;
  return `${root}${level}/pod${pod.metadata.uid}`;
}
/** Where a pod's cgroup may be, for pods of which only the uid is known. */
export const podCgroupsOf = (root: string, uid: string): readonly string[] =>
  ["", "/burstable", "/besteffort"].map((level) => `${root}${level}/pod${uid}`);

const declares = (container: Container, name: string): boolean =>
  amountOf(name, container.resources?.limits?.[name]) > 0;

export function podCgroupLimits(pod: NodePod, pidsMax: number | undefined): CgroupLimits {
  const qos = qosClassOf(pod);
  const pids = pidsMax === undefined ? {} : { pidsMax };
  if (qos === "BestEffort") return { cpuShares: sharesMin, ...pids };
  const limits = podLimits(pod);
  const containers = [...initContainersOf(pod), ...pod.spec.containers];
  const capped = (name: string): boolean =>
    qos === "Guaranteed" ||
    amountOf(name, pod.spec.resources?.limits?.[name]) > 0 ||
    containers.every((container) => declares(container, name));
  const quota = milliCpuToQuota(limits.get("cpu") ?? 0);
  const memory = limits.get("memory") ?? 0;
  return {
    cpuShares: milliCpuToShares(podRequests(pod).get("cpu") ?? 0),
    ...(capped("cpu") && quota > 0 ? { cpuQuota: quota, cpuPeriod: quotaPeriodUs } : {}),
    ...(capped("memory") && memory > 0 ? { memoryLimitBytes: memory } : {}),
    ...pids,
  };
}

/** A container's own limit, or, where the pod has one and it has none, the pod's. */
function effectiveLimit(pod: NodePod, container: Container, name: string): number {
  const own = amountOf(name, container.resources?.limits?.[name]);
  return own > 0 ? own : amountOf(name, pod.spec.resources?.limits?.[name]);
}

export function containerResources(
  pod: NodePod,
  container: Container,
  memoryCapacityBytes: number,
): Resources {
  const cpuLimit = effectiveLimit(pod, container, "cpu");
  const cpuRequest = container.resources?.requests?.["cpu"];
  const memoryLimit = effectiveLimit(pod, container, "memory");
  return {
    cpuPeriod: quotaPeriodUs,
    cpuQuota: milliCpuToQuota(cpuLimit),
    cpuShares: milliCpuToShares(cpuRequest === undefined ? cpuLimit : toMilli(cpuRequest)),
    ...(memoryLimit > 0 ? { memoryLimitBytes: memoryLimit } : {}),
    oomScoreAdj: oomScoreAdj(pod, container, memoryCapacityBytes),
  };
}

const guaranteedOomScoreAdj = -997;
const bestEffortOomScoreAdj = 1000;
/** Pods of system-node-critical priority and above. */
const nodeCriticalPriority = 2_000_001_000;

const memoryRequestOf = (container: Container): number =>
  amountOf("memory", container.resources?.requests?.["memory"]);

/** Whom the kernel kills first when memory runs out: best effort, then those furthest above their requests. */
export function oomScoreAdj(pod: NodePod, container: Container, capacityBytes: number): number {
  if ((pod.spec.priority ?? 0) >= nodeCriticalPriority) return guaranteedOomScoreAdj;
  const qos = qosClassOf(pod);
  if (qos === "Guaranteed") return guaranteedOomScoreAdj;
  if (qos === "BestEffort" || capacityBytes <= 0) return bestEffortOomScoreAdj;
  const containers = [...initContainersOf(pod).filter(isSidecar), ...pod.spec.containers];
  const podRequest = amountOf("memory", pod.spec.resources?.requests?.["memory"]);
  const given = containers.reduce((sum, one) => sum + memoryRequestOf(one), 0);
  const extra = podRequest > given ? Math.floor((podRequest - given) / containers.length) : 0;
  const scoreOf = (request: number): number =>
    1000 - Math.floor((1000 * (request + extra)) / capacityBytes);
  let score = scoreOf(memoryRequestOf(container));
  if (initContainersOf(pod).includes(container) && isSidecar(container)) {
    const least = Math.min(...pod.spec.containers.map(memoryRequestOf));
    score = Math.min(score, scoreOf(least));
  }
  // Never as safe as a guaranteed pod, never as exposed as best effort.
  return Math.min(Math.max(score, 1000 + guaranteedOomScoreAdj), bestEffortOomScoreAdj - 1);
}
