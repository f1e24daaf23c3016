/**
 * What scheduling wants to know of a Pod, worked out once: requests, host ports, required affinity.
 * Pure.
 */
import type { Pod } from "#api/core/v1/pod.ts";
import { isSidecar } from "#api/core/v1/pod-containers.ts";
import { type Arithmetic, containerPeak } from "#api/core/v1/pod-resources.ts";
import type { Container } from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import { toMilli, toWhole } from "#machinery/quantity.ts";
import { type PodAffinities, podAffinities } from "./pod-affinities.ts";

export interface Resources {
  milliCpu: number;
  memory: number;
  ephemeralStorage: number;
  /** Extended resources, huge pages. */
  scalars: Map<string, number>;
}
export const noResources = (): Resources => ({
  milliCpu: 0,
  memory: 0,
  ephemeralStorage: 0,
  scalars: new Map(),
});

export interface HostPort {
  readonly ip: string;
  readonly protocol: string;
  readonly port: number;
}

export interface PodInfo {
  readonly pod: Stored<Pod>;
  readonly key: string;
  readonly uid: string;
  readonly requests: Resources;
  /** For scores: what a container without requests is taken to use. */
  readonly likelyMilliCpu: number;
  readonly likelyMemory: number;
  readonly hostPorts: readonly HostPort[];
  readonly priority: number;
  /** Undefined: it does not care for other Pods. */
  readonly affinities: PodAffinities | undefined;
}

/** Upstream: a tenth of a core and 200 MiB. */
const likelyMilliCpuDefault = 100;
const likelyMemoryDefault = 200 * 1024 * 1024;

type ResourceList = Readonly<Record<string, string>>;

export function addList(into: Resources, list: ResourceList | undefined): Resources {
  for (const [name, amount] of Object.entries(list ?? {})) {
    if (name === "cpu") into.milliCpu += toMilli(amount);
    else if (name === "memory") into.memory += toWhole(amount);
    else if (name === "ephemeral-storage") into.ephemeralStorage += toWhole(amount);
    else if (name !== "pods")
      into.scalars.set(name, (into.scalars.get(name) ?? 0) + toWhole(amount));
  }
  return into;
}
export function add(into: Resources, more: Resources, sign: 1 | -1 = 1): void {
  into.milliCpu += sign * more.milliCpu;
  into.memory += sign * more.memory;
  into.ephemeralStorage += sign * more.ephemeralStorage;
  for (const [name, amount] of more.scalars) {
    const left = (into.scalars.get(name) ?? 0) + sign * amount;
    if (left === 0) into.scalars.delete(name);
    else into.scalars.set(name, left);
  }
}
function raiseTo(into: Resources, other: Resources): void {
  into.milliCpu = Math.max(into.milliCpu, other.milliCpu);
  into.memory = Math.max(into.memory, other.memory);
  into.ephemeralStorage = Math.max(into.ephemeralStorage, other.ephemeralStorage);
  for (const [name, amount] of other.scalars) {
    into.scalars.set(name, Math.max(into.scalars.get(name) ?? 0, amount));
  }
}

const arithmetic: Arithmetic<Resources> = { none: noResources, add, raise: raiseTo };

/**
 * What a Pod needs at its peak; requests of the Pod as a whole replace the sum; the overhead comes
 * on top.
 */
export function sumRequests(pod: Pod, of: (container: Container) => Resources): Resources {
  const running = containerPeak(pod.spec, of, arithmetic);
  const whole = pod.spec.resources?.requests;
  if (whole !== undefined) {
    const asked = addList(noResources(), whole);
    if (whole["cpu"] !== undefined) running.milliCpu = asked.milliCpu;
    if (whole["memory"] !== undefined) running.memory = asked.memory;
    for (const [name, amount] of asked.scalars) running.scalars.set(name, amount);
  }
  addList(running, pod.spec.overhead);
  return running;
}

/**
 * Requests as in force: while a resize is under way the larger of what is asked and what is
 * allotted.
 */
function requestsOf(pod: Pod, container: Container): Resources {
  const asked = addList(noResources(), container.resources?.requests);
  const status = pod.status.containerStatuses?.find((one) => one.name === container.name);
  const allotted = status?.resources?.requests;
  if (allotted !== undefined) raiseTo(asked, addList(noResources(), allotted));
  return asked;
}

export function podInfoOf(pod: Stored<Pod>): PodInfo {
  const requests = sumRequests(pod, (container) => requestsOf(pod, container));
  const likely = sumRequests(pod, (container) => {
    const own = requestsOf(pod, container);
    const asked = container.resources?.requests;
    if (asked?.["cpu"] === undefined) own.milliCpu = likelyMilliCpuDefault;
    if (asked?.["memory"] === undefined) own.memory = likelyMemoryDefault;
    return own;
  });
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter(isSidecar)];
  const hostPorts = containers.flatMap((container) =>
    (container.ports ?? [])
      .filter((port) => (port.hostPort ?? 0) > 0)
      .map((port) => ({
        ip: port.hostIP ?? "",
        protocol: port.protocol ?? "TCP",
        port: port.hostPort ?? 0,
      })),
  );
  const { namespace = "", name, uid } = pod.metadata;
  return {
    pod,
    key: `${namespace}/${name}`,
    uid,
    requests,
    likelyMilliCpu: likely.milliCpu,
    likelyMemory: likely.memory,
    hostPorts,
    priority: pod.spec.priority ?? 0,
    affinities: podAffinities(pod),
  };
}
