/**
 * The form of upstream's stats/v1alpha1 Summary, as far as this kubelet fills it in, and how figures are put into it. Times are
 * milliseconds until it is written: rates of a second need them. Pure.
 */
import { formatTime } from "#machinery/time.ts";
import type { ContainerStats, SandboxStats } from "#ports/runtime.ts";
import type { InterfaceUse } from "./proc-facts.ts";
import type { DiskUse } from "./usage.ts";

export interface CpuStats {
  readonly time: number;
  readonly usageNanoCores?: number;
  readonly usageCoreNanoSeconds?: number;
}
export interface MemoryStats {
  readonly time: number;
  readonly availableBytes?: number;
  readonly usageBytes?: number;
  readonly workingSetBytes?: number;
  readonly rssBytes?: number;
  readonly pageFaults?: number;
  readonly majorPageFaults?: number;
}
export interface SwapStats {
  readonly time: number;
  readonly swapAvailableBytes: number;
  readonly swapUsageBytes: number;
}
export interface FsStats {
  readonly time: number;
  readonly availableBytes?: number;
  readonly capacityBytes?: number;
  readonly usedBytes?: number;
  readonly inodesFree?: number;
  readonly inodes?: number;
  readonly inodesUsed?: number;
}
export interface NetworkStats extends InterfaceUse {
  readonly time: number;
  readonly interfaces: readonly InterfaceUse[];
}
export interface ContainerSummary {
  readonly name: string;
  readonly startTime: number;
  readonly cpu?: CpuStats;
  readonly memory?: MemoryStats;
  readonly rootfs?: FsStats;
  readonly logs?: FsStats;
}
export interface VolumeStats extends FsStats {
  readonly name: string;
  readonly pvcRef?: { readonly name: string; readonly namespace: string };
}
export interface PodSummary {
  readonly podRef: { readonly name: string; readonly namespace: string; readonly uid: string };
  readonly startTime: number;
  readonly containers: readonly ContainerSummary[];
  readonly cpu?: CpuStats;
  readonly memory?: MemoryStats;
  readonly network?: NetworkStats;
  readonly volume?: readonly VolumeStats[];
  readonly "ephemeral-storage"?: FsStats;
  readonly process_stats?: { readonly process_count: number };
}
export interface NodeSummary {
  readonly nodeName: string;
  readonly systemContainers: readonly ContainerSummary[];
  readonly startTime: number;
  readonly cpu: CpuStats;
  readonly memory: MemoryStats;
  readonly network?: NetworkStats;
  readonly fs?: FsStats;
  readonly runtime?: { readonly imageFs: FsStats; readonly containerFs: FsStats };
  readonly rlimit?: { readonly time: number; readonly maxpid: number; readonly curproc: number };
  readonly swap: SwapStats;
}
export interface Summary {
  readonly node: NodeSummary;
  readonly pods: readonly PodSummary[];
}

/** What a cgroup or the machine tells. */
interface Measured {
  readonly cpuNanosTotal: number;
  readonly memoryWorkingSetBytes: number;
  readonly memoryRssBytes: number;
  readonly pageFaultsTotal: number;
  readonly majorPageFaultsTotal: number;
}

const given = <K extends string>(
  name: K,
  value: number | undefined,
): { readonly [N in K]?: number } =>
  (value === undefined ? {} : { [name]: value }) as { readonly [N in K]?: number };

export const cpuStats = (
  atMs: number,
  nanosTotal: number | undefined,
  nanoCores: number | undefined,
): CpuStats => ({
  time: atMs,
  ...given("usageNanoCores", nanoCores),
  ...given("usageCoreNanoSeconds", nanosTotal),
});

/** `limitBytes`: 0 or undefined: it has none. */
export const memoryStats = (
  atMs: number,
  measured: Measured,
  usageBytes: number,
  limitBytes: number | undefined,
): MemoryStats => ({
  time: atMs,
  ...availableOf(limitBytes, measured.memoryWorkingSetBytes),
  usageBytes,
  workingSetBytes: measured.memoryWorkingSetBytes,
  rssBytes: measured.memoryRssBytes,
  pageFaults: measured.pageFaultsTotal,
  majorPageFaults: measured.majorPageFaultsTotal,
});

const availableOf = (limitBytes = 0, workingSetBytes = 0) =>
  given("availableBytes", limitBytes > 0 ? Math.max(0, limitBytes - workingSetBytes) : undefined);

export const containerMemory = (
  stats: ContainerStats,
  limitBytes: number | undefined,
): MemoryStats => ({
  time: stats.atMs,
  ...availableOf(limitBytes, stats.memoryWorkingSetBytes),
  ...given("usageBytes", stats.memoryUsageBytes),
  ...given("workingSetBytes", stats.memoryWorkingSetBytes),
  ...given("rssBytes", stats.memoryRssBytes),
  ...given("pageFaults", stats.pageFaultsTotal),
  ...given("majorPageFaults", stats.majorPageFaultsTotal),
});

export interface Filesystem {
  readonly capacityBytes: number;
  readonly availableBytes: number;
  readonly inodes: number;
  readonly inodesFree: number;
}
/** What something uses of a file system. */
export const fsStats = (atMs: number, filesystem: Filesystem, use: DiskUse): FsStats => ({
  time: atMs,
  availableBytes: filesystem.availableBytes,
  capacityBytes: filesystem.capacityBytes,
  usedBytes: use.usedBytes,
  inodesFree: filesystem.inodesFree,
  inodes: filesystem.inodes,
  inodesUsed: use.inodes,
});
export const wholeFs = (atMs: number, filesystem: Filesystem): FsStats =>
  fsStats(atMs, filesystem, {
    usedBytes: filesystem.capacityBytes - filesystem.availableBytes,
    inodes: filesystem.inodes - filesystem.inodesFree,
  });

export function networkStats(
  atMs: number,
  interfaces: readonly InterfaceUse[],
  preferred: string | undefined,
): NetworkStats | undefined {
  const main = interfaces.find(({ name }) => name === preferred) ?? interfaces[0];
  return main === undefined ? undefined : { time: atMs, ...main, interfaces };
}

export function sandboxNetwork(stats: SandboxStats | undefined): NetworkStats | undefined {
  if (stats?.network === undefined) return undefined;
  const { network } = stats;
  const use: InterfaceUse = {
    name: network.interface,
    rxBytes: network.receivedBytesTotal,
    rxErrors: network.receiveErrorsTotal,
    txBytes: network.sentBytesTotal,
    txErrors: network.sendErrorsTotal,
  };
  return networkStats(stats.atMs, [use], use.name);
}

/** As JSON: times as upstream writes them. */
export const writeSummary = (summary: Summary): string =>
  JSON.stringify(summary, (key, value: unknown) =>
    typeof value === "number" && (key === "time" || key === "startTime")
      ? formatTime(value)
      : value,
  );
