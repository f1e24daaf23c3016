/**
 * The Host port in memory: a machine that exists only here, with files, mounts and cgroups of its own
 * and figures that a test or a simulation sets. Touches nothing outside.
 */
import type { Clock } from "#ports/clock.ts";
import type { CgroupLimits, Host, HostFacts } from "#ports/host.ts";
import type { Random } from "#ports/random.ts";
import type { Bytes } from "#ports/stream.ts";
import type { FileNode } from "./host-files.ts";
import { FileError, MemoryFiles } from "./host-files.ts";

export interface MemoryHostOptions {
  readonly clock: Clock;
  /** For the machine's ids. */
  readonly random: Random;
  readonly hostname: string;
  /** The machine's own addresses. */
  readonly addresses: readonly string[];
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

interface CgroupUsage {
  readonly cpuNanosTotal: number;
  readonly memoryBytes: number;
  readonly processes: number;
}
interface CgroupState {
  limits: CgroupLimits;
  usage: () => CgroupUsage;
  /** CPU time of what was measured before. */
  cpuNanosPast: number;
}

const idle = (): CgroupUsage => ({ cpuNanosTotal: 0, memoryBytes: 0, processes: 0 });
const newCgroup = (): CgroupState => ({ limits: {}, usage: idle, cpuNanosPast: 0 });
const noFaults = { pageFaultsTotal: 0, majorPageFaultsTotal: 0 };
const inodesMax = 6_553_600;
const blockBytes = 4096;

const hex = (bytes: Bytes): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const uuid = (bytes: Bytes): string =>
  hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

const sizeOnDisk = (node: FileNode): number =>
  node.type === "file" ? Math.ceil(node.length / blockBytes) * blockBytes : 0;

export class MemoryHost implements Host {
  readonly #options: MemoryHostOptions;
  readonly #files: MemoryFiles;
  readonly #cgroups = new Map<string, CgroupState>();
  /** CPU time of cgroups that are gone. */
  #cpuNanosPast = 0;
  readonly #ids: Pick<HostFacts, "machineId" | "systemUuid" | "bootId">;
  /** What others than this cluster take of the machine: for tests of pressure and eviction. */
  otherDiskBytes = 0;
  otherMemoryBytes = 0;

  constructor(options: MemoryHostOptions) {
    this.#options = options;
    this.#files = new MemoryFiles(options.clock);
    const { random } = options;
    this.#ids = {
      machineId: hex(random.bytes(16)),
      systemUuid: uuid(random.bytes(16)),
      bootId: uuid(random.bytes(16)),
    };
    for (const directory of ["/tmp", "/run", "/var/lib", "/var/log"]) {
      this.#files.makeDirectory(directory, directory === "/tmp" ? 0o1777 : 0o755);
    }
  }

  async facts(): Promise<HostFacts> {
    const { hostname, cpus, memoryBytes, addresses } = this.#options;
    return {
      hostname,
      architecture: "amd64",
      kernelVersion: "6.6.0-memory",
      osImage: "Simulated Linux",
      ...this.#ids,
      cpus,
      memoryBytes,
      swapBytes: 0,
      cgroupVersion: 2,
      addresses,
    };
  }

  async read(
    path: string,
    options: { readonly offset?: number; readonly lengthMax?: number } = {},
  ): Promise<Bytes | undefined> {
    const node = this.#files.find(path, true)?.node;
    if (node === undefined) return undefined;
    if (node.type !== "file") throw new FileError("EISDIR", path);
    const from = Math.min(options.offset ?? 0, node.length);
    const to = Math.min(node.length, from + (options.lengthMax ?? node.length));
    return node.buffer.slice(from, to);
  }

  async write(
    path: string,
    bytes: Bytes,
    options: {
      readonly mode: number;
      readonly owner?: { readonly uid: number; readonly gid: number };
    },
  ): Promise<void> {
    const free = this.#options.diskBytes - this.#usedBytes();
    if (bytes.length > free) throw new FileError("ENOSPC", path);
    this.#files.write(path, bytes, options.mode, options.owner);
  }

  /** For the simulated runtime: a file opened for appending, as a container's log is. */
  openAppend(path: string, mode: number): (bytes: Bytes) => void {
    return this.#files.openAppend(path, mode);
  }

  async stat(path: string) {
    const found = this.#files.find(path, false);
    if (found === undefined) return undefined;
    return this.#files.facts(path.slice(path.lastIndexOf("/") + 1), found.node);
  }

