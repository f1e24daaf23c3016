/** NodeAffinity: nodeSelector and node affinity, required and preferred. */
import type { Node } from "#api/core/v1/node.ts";
import {
  compileNodeSelectorTerm,
  type NodeMatcher,
  requiredNode,
} from "#api/core/v1/node-selector.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { definePlugin, normalizeToMax, rejectForGood } from "../plugin.ts";

const mismatch = "node(s) didn't match Pod's node affinity/selector";

/** If every term names nodes by field: those names. */
function namedNodes(pod: Pod): ReadonlySet<string> | undefined {
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required === undefined || required.nodeSelectorTerms.length === 0) return undefined;
  const names = new Set<string>();
  for (const { matchFields = [] } of required.nodeSelectorTerms) {
    const field = matchFields.find((one) => one.key === "metadata.name" && one.operator === "In");
    if (field === undefined) return undefined;
    for (const name of field.values ?? []) names.add(name);
  }
  return names;
}

const matchesNode = (pod: Pod, node: Node): boolean =>
  requiredNode(pod)(node.metadata.name ?? "", node.metadata.labels);

interface Preference {
  readonly weight: number;
  readonly matches: NodeMatcher;
}

export const nodeAffinity = definePlugin<NodeMatcher, readonly Preference[]>({
  name: "NodeAffinity",
  preFilter({ pod }) {
    const affinity = pod.spec.affinity?.nodeAffinity;
    const required = affinity?.requiredDuringSchedulingIgnoredDuringExecution;
    if (required === undefined && Object.keys(pod.spec.nodeSelector ?? {}).length === 0) {
      return "skip";
    }
    const nodeNames = namedNodes(pod);
    return { state: requiredNode(pod), ...(nodeNames === undefined ? {} : { nodeNames }) };
  },
  filter: (_pod, node, matches) =>
    matches(node.name, node.labels) ? undefined : rejectForGood(mismatch),
  preScore({ pod }) {
    const preferred =
      pod.spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
    if (preferred.length === 0) return "skip";
    const state = preferred
      .filter((one) => one.weight !== 0)
      .map(({ weight, preference }) => ({ weight, matches: compileNodeSelectorTerm(preference) }));
    return { state };
  },
  score: (_pod, node, preferences) =>
    preferences.reduce(
      (sum, { weight, matches }) => sum + (matches(node.name, node.labels) ? weight : 0),
      0,
    ),
  normalize: (scores) => normalizeToMax(scores, false),
  wakes({ pod }, event) {
    if (event.on === "itselfUpdated") return true;
    if (event.on === "nodeAdded") return matchesNode(pod, event.node);
    if (event.on !== "nodeUpdated") return false;
    return matchesNode(pod, event.node) && !matchesNode(pod, event.old);
  },
});
