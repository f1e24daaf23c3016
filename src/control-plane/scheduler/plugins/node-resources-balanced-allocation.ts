/**
 * NodeResourcesBalancedAllocation: prefers nodes on which the Pod evens out how much of each
 * resource is used.
 */
import { definePlugin } from "../plugin.ts";
import type { PodInfo } from "../pod-info.ts";
import { amountsOf, balancedAllocation, type WeighedResource } from "./resource-scores.ts";

export interface BalancedAllocationArgs {
  readonly resources: readonly WeighedResource[];
}

function asks({ requests }: PodInfo, { name }: WeighedResource): boolean {
  if (name === "cpu") return requests.milliCpu !== 0;
  if (name === "memory") return requests.memory !== 0;
  if (name === "ephemeral-storage") return requests.ephemeralStorage !== 0;
  return (requests.scalars.get(name) ?? 0) !== 0;
}

export const nodeResourcesBalancedAllocation = ({ resources }: BalancedAllocationArgs) =>
  definePlugin({
    name: "NodeResourcesBalancedAllocation",
    // A Pod that asks for nothing would draw all of its like to the same node.
    preScore: (pod) => (resources.some((one) => asks(pod, one)) ? { state: undefined } : "skip"),
    score: (pod, node) => balancedAllocation(amountsOf(pod, node, resources, false)),
  });
