/** Host: the machine a node runs on: its files, mounts, cgroups and figures. Paths are absolute. */
import type { Bytes, Source } from "./stream.ts";

export interface HostFacts {
  readonly hostname: string;
  readonly architecture: "amd64" | "arm64" | "arm" | "s390x" | "ppc64le" | "riscv64";
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly machineId: string;
  readonly systemUuid: string;
  readonly bootId: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly swapBytes: number;
  readonly cgroupVersion: 1 | 2;
  /** Addresses of the machine, the one of its default route first, no loopback. */
  readonly addresses: readonly string[];
}
export interface FileFacts {
  readonly name: string;
  readonly type: "file" | "directory" | "link" | "socket" | "block" | "character" | "fifo";
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  readonly mode: number;
  readonly inode: number;
}
export interface CgroupLimits {
  readonly cpuShares?: number;
  readonly cpuQuota?: number;
  readonly cpuPeriod?: number;
  readonly memoryLimitBytes?: number;
  readonly pidsMax?: number;
}

export interface Host {
  facts(): Promise<HostFacts>;
  /** Bytes from `offset`, at most `lengthMax` (default: the whole file); undefined: no such file. */
  read(
    path: string,
    options?: { readonly offset?: number; readonly lengthMax?: number },
  ): Promise<Bytes | undefined>;
  /**
   * Whole, by rename, synced; parents must exist. `durable: false` for what is written anew after a crash: it is not
   * synced.
   */
  write(
    path: string,
    bytes: Bytes,
    options: {
      readonly mode: number;
      readonly durable?: boolean;
      readonly owner?: { readonly uid: number; readonly gid: number };
    },
  ): Promise<void>;
  /** Undefined: not there. Does not follow a last link. */
  stat(path: string): Promise<FileFacts | undefined>;
  list(path: string): Promise<readonly FileFacts[] | undefined>;
  /** With parents; fine if it is there. */
  makeDirectory(path: string, mode: number): Promise<void>;
  /** Replaces an existing link atomically. */
  link(target: string, path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /**
   * Gives it to the group, keeping the user. `mode` is added to the mode that is there; directories then
   * become searchable for the group and hand it down (setgid).
   */
  setOwner(
    path: string,
    gid: number,
    options: { readonly recursive: boolean; readonly mode?: number },
  ): Promise<void>;
  /** Exactly this mode, whatever the umask. */
  setMode(path: string, mode: number): Promise<void>;
  /** With everything below; fine if it is not there; rejects at a mount point instead of crossing it. */
  remove(path: string): Promise<void>;
  /** A batch (of file names, perhaps empty strings) whenever something changed at the file or in the directory; starts at once, even if the path is not there yet. */
  changes(path: string): Source<string>;
  mount(mount: {
    readonly source: string;
    readonly target: string;
    readonly type: string;
    readonly options: readonly string[];
  }): Promise<void>;
  /** Fine if nothing is mounted there. */
  unmount(target: string): Promise<void>;
  mounts(): Promise<
    readonly { readonly source: string; readonly target: string; readonly type: string }[]
  >;
  diskUsage(path: string): Promise<{ readonly usedBytes: number; readonly inodes: number }>;
  filesystem(path: string): Promise<{
    readonly capacityBytes: number;
    readonly availableBytes: number;
    readonly inodes: number;
    readonly inodesFree: number;
  }>;
  /**
   * `path` as in cgroupParent: /kubepods/burstable/pod…; made in the hierarchies that limit and measure (v1) or the one
   * (v2), removed from all.
   */
  cgroup(path: string): {
    make(limits: CgroupLimits): Promise<void>;
    usage(): Promise<
      | {
          readonly cpuNanosTotal: number;
          readonly memoryBytes: number;
          readonly memoryWorkingSetBytes: number;
          readonly memoryRssBytes: number;
          readonly pageFaultsTotal: number;
          readonly majorPageFaultsTotal: number;
          readonly processes: number;
        }
      | undefined
    >;
    /** Fine if it is not there. */
    remove(): Promise<void>;
    children(): Promise<readonly string[]>;
  };
  /** CPU and memory of the whole machine. */
  usage(): Promise<{
    readonly cpuNanosTotal: number;
    /** What could be had without swapping, as the kernel estimates it. */
    readonly memoryAvailableBytes: number;
    readonly memoryUsageBytes: number;
    readonly memoryWorkingSetBytes: number;
    readonly memoryRssBytes: number;
    readonly pageFaultsTotal: number;
    readonly majorPageFaultsTotal: number;
    readonly swapUsageBytes: number;
  }>;
}
