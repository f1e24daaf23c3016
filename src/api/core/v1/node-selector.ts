/** Which nodes a node selector means. Pure. */
import { compileRequirements, requirementsOf } from "#machinery/selector.ts";
import type { NodeSelector, NodeSelectorTerm } from "../../generated/core/v1.ts";

export type NodeMatcher = (
  name: string,
  labels: Readonly<Record<string, string>> | undefined,
) => boolean;

/** Upstream: a term without any expression matches nothing. */
export function compileNodeSelectorTerm(term: NodeSelectorTerm): NodeMatcher {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length === 0 && matchFields.length === 0) return () => false;
  const onLabels = requirementsOf({ matchExpressions });
  const onFields = requirementsOf({ matchExpressions: matchFields });
  if (onLabels === undefined || onFields === undefined) return () => false;
  const labelsMatch = compileRequirements(onLabels);
  const fieldsMatch = compileRequirements(onFields);
  return (name, labels) => labelsMatch(labels) && fieldsMatch({ "metadata.name": name });
}

/** Any of the terms is enough. */
export function compileNodeSelector({ nodeSelectorTerms }: NodeSelector): NodeMatcher {
  const terms = (nodeSelectorTerms ?? []).map(compileNodeSelectorTerm);
  return (name, labels) => terms.some((term) => term(name, labels));
}
