/**
 * Our own containerd, from the machine's binary: its configuration, its start in a session of its own
 * (it outlives us, and its pods outlive it), finding it again after a restart of ours, its stop.
 * Writes below the two directories it is given and nowhere else; never installs anything.
 */
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { watch } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { EngineVersion, PodNetwork } from "./engine-config.ts";
import { engineConfig, networkList, readEngineVersion } from "./engine-config.ts";
import { cniDirectory, findProgram, searchPath } from "./tools.ts";

export interface EngineOptions {
  /** Images, snapshots and settings; kept across boots. */
  readonly dataDirectory: string;
  /** Socket and running state; on a file system that a boot empties. */
  readonly runDirectory: string;
  /** The name that this node's pods have for their network. */
  readonly networkName: string;
  /** Directories of registry hosts (certs.d); read at each pull. */
  readonly registryDirectories: readonly string[];
  readonly sandboxImage: string;
  /** The environment's PATH. */
  readonly path: string;
  readonly readyMsMax: number;
}

export interface Engine {
  readonly socket: string;
  readonly ctr: string;
  readonly pid: number;
  readonly version: EngineVersion;
  /** It was running already. */
  readonly adopted: boolean;
  readonly logPath: string;
  /** By rename; containerd takes it up by itself. NetworkReady is false until the first time. */
  writeNetwork(podCidrs: readonly string[]): Promise<void>;
  /** Ends containerd, not the containers. Idempotent. */
  stop(): Promise<void>;
}

/** Why containerd could not be had, and what to do about it. */
export class EngineError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "EngineError";
  }
}

interface EngineRecord {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: with it a reused process id cannot be taken for ours. */
  readonly startTime: string;
  readonly configHash: string;
}

/** The kernel's bound on a unix socket's path, less the ".ttrpc" that is appended. */
const socketPathMax = 100;
const stopMsMax = 20_000;
const logBytesMax = 8 * 1024 * 1024;
const logTailBytes = 2_000;
const capSysResource = 24n;

const run = promisify(execFile);

interface Paths {
  readonly config: string;
  readonly socket: string;
  readonly record: string;
  readonly log: string;
  readonly conflist: string;
  readonly ipam: string;
}

function pathsOf(options: EngineOptions): Paths {
  const paths = {
    config: join(options.dataDirectory, "config.toml"),
    socket: join(options.runDirectory, "containerd.sock"),
    record: join(options.runDirectory, "engine.json"),
    log: join(options.dataDirectory, "containerd.log"),
    conflist: join(options.dataDirectory, "net.d", "10-pods.conflist"),
    ipam: join(options.dataDirectory, "ipam"),
  };
  if (paths.socket.length > socketPathMax) {
    throw new EngineError(
      `the socket's path ${paths.socket} is longer than ${socketPathMax} characters: choose a shorter run directory`,
    );
  }
  return paths;
}

/** Field 22 of /proc/PID/stat, or undefined if there is no such process (or it is a zombie). */
export async function processStartTime(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  // The second field, the name, may hold blanks and parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? undefined : fields[19];
}

async function readRecord(path: string): Promise<EngineRecord | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return undefined;
    const [pid, startTime, configHash] = ["pid", "startTime", "configHash"].map((name): unknown =>
      Reflect.get(value, name),
    );
    return typeof pid === "number" &&
      typeof startTime === "string" &&
      typeof configHash === "string"
      ? { pid, startTime, configHash }
      : undefined;
  } catch {
    return undefined;
  }
}

async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o711 });
  const fresh = join(dirname(path), `.${process.pid}.new`);
  await writeFile(fresh, text, { mode: 0o600 });
  await rename(fresh, path);
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", () => resolve(false));
  });
}

/** Waits for the socket by watching its directory; the bounded look every 100 ms covers a lost notice. */
async function waitForSocket(socket: string, died: Promise<string>, msMax: number): Promise<void> {
  const over = new AbortController();
  const end = died.then((why) => {
    throw new EngineError(why);
  });
  let notice = (): void => undefined;
  const watcher = watch(dirname(socket), { signal: over.signal }, () => notice());
  watcher.on("error", () => notice());
  try {
    const looks = Math.ceil(msMax / 100);
    for (let look = 0; look < looks; look++) {
      if (await Promise.race([answers(socket), end])) return;
      const noticed = new Promise<void>((resolve) => {
        notice = resolve;
      });
      await Promise.race([noticed, sleep(100), end]);
    }
  } finally {
    over.abort();
    end.catch(() => undefined);
  }
  throw new EngineError(`containerd did not answer on ${socket} within ${msMax} ms`);
}

async function tail(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.slice(-logTailBytes);
}

/** containerd only appends; one older file is kept. */
async function rotateLog(path: string): Promise<void> {
  const facts = await stat(path).catch(() => undefined);
  if (facts !== undefined && facts.size > logBytesMax) await rename(path, `${path}.1`);
}

async function lacksSysResource(): Promise<boolean> {
  const status = await readFile("/proc/self/status", "utf8");
  const mask = /^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0";
  return ((BigInt(`0x${mask}`) >> capSysResource) & 1n) === 0n;
}

interface Installed {
  readonly containerd: string;
  readonly ctr: string;
  readonly cniBinDirectory: string;
  readonly version: EngineVersion;
}

