/**
 * What one metric of a HorizontalPodAutoscaler asks for, whatever its source: asks the metrics APIs, and says how many replicas,
 * because of which metric, and what the status shows of it; or what stands in the way, in upstream's words.
 */
import type {
  CrossVersionObjectReference,
  MetricSpec,
  MetricStatus,
  MetricTarget,
  MetricValueStatus,
} from "#api/generated/autoscaling/v2.ts";
import type { Pod } from "#api/generated/core/v1.ts";
import { parseApiVersion } from "#machinery/gvk.ts";
import type { Stored } from "#machinery/meta.ts";
import { type QuantityFormat, quantityFromMilli } from "#machinery/quantity.ts";
import { formatRequirements, type LabelSelector, requirementsOf } from "#machinery/selector.ts";
import {
  type Calculated,
  milliOf,
  type PodsQuestion,
  replicasForAverage,
  replicasForShare,
  replicasForUtilization,
  replicasForValue,
  type Tolerances,
  type Warmup,
} from "./horizontal-pod-autoscaler-replicas.ts";
import type { MetricsApis, Problem } from "./metrics-apis.ts";

export interface SourceQuestion {
  readonly apis: MetricsApis;
  readonly namespace: string;
  /** Of the Pods, as the scale tells it. */
  readonly selector: string;
  readonly pods: readonly Stored<Pod>[];
  /** What the workload is told to have, and what it has. */
  readonly specReplicas: number;
  readonly statusReplicas: number;
  readonly tolerances: Tolerances;
  readonly warmup: Warmup;
  readonly now: number;
  /** "ingresses.networking.k8s.io", or why there is no such kind. */
  readonly resourceOf: (group: string, kind: string) => Promise<string | Problem>;
}

export interface Asked {
  readonly replicas: number;
  /** "cpu resource utilization (percentage of request)" */
  readonly metric: string;
  readonly status: MetricStatus;
}
/** Why there is no answer: the condition's reason and its text, and how the whole is told. */
export interface Unknown {
  readonly reason: string;
  readonly problem: string;
  readonly told: string;
}

const amount = (milli: bigint, format?: QuantityFormat): string =>
  quantityFromMilli(milli, format).text;
/** As the metrics server writes it. */
const usageAmount = (resource: string, milli: bigint): string =>
  amount(milli, resource === "memory" ? "BinarySI" : "DecimalSI");

const pairs = (values: Readonly<Record<string, string>> = {}): string =>
  Object.keys(values)
    .sort()
    .map((key) => `${key}: ${values[key] ?? ""},`)
    .join("");
/** Upstream: messages show a selector as Go prints the struct. */
function shownSelector(selector: LabelSelector | undefined): string {
  if (selector === undefined) return "nil";
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values }) => {
    const list = (values ?? []).join(" ");
    return `LabelSelectorRequirement{Key:${key},Operator:${operator},Values:[${list}],},`;
  });
  const labels = `MatchLabels:map[string]string{${pairs(selector.matchLabels ?? undefined)}}`;
  const list = `MatchExpressions:[]LabelSelectorRequirement{${expressions.join("")}}`;
  return `&LabelSelector{${labels},${list},}`;
}

/** Empty: everything. */
function selectorText(selector: LabelSelector | undefined): string | Problem {
  if (selector === undefined) return "";
  const requirements = requirementsOf(selector);
  return requirements === undefined
    ? { problem: `${shownSelector(selector)} is not a valid label selector` }
    : formatRequirements(requirements);
}

const isProblem = (value: unknown): value is Problem =>
  typeof value === "object" && value !== null && "problem" in value;
const because = (before: string, { problem }: Problem): Problem => ({
  problem: `${before}: ${problem}`,
});

