/**
 * SchedulingGates: a Pod with gates is not scheduled before whoever put them there has taken the
 * last away.
 */
import { definePlugin, rejectForGood } from "../plugin.ts";

export const schedulingGates = definePlugin({
  name: "SchedulingGates",
  preEnqueue(pod) {
    const gates = (pod.spec.schedulingGates ?? []).map((gate) => gate.name);
    if (gates.length === 0) return undefined;
    return rejectForGood(`waiting for scheduling gates: [${gates.join(" ")}]`);
  },
  wakes: (pod, event) =>
    event.on === "itselfUpdated" && (pod.pod.spec.schedulingGates ?? []).length === 0,
});