  async list(path: string) {
    const node = this.#files.find(path, true)?.node;
    if (node?.type !== "directory") return undefined;
    return [...node.entries]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, entry]) => this.#files.facts(name, entry));
  }

  async makeDirectory(path: string, mode: number): Promise<void> {
    this.#files.makeDirectory(path, mode);
  }
  async link(target: string, path: string): Promise<void> {
    this.#files.link(target, path);
  }
  async rename(from: string, to: string): Promise<void> {
    this.#files.rename(from, to);
  }
  async remove(path: string): Promise<void> {
    this.#files.remove(path);
  }

  async setOwner(
    path: string,
    gid: number,
    options: { readonly recursive: boolean; readonly mode?: number },
  ): Promise<void> {
    const top = this.#files.find(path, false)?.node;
    if (top === undefined) throw new FileError("ENOENT", path);
    for (const node of options.recursive ? this.#files.walk(top) : [top]) {
      node.gid = gid;
      if (options.mode === undefined || node.type === "link") continue;
      // Upstream: directories of a volume with an fsGroup are searchable and hand the group down.
      node.mode |= node.type === "directory" ? options.mode | 0o2110 : options.mode;
    }
  }

  async setMode(path: string, mode: number): Promise<void> {
    const node = this.#files.find(path, true)?.node;
    if (node === undefined) throw new FileError("ENOENT", path);
    node.mode = mode;
  }

  changes(path: string) {
    return this.#files.changes(path);
  }
  async mount(mount: Parameters<Host["mount"]>[0]): Promise<void> {
    const { source, target, type } = mount;
    this.#files.mount({ source, target, type });
  }
  async unmount(target: string): Promise<void> {
    this.#files.unmount(target);
  }
  async mounts() {
    return this.#files.mounts.map(({ source, target, type }) => ({ source, target, type }));
  }

  async diskUsage(path: string) {
    const node = this.#files.find(path, false)?.node;
    const nodes = node === undefined ? [] : [...this.#files.walk(node)];
    const usedBytes = nodes.reduce((sum, file) => sum + sizeOnDisk(file), 0);
    return { usedBytes, inodes: nodes.length };
  }

  #usedBytes(): number {
    let used = this.otherDiskBytes;
    for (const node of this.#files.walk(this.#files.root)) used += sizeOnDisk(node);
    return used;
  }

  async filesystem(path: string) {
    if (this.#files.find(path, true) === undefined) throw new FileError("ENOENT", path);
    const capacityBytes = this.#options.diskBytes;
    const used = [...this.#files.walk(this.#files.root)].length;
    return {
      capacityBytes,
      availableBytes: Math.max(0, capacityBytes - this.#usedBytes()),
      inodes: inodesMax,
      inodesFree: inodesMax - used,
    };
  }

  /** For the simulated runtime: asked for what the processes of a cgroup use whenever somebody looks. */
  meterCgroup(path: string, usage: () => CgroupUsage): void {
    const state = this.#cgroups.get(path);
    if (state === undefined) return;
    state.cpuNanosPast += state.usage().cpuNanosTotal;
    state.usage = usage;
  }
  /** The limit that a cgroup's memory has, if any. */
  cgroupMemoryLimit(path: string): number | undefined {
    return this.#cgroups.get(path)?.limits.memoryLimitBytes;
  }

  #usageOf(path: string): CgroupUsage {
    const { usage, cpuNanosPast } = this.#cgroups.get(path) ?? newCgroup();
    const now = usage();
    return { ...now, cpuNanosTotal: now.cpuNanosTotal + cpuNanosPast };
  }

  cgroup(path: string): ReturnType<Host["cgroup"]> {
    if (!/^(\/[^/]+)+$/.test(path)) {
      throw new Error(`a cgroup's path starts with / and names a group below the root: ${path}`);
    }
    const below = (): readonly string[] =>
      [...this.#cgroups.keys()].filter((key) => key.startsWith(`${path}/`));
    return {
      make: async (limits) => {
        const parts = path.slice(1).split("/");
        parts.forEach((_, i) => {
          const at = `/${parts.slice(0, i + 1).join("/")}`;
          if (!this.#cgroups.has(at)) this.#cgroups.set(at, newCgroup());
        });
        const state = this.#cgroups.get(path);
        if (state !== undefined) state.limits = { ...state.limits, ...limits };
      },
      usage: async () => {
        if (!this.#cgroups.has(path)) return undefined;
        const all = [path, ...below()].map((key) => this.#usageOf(key));
        const sum = (of: (usage: CgroupUsage) => number): number =>
          all.reduce((total, usage) => total + of(usage), 0);
        const memoryBytes = sum((usage) => usage.memoryBytes);
        return {
          cpuNanosTotal: sum((usage) => usage.cpuNanosTotal),
          memoryBytes,
          memoryWorkingSetBytes: memoryBytes,
          memoryRssBytes: memoryBytes,
          ...noFaults,
          processes: sum((usage) => usage.processes),
        };
      },
      remove: async () => {
        const all = [path, ...below()];
        if (all.some((key) => this.#usageOf(key).processes > 0)) {
          throw new FileError("EBUSY", path);
        }
        for (const key of all) {
          this.#cpuNanosPast += this.#usageOf(key).cpuNanosTotal;
          this.#cgroups.delete(key);
        }
      },
      children: async () => {
        const names = below().map((key) => key.slice(path.length + 1).split("/")[0] ?? "");
        return [...new Set(names)].toSorted();
      },
    };
  }

  async usage() {
    let memory = this.otherMemoryBytes;
    let cpuNanosTotal = this.#cpuNanosPast;
    for (const path of this.#cgroups.keys()) {
      const usage = this.#usageOf(path);
      memory += usage.memoryBytes;
      cpuNanosTotal += usage.cpuNanosTotal;
    }
    return {
      cpuNanosTotal,
      memoryAvailableBytes: Math.max(0, this.#options.memoryBytes - memory),
      memoryUsageBytes: memory,
      memoryWorkingSetBytes: memory,
      memoryRssBytes: memory,
      ...noFaults,
      swapUsageBytes: 0,
    };
  }
}
