/** ResourceQuota: how much of everything a namespace may use; the status says how much it does. */
import { type FieldError, invalid, required } from "#machinery/field-error.ts";
import { sortedKeys } from "#machinery/object.ts";
import { quantityOf } from "#machinery/quantity.ts";
import type {
  ResourceQuota as ResourceQuotaObject,
  ResourceQuotaSpec,
} from "../../generated/core/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import {
  isStandardResourceName,
  resourceName,
  validateAmount,
} from "./pod-validation/resources.ts";

export type ResourceQuota = ResourceQuotaObject;

const scopes = new Set([
  "Terminating",
  "NotTerminating",
  "BestEffort",
  "NotBestEffort",
  "PriorityClass",
  "CrossNamespacePodAffinity",
  "VolumeAttributesClass",
]);
const podCounts = new Set(["pods"]);
const podAmounts = new Set([
  "pods",
  ...["", "requests.", "limits."].flatMap((kind) => [`${kind}cpu`, `${kind}memory`]),
]);
const claimAmounts = new Set(["persistentvolumeclaims", "requests.storage"]);
const scoped: Readonly<Record<string, ReadonlySet<string>>> = {
  Terminating: podAmounts,
  NotTerminating: podAmounts,
  NotBestEffort: podAmounts,
  PriorityClass: podAmounts,
  CrossNamespacePodAffinity: podAmounts,
  BestEffort: podCounts,
  VolumeAttributesClass: claimAmounts,
};
/** Scopes that a pod is in or not: there are no values to compare. */
const plainScopes = new Set([
  "BestEffort",
  "NotBestEffort",
  "Terminating",
  "NotTerminating",
  "CrossNamespacePodAffinity",
]);
const opposites = [
  ["BestEffort", "NotBestEffort"],
  ["Terminating", "NotTerminating"],
] as const;

/** Hugepages without "requests." are none of the quota's own names, nor is bare storage. */
const isQuotaName = (name: string): boolean =>
  isStandardResourceName(name) && name !== "storage" && !name.startsWith("hugepages-");

function validateAmounts(list: Readonly<Record<string, string>>, path: string): FieldError[] {
  return sortedKeys(list).flatMap((name) => {
    const at = `${path}[${name}]`;
    const errors = resourceName(name, at);
    if (!name.includes("/") && !isQuotaName(name))
      errors.push(invalid(at, name, "must be a standard resource for quota"));
    return [...errors, ...validateAmount(name, quantityOf(list[name] ?? "0"), at)];
  });
}

/** What is wrong with a scope, or with the resources that it is to bound. */
function scopeProblems(scope: string, spec: ResourceQuotaSpec): string[] {
  const problems = scopes.has(scope) ? [] : ["unsupported scope"];
  const fits = scoped[scope];
  for (const name of sortedKeys(spec.hard ?? {}))
    if (isQuotaName(name) && fits?.has(name) === false)
      problems.push("unsupported scope applied to resource");
  return problems;
}

const conflicting = (all: ReadonlySet<string>): number =>
  opposites.filter(([one, other]) => all.has(one) && all.has(other)).length;

function validateScopes(spec: ResourceQuotaSpec): FieldError[] {
  const path = "spec.scopes";
  const list = spec.scopes ?? [];
  const errors = list
    .flatMap((scope) => scopeProblems(scope, spec))
    .map((why) => invalid(path, list, why));
  for (let count = conflicting(new Set(list)); count > 0; count--)
    errors.push(invalid(path, list, "conflicting scopes"));
  return errors;
}

function validateSelector(spec: ResourceQuotaSpec): FieldError[] {
  const path = "spec.scopeSelector.matchExpressions";
  const expressions = spec.scopeSelector?.matchExpressions ?? [];
  const errors: FieldError[] = [];
  for (const { scopeName, operator, values = [] } of expressions) {
    for (const why of scopeProblems(scopeName, spec)) {
      const isScope = why === "unsupported scope";
      const at = isScope ? `${path}.scopeName` : path;
      errors.push(invalid(at, isScope ? scopeName : spec.scopeSelector, why));
    }
    if (plainScopes.has(scopeName) && operator !== "Exists") {
      const why =
        "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
      errors.push(invalid(`${path}.operator`, operator, why));
    }
    if (operator === "In" || operator === "NotIn") {
      const why =
        "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
      if (values.length === 0) errors.push(required(`${path}.values`, why));
    } else if (operator === "Exists" || operator === "DoesNotExist") {
      const why =
        "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
      if (values.length > 0) errors.push(invalid(`${path}.values`, values, why));
    } else errors.push(invalid(`${path}.operator`, operator, "not a valid selector operator"));
  }
  const all = new Set(expressions.map(({ scopeName }) => scopeName));
  for (let count = conflicting(all); count > 0; count--)
    errors.push(invalid(path, spec.scopes ?? [], "conflicting scopes"));
  return errors;
}

const validateSpec = (spec: ResourceQuotaSpec): FieldError[] => [
  ...validateAmounts(spec.hard ?? {}, "spec.hard"),
  ...validateScopes(spec),
  ...validateSelector(spec),
];

const sameSet = (a: readonly string[], b: readonly string[]): boolean =>
  a.every((one) => b.includes(one)) && b.every((one) => a.includes(one));

/** "pods: 1/4, requests.cpu: 1/2": those of limits apart. */
function usageText(quota: ResourceQuota, limits: boolean): string {
  const { hard = {}, used = {} } = quota.status;
  return sortedKeys(hard)
    .filter((name) => name.startsWith("limits.") === limits)
    .map((name) => `${name}: ${used[name] ?? "0"}/${hard[name] ?? "0"}`)
    .join(", ");
}

export const ResourceQuota = defineResource<ResourceQuota>({
  group: "",
  version: "v1",
  plural: "resourcequotas",
  printerColumns: [
    { name: "Request", value: (quota) => usageText(quota, false) },
    { name: "Limit", value: (quota) => usageText(quota, true) },
    ageColumn,
  ],
  strategy: {
    allowCreateOnUpdate: true,
    validate: ({ spec }) => validateSpec(spec),
    validateUpdate({ spec }, old) {
      const errors = validateSpec(spec);
      if (!sameSet(spec.scopes ?? [], old.spec.scopes ?? []))
        errors.push(invalid("spec.scopes", spec.scopes ?? null, "field is immutable"));
      return errors;
    },
    validateStatusUpdate: ({ status }) => [
      ...validateAmounts(status.hard ?? {}, "status.hard"),
      ...validateAmounts(status.used ?? {}, "status.used"),
    ],
  },
});
