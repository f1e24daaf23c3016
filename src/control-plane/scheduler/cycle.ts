/**
 * One scheduling cycle: from a Pod and the picture of the cluster to a node, or to the reasons why
 * none will do. Pure.
 */
import type { Random } from "#ports/random.ts";
import { formatReasons } from "./format-reasons.ts";
import type { NodeInfo } from "./node-info.ts";
import {
  isRejection,
  type Plugin,
  type PostFilterResult,
  type Rejection,
  type SchedulerView,
  type Trial,
} from "./plugin.ts";
import type { PodInfo } from "./pod-info.ts";
import type { Profile } from "./profile.ts";

export type Decision =
  | {
      readonly fits: true;
      readonly node: NodeInfo;
      readonly tried: number;
    }
  | {
      readonly fits: false;
      /** As the FailedScheduling event says it. */
      readonly message: string;
      readonly rejectedBy: ReadonlySet<string>;
      readonly outcome: Omit<PostFilterResult, "message">;
    };

/** What the nodes say of a Pod. */
export interface Finding {
  /** In the order in which they were tried. */
  readonly feasible: readonly NodeInfo[];
  readonly rejections: ReadonlyMap<string, Rejection>;
  /** Why none was asked: a plugin refused the Pod as such. */
  readonly refused: Rejection | undefined;
  readonly rejectedBy: ReadonlySet<string>;
  readonly tried: number;
  /** For trials. */
  readonly filters: readonly Filter[];
  /** Of the nodes that were left out from the start. */
  readonly leftOut: string | undefined;
}

/**
 * So many nodes are always enough; of more a share, which shrinks from a half to a twentieth as
 * clusters grow.
 */
const feasibleMin = 100;
export function feasibleEnough(nodes: number, percentage = 0): number {
  if (nodes < feasibleMin) return nodes;
  const percent = percentage === 0 ? Math.max(50 - Math.floor(nodes / 125), 5) : percentage;
  return Math.max(feasibleMin, Math.floor((nodes * percent) / 100));
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
  if (view.nodes.length === 0) {
    const message = "no nodes available to schedule pods";
    const rejectedBy = new Set(profile.plugins.map(({ plugin }) => plugin.name));
    return { fits: false, message, rejectedBy, outcome: { nominate: "", victims: [] } };
  }
  const finding = findNodes(profile, pod, view, from);
  const { feasible, tried } = finding;
  const [first] = feasible;
  if (first === undefined) return giveUp(profile, pod, view, random, finding);
  if (feasible.length === 1) return { fits: true, node: first, tried };
  return { fits: true, node: best(profile, pod, feasible, view, random), tried };
}

/** Asks the nodes, until enough of them fit. */
export function findNodes(
  profile: Profile,
  pod: PodInfo,
  view: SchedulerView,
  from: number,
): Finding {
  const rejectedBy = new Set<string>();
  const prepared = prefilter(profile, pod, view, rejectedBy);
  if (isRejection(prepared)) {
    const nothing = { feasible: [], rejections: new Map(), tried: 0, filters: [] };
    return { ...nothing, refused: prepared, rejectedBy, leftOut: undefined };
  }
  const { filters, names, narrowing } = prepared;
  const found = { refused: undefined, rejectedBy, filters };
  const leftOut =
    names === undefined
      ? undefined
      : `node(s) didn't satisfy plugin(s) [${[...narrowing].sort().join(" ")}]`;
  const nominated = nominatedNode(pod, view);
  if (nominated !== undefined && firstRejection(filters, pod, nominated, view) === undefined) {
    return { ...found, feasible: [nominated], rejections: new Map(), tried: 1, leftOut };
  }
  const enough = feasibleEnough(names?.size ?? view.nodes.length, profile.percentageOfNodesToScore);
  return { ...found, ...askNodes(prepared, pod, view, { from, enough }, rejectedBy), leftOut };
}

function nominatedNode({ uid }: PodInfo, view: SchedulerView): NodeInfo | undefined {
  const name = view.nominationOf(uid);
  return name === undefined ? undefined : view.nodes.find((node) => node.name === name);
}

