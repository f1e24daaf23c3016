/**
 * The Host port on Linux: node:fs, /proc, the mount and umount programs, cgroups of either version,
 * inotify. Needs root for mounts, cgroups and owners; touches only the paths it is given.
 */
import { execFile } from "node:child_process";
import type { Stats } from "node:fs";
import {
  chmod,
  lchown,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  statfs,
  symlink,
  unlink,
} from "node:fs/promises";
import { arch, availableParallelism, hostname, networkInterfaces, release } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { FileFacts, Host, HostFacts } from "#ports/host.ts";
import type { CgroupMounts } from "./cgroup.ts";
import { cgroupOf, readCgroupMounts } from "./cgroup.ts";
import { changesOf } from "./changes.ts";
import {
  architectures,
  cpuNanosTotal,
  defaultInterface,
  hostAddresses,
  memoryField,
  osImageOf,
  readMounts,
  vmstatField,
} from "./facts.ts";

const run = promisify(execFile);
const readBytesMax = 256 * 1024 * 1024;

const codeOf = (error: unknown): unknown =>
  error instanceof Error ? Reflect.get(error, "code") : undefined;
const isAbsent = (error: unknown): boolean =>
  codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR";

async function orUndefined<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

const readText = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");

function typeOf(facts: Stats): FileFacts["type"] {
  if (facts.isFile()) return "file";
  if (facts.isDirectory()) return "directory";
  if (facts.isSymbolicLink()) return "link";
  if (facts.isSocket()) return "socket";
  if (facts.isBlockDevice()) return "block";
  return facts.isCharacterDevice() ? "character" : "fifo";
}
const factsOf = (name: string, facts: Stats): FileFacts => ({
  name,
  type: typeOf(facts),
  sizeBytes: facts.size,
  modifiedMs: facts.mtimeMs,
  mode: facts.mode & 0o7777,
  inode: facts.ino,
});

async function readHostFacts(mounts: CgroupMounts): Promise<HostFacts> {
  const [osRelease, meminfo, machineId, bootId, systemUuid, routes] = await Promise.all([
    readText("/etc/os-release"),
    readText("/proc/meminfo"),
    readText("/etc/machine-id"),
    readText("/proc/sys/kernel/random/boot_id"),
    readText("/sys/class/dmi/id/product_uuid"),
    readText("/proc/net/route"),
  ]);
  const interfaces = Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).map(({ address, family, internal }) => ({
      interface: name,
      address,
      family,
      internal,
    })),
  );
  const architecture = architectures[arch()];
  if (architecture === undefined) throw new Error(`no name is known for architecture ${arch()}`);
  return {
    hostname: hostname(),
    architecture,
    kernelVersion: release(),
    osImage: osImageOf(osRelease),
    machineId: machineId.trim(),
    // A machine without firmware tables goes by its installation.
    systemUuid: systemUuid.trim() === "" ? machineId.trim() : systemUuid.trim(),
    bootId: bootId.trim(),
    cpus: availableParallelism(),
    memoryBytes: memoryField(meminfo, "MemTotal"),
    swapBytes: memoryField(meminfo, "SwapTotal"),
    cgroupVersion: mounts.version,
    addresses: hostAddresses(interfaces, defaultInterface(routes)),
  };
}

async function readPart(
  path: string,
  options: { readonly offset?: number; readonly lengthMax?: number },
): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const facts = await file.stat();
    const offset = options.offset ?? 0;
    const whole = Math.max(0, facts.size - offset);
    const wanted = Math.min(options.lengthMax ?? whole, readBytesMax);
    // Files of /proc and /sys say 0 and have more: they are read to their end.
    if (facts.size === 0 && facts.isFile()) {
      const all = await file.readFile();
      return new Uint8Array(all.subarray(offset, offset + (options.lengthMax ?? all.length)));
    }
    const bytes = new Uint8Array(Math.min(wanted, whole));
    let got = 0;
    while (got < bytes.length) {
      const { bytesRead } = await file.read(bytes, got, bytes.length - got, offset + got);
      if (bytesRead === 0) break;
      got += bytesRead;
    }
    return bytes.subarray(0, got);
  } finally {
    await file.close();
  }
}

/** What a mode given to open() or mkdir() may lose: it is then set again. Nobody changes the umask of this process. */
const cutBits = process.umask() | 0o7000;
let freshNames = 0;
const freshName = (path: string): string =>
  join(dirname(path), `.wherry-${process.pid}-${freshNames++}`);

async function writeWhole(
  path: string,
  bytes: Uint8Array,
  options: Parameters<Host["write"]>[2],
): Promise<void> {
  const isDurable = options.durable !== false;
  const fresh = freshName(path);
  const file = await open(fresh, "wx", options.mode);
  try {
    await file.writeFile(bytes);
    if ((options.mode & cutBits) !== 0) await file.chmod(options.mode);
    if (options.owner !== undefined) await file.chown(options.owner.uid, options.owner.gid);
    if (isDurable) await file.datasync();
  } catch (error) {
    await unlink(fresh);
    throw error;
  } finally {
    await file.close();
  }
  await rename(fresh, path).catch(async (error: unknown) => {
    await unlink(fresh);
    throw error;
  });
  if (!isDurable) return;
  const directory = await open(dirname(path), "r");
  await directory.sync().finally(() => directory.close());
}

/** Everything below, but nothing of another file system than the starting point's. */
async function removeTree(path: string, device: number, mounted: ReadonlySet<string>) {
  const facts = await orUndefined(lstat(path));
  if (facts === undefined) return;
  if (!facts.isDirectory()) {
    await rm(path, { force: true });
    return;
  }
  // A bind mount of the same file system has its device number; the mount table knows it.
  if (facts.dev !== device || mounted.has(path)) {
    throw new Error(`${path} is a mount point: unmount it before removing what is around it`);
  }
  for (const name of (await orUndefined(readdir(path))) ?? []) {
    await removeTree(join(path, name), device, mounted);
  }
  await orUndefined(rmdir(path));
}

