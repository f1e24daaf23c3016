/**
 * Which nodes a DaemonSet wants a Pod on, which Pods it creates and deletes there, and how it
 * moves them to a new template. Pure.
 */
import { type DaemonSet, templateGenerationOf } from "#api/apps/v1/daemonset.ts";
import type { Node } from "#api/core/v1/node.ts";
import { type NodeMatcher, requiredNode } from "#api/core/v1/node-selector.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { isPodReady, isPodTerminal } from "#api/core/v1/pod-status.ts";
import { isTolerated } from "#api/core/v1/toleration.ts";
import type { DaemonSetStatus } from "#api/generated/apps/v1.ts";
import type { Affinity, PodTemplateSpec, Toleration } from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import { compareUtf8, equalObjects } from "#machinery/object.ts";
import { revisionHashLabel } from "./controller-history.ts";
import { scaledValue } from "./deployment-rollout.ts";
import { availableInMs } from "./pod-state.ts";

/** Upstream: the label by which Pods of the retired versions told their template. */
const templateGenerationLabel = "pod-template-generation";

const exists = (key: string, effect: "NoExecute" | "NoSchedule"): Toleration => ({
  key,
  operator: "Exists",
  effect,
});
/** Pods of a DaemonSet stay where others would go: the node's troubles are what they are for. */
const daemonTolerations: readonly Toleration[] = [
  exists("node.kubernetes.io/not-ready", "NoExecute"),
  exists("node.kubernetes.io/unreachable", "NoExecute"),
  exists("node.kubernetes.io/disk-pressure", "NoSchedule"),
  exists("node.kubernetes.io/memory-pressure", "NoSchedule"),
  exists("node.kubernetes.io/pid-pressure", "NoSchedule"),
  exists("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const hostNetworkToleration = exists("node.kubernetes.io/network-unavailable", "NoSchedule");

function tolerationsOf({ spec }: PodTemplateSpec): readonly Toleration[] {
  const list = [...(spec.tolerations ?? [])];
  const wanted = spec.hostNetwork === true ? [hostNetworkToleration] : [];
  for (const toleration of [...daemonTolerations, ...wanted]) {
    const at = list.findIndex(
      (one) =>
        one.key === toleration.key &&
        one.effect === toleration.effect &&
        (one.operator || "Equal") === toleration.operator &&
        (one.value ?? "") === "",
    );
    if (at >= 0) list[at] = toleration;
    else list.push(toleration);
  }
  return list;
}

/** The template with all that makes it one of this DaemonSet, but the node. */
export function daemonTemplate(set: DaemonSet, hash: string): PodTemplateSpec {
  const { template } = set.spec;
  const generation = templateGenerationOf(set);
  const labels = {
    ...template.metadata?.labels,
    ...(generation === 0 ? {} : { [templateGenerationLabel]: String(generation) }),
    ...(hash === "" ? {} : { [revisionHashLabel]: hash }),
  };
  return {
    ...template,
    metadata: { ...template.metadata, labels },
    spec: { ...template.spec, tolerations: [...tolerationsOf(template)] },
  };
}

/** The scheduler binds it, and to no other node. */
export function pinnedTo(affinity: Affinity | undefined, node: string): Affinity {
  const field = { key: "metadata.name", operator: "In" as const, values: [node] };
  return {
    ...affinity,
    nodeAffinity: {
      ...affinity?.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchFields: [field] }],
      },
    },
  };
}

/** Where it runs or is pinned to. */
export function targetNode(pod: Pod): string | undefined {
  if (pod.spec.nodeName) return pod.spec.nodeName;
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const { matchFields = [] } of required?.nodeSelectorTerms ?? []) {
    const field = matchFields.find((one) => one.key === "metadata.name" && one.operator === "In");
    if (field !== undefined) return field.values?.length === 1 ? field.values[0] : undefined;
  }
  return undefined;
}

export interface Placement {
  /** A Pod is wanted there. */
  readonly starts: boolean;
  /** One that is there may stay. */
  readonly stays: boolean;
}

/** Judges nodes for a DaemonSet. */
export function placements({ spec }: DaemonSet): (node: Node) => Placement {
  const { template } = spec;
  const tolerations = tolerationsOf(template);
  const fits: NodeMatcher = requiredNode(template);
  const only = template.spec.nodeName ?? "";
  return ({ metadata: { name = "", labels }, spec: { taints = [] } }) => {
    if ((only !== "" && only !== name) || !fits(name, labels)) {
      return { starts: false, stays: false };
    }
    const hostile = taints.filter((taint) => !isTolerated(taint, tolerations));
    return {
      starts: !hostile.some(({ effect }) => effect === "NoExecute" || effect === "NoSchedule"),
      stays: !hostile.some(({ effect }) => effect === "NoExecute"),
    };
  };
}

/** Whether a node's change can matter to any DaemonSet. */
export const matters = (node: Node, old: Node): boolean =>
  !equalObjects(node.metadata.labels ?? {}, old.metadata.labels ?? {}) ||
  !equalObjects(node.spec.taints ?? [], old.spec.taints ?? []);

