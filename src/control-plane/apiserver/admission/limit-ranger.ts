/** LimitRanger: gives containers the defaults of their namespace's LimitRanges, and holds pods and claims to the bounds. */

import { effectiveLimits, effectiveRequests } from "#api/core/v1/pod-resources.ts";
import type {
  LimitRange,
  LimitRangeItem,
  PersistentVolumeClaim,
  Pod,
} from "#api/generated/core/v1.ts";
import { sortedKeys } from "#machinery/object.ts";
import { compareQuantities, quantityOf, quantityToNumber } from "#machinery/quantity.ts";
import type { Reader } from "../reader.ts";
import { type AdmissionPlugin, type AdmissionRequest, isAbout, refuse } from "./admission.ts";

type Amounts = Readonly<Record<string, string>>;

const limitRanges = { group: "", plural: "limitranges" };
const annotation = "kubernetes.io/limit-ranger";

const rangesOf = (reader: Reader, namespace: string): LimitRange[] =>
  [...reader.list(limitRanges, namespace)] as LimitRange[];

function fill(pod: Pod, range: LimitRange): void {
  const items = (range.spec.limits ?? []).filter(({ type }) => type === "Container");
  const limits: Amounts = Object.assign({}, ...items.map((item) => item.default ?? {}));
  const requests: Amounts = Object.assign({}, ...items.map((item) => item.defaultRequest ?? {}));
  const notes: string[] = [];
  const each = (kind: string, containers: Pod["spec"]["containers"]): void => {
    for (const container of containers) {
      const resources = (container.resources ??= {});
      for (const [what, defaults] of [
        ["request", requests],
        ["limit", limits],
      ] as const) {
        const field = what === "request" ? "requests" : "limits";
        const own = resources[field] ?? {};
        const missing = sortedKeys(defaults).filter((name) => own[name] === undefined);
        if (missing.length === 0) continue;
        const added = missing.map((name) => [name, defaults[name] ?? "0"] as const);
        resources[field] = { ...own, ...Object.fromEntries(added) };
        notes.push(`${missing.join(", ")} ${what} for ${kind} ${container.name}`);
      }
    }
  };
  each("container", pod.spec.containers ?? []);
  each("init container", pod.spec.initContainers ?? []);
  if (notes.length === 0) return;
  const text = `LimitRanger plugin set: ${notes.join("; ")}`;
  pod.metadata.annotations = { ...pod.metadata.annotations, [annotation]: text };
}

const isAbove = (a: string, b: string): boolean =>
  compareQuantities(quantityOf(a), quantityOf(b)) > 0;

function minProblem(type: string, name: string, min: string, requests: Amounts, limits: Amounts) {
  const head = `minimum ${name} usage per ${type} is ${min}`;
  const request = requests[name];
  const limit = limits[name];
  if (request === undefined) return `${head}.  No request is specified`;
  if (isAbove(min, request)) return `${head}, but request is ${request}`;
  if (limit !== undefined && isAbove(min, limit)) return `${head}, but limit is ${limit}`;
  return undefined;
}

function maxProblem(type: string, name: string, max: string, requests: Amounts, limits: Amounts) {
  const head = `maximum ${name} usage per ${type} is ${max}`;
  const request = requests[name];
  const limit = limits[name];
  if (limit === undefined) return `${head}.  No limit is specified`;
  if (isAbove(limit, max)) return `${head}, but limit is ${limit}`;
  if (request !== undefined && isAbove(request, max)) return `${head}, but request is ${request}`;
  return undefined;
}

function maxRequestProblem(type: string, name: string, max: string, requests: Amounts) {
  const head = `maximum ${name} usage per ${type} is ${max}`;
  const request = requests[name];
  if (request === undefined) return `${head}.  No request is specified`;
  return isAbove(request, max) ? `${head}, but request is ${request}` : undefined;
}

function ratioProblem(
  type: string,
  name: string,
  ratio: string,
  requests: Amounts,
  limits: Amounts,
) {
  const head = `${name} max limit to request ratio per ${type} is ${ratio}`;
  const request = quantityToNumber(requests[name] ?? "0");
  const limit = quantityToNumber(limits[name] ?? "0");
  if (request === 0) return `${head}, but no request is specified or request is 0`;
  if (limit === 0) return `${head}, but no limit is specified or limit is 0`;
  const observed = limit / request;
  if (observed <= quantityToNumber(ratio)) return undefined;
  return `${head}, but provided ratio is ${observed.toFixed(6)}`;
}

function problems(item: LimitRangeItem, requests: Amounts, limits: Amounts): string[] {
  const { type, min = {}, max = {}, maxLimitRequestRatio = {} } = item;
  const each = (list: Amounts, of: (name: string, bound: string) => string | undefined) =>
    sortedKeys(list).flatMap((name) => of(name, list[name] ?? "0") ?? []);
  return [
    ...each(min, (name, bound) => minProblem(type, name, bound, requests, limits)),
    ...each(max, (name, bound) => maxProblem(type, name, bound, requests, limits)),
    ...each(maxLimitRequestRatio, (name, bound) =>
      ratioProblem(type, name, bound, requests, limits),
    ),
  ];
}

function podProblems({ spec }: LimitRange, pod: Pod): string[] {
  return (spec.limits ?? []).flatMap((item) => {
    if (item.type === "Pod") return problems(item, effectiveRequests(pod), effectiveLimits(pod));
    if (item.type !== "Container") return [];
    const containers = [...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])];
    return containers.flatMap(({ resources }) =>
      problems(item, resources?.requests ?? {}, resources?.limits ?? {}),
    );
  });
}

function claimProblems({ spec }: LimitRange, claim: PersistentVolumeClaim): string[] {
  const requests = claim.spec.resources?.requests ?? {};
  return (spec.limits ?? []).flatMap(({ type, min = {}, max = {} }) => {
    if (type !== "PersistentVolumeClaim") return [];
    return [
      ...sortedKeys(min).flatMap(
        (name) => minProblem(type, name, min[name] ?? "0", requests, {}) ?? [],
      ),
      ...sortedKeys(max).flatMap(
        (name) => maxRequestProblem(type, name, max[name] ?? "0", requests) ?? [],
      ),
    ];
  });
}

/** Several reasons as one, as upstream writes them. */
function together(texts: readonly string[]): string {
  const different = [...new Set(texts)];
  return different.length === 1 ? (different[0] ?? "") : `[${different.join(", ")}]`;
}

function handles(request: AdmissionRequest): boolean {
  const { operation, oldObject } = request;
  if (oldObject?.metadata.deletionTimestamp !== undefined) return false;
  if (operation === "UPDATE")
    return isAbout(request, "", "pods", "resize") || isAbout(request, "", "persistentvolumeclaims");
  if (operation !== "CREATE") return false;
  return isAbout(request, "", "pods") || isAbout(request, "", "persistentvolumeclaims");
}

export const limitRanger: AdmissionPlugin = {
  name: "LimitRanger",
  handles,
  admit(request, { reader }) {
    if (request.plural !== "pods") return;
    for (const range of rangesOf(reader, request.namespace)) fill(request.object as Pod, range);
  },
  validate(request, { reader }) {
    for (const range of rangesOf(reader, request.namespace)) {
      const found =
        request.plural === "pods"
          ? podProblems(range, request.object as Pod)
          : claimProblems(range, request.object as PersistentVolumeClaim);
      if (found.length > 0) throw refuse(request, together(found));
    }
  },
};
