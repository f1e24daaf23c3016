/**
 * Preemption: which Pods of lower priority would have to go, and from which node, so that a Pod fits. Chooses as upstream does: the
 * fewest broken budgets, then the least important victims, then the fewest. Pure; evicting them is the scheduler's.
 */
import type { PodDisruptionBudget } from "#api/policy/v1/poddisruptionbudget.ts";
import type { Stored } from "#machinery/meta.ts";
import { compileLabelSelector, type LabelMatcher } from "#machinery/selector.ts";
import type { NodeInfo } from "./node-info.ts";
import type { Rejection, Trial } from "./plugin.ts";
import type { PodInfo } from "./pod-info.ts";

export interface Candidate {
  readonly node: NodeInfo;
  /** The most important first; never empty. */
  readonly victims: readonly [PodInfo, ...PodInfo[]];
  /** Victims whose budget would not allow it. */
  readonly violations: number;
}

/** Those that have not started yet count as the youngest. */
const notStarted = "~";
const startOf = ({ pod }: PodInfo): string => pod.status.startTime ?? notStarted;
const byAge = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The more important first: higher priority, then the older. */
export const byImportance = (a: PodInfo, b: PodInfo): number =>
  b.priority - a.priority || byAge(startOf(a), startOf(b));

interface Budget {
  readonly budget: Stored<PodDisruptionBudget>;
  readonly selects: LabelMatcher;
  left: number;
}

/** Upstream: here, unlike in eviction, an empty selector selects nothing. */
function budgetsOf(budgets: Iterable<Stored<PodDisruptionBudget>>): Budget[] {
  return [...budgets].flatMap((budget) => {
    const { selector } = budget.spec;
    const size =
      Object.keys(selector?.matchLabels ?? {}).length + (selector?.matchExpressions?.length ?? 0);
    if (size === 0) return [];
    const left = budget.status.disruptionsAllowed;
    return [{ budget, selects: compileLabelSelector(selector), left }];
  });
}

function violates({ pod }: PodInfo, budgets: readonly Budget[]): boolean {
  const { namespace, labels, name } = pod.metadata;
  if (Object.keys(labels ?? {}).length === 0) return false;
  for (const one of budgets) {
    if (one.budget.metadata.namespace !== namespace || !one.selects(labels)) continue;
    // Its disruption is counted already.
    if (Object.hasOwn(one.budget.status.disruptedPods ?? {}, name)) continue;
    one.left -= 1;
    if (one.left < 0) return true;
  }
  return false;
}

const noVictims = "No preemption victims found for incoming pod";

/** Takes away all that may be taken, then gives back whom it can, the most important first. */
export function selectVictims(
  pod: PodInfo,
  trial: Trial,
  pdbs: Iterable<Stored<PodDisruptionBudget>>,
): Candidate | Rejection {
  const { node } = trial;
  const lower = [...node.pods.values()].filter((other) => other.priority < pod.priority);
  if (lower.length === 0) return { rejected: true, reasons: [noVictims], unresolvable: true };
  for (const victim of lower) trial.remove(victim);
  const never = trial.rejection();
  if (never !== undefined) return never;
  lower.sort(byImportance);
  const budgets = budgetsOf(pdbs);
  const violating: PodInfo[] = [];
  const others: PodInfo[] = [];
  for (const one of lower) (violates(one, budgets) ? violating : others).push(one);
  const victims: PodInfo[] = [];
  const canStay = (one: PodInfo): boolean => {
    trial.add(one);
    if (trial.rejection() === undefined) return true;
    trial.remove(one);
    victims.push(one);
    return false;
  };
  const violations = violating.filter((one) => !canStay(one)).length;
  for (const one of others) canStay(one);
  const [first, ...rest] = victims.sort(byImportance);
  if (first === undefined) {
    const reason = `expected at least one victim pod on node "${node.name}"`;
    return { rejected: true, reasons: [reason], unresolvable: true };
  }
  return { node, victims: [first, ...rest], violations };
}

/** So that few victims of negative priority are not worse than more of them. */
const priorityOffset = 2 ** 31;
const latestFirst = (a: Candidate, b: Candidate): number => byAge(oldest(b), oldest(a));
/** When the first of its most important victims started. */
const oldest = ({ victims }: Candidate): string =>
  victims
    .filter((one) => one.priority === victims[0].priority)
    .map(startOf)
    .reduce((a, b) => (a < b ? a : b));

const orders: readonly ((a: Candidate, b: Candidate) => number)[] = [
  (a, b) => a.violations - b.violations,
  (a, b) => a.victims[0].priority - b.victims[0].priority,
  (a, b) => sumOfPriorities(a) - sumOfPriorities(b),
  (a, b) => a.victims.length - b.victims.length,
  latestFirst,
];
const sumOfPriorities = ({ victims }: Candidate): number =>
  victims.reduce((sum, one) => sum + one.priority + priorityOffset, 0);

/** The one that does the least harm; among equals the first. */
export function bestCandidate(candidates: readonly Candidate[]): Candidate | undefined {
  const compare = (a: Candidate, b: Candidate): number => {
    for (const order of orders) {
      const difference = order(a, b);
      if (difference !== 0) return difference;
    }
    return 0;
  };
  return [...candidates].sort(compare)[0];
}
