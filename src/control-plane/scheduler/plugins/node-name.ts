/** NodeName: a Pod that names its node fits nowhere else. */
import { definePlugin, rejectForGood } from "../plugin.ts";

export const nodeName = definePlugin({
  name: "NodeName",
  filter({ pod }, node) {
    const wanted = pod.spec.nodeName ?? "";
    if (wanted === "" || wanted === node.name) return undefined;
    return rejectForGood("node(s) didn't match the requested node name");
  },
  wakes: (_pod, event) => event.on === "nodeAdded",
});
