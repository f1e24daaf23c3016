/** What the two kinds of metrics.k8s.io have in common: nobody writes them, and the columns of their tables. */
import type { ResourceFacts } from "../../facts.ts";

export const metricsGroup = "metrics.k8s.io";
export const metricsVersion = "v1beta1";

/** As upstream's metrics-server serves them: without singular or short names, so that "node" and "po" stay the core kinds'. */
export const metricsFacts = (
  kind: "NodeMetrics" | "PodMetrics",
  plural: "nodes" | "pods",
): ResourceFacts => ({
  group: metricsGroup,
  version: metricsVersion,
  plural,
  singular: "",
  kind,
  namespaced: plural === "pods",
  shortNames: [],
  categories: [],
  verbs: ["get", "list"],
  subresources: [],
  servedByDefault: true,
});
