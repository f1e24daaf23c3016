/**
 * What the pods of a node use, read where it is counted: containers at the runtime, pods at their cgroups, logs and volumes at the
 * disk. The one place that knows it, for the stats summary, the metrics and for eviction. Writes nothing.
 */
import type { Volume } from "#api/generated/core/v1.ts";
import type { Host } from "#ports/host.ts";
import type { ContainerStats, Runtime } from "#ports/runtime.ts";
import type { NodePlaces } from "../config.ts";
import { podLogsDirectory } from "../paths.ts";
import type { NodePod } from "../pod-spec.ts";
import { activeSandbox, type PodRuntimeStatus } from "../runtime-status.ts";
import type { MountedVolumes } from "../volume-manager.ts";

export interface UsageWorld {
  readonly host: Host;
  readonly runtime: Runtime;
  readonly places: NodePlaces;
  readonly mounted: (podUid: string) => MountedVolumes;
}
/** A pod that runs here, as its worker knows it. */
export interface RunningPod {
  readonly pod: NodePod;
  readonly runtime: PodRuntimeStatus | undefined;
}

export interface ContainerUsage {
  readonly name: string;
  readonly id: string;
  readonly startedAtMs: number;
  readonly stats: ContainerStats;
}
export interface PodUsage {
  readonly pod: NodePod;
  readonly sandboxId: string;
  readonly createdAtMs: number;
  readonly containers: readonly ContainerUsage[];
}

/** Of the pods that have a running container. */
export async function readPodUsage(
  { runtime, places }: UsageWorld,
  pods: readonly RunningPod[],
): Promise<PodUsage[]> {
  const found = await runtime.stats(places.runtimeLabels);
  const byId = new Map(found.map((stats) => [stats.containerId, stats] as const));
  return pods.flatMap(({ pod, runtime: status }): PodUsage[] => {
    const sandbox = status === undefined ? undefined : activeSandbox(status);
    if (status === undefined || sandbox === undefined) return [];
    const containers = status.containers.flatMap((one): ContainerUsage[] => {
      const stats = byId.get(one.id);
      if (stats === undefined || one.state !== "running") return [];
      const { name, id, startedAtMs = one.createdAtMs } = one;
      return [{ name, id, startedAtMs, stats }];
    });
    if (containers.length === 0) return [];
    return [{ pod, sandboxId: sandbox.id, createdAtMs: sandbox.createdAtMs, containers }];
  });
}

export interface DiskUse {
  readonly usedBytes: number;
  readonly inodes: number;
}
export interface VolumeUse extends DiskUse {
  readonly volume: Volume;
  readonly hostPath: string;
  /** It counts as the pod's ephemeral storage: it lives on the node's disk, and no longer than the pod. */
  readonly isEphemeral: boolean;
}
export interface PodDiskUse {
  /** By container. */
  readonly logs: ReadonlyMap<string, DiskUse>;
  /** Of what the host has elsewhere (hostPath) nothing is told. */
  readonly volumes: readonly VolumeUse[];
}

const nothing: DiskUse = { usedBytes: 0, inodes: 0 };
const isClaim = ({ persistentVolumeClaim, ephemeral }: Volume): boolean =>
  persistentVolumeClaim !== undefined || ephemeral !== undefined;

/** What a file system has in use: a claim's data are not counted file by file. */
async function wholeFilesystem(host: Host, path: string): Promise<DiskUse> {
  const { capacityBytes, availableBytes, inodes, inodesFree } = await host.filesystem(path);
  return { usedBytes: capacityBytes - availableBytes, inodes: inodes - inodesFree };
}

export async function readPodDiskUse(
  { host, places, mounted }: UsageWorld,
  pod: NodePod,
): Promise<PodDiskUse> {
  const { uid } = pod.metadata;
  const directory = podLogsDirectory(places, pod);
  const names = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].map(
    ({ name }) => name,
  );
  const logs = await Promise.all(
    names.map(async (name) => [name, await host.diskUsage(`${directory}/${name}`)] as const),
  );
  const mounts = mounted(uid);
  const shown = (pod.spec.volumes ?? []).filter(
    ({ name, hostPath }) => hostPath === undefined && mounts.has(name),
  );
  const volumes = await Promise.all(
    shown.map(async (volume): Promise<VolumeUse> => {
      const { hostPath = "" } = mounts.get(volume.name) ?? {};
      const onDisk = !isClaim(volume) && !isInMemory(volume);
      const use = isClaim(volume)
        ? await wholeFilesystem(host, hostPath)
        : await host.diskUsage(hostPath);
      return { volume, hostPath, isEphemeral: onDisk, ...use };
    }),
  );
  return { logs: new Map(logs), volumes };
}

const isInMemory = ({ emptyDir, secret }: Volume): boolean =>
  secret !== undefined || emptyDir?.medium === "Memory";

/** What a container has on the disk: its own layer and its logs. */
export function containerDiskUse({ name, stats }: ContainerUsage, { logs }: PodDiskUse): DiskUse {
  const log = logs.get(name) ?? nothing;
  return {
    usedBytes: log.usedBytes + (stats.writableLayerBytes ?? 0),
    inodes: log.inodes + (stats.writableLayerInodes ?? 0),
  };
}

/** What the pod has on the disk besides its containers. */
export const ephemeralVolumeUse = ({ volumes }: PodDiskUse): DiskUse =>
  volumes
    .filter(({ isEphemeral }) => isEphemeral)
    .reduce(
      (sum, one) => ({
        usedBytes: sum.usedBytes + one.usedBytes,
        inodes: sum.inodes + one.inodes,
      }),
      nothing,
    );
