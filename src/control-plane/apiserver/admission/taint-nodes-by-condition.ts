/** TaintNodesByCondition: a new node takes no pods until the node controller has seen it ready. */
import type { Node } from "#api/generated/core/v1.ts";
import { type AdmissionPlugin, isAbout } from "./admission.ts";

const key = "node.kubernetes.io/not-ready";

export const taintNodesByCondition: AdmissionPlugin = {
  name: "TaintNodesByCondition",
  handles: (request) => request.operation === "CREATE" && isAbout(request, "", "nodes"),
  admit({ object }) {
    const { spec } = object as Node;
    const present = spec.taints ?? [];
    if (present.some((taint) => taint.key === key && taint.effect === "NoSchedule")) return;
    spec.taints = [...present, { key, effect: "NoSchedule" }];
  },
};
