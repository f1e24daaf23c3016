/**
 * What a pod asks for: sums over its containers, requests and limits of the pod as a whole, the QoS
 * class. Exact; the formulas are upstream's, so that scheduler, kubelet and API server agree. Pure.
 */
import {
  addQuantities,
  compareQuantities,
  type Quantity,
  quantityOf,
  zeroQuantity,
} from "#machinery/quantity.ts";
import type { Container, Pod, PodSpec, ResourceRequirements } from "../../generated/core/v1.ts";
import { allContainersOf, isSidecar } from "./pod-containers.ts";

export type ResourceList = Readonly<Record<string, string>>;
export type QosClass = "Guaranteed" | "Burstable" | "BestEffort";
type Amounts = Map<string, Quantity>;

const qosResources = ["cpu", "memory"] as const;

export const isHugePageResource = (name: string): boolean => name.startsWith("hugepages-");
export const isPodLevelResource = (name: string): boolean =>
  name === "cpu" || name === "memory" || isHugePageResource(name);

/** In the API's own domain, or in none. */
export const isNativeResource = (name: string): boolean =>
  !name.includes("/") || name.includes("kubernetes.io/");
const isOvercommittable = (name: string): boolean =>
  isNativeResource(name) && !isHugePageResource(name);

export function isPodLevelResourcesSet(spec: PodSpec): boolean {
  const { requests = {}, limits = {} } = spec.resources ?? {};
  return [...Object.keys(requests), ...Object.keys(limits)].some(isPodLevelResource);
}

function amountsOf(list: ResourceList | undefined): Amounts {
  return new Map(Object.entries(list ?? {}).map(([name, text]) => [name, quantityOf(text)]));
}
function add(into: Amounts, more: Amounts): void {
  for (const [name, amount] of more) {
    const sum = into.get(name);
    into.set(name, sum === undefined ? amount : addQuantities(sum, amount));
  }
}
function raise(into: Amounts, floor: Amounts): void {
  for (const [name, amount] of floor) {
    const old = into.get(name);
    if (old === undefined || compareQuantities(amount, old) > 0) into.set(name, amount);
  }
}
const asList = (amounts: Amounts): Record<string, string> =>
  Object.fromEntries([...amounts].map(([name, { text }]) => [name, text]));

/** How amounts are summed, in whatever form they are held. */
export interface Arithmetic<A> {
  readonly none: () => A;
  readonly add: (into: A, more: A) => void;
  readonly raise: (into: A, floor: A) => void;
}

/**
 * What the containers need at their peak: the regular ones and the sidecars together, or an init
 * container beside the sidecars that were started before it. `of` gives amounts that may be changed.
 */
export function containerPeak<A>(
  spec: PodSpec,
  of: (container: Container) => A,
  { none, add, raise }: Arithmetic<A>,
): A {
  const total = none();
  const peak = none();
  const sidecars = none();
  for (const container of spec.containers ?? []) add(total, of(container));
  for (const container of spec.initContainers ?? []) {
    const own = of(container);
    if (isSidecar(container)) {
      add(total, own);
      add(sidecars, own);
      raise(peak, sidecars);
    } else {
      add(own, sidecars);
      raise(peak, own);
    }
  }
  raise(total, peak);
  return total;
}

const exact: Arithmetic<Amounts> = { none: () => new Map(), add, raise };
const containerTotal = (
  spec: PodSpec,
  of: (container: Container) => ResourceList | undefined,
): Amounts => containerPeak(spec, (container) => amountsOf(of(container)), exact);

/** The sum over the containers alone, as texts. */
export const aggregateContainerRequests = (spec: PodSpec): Record<string, string> =>
  asList(containerTotal(spec, ({ resources }) => resources?.requests));
export const aggregateContainerLimits = (spec: PodSpec): Record<string, string> =>
  asList(containerTotal(spec, ({ resources }) => resources?.limits));

/**
 * What counts when a pod is placed: containers, overridden by the pod as a whole, with overhead on
 * top.
 */
export function effectiveRequests({ spec }: Pick<Pod, "spec">): Record<string, string> {
  const total = containerTotal(spec, ({ resources }) => resources?.requests);
  for (const [name, amount] of amountsOf(spec.resources?.requests)) {
    if (isPodLevelResource(name)) total.set(name, amount);
  }
  add(total, amountsOf(spec.overhead));
  return asList(total);
}
/** Overhead is added only to what is limited. */
export function effectiveLimits({ spec }: Pick<Pod, "spec">): Record<string, string> {
  const total = containerTotal(spec, ({ resources }) => resources?.limits);
  for (const [name, amount] of amountsOf(spec.resources?.limits)) {
    if (isPodLevelResource(name)) total.set(name, amount);
  }
  for (const [name, amount] of amountsOf(spec.overhead)) {
    const limit = total.get(name);
    if (limit !== undefined && limit.nanos !== 0n) total.set(name, addQuantities(limit, amount));
  }
  return asList(total);
}

function requirementsQos(resources: ResourceRequirements | undefined): QosClass {
  const classes = new Set(
    qosResources.map((name): QosClass => {
      const amount = (list: ResourceList | undefined): bigint =>
        (list?.[name] === undefined ? zeroQuantity : quantityOf(list[name])).nanos;
      const request = amount(resources?.requests);
      if (request !== amount(resources?.limits)) return "Burstable";
      return request === 0n ? "BestEffort" : "Guaranteed";
    }),
  );
  return classes.size === 1 ? ([...classes][0] ?? "BestEffort") : "Burstable";
}

/** Computed from the spec, whatever the status says. */
export function podQosClass({ spec }: Pick<Pod, "spec">): QosClass {
  if (isPodLevelResourcesSet(spec)) return requirementsQos(spec.resources);
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const classes = new Set(containers.map(({ resources }) => requirementsQos(resources)));
  if (classes.size > 1) return "Burstable";
  return [...classes][0] ?? "BestEffort";
}

/**
 * Completes requests and limits of the pod as a whole, where it has any, from those of its
 * containers. Runs when all containers are known: after admission.
 */
export function defaultPodLevelResources(spec: PodSpec): void {
  const { resources } = spec;
  if (resources === undefined) return;
  const requests = amountsOf(resources.requests);
  const limits = amountsOf(resources.limits);
  if (requests.size === 0 && limits.size === 0) return;
  const fromLimits = containerTotal(spec, (container) => container.resources?.limits);
  for (const [name, amount] of fromLimits) {
    const known = requests.has(name) || limits.has(name);
    if (isHugePageResource(name) && !known) limits.set(name, amount);
  }
  const fromRequests = containerTotal(spec, (container) => container.resources?.requests);
  for (const [name, amount] of fromRequests) {
    const wanted = isPodLevelResource(name) && isOvercommittable(name);
    if (wanted && !requests.has(name)) requests.set(name, amount);
  }
  for (const [name, amount] of limits) {
    if (isPodLevelResource(name) && !requests.has(name)) requests.set(name, amount);
  }
  const containers = allContainersOf(spec);
  for (const [name, request] of requests) {
    const everywhere = containers.every(
      (container) => container.resources?.limits?.[name] !== undefined,
    );
    if (!isPodLevelResource(name) || limits.has(name) || !everywhere) continue;
    const sum = fromLimits.get(name);
    if (sum === undefined) continue;
    limits.set(name, compareQuantities(request, sum) > 0 ? request : sum);
  }
  if (requests.size > 0) resources.requests = asList(requests);
  if (limits.size > 0) resources.limits = asList(limits);
}
