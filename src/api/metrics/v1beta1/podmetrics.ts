/** PodMetrics: what the containers of a pod used of late. Nothing is stored: the metrics addon answers. */
import { addQuantities, formatQuantity, quantityOf, zeroQuantity } from "#machinery/quantity.ts";
import type * as g from "../../generated/metrics/v1beta1.ts";
import { defineResource } from "../../resource.ts";
import { metricsFacts, metricsGroup, metricsVersion } from "./metrics-resource.ts";

export type PodMetrics = g.PodMetrics;

const sumOf = ({ containers }: PodMetrics, name: string): string => {
  const [first = zeroQuantity, ...rest] = containers.map(({ usage }) =>
    quantityOf(usage[name] ?? "0"),
  );
  return formatQuantity(rest.reduce(addQuantities, first));
};

export const PodMetrics = defineResource<PodMetrics>({
  group: metricsGroup,
  version: metricsVersion,
  plural: "pods",
  facts: metricsFacts("PodMetrics", "pods"),
  printerColumns: [
    { name: "cpu", format: "quantity", value: (pod) => sumOf(pod, "cpu") },
    { name: "memory", format: "quantity", value: (pod) => sumOf(pod, "memory") },
    { name: "Window", format: "duration", value: ({ window }) => window },
  ],
});