export interface DaemonView {
  readonly set: Stored<DaemonSet>;
  readonly nodes: readonly Stored<Node>[];
  readonly pods: readonly Stored<Pod>[];
  /** Of the current template. */
  readonly hash: string;
  readonly now: number;
  /** Milliseconds for which a failed Pod of this node is still left; 0: now. Asked once a Pod. */
  readonly backOffMs: (node: string) => number;
}

export interface DaemonPlan {
  /** Names of nodes. */
  readonly create: readonly string[];
  readonly remove: readonly Stored<Pod>[];
  readonly events: readonly {
    readonly type: "Normal" | "Warning";
    readonly reason: string;
    readonly message: string;
  }[];
  readonly againInMs: number;
}

type ByNode = ReadonlyMap<string, readonly Stored<Pod>[]>;

/** Pods by their node; those that ended and are on their way out count no more. */
function podsByNode({ pods }: DaemonView): ByNode {
  const map = new Map<string, Stored<Pod>[]>();
  for (const pod of pods) {
    if (isPodTerminal(pod) && pod.metadata.deletionTimestamp !== undefined) continue;
    const node = targetNode(pod);
    if (node === undefined) continue;
    const list = map.get(node);
    if (list === undefined) map.set(node, [pod]);
    else list.push(pod);
  }
  return map;
}

const isLeaving = (pod: Pod): boolean => pod.metadata.deletionTimestamp !== undefined;
const byAge = (a: Stored<Pod>, b: Stored<Pod>): number =>
  Number(!a.spec.nodeName) - Number(!b.spec.nodeName) ||
  compareUtf8(a.metadata.creationTimestamp, b.metadata.creationTimestamp) ||
  compareUtf8(a.metadata.name, b.metadata.name);

function isUpdated({ set, hash }: DaemonView, { metadata: { labels = {} } }: Pod): boolean {
  const generation = templateGenerationOf(set);
  return (
    (hash !== "" && labels[revisionHashLabel] === hash) ||
    (generation !== 0 && labels[templateGenerationLabel] === String(generation))
  );
}
const isAvailable = ({ set, now }: DaemonView, pod: Pod): boolean =>
  availableInMs(pod, set.spec.minReadySeconds ?? 0, now) === 0;

function countOf(set: DaemonSet, which: "maxSurge" | "maxUnavailable", total: number): number {
  const { type, rollingUpdate } = set.spec.updateStrategy;
  if (type !== "RollingUpdate") return 0;
  return scaledValue(rollingUpdate?.[which] ?? 0, total, true);
}

/** Draft of a plan, filled node by node. */
interface Draft {
  readonly create: string[];
  readonly remove: Stored<Pod>[];
  readonly events: DaemonPlan["events"][number][];
  againInMs: number;
}

/** Takes out what ended; gives the Pods that run or will. */
function weedEnded(view: DaemonView, node: string, pods: readonly Stored<Pod>[], draft: Draft) {
  return pods.filter((pod) => {
    if (isLeaving(pod)) return false;
    const { phase } = pod.status;
    if (phase !== "Failed" && phase !== "Succeeded") return true;
    const where = `daemon pod ${pod.metadata.namespace}/${pod.metadata.name} on node ${node}`;
    if (phase === "Succeeded") {
      const message = `Found succeeded ${where}, will try to delete it`;
      draft.events.push({ type: "Normal", reason: "SucceededDaemonPod", message });
    } else {
      const waitMs = view.backOffMs(node);
      if (waitMs > 0) {
        draft.againInMs = Math.min(draft.againInMs, waitMs);
        return false;
      }
      const message = `Found failed ${where}, will try to kill it`;
      draft.events.push({ type: "Warning", reason: "FailedDaemonPod", message });
    }
    draft.remove.push(pod);
    return false;
  });
}

/** With a surge there may be two: one old, one new, until the new one can take over. */
function settleSurge(view: DaemonView, running: readonly Stored<Pod>[], draft: Draft): void {
  let fresh: Stored<Pod> | undefined;
  let old: Stored<Pod> | undefined;
  for (const pod of [...running].sort(byAge)) {
    const isNew = pod.metadata.labels?.[revisionHashLabel] === view.hash;
    if (isNew && fresh === undefined) fresh = pod;
    else if (!isNew && old === undefined) old = pod;
    else draft.remove.push(pod);
  }
  if (fresh === undefined || old === undefined) return;
  if (!isPodReady(old) || isAvailable(view, fresh)) draft.remove.push(old);
}

/** One Pod on every node that wants one, none elsewhere. */
export function planPlacement(view: DaemonView): DaemonPlan {
  const { set, nodes } = view;
  const judge = placements(set);
  const byNode = podsByNode(view);
  const surges = countOf(set, "maxSurge", 1) > 0;
  const draft: Draft = { create: [], remove: [], events: [], againInMs: Infinity };
  for (const node of nodes) {
    const { name } = node.metadata;
    const { starts, stays } = judge(node);
    const pods = byNode.get(name);
    if (pods === undefined) {
      if (starts) draft.create.push(name);
    } else if (!stays) draft.remove.push(...pods.filter((pod) => !isLeaving(pod)));
    else {
      const running = weedEnded(view, name, pods, draft);
      if (!surges) draft.remove.push(...[...running].sort(byAge).slice(1));
      else if (running.length > 1) settleSurge(view, running, draft);
      else if (running.length === 0 && starts) draft.create.push(name);
    }
  }
  const known = new Set(nodes.map((node) => node.metadata.name));
  for (const [node, pods] of byNode) {
    if (!known.has(node)) draft.remove.push(...pods.filter((pod) => !pod.spec.nodeName));
  }
  return draft;
}

