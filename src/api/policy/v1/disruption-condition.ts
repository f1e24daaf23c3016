/** The condition by which a budget says whether it has anything left. Pure. */
import { setCondition } from "#machinery/conditions.ts";
import { formatTime } from "#machinery/time.ts";
import type * as g from "../../generated/policy/v1.ts";

type Status = g.PodDisruptionBudgetStatus;

export const disruptionAllowed = "DisruptionAllowed";
export const syncFailed = "SyncFailed";

export function withDisruptionCondition(status: Status, now: number, failure?: string): Status {
  const enough = failure === undefined && status.disruptionsAllowed > 0;
  const insufficient = failure === undefined ? "InsufficientPods" : syncFailed;
  const time = formatTime(now);
  const condition = {
    type: disruptionAllowed,
    status: enough ? "True" : "False",
    observedGeneration: status.observedGeneration ?? 0,
    reason: enough ? "SufficientPods" : insufficient,
    message: failure ?? "",
  };
  const old = (status.conditions ?? []).find((one) => one.type === disruptionAllowed);
  const lastTransitionTime = old?.status === condition.status ? old.lastTransitionTime : time;
  const next = { ...condition, lastTransitionTime };
  return { ...status, conditions: [...setCondition(status.conditions, next, time)] };
}
