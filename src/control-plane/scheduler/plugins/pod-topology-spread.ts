/**
 * PodTopologySpread: spreads like Pods over zones, hosts or any other label of nodes: as
 * constraints of the Pod demand, and, without any, softly by the Services and the controller that
 * it belongs to.
 */

import { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import { StatefulSet } from "#api/apps/v1/statefulset.ts";
import type { Node } from "#api/core/v1/node.ts";
import { requiredNode } from "#api/core/v1/node-selector.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { ReplicationController } from "#api/core/v1/replicationcontroller.ts";
import { Service } from "#api/core/v1/service.ts";
import { hasUntolerated } from "#api/core/v1/toleration.ts";
import type { TopologySpreadConstraint } from "#api/generated/core/v1.ts";
import { namespaceIndex } from "#client/cache.ts";
import { controllerOf } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import {
  compileLabelMap,
  compileLabelSelector,
  compileRequirements,
  type LabelMatcher,
  type LabelSelector,
  type Labels,
  requirementsOf,
} from "#machinery/selector.ts";
import type { NodeInfo } from "../node-info.ts";
import {
  type ClusterEvent,
  definePlugin,
  reject,
  rejectForGood,
  type SchedulerView,
  scoreMax,
} from "../plugin.ts";
import type { PodInfo } from "../pod-info.ts";

const hostname = "kubernetes.io/hostname";
const mismatch = "node(s) didn't match pod topology spread constraints";

export interface PodTopologySpreadArgs {
  /** For Pods that bring none. */
  readonly defaultConstraints: readonly TopologySpreadConstraint[];
  /** They are the scheduler's own: nodes without one of the labels are then scored by the others. */
  readonly isSystemDefaulted: boolean;
}

/** Upstream's own constraints for Pods that bring none. */
export const systemDefaultConstraints: readonly TopologySpreadConstraint[] = [
  { topologyKey: hostname, whenUnsatisfiable: "ScheduleAnyway", maxSkew: 3 },
  { topologyKey: "topology.kubernetes.io/zone", whenUnsatisfiable: "ScheduleAnyway", maxSkew: 5 },
];

/** A selector and its name: equal names select the same Pods, the namespace included. */
interface Selection {
  readonly name: string;
  readonly selects: LabelMatcher;
  /** Upstream: a selector without any term is taken to find nobody, though it selects the Pod itself. */
  readonly isEmpty: boolean;
}
interface Constraint {
  readonly topologyKey: string;
  readonly maxSkew: number;
  readonly minDomains: number;
  readonly selection: Selection;
  /** Whether a node's Pods count. */
  readonly includes: (node: NodeInfo) => boolean;
}

function compile(pod: Pod, constraint: TopologySpreadConstraint, selection: Selection): Constraint {
  const matches = requiredNode(pod);
  const honorsAffinity = (constraint.nodeAffinityPolicy ?? "Honor") === "Honor";
  const honorsTaints = constraint.nodeTaintsPolicy === "Honor";
  return {
    topologyKey: constraint.topologyKey,
    maxSkew: constraint.maxSkew,
    minDomains: constraint.minDomains ?? 1,
    selection,
    includes: (node) =>
      (!honorsAffinity || matches(node.name, node.labels)) &&
      (!honorsTaints || !hasUntolerated(node.hardTaints, pod)),
  };
}

const hasNoTerms = (selector: LabelSelector | undefined): boolean =>
  selector !== undefined && requirementsOf(selector)?.length === 0;

/** The constraint's selector, narrowed to Pods with the same values of its matchLabelKeys. */
function selectionOf(pod: Pod, constraint: TopologySpreadConstraint): Selection {
  const base = compileLabelSelector(constraint.labelSelector);
  const same = (constraint.matchLabelKeys ?? []).flatMap((key) => {
    const value = pod.metadata.labels?.[key];
    return value === undefined ? [] : [{ key, operator: "=" as const, values: [value] }];
  });
  const narrowed = compileRequirements(same);
  return {
    name: JSON.stringify([pod.metadata.namespace, constraint.labelSelector ?? null, same]),
    selects: (labels) => base(labels) && narrowed(labels),
    isEmpty: same.length === 0 && hasNoTerms(constraint.labelSelector),
  };
}

/** The selector of the ReplicaSet or StatefulSet that a Pod belongs to. */
function ownersSelector(pod: Pod, view: SchedulerView): LabelSelector | undefined {
  const owner = controllerOf(pod);
  const key = `${pod.metadata.namespace ?? ""}/${owner?.name ?? ""}`;
  if (owner?.apiVersion !== "apps/v1") return undefined;
  if (owner.kind === "ReplicaSet") return view.cache(ReplicaSet).get(key)?.spec.selector;
  if (owner.kind === "StatefulSet") return view.cache(StatefulSet).get(key)?.spec.selector;
  return undefined;
}

/** The labels that the Services of a Pod and its ReplicationController look for. */
function soughtLabels(pod: Pod, view: SchedulerView): Labels {
  const { namespace = "", labels } = pod.metadata;
  const sought: Record<string, string> = {};
  for (const service of view.cache(Service).byIndex(namespaceIndex, namespace)) {
    const { selector } = service.spec;
    if (compileLabelMap(selector)(labels)) Object.assign(sought, selector);
  }
  const owner = controllerOf(pod);
  if (owner?.apiVersion === "v1" && owner.kind === "ReplicationController") {
    const controller = view.cache(ReplicationController).get(`${namespace}/${owner.name}`);
    Object.assign(sought, controller?.spec.selector);
  }
  return sought;
}

/** Pods of the same Services and the same controller. Undefined: it belongs to none. */
function kinship(pod: Pod, view: SchedulerView): Selection | undefined {
  const sought = soughtLabels(pod, view);
  const owners = ownersSelector(pod, view) ?? {};
  const ofServices = compileLabelSelector({ matchLabels: sought });
  const ofOwner = compileLabelSelector(owners);
  if (Object.keys(sought).length === 0 && hasNoTerms(owners)) return undefined;
  return {
    name: JSON.stringify([pod.metadata.namespace, sought, owners]),
    selects: (labels) => ofServices(labels) && ofOwner(labels),
    isEmpty: false,
  };
}

/** The Pod's own constraints, or those for Pods that bring none. */
function constraintsOf(
  pod: Pod,
  action: "DoNotSchedule" | "ScheduleAnyway",
  { defaultConstraints }: PodTopologySpreadArgs,
  view: SchedulerView,
): Constraint[] {
  const own = pod.spec.topologySpreadConstraints ?? [];
  if (own.length > 0) {
    return own
      .filter((one) => one.whenUnsatisfiable === action)
      .map((one) => compile(pod, one, selectionOf(pod, one)));
  }
  const defaults = defaultConstraints.filter((one) => one.whenUnsatisfiable === action);
  if (defaults.length === 0) return [];
  const kin = kinship(pod, view);
  return kin === undefined ? [] : defaults.map((one) => compile(pod, one, kin));
}

const countOn = (node: NodeInfo, pod: Pod, { name, selects, isEmpty }: Selection): number =>
  isEmpty ? 0 : node.countMatching(name, pod.metadata.namespace ?? "", selects);

interface Hard {
  readonly constraint: Constraint;
  readonly counts: Map<string, number>;
  least: number;
  /** 1 if the Pod counts towards its own constraint. */
  readonly self: number;
}
interface Soft {
  readonly constraint: Constraint;
  /** By topology value; unused for hostnames. */
  readonly counts: Map<string, number>;
  readonly weight: number;
}
interface SoftState {
  readonly soft: readonly Soft[];
  readonly ignored: ReadonlySet<string>;
}

function hardState(
  pod: Pod,
  constraint: Constraint,
  all: readonly Constraint[],
  view: SchedulerView,
): Hard {
  const counts = new Map<string, number>();
  for (const node of view.nodes) {
    const value = node.labels[constraint.topologyKey];
    if (value === undefined || !constraint.includes(node)) continue;
    if (all.some((one) => node.labels[one.topologyKey] === undefined)) continue;
    counts.set(value, (counts.get(value) ?? 0) + countOn(node, pod, constraint.selection));
  }
  return {
    constraint,
    counts,
    least: leastOf(constraint, counts),
    self: constraint.selection.selects(pod.metadata.labels) ? 1 : 0,
  };
}
/** With too few domains one more, an empty one, is thought of. */
const leastOf = ({ minDomains }: Constraint, counts: ReadonlyMap<string, number>): number =>
  counts.size >= minDomains ? Math.min(...counts.values()) : 0;

/** Upstream: a Pod on its way out, which was not counted, is taken off all the same. */
function changeHard(
  state: readonly Hard[],
  { pod }: PodInfo,
  other: PodInfo,
  node: NodeInfo,
  sign: 1 | -1,
): void {
  if (other.pod.metadata.namespace !== pod.metadata.namespace) return;
  if (state.some(({ constraint }) => node.labels[constraint.topologyKey] === undefined)) return;
  for (const hard of state) {
    const { constraint, counts } = hard;
    if (!constraint.selection.selects(other.pod.metadata.labels)) continue;
    if (!constraint.includes(node)) continue;
    const value = node.labels[constraint.topologyKey] ?? "";
    counts.set(value, (counts.get(value) ?? 0) + sign);
    hard.least = leastOf(constraint, counts);
  }
}

/** Whether an event may even out what keeps the Pod waiting. */
function wantsChange(
  { pod }: PodInfo,
  event: ClusterEvent,
  { defaultConstraints }: PodTopologySpreadArgs,
): boolean {
  const own = pod.spec.topologySpreadConstraints ?? [];
  const constraints = (own.length > 0 ? own : defaultConstraints).filter(
    (one) => one.whenUnsatisfiable === "DoNotSchedule",
  );
  const spreads = (node: Node) =>
    constraints.every((one) => node.metadata.labels?.[one.topologyKey] !== undefined);
  const counts = (other: Pod) =>
    other.metadata.namespace === pod.metadata.namespace &&
    (own.length === 0 ||
      constraints.some((one) => selectionOf(pod, one).selects(other.metadata.labels)));
  switch (event.on) {
    case "itselfUpdated":
      return !equalObjects(event.pod.metadata.labels, event.old.metadata.labels);
    case "nodeAdded":
      return spreads(event.node);
    case "nodeUpdated":
      if (equalObjects(event.node.spec.taints, event.old.spec.taints)) {
        if (equalObjects(event.node.metadata.labels, event.old.metadata.labels)) return false;
      }
      return spreads(event.node) || spreads(event.old);
    // Which nodes there are decides how even it is.
    case "nodeRemoved":
      return spreads(event.old);
    case "podAssigned":
      return counts(event.pod);
    case "podUpdated":
      return counts(event.pod) !== counts(event.old);
    case "podRemoved":
      return counts(event.old);
    default:
      return false;
  }
}

export const podTopologySpread = (args: PodTopologySpreadArgs) =>
  definePlugin<readonly Hard[], SoftState>({
    name: "PodTopologySpread",
    preFilter({ pod }, view) {
      const constraints = constraintsOf(pod, "DoNotSchedule", args, view);
      if (constraints.length === 0) return "skip";
      return { state: constraints.map((one) => hardState(pod, one, constraints, view)) };
    },
    filter(_pod, node, state) {
      for (const { constraint, counts, least, self } of state) {
        const value = node.labels[constraint.topologyKey];
        if (value === undefined) return rejectForGood(`${mismatch} (missing required label)`);
        if ((counts.get(value) ?? 0) + self - least > constraint.maxSkew) return reject(mismatch);
      }
      return undefined;
    },
    whatIf: {
      copy: (state) => state.map((one) => ({ ...one, counts: new Map(one.counts) })),
      change: changeHard,
    },
    preScore({ pod }, nodes, view) {
      const constraints = constraintsOf(pod, "ScheduleAnyway", args, view);
      if (constraints.length === 0) return "skip";
      const own = pod.spec.topologySpreadConstraints ?? [];
      const needsAll = own.length > 0 || !args.isSystemDefaulted;
      const lacks = (node: NodeInfo) =>
        needsAll && constraints.some((one) => node.labels[one.topologyKey] === undefined);
      const ignored = new Set(nodes.filter(lacks).map((node) => node.name));
      const soft = constraints.map((constraint): Soft => {
        const counts = new Map<string, number>();
        if (constraint.topologyKey !== hostname) {
          for (const node of nodes) {
            if (!ignored.has(node.name)) counts.set(node.labels[constraint.topologyKey] ?? "", 0);
          }
          for (const node of view.nodes) {
            const value = node.labels[constraint.topologyKey] ?? "";
            const count = counts.get(value);
            if (count === undefined || lacks(node) || !constraint.includes(node)) continue;
            counts.set(value, count + countOn(node, pod, constraint.selection));
          }
        }
        const hosts = nodes.length - ignored.size;
        const size = constraint.topologyKey === hostname ? hosts : counts.size;
        // Upstream: topologies with many values weigh more, since each holds fewer Pods.
        return { constraint, counts, weight: Math.log(size + 2) };
      });
      return { state: { soft, ignored } };
    },
    score({ pod }, node, { soft, ignored }) {
      if (ignored.has(node.name)) return 0;
      let score = 0;
      for (const { constraint, counts, weight } of soft) {
        const value = node.labels[constraint.topologyKey];
        if (value === undefined) continue;
        const count =
          constraint.topologyKey === hostname
            ? countOn(node, pod, constraint.selection)
            : (counts.get(value) ?? 0);
        score += count * weight + (constraint.maxSkew - 1);
      }
      return Math.round(score);
    },
    normalize(scores, nodes, { ignored }) {
      const counted = scores.filter((_, at) => !ignored.has(nodes[at]?.name ?? ""));
      const most = Math.max(0, ...counted);
      const least = Math.min(...counted);
      for (const [at, score] of scores.entries()) {
        if (ignored.has(nodes[at]?.name ?? "")) scores[at] = 0;
        else if (most === 0) scores[at] = scoreMax;
        else scores[at] = Math.trunc((scoreMax * (most + least - score)) / most);
      }
    },
    wakes: (pod, event) => wantsChange(pod, event, args),
  });
