/** Which nodes a Pod, or the template of Pods, requires: node selector and node affinity. Pure. */
import { compileRequirements, requirementsOf } from "#machinery/selector.ts";
import type { NodeSelectorTerm, PodSpec } from "../../generated/core/v1.ts";

export type NodeMatcher = (
  name: string,
  labels: Readonly<Record<string, string>> | undefined,
) => boolean;

/** Upstream: a term without any expression matches nothing. */
export function compileNodeTerm(term: NodeSelectorTerm): NodeMatcher {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length === 0 && matchFields.length === 0) return () => false;
  const onLabels = requirementsOf({ matchExpressions });
  const onFields = requirementsOf({ matchExpressions: matchFields });
  if (onLabels === undefined || onFields === undefined) return () => false;
  const labelsMatch = compileRequirements(onLabels);
  const fieldsMatch = compileRequirements(onFields);
  return (name, labels) => labelsMatch(labels) && fieldsMatch({ "metadata.name": name });
}

/** Whether a node satisfies what the Pod requires of it. */
export function requiredNode({
  spec,
}: {
  readonly spec: Pick<PodSpec, "nodeSelector" | "affinity">;
}): NodeMatcher {
  const wanted = Object.entries(spec.nodeSelector ?? {});
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const terms = required?.nodeSelectorTerms.map(compileNodeTerm);
  return (name, labels) =>
    wanted.every(([key, value]) => labels?.[key] === value) &&
    (terms === undefined || terms.some((term) => term(name, labels)));
}
