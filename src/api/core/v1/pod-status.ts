/** What a Pod's status means to those who look at it. Pure. */
import { findCondition } from "#machinery/conditions.ts";
import type { Pod, PodCondition } from "../../generated/core/v1.ts";

export const podCondition = (pod: Pod, type: string): PodCondition | undefined =>
  findCondition(pod.status?.conditions, type);

export const isPodReady = (pod: Pod): boolean => podCondition(pod, "Ready")?.status === "True";

export const isPhaseTerminal = (phase: string | undefined): boolean =>
  phase === "Succeeded" || phase === "Failed";
export const isPodTerminal = (pod: Pod): boolean => isPhaseTerminal(pod.status?.phase);

/** Bound to a node. */
export const isPodScheduled = (pod: Pod): boolean => (pod.spec.nodeName ?? "") !== "";
