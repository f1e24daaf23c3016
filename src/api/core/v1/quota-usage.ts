/**
 * What objects count for against quotas: upstream's evaluators for pods, services and claims, and counts for everything else. Pure: the
 * admission plugin charges by it before a write, the controller adds up by it what is there.
 */

import type { ApiObject } from "#machinery/meta.ts";
import { sortedKeys } from "#machinery/object.ts";
import {
  addQuantities,
  compareQuantities,
  makeQuantity,
  quantityOf,
  subtractQuantities,
  zeroQuantity,
} from "#machinery/quantity.ts";
import { parseTime } from "#machinery/time.ts";
import type {
  Container,
  PersistentVolumeClaim,
  Pod,
  PodAffinityTerm,
  ResourceQuota,
  ScopedResourceSelectorRequirement,
  Service,
} from "../../generated/core/v1.ts";
import {
  effectiveLimits,
  effectiveRequests,
  isNativeResource,
  isPodLevelResourcesSet,
  podQosClass,
} from "./pod-resources.ts";
import { storageClassOf } from "./storage-names.ts";

export type Amounts = Readonly<Record<string, string>>;
interface Resource {
  readonly group: string;
  readonly plural: string;
}

const nanosPerOne = 1_000_000_000n;
const storageClassMark = ".storageclass.storage.k8s.io/";
/** Older names for the count of a kind. */
const aliases: Readonly<Record<string, string>> = {
  configmaps: "configmaps",
  resourcequotas: "resourcequotas",
  replicationcontrollers: "replicationcontrollers",
  secrets: "secrets",
};
const podNames = new Set([
  "pods",
  ...["", "requests.", "limits."].flatMap((kind) => [
    `${kind}cpu`,
    `${kind}memory`,
    `${kind}ephemeral-storage`,
  ]),
]);

export const countName = ({ group, plural }: Resource): string =>
  group === "" ? `count/${plural}` : `count/${plural}.${group}`;

/** Whether objects of the kind can use up a resource of this name. */
export function concerns(resource: Resource, name: string): boolean {
  if (name === countName(resource)) return true;
  if (resource.group !== "") return false;
  switch (resource.plural) {
    case "pods":
      return podNames.has(name) || isPrefixed(name);
    case "services":
      return ["services", "services.nodeports", "services.loadbalancers"].includes(name);
    case "persistentvolumeclaims": {
      const own = ["persistentvolumeclaims", "requests.storage"];
      return own.some((one) => name === one || name.endsWith(`${storageClassMark}${one}`));
    }
    default:
      return aliases[resource.plural] === name;
  }
}

/** Huge pages, and devices by their requests. */
const isPrefixed = (name: string): boolean =>
  name.startsWith("hugepages-") ||
  name.startsWith("requests.hugepages-") ||
  (name.startsWith("requests.") && !isNativeResource(name));

function podAmounts(requests: Amounts, limits: Amounts): Record<string, string> {
  const used: Record<string, string> = { pods: "1" };
  for (const name of ["cpu", "memory", "ephemeral-storage"]) {
    const request = requests[name];
    const limit = limits[name];
    if (request !== undefined) {
      used[name] = request;
      used[`requests.${name}`] = request;
    }
    if (limit !== undefined) used[`limits.${name}`] = limit;
  }
  for (const [name, request] of Object.entries(requests)) {
    if (name.startsWith("hugepages-")) used[name] = request;
    if (name.startsWith("hugepages-") || !isNativeResource(name))
      used[`requests.${name}`] = request;
  }
  return used;
}

/** Pods that have ended, or should long be gone, use nothing but their place in the list. */
function isCounted({ metadata, status }: Pod, now: number): boolean {
  if (status?.phase === "Failed" || status?.phase === "Succeeded") return false;
  const { deletionTimestamp, deletionGracePeriodSeconds: grace } = metadata;
  const at = parseTime(deletionTimestamp ?? "");
  return at === undefined || grace === undefined || now <= at + grace * 1000;
}

