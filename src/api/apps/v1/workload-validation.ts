/**
 * What the validation of workloads shares: numbers, selectors, the template that must fit its
 * selector. Pure.
 */
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import {
  compileLabelSelector,
  type LabelSelector,
  requirementsOf,
  validateLabelSelector,
} from "#machinery/selector.ts";
import { isPercent } from "#machinery/validation.ts";
import { each, nonNegative } from "../../core/v1/pod-validation/fields.ts";
import type { PodRules } from "../../core/v1/pod-validation/rules.ts";
import { validatePodTemplate } from "../../core/v1/pod-validation/spec.ts";
import type { PodTemplateSpec } from "../../generated/core/v1.ts";

const statusNumbers = [
  "observedGeneration",
  "replicas",
  "fullyLabeledReplicas",
  "updatedReplicas",
  "readyReplicas",
  "availableReplicas",
  "unavailableReplicas",
  "terminatingReplicas",
  "collisionCount",
] as const;
type StatusNumber = (typeof statusNumbers)[number];
export type ReplicaCounts = { readonly [N in StatusNumber]?: number };

/** Counts of pods: none negative, no part larger than the whole. */
export function validateCounts(
  counts: ReplicaCounts,
  parts: readonly StatusNumber[],
): FieldError[] {
  const errors = statusNumbers.flatMap((name) => nonNegative(`status.${name}`, counts[name]));
  const all = counts.replicas ?? 0;
  for (const name of parts) {
    const count = counts[name] ?? 0;
    if (count <= all) continue;
    errors.push(invalid(`status.${name}`, count, "cannot be greater than status.replicas"));
  }
  const available = counts.availableReplicas ?? 0;
  if (available > (counts.readyReplicas ?? 0)) {
    const detail = "cannot be greater than readyReplicas";
    errors.push(invalid("status.availableReplicas", available, detail));
  }
  return errors;
}

/** Counts of tries only grow. */
export function validateNotDecremented(
  name: StatusNumber,
  next: ReplicaCounts,
  old: ReplicaCounts,
): FieldError[] {
  const before = old[name];
  const value = next[name];
  if (before === undefined || (value !== undefined && value >= before)) return [];
  return [invalid(`status.${name}`, value ?? 0, "cannot be decremented")];
}

/** A selector that can match something, and not everything. */
export function validateSelector(
  selector: LabelSelector | null | undefined,
  path: string,
): FieldError[] {
  if (selector === undefined || selector === null) return [required(path)];
  const errors = validateLabelSelector(selector, path);
  const { matchLabels = {}, matchExpressions = [] } = selector;
  if (Object.keys(matchLabels).length + matchExpressions.length === 0) {
    errors.push(invalid(path, selector, "empty selector is invalid for deployment"));
  }
  return errors;
}

/** Whether it can be used at all: then there is no need to look at the template. */
const isUsable = (selector: LabelSelector, path: string): boolean =>
  requirementsOf(selector) !== undefined && validateLabelSelector(selector, path).length === 0;

/** What every template of pods that run until they are deleted obeys, whatever selects them. */
export function validateLastingTemplate(
  template: PodTemplateSpec,
  isSelected: boolean,
  path: string,
  kind: "ReplicaSet" | "ReplicationController",
  rules: PodRules,
): FieldError[] {
  const errors: FieldError[] = [];
  if (!isSelected) {
    const detail = "`selector` does not match template `labels`";
    errors.push(invalid(`${path}.metadata.labels`, template.metadata?.labels, detail));
  }
  errors.push(...validatePodTemplate(template, path, rules));
  const { restartPolicy = "", activeDeadlineSeconds } = template.spec;
  if (restartPolicy !== "Always") {
    errors.push(notSupported(`${path}.spec.restartPolicy`, restartPolicy, ["Always"]));
  }
  if (activeDeadlineSeconds !== undefined) {
    const detail = `activeDeadlineSeconds in ${kind} is not Supported`;
    errors.push(forbidden(`${path}.spec.activeDeadlineSeconds`, detail));
  }
  return errors;
}

/** Template of pods that always run: those of Deployments and ReplicaSets. */
export function validateRunningTemplate(
  template: PodTemplateSpec,
  selector: LabelSelector | null | undefined,
  path: string,
  rules: PodRules,
): FieldError[] {
  const selectorPath = `${path}.selector`;
  if (selector !== undefined && selector !== null && !isUsable(selector, selectorPath)) {
    return [invalid(selectorPath, selector, "invalid label selector")];
  }
  // Upstream: no selector selects nothing, so this is said as well; an empty one selects all.
  const isSelected = compileLabelSelector(selector)(template.metadata?.labels);
  return validateLastingTemplate(template, isSelected, `${path}.template`, "ReplicaSet", rules);
}

type IntOrPercent = number | string | undefined;

export function validateIntOrPercent(value: IntOrPercent, path: string): FieldError[] {
  if (typeof value === "string") return each(path, value, isPercent(value));
  return nonNegative(path, value ?? 0);
}
/** The number alone; of a text that is no percentage, what Go reads of it. */
export function intOrPercentValue(value: IntOrPercent): number {
  if (typeof value !== "string") return value ?? 0;
  const number = Number(value.endsWith("%") ? value.slice(0, -1) : value);
  return Number.isSafeInteger(number) ? number : 0;
}
export function validateAtMostAll(value: IntOrPercent, path: string): FieldError[] {
  const percent = typeof value === "string" && isPercent(value).length === 0;
  if (!percent || intOrPercentValue(value) <= 100) return [];
  return [invalid(path, value, "must not be greater than 100%")];
}
