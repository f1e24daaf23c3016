/** Requests and limits: names of resources, amounts, what fits what; claims of devices. */
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { negativeMessage } from "#machinery/meta-validation.ts";
import { compareUtf8, sortedKeys } from "#machinery/object.ts";
import {
  compareQuantities,
  parseQuantity,
  type Quantity,
  quantityOf,
} from "#machinery/quantity.ts";
import { isQualifiedName } from "#machinery/validation.ts";
import type {
  PodResourceClaim,
  PodSpec,
  ResourceClaim,
  ResourceRequirements,
} from "../../../generated/core/v1.ts";
import {
  aggregateContainerLimits,
  aggregateContainerRequests,
  isHugePageResource,
  isNativeResource,
  isPodLevelResource,
} from "../pod-resources.ts";
import { dnsLabel, dnsSubdomain, qualifiedName } from "./fields.ts";
import type { PodRules } from "./rules.ts";

const nanosPerOne = 1_000_000_000n;
const computeNames = ["cpu", "memory", "ephemeral-storage"];
const countedNames = [
  "pods",
  "resourcequotas",
  "services",
  "replicationcontrollers",
  "secrets",
  "configmaps",
  "persistentvolumeclaims",
  "services.nodeports",
  "services.loadbalancers",
];
const standardNames = new Set([
  ...["", "requests.", "limits."].flatMap((kind) => computeNames.map((name) => `${kind}${name}`)),
  ...countedNames,
  "storage",
  "requests.storage",
]);
const isQuotaHugePage = (name: string): boolean => name.startsWith("requests.hugepages-");

export const isExtendedResource = (name: string): boolean =>
  !isNativeResource(name) &&
  !name.startsWith("requests.") &&
  isQualifiedName(`requests.${name}`).length === 0;
const isOvercommittable = (name: string): boolean =>
  isNativeResource(name) && !isHugePageResource(name);

/** Also what only quotas count. */
export const isStandardResourceName = (name: string): boolean =>
  standardNames.has(name) || isHugePageResource(name) || isQuotaHugePage(name);

export function resourceName(name: string, path: string): FieldError[] {
  const errors = qualifiedName(path, name);
  if (errors.length > 0 || name.includes("/")) return errors;
  if (isStandardResourceName(name)) return [];
  return [invalid(path, name, "must be a standard resource type or fully qualified")];
}

export function containerResourceName(name: string, path: string): FieldError[] {
  const errors = resourceName(name, path);
  if (!name.includes("/")) {
    if (!computeNames.includes(name) && !isHugePageResource(name)) {
      errors.push(invalid(path, name, "must be a standard resource for containers"));
    }
  } else if (!isNativeResource(name) && !isExtendedResource(name)) {
    errors.push(invalid(path, name, "doesn't follow extended resource name standard"));
  }
  return errors;
}

function podResourceName(name: string, path: string): FieldError[] {
  const errors = resourceName(name, path);
  if (errors.length > 0 || isPodLevelResource(name)) return errors;
  return [notSupported(path, name, ["cpu", "hugepages-", "memory"])];
}

export function validateAmount(name: string, amount: Quantity, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (amount.nanos < 0n) errors.push(invalid(path, amount.text, negativeMessage));
  const counted = countedNames.includes(name) || isExtendedResource(name);
  if (counted && amount.nanos % nanosPerOne !== 0n) {
    errors.push(invalid(path, amount.text, "must be an integer"));
  }
  return errors;
}

export function isWholeHugePages(name: string, amount: Quantity): boolean {
  const size = parseQuantity(name.slice("hugepages-".length));
  if (!("quantity" in size)) return false;
  const { nanos } = size.quantity;
  return nanos > 0n && nanos % nanosPerOne === 0n && amount.nanos % nanos === 0n;
}

function validateList(
  list: Readonly<Record<string, string>>,
  nameErrors: (name: string, path: string) => FieldError[],
  path: string,
  rules: PodRules,
  also: (name: string, amount: Quantity) => FieldError[],
): FieldError[] {
  return sortedKeys(list).flatMap((name) => {
    const at = `${path}[${name}]`;
    const amount = quantityOf(list[name] ?? "0");
    const errors = [
      ...nameErrors(name, at),
      ...validateAmount(name, amount, at),
      ...also(name, amount),
    ];
    const broken = isHugePageResource(name) && !isWholeHugePages(name, amount);
    if (broken && !rules.allowIndivisibleHugePages) {
      const detail = `${amount.text} is not positive integer multiple of ${name}`;
      errors.push(invalid(at, amount.text, detail));
    }
    return errors;
  });
}

/** Without overcommitment requests and limits are equal; else requests stay below. */
function compareToLimit(
  name: string,
  amount: Quantity,
  limits: Readonly<Record<string, string>>,
  path: string,
): FieldError[] {
  const text = limits[name];
  if (text === undefined) {
    if (isOvercommittable(name)) return [];
    const detail = "Limit must be set for non overcommitable resources";
    return [required(`${path}.limits`, detail)];
  }
  const order = compareQuantities(amount, quantityOf(text));
  const at = `${path}.requests`;
  if (order !== 0 && !isOvercommittable(name)) {
    return [invalid(at, amount.text, `must be equal to ${name} limit of ${text}`)];
  }
  if (order <= 0) return [];
  return [invalid(at, amount.text, `must be less than or equal to ${name} limit of ${text}`)];
}

