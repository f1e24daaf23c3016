/**
 * Runs one command of a build in a file system of its own by runc: own processes, mounts and names, Docker's set of capabilities,
 * the machine's network or none. Its output goes line by line to the caller.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { lstat, mkdtemp, realpath, rm, rmdir, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

export interface StepMount {
  readonly target: string;
  /** Undefined: an empty file system in memory. */
  readonly source?: string;
  readonly isReadOnly: boolean;
}

export interface CommandToRun {
  readonly runc: string;
  /** Where the file system lies. */
  readonly root: string;
  /** For the bundle; is emptied again. */
  readonly work: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly workingDirectory: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly mounts: readonly StepMount[];
  readonly hasNetwork: boolean;
  readonly line: (text: string) => void;
  readonly gone: AbortSignal;
}

const capabilities = (
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE " +
  "SYS_CHROOT KILL AUDIT_WRITE"
)
  .split(" ")
  .map((name) => `CAP_${name}`);
const hidden =
  "/proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/sched_debug /sys/firmware".split(
    " ",
  );
const locked = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split(" ");

const systemMounts = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
  {
    destination: "/dev",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
  },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
  },
  {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
  },
  {
    destination: "/dev/mqueue",
    type: "mqueue",
    source: "mqueue",
    options: ["nosuid", "noexec", "nodev"],
  },
  {
    destination: "/sys",
    type: "bind",
    source: "/sys",
    options: ["rbind", "nosuid", "noexec", "nodev", "ro"],
  },
];

const mountDocument = ({ target, source, isReadOnly }: StepMount) =>
  source === undefined
    ? { destination: target, type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev"] }
    : {
        destination: target,
        type: "bind",
        source,
        options: ["rbind", isReadOnly ? "ro" : "rw"],
      };

/** runtime-spec's config.json. */
function specOf(command: CommandToRun, id: string): object {
  const namespaces = ["pid", "ipc", "uts", "mount", ...(command.hasNetwork ? [] : ["network"])];
  const set = [...capabilities];
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: command.uid, gid: command.gid, additionalGids: command.groups },
      args: command.args,
      env: command.env,
      cwd: command.workingDirectory,
      capabilities: { bounding: set, effective: set, permitted: set },
      noNewPrivileges: false,
    },
    root: { path: command.root, readonly: false },
    hostname: "build",
    mounts: [...systemMounts, ...command.mounts.map(mountDocument)],
    linux: {
      cgroupsPath: `/${id}`,
      namespaces: namespaces.map((type) => ({ type })),
      maskedPaths: hidden,
      readonlyPaths: locked,
    },
  };
}

/**
 * Resolves with the exit code. What runc had to make in the file system to mount things there, and nobody wrote to, is taken away
 * again: it is no part of what the command changed.
 */
export async function runStep(command: CommandToRun): Promise<number> {
  const id = `wherry-build-${randomBytes(6).toString("hex")}`;
  const bundle = await mkdtemp(join(command.work, "run-"));
  const hosts = [];
  for (const target of ["/etc/resolv.conf", "/etc/hosts"]) {
    const source = await realpath(target).catch(() => undefined);
    if (command.hasNetwork && source !== undefined)
      hosts.push({ target, source, isReadOnly: true });
  }
  const whole = { ...command, mounts: [...hosts, ...command.mounts] };
  const made = await missing(command.root, [
    ...systemMounts.map(({ destination }) => destination),
    ...whole.mounts.map((one) => one.target),
  ]);
  try {
    await writeFile(join(bundle, "config.json"), JSON.stringify(specOf(whole, id)));
    return await runBundle(command, bundle, id);
  } finally {
    await takeAway(made);
    await rm(bundle, { recursive: true, force: true });
  }
}

function runBundle(command: CommandToRun, bundle: string, id: string): Promise<number> {
  const state = join(bundle, "state");
  const child = spawn(command.runc, ["--root", state, "run", "--bundle", bundle, id], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  // Its first process takes all others of its process namespace along.
  const end = (): void => void spawn(command.runc, ["--root", state, "kill", id, "KILL"]);
  command.gone.addEventListener("abort", end);
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", command.line);
  }
  return new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 137));
  }).finally(() => command.gone.removeEventListener("abort", end));
}

/** The paths below the root that are not there yet, parents first. */
async function missing(root: string, targets: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  for (const target of targets) {
    let path = root;
    for (const part of target.split("/").filter((one) => one !== "")) {
      path = join(path, part);
      const facts = await lstat(path).catch(() => undefined);
      // Below a link of the image is not ours to look: runc finds the place, and it was there before.
      if (facts?.isSymbolicLink() === true) break;
      if (facts === undefined) found.add(path);
    }
  }
  return [...found];
}

async function takeAway(paths: readonly string[]): Promise<void> {
  for (const path of paths.toReversed()) {
    const facts = await lstat(path).catch(() => undefined);
    if (facts === undefined) continue;
    // A folder that is not empty was written to: it stays.
    if (facts.isDirectory()) await rmdir(path).catch(() => undefined);
    else if (facts.isFile() && facts.size === 0) await unlink(path);
  }
}
