/** What a HorizontalPodAutoscaler may say: limits, target, metrics, behavior; in upstream's words. */
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { parseApiVersion } from "#machinery/gvk.ts";
import { negativeMessage } from "#machinery/meta-validation.ts";
import { quantityOf } from "#machinery/quantity.ts";
import { isPathSegmentName } from "#machinery/validation.ts";
import { dnsLabel, each, nonNegative, positive } from "../../core/v1/pod-validation/fields.ts";
import { containerResourceName } from "../../core/v1/pod-validation/resources.ts";
import type * as g from "../../generated/autoscaling/v2.ts";

type HorizontalPodAutoscaler = g.HorizontalPodAutoscaler;
type Reference = g.CrossVersionObjectReference;

/** What is said of the group in a reference; "any": nothing, not even that it is one. */
type GroupRule = "required" | "optional" | "any";

const stabilizationSecondsMax = 3600;
const periodSecondsMax = 1800;
const selectPolicies = ["Disabled", "Max", "Min"];
const policyTypes = ["Percent", "Pods"];
const sourceTypes = ["ContainerResource", "External", "Object", "Pods", "Resource"];
const targetTypes = ["Utilization", "Value", "AverageValue"];

function groupProblem({ apiVersion = "" }: Reference, rule: GroupRule): string | undefined {
  if (rule === "any") return undefined;
  const parsed = parseApiVersion(apiVersion);
  if (parsed === undefined) return `unexpected GroupVersion string: ${apiVersion}`;
  const lacksGroup = rule === "required" && parsed.group === "";
  return lacksGroup ? "apiVersion must specify API group" : undefined;
}

function validateReference(reference: Reference, path: string, rule: GroupRule): FieldError[] {
  const errors = (["kind", "name"] as const).flatMap((field) => {
    const value = reference[field];
    if (value === "") return [required(`${path}.${field}`)];
    return each(`${path}.${field}`, value, isPathSegmentName(value));
  });
  const problem = groupProblem(reference, rule);
  if (problem !== undefined) {
    errors.push(invalid(`${path}.apiVersion`, reference.apiVersion ?? "", problem));
  }
  return errors;
}

function validateTarget(target: g.MetricTarget, path: string): FieldError[] {
  const { type, averageUtilization } = target;
  const errors: FieldError[] = [];
  if (type === "") errors.push(required(`${path}.type`, "must specify a metric target type"));
  if (!targetTypes.includes(type)) {
    const detail = "must be either Utilization, Value, or AverageValue";
    errors.push(invalid(`${path}.type`, type, detail));
  }
  for (const field of ["value", "averageValue"] as const) {
    const amount = target[field];
    if (amount !== undefined && quantityOf(amount).nanos <= 0n) {
      errors.push(invalid(`${path}.${field}`, amount, "must be positive"));
    }
  }
  if (averageUtilization !== undefined && averageUtilization < 1) {
    const detail = "must be greater than 0";
    errors.push(invalid(`${path}.averageUtilization`, averageUtilization, detail));
  }
  return errors;
}

function validateMetric({ name }: g.MetricIdentifier, path: string): FieldError[] {
  if (name === "") return [required(`${path}.name`, "must specify a metric name")];
  return each(`${path}.name`, name, isPathSegmentName(name));
}

function validateObject(
  { describedObject, metric, target }: g.ObjectMetricSource,
  path: string,
  rule: GroupRule,
): FieldError[] {
  const errors = [
    ...validateReference(describedObject, `${path}.describedObject`, rule),
    ...validateMetric(metric, `${path}.metric`),
    ...validateTarget(target, `${path}.target`),
  ];
  if (target.value === undefined && target.averageValue === undefined) {
    const detail = "must set either a target value or averageValue";
    errors.push(required(`${path}.target.averageValue`, detail));
  }
  return errors;
}

function validateExternal({ metric, target }: g.ExternalMetricSource, path: string): FieldError[] {
  const errors = [
    ...validateMetric(metric, `${path}.metric`),
    ...validateTarget(target, `${path}.target`),
  ];
  if (target.value === undefined && target.averageValue === undefined) {
    const detail = "must set either a target value for metric or a per-pod target";
    errors.push(required(`${path}.target.averageValue`, detail));
  }
  if (target.value !== undefined && target.averageValue !== undefined) {
    const detail = "may not set both a target value for metric and a per-pod target";
    errors.push(forbidden(`${path}.target.value`, detail));
  }
  return errors;
}

