/** What `kubectl get hpa` shows, of either version. */
import type * as g from "../../generated/autoscaling/v2.ts";
import { ageColumn } from "../../printer-columns.ts";
import type { PrinterColumn } from "../../resource.ts";

type HorizontalPodAutoscaler = g.HorizontalPodAutoscaler;

const shownMax = 2;
const unknown = "<unknown>";
/** Upstream: as Go prints a quantity that is not there. */
const missing = "<nil>";

interface Current {
  readonly value?: string;
  readonly averageValue?: string;
  readonly averageUtilization?: number;
}

function usageCell(
  name: string,
  { averageValue, averageUtilization }: g.MetricTarget,
  current: Current | undefined,
): string {
  const percent = (amount: number | undefined, otherwise: string): string =>
    amount === undefined ? otherwise : `${amount}%`;
  if (averageValue === undefined) {
    const used = percent(current?.averageUtilization, unknown);
    return `${name}: ${used}/${percent(averageUtilization, "<auto>")}`;
  }
  const used = current === undefined ? unknown : (current.averageValue ?? missing);
  return `${name}: ${used}/${averageValue}`;
}

function amountCell({ value, averageValue }: g.MetricTarget, current: Current | undefined): string {
  if (averageValue !== undefined) {
    return `${current?.averageValue ?? unknown}/${averageValue} (avg)`;
  }
  return `${current === undefined ? unknown : (current.value ?? missing)}/${value ?? missing}`;
}

function metricCell(spec: g.MetricSpec, status: g.MetricStatus | undefined): string {
  const { resource, containerResource, pods, object, external } = spec;
  switch (spec.type) {
    case "Resource":
      if (resource === undefined) break;
      return usageCell(resource.name, resource.target, status?.resource?.current);
    case "ContainerResource": {
      if (containerResource === undefined) break;
      const { name, target } = containerResource;
      return usageCell(name, target, status?.containerResource?.current);
    }
    case "Pods": {
      if (pods === undefined) break;
      const current = status?.pods?.current;
      const used = current === undefined ? unknown : (current.averageValue ?? missing);
      return `${used}/${pods.target.averageValue ?? missing}`;
    }
    case "Object":
      if (object === undefined) break;
      return amountCell(object.target, status?.object?.current);
    case "External":
      if (external === undefined) break;
      return amountCell(external.target, status?.external?.current);
  }
  return "<unknown type>";
}

function targetsCell({ spec, status }: HorizontalPodAutoscaler): string {
  const metrics = spec.metrics ?? [];
  if (metrics.length === 0) return "<none>";
  const statuses = (status.currentMetrics as readonly g.MetricStatus[] | null) ?? [];
  const cells = metrics.map((metric, at) => metricCell(metric, statuses[at]));
  const text = cells.slice(0, shownMax).join(", ");
  return cells.length > shownMax ? `${text} + ${cells.length - shownMax} more...` : text;
}

/** `stored`: the object as version 2 has it. */
export const autoscalerColumns = <T extends { readonly metadata: object }>(
  stored: (object: T) => HorizontalPodAutoscaler,
): PrinterColumn<T>[] => [
  {
    name: "Reference",
    value(object) {
      const { kind, name } = stored(object).spec.scaleTargetRef;
      return `${kind}/${name}`;
    },
  },
  { name: "Targets", value: (object) => targetsCell(stored(object)) },
  {
    name: "MinPods",
    value: (object) => String(stored(object).spec.minReplicas ?? "<unset>"),
  },
  { name: "MaxPods", value: (object) => stored(object).spec.maxReplicas },
  { name: "Replicas", value: (object) => stored(object).status.currentReplicas ?? 0 },
  ageColumn as PrinterColumn<never> as PrinterColumn<T>,
];
