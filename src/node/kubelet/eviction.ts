/**
 * Node-pressure eviction: looks at what the node reports of itself, frees what nobody uses, and ends pods, one at a time, until the
 * node has air again. Also ends pods whose emptyDir volumes have outgrown their limits.
 */

import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { KubeletConfig } from "./config.ts";
import type { EventSink } from "./events.ts";
import {
  type Candidate,
  evictionMessage,
  limitedVolumes,
  rankForEviction,
  type Shortage,
  shortagesOf,
  volumeLimitMessage,
} from "./eviction-plan.ts";
import type { ImageGarbage } from "./image-garbage.ts";
import type { NodeFacts } from "./node-status.ts";
import { volumeDirectory } from "./paths.ts";
import type { PodWorker } from "./pod-worker.ts";
import { amountOf } from "./resources.ts";
import {
  type ContainerUsage,
  containerDiskUse,
  ephemeralVolumeUse,
  readPodDiskUse,
  readPodUsage,
  type UsageWorld,
} from "./stats/usage.ts";

type Condition = Shortage["condition"];

/** A condition stays so long after the shortage was last seen: upstream's evictionPressureTransitionPeriod. */
const holdMs = 300_000;
/** Upstream: who is evicted by a hard threshold gets this. */
const graceSeconds = 1;

export interface EvictionWorld extends UsageWorld {
  readonly clock: Clock;
  readonly log: Log;
  readonly config: KubeletConfig;
  readonly events: EventSink;
  readonly images: ImageGarbage;
  /** The pods that run here. */
  workers(): readonly PodWorker[];
}

export class Eviction {
  readonly #world: EvictionWorld;
  /** When each shortage was last seen (monotonic). */
  readonly #seenMs = new Map<Condition, number>();
  #working: Promise<void> = Promise.resolve();
  #busy = false;

  constructor(world: EvictionWorld) {
    this.#world = world;
  }

  /** What the node says it suffers from. */
  get conditions(): readonly Condition[] {
    const now = this.#world.clock.monotonicMs();
    return [...this.#seenMs].filter(([, at]) => now - at < holdMs).map(([condition]) => condition);
  }

  /** The node has looked at itself: called as often as it does that. */
  observe(facts: NodeFacts): void {
    const shortages = shortagesOf(facts, this.#world.config);
    const now = this.#world.clock.monotonicMs();
    for (const { condition } of shortages) this.#seenMs.set(condition, now);
    if (this.#busy) return;
    this.#busy = true;
    this.#working = this.#relieve(shortages, facts)
      .catch((error: unknown) => {
        this.#world.log.write("warn", "could not relieve the node and will try again", {
          error: error instanceof Error ? error.message : String(error),
        });
      })
      .finally(() => {
        this.#busy = false;
      });
  }

  async stop(): Promise<void> {
    await this.#working;
  }

  async #relieve(shortages: readonly Shortage[], facts: NodeFacts): Promise<void> {
    await this.#endOutgrown();
    await this.#world.images.collect(facts);
    const [shortage] = shortages;
    if (shortage === undefined) return;
    const { events, config, host, places, images } = this.#world;
    const message = `Attempting to reclaim ${shortage.resource}`;
    events.node("Warning", "EvictionThresholdMet", message);
    if (shortage.resource === "ephemeral-storage") {
      await images.removeUnused(facts.images);
      const disk = await host.filesystem(places.root);
      const left = shortagesOf({ ...facts, disk }, config);
      if (left.every(({ resource }) => resource !== shortage.resource)) return;
    }
    await this.#endFirst(shortage);
  }

  #running(): PodWorker[] {
    return this.#world.workers().filter(({ phase }) => phase === "syncing");
  }

  async #endFirst(shortage: Shortage): Promise<void> {
    // One is on its way out already: what it frees is not seen yet.
    if (
      this.#world.workers().some(({ phase, isEvicted }) => isEvicted && phase === "terminating")
    ) {
      return;
    }
    const workers = new Map(this.#running().map((worker) => [worker.uid, worker] as const));
    const candidates = await this.#candidates([...workers.values()], shortage);
    const [first] = rankForEviction(candidates, shortage.resource);
    if (first === undefined) return;
    const worker = workers.get(first.pod.metadata.uid);
    if (worker !== undefined) this.#evict(worker, evictionMessage(first, shortage));
  }

  #evict(worker: PodWorker, message: string): void {
    this.#world.events.pod(worker.pod, "Warning", "Evicted", message);
    worker.end({ reason: "Evicted", message, graceSeconds, isDisruption: true });
  }

  async #candidates(workers: readonly PodWorker[], { resource }: Shortage): Promise<Candidate[]> {
    const usages = await readPodUsage(this.#world, workers);
    return await Promise.all(
      workers.map(async ({ pod }) => {
        const { uid } = pod.metadata;
        const running = usages.find((one) => one.pod.metadata.uid === uid)?.containers ?? [];
        const disk = resource === "memory" ? undefined : await readPodDiskUse(this.#world, pod);
        const bytesOf = (one: ContainerUsage): number =>
          disk === undefined
            ? (one.stats.memoryWorkingSetBytes ?? 0)
            : containerDiskUse(one, disk).usedBytes;
        return {
          pod,
          containers: new Map(running.map((one) => [one.name, bytesOf(one)] as const)),
          otherBytes: disk === undefined ? 0 : ephemeralVolumeUse(disk).usedBytes,
        };
      }),
    );
  }

  async #endOutgrown(): Promise<void> {
    const { host, places } = this.#world;
    for (const worker of this.#running()) {
      for (const { name, limit } of limitedVolumes(worker.pod)) {
        const directory = volumeDirectory(places, worker.uid, "empty-dir", name);
        const { usedBytes } = await host.diskUsage(directory);
        if (usedBytes <= amountOf("", limit)) continue;
        this.#evict(worker, volumeLimitMessage(name, limit));
        break;
      }
    }
  }
}