function validatePods({ metric, target }: g.PodsMetricSource, path: string): FieldError[] {
  const errors = [
    ...validateMetric(metric, `${path}.metric`),
    ...validateTarget(target, `${path}.target`),
  ];
  if (target.averageValue === undefined) {
    const detail = "must specify a positive target averageValue";
    errors.push(required(`${path}.target.averageValue`, detail));
  }
  return errors;
}

function validateUsageTarget(target: g.MetricTarget, path: string): FieldError[] {
  const errors = validateTarget(target, path);
  const { averageUtilization, averageValue } = target;
  if (averageUtilization === undefined && averageValue === undefined) {
    const detail = "must set either a target raw value or a target utilization";
    errors.push(required(`${path}.averageUtilization`, detail));
  }
  if (averageUtilization !== undefined && averageValue !== undefined) {
    const detail = "may not set both a target raw value and a target utilization";
    errors.push(forbidden(`${path}.averageValue`, detail));
  }
  return errors;
}

function validateResource({ name, target }: g.ResourceMetricSource, path: string): FieldError[] {
  const unnamed = name === "" ? [required(`${path}.name`, "must specify a resource name")] : [];
  return [...unnamed, ...validateUsageTarget(target, `${path}.target`)];
}

function validateContainerResource(
  { name, container, target }: g.ContainerResourceMetricSource,
  path: string,
): FieldError[] {
  return [
    ...(name === ""
      ? [required(`${path}.name`, "must specify a resource name")]
      : containerResourceName(name, `${path}.name`)),
    ...(container === ""
      ? [required(`${path}.container`, "must specify a container")]
      : dnsLabel(`${path}.container`, container)),
    ...validateUsageTarget(target, `${path}.target`),
  ];
}

const sources = ["object", "external", "pods", "resource", "containerResource"] as const;
type Source = (typeof sources)[number];

function validateSource(
  spec: g.MetricSpec,
  source: Source | undefined,
  path: string,
  rule: GroupRule,
): FieldError[] {
  const { object, external, pods, resource, containerResource } = spec;
  const at = `${path}.${source}`;
  if (source === "object" && object) return validateObject(object, at, rule);
  if (source === "external" && external) return validateExternal(external, at);
  if (source === "pods" && pods) return validatePods(pods, at);
  if (source === "resource" && resource) return validateResource(resource, at);
  if (containerResource) return validateContainerResource(containerResource, at);
  return [];
}

function validateMetricSpec(spec: g.MetricSpec, path: string, rule: GroupRule): FieldError[] {
  const { type } = spec;
  const known = sourceTypes.includes(type);
  const errors: FieldError[] = [];
  if (type === "") errors.push(required(`${path}.type`, "must specify a metric source type"));
  if (!known) errors.push(notSupported(`${path}.type`, type, sourceTypes));
  const present = sources.filter((source) => spec[source] !== undefined);
  errors.push(...validateSource(spec, present[0], path, rule));
  const expected = `${type.charAt(0).toLowerCase()}${type.slice(1)}` as Source;
  if (known && spec[expected] === undefined) {
    const detail = "must populate information for the given metric source";
    errors.push(required(`${path}.${expected}`, detail));
  }
  if (present.length === 1) return errors;
  for (const source of present) {
    if (source === expected) continue;
    errors.push(forbidden(`${path}.${source}`, "must populate the given metric source only"));
  }
  return errors;
}

function validateMetrics(
  { metrics = [], minReplicas }: g.HorizontalPodAutoscalerSpec,
  rule: GroupRule,
): FieldError[] {
  const path = "spec.metrics";
  const errors = metrics.flatMap((one, at) => validateMetricSpec(one, `${path}[${at}]`, rule));
  if (minReplicas !== 0 || metrics.some(({ type }) => type === "Object" || type === "External")) {
    return errors;
  }
  const detail =
    "must specify at least one Object or External metric to support scaling to zero replicas";
  return [...errors, forbidden(path, detail)];
}

function validatePolicy(policy: g.HPAScalingPolicy, path: string): FieldError[] {
  const { type, value, periodSeconds } = policy;
  const errors: FieldError[] = [];
  if (!policyTypes.includes(type)) errors.push(notSupported(`${path}.type`, type, policyTypes));
  errors.push(...positive(`${path}.value`, value));
  errors.push(...positive(`${path}.periodSeconds`, periodSeconds));
  if (periodSeconds > periodSecondsMax) {
    const detail = `must be less than or equal to ${periodSecondsMax}`;
    errors.push(invalid(`${path}.periodSeconds`, periodSeconds, detail));
  }
  return errors;
}

