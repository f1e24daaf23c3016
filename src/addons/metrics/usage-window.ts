/**
 * The last two readings of everything, and the use between them. Pure: readings in, usage out. The rules are those of upstream's
 * metrics-server: what has started anew, or gone back, has no use until it was read twice.
 */
import type { Point, Reading } from "./exposition.ts";

export interface Usage {
  readonly cpuNanoCores: number;
  readonly memoryBytes: number;
  readonly atMs: number;
  readonly windowMs: number;
}

interface Pair {
  readonly last: Point;
  readonly before: Point | undefined;
}

/** What has run for less is still starting: its use so far says nothing of its use. */
const freshMsMin = 10_000;

/** `intervalMs`: what lies between two readings as a rule. */
function follow(pair: Pair | undefined, point: Point, intervalMs: number): Pair {
  const { startedAtMs } = point;
  const age = startedAtMs === undefined ? Number.POSITIVE_INFINITY : point.atMs - startedAtMs;
  // All that it ever used, it used since it started.
  if (startedAtMs !== undefined && age >= freshMsMin && age < intervalMs)
    return { last: point, before: { ...point, atMs: startedAtMs, cpuSeconds: 0 } };
  if (pair === undefined) return { last: point, before: undefined };
  const isAnew = startedAtMs !== undefined && startedAtMs >= pair.last.atMs;
  if (isAnew) return { last: point, before: undefined };
  return point.atMs > pair.last.atMs
    ? { last: point, before: pair.last }
    : { last: point, before: pair.before };
}

function usageOf({ last, before }: Pair): Usage | undefined {
  if (before === undefined) return undefined;
  const windowMs = last.atMs - before.atMs;
  if (windowMs <= 0 || last.cpuSeconds < before.cpuSeconds) return undefined;
  const cpuNanoCores = Math.floor(((last.cpuSeconds - before.cpuSeconds) * 1e12) / windowMs);
  return { cpuNanoCores, memoryBytes: Math.floor(last.memoryBytes), atMs: last.atMs, windowMs };
}

export interface ContainerUsage extends Usage {
  readonly name: string;
}

/** Replaced as a whole with every round of readings: what was not read is gone. */
export class UsageWindow {
  #nodes: ReadonlyMap<string, Pair> = new Map();
  #pods: ReadonlyMap<string, ReadonlyMap<string, Pair>> = new Map();

  /** By node name. Nodes that did not answer are not among them. */
  take(readings: ReadonlyMap<string, Reading>, intervalMs: number): void {
    const nodes = new Map<string, Pair>();
    const pods = new Map<string, ReadonlyMap<string, Pair>>();
    for (const [name, reading] of readings) {
      if (reading.node !== undefined)
        nodes.set(name, follow(this.#nodes.get(name), reading.node, intervalMs));
      for (const [key, containers] of reading.pods) {
        const known = this.#pods.get(key);
        const pairs = [...containers].map(
          ([container, point]) =>
            [container, follow(known?.get(container), point, intervalMs)] as const,
        );
        pods.set(key, new Map(pairs));
      }
    }
    this.#nodes = nodes;
    this.#pods = pods;
  }

  clear(): void {
    this.#nodes = new Map();
    this.#pods = new Map();
  }

  node(name: string): Usage | undefined {
    const pair = this.#nodes.get(name);
    return pair === undefined ? undefined : usageOf(pair);
  }

  /** Of all its containers, or undefined. */
  pod(namespace: string, name: string): readonly ContainerUsage[] | undefined {
    const pairs = this.#pods.get(`${namespace}/${name}`);
    if (pairs === undefined || pairs.size === 0) return undefined;
    const all: ContainerUsage[] = [];
    for (const [container, pair] of pairs) {
      const usage = usageOf(pair);
      if (usage === undefined) return undefined;
      all.push({ name: container, ...usage });
    }
    return all.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }
}