async function setOwner(
  path: string,
  gid: number,
  options: { readonly recursive: boolean; readonly mode?: number },
): Promise<void> {
  const facts = await lstat(path);
  await lchown(path, facts.uid, gid);
  if (options.mode !== undefined && !facts.isSymbolicLink()) {
    // Upstream: directories of a volume with an fsGroup are searchable and hand the group down.
    const more = facts.isDirectory() ? options.mode | 0o2110 : options.mode;
    await chmod(path, (facts.mode & 0o7777) | more);
  }
  if (!options.recursive || !facts.isDirectory()) return;
  for (const name of await readdir(path)) await setOwner(join(path, name), gid, options);
}

/** As `du` counts: blocks in use, and each inode once. */
async function diskUsage(path: string): Promise<{ usedBytes: number; inodes: number }> {
  const seen = new Set<number>();
  let usedBytes = 0;
  const visit = async (at: string, device: number): Promise<void> => {
    const facts = await orUndefined(lstat(at));
    if (facts === undefined || facts.dev !== device || seen.has(facts.ino)) return;
    seen.add(facts.ino);
    usedBytes += facts.blocks * 512;
    if (!facts.isDirectory()) return;
    for (const name of (await orUndefined(readdir(at))) ?? []) await visit(join(at, name), device);
  };
  const top = await orUndefined(lstat(path));
  if (top !== undefined) await visit(path, top.dev);
  return { usedBytes, inodes: seen.size };
}

async function mountTable(): Promise<ReturnType<typeof readMounts>> {
  return readMounts(await readFile("/proc/self/mountinfo", "utf8"));
}

async function command(program: string, args: readonly string[]): Promise<void> {
  try {
    await run(program, args);
  } catch (error) {
    const detail = error instanceof Error ? Reflect.get(error, "stderr") : undefined;
    throw new Error(`${program} ${args.join(" ")} failed: ${String(detail ?? error).trim()}`, {
      cause: error,
    });
  }
}

async function unmount(target: string): Promise<void> {
  // What was mounted there several times over is unmounted as often.
  for (const { target: at } of await mountTable()) {
    if (at === target) await command("umount", [target]);
  }
}

/** The machine this process runs on. */
export async function linuxHost(): Promise<Host> {
  const cgroups = readCgroupMounts(await readFile("/proc/self/mountinfo", "utf8"));
  return {
    facts: () => readHostFacts(cgroups),
    read: (path, options = {}) => orUndefined(readPart(path, options)),
    write: writeWhole,
    stat: async (path) => {
      const facts = await orUndefined(lstat(path));
      return facts === undefined
        ? undefined
        : factsOf(path.slice(path.lastIndexOf("/") + 1), facts);
    },
    list: async (path) => {
      const names = await orUndefined(readdir(path));
      if (names === undefined) return undefined;
      const all = await Promise.all(
        names.toSorted().map(async (name) => {
          const facts = await orUndefined(lstat(join(path, name)));
          return facts === undefined ? undefined : factsOf(name, facts);
        }),
      );
      return all.filter((facts) => facts !== undefined);
    },
    makeDirectory: async (path, mode) => {
      const first = await mkdir(path, { recursive: true, mode });
      // What was there before keeps its own.
      if (first !== undefined && (mode & cutBits) !== 0) await chmod(path, mode);
    },
    link: async (target, path) => {
      const fresh = freshName(path);
      await symlink(target, fresh);
      await rename(fresh, path);
    },
    rename: (from, to) => rename(from, to),
    setOwner,
    setMode: chmod,
    remove: async (path) => {
      const facts = await orUndefined(lstat(path));
      if (facts === undefined) return;
      const mounted = new Set((await mountTable()).map(({ target }) => target));
      await removeTree(path, facts.dev, mounted);
    },
    changes: changesOf,
    mount: async ({ source, target, type, options }) => {
      const flags = options.length > 0 ? ["-o", options.join(",")] : [];
      const kind = type === "bind" || type === "" ? [] : ["-t", type];
      const bind = type === "bind" && !options.some((option) => /^r?bind$/.test(option));
      await command("mount", [...(bind ? ["--bind"] : []), ...kind, ...flags, source, target]);
    },
    unmount,
    mounts: mountTable,
    diskUsage,
    filesystem: async (path) => {
      const facts = await statfs(path);
      return {
        capacityBytes: facts.blocks * facts.bsize,
        availableBytes: facts.bavail * facts.bsize,
        inodes: facts.files,
        inodesFree: facts.ffree,
      };
    },
    cgroup: (path) => cgroupOf(cgroups, path),
    usage: async () => {
      const [procStat, meminfo, vmstat] = await Promise.all([
        readFile("/proc/stat", "utf8"),
        readFile("/proc/meminfo", "utf8"),
        readFile("/proc/vmstat", "utf8"),
      ]);
      const field = (name: string): number => memoryField(meminfo, name);
      const used = field("MemTotal") - field("MemFree");
      return {
        cpuNanosTotal: cpuNanosTotal(procStat),
        memoryAvailableBytes: field("MemAvailable"),
        memoryUsageBytes: used,
        memoryWorkingSetBytes: Math.max(0, used - field("Inactive(file)")),
        memoryRssBytes: field("AnonPages"),
        pageFaultsTotal: vmstatField(vmstat, "pgfault"),
        majorPageFaultsTotal: vmstatField(vmstat, "pgmajfault"),
        swapUsageBytes: field("SwapTotal") - field("SwapFree"),
      };
    },
  };
}
