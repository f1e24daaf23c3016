/**
 * NodeResourcesFit: requests must fit beside those of the Pods that are there; prefers the emptier
 * node.
 */
import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { equalObjects } from "#machinery/object.ts";
import { toWhole } from "#machinery/quantity.ts";
import { definePlugin, scoreMax } from "../plugin.ts";
import { addList, noResources, type PodInfo, podInfoOf } from "../pod-info.ts";

/** On an otherwise empty node. */
function fitsEmpty(pod: PodInfo, node: Node): boolean {
  const { allocatable } = node.status;
  const free = addList(noResources(), allocatable);
  const { requests } = pod;
  return (
    toWhole(allocatable?.["pods"] ?? "0") > 0 &&
    requests.milliCpu <= free.milliCpu &&
    requests.memory <= free.memory &&
    requests.ephemeralStorage <= free.ephemeralStorage &&
    [...requests.scalars].every(([name, amount]) => amount <= (free.scalars.get(name) ?? 0))
  );
}

/** A Pod that uses less than before made room. */
function shrank(pod: Pod, old: Pod): boolean {
  if (equalObjects(pod.spec.containers, old.spec.containers)) {
    if (equalObjects(pod.status.containerStatuses, old.status.containerStatuses)) return false;
  }
  const now = podInfoOf(pod as Parameters<typeof podInfoOf>[0]).requests;
  const before = podInfoOf(old as Parameters<typeof podInfoOf>[0]).requests;
  return now.milliCpu < before.milliCpu || now.memory < before.memory;
}

const share = (used: number, total: number): number =>
  total === 0 || used > total ? 0 : Math.floor(((total - used) * scoreMax) / total);

export const nodeResourcesFit = definePlugin({
  name: "NodeResourcesFit",
  filter(pod, node) {
    const reasons: string[] = [];
    let unresolvable = false;
    const { requests } = pod;
    const check = (name: string, wanted: number, used: number, total: number) => {
      if (wanted === 0 || wanted <= total - used) return;
      reasons.push(`Insufficient ${name}`);
      unresolvable ||= wanted > total;
    };
    if (node.pods.size + 1 > node.podsMax) reasons.push("Too many pods");
    const { allocatable, requested } = node;
    check("cpu", requests.milliCpu, requested.milliCpu, allocatable.milliCpu);
    check("memory", requests.memory, requested.memory, allocatable.memory);
    check(
      "ephemeral-storage",
      requests.ephemeralStorage,
      requested.ephemeralStorage,
      allocatable.ephemeralStorage,
    );
    for (const [name, wanted] of requests.scalars) {
      const total = allocatable.scalars.get(name) ?? 0;
      check(name, wanted, requested.scalars.get(name) ?? 0, total);
    }
    return reasons.length === 0 ? undefined : { rejected: true, reasons, unresolvable };
  },
  score(pod, node) {
    const { milliCpu, memory } = node.allocatable;
    const scores: number[] = [];
    if (milliCpu > 0) scores.push(share(node.likelyMilliCpu + pod.likelyMilliCpu, milliCpu));
    if (memory > 0) scores.push(share(node.likelyMemory + pod.likelyMemory, memory));
    if (scores.length === 0) return 0;
    return Math.floor(scores.reduce((sum, score) => sum + score, 0) / scores.length);
  },
  wakes(pod, event) {
    switch (event.on) {
      case "podRemoved":
      case "itselfUpdated":
        return true;
      case "podUpdated":
        return shrank(event.pod, event.old);
      case "nodeAdded":
        return fitsEmpty(pod, event.node);
      case "nodeUpdated":
        if (equalObjects(event.node.status.allocatable, event.old.status.allocatable)) return false;
        return fitsEmpty(pod, event.node);
      default:
        return false;
    }
  },
});