export async function askSource(
  spec: MetricSpec,
  question: SourceQuestion,
): Promise<Asked | Unknown> {
  const { resource, containerResource, pods, object, external } = spec;
  if (spec.type === "Resource" && resource !== undefined) {
    const { name, target } = resource;
    const found = await askUsage(name, target, "", question);
    if (isProblem(found)) {
      return unknown("FailedGetResourceMetric", `${name} resource metric value`, found);
    }
    const { current, ...asked } = found;
    return { ...asked, status: { type: "Resource", resource: { name, current } } };
  }
  if (spec.type === "ContainerResource" && containerResource !== undefined) {
    const { name, container, target } = containerResource;
    const found = await askUsage(name, target, container, question);
    if (isProblem(found)) {
      const what = `${container} container metric value`;
      return unknown("FailedGetContainerResourceMetric", what, found);
    }
    const { current, ...asked } = found;
    const status = { type: "ContainerResource", containerResource: { name, container, current } };
    return { ...asked, status };
  }
  if (spec.type === "Pods" && pods !== undefined) {
    const found = await askPods(pods, question);
    return isProblem(found) ? unknown("FailedGetPodsMetric", "pods metric value", found) : found;
  }
  if (spec.type === "Object" && object !== undefined) {
    const found = await askObject(object, question);
    return isProblem(found)
      ? unknown("FailedGetObjectMetric", "object metric value", found)
      : found;
  }
  if (spec.type === "External" && external !== undefined) {
    const found = await askExternal(external, question);
    const what = `${external.metric.name} external metric value`;
    return isProblem(found) ? unknown("FailedGetExternalMetric", what, found) : found;
  }
  const problem = `unknown metric source type ${JSON.stringify(spec.type)}`;
  return { reason: "InvalidMetricSourceType", problem, told: problem };
}

const unknown = (reason: string, what: string, { problem }: Problem): Unknown => ({
  reason,
  problem,
  told: `failed to get ${what}: ${problem}`,
});

const podsQuestion = (
  question: SourceQuestion,
  resource: string,
  metrics: PodsQuestion["metrics"],
): PodsQuestion => {
  const { pods, specReplicas: replicas, tolerances, warmup, now } = question;
  return { pods, metrics, replicas, resource, tolerances, warmup, now };
};

/** `container` empty: all of the Pod. */
async function askUsage(
  resource: string,
  target: MetricTarget,
  container: string,
  question: SourceQuestion,
): Promise<(Omit<Asked, "status"> & { readonly current: MetricValueStatus }) | Problem> {
  const { averageValue, averageUtilization } = target;
  const way = averageValue === undefined ? "utilization" : "usage";
  if (averageValue === undefined && averageUtilization === undefined) {
    const neither = "neither an average utilization target nor an average value (usage) target";
    return { problem: `invalid resource metric source: ${neither} was set` };
  }
  const { apis, namespace, selector } = question;
  const metrics = await apis.resource(resource, namespace, selector, container);
  const before = `failed to get ${resource} ${way}`;
  if (isProblem(metrics)) {
    return because(`${before}: unable to get metrics for resource ${resource}`, metrics);
  }
  const asked = podsQuestion(question, resource, metrics);
  const found: Calculated =
    averageValue === undefined
      ? replicasForUtilization(asked, averageUtilization ?? 0, container)
      : replicasForAverage(asked, milliOf(averageValue));
  if (isProblem(found)) return because(before, found);
  const { replicas, usageMilli, utilization } = found;
  const used = usageAmount(resource, usageMilli);
  if (utilization === undefined) {
    return { replicas, metric: `${resource} resource`, current: { averageValue: used } };
  }
  const kind = container === "" ? "resource" : "container resource";
  const metric = `${resource} ${kind} utilization (percentage of request)`;
  return { replicas, metric, current: { averageUtilization: utilization, averageValue: used } };
}

async function askPods(
  { metric, target }: NonNullable<MetricSpec["pods"]>,
  question: SourceQuestion,
): Promise<Asked | Problem> {
  const metricSelector = selectorText(metric.selector);
  if (isProblem(metricSelector)) return metricSelector;
  const { apis, namespace, selector } = question;
  const metrics = await apis.pods(metric.name, namespace, selector, metricSelector);
  if (isProblem(metrics)) return because(`unable to get metric ${metric.name}`, metrics);
  const asked = podsQuestion(question, "", metrics);
  const found = replicasForAverage(asked, milliOf(target.averageValue ?? "0"));
  if (isProblem(found)) return found;
  const current = { averageValue: amount(found.usageMilli) };
  return {
    replicas: found.replicas,
    metric: `pods metric ${metric.name}`,
    status: { type: "Pods", pods: { metric, current } },
  };
}

