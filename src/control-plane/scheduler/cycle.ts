/**
 * One scheduling cycle: from a Pod and the picture of the cluster to a node, or to the reasons why
 * none will do. Pure.
 */
import type { Random } from "#ports/random.ts";
import type { NodeInfo } from "./node-info.ts";
import { isRejection, type Plugin, type Rejection, type SchedulerView } from "./plugin.ts";
import type { PodInfo } from "./pod-info.ts";
import type { Profile } from "./profile.ts";

export type Decision =
  | { readonly fits: true; readonly node: NodeInfo; readonly tried: number }
  | {
      readonly fits: false;
      /** As the FailedScheduling event says it. */
      readonly message: string;
      readonly rejectedBy: ReadonlySet<string>;
    };

/**
 * So many nodes are always enough; of more a share, which shrinks from a half to a twentieth as
 * clusters grow.
 */
const feasibleMin = 100;
export function feasibleEnough(nodes: number): number {
  if (nodes < feasibleMin) return nodes;
  const percent = Math.max(50 - Math.floor(nodes / 125), 5);
  return Math.max(feasibleMin, Math.floor((nodes * percent) / 100));
}

/** "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." */
export function formatReasons(nodes: number, reasons: ReadonlyMap<string, number>): string {
  const lines = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort();
  const list = lines.length === 0 ? "" : ` ${lines.join(", ")}.`;
  return `0/${nodes} nodes are available:${list}`;
}

interface Filter {
  readonly plugin: Plugin;
  readonly state: unknown;
}

interface Prepared {
  readonly filters: readonly Filter[];
  /** Only these nodes can fit, and which plugins say so. */
  readonly names: ReadonlySet<string> | undefined;
  readonly narrowing: readonly string[];
}

/** `from`: index of the node to start with, so that all get their turn. */
export function decide(
  profile: Profile,
  pod: PodInfo,
  view: SchedulerView,
  random: Random,
  from: number,
): Decision {
  const { nodes } = view;
  if (nodes.length === 0) {
    const message = "no nodes available to schedule pods";
    const rejectedBy = new Set(profile.plugins.map(({ plugin }) => plugin.name));
    return { fits: false, message, rejectedBy };
  }
  const rejectedBy = new Set<string>();
  const prepared = prefilter(profile, pod, view, rejectedBy);
  if (isRejection(prepared)) {
    const message = `0/${nodes.length} nodes are available: ${prepared.reasons.join(", ")}.`;
    return { fits: false, message, rejectedBy };
  }
  const { feasible, reasons, tried } = findFeasible(prepared, pod, view, from, rejectedBy);
  const [first] = feasible;
  if (first === undefined) {
    const after = profile.plugins.map(({ plugin }) => plugin.postFilter?.(pod, view) ?? "");
    const message = [formatReasons(nodes.length, reasons), ...after.filter(Boolean)].join(" ");
    return { fits: false, message, rejectedBy };
  }
  if (feasible.length === 1) return { fits: true, node: first, tried };
  return { fits: true, node: best(profile, pod, feasible, view, random), tried };
}

function prefilter(
  profile: Profile,
  pod: PodInfo,
  view: SchedulerView,
  rejectedBy: Set<string>,
): Prepared | Rejection {
  const filters: Filter[] = [];
  const narrowing: string[] = [];
  let names: ReadonlySet<string> | undefined;
  for (const { plugin } of profile.plugins) {
    const result = plugin.preFilter?.(pod, view);
    if (result === "skip") continue;
    if (isRejection(result)) {
      rejectedBy.add(plugin.name);
      return result;
    }
    if (result?.nodeNames !== undefined) {
      const mine = result.nodeNames;
      names = names === undefined ? mine : new Set([...names].filter((name) => mine.has(name)));
      // What narrows the choice is part of the reason if none of the rest fits.
      rejectedBy.add(plugin.name);
      narrowing.push(plugin.name);
    }
    if (plugin.filter !== undefined) filters.push({ plugin, state: result?.state });
  }
  return { filters, names, narrowing };
}

function findFeasible(
  prepared: Prepared,
  pod: PodInfo,
  view: SchedulerView,
  from: number,
  rejectedBy: Set<string>,
) {
  const { nodes } = view;
  const enough = feasibleEnough(prepared.names?.size ?? nodes.length);
  const feasible: NodeInfo[] = [];
  const reasons = new Map<string, number>();
  let tried = 0;
  for (; tried < nodes.length && feasible.length < enough; tried += 1) {
    const node = nodes[(from + tried) % nodes.length] as NodeInfo;
    if (prepared.names !== undefined && !prepared.names.has(node.name)) {
      count(reasons, `node(s) didn't satisfy plugin(s) [${prepared.narrowing.join(" ")}]`);
      continue;
    }
    const no = firstRejection(prepared.filters, pod, node);
    if (no === undefined) feasible.push(node);
    else {
      rejectedBy.add(no.plugin);
      for (const reason of no.rejection.reasons) count(reasons, reason);
    }
  }
  return { feasible, reasons, tried };
}

function firstRejection(filters: readonly Filter[], pod: PodInfo, node: NodeInfo) {
  for (const { plugin, state } of filters) {
    const rejection = plugin.filter?.(pod, node, state);
    if (rejection !== undefined) return { plugin: plugin.name, rejection };
  }
  return undefined;
}

const count = (reasons: Map<string, number>, reason: string): void => {
  reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
};

/** The node with the highest sum of weighted scores; among equals one drawn by lot. */
function best(
  profile: Profile,
  pod: PodInfo,
  nodes: readonly NodeInfo[],
  view: SchedulerView,
  random: Random,
): NodeInfo {
  const totals = nodes.map(() => 0);
  for (const { plugin, weight } of profile.plugins) {
    if (plugin.score === undefined) continue;
    const prepared = plugin.preScore?.(pod, nodes, view);
    if (prepared === "skip") continue;
    const scores = nodes.map((node) => plugin.score?.(pod, node, prepared?.state, view) ?? 0);
    plugin.normalize?.(scores, nodes, prepared?.state);
    for (const [at, score] of scores.entries()) totals[at] = (totals[at] ?? 0) + score * weight;
  }
  const highest = Math.max(...totals);
  const winners = nodes.filter((_, at) => totals[at] === highest);
  return winners[random.uint32() % winners.length] as NodeInfo;
}
