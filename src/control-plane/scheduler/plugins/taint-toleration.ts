/**
 * TaintToleration: keeps Pods off nodes whose taints they do not tolerate, and prefers nodes with
 * fewer soft ones.
 */

import type { Node } from "#api/core/v1/node.ts";
import { hasUntolerated, isTolerated } from "#api/core/v1/toleration.ts";
import type { Toleration } from "#api/generated/core/v1.ts";
import { equalObjects } from "#machinery/object.ts";
import { definePlugin, normalizeToMax, rejectForGood } from "../plugin.ts";
import type { PodInfo } from "../pod-info.ts";

const fits = (pod: PodInfo, node: Node): boolean =>
  !hasUntolerated(
    (node.spec.taints ?? []).filter((taint) => taint.effect !== "PreferNoSchedule"),
    pod.pod,
  );

export const taintToleration = definePlugin<undefined, readonly Toleration[]>({
  name: "TaintToleration",
  filter({ pod }, node) {
    if (node.hardTaints.length === 0 || !hasUntolerated(node.hardTaints, pod)) return undefined;
    return rejectForGood("node(s) had untolerated taint(s)");
  },
  preScore({ pod }) {
    const state = (pod.spec.tolerations ?? []).filter(
      ({ effect }) => !effect || effect === "PreferNoSchedule",
    );
    return { state };
  },
  score: (_pod, node, tolerations) =>
    node.softTaints.filter((taint) => !isTolerated(taint, tolerations)).length,
  normalize: (scores) => normalizeToMax(scores, true),
  wakes(pod, event) {
    if (event.on === "itselfUpdated") return true;
    if (event.on === "nodeAdded") return fits(pod, event.node);
    if (event.on !== "nodeUpdated") return false;
    if (equalObjects(event.old.spec.taints ?? [], event.node.spec.taints ?? [])) return false;
    return fits(pod, event.node);
  },
});
