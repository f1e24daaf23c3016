/**
 * NodeResourcesBalancedAllocation: prefers nodes on which the Pod evens out how much of each
 * resource is used.
 */
import type { NodeInfo } from "../node-info.ts";
import { definePlugin, scoreMax } from "../plugin.ts";

function balance(node: NodeInfo, milliCpu: number, memory: number): number {
  const { allocatable } = node;
  if (allocatable.milliCpu === 0 || allocatable.memory === 0) return scoreMax;
  const cpuShare = Math.min(1, milliCpu / allocatable.milliCpu);
  const memoryShare = Math.min(1, memory / allocatable.memory);
  return Math.trunc((1 - Math.abs(cpuShare - memoryShare) / 2) * scoreMax);
}

export const nodeResourcesBalancedAllocation = definePlugin({
  name: "NodeResourcesBalancedAllocation",
  preScore: ({ requests }) =>
    requests.milliCpu === 0 && requests.memory === 0 ? "skip" : { state: undefined },
  score({ requests }, node) {
    const { milliCpu, memory } = node.requested;
    const after = balance(node, milliCpu + requests.milliCpu, memory + requests.memory);
    const before = balance(node, milliCpu, memory);
    return scoreMax / 2 + Math.trunc((scoreMax / 2 + after - before) / 2);
  },
});
