/**
 * Pods' cgroups on Linux: made, limited, measured and removed in every hierarchy (version 1 and hybrid)
 * or in the one tree (version 2). Reads and writes below the mount points it is given.
 */
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Host } from "#ports/host.ts";

export interface CgroupMounts {
  readonly version: 1 | 2;
  /** Mount point by controller; `""` is version 2's tree (also where it stands beside version 1). */
  readonly hierarchies: ReadonlyMap<string, string>;
}

type Cgroup = ReturnType<Host["cgroup"]>;

const controllersV2 = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
/** Where pods are limited and measured. The runtime makes its groups in the other hierarchies itself, parents too. */
const controllersV1 = ["cpu", "cpuacct", "memory", "pids"];
const childrenMax = 10_000;

/** Out of /proc/self/mountinfo. */
export function readCgroupMounts(mountinfo: string): CgroupMounts {
  const hierarchies = new Map<string, string>();
  for (const line of mountinfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const target = before.split(" ")[4] ?? "";
    const [type, , options = ""] = after.split(" ");
    if (type === "cgroup2") hierarchies.set("", target);
    if (type !== "cgroup") continue;
    for (const option of options.split(",")) {
      if (option !== "rw" && option !== "ro" && !hierarchies.has(option)) {
        hierarchies.set(option, target);
      }
    }
  }
  return { version: hierarchies.has("memory") ? 1 : 2, hierarchies };
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error ? Reflect.get(error, "code") : undefined;

async function readNumber(path: string): Promise<number | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  return text === undefined ? undefined : Number(text.trim());
}

/** The lines "NAME VALUE" of a file such as memory.stat; what is not there is 0. */
async function readFields(path: string): Promise<(name: string) => number> {
  const text = await readFile(path, "utf8").catch(() => "");
  return (name) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
}

/** Upstream's mapping of 2…262144 shares to a weight of 1…10000. */
export const weightOfShares = (shares: number): number => {
  const bounded = Math.min(262_144, Math.max(2, shares));
  return 1 + Math.floor(((bounded - 2) * 9999) / 262_142);
};

async function readChildren(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .slice(0, childrenMax)
    .toSorted();
}

/** Children first. A cgroup that still holds processes is an error (EBUSY). */
async function removeTree(directory: string): Promise<void> {
  const isGone = await rmdir(directory).then(
    () => true,
    (error: unknown) => codeOf(error) === "ENOENT",
  );
  if (isGone) return;
  for (const child of await readChildren(directory)) await removeTree(join(directory, child));
  await rmdir(directory).catch((error: unknown) => {
    if (codeOf(error) !== "ENOENT") throw error;
  });
}

async function countProcesses(directory: string): Promise<number> {
  const text = await readFile(join(directory, "cgroup.procs"), "utf8").catch(() => "");
  let count = text.split("\n").filter((line) => line !== "").length;
  for (const child of await readChildren(directory)) {
    count += await countProcesses(join(directory, child));
  }
  return count;
}

function version1(mounts: CgroupMounts, path: string): Cgroup {
  const roots = [...new Set(mounts.hierarchies.values())];
  const ownOnly = controllersV1.map((name) => mounts.hierarchies.get(name));
  const own = [...new Set(ownOnly.filter((root) => root !== undefined))];
  const file = (controller: string, name: string): string =>
    join(mounts.hierarchies.get(controller) ?? "", path, name);
  const set = async (controller: string, name: string, value: number | undefined) => {
    if (value === undefined || !mounts.hierarchies.has(controller)) return;
    await writeFile(file(controller, name), String(value));
  };
  return {
    make: async (limits) => {
      await Promise.all(own.map((root) => mkdir(join(root, path), { recursive: true })));
      await set("cpu", "cpu.shares", limits.cpuShares);
      await set("cpu", "cpu.cfs_period_us", limits.cpuPeriod);
      await set("cpu", "cpu.cfs_quota_us", limits.cpuQuota === 0 ? -1 : limits.cpuQuota);
      await set("memory", "memory.limit_in_bytes", limits.memoryLimitBytes);
      await set("pids", "pids.max", limits.pidsMax);
    },
    usage: async () => {
      const cpuNanosTotal = await readNumber(file("cpuacct", "cpuacct.usage"));
      const memoryBytes = await readNumber(file("memory", "memory.usage_in_bytes"));
      if (cpuNanosTotal === undefined || memoryBytes === undefined) return undefined;
      const memory = await readFields(file("memory", "memory.stat"));
      return {
        cpuNanosTotal,
        memoryBytes,
        memoryWorkingSetBytes: Math.max(0, memoryBytes - memory("total_inactive_file")),
        memoryRssBytes: memory("total_rss"),
        pageFaultsTotal: memory("total_pgfault"),
        majorPageFaultsTotal: memory("total_pgmajfault"),
        processes: await countProcesses(join(mounts.hierarchies.get("memory") ?? "", path)),
      };
    },
    remove: async () => {
      await Promise.all(roots.map((root) => removeTree(join(root, path))));
    },
    children: () => readChildren(join(mounts.hierarchies.get("memory") ?? "", path)),
  };
}

