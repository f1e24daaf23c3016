/** What a budget has left: Pods that are healthy against Pods that must be. Pure. */
import type { Pod } from "#api/core/v1/pod.ts";
import { isPodReady } from "#api/core/v1/pod-status.ts";
import type { PodDisruptionBudgetStatus } from "#api/generated/policy/v1.ts";
import { withDisruptionCondition } from "#api/policy/v1/disruption-condition.ts";
import type { PodDisruptionBudget } from "#api/policy/v1/poddisruptionbudget.ts";
import type { Stored } from "#machinery/meta.ts";
import { parseTime } from "#machinery/time.ts";
import { scaledValue } from "./deployment-rollout.ts";

/** So long an evicted Pod counts as gone, though it is still there. */
const deletionMsMax = 2 * 60_000;

/** Whether the number of Pods that there should be is needed. */
export const needsScale = ({ spec }: PodDisruptionBudget): boolean =>
  spec.maxUnavailable !== undefined || typeof spec.minAvailable === "string";

/** `expected`: how many Pods there should be, as those who manage them say. */
export function desiredHealthy({ spec }: PodDisruptionBudget, expected: number): number {
  const { maxUnavailable, minAvailable } = spec;
  if (maxUnavailable !== undefined) {
    return Math.max(0, expected - scaledValue(maxUnavailable, expected, true));
  }
  return minAvailable === undefined ? 0 : scaledValue(minAvailable, expected, true);
}

export interface BudgetPlan {
  readonly status: PodDisruptionBudgetStatus;
  /** Evicted, and still there when they should not be. */
  readonly overdue: readonly Stored<Pod>[];
  readonly againInMs: number;
}

export function planBudget(
  budget: Stored<PodDisruptionBudget>,
  pods: readonly Stored<Pod>[],
  expectedPods: number,
  now: number,
): BudgetPlan {
  const disruptedPods: Record<string, string> = {};
  const overdue: Stored<Pod>[] = [];
  let againInMs = Infinity;
  const staying = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  for (const pod of staying) {
    const since = budget.status.disruptedPods?.[pod.metadata.name];
    if (since === undefined) continue;
    const leftMs = (parseTime(since) ?? 0) + deletionMsMax - now;
    if (leftMs < 0) overdue.push(pod);
    else {
      disruptedPods[pod.metadata.name] = since;
      againInMs = Math.min(againInMs, leftMs + 1);
    }
  }
  const currentHealthy = staying.filter(
    (pod) => disruptedPods[pod.metadata.name] === undefined && isPodReady(pod),
  ).length;
  const desired = desiredHealthy(budget, expectedPods);
  const left = expectedPods <= 0 ? 0 : Math.max(0, currentHealthy - desired);
  const { conditions } = budget.status;
  const status = withDisruptionCondition(
    {
      observedGeneration: budget.metadata.generation ?? 0,
      ...(Object.keys(disruptedPods).length === 0 ? {} : { disruptedPods }),
      disruptionsAllowed: left,
      currentHealthy,
      desiredHealthy: desired,
      expectedPods,
      ...(conditions === undefined ? {} : { conditions }),
    },
    now,
  );
  return { status, overdue, againInMs };
}