function podUsage(pod: Pod, now: number): Record<string, string> {
  const count = { "count/pods": "1" };
  if (!isCounted(pod, now)) return count;
  return { ...count, ...podAmounts(effectiveRequests(pod), effectiveLimits(pod)) };
}

function serviceUsage({ spec }: Service): Record<string, string> {
  const ports = spec.ports ?? [];
  const isBalanced = spec.type === "LoadBalancer";
  let nodePorts = spec.type === "NodePort" || isBalanced ? ports.length : 0;
  if (isBalanced && spec.allocateLoadBalancerNodePorts === false)
    nodePorts = ports.filter(({ nodePort = 0 }) => nodePort !== 0).length;
  return {
    "count/services": "1",
    services: "1",
    "services.nodeports": String(nodePorts),
    "services.loadbalancers": isBalanced ? "1" : "0",
  };
}

function claimUsage(claim: PersistentVolumeClaim): Record<string, string> {
  const used: Record<string, string> = {
    "count/persistentvolumeclaims": "1",
    persistentvolumeclaims: "1",
  };
  const storageClass = storageClassOf(claim);
  if (storageClass !== "") used[`${storageClass}${storageClassMark}persistentvolumeclaims`] = "1";
  const asked = claim.spec.resources?.requests?.storage;
  if (asked === undefined) return used;
  const allocated = claim.status?.allocatedResources?.storage ?? "0";
  const larger = compareQuantities(quantityOf(allocated), quantityOf(asked)) > 0;
  const amount = quantityOf(larger ? allocated : asked);
  const whole = ((amount.nanos + nanosPerOne - 1n) / nanosPerOne) * nanosPerOne;
  const { text } = makeQuantity(whole, amount.format);
  used["requests.storage"] = text;
  if (storageClass !== "") used[`${storageClass}${storageClassMark}requests.storage`] = text;
  return used;
}

/** What one object uses, by the names of quotas. */
export function usageOf(resource: Resource, object: ApiObject, now: number): Amounts {
  if (resource.group === "") {
    if (resource.plural === "pods") return podUsage(object as Pod, now);
    if (resource.plural === "services") return serviceUsage(object as Service);
    if (resource.plural === "persistentvolumeclaims")
      return claimUsage(object as PersistentVolumeClaim);
    const alias = aliases[resource.plural];
    if (alias !== undefined) return { [countName(resource)]: "1", [alias]: "1" };
  }
  return { [countName(resource)]: "1" };
}

/** What the containers of a pod must say, where a quota counts it; undefined: all is said. */
export function missingOf(resource: Resource, object: ApiObject, names: readonly string[]) {
  if (resource.group !== "" || resource.plural !== "pods") return undefined;
  const { spec } = object as Pod;
  if (isPodLevelResourcesSet(spec)) return undefined;
  const wanted = names.filter((name) => /^(?:requests\.|limits\.)?(?:cpu|memory)$/.test(name));
  const missing = new Map<string, string[]>();
  const containers: Container[] = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  for (const { name, resources } of containers) {
    const said = podAmounts(resources?.requests ?? {}, resources?.limits ?? {});
    for (const one of wanted)
      if (said[one] === undefined) missing.set(one, [...(missing.get(one) ?? []), name]);
  }
  if (missing.size === 0) return undefined;
  const parts = [...missing].sort(([a], [b]) => (a < b ? -1 : 1));
  const texts = parts.map(([name, of]) => `${name} for: ${[...new Set(of)].sort().join(",")}`);
  return `must specify ${texts.join("; ")}`;
}

export const scopesOf = ({ spec }: ResourceQuota): ScopedResourceSelectorRequirement[] => [
  ...(spec.scopes ?? []).map((scopeName) => ({ scopeName, operator: "Exists" as const })),
  ...(spec.scopeSelector?.matchExpressions ?? []),
];

