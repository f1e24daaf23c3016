/** Which nodes a node selector means, and which a Pod requires. Pure. */
import {
  compileRequirements,
  type LabelOperator,
  type LabelRequirement,
} from "#machinery/selector.ts";
import type {
  NodeSelector,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  PodSpec,
} from "../../generated/core/v1.ts";

export type NodeMatcher = (
  name: string,
  labels: Readonly<Record<string, string>> | undefined,
) => boolean;

/** Unlike selectors of labels, these compare numbers too. */
const operatorOf: Readonly<Record<string, LabelOperator>> = {
  In: "in",
  NotIn: "notin",
  Exists: "exists",
  DoesNotExist: "!",
  Gt: "gt",
  Lt: "lt",
};

/** Undefined: an operator that does not exist. */
function requirementsOf(
  expressions: readonly NodeSelectorRequirement[],
): readonly LabelRequirement[] | undefined {
  const requirements: LabelRequirement[] = [];
  for (const { key, operator, values = [] } of expressions) {
    const known = Object.hasOwn(operatorOf, operator) ? operatorOf[operator] : undefined;
    if (known === undefined) return undefined;
    requirements.push({ key, operator: known, values });
  }
  return requirements;
}

/** Upstream: a term without any expression matches nothing. */
export function compileNodeSelectorTerm(term: NodeSelectorTerm): NodeMatcher {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length === 0 && matchFields.length === 0) return () => false;
  const onLabels = requirementsOf(matchExpressions);
  const onFields = requirementsOf(matchFields);
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

/** Whether a node satisfies what the Pod, or a template of Pods, requires of it. */
export function requiredNode({
  spec,
}: {
  readonly spec: Pick<PodSpec, "nodeSelector" | "affinity">;
}): NodeMatcher {
  const wanted = Object.entries(spec.nodeSelector ?? {});
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const terms = required?.nodeSelectorTerms.map(compileNodeSelectorTerm);
  return (name, labels) =>
    wanted.every(([key, value]) => labels?.[key] === value) &&
    (terms === undefined || terms.some((term) => term(name, labels)));
}