function version2(mounts: CgroupMounts, path: string): Cgroup {
  const root = mounts.hierarchies.get("") ?? "/sys/fs/cgroup";
  const directory = join(root, path);
  const set = async (name: string, value: number | string | undefined): Promise<void> => {
    if (value !== undefined) await writeFile(join(directory, name), String(value));
  };
  return {
    make: async (limits) => {
      await makeUnified(root, path);
      const { cpuQuota, cpuShares } = limits;
      await set("cpu.weight", cpuShares === undefined ? undefined : weightOfShares(cpuShares));
      if (cpuQuota !== undefined || limits.cpuPeriod !== undefined) {
        const quota = cpuQuota === undefined || cpuQuota <= 0 ? "max" : cpuQuota;
        await set("cpu.max", `${quota} ${limits.cpuPeriod ?? 100_000}`);
      }
      await set("memory.max", limits.memoryLimitBytes === -1 ? "max" : limits.memoryLimitBytes);
      await set("pids.max", limits.pidsMax === -1 ? "max" : limits.pidsMax);
    },
    usage: async () => {
      const memoryBytes = await readNumber(join(directory, "memory.current"));
      if (memoryBytes === undefined) return undefined;
      const cpu = await readFields(join(directory, "cpu.stat"));
      const memory = await readFields(join(directory, "memory.stat"));
      return {
        cpuNanosTotal: cpu("usage_usec") * 1000,
        memoryBytes,
        memoryWorkingSetBytes: Math.max(0, memoryBytes - memory("inactive_file")),
        memoryRssBytes: memory("anon"),
        pageFaultsTotal: memory("pgfault"),
        majorPageFaultsTotal: memory("pgmajfault"),
        processes: await countProcesses(directory),
      };
    },
    remove: () => removeTree(directory),
    children: () => readChildren(directory),
  };
}

/** Version 2 hands a controller down only if every parent says so. */
async function makeUnified(root: string, path: string): Promise<void> {
  const text = await readFile(join(root, "cgroup.controllers"), "utf8");
  const offered = text.trim().split(" ");
  const wanted = controllersV2.filter((name) => offered.includes(name));
  let directory = root;
  for (const part of path.split("/").filter((name) => name !== "")) {
    const control = join(directory, "cgroup.subtree_control");
    const enabled = (await readFile(control, "utf8")).trim().split(" ");
    const lacking = wanted.filter((name) => !enabled.includes(name));
    if (lacking.length > 0) {
      await writeFile(control, lacking.map((name) => `+${name}`).join(" "));
    }
    directory = join(directory, part);
    await mkdir(directory, { recursive: true });
  }
}

export function cgroupOf(mounts: CgroupMounts, path: string): Cgroup {
  const parts = path.split("/").filter((name) => name !== "");
  if (!path.startsWith("/") || parts.length === 0 || parts.includes("..")) {
    throw new Error(`a cgroup's path starts with / and names a group below the root: ${path}`);
  }
  return mounts.version === 1 ? version1(mounts, path) : version2(mounts, path);
}
