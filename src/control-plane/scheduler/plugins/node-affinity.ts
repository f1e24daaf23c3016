/** NodeAffinity: nodeSelector and node affinity, required and preferred. */
import type { Node } from "#api/core/v1/node.ts";
import {
  compileNodeSelector,
  compileNodeSelectorTerm,
  type NodeMatcher,
  requiredNode,
} from "#api/core/v1/node-selector.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import type { NodeAffinity as NodeAffinityTerms } from "#api/generated/core/v1.ts";
import { definePlugin, normalizeToMax, rejectForGood } from "../plugin.ts";

const mismatch = "node(s) didn't match Pod's node affinity/selector";
const addedMismatch = "node(s) didn't match scheduler-enforced node affinity";
const contradiction = "pod affinity terms conflict";

export interface NodeAffinityArgs {
  /** What holds for all Pods of the profile, beside what they say themselves. */
  readonly addedAffinity: NodeAffinityTerms | undefined;
}

/** If every term names nodes by field: those names. */
function namedNodes(pod: Pod): ReadonlySet<string> | undefined {
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required === undefined || required.nodeSelectorTerms.length === 0) return undefined;
  const names = new Set<string>();
  for (const { matchFields = [] } of required.nodeSelectorTerms) {
    const fields = matchFields.filter(
      (one) => one.key === "metadata.name" && one.operator === "In",
    );
    const [first, ...rest] = fields;
    if (first === undefined) return undefined;
    for (const name of first.values ?? []) {
      if (rest.every((one) => (one.values ?? []).includes(name))) names.add(name);
    }
  }
  return names;
}

const matchesNode = (pod: Pod, node: Node): boolean =>
  requiredNode(pod)(node.metadata.name ?? "", node.metadata.labels);

interface Preference {
  readonly weight: number;
  readonly matches: NodeMatcher;
}
const preferencesOf = (affinity: NodeAffinityTerms | undefined): readonly Preference[] =>
  (affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [])
    .filter((one) => one.weight !== 0)
    .map(({ weight, preference }) => ({ weight, matches: compileNodeSelectorTerm(preference) }));

export function nodeAffinity({ addedAffinity }: NodeAffinityArgs) {
  const added = addedAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const isAllowed: NodeMatcher = added === undefined ? () => true : compileNodeSelector(added);
  const addedPreferences = preferencesOf(addedAffinity);
  return definePlugin<NodeMatcher, readonly Preference[]>({
    name: "NodeAffinity",
    preFilter({ pod }) {
      const affinity = pod.spec.affinity?.nodeAffinity;
      const required = affinity?.requiredDuringSchedulingIgnoredDuringExecution;
      const selector = Object.keys(pod.spec.nodeSelector ?? {});
      if (required === undefined && added === undefined && selector.length === 0) return "skip";
      const nodeNames = namedNodes(pod);
      if (nodeNames?.size === 0) return rejectForGood(contradiction);
      return { state: requiredNode(pod), ...(nodeNames === undefined ? {} : { nodeNames }) };
    },
    filter(_pod, node, matches) {
      if (!isAllowed(node.name, node.labels)) return rejectForGood(addedMismatch);
      return matches(node.name, node.labels) ? undefined : rejectForGood(mismatch);
    },
    preScore({ pod }) {
      const { nodeAffinity: own } = pod.spec.affinity ?? {};
      const asked = own?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
      if (asked.length === 0 && addedPreferences.length === 0) return "skip";
      return { state: [...addedPreferences, ...preferencesOf(own)] };
    },
    score: (_pod, node, preferences) =>
      preferences.reduce(
        (sum, { weight, matches }) => sum + (matches(node.name, node.labels) ? weight : 0),
        0,
      ),
    normalize: (scores) => normalizeToMax(scores, false),
    wakes({ pod }, event) {
      if (event.on === "itselfUpdated") return true;
      if (event.on !== "nodeAdded" && event.on !== "nodeUpdated") return false;
      if (!isAllowed(event.node.metadata.name, event.node.metadata.labels)) return false;
      if (event.on === "nodeAdded") return matchesNode(pod, event.node);
      return matchesNode(pod, event.node) && !matchesNode(pod, event.old);
    },
  });
}
