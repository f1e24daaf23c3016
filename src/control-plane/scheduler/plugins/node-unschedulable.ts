/** NodeUnschedulable: a cordoned node takes only those who tolerate that. */
import { isTolerated } from "#api/core/v1/toleration.ts";
import { definePlugin, rejectForGood } from "../plugin.ts";

const taint = { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" } as const;

export const nodeUnschedulable = definePlugin({
  name: "NodeUnschedulable",
  filter({ pod }, node) {
    if (node.node?.spec.unschedulable !== true || isTolerated(taint, pod.spec.tolerations)) {
      return undefined;
    }
    return rejectForGood("node(s) were unschedulable");
  },
  wakes(pod, event) {
    if (event.on === "itselfUpdated") return isTolerated(taint, pod.pod.spec.tolerations);
    if (event.on === "nodeAdded") return event.node.spec.unschedulable !== true;
    if (event.on !== "nodeUpdated") return false;
    return event.old.spec.unschedulable === true && event.node.spec.unschedulable !== true;
  },
});
