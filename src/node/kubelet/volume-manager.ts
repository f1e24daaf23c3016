/**
 * Volumes of the node's pods: sets them up before containers start, keeps live ones up to date, takes them down at the end.
 * Writes below the pods' directories; leaves what hostPath volumes point at alone.
 */
import type { Volume, VolumeMount } from "#api/generated/core/v1.ts";
import type { Clock } from "#ports/clock.ts";
import type { Host } from "#ports/host.ts";
import { parseImage } from "./image-reference.ts";
import {
  memoryDirectory,
  memoryVolumeDirectory,
  podDirectory,
  podMemoryDirectory,
  type Roots,
  volumeDirectory,
  volumesDirectory,
} from "./paths.ts";
import type { NodePod } from "./pod-spec.ts";
import type { AtomicWriter } from "./volumes/atomic-writer.ts";
import { volumePlugins } from "./volumes/index.ts";
import { type MountedVolume, VolumeError, type VolumeWorld } from "./volumes/volume.ts";

/** How long a volume that could not be renewed keeps what it shows before the next try. */
const renewRetryMs = 60_000;

export type MountedVolumes = ReadonlyMap<string, MountedVolume>;

export class VolumeManager {
  readonly #roots: Roots;
  readonly #host: Host;
  readonly #clock: Clock;
  readonly #writer: AtomicWriter;
  readonly #world: () => VolumeWorld;
  /** By pod uid. */
  readonly #mounted = new Map<string, MountedVolumes>();
  #memory: Promise<void> | undefined;

  /** `world` is asked each time: the node's figures in it change. */
  constructor(
    roots: Roots,
    ports: { readonly host: Host; readonly clock: Clock },
    writer: AtomicWriter,
    world: () => VolumeWorld,
  ) {
    this.#roots = roots;
    this.#host = ports.host;
    this.#clock = ports.clock;
    this.#writer = writer;
    this.#world = world;
  }

  mounted(podUid: string): MountedVolumes {
    return this.#mounted.get(podUid) ?? new Map();
  }

