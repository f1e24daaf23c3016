/** The benches' pods: one container that does nothing; created, seen running, and removed through the API. */
import { performance } from "node:perf_hooks";
import { Pod } from "#api/core/v1/pod.ts";
import { ServiceAccount } from "#api/core/v1/serviceaccount.ts";
import type { Client } from "#client/client.ts";
import { benchImage } from "./cluster.ts";

const namespace = "default";

export const createPod = (client: Client, name: string): Promise<unknown> =>
  client.create(Pod, {
    metadata: { name, namespace },
    spec: {
      terminationGracePeriodSeconds: 5,
      containers: [
        { name: "main", image: benchImage, imagePullPolicy: "IfNotPresent", resources: {} },
      ],
    },
  });

/** What a watch of another connection sees, and when. */
export class PodWatch {
  readonly #watch: Awaited<ReturnType<typeof PodWatch.open>>;
  readonly #runningAtMs = new Map<string, number>();
  readonly #waiting = new Map<string, () => void>();
  #gone = new Set<string>();

  private constructor(watch: Awaited<ReturnType<typeof PodWatch.open>>) {
    this.#watch = watch;
    void this.#follow();
  }
  static open(client: Client) {
    return client.watch(Pod, { namespace, sendInitialEvents: true, allowBookmarks: true });
  }
  static async start(client: Client): Promise<PodWatch> {
    return new PodWatch(await PodWatch.open(client));
  }
  stop(): void {
    this.#watch.stop();
  }

  async #follow(): Promise<void> {
    for (;;) {
      const events = await this.#watch.next();
      if (events === undefined) return;
      const now = performance.now();
      for (const { type, object } of events) {
        const { name } = object.metadata;
        if (type === "DELETED") this.#tell(name, "gone");
        else if (type !== "BOOKMARK" && object.status.phase === "Running") {
          if (this.#runningAtMs.has(name)) continue;
          this.#runningAtMs.set(name, now);
          this.#tell(name, "running");
        }
      }
    }
  }
  #tell(name: string, what: "running" | "gone"): void {
    if (what === "gone") this.#gone.add(name);
    const key = `${name}/${what}`;
    this.#waiting.get(key)?.();
    this.#waiting.delete(key);
  }

  /** When it was seen running. */
  async running(name: string): Promise<number> {
    if (!this.#runningAtMs.has(name)) {
      await new Promise<void>((resolve) => {
        this.#waiting.set(`${name}/running`, resolve);
      });
    }
    return this.#runningAtMs.get(name) ?? 0;
  }
  async gone(name: string): Promise<void> {
    if (this.#gone.has(name)) return;
    await new Promise<void>((resolve) => {
      this.#waiting.set(`${name}/gone`, resolve);
    });
  }
}

/** Pods need their namespace's ServiceAccount, which a controller makes. */
export async function untilPodsMayCome(client: Client): Promise<void> {
  const watch = await client.watch(ServiceAccount, { namespace, sendInitialEvents: true });
  try {
    for (;;) {
      const events = await watch.next();
      if (events === undefined) throw new Error("the watch for ServiceAccounts ended");
      if (events.some(({ object }) => object.metadata.name === "default")) return;
    }
  } finally {
    watch.stop();
  }
}

export async function removePods(
  client: Client,
  watch: PodWatch,
  names: readonly string[],
): Promise<void> {
  await Promise.all(
    names.map(async (name) => {
      await client.delete(Pod, { name, namespace });
      await watch.gone(name);
    }),
  );
}
