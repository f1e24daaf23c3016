/**
 * NodeResourcesFit: requests must fit beside those of the Pods that are there; prefers the emptier
 * node.
 */
import type { Node } from "#api/core/v1/node.ts";
import type { Pod } from "#api/core/v1/pod.ts";
import { equalObjects } from "#machinery/object.ts";
import { toWhole } from "#machinery/quantity.ts";
import { definePlugin } from "../plugin.ts";
import { addList, noResources, type PodInfo, podInfoOf } from "../pod-info.ts";
import {
  amountsOf,
  leastAllocated,
  mostAllocated,
  type ResourceScore,
  requestedToCapacityRatio,
  type ShapePoint,
  type WeighedResource,
} from "./resource-scores.ts";

export interface NodeResourcesFitArgs {
  /** Extended resources that are not looked at, by name and by what stands before the slash. */
  readonly ignoredResources: readonly string[];
  readonly ignoredResourceGroups: readonly string[];
  readonly scoringStrategy: {
    readonly type: "LeastAllocated" | "MostAllocated" | "RequestedToCapacityRatio";
    readonly resources: readonly WeighedResource[];
    /** Of RequestedToCapacityRatio. */
    readonly shape: readonly ShapePoint[];
  };
}

function scoreOf({ scoringStrategy: { type, shape } }: NodeResourcesFitArgs): ResourceScore {
  if (type === "MostAllocated") return mostAllocated;
  return type === "LeastAllocated" ? leastAllocated : requestedToCapacityRatio(shape);
}

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

const isIgnored = (name: string, args: NodeResourcesFitArgs): boolean =>
  args.ignoredResources.includes(name) ||
  (name.includes("/") && args.ignoredResourceGroups.includes(name.split("/")[0] ?? ""));

export function nodeResourcesFit(args: NodeResourcesFitArgs) {
  const scoreResources = scoreOf(args);
  const { resources } = args.scoringStrategy;
  return definePlugin({
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
        if (isIgnored(name, args)) continue;
        const total = allocatable.scalars.get(name) ?? 0;
        check(name, wanted, requested.scalars.get(name) ?? 0, total);
      }
      return reasons.length === 0 ? undefined : { rejected: true, reasons, unresolvable };
    },
    score: (pod, node) => scoreResources(amountsOf(pod, node, resources, true)),
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
          if (equalObjects(event.node.status.allocatable, event.old.status.allocatable))
            return false;
          return fitsEmpty(pod, event.node);
        default:
          return false;
      }
    },
  });
}
