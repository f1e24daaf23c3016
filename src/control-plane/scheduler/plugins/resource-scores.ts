/** How well a node's resources suit a Pod: what is asked of each resource that counts, and upstream's ways to score it. Pure. */
import type { NodeInfo } from "../node-info.ts";
import { scoreMax } from "../plugin.ts";
import type { PodInfo } from "../pod-info.ts";

export interface WeighedResource {
  readonly name: string;
  readonly weight: number;
}
/** A resource of a node: how much there is, is given away, and the Pod asks for. */
interface Amount {
  readonly total: number;
  readonly used: number;
  readonly wanted: number;
  readonly weight: number;
}

/** `likely`: a container without requests counts as what it is taken to use. Asked for each node and Pod: no more objects than needed. */
export function amountsOf(
  pod: PodInfo,
  node: NodeInfo,
  resources: readonly WeighedResource[],
  likely: boolean,
): Amount[] {
  const { requests } = pod;
  const { allocatable, requested } = node;
  const amounts: Amount[] = [];
  for (const { name, weight } of resources) {
    if (name === "cpu") {
      const used = likely ? node.likelyMilliCpu : requested.milliCpu;
      const wanted = likely ? pod.likelyMilliCpu : requests.milliCpu;
      if (allocatable.milliCpu > 0)
        amounts.push({ total: allocatable.milliCpu, used, wanted, weight });
    } else if (name === "memory") {
      const used = likely ? node.likelyMemory : requested.memory;
      const wanted = likely ? pod.likelyMemory : requests.memory;
      if (allocatable.memory > 0) amounts.push({ total: allocatable.memory, used, wanted, weight });
    } else if (name === "ephemeral-storage") {
      const total = allocatable.ephemeralStorage;
      const wanted = requests.ephemeralStorage;
      if (total > 0) amounts.push({ total, used: requested.ephemeralStorage, wanted, weight });
    } else {
      const wanted = requests.scalars.get(name) ?? 0;
      const total = allocatable.scalars.get(name) ?? 0;
      // Others' extended resources are nothing to a Pod that asks for none.
      if (wanted === 0 || total === 0) continue;
      amounts.push({ total, used: requested.scalars.get(name) ?? 0, wanted, weight });
    }
  }
  return amounts;
}

export type ResourceScore = (amounts: readonly Amount[]) => number;

const weighted =
  (score: (asked: number, total: number) => number): ResourceScore =>
  (amounts) => {
    let sum = 0;
    let weights = 0;
    for (const { used, wanted, total, weight } of amounts) {
      sum += score(used + wanted, total) * weight;
      weights += weight;
    }
    return weights === 0 ? 0 : Math.trunc(sum / weights);
  };

/** The emptier the better. */
export const leastAllocated = weighted((asked, total) =>
  asked > total ? 0 : Math.trunc(((total - asked) * scoreMax) / total),
);
/** The fuller the better. */
export const mostAllocated = weighted((asked, total) =>
  Math.trunc((Math.min(asked, total) * scoreMax) / total),
);

export interface ShapePoint {
  /** 0 … 100 percent in use. */
  readonly utilization: number;
  /** 0 … 10. */
  readonly score: number;
}
const shapeScoreMax = 10;

/** Straight lines between the points, level beyond them. */
function along(shape: readonly ShapePoint[], utilization: number): number {
  const points = shape.map((point) => ({
    ...point,
    score: (point.score * scoreMax) / shapeScoreMax,
  }));
  const at = points.findIndex((point) => utilization <= point.utilization);
  const next = points[at];
  const before = points[at - 1];
  if (next === undefined) return points.at(-1)?.score ?? 0;
  if (before === undefined) return next.score;
  const rise = (next.score - before.score) * (utilization - before.utilization);
  return before.score + Math.trunc(rise / (next.utilization - before.utilization));
}

export const requestedToCapacityRatio =
  (shape: readonly ShapePoint[]): ResourceScore =>
  (amounts) => {
    let sum = 0;
    let weights = 0;
    for (const { used, wanted, total, weight } of amounts) {
      const asked = used + wanted;
      const score = along(shape, asked > total ? 100 : Math.trunc((asked * 100) / total));
      // Upstream: what scores nothing does not count at all.
      if (score <= 0) continue;
      sum += score * weight;
      weights += weight;
    }
    return weights === 0 ? 0 : Math.round(sum / weights);
  };

/** The more alike the shares in use the better. */
function balance(shares: readonly number[]): number {
  let deviation = 0;
  const [a = 0, b = 0] = shares;
  if (shares.length === 2) deviation = Math.abs((a - b) / 2);
  else if (shares.length > 2) {
    const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
    const squares = shares.reduce((sum, share) => sum + (share - mean) * (share - mean), 0);
    deviation = Math.sqrt(squares / shares.length);
  }
  return Math.trunc((1 - deviation) * scoreMax);
}
/** Whether the Pod evens them out: about 75 if it changes little. */
export const balancedAllocation: ResourceScore = (amounts) => {
  const share = (asked: number, total: number) => Math.min(1, asked / total);
  const after = balance(amounts.map(({ used, wanted, total }) => share(used + wanted, total)));
  const before = balance(amounts.map(({ used, total }) => share(used, total)));
  return scoreMax / 2 + Math.trunc((scoreMax / 2 + after - before) / 2);
};
