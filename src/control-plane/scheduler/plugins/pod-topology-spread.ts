/**
 * PodTopologySpread: spreads like Pods over zones, hosts or any other label of nodes: as
 * constraints of the Pod demand, and, without any, softly by the Services and the controller that
 * it belongs to.
 */

import { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import { requiredNode } from "#api/core/v1/node-selector.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { Service } from "#api/core/v1/service.ts";
import { hasUntolerated } from "#api/core/v1/toleration.ts";
import type { TopologySpreadConstraint } from "#api/generated/core/v1.ts";
import { namespaceIndex } from "#client/cache.ts";
import { controllerOf } from "#machinery/meta.ts";
import {
  compileLabelMap,
  compileLabelSelector,
  compileRequirements,
  type LabelMatcher,
} from "#machinery/selector.ts";
import type { NodeInfo } from "../node-info.ts";
import { definePlugin, reject, rejectForGood, type SchedulerView, scoreMax } from "../plugin.ts";

const hostname = "kubernetes.io/hostname";
const mismatch = "node(s) didn't match pod topology spread constraints";

/** A selector and its name: equal names select the same Pods, the namespace included. */
interface Selection {
  readonly name: string;
  readonly selects: LabelMatcher;
}
interface Constraint {
  readonly topologyKey: string;
  readonly maxSkew: number;
  readonly minDomains: number;
  readonly selection: Selection;
  /** Whether a node's Pods count. */
  readonly includes: (node: NodeInfo) => boolean;
}

/** Upstream's constraints for Pods that bring none. */
const defaults: readonly TopologySpreadConstraint[] = [
  { topologyKey: hostname, whenUnsatisfiable: "ScheduleAnyway", maxSkew: 3 },
  { topologyKey: "topology.kubernetes.io/zone", whenUnsatisfiable: "ScheduleAnyway", maxSkew: 5 },
];

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
  };
}

const constraintsOf = (pod: Pod, action: "DoNotSchedule" | "ScheduleAnyway"): Constraint[] =>
  (pod.spec.topologySpreadConstraints ?? [])
    .filter((one) => one.whenUnsatisfiable === action)
    .map((one) => compile(pod, one, selectionOf(pod, one)));

/** Pods of the same Services and the same controller. Undefined: it belongs to none. */
function kinship(pod: Pod, view: SchedulerView): Selection | undefined {
  const { namespace = "", labels } = pod.metadata;
  const selectors: LabelMatcher[] = [];
  const names: string[] = [];
  for (const service of view.cache(Service).byIndex(namespaceIndex, namespace)) {
    const selects = compileLabelMap(service.spec.selector);
    if (!selects(labels)) continue;
    selectors.push(selects);
    names.push(JSON.stringify(service.spec.selector));
  }
  const owner = controllerOf(pod);
  if (owner?.kind === "ReplicaSet") {
    const replicaSet = view.cache(ReplicaSet).get(`${namespace}/${owner.name}`);
    if (replicaSet?.metadata.uid === owner.uid) {
      selectors.push(compileLabelSelector(replicaSet.spec.selector));
      names.push(JSON.stringify(replicaSet.spec.selector));
    }
  }
  if (selectors.length === 0) return undefined;
  const selects: LabelMatcher = (other) => selectors.every((one) => one(other));
  return { name: `${namespace} ${names.join(" ")}`, selects };
}

const countOn = (node: NodeInfo, pod: Pod, { name, selects }: Selection): number =>
  node.countMatching(name, pod.metadata.namespace ?? "", selects);

interface Hard {
  readonly constraint: Constraint;
  readonly counts: ReadonlyMap<string, number>;
  readonly least: number;
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
  const enough = counts.size >= constraint.minDomains;
  const least = enough && counts.size > 0 ? Math.min(...counts.values()) : 0;
  return {
    constraint,
    counts,
    least,
    self: constraint.selection.selects(pod.metadata.labels) ? 1 : 0,
  };
}

export const podTopologySpread = definePlugin<readonly Hard[], SoftState>({
  name: "PodTopologySpread",
  preFilter({ pod }, view) {
    const constraints = constraintsOf(pod, "DoNotSchedule");
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
  preScore({ pod }, nodes, view) {
    const own = (pod.spec.topologySpreadConstraints ?? []).length > 0;
    let constraints = constraintsOf(pod, "ScheduleAnyway");
    if (!own) {
      const kin = kinship(pod, view);
      if (kin === undefined) return "skip";
      constraints = defaults.map((one) => compile(pod, one, kin));
    }
    if (constraints.length === 0) return "skip";
    const lacks = (node: NodeInfo) =>
      own && constraints.some((one) => node.labels[one.topologyKey] === undefined);
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
  wakes({ pod }, event) {
    if (event.on === "itselfUpdated" || event.on === "nodeAdded") return true;
    if (event.on === "nodeUpdated") return event.node.metadata.labels !== event.old.metadata.labels;
    if (event.on === "storageChanged") return false;
    const other = event.on === "podRemoved" ? event.old : event.pod;
    return other.metadata.namespace === pod.metadata.namespace;
  },
});