function validateRules(rules: g.HPAScalingRules | undefined, path: string): FieldError[] {
  if (rules === undefined) return [];
  const { stabilizationWindowSeconds: window, selectPolicy, policies = [], tolerance } = rules;
  const errors: FieldError[] = [];
  const windowPath = `${path}.stabilizationWindowSeconds`;
  if (window !== undefined && window < 0) {
    errors.push(invalid(windowPath, window, "must be greater than or equal to zero"));
  }
  if (window !== undefined && window > stabilizationSecondsMax) {
    const detail = `must be less than or equal to ${stabilizationSecondsMax}`;
    errors.push(invalid(windowPath, window, detail));
  }
  if (selectPolicy !== undefined && !selectPolicies.includes(selectPolicy)) {
    errors.push(notSupported(`${path}.selectPolicy`, selectPolicy, selectPolicies));
  }
  const policiesPath = `${path}.policies`;
  if (policies.length === 0) {
    errors.push(required(policiesPath, "must specify at least one Policy"));
  }
  errors.push(...policies.flatMap((one, at) => validatePolicy(one, `${policiesPath}[${at}]`)));
  if (tolerance !== undefined && quantityOf(tolerance).nanos < 0n) {
    errors.push(invalid(`${path}.tolerance`, tolerance, negativeMessage));
  }
  return errors;
}

/** Upstream: told after everything else. */
function validateLimits({ minReplicas, maxReplicas }: g.HorizontalPodAutoscalerSpec): FieldError[] {
  const path = "spec.maxReplicas";
  const errors = nonNegative("spec.minReplicas", minReplicas);
  if (maxReplicas === 0) errors.push(required(path));
  else if (maxReplicas < 0) {
    errors.push(invalid(path, maxReplicas, "must be greater than or equal to 1"));
  }
  return errors;
}

function validateSpec(
  spec: g.HorizontalPodAutoscalerSpec,
  targetRule: GroupRule,
  metricRule: GroupRule,
): FieldError[] {
  const { minReplicas, maxReplicas, scaleTargetRef, behavior } = spec;
  const errors: FieldError[] = [];
  if (minReplicas !== undefined && maxReplicas < minReplicas) {
    const detail = "must be greater than or equal to `minReplicas`";
    errors.push(invalid("spec.maxReplicas", maxReplicas, detail));
  }
  return [
    ...errors,
    ...validateReference(scaleTargetRef, "spec.scaleTargetRef", targetRule),
    ...validateMetrics(spec, metricRule),
    ...validateRules(behavior?.scaleUp, "spec.behavior.scaleUp"),
    ...validateRules(behavior?.scaleDown, "spec.behavior.scaleDown"),
    ...validateLimits(spec),
  ];
}

/** `old`: of an update. What was wrong in it already may stay. */
export function validateAutoscaler(
  { spec }: HorizontalPodAutoscaler,
  old?: HorizontalPodAutoscaler,
): FieldError[] {
  const target = spec.scaleTargetRef;
  const before = old?.spec.scaleTargetRef;
  const sameTarget = before?.apiVersion === target.apiVersion && before?.kind === target.kind;
  // ReplicationController is the only kind of the core group that can be scaled.
  const isCore = target.kind === "ReplicationController";
  const targetRule = before !== undefined && sameTarget ? "any" : isCore ? "optional" : "required";
  const wasWrong = (old?.spec.metrics ?? []).some(
    ({ type, object }) =>
      type === "Object" &&
      object !== undefined &&
      groupProblem(object.describedObject, "optional") !== undefined,
  );
  return validateSpec(spec, targetRule, wasWrong ? "any" : "optional");
}

export const validateAutoscalerStatus = ({ status }: HorizontalPodAutoscaler): FieldError[] => [
  ...(status.conditions ?? []).flatMap(({ observedGeneration }, at) =>
    nonNegative(`status.conditions[${at}].observedGeneration`, observedGeneration),
  ),
  ...nonNegative("status.currentReplicas", status.currentReplicas),
  ...nonNegative("status.desiredReplicas", status.desiredReplicas),
];
