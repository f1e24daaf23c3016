/** The description of HorizontalPodAutoscalers. */
import type {
  HorizontalPodAutoscaler,
  HPAScalingRules,
  MetricSpec,
  MetricStatus,
  MetricTarget,
  MetricValueStatus,
} from "#api/generated/autoscaling/v2.ts";
import type { Describe } from "./describe.ts";
import { writeEvents } from "./events.ts";
import { type Page, writeHead } from "./page.ts";

const unknown = "<unknown>";
/** Upstream: as Go prints a quantity that is not there. */
const missing = "<nil>";

/** A percentage of the request, with the amount that it comes from; or the amount alone. */
function usageText(target: MetricTarget, current: MetricValueStatus | undefined): string {
  const { averageValue, averageUtilization } = target;
  if (averageValue !== undefined) {
    const used = current === undefined ? unknown : (current.averageValue ?? missing);
    return `:\t${used} / ${averageValue}`;
  }
  const percent = current?.averageUtilization;
  const used =
    percent === undefined ? unknown : `${percent}% (${current?.averageValue ?? missing})`;
  const goal = averageUtilization === undefined ? "<auto>" : `${averageUtilization}%`;
  return `  (as a percentage of request):\t${used} / ${goal}`;
}

function amountText(
  byAverage: boolean,
  { value, averageValue }: MetricTarget,
  current: MetricValueStatus | undefined,
  whereNone: string,
): string {
  if (byAverage) {
    const used = current === undefined ? unknown : (current.averageValue ?? whereNone);
    return `(target average value):\t${used} / ${averageValue ?? missing}`;
  }
  const used = current === undefined ? unknown : (current.value ?? missing);
  return `(target value):\t${used} / ${value ?? missing}`;
}

function metricText(spec: MetricSpec, status: MetricStatus | undefined): string {
  const { resource, containerResource, pods, object, external } = spec;
  switch (spec.type) {
    case "External": {
      if (external === undefined) break;
      const { metric, target } = external;
      const byAverage = target.averageValue !== undefined;
      const text = amountText(byAverage, target, status?.external?.current, unknown);
      return `${JSON.stringify(metric.name)} ${text}`;
    }
    case "Pods": {
      if (pods === undefined) break;
      const current = status?.pods?.current;
      const used = current === undefined ? unknown : (current.averageValue ?? missing);
      const goal = pods.target.averageValue ?? missing;
      return `${JSON.stringify(pods.metric.name)} on pods:\t${used} / ${goal}`;
    }
    case "Object": {
      if (object === undefined) break;
      const { metric, describedObject, target } = object;
      const byAverage = target.type === "AverageValue";
      const text = amountText(byAverage, target, status?.object?.current, missing);
      return `"${metric.name}" on ${describedObject.kind}/${describedObject.name} ${text}`;
    }
    case "Resource": {
      if (resource === undefined) break;
      const { name, target } = resource;
      return `resource ${name} on pods${usageText(target, status?.resource?.current)}`;
    }
    case "ContainerResource": {
      if (containerResource === undefined) break;
      const { name, container, target } = containerResource;
      const text = usageText(target, status?.containerResource?.current);
      return `resource ${name} of container "${container}" on pods${text}`;
    }
  }
  return `<unknown metric type ${JSON.stringify(spec.type)}>`;
}

function writeRules(page: Page, direction: string, rules: HPAScalingRules | undefined): void {
  if (rules === undefined) return;
  const { stabilizationWindowSeconds, selectPolicy = "Max", policies = [] } = rules;
  page.line(1, `${direction}:`);
  if (stabilizationWindowSeconds !== undefined) {
    page.line(2, `Stabilization Window: ${stabilizationWindowSeconds} seconds`);
  }
  if (policies.length === 0) return;
  page.line(2, `Select Policy: ${selectPolicy}`);
  page.line(2, "Policies:");
  for (const { type, value, periodSeconds } of policies) {
    page.line(3, `- Type: ${type}\tValue: ${value}\tPeriod: ${periodSeconds} seconds`);
  }
}

export const describeHorizontalPodAutoscaler: Describe = async (page, object) => {
  const autoscaler = object as unknown as HorizontalPodAutoscaler;
  const { metadata, spec, status } = autoscaler;
  const { scaleTargetRef, metrics = [], behavior } = spec;
  writeHead(page, autoscaler);
  page.line(0, `CreationTimestamp:\t${page.time(metadata.creationTimestamp)}`);
  page.line(0, `Reference:\t${scaleTargetRef.kind}/${scaleTargetRef.name}`);
  page.line(0, "Metrics:\t( current / target )");
  const statuses = (status.currentMetrics as MetricStatus[] | null | undefined) ?? [];
  for (const [at, metric] of metrics.entries()) page.line(1, metricText(metric, statuses[at]));
  page.line(0, `Min replicas:\t${spec.minReplicas ?? "<unset>"}`);
  page.line(0, `Max replicas:\t${spec.maxReplicas}`);
  if (behavior !== undefined) {
    page.line(0, "Behavior:");
    writeRules(page, "Scale Up", behavior.scaleUp);
    writeRules(page, "Scale Down", behavior.scaleDown);
  }
  const { currentReplicas = 0, desiredReplicas, conditions = [] } = status;
  page.line(
    0,
    `${scaleTargetRef.kind} pods:\t${currentReplicas} current / ${desiredReplicas} desired`,
  );
  if (conditions.length > 0) {
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus\tReason\tMessage");
    page.line(1, "----\t------\t------\t-------");
    for (const { type, status: is, reason = "", message = "" } of conditions) {
      page.line(1, `${type}\t${is}\t${reason}\t${message}`);
    }
  }
  await writeEvents(page, object);
};