async function objectMilli(
  { metric, describedObject }: NonNullable<MetricSpec["object"]>,
  metricSelector: string,
  question: SourceQuestion,
): Promise<bigint | Problem> {
  const { apis, namespace } = question;
  const { kind, name } = describedObject;
  const before = `unable to get metric ${metric.name} on ${kind} ${namespace}/${name}`;
  const group = groupOf(describedObject);
  const isNamespace = group === "" && kind === "Namespace";
  const resource = isNamespace ? "namespaces" : await question.resourceOf(group, kind);
  if (isProblem(resource)) {
    const what = group === "" ? kind : `${kind}.${group}`;
    const unmapped = because(`unable to map kind ${what} to resource`, resource);
    return because(`${before}: unable to fetch metrics from custom metrics API`, unmapped);
  }
  const object = { resource, name, isNamespace };
  const milli = await apis.object(metric.name, namespace, object, metricSelector);
  return isProblem(milli) ? because(before, milli) : milli;
}

const groupOf = ({ apiVersion = "" }: CrossVersionObjectReference): string =>
  parseApiVersion(apiVersion)?.group ?? "";

async function askObject(
  source: NonNullable<MetricSpec["object"]>,
  question: SourceQuestion,
): Promise<Asked | Problem> {
  const { metric, describedObject, target } = source;
  const metricSelector = selectorText(metric.selector);
  if (isProblem(metricSelector)) return metricSelector;
  const byValue = target.type === "Value" && target.value !== undefined;
  if (!byValue && (target.type !== "AverageValue" || target.averageValue === undefined)) {
    const neither = "neither a value target nor an average value target was set";
    return { problem: `invalid object metric source: ${neither}` };
  }
  const { pods, specReplicas, statusReplicas, tolerances } = question;
  const milli = await objectMilli(source, metricSelector, question);
  if (byValue) {
    if (isProblem(milli)) return milli;
    const goal = milliOf(target.value ?? "0");
    const found = replicasForValue(milli, goal, specReplicas, pods, tolerances);
    if (isProblem(found)) return found;
    const current = { value: amount(found.usageMilli) };
    return {
      replicas: found.replicas,
      metric: `${describedObject.kind} metric ${metric.name}`,
      status: { type: "Object", object: { metric, current, describedObject } },
    };
  }
  if (isProblem(milli)) return because(`failed to get ${metric.name} object metric`, milli);
  const goal = milliOf(target.averageValue ?? "0");
  const found = replicasForShare(milli, goal, statusReplicas, tolerances);
  const current = { averageValue: amount(found.usageMilli) };
  return {
    replicas: found.replicas,
    // Upstream: told as an external metric.
    metric: `external metric ${metric.name}(${shownSelector(metric.selector)})`,
    status: { type: "Object", object: { metric, current, describedObject } },
  };
}

async function askExternal(
  { metric, target }: NonNullable<MetricSpec["external"]>,
  question: SourceQuestion,
): Promise<Asked | Problem> {
  const { value, averageValue } = target;
  const { apis, namespace, pods, specReplicas, statusReplicas, tolerances } = question;
  if (value === undefined && averageValue === undefined) {
    const neither = "neither a value target nor an average value target was set";
    return { problem: `invalid external metric source: ${neither}` };
  }
  const before =
    averageValue === undefined
      ? `failed to get external metric ${metric.name}`
      : `failed to get ${metric.name} external metric`;
  const metricSelector = selectorText(metric.selector);
  if (isProblem(metricSelector)) return because(before, metricSelector);
  const values = await apis.external(metric.name, namespace, metricSelector);
  const shown = shownSelector(metric.selector);
  if (isProblem(values)) {
    const where = `unable to get external metric ${namespace}/${metric.name}/${shown}`;
    return because(`${before}: ${where}`, values);
  }
  const total = values.reduce((sum, one) => sum + one, 0n);
  const found =
    averageValue === undefined
      ? replicasForValue(total, milliOf(value ?? "0"), specReplicas, pods, tolerances)
      : replicasForShare(total, milliOf(averageValue), statusReplicas, tolerances);
  if (isProblem(found)) return because(before, found);
  const used = amount(found.usageMilli);
  const current = averageValue === undefined ? { value: used } : { averageValue: used };
  return {
    replicas: found.replicas,
    metric: `external metric ${metric.name}(${shown})`,
    status: { type: "External", external: { metric, current } },
  };
}
