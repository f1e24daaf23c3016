/** NodeMetrics: what a node used of late. Nothing is stored: the metrics addon answers. */
import type * as g from "../../generated/metrics/v1beta1.ts";
import { defineResource } from "../../resource.ts";
import { metricsFacts, metricsGroup, metricsVersion } from "./metrics-resource.ts";

export type NodeMetrics = g.NodeMetrics;

export const NodeMetrics = defineResource<NodeMetrics>({
  group: metricsGroup,
  version: metricsVersion,
  plural: "nodes",
  facts: metricsFacts("NodeMetrics", "nodes"),
  printerColumns: [
    { name: "cpu", format: "quantity", value: ({ usage }) => usage["cpu"] },
    { name: "memory", format: "quantity", value: ({ usage }) => usage["memory"] },
    { name: "Window", format: "duration", value: ({ window }) => window },
  ],
});
