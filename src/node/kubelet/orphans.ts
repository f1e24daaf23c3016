/** What pods left behind that the API no longer knows: stopped and removed, in the runtime and on disk. */
import { removePod, removePodCgroups } from "./garbage.ts";
import { killPod } from "./kill.ts";
import type { NodeServices } from "./node-services.ts";
import { podsDirectory } from "./paths.ts";
import type { PodInRuntime } from "./pleg.ts";

export class Orphans {
  readonly #node: NodeServices;
  readonly #isKnown: (podUid: string) => boolean;
  readonly #busy = new Set<string>();

  constructor(node: NodeServices, isKnown: (podUid: string) => boolean) {
    this.#node = node;
    this.#isKnown = isKnown;
  }

  /** Call only when all pods of the API are known. */
  async reap(
    inRuntime: ReadonlyMap<string, PodInRuntime>,
    options: { readonly directories: boolean },
  ): Promise<void> {
    await Promise.all([...inRuntime.values()].map((pod) => this.#reapPod(pod)));
    if (options.directories) await this.#guarded("directories", () => this.#sweep(inRuntime));
  }

  async #reapPod(pod: PodInRuntime): Promise<void> {
    if (this.#isKnown(pod.uid)) return;
    await this.#guarded(pod.uid, async () => {
      const node = this.#node;
      await killPod(node, undefined, await node.reader.read(pod));
      await removePod(node, await node.reader.read(pod));
      await removePodCgroups(node, pod.uid);
      await node.volumes.removePodDirectory(pod.uid);
      node.log.write("info", "removed a pod that was deleted while nobody looked", {
        pod: `${pod.namespace}/${pod.name}`,
        uid: pod.uid,
      });
    });
  }

  /** Directories of pods of which nothing else is left, from before a restart of the machine. */
  async #sweep(inRuntime: ReadonlyMap<string, PodInRuntime>): Promise<void> {
    const { host, places, volumes } = this.#node;
    const isGone = (uid: string): boolean => !this.#isKnown(uid) && !inRuntime.has(uid);
    for (const { name, type } of (await host.list(podsDirectory(places))) ?? []) {
      if (type === "directory" && isGone(name)) await volumes.removePodDirectory(name);
    }
    for (const { name } of (await host.list(places.logs)) ?? []) {
      const uid = name.split("_")[2];
      if (uid !== undefined && isGone(uid)) await host.remove(`${places.logs}/${name}`);
    }
    for (const level of ["", "/burstable", "/besteffort"]) {
      const children = await host.cgroup(`${places.cgroupRoot}${level}`).children();
      for (const child of children) {
        if (child.startsWith("pod") && isGone(child.slice(3))) {
          await host.cgroup(`${places.cgroupRoot}${level}/${child}`).remove();
        }
      }
    }
  }

  async #guarded(key: string, work: () => Promise<void>): Promise<void> {
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    try {
      await work();
    } catch (error) {
      this.#node.log.write(
        "warn",
        "could not remove what a deleted pod left; the next relist tries again",
        {
          what: key,
          error: error instanceof Error ? error.message : String(error),
        },
      );
    } finally {
      this.#busy.delete(key);
    }
  }
}