async function findInstalled(path: string): Promise<Installed> {
  const [containerd, ctr, cniBinDirectory] = await Promise.all([
    findProgram("containerd", path),
    findProgram("ctr", path),
    cniDirectory(),
  ]);
  const lacking = [
    containerd === undefined ? "containerd" : "",
    ctr === undefined ? "ctr" : "",
    cniBinDirectory === undefined ? "the CNI plugins ptp, host-local and loopback" : "",
  ].filter((name) => name !== "");
  if (containerd === undefined || ctr === undefined || cniBinDirectory === undefined) {
    throw new EngineError(`this machine lacks ${lacking.join(" and ")}: install it`);
  }
  const { stdout } = await run(containerd, ["--version"]);
  const version = readEngineVersion(stdout);
  if (version === undefined) {
    throw new EngineError(`cannot tell containerd's version from "${stdout.trim()}"`);
  }
  return { containerd, ctr, cniBinDirectory, version };
}

async function stopProcess(record: EngineRecord): Promise<void> {
  if ((await processStartTime(record.pid)) !== record.startTime) return;
  process.kill(record.pid, "SIGTERM");
  // Of a process that is not our child nothing tells the end: bounded looks.
  for (let waitedMs = 0; waitedMs < stopMsMax; waitedMs += 20) {
    if ((await processStartTime(record.pid)) !== record.startTime) return;
    await sleep(20);
  }
  process.kill(record.pid, "SIGKILL");
  for (let waitedMs = 0; waitedMs < stopMsMax; waitedMs += 20) {
    if ((await processStartTime(record.pid)) !== record.startTime) return;
    await sleep(20);
  }
  throw new EngineError(`containerd (process ${record.pid}) does not end, not even by SIGKILL`);
}

async function startProcess(
  containerd: string,
  paths: Paths,
  configHash: string,
  { path, readyMsMax }: EngineOptions,
): Promise<EngineRecord> {
  await rm(paths.socket, { force: true });
  await rotateLog(paths.log);
  const log = await open(paths.log, "a", 0o600);
  const child = spawn(containerd, ["-c", paths.config], {
    detached: true,
    // It looks for runc and its shim there.
    env: { ...process.env, PATH: searchPath(path) },
    stdio: ["ignore", log.fd, log.fd],
  });
  const died = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(`containerd could not be started: ${error.message}`));
    child.once("exit", (code, signal) => {
      void tail(paths.log).then((text) => {
        resolve(`containerd ended at its start (${signal ?? `exit code ${code}`}):\n${text}`);
      });
    });
  });
  try {
    await waitForSocket(paths.socket, died, readyMsMax);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  } finally {
    await log.close();
  }
  child.unref();
  const pid = child.pid ?? 0;
  const startTime = await processStartTime(pid);
  if (startTime === undefined) throw new EngineError(await died);
  return { pid, startTime, configHash };
}

/** Adopts the engine that runs on these directories with these settings, or starts one. */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  const paths = pathsOf(options);
  const installed = await findInstalled(options.path);
  const config = engineConfig(installed.version, {
    root: join(options.dataDirectory, "root"),
    state: join(options.runDirectory, "state"),
    socket: paths.socket,
    optDirectory: join(options.dataDirectory, "opt"),
    cniConfDirectory: dirname(paths.conflist),
    cniBinDirectory: installed.cniBinDirectory,
    registryDirectories: options.registryDirectories,
    sandboxImage: options.sandboxImage,
    restrictOomScore: await lacksSysResource(),
    streamAddress: "127.0.0.1",
    streamPort: 0,
  });
  const configHash = createHash("sha256")
    .update(`${installed.version.text}\n${config}`)
    .digest("hex");
  await mkdir(dirname(paths.conflist), { recursive: true, mode: 0o711 });
  await mkdir(options.runDirectory, { recursive: true, mode: 0o711 });

  const known = await readRecord(paths.record);
  const alive = known !== undefined && (await processStartTime(known.pid)) === known.startTime;
  const adopted = alive && known.configHash === configHash && (await answers(paths.socket));
  let record = known;
  if (!adopted || record === undefined) {
    // Pods do not notice: each has its shim, and a new containerd finds them all.
    if (alive) await stopProcess(known);
    await writeWhole(paths.config, config);
    record = await startProcess(installed.containerd, paths, configHash, options);
    await writeWhole(paths.record, JSON.stringify(record));
  }
  const running = record;
  return {
    socket: paths.socket,
    ctr: installed.ctr,
    pid: running.pid,
    version: installed.version,
    adopted,
    logPath: paths.log,
    writeNetwork: (podCidrs) => writeNetwork(paths, { name: options.networkName, podCidrs }),
    stop: async () => {
      await stopProcess(running);
      await rm(paths.record, { force: true });
    },
  };
}

/** Only if it says something new: containerd reloads the network at each change. */
async function writeNetwork(
  paths: Paths,
  network: Pick<PodNetwork, "name" | "podCidrs">,
): Promise<void> {
  const text = networkList({ ...network, ipamDirectory: paths.ipam });
  const before = await readFile(paths.conflist, "utf8").catch(() => undefined);
  if (before !== text) await writeWhole(paths.conflist, text);
}