function crossesNamespaces({ spec }: Pod): boolean {
  const { podAffinity, podAntiAffinity } = spec.affinity ?? {};
  const terms: PodAffinityTerm[] = [podAffinity, podAntiAffinity].flatMap((one) => [
    ...(one?.requiredDuringSchedulingIgnoredDuringExecution ?? []),
    ...(one?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
      ({ podAffinityTerm }) => podAffinityTerm,
    ),
  ]);
  return terms.some(
    ({ namespaces = [], namespaceSelector }) =>
      namespaces.length > 0 || namespaceSelector !== undefined,
  );
}

export const isTerminating = ({ spec }: Pod): boolean => (spec.activeDeadlineSeconds ?? -1) >= 0;

function valueMatches(value: string, scope: ScopedResourceSelectorRequirement): boolean {
  const { operator, values = [] } = scope;
  switch (operator) {
    case "Exists":
      return value !== "";
    case "DoesNotExist":
      return value === "";
    case "In":
      return value !== "" && values.includes(value);
    default:
      return !values.includes(value);
  }
}

function inScope(
  resource: Resource,
  object: ApiObject,
  scope: ScopedResourceSelectorRequirement,
): boolean {
  if (resource.group !== "") return false;
  if (resource.plural === "persistentvolumeclaims") {
    if (scope.scopeName !== "VolumeAttributesClass") return false;
    const { spec } = object as PersistentVolumeClaim;
    return valueMatches(spec.volumeAttributesClassName ?? "", scope);
  }
  if (resource.plural !== "pods") return false;
  const pod = object as Pod;
  switch (scope.scopeName) {
    case "Terminating":
      return isTerminating(pod);
    case "NotTerminating":
      return !isTerminating(pod);
    case "BestEffort":
      return podQosClass(pod) === "BestEffort";
    case "NotBestEffort":
      return podQosClass(pod) !== "BestEffort";
    case "PriorityClass":
      return valueMatches(pod.spec.priorityClassName ?? "", scope);
    case "CrossNamespacePodAffinity":
      return crossesNamespaces(pod);
    default:
      return false;
  }
}

/** Whether all scopes of the quota hold for the object. */
export const isInScopes = (quota: ResourceQuota, resource: Resource, object: ApiObject): boolean =>
  scopesOf(quota).every((scope) => inScope(resource, object, scope));

export function addAmounts(a: Amounts, b: Amounts): Record<string, string> {
  const sum: Record<string, string> = { ...a };
  for (const [name, amount] of Object.entries(b)) {
    const known = sum[name];
    sum[name] =
      known === undefined ? amount : addQuantities(quantityOf(known), quantityOf(amount)).text;
  }
  return sum;
}

/** What `a` has more than `b`: never negative, and nothing that is zero. */
export function surplus(a: Amounts, b: Amounts): Record<string, string> {
  const rest: Record<string, string> = {};
  for (const [name, amount] of Object.entries(a)) {
    const left = subtractQuantities(quantityOf(amount), quantityOf(b[name] ?? "0"));
    if (compareQuantities(left, zeroQuantity) > 0) rest[name] = left.text;
  }
  return rest;
}

export const onlyNames = (amounts: Amounts, names: ReadonlySet<string>): Record<string, string> =>
  Object.fromEntries(Object.entries(amounts).filter(([name]) => names.has(name)));

/** The names of which there is more than allowed. */
export const exceeding = (amounts: Amounts, allowed: Amounts): string[] =>
  sortedKeys(amounts).filter((name) => {
    const bound = allowed[name];
    const amount = amounts[name];
    if (bound === undefined || amount === undefined) return false;
    return compareQuantities(quantityOf(amount), quantityOf(bound)) > 0;
  });

export function sameAmounts(a: Amounts, b: Amounts): boolean {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => {
      const other = b[name];
      return (
        other !== undefined &&
        compareQuantities(quantityOf(a[name] ?? "0"), quantityOf(other)) === 0
      );
    })
  );
}

/** "cpu=1,pods=2". */
export const amountsText = (amounts: Amounts): string =>
  sortedKeys(amounts)
    .map((name) => `${name}=${amounts[name] ?? ""}`)
    .join(",");
