/**
 * Image garbage collection: when the disk fills up, images that no container uses go, those longest unused first. Images that were
 * loaded by hand stay: no registry could give them back.
 */
import type { Clock } from "#ports/clock.ts";
import type { Image, Runtime } from "#ports/runtime.ts";
import type { EventSink } from "./events.ts";
import type { NodeFacts } from "./node-status.ts";

/** Upstream's imageGCHighThresholdPercent, imageGCLowThresholdPercent and imageMinimumGCAge. */
const highShare = 0.85;
const lowShare = 0.8;
const ageMsMin = 120_000;

interface Known {
  readonly firstSeenMs: number;
  readonly lastUsedMs: number;
}

export class ImageGarbage {
  readonly #runtime: Runtime;
  readonly #clock: Clock;
  readonly #events: EventSink;
  readonly #alsoUsed: () => readonly string[];
  /** By image id; bounded by the images on the node. */
  #known: ReadonlyMap<string, Known> = new Map();

  /** `alsoUsed`: references of images that pods use otherwise than for containers. */
  constructor(
    runtime: Runtime,
    clock: Clock,
    events: EventSink,
    alsoUsed: () => readonly string[],
  ) {
    this.#alsoUsed = alsoUsed;
    this.#runtime = runtime;
    this.#clock = clock;
    this.#events = events;
  }

  /** Looks who is in use, and frees space if the disk is nearly full. */
  async collect({ disk, images }: NodeFacts): Promise<void> {
    await this.#look(images);
    const usedBytes = disk.capacityBytes - disk.availableBytes;
    if (disk.capacityBytes <= 0 || usedBytes < disk.capacityBytes * highShare) return;
    const wanted = Math.floor(usedBytes - disk.capacityBytes * lowShare);
    const freed = await this.#free(images, wanted);
    if (freed >= wanted) return;
    const message = `Failed to garbage collect required amount of images. Attempted to free ${wanted} bytes, but only found ${freed} bytes eligible to free.`;
    this.#events.node("Warning", "FreeDiskSpaceFailed", message);
  }

  /** All that nobody uses, whatever its age. */
  async removeUnused(images: readonly Image[]): Promise<void> {
    await this.#look(images);
    await this.#free(images, Number.POSITIVE_INFINITY);
  }

  async #look(images: readonly Image[]): Promise<void> {
    const now = this.#clock.monotonicMs();
    const used = new Set(this.#alsoUsed());
    for (const { image } of await this.#runtime.listContainers({})) used.add(image);
    this.#known = new Map(
      images.map((image) => {
        const before = this.#known.get(image.id);
        const isUsed = [image.id, ...image.tags, ...image.digests].some((name) => used.has(name));
        const lastUsedMs = isUsed ? now : (before?.lastUsedMs ?? Number.NEGATIVE_INFINITY);
        return [image.id, { firstSeenMs: before?.firstSeenMs ?? now, lastUsedMs }] as const;
      }),
    );
  }

  async #free(images: readonly Image[], wantedBytes: number): Promise<number> {
    const now = this.#clock.monotonicMs();
    const age = ({ id }: Image): number => this.#known.get(id)?.lastUsedMs ?? now;
    const idle = images
      .filter((image) => image.digests.length > 0 && age(image) < now)
      .filter(({ id }) => now - (this.#known.get(id)?.firstSeenMs ?? now) >= ageMsMin)
      .toSorted((a, b) => age(a) - age(b));
    let freed = 0;
    for (const image of idle) {
      if (freed >= wantedBytes) break;
      await this.#runtime.removeImage(image.id);
      freed += image.sizeBytes;
    }
    return freed;
  }
}
