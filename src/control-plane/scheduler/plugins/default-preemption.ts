/** DefaultPreemption: makes room for a Pod that fits nowhere, if Pods of lower priority are in its way. */
import { PodDisruptionBudget } from "#api/policy/v1/poddisruptionbudget.ts";
import { formatReasons } from "../format-reasons.ts";
import type { NodeInfo } from "../node-info.ts";
import { definePlugin, type FailedAttempt, isRejection, type PostFilterResult } from "../plugin.ts";
import type { PodInfo } from "../pod-info.ts";
import { bestCandidate, type Candidate, selectVictims } from "../preemption.ts";

export interface DefaultPreemptionArgs {
  /** How many nodes are looked at at least: a share of those that come into question, and a number. */
  readonly minCandidateNodesPercentage: number;
  readonly minCandidateNodesAbsolute: number;
}

const notHelpful = "Preemption is not helpful for scheduling";

/** A victim of preemption, on its way out. */
const isLeaving = ({ pod }: PodInfo): boolean =>
  pod.metadata.deletionTimestamp !== undefined &&
  (pod.status.conditions ?? []).some(
    ({ type, status, reason }) =>
      type === "DisruptionTarget" && status === "True" && reason === "PreemptionByScheduler",
  );

/** Why the Pod may not preempt at all. */
function ineligible({ pod, view, rejections }: FailedAttempt): string | undefined {
  if (pod.pod.spec.preemptionPolicy === "Never") {
    return "not eligible due to preemptionPolicy=Never.";
  }
  const nominated = view.nominationOf(pod.uid);
  if (nominated === undefined) return undefined;
  const said = rejections.get(nominated);
  // That node is of no use any more: it may look for another.
  if (said === undefined || said.unresolvable) return undefined;
  const node = view.nodes.find((one) => one.name === nominated);
  const waits = [...(node?.pods.values() ?? [])].some(
    (other) => other.priority < pod.priority && isLeaving(other),
  );
  return waits ? "not eligible due to a terminating pod on the nominated node." : undefined;
}

/** All candidates that are needed, or what the nodes say. */
function findCandidates(
  attempt: FailedAttempt,
  nodes: readonly NodeInfo[],
  enough: number,
): { readonly candidates: readonly Candidate[]; readonly reasons: ReadonlyMap<string, number> } {
  const { view, pod, draw, trial } = attempt;
  const offset = nodes.length === 0 ? 0 : draw() % nodes.length;
  const candidates: Candidate[] = [];
  const reasons = new Map<string, number>();
  const tell = (reason: string, times: number) =>
    reasons.set(reason, (reasons.get(reason) ?? 0) + times);
  const budgets = [...view.cache(PodDisruptionBudget).list()];
  for (let at = 0; at < nodes.length; at += 1) {
    const node = nodes[(offset + at) % nodes.length] as NodeInfo;
    const found = selectVictims(pod, trial(node), budgets);
    if (isRejection(found)) {
      for (const reason of found.reasons) tell(reason, 1);
      continue;
    }
    candidates.push(found);
    if (candidates.length >= enough && candidates.some((one) => one.violations === 0)) break;
  }
  const rest = view.nodes.length - nodes.length;
  if (rest > 0) tell(notHelpful, rest);
  return { candidates, reasons };
}

export const defaultPreemption = (args: DefaultPreemptionArgs) =>
  definePlugin({
    name: "DefaultPreemption",
    postFilter(attempt): PostFilterResult {
      const { view, rejections } = attempt;
      const excuse = ineligible(attempt);
      if (excuse !== undefined) {
        return { message: `preemption: ${excuse}`, nominate: undefined, victims: [] };
      }
      const nodes = view.nodes.filter((node) => rejections.get(node.name)?.unresolvable === false);
      const share = Math.trunc((nodes.length * args.minCandidateNodesPercentage) / 100);
      const enough = Math.min(nodes.length, Math.max(share, args.minCandidateNodesAbsolute));
      const { candidates, reasons } = findCandidates(attempt, nodes, enough);
      const best = bestCandidate(candidates);
      if (best === undefined) {
        const said = formatReasons(view.nodes.length, reasons);
        return { message: `preemption: ${said}`, nominate: "", victims: [] };
      }
      const { node, victims } = best;
      return {
        message: `preemption: found a potential placement for pod on node ${node.name}, preempting ${victims.length} victims`,
        nominate: node.name,
        victims,
      };
    },
    wakes: () => false,
  });