/** The old and the new Pod of a node; undefined: more than that, which is settled first. */
function pairOn(view: DaemonView, pods: readonly Stored<Pod>[]) {
  const staying = pods.filter((pod) => !isLeaving(pod));
  const fresh = staying.filter((pod) => isUpdated(view, pod));
  const old = staying.filter((pod) => !isUpdated(view, pod));
  if (fresh.length > 1 || old.length > 1) return undefined;
  return { fresh: fresh[0], old: old[0] };
}

/** Replaces old Pods by new ones, in the bounds of the strategy. */
export function planRollingUpdate(view: DaemonView): Pick<DaemonPlan, "create" | "remove"> {
  const { set, nodes } = view;
  if (set.spec.updateStrategy.type !== "RollingUpdate") return { create: [], remove: [] };
  const judge = placements(set);
  const wanted = new Set(
    nodes.filter((node) => judge(node).starts).map((one) => one.metadata.name),
  );
  const byNode = new Map(podsByNode(view));
  for (const name of wanted) if (!byNode.has(name)) byNode.set(name, []);
  const surge = countOf(set, "maxSurge", wanted.size);
  const unavailable = countOf(set, "maxUnavailable", wanted.size);
  if (surge === 0) return replaceInPlace(view, byNode, Math.max(1, unavailable));
  return replaceWithSurge(view, byNode, wanted, surge);
}

function replaceInPlace(view: DaemonView, byNode: ByNode, most: number) {
  const broken: Stored<Pod>[] = [];
  const candidates: Stored<Pod>[] = [];
  let unavailable = 0;
  for (const pods of byNode.values()) {
    const pair = pairOn(view, pods);
    const { fresh, old } = pair ?? {};
    if (fresh === undefined && old !== undefined) {
      if (isAvailable(view, old)) candidates.push(old);
      else {
        broken.push(old);
        unavailable += 1;
      }
    } else if (fresh === undefined || old !== undefined || !isAvailable(view, fresh)) {
      unavailable += 1;
    }
  }
  const room = Math.max(0, most - unavailable);
  return { create: [], remove: [...broken, ...candidates.slice(0, room)] };
}

function replaceWithSurge(
  view: DaemonView,
  byNode: ByNode,
  wanted: ReadonlySet<string>,
  surge: number,
) {
  const remove: Stored<Pod>[] = [];
  const misplaced: Stored<Pod>[] = [];
  const create: string[] = [];
  const candidates: string[] = [];
  let surging = 0;
  let available = 0;
  for (const [node, pods] of byNode) {
    const pair = pairOn(view, pods);
    if (pair === undefined) {
      surging += 1;
      continue;
    }
    const { fresh, old } = pair;
    const counted = old ?? fresh;
    if (counted !== undefined && isAvailable(view, counted)) available += 1;
    if (old === undefined) continue;
    if (fresh !== undefined) {
      if (isAvailable(view, fresh)) remove.push(old);
      else surging += 1;
    } else if (!isAvailable(view, old)) {
      if (wanted.has(node)) create.push(node);
      else remove.push(old);
    } else if (wanted.has(node)) candidates.push(node);
    else misplaced.push(old);
  }
  // Where it should not run any more it runs on until another took its place.
  remove.push(...misplaced.slice(0, Math.max(0, available - wanted.size)));
  create.push(...candidates.slice(0, Math.max(0, surge - surging)));
  return { create, remove };
}

export function daemonStatus(view: DaemonView): DaemonSetStatus {
  const { set, nodes } = view;
  const judge = placements(set);
  const byNode = podsByNode(view);
  const counts = { desired: 0, current: 0, misscheduled: 0, ready: 0, updated: 0, available: 0 };
  for (const node of nodes) {
    const [pod] = [...(byNode.get(node.metadata.name) ?? [])].sort(byAge);
    if (!judge(node).starts) {
      counts.misscheduled += Number(pod !== undefined);
      continue;
    }
    counts.desired += 1;
    if (pod === undefined) continue;
    counts.current += 1;
    counts.ready += Number(isPodReady(pod));
    counts.available += Number(isPodReady(pod) && isAvailable(view, pod));
    counts.updated += Number(isUpdated(view, pod));
  }
  return {
    ...set.status,
    observedGeneration: set.metadata.generation ?? 0,
    desiredNumberScheduled: counts.desired,
    currentNumberScheduled: counts.current,
    numberMisscheduled: counts.misscheduled,
    numberReady: counts.ready,
    updatedNumberScheduled: counts.updated,
    numberAvailable: counts.available,
    numberUnavailable: counts.desired - counts.available,
  };
}