function validateClaimNames(
  claims: readonly ResourceClaim[],
  known: ReadonlySet<string>,
  path: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, { name, request = "" }] of claims.entries()) {
    const at = `${path}[${index}]`;
    if (name === "") {
      errors.push(required(at));
      continue;
    }
    if (seen.has(name)) errors.push(duplicate(at, name));
    else {
      if (request !== "") errors.push(...dnsLabel(`${at}.request`, request));
      const key = request === "" ? name : `${name}/${request}`;
      if (seen.has(key)) errors.push(duplicate(at, key));
      else if (request === "") {
        const parts = [...seen].filter((one) => one.startsWith(`${name}/`));
        errors.push(...parts.map(() => duplicate(at, name)));
      }
      seen.add(key);
    }
    if (known.has(name)) continue;
    const list = [...known].sort(compareUtf8).join(", ");
    const which = list === "" ? " which is empty" : `: ${list}`;
    const detail = `must be one of the names in pod.spec.resourceClaims${which}`;
    const shown = JSON.stringify(name);
    errors.push({
      path: at,
      type: "FieldValueNotFound",
      message: `Not found: ${shown}: ${detail}`,
    });
  }
  return errors;
}

function validateRequirements(
  requirements: ResourceRequirements,
  nameErrors: (name: string, path: string) => FieldError[],
  claims: ReadonlySet<string>,
  path: string,
  rules: PodRules,
): FieldError[] {
  const { limits = {}, requests = {} } = requirements;
  const errors = [
    ...validateList(limits, nameErrors, `${path}.limits`, rules, () => []),
    ...validateList(requests, nameErrors, `${path}.requests`, rules, (name, amount) =>
      compareToLimit(name, amount, limits, path),
    ),
  ];
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  const compute = names.includes("cpu") || names.includes("memory");
  if (!compute && names.some(isHugePageResource)) {
    errors.push(forbidden(path, "HugePages require cpu or memory"));
  }
  return [...errors, ...validateClaimNames(requirements.claims ?? [], claims, `${path}.claims`)];
}

export const validateContainerResources = (
  requirements: ResourceRequirements | undefined,
  claims: ReadonlySet<string>,
  path: string,
  rules: PodRules,
): FieldError[] =>
  validateRequirements(requirements ?? {}, containerResourceName, claims, path, rules);

export const validateOverhead = (
  limits: Record<string, string>,
  path: string,
  rules: PodRules,
): FieldError[] => validateRequirements({ limits }, containerResourceName, new Set(), path, rules);

const atLeast = (path: string, amount: string, what: string, sum: string): FieldError =>
  invalid(path, amount, `must be greater than or equal to aggregate container ${what} of ${sum}`);

/** The pod as a whole covers what its containers ask for. */
function validateConsistency(spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { requests = {}, limits = {} } = spec.resources ?? {};
  const exceeds = (a: string, b: string): boolean =>
    compareQuantities(quantityOf(a), quantityOf(b)) > 0;
  for (const [name, sum] of Object.entries(aggregateContainerRequests(spec))) {
    const own = requests[name];
    if (own === undefined || !exceeds(sum, own)) continue;
    errors.push(atLeast(`${path}.requests[${name}]`, own, "requests", sum));
  }
  for (const [name, sum] of Object.entries(aggregateContainerLimits(spec))) {
    const own = limits[name];
    if (!isHugePageResource(name) || own === undefined || !exceeds(sum, own)) continue;
    errors.push(atLeast(`${path}.limits[${name}]`, own, "limits", sum));
  }
  for (const [index, container] of (spec.containers ?? []).entries()) {
    for (const [name, limit] of Object.entries(container.resources?.limits ?? {})) {
      const own = limits[name];
      if (own === undefined || !exceeds(limit, own)) continue;
      const at = `${path}.containers[${index}][${name}].limits`;
      errors.push(invalid(at, limit, `must be less than or equal to pod limits of ${own}`));
    }
  }
  return errors;
}

export function validatePodResources(
  spec: PodSpec,
  claims: ReadonlySet<string>,
  path: string,
  rules: PodRules,
): FieldError[] {
  const { resources } = spec;
  if (resources === undefined) return [];
  if (spec.os?.name === "windows") return [forbidden(path, "may not be set for a windows pod")];
  const errors: FieldError[] = [];
  if (resources.claims !== undefined) {
    const detail = "claims may not be set for Resources at pod-level";
    errors.push(forbidden(`${path}.claims`, detail));
  }
  errors.push(...validateRequirements(resources, podResourceName, claims, path, rules));
  return [...errors, ...validateConsistency(spec, path)];
}

export function validatePodClaims(
  claims: readonly PodResourceClaim[],
  isStatic: boolean,
  path: string,
): FieldError[] {
  const names = new Set<string>();
  return claims.flatMap((claim, index) => {
    if (isStatic) return [forbidden("", "static pods do not support resource claims")];
    const at = `${path}[${index}]`;
    const { name, resourceClaimName, resourceClaimTemplateName } = claim;
    const errors: FieldError[] = [];
    if (name === "") errors.push(required(`${at}.name`));
    else if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    else errors.push(...dnsLabel(`${at}.name`, name));
    if (name !== "") names.add(name);
    const sources = { resourceClaimName, resourceClaimTemplateName };
    const count = Object.values(sources).filter((one) => one !== undefined).length;
    if (count === 2) {
      const detail =
        "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
      errors.push(invalid(at, claim, detail));
    }
    if (count === 0) {
      const detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
      errors.push(invalid(at, claim, detail));
    }
    for (const [field, value] of Object.entries(sources)) {
      if (value !== undefined) errors.push(...dnsSubdomain(`${at}.${field}`, value));
    }
    return errors;
  });
}
