/**
 * Node-pressure eviction, decided: whether the node is short of memory or disk, whom that costs his place first, and what is told
 * about it. Pure; the rules and the wording are upstream's.
 */
import { makeQuantity, quantityFromInteger } from "#machinery/quantity.ts";
import type { KubeletConfig } from "./config.ts";
import type { NodeFacts } from "./node-status.ts";
import type { NodePod } from "./pod-spec.ts";
import { amountOf, podRequests, qosClassOf } from "./resources.ts";

export type Starved = "memory" | "ephemeral-storage";
export interface Shortage {
  readonly resource: Starved;
  readonly condition: "MemoryPressure" | "DiskPressure";
  /** As the threshold says it, and what there is: for the message. */
  readonly threshold: string;
  readonly available: string;
}

const binary = (bytes: number): string =>
  quantityFromInteger(Math.floor(Math.max(0, bytes)), "BinarySI").text;
const count = (value: number): string => makeQuantity(BigInt(value) * 1_000_000_000n).text;

type Observed = Pick<NodeFacts, "disk" | "memoryAvailableBytes">;

/** Memory first: it is what kills at once. */
export function shortagesOf(
  { disk, memoryAvailableBytes }: Observed,
  config: KubeletConfig,
): Shortage[] {
  const found: Shortage[] = [];
  if (memoryAvailableBytes < config.memoryAvailableBytesMin) {
    found.push({
      resource: "memory",
      condition: "MemoryPressure",
      threshold: binary(config.memoryAvailableBytesMin),
      available: binary(memoryAvailableBytes),
    });
  }
  const bytesMin = disk.capacityBytes * config.diskAvailableShareMin;
  const inodesMin = Math.floor(disk.inodes * config.inodesFreeShareMin);
  const condition = "DiskPressure";
  const resource = "ephemeral-storage";
  if (disk.availableBytes < bytesMin) {
    const amounts = { threshold: binary(bytesMin), available: binary(disk.availableBytes) };
    found.push({ resource, condition, ...amounts });
  } else if (disk.inodes > 0 && disk.inodesFree < inodesMin) {
    const amounts = { threshold: count(inodesMin), available: count(disk.inodesFree) };
    found.push({ resource, condition, ...amounts });
  }
  return found;
}

export interface Candidate {
  readonly pod: NodePod;
  /** By container: memory in use, or disk. */
  readonly containers: ReadonlyMap<string, number>;
  /** What is the pod's as a whole: its volumes. */
  readonly otherBytes: number;
}

const systemCriticalPriority = 2_000_000_000;
/** Pods that the node needs more than its air. */
export const isCritical = ({ spec }: NodePod): boolean =>
  (spec.priority ?? 0) >= systemCriticalPriority;

const usageOf = ({ containers, otherBytes }: Candidate): number =>
  [...containers.values()].reduce((sum, bytes) => sum + bytes, otherBytes);

/** Those above their requests first; then the less important; then those furthest above. */
export function rankForEviction(candidates: readonly Candidate[], resource: Starved): Candidate[] {
  const excess = (one: Candidate): number =>
    usageOf(one) - (podRequests(one.pod).get(resource) ?? 0);
  const isAbove = (one: Candidate): number => (excess(one) > 0 ? 0 : 1);
  const priority = ({ pod }: Candidate): number => pod.spec.priority ?? 0;
  return candidates
    .filter(({ pod }) => !isCritical(pod))
    .toSorted(
      (a, b) => isAbove(a) - isAbove(b) || priority(a) - priority(b) || excess(b) - excess(a),
    );
}

/** Upstream: the sentences end with a space. */
export function evictionMessage({ pod, containers }: Candidate, shortage: Shortage): string {
  const { resource, threshold, available } = shortage;
  let message = `The node was low on resource: ${resource}. Threshold quantity: ${threshold}, available: ${available}. `;
  for (const { name, resources } of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]) {
    const used = containers.get(name);
    const request = resources?.requests?.[resource];
    if (used === undefined || used <= amountOf(resource, request)) continue;
    message += `Container ${name} was using ${binary(used)}, request is ${request ?? "0"}, has larger consumption of ${resource}. `;
  }
  return message;
}

/** Why a new pod may not come while the node is short; undefined: it may. */
export function pressureRefusal(
  pod: NodePod,
  conditions: readonly Shortage["condition"][],
): string | undefined {
  if (conditions.length === 0 || isCritical(pod)) return undefined;
  const onlyMemory = conditions.every((one) => one === "MemoryPressure");
  if (onlyMemory) {
    if (qosClassOf(pod) !== "BestEffort") return undefined;
    const tolerated = (pod.spec.tolerations ?? []).some(
      ({ key = "", operator = "Equal", effect = "" }) =>
        (key === "node.kubernetes.io/memory-pressure" || (key === "" && operator === "Exists")) &&
        (effect === "" || effect === "NoSchedule"),
    );
    if (tolerated) return undefined;
  }
  return `The node had condition: [${conditions.join(" ")}]. `;
}

/** Volumes on disk that have a limit of their own. */
export const limitedVolumes = (pod: NodePod): readonly { name: string; limit: string }[] =>
  (pod.spec.volumes ?? []).flatMap(({ name, emptyDir }) => {
    const limit = emptyDir?.sizeLimit;
    const isOnDisk = emptyDir !== undefined && (emptyDir.medium ?? "") === "";
    return isOnDisk && limit !== undefined && amountOf("", limit) > 0 ? [{ name, limit }] : [];
  });

export const volumeLimitMessage = (name: string, limit: string): string =>
  `Usage of EmptyDir volume ${JSON.stringify(name)} exceeds the limit ${JSON.stringify(limit)}. `;