  /** Images that are volumes of pods here. */
  imageReferences(): readonly string[] {
    const volumes = [...this.#mounted.values()].flatMap((mounted) => [...mounted.values()]);
    return volumes.flatMap(({ image }) => {
      const parsed = image === undefined ? undefined : parseImage(image.reference);
      return parsed === undefined || "problem" in parsed ? [] : [parsed.reference];
    });
  }

  /** When some volume wants its content renewed. */
  refreshAtMs(podUid: string): number {
    let at = Number.POSITIVE_INFINITY;
    for (const volume of this.mounted(podUid).values()) {
      at = Math.min(at, volume.refreshAtMs ?? Number.POSITIVE_INFINITY);
    }
    return at;
  }

  /** Sets up what is missing and renews what is live. Rejects with VolumeError, after trying all. */
  async mount(pod: NodePod): Promise<MountedVolumes> {
    const before = this.mounted(pod.metadata.uid);
    const now = new Map<string, MountedVolume>();
    const failed: { readonly name: string; readonly why: string }[] = [];
    const bring = async (volume: Volume): Promise<void> => {
      const known = before.get(volume.name);
      const live = pluginOf(volume)?.live ?? false;
      try {
        now.set(volume.name, known !== undefined && !live ? known : await this.#setUp(pod, volume));
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        // A live volume that can't be renewed keeps showing what it showed.
        const refreshAtMs = this.#clock.now() + renewRetryMs;
        if (known !== undefined) now.set(volume.name, { ...known, refreshAtMs });
        else failed.push({ name: volume.name, why });
      }
    };
    await Promise.all((pod.spec.volumes ?? []).map(bring));
    this.#mounted.set(pod.metadata.uid, now);
    const first = failed[0];
    if (first !== undefined) {
      throw new VolumeError(`MountVolume.SetUp failed for volume "${first.name}" : ${first.why}`);
    }
    return now;
  }

  async #setUp(pod: NodePod, volume: Volume): Promise<MountedVolume> {
    const plugin = pluginOf(volume);
    if (plugin === undefined) {
      const kind = Object.keys(volume).find((key) => key !== "name") ?? "unknown";
      throw new VolumeError(
        `no volume plugin matched: this node has none for ${kind} volumes; ` +
          "use emptyDir, hostPath, configMap, secret, downwardAPI, projected, persistentVolumeClaim, ephemeral or image",
      );
    }
    const place = plugin.inMemory === true ? memoryVolumeDirectory : volumeDirectory;
    const directory = place(this.#roots, pod.metadata.uid, plugin.name, volume.name);
    if (plugin.inMemory === true) await this.#haveMemory();
    return await plugin.setUp({ ...this.#world(), pod, volume, directory });
  }

  /**
   * One tmpfs for all pods: mounting one for each volume would start two programs more for each pod. One that an earlier
   * life of the kubelet mounted is taken over, for containers hold its directories.
   */
  #haveMemory(): Promise<void> {
    this.#memory ??= this.#mountMemory().catch((error: unknown) => {
      this.#memory = undefined;
      throw error;
    });
    return this.#memory;
  }
  async #mountMemory(): Promise<void> {
    const target = memoryDirectory(this.#roots);
    await this.#host.makeDirectory(target, 0o700);
    if ((await this.#host.mounts()).some((mount) => mount.target === target)) return;
    const options = ["mode=0700"];
    await this.#host.mount({ source: "tmpfs", target, type: "tmpfs", options });
  }

  /** The host path that a container's mount means. */
  async pathOf(mount: VolumeMount, subPath: string, mounted: MountedVolume): Promise<string> {
    if (subPath === "") return mounted.hostPath;
    if (subPath.startsWith("/") || subPath.split("/").includes("..")) {
      throw new VolumeError(
        `unable to provision SubPath \`${subPath}\`: must not leave the volume`,
      );
    }
    if (mounted.atomic !== true) await this.#refuseLinks(mounted.hostPath, subPath, mount);
    const path = `${mounted.hostPath}/${subPath}`;
    if (mounted.atomic !== true && (await this.#host.stat(path)) === undefined) {
      const mode = (await this.#host.stat(mounted.hostPath))?.mode ?? 0o755;
      await this.#host.makeDirectory(path, mode & 0o7777);
    }
    return path;
  }

  /** A link inside a volume that pods can write would lead the host's own mount anywhere. */
  async #refuseLinks(root: string, subPath: string, mount: VolumeMount): Promise<void> {
    let path = root;
    for (const part of subPath.split("/")) {
      path += `/${part}`;
      if ((await this.#host.stat(path))?.type !== "link") continue;
      throw new VolumeError(
        `failed to prepare subPath for volumeMount "${mount.name}": it is a link`,
      );
    }
  }

  /** Unmounts and removes all volumes of a pod, also those of an earlier run of the kubelet. Idempotent. */
  async unmount(podUid: string): Promise<void> {
    const directory = volumesDirectory(this.#roots, podUid);
    const below = (await this.#host.mounts())
      .map((mount) => mount.target)
      .filter((target) => target.startsWith(`${directory}/`))
      .toSorted((a, b) => b.length - a.length);
    for (const target of below) await this.#host.unmount(target);
    for (const { hostPath } of this.mounted(podUid).values()) this.#writer.forget(hostPath);
    this.#mounted.delete(podUid);
    await Promise.all([
      this.#host.remove(directory),
      this.#host.remove(podMemoryDirectory(this.#roots, podUid)),
    ]);
  }

  async removePodDirectory(podUid: string): Promise<void> {
    await this.unmount(podUid);
    await this.#host.remove(podDirectory(this.#roots, podUid));
  }
}

const pluginOf = (volume: Volume): (typeof volumePlugins)[number] | undefined =>
  volumePlugins.find((plugin) => plugin.handles(volume));
