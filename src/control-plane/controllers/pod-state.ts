/** What a Pod's status means to those who count Pods: active, available. Pure. */
import type { Pod } from "#api/core/v1/pod.ts";
import { isPodTerminal, podCondition } from "#api/core/v1/pod-status.ts";
import { parseTime } from "#machinery/time.ts";

/** Neither ended nor on its way out. */
export const isActive = (pod: Pod): boolean =>
  !isPodTerminal(pod) && pod.metadata.deletionTimestamp === undefined;

/** On its way out, and not yet ended. */
export const isTerminating = (pod: Pod): boolean =>
  !isPodTerminal(pod) && pod.metadata.deletionTimestamp !== undefined;

/** Since when it is ready, in milliseconds; undefined if it is not. */
export function readySince(pod: Pod): number | undefined {
  const condition = podCondition(pod, "Ready");
  if (condition?.status !== "True") return undefined;
  return parseTime(condition.lastTransitionTime ?? "") ?? 0;
}

/** Milliseconds until it counts as available, 0 if it does, Infinity while it is not ready. */
export function availableInMs(pod: Pod, minReadySeconds: number, now: number): number {
  const since = readySince(pod);
  if (since === undefined) return Infinity;
  if (minReadySeconds === 0) return 0;
  return Math.max(0, since + minReadySeconds * 1000 - now);
}