function askNodes(
  { filters, names }: Prepared,
  pod: PodInfo,
  view: SchedulerView,
  { from, enough }: { readonly from: number; readonly enough: number },
  rejectedBy: Set<string>,
) {
  const { nodes } = view;
  const feasible: NodeInfo[] = [];
  const rejections = new Map<string, Rejection>();
  let tried = 0;
  for (; tried < nodes.length && feasible.length < enough; tried += 1) {
    const node = nodes[(from + tried) % nodes.length] as NodeInfo;
    if (names !== undefined && !names.has(node.name)) continue;
    const no = firstRejection(filters, pod, node, view);
    if (no === undefined) feasible.push(node);
    else {
      rejectedBy.add(no.plugin);
      rejections.set(node.name, no.rejection);
    }
  }
  return { feasible, rejections, tried };
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

/**
 * The Pod must fit beside those of no lower priority that are to come, and without them too: it may be them that it wants to be near
 * to.
 */
function firstRejection(
  filters: readonly Filter[],
  pod: PodInfo,
  node: NodeInfo,
  view: SchedulerView,
) {
  const coming = view
    .nominatedTo(node.name)
    .filter((other) => other.priority >= pod.priority && other.uid !== pod.uid);
  if (coming.length > 0) {
    const trial = tryOn(filters, pod, node);
    for (const other of coming) trial.add(other);
    const rejection = filterRejection(trial.filters, pod, trial.node);
    if (rejection !== undefined) return rejection;
  }
  return filterRejection(filters, pod, node);
}

function filterRejection(filters: readonly Filter[], pod: PodInfo, node: NodeInfo) {
  for (const { plugin, state } of filters) {
    const rejection = plugin.filter?.(pod, node, state);
    if (rejection !== undefined) return { plugin: plugin.name, rejection };
  }
  return undefined;
}

function tryOn(filters: readonly Filter[], pod: PodInfo, original: NodeInfo) {
  const node = original.copy();
  const copies = filters.map(({ plugin, state }) => ({
    plugin,
    state: plugin.whatIf === undefined ? state : plugin.whatIf.copy(state),
  }));
  const change = (other: PodInfo, sign: 1 | -1) => {
    if (sign > 0) node.add(other);
    else node.remove(other.uid);
    for (const { plugin, state } of copies) plugin.whatIf?.change(state, pod, other, node, sign);
  };
  return {
    node,
    filters: copies,
    add: (other: PodInfo) => change(other, 1),
    remove: (other: PodInfo) => change(other, -1),
  };
}

/** Why no node will do, and what the plugins make of that. */
function giveUp(
  profile: Profile,
  pod: PodInfo,
  view: SchedulerView,
  random: Random,
  finding: Finding,
): Decision {
  const { rejections, refused, rejectedBy, filters } = finding;
  const trial = (node: NodeInfo): Trial => {
    const tried = tryOn(filters, pod, node);
    const rejection = () => firstRejection(tried.filters, pod, tried.node, view)?.rejection;
    return { node: tried.node, add: tried.add, remove: tried.remove, rejection };
  };
  const draw = () => random.uint32();
  const messages: string[] = [];
  let outcome: Omit<PostFilterResult, "message"> = { nominate: undefined, victims: [] };
  for (const { plugin } of profile.plugins) {
    const result = plugin.postFilter?.({ pod, rejections, view, draw, trial });
    if (result === undefined) continue;
    if (result.nominate !== undefined) outcome = result;
    if (result.nominate) messages.length = 0;
    messages.push(result.message);
    if (result.nominate) break;
  }
  const why =
    refused === undefined
      ? formatReasons(view.nodes.length, countReasons(finding, view.nodes.length))
      : `0/${view.nodes.length} nodes are available: ${refused.reasons.join(", ")}.`;
  const message = [why, messages.join(", ")].filter((part) => part !== "").join(" ");
  return { fits: false, message, rejectedBy, outcome };
}

function countReasons(
  { rejections, leftOut }: Finding,
  nodes: number,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  const count = (reason: string, times: number) =>
    counts.set(reason, (counts.get(reason) ?? 0) + times);
  for (const { reasons } of rejections.values()) for (const reason of reasons) count(reason, 1);
  if (leftOut !== undefined && nodes > rejections.size) count(leftOut, nodes - rejections.size);
  return counts;
}

/** What the plugins' scores are worth, by plugin; each list goes with the nodes. */
export function scoreNodes(
  profile: Profile,
  pod: PodInfo,
  nodes: readonly NodeInfo[],
  view: SchedulerView,
): ReadonlyMap<string, readonly number[]> {
  const all = new Map<string, readonly number[]>();
  for (const { plugin, weight } of profile.plugins) {
    if (plugin.score === undefined || weight === 0) continue;
    const prepared = plugin.preScore?.(pod, nodes, view);
    if (prepared === "skip") continue;
    const scores = nodes.map((node) => plugin.score?.(pod, node, prepared?.state, view) ?? 0);
    plugin.normalize?.(scores, nodes, prepared?.state);
    all.set(
      plugin.name,
      scores.map((score) => score * weight),
    );
  }
  return all;
}

/** The node with the highest sum of weighted scores; among equals one drawn by lot. */
function best(
  profile: Profile,
  pod: PodInfo,
  nodes: readonly NodeInfo[],
  view: SchedulerView,
  random: Random,
): NodeInfo {
  const totals = nodes.map(() => 0);
  for (const scores of scoreNodes(profile, pod, nodes, view).values()) {
    for (const [at, score] of scores.entries()) totals[at] = (totals[at] ?? 0) + score;
  }
  const highest = Math.max(...totals);
  const winners = nodes.filter((_, at) => totals[at] === highest);
  return winners[random.uint32() % winners.length] as NodeInfo;
}
