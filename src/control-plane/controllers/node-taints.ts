/** Taints that the control plane puts on nodes, and how it puts them there. */
import { Node } from "#api/core/v1/node.ts";
import type { Taint, TaintEffect } from "#api/generated/core/v1.ts";
import type { Stored } from "#machinery/meta.ts";
import { formatTime } from "#machinery/time.ts";
import type { ReconcileContext } from "./controller.ts";

export const notReadyKey = "node.kubernetes.io/not-ready";
export const unreachableKey = "node.kubernetes.io/unreachable";
const unschedulableKey = "node.kubernetes.io/unschedulable";

/** By condition and its status. */
const conditionTaints: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Ready: { False: notReadyKey, Unknown: unreachableKey },
  MemoryPressure: { True: "node.kubernetes.io/memory-pressure" },
  DiskPressure: { True: "node.kubernetes.io/disk-pressure" },
  NetworkUnavailable: { True: "node.kubernetes.io/network-unavailable" },
  PIDPressure: { True: "node.kubernetes.io/pid-pressure" },
};
const managedKeys = new Set([
  unschedulableKey,
  ...Object.values(conditionTaints).flatMap((byStatus) => Object.values(byStatus)),
]);

/** Keys of the NoSchedule taints that a node's conditions and its cordon call for. */
export function noScheduleKeys(node: Node): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const { type, status } of node.status.conditions ?? []) {
    const key = conditionTaints[type]?.[status];
    if (key !== undefined) keys.add(key);
  }
  if (node.spec.unschedulable === true) keys.add(unschedulableKey);
  return keys;
}

export interface TaintChange {
  readonly add: readonly { readonly key: string; readonly effect: TaintEffect }[];
  readonly remove: readonly { readonly key: string; readonly effect: TaintEffect }[];
}

/** NoSchedule taints follow the conditions at once. */
export function planNoSchedule(node: Node): TaintChange {
  const wanted = noScheduleKeys(node);
  const present = (node.spec.taints ?? [])
    .filter((taint) => taint.effect === "NoSchedule" && managedKeys.has(taint.key))
    .map((taint) => taint.key);
  const effect = "NoSchedule" as const;
  return {
    add: [...wanted].filter((key) => !present.includes(key)).map((key) => ({ key, effect })),
    remove: present.filter((key) => !wanted.has(key)).map((key) => ({ key, effect })),
  };
}

export const hasTaint = (node: Node, key: string, effect: TaintEffect): boolean =>
  (node.spec.taints ?? []).some((taint) => taint.key === key && taint.effect === effect);

/** Writes a change if it changes anything. Gives the node as it is then. */
export async function changeTaints(
  node: Stored<Node>,
  change: TaintChange,
  { client, now }: ReconcileContext,
): Promise<Stored<Node>> {
  const is = (a: Pick<Taint, "key" | "effect">) => (b: Pick<Taint, "key" | "effect">) =>
    a.key === b.key && a.effect === b.effect;
  const old = node.spec.taints ?? [];
  const kept = old.filter((taint) => !change.remove.some(is(taint)));
  const added = change.add.filter((taint) => !kept.some(is(taint)));
  if (added.length === 0 && kept.length === old.length) return node;
  const timeAdded = formatTime(now);
  const fresh = added.map((taint) => ({ ...taint, timeAdded }));
  const taints = [...kept, ...fresh];
  return client.update(Node, { ...node, spec: { ...node.spec, taints } });
}
